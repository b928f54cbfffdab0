#!/usr/bin/env bash
# Documents and their summaries, in pairs of plain-text files, to a fairseq data folder.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source-path=SCRIPTDIR source=summaries.sh
. "$prepare_folder/summaries.sh"

usage() {
    cat <<USAGE
Usage: prepare-summaries.sh --train DOCUMENTS SUMMARIES --valid DOCUMENTS SUMMARIES
                            [--test DOCUMENTS SUMMARIES ...] [options]

Prepares documents and their summaries for fairseq. Both files of a pair are UTF-8 text, gzipped or
not: one document a line, and its summary in the same line of the other file.

  --train, --valid, --test DOCUMENTS SUMMARIES
                        a second --test becomes test1, and so on
  --drop-empty          leave pairs out of which one side is empty; without it they are an error
$(summaries_usage data-bin/summaries)

Environment: PYTHON       interpreter with fairseq, sacremoses and subword-nmt
             GPT2_BPE_URL folder of a mirror, instead of $gpt2_official

A run that was killed continues when it is started again with the same options and texts.
USAGE
}

recipe_version=1

out=data-bin/summaries splits=() files=() train=() valid=() tests=() drop_empty=()

# need_pair OPTION DOCUMENTS SUMMARIES: leaves in ${pair[@]} where they are, from whatever folder.
need_pair() {
    local option=$1 file
    need_value "$@"
    if [ "$#" -lt 3 ]; then die "$option needs two files, of documents and of summaries"; fi
    case $3 in '' | --*) die "$option needs two files, of documents and of summaries" ;; esac
    pair=()
    for file in "$2" "$3"; do
        [ -f "$file" ] || die "$option: there is no file $file"
        case $file in /*) pair+=("$file") ;; *) pair+=("$PWD/$file") ;; esac
    done
}

# link_files: the user's files under the names of their splits, for the manifest.
link_files() {
    local i
    rm -rf input && mkdir input
    for ((i = 0; i < ${#splits[@]}; i++)); do
        tool ln -s "${files[2 * i]}" "input/${splits[i]}.source"
        tool ln -s "${files[2 * i + 1]}" "input/${splits[i]}.target"
    done
}

take_pairs() {
    local options=("${drop_empty[@]+"${drop_empty[@]}"}")
    if [ -n "$limit" ]; then options+=(--limit "$limit"); fi
    new_texts
    "$python" "$prepare_folder/summary_pairs.py" take text labels --files "${files[@]}" \
        --splits "${splits[@]}" --dropped dropped.json "${options[@]+"${options[@]}"}"
}

while [ "$#" -gt 0 ]; do
    case $1 in
        --help | -h) usage; exit 0 ;;
        --drop-empty) drop_empty=(--drop-empty); shift; continue ;;
        --*=*) set -- "${1%%=*}" "${1#*=}" "${@:2}"; continue ;;
        --train | --valid | --test)
            need_pair "$@"
            case $1 in
                --train)
                    [ "${#train[@]}" -eq 0 ] || die "give $1 once"
                    train=("${pair[@]}")
                    ;;
                --valid)
                    [ "${#valid[@]}" -eq 0 ] || die "give $1 once"
                    valid=("${pair[@]}")
                    ;;
                --test) tests+=("${pair[@]}") ;;
            esac
            shift 3
            continue
            ;;
        *) summary_option "$@" ;;
    esac
    shift 2
done
[ "${#train[@]}" -gt 0 ] && [ "${#valid[@]}" -gt 0 ] ||
    die "give --train DOCUMENTS SUMMARIES and --valid DOCUMENTS SUMMARIES (see --help)"
splits=(train valid) files=("${train[@]}" "${valid[@]}" "${tests[@]+"${tests[@]}"}")
for ((i = 0; i < ${#tests[@]} / 2; i++)); do
    splits+=("test${i#0}")   # the names that fairseq-preprocess gives them: test, test1, ...
done
check_summary_options

find_python
describe_summaries
checksums=$("$python" "$prepare_folder/summary_pairs.py" check --files "${files[@]}" \
    "${drop_empty[@]+"${drop_empty[@]}"}")
recipe=$PREPARE_PROGRAM
for split in "${splits[@]}"; do
    recipe+=" --${split%%[0-9]*}"
    for side in source target; do
        recipe+=" ${checksums:0:12}"   # not a file's name, but what it holds
        checksums=${checksums#*$'\n'}
    done
done
recipe+="${drop_empty[*]:+ ${drop_empty[*]}} $summary_recipe"
begin "$out" "$recipe" "$recipe_version"
if [ -n "$complete" ]; then exit 0; fi

link_files   # not a stage: the files may have moved since
stage "tokeniser" take_tokeniser
stage "text" take_pairs
make_summaries_data "the user's files" "summary_pairs.py"
