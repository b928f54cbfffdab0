#!/usr/bin/env bash
# Plain-text books, or any other text in files, to a fairseq data folder for a language model; or
# files of GPT-2's ids.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source-path=SCRIPTDIR source=plain_text.sh
. "$(dirname "${BASH_SOURCE[0]}")/plain_text.sh"
# shellcheck source-path=SCRIPTDIR source=token_ids.sh
. "$prepare_folder/token_ids.sh"

usage() {
    cat <<USAGE
Usage: prepare-book.sh --text FILE [--text FILE ...] [options]
       prepare-book.sh --train FILE [--train FILE ...] --valid FILE [--test FILE ...] [options]
       prepare-book.sh --ids DIR [options]

Prepares UTF-8 text, gzipped or not, for language models of fairseq. What Project Gutenberg puts
before and after a book is dropped.

  --text FILE           a file to split: its last paragraphs are held out, one stretch for
                        validation and one for the test, so that they have no neighbours in training
  --train, --valid, --test FILE
                        files that are split already; a second --test becomes test1, and so on.
                        --test goes with --text too: other books, and no text held out for the test
  --valid-percent N     share of each --text, in characters, for validation (default: 5)
  --test-percent N      the same for the test (default: 5; 0: no test text)
  --lines join|keep|each
                        join (default): a paragraph becomes one line, blank lines go;
                        keep, for verse and plays: lines stay, one blank line between paragraphs;
                        each: every line is a paragraph already
  --limit N             only the first N training paragraphs (with --ids: blocks), for a quick try
  --bpe subword-nmt|gpt2
                        pieces learned from the training text (default), or GPT-2's
  --bpe-operations N    merges that subword-nmt learns (default: 8000)
  --gpt2-bpe DIR        take GPT-2's encoder.json and vocab.bpe from DIR instead of
                        downloading them
  --tokenise none|moses moses, with subword-nmt only: split English text into Moses tokens first
                        (default: none, so that joined pieces are plain text)
  --ids DIR             take ids of GPT-2's pieces instead of text: DIR/train.bin, DIR/val.bin and,
                        if there is one, DIR/test.bin, of 16 bits each, the low byte first and
                        without a header, as nanoGPT writes them. No option about text goes with it
  --block-length N      with --ids: tokens of one item of the result (default: $block_length); there is no
                        </s>, and what does not fill the last item is dropped. For training with
                        --sample-break-mode none; N should not be the --tokens-per-sample, because
                        fairseq begins a sample with </s>, not with the token before it, where an
                        item begins
  --out DIR             result (default: data-bin/book)
  --workers N           processes (default: 2); the result does not depend on it
  --help                this text

Runs of spaces become one space, but not in GPT-2's pieces of lines that are not joined.

Environment: PYTHON       interpreter with fairseq, sacremoses and subword-nmt
             GPT2_BPE_URL folder of a mirror, instead of $gpt2_official

A run that was killed continues when it is started again with the same options and texts.
USAGE
}

recipe_version=1

out=data-bin/book bpe_operations=8000 lines=join percents='' valid_percent=5 test_percent=5
files=() inputs=() text='' train='' valid='' test_share='' tests=()

# need_percent OPTION VALUE LEAST
need_percent() {
    { [[ $2 =~ ^(0|[1-9][0-9]?)$ ]] && [ "$2" -ge "$3" ]; } ||
        die "$1 must be a whole number from $3 to 99, but is $2"
    percents=given
}

# add_file OPTION FILE
add_file() {
    [ -f "$2" ] || die "$1: there is no file $2"
    local file=$2
    case $file in /*) ;; *) file=$PWD/$file ;; esac   # stages run in another folder
    files+=("$file")
    inputs+=("$1" "$file")
}

# describe_files COMMAND CHECKSUMS: begins $recipe; of each input not its name but its checksum.
describe_files() {
    local checksums=$2 i
    recipe=$1
    for ((i = 0; i < ${#inputs[@]}; i += 2)); do
        recipe+=" ${inputs[i]} ${checksums:0:12}"
        checksums=${checksums#*$'\n'}
    done
}

# --- ids instead of text --------------------------------------------------------------------------

# find_ids: leaves in ${splits[@]}, ${inputs[@]} and ${files[@]} what there is in $ids.
find_ids() {
    local split
    [ -d "$ids" ] || die "--ids: there is no folder $ids"
    ids=$(cd -- "$ids" && pwd)
    splits=(train valid)
    if [ -e "$ids/test.bin" ]; then splits+=(test); fi
    for split in "${splits[@]}"; do add_file --ids "$ids/${split/valid/val}.bin"; done
    # nanoGPT leaves this file beside ids of a vocabulary that is not GPT-2's.
    [ ! -e "$ids/meta.pkl" ] || die "--ids: the ids in $ids are not GPT-2's, but of a vocabulary of\
 their own, meta.pkl; give the text itself with --text"
}

# link_ids: the user's files, in input/ under their own names, in ids/ under those of the splits.
link_ids() {
    local i
    rm -rf input ids && mkdir input ids
    for ((i = 0; i < ${#splits[@]}; i++)); do
        tool ln -s "${files[i]}" input
        tool ln -s "${files[i]}" "ids/${splits[i]}.bin"
    done
}

prepare_ids() {
    local ids='' checksums
    while [ "$#" -gt 0 ]; do
        case $1 in
            --help | -h) usage; exit 0 ;;
            --*=*) set -- "${1%%=*}" "${1#*=}" "${@:2}"; continue ;;
            --ids)
                need_value "$@"
                [ -z "$ids" ] || die "give $1 once"
                ids=$2
                ;;
            *) ids_option --ids "$@" ;;
        esac
        shift 2
    done
    find_ids
    describe_ids
    find_python
    checksums=$("$python" "$prepare_folder/token_ids.py" digest "${files[@]}" \
        --block-length "$block_length")
    describe_files "$PREPARE_PROGRAM" "$checksums"
    begin "$out" "$recipe $ids_recipe" "$recipe_version"
    if [ -n "$complete" ]; then exit 0; fi
    link_ids   # not a stage: the files may have moved since
    make_ids_data "the user's files" "token_ids.py digest"
}

if has_option --ids "$@"; then
    prepare_ids "$@"
    exit 0
fi

while [ "$#" -gt 0 ]; do
    case $1 in
        --help | -h) usage; exit 0 ;;
        --*=*) set -- "${1%%=*}" "${1#*=}" "${@:2}"; continue ;;
        --text) need_value "$@"; add_file "$1" "$2"; text=given ;;
        --train) need_value "$@"; add_file "$1" "$2"; train=given ;;
        --valid)
            need_value "$@"
            [ -z "$valid" ] || die "give $1 once"
            add_file "$1" "$2"
            valid=given
            ;;
        --test) need_value "$@"; add_file "$1" "$2"; tests+=("test${#tests[@]}") ;;
        --valid-percent) need_value "$@"; need_percent "$1" "$2" 1; valid_percent=$2 ;;
        --test-percent) need_value "$@"; need_percent "$1" "$2" 0; test_percent=$2 test_share=$2 ;;
        --lines) need_value "$@"; need_choice "$1" "$2" join keep each; lines=$2 ;;
        --bpe) need_value "$@"; need_choice "$1" "$2" subword-nmt gpt2; bpe=$2 ;;
        --tokenise) need_value "$@"; need_choice "$1" "$2" none moses; tokenise=$2 ;;
        --block-length) die "$1 needs --ids" ;;
        *) text_option "$@" ;;
    esac
    shift 2
done

splits=(train valid)
if [ "${#tests[@]}" -gt 0 ]; then
    tests[0]=test   # the names that fairseq-preprocess gives them: test, test1, ...
    splits+=("${tests[@]}")
fi
style=(--lines "$lines")
if [ -n "$text" ]; then
    [ -z "$train$valid" ] || die "give --text, or --train and --valid, but not both"
    if [ "${#tests[@]}" -gt 0 ]; then
        [ "${test_share:-0}" -eq 0 ] ||
            die "--test-percent $test_share holds test text out, but --test gives it: one of them"
        test_percent=0
    fi
    [ $((valid_percent + test_percent)) -lt 100 ] ||
        die "--valid-percent $valid_percent and --test-percent $test_percent leave no training text"
    if [ "$test_percent" -gt 0 ]; then splits+=(test); fi
    style+=(--valid-percent "$valid_percent" --test-percent "$test_percent")
else
    [ -n "$train" ] && [ -n "$valid" ] ||
        die "give --text FILE, or --train FILE and --valid FILE (see --help)"
    [ -z "$percents" ] || die "--valid-percent and --test-percent split --text, which is not given"
fi
[ "$tokenise" = none ] || [ "$bpe" = subword-nmt ] ||
    die "--tokenise $tokenise needs --bpe subword-nmt: GPT-2's pieces are those of plain text"
need_gpt2_bpe

prepare_text() {
    rm -rf input text && mkdir input text
    local arguments=("${inputs[@]}" "${style[@]}")
    if [ "$bpe" = gpt2 ]; then arguments+=(--keep-spaces); fi
    if [ -n "$limit" ]; then arguments+=(--limit "$limit"); fi
    "$python" "$prepare_folder/book_text.py" split input text "${arguments[@]}"
}

find_python
checksums=$("$python" "$prepare_folder/book_text.py" digest "${files[@]}")
describe_files "$PREPARE_PROGRAM" "$checksums"
describe_text
recipe+=" ${style[*]} --tokenise $tokenise $text_recipe"
begin "$out" "$recipe" "$recipe_version"
if [ -n "$complete" ]; then exit 0; fi

stage "text" prepare_text
make_data "the user's files" "book_text.py ${style[*]}"
