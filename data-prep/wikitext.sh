# shellcheck shell=bash
# What the WikiText scripts share, on top of plain_text.sh. They set $corpus, $default_out and
# $bpe_operations, and have archive_pins, see archives.sh, and text_pins, which prints for train,
# valid and test the number of lines, and for train.raw ... the SHA-256 of the text where it is known.

# The author's server. The first one, s3.amazonaws.com/research.metamind.io, refuses since 2024.
wikitext_official=https://wikitext.smerity.com
recipe_version=1

wikitext_usage() {
    cat <<USAGE
Usage: $PREPARE_PROGRAM [options]

Prepares ${corpus/wikitext/WikiText} for language models of fairseq, one line of the corpus a sentence.

  --out DIR             result (default: $default_out)
  --from DIR            take the archive $corpus-raw-v1.zip, or what it holds
                        (wiki.train.raw, wiki.valid.raw and wiki.test.raw, perhaps gzipped),
                        from DIR instead of downloading it; with --bpe none, $corpus-v1.zip
                        or wiki.train.tokens ...; GPT-2's two files, too, where DIR has them
  --bpe gpt2|subword-nmt|none
                        pieces: GPT-2's (default), learned from the training text, or none:
                        the words of the "tokens" archive, whose rare words are <unk> already
  --bpe-operations N    merges that subword-nmt learns (default: $bpe_operations)
  --gpt2-bpe DIR        take GPT-2's encoder.json and vocab.bpe from DIR instead of
                        downloading them
  --blank-lines keep|drop
                        keep (default): a blank line is a lone </s>, as in fairseq's own recipe;
                        perplexities with and without these easy </s> are not comparable
  --limit N             only the first N training lines, for a quick try
  --unpinned            accept any text in these files: checksums and numbers of lines are not
                        compared with the published ones
  --workers N           processes (default: 2); the result does not depend on it
  --help                this text

Spaces around a line go, and nothing else is changed: the published text, raw too, has its words
apart and " @-@ " for a hyphen inside one. Welleck et al. (2020) and Lin et al. (2021) fine-tuned
GPT-2 on a ready-made archive of its pieces (wikitext-103-bpe_v0). How that was made is not
published, so that perplexities need not agree with theirs.

Environment: PYTHON       interpreter with fairseq, sacremoses and subword-nmt
             WIKITEXT_URL folder of a mirror, instead of $wikitext_official
             GPT2_BPE_URL the same, instead of $gpt2_official

A run that was killed continues when it is started again with the same options.
USAGE
}

unpack() {
    local split file pins
    rm -rf input && mkdir input
    obtain "$zip" "${members[@]}"
    for file in "${found[@]}"; do
        split=${file##*/wiki.} split=${split%%.*} pins=()
        if [ -z "$unpinned" ]; then
            # shellcheck disable=SC2207   # words without spaces, one or none
            pins=(--lines "$(text_pins "$split")" --sha256 $(text_pins "$split.$kind"))
        fi
        or_discard "$python" "$prepare_folder/raw_text.py" --sources "$file" \
            --destinations "input/$split.txt" "${pins[@]+"${pins[@]}"}"
    done
    rm -rf members
}

prepare_text() {
    rm -rf text && mkdir text
    local arguments=(--blank-lines "$blank_lines")
    if [ "$bpe" = gpt2 ]; then arguments+=(--keep-spaces); fi
    if [ -n "$limit" ]; then arguments+=(--limit "$limit"); fi
    "$python" "$prepare_folder/wikitext_lines.py" input text "${arguments[@]}"
}

prepare_wikitext() {
    local from='' unpinned='' blank_lines=keep kind=raw
    local name=$corpus-raw zip members mirror=${WIKITEXT_URL:-$wikitext_official}
    splits=(train valid test) bpe=gpt2 out=''
    while [ "$#" -gt 0 ]; do
        case $1 in
            --help | -h) "${usage:-wikitext_usage}"; exit 0 ;;
            --unpinned) unpinned='--unpinned '; shift; continue ;;
            --*=*) set -- "${1%%=*}" "${1#*=}" "${@:2}"; continue ;;
            --from) need_value "$@"; from=$2 ;;
            --bpe) need_value "$@"; need_choice "$1" "$2" gpt2 subword-nmt none; bpe=$2 ;;
            --blank-lines) need_value "$@"; need_choice "$1" "$2" keep drop; blank_lines=$2 ;;
            *) text_option "$@" ;;
        esac
        shift 2
    done
    if [ "$bpe" = none ]; then kind=tokens name=$corpus; fi
    zip=$name-v1.zip
    members=("$name/wiki.train.$kind" "$name/wiki.valid.$kind" "$name/wiki.test.$kind")
    need_gpt2_bpe
    if [ -n "$from" ]; then
        [ -d "$from" ] || die "--from: there is no folder $from"
        from=$(cd -- "$from" && pwd)
        # Somebody who unpacked the archive may have kept its folder or not.
        if [ ! -f "$from/$zip" ] && [ ! -d "$from/$name" ]; then members=("${members[@]##*/}"); fi
        check_source "$zip" "${members[@]}"
    fi
    find_python
    describe_text
    begin "${out:-$default_out}" \
        "$PREPARE_PROGRAM $unpinned--blank-lines $blank_lines $text_recipe" "$recipe_version"
    if [ -n "$complete" ]; then exit 0; fi
    if [ -n "$unpinned" ]; then progress "--unpinned: any text in these files is accepted"; fi
    stage "unpack" unpack
    stage "text" prepare_text
    make_data "$wikitext_official/$zip" "wikitext_lines.py --blank-lines $blank_lines"
}
