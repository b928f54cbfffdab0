# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154   # variables pass between this file, common.sh and the scripts
# What the scripts for news with published splits share, on top of summaries.sh: official archives
# of articles, and official lists of which article is in which split. A script has archive_pins, see
# archives.sh, and pinned, which prints the SHA-256 of a list and, if an article has a line there,
# their number. It sets ${lists[@]}, $lists_url, $archives, of lines ARCHIVE_URL FOLDER_IN_IT, and,
# for a mirror of everything, $mirror_given.

from='' unpinned=''

news_usage() {
    cat <<USAGE
  --unpinned            take other text in the same layout: checksums and numbers are not compared
                        with the official ones; MANIFEST.json says so
$(summaries_usage "$1")
USAGE
}

# parse_news_options OPTION...: the command line, for a script that defines usage and news_option.
parse_news_options() {
    while [ "$#" -gt 0 ]; do
        case $1 in
            --help | -h) usage; exit 0 ;;
            --unpinned) unpinned=yes; shift; continue ;;
            --*=*) set -- "${1%%=*}" "${1#*=}" "${@:2}"; continue ;;
            --from) need_value "$@"; from=$2 ;;
            *) news_option "$@" ;;
        esac
        shift 2
    done
    check_summary_options
    if [ -n "$from" ]; then
        [ -d "$from" ] || die "--from: there is no folder $from"
        from=$(cd -- "$from" && pwd)
        need_official_files
    fi
}

# need_official_files: --from must have them all.
need_official_files() {
    local name url folder
    for name in "${lists[@]}"; do
        unpacked "$name" > /dev/null || die "--from: there is no file $from/$name"
    done
    while read -r url folder; do
        [ -f "$from/${url##*/}" ] || [ -d "$from/$folder" ] ||
            die "--from: there is neither ${url##*/} nor $folder in $from"
    done <<< "$archives"
}

# begin_news OPTIONS: begins the run, of which these options decide about the text; ends the script
# if there is nothing to do.
begin_news() {
    find_python
    describe_summaries
    recipe="$PREPARE_PROGRAM${unpinned:+ --unpinned}${1:+ $1} $summary_recipe"
    begin "$out" "$recipe" "$recipe_version"
    if [ -n "$complete" ]; then exit 0; fi
    if [ -n "$unpinned" ]; then
        progress "--unpinned: nothing is compared with the official checksums and numbers"
    fi
}

# take_lists: verified copies of them in lists/.
take_lists() {
    local name file pins
    rm -rf lists && mkdir -p lists download
    for name in "${lists[@]}"; do
        suspects=() pins=()
        if [ -n "$from" ]; then
            file=$(unpacked "$name")
        else
            file=download/$name
            fetch "${mirror_given:-$lists_url}/$name" "$file"
            suspects=("$file")
        fi
        if [ -z "$unpinned" ]; then
            # shellcheck disable=SC2207   # words without spaces
            pins=($(pinned "$name"))
            pins=(--sha256 "${pins[0]}" ${pins[1]:+--lines "${pins[1]}"})
        fi
        or_discard "$python" "$prepare_folder/raw_text.py" --sources "$file" \
            --destinations "lists/$name" "${pins[@]+"${pins[@]}"}"
    done
}

# find_articles: leaves in ${places[@]} where the articles of each archive are: in a verified
# archive, or in the folder of --from that somebody unpacked one into.
find_articles() {
    local url folder place mirror discardable=()
    places=()
    while read -r url folder <&3; do
        if [ -n "$from" ] && [ ! -f "$from/${url##*/}" ]; then
            places+=("$from")
            continue
        fi
        mirror=${mirror_given:-${url%/*}}
        take_archive "${url##*/}"
        places+=("$place")
        discardable+=("${suspects[@]+"${suspects[@]}"}")
    done 3<<< "$archives"
    suspects=("${discardable[@]+"${discardable[@]}"}")
}

# link_official_files: what was taken, under its own names, for the manifest.
link_official_files() {
    local name url folder
    rm -rf input && mkdir input
    for name in "${lists[@]}"; do tool ln -s ../lists/"$name" input; done
    while read -r url folder; do
        name=${from:-$work/download}/${url##*/}
        if [ -f "$name" ]; then tool ln -s "$name" input; fi
    done <<< "$archives"
}

# make_news COMMAND...: all stages; take_articles of the script writes the texts.
make_news() {
    local source=$lists_url url folder
    while read -r url folder; do
        if [ -n "$from" ] && [ ! -f "$from/${url##*/}" ]; then
            source+=", $folder (unpacked, not pinned)"
        else
            source+=", $url"
        fi
    done <<< "$archives"
    if [ -n "$unpinned" ]; then source="not pinned, laid out like $source"; fi
    stage "lists" take_lists
    stage "tokeniser" take_tokeniser
    stage "text" take_articles
    link_official_files   # not a stage: the files may have moved since
    make_summaries_data "$source" "$@"
}
