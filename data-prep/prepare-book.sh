#!/usr/bin/env bash
# Plain-text books, or any other text in files, to a fairseq data folder for a language model.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source-path=SCRIPTDIR source=plain_text.sh
. "$(dirname "${BASH_SOURCE[0]}")/plain_text.sh"

usage() {
    cat <<USAGE
Usage: prepare-book.sh --text FILE [--text FILE ...] [options]
       prepare-book.sh --train FILE [--train FILE ...] --valid FILE [--test FILE ...] [options]

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
  --limit N             only the first N training paragraphs, for a quick try
  --bpe subword-nmt|gpt2
                        pieces learned from the training text (default), or GPT-2's
  --bpe-operations N    merges that subword-nmt learns (default: 8000)
  --gpt2-bpe DIR        take GPT-2's encoder.json and vocab.bpe from DIR instead of
                        downloading them
  --tokenise none|moses moses, with subword-nmt only: split English text into Moses tokens first
                        (default: none, so that joined pieces are plain text)
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
# Every option that decides about the bytes; of a text not its name but its checksum.
checksums=$("$python" "$prepare_folder/book_text.py" digest "${files[@]}")
recipe=$PREPARE_PROGRAM
for ((i = 0; i < ${#inputs[@]}; i += 2)); do
    recipe+=" ${inputs[i]} ${checksums:0:12}"
    checksums=${checksums#*$'\n'}
done
describe_text
recipe+=" ${style[*]} --tokenise $tokenise $text_recipe"
begin "$out" "$recipe" "$recipe_version"
if [ -n "$complete" ]; then exit 0; fi

stage "text" prepare_text
make_data "the user's files" "book_text.py ${style[*]}"
