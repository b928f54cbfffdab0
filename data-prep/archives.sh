# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154   # variables pass between this file, common.sh and the scripts
# Where official files come from: an archive, downloaded or in the folder --from, or the files that
# somebody unpacked there. The script that reads this has archive_pins, and sets $from (or leaves it
# empty), $mirror, the address before an archive's own, and $unpinned.

# unpacked MEMBER: prints where --from has an archive's member that somebody unpacked.
unpacked() {
    local candidate
    for candidate in "$from/$1" "$from/$1.gz" "$from/${1%.gz}"; do
        if [ -f "$candidate" ]; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    return 1
}

# check_source ARCHIVE MEMBER...: --from must have the one or the others.
check_source() {
    local archive=$1 member
    shift
    if [ -z "$from" ] || [ -f "$from/$archive" ]; then return; fi
    for member in "$@"; do
        unpacked "$member" > /dev/null || die "--from: there is neither $archive nor $member in $from"
    done
}

suspects=()   # downloads that nothing has vouched for yet

# or_discard COMMAND...: what came over the network and is wrong must not be found by the next run.
or_discard() {
    local code=0
    "$@" || code=$?
    if [ "$code" -eq 2 ]; then rm -f "${suspects[@]+"${suspects[@]}"}"; fi
    if [ "$code" -ne 0 ]; then exit "$code"; fi
}

# take_archive URL: leaves in $place where an archive is, in --from or downloaded, and compares it
# with what is pinned. The script's archive_pins prints BYTES, ALGORITHM and HEX of an archive, - for
# what nobody has published.
take_archive() {
    local archive=${1##*/} size algorithm checksum pins=()
    suspects=()
    if [ -n "$from" ]; then
        place=$from/$archive
    else
        mkdir -p download
        place=download/$archive
        fetch "$mirror/$1" "$place"
        suspects=("$place")
    fi
    read -r size algorithm checksum <<< "$(archive_pins "$archive")"
    if [ -z "$unpinned" ]; then
        if [ "$size" != - ]; then pins+=(--bytes "$size"); fi
        if [ "$checksum" != - ]; then pins+=("--$algorithm" "$checksum"); fi
    fi
    or_discard "$python" "$prepare_folder/archive_members.py" "$place" "${pins[@]+"${pins[@]}"}"
    if [ -z "$unpinned" ] && [ "$checksum" != - ]; then suspects=(); fi
}

# obtain URL MEMBER...: leaves in ${found[@]} the paths of an archive's members, or of the files
# that --from has unpacked already.
obtain() {
    local url=$1 archive=${1##*/} member place destinations=()
    shift
    found=() suspects=()
    if [ -n "$from" ] && [ ! -f "$from/$archive" ]; then
        for member in "$@"; do found+=("$(unpacked "$member")"); done
        return
    fi
    take_archive "$url"
    rm -rf members && mkdir members
    for member in "$@"; do destinations+=("members/${member##*/}"); done
    or_discard "$python" "$prepare_folder/archive_members.py" "$place" --members "$@" \
        --destinations "${destinations[@]}"
    found=("${destinations[@]}")
}
