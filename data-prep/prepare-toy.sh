#!/usr/bin/env bash
# The two toy corpora, made offline, as fairseq data folders: a language-modelling one (English
# prose of the Python language reference) and a translation one (English to German number words).
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage() {
    cat <<USAGE
Usage: prepare-toy.sh [options]

Makes, without a network, OUT/language_modeling and OUT/translation (English to German).

  --out DIR       where both folders go (default: data-bin/toy)
  --only CORPUS   make language_modeling or translation alone
  --workers N     processes (default: 1); the result does not depend on it
  --help          this text

Environment: PYTHON  interpreter with fairseq, sacremoses and subword-nmt

The text of language_modeling is that of the Python that runs this, and follows its version.
A run that was killed continues when it is started again with the same options.
USAGE
}

# Prose: as many merges as leave frequent words whole. Number words: just enough for the sentences
# around them, so that German compounds fall into numerals, which is what there is to learn.
language_modeling_operations=2000
translation_operations=600
# A piece that merging leaves nowhere in the training text would be unknown: split it further.
vocabulary_threshold=1
recipe_version=1

folder=data-bin/toy corpora='language_modeling translation' workers=1

while [ "$#" -gt 0 ]; do
    case $1 in
        --help | -h) usage; exit 0 ;;
        --*=*) set -- "${1%%=*}" "${1#*=}" "${@:2}"; continue ;;
        --out) need_value "$@"; folder=$2 ;;
        --only)
            need_value "$@"
            case $2 in
                language_modeling | translation) corpora=$2 ;;
                *) die "$1 must be language_modeling or translation, but is $2" ;;
            esac
            ;;
        --workers) need_value "$@"; need_positive_integer "$1" "$2"; workers=$2 ;;
        *) die "unknown option $1 (see --help)" ;;
    esac
    shift 2
done

generate() {
    rm -rf generated raw && mkdir raw
    logged make_toy_corpora.py "$python" "$prepare_folder/make_toy_corpora.py" generated \
        --only "$corpus"
    local split suffix
    for split in train valid test; do
        "$python" "$prepare_folder/raw_text.py" \
            --sources "${suffixes[@]/#/generated/$corpus/$split.}" \
            --destinations "${suffixes[@]/#/raw/$split.}"
    done
}

# Neither corpus is tokenised. Moses takes the reference's inline code apart for good (more than
# half of the lines do not come back from detokenising), which gains a language model of this size
# four per cent in bits a character; and number words have no punctuation to split off. So what a
# model writes is plain text as soon as its pieces are joined.
split_words() {
    rm -rf bpe vocabularies && mkdir bpe vocabularies
    local split suffix
    for suffix in "${suffixes[@]}"; do tool cp "raw/train.$suffix" "vocabularies/$suffix"; done
    learn_bpe "$operations" "${suffixes[@]/#/vocabularies/}"
    for suffix in "${suffixes[@]}"; do
        for split in train valid test; do
            apply_bpe "raw/$split.$suffix" "bpe/$split.$suffix" \
                "vocabularies/$suffix.vocabulary" "$vocabulary_threshold"
        done
    done
}

finish_folder() {
    local extension=''
    if [ "$corpus" = language_modeling ]; then extension=.txt; fi
    new_data
    binarise "${preprocess[@]}" --trainpref "bpe/train$extension" \
        --validpref "bpe/valid$extension" --testpref "bpe/test$extension" --workers "$workers"
    # Untouched text: what output is scored against, and where prompts are taken from.
    mkdir -p "$data/raw"
    local suffix
    for suffix in "${suffixes[@]}"; do
        tool cp "raw/valid.$suffix" "raw/test.$suffix" "$data/raw"
    done
    "$python" "$prepare_folder/manifest.py" write "$data" --recipe "$recipe" \
        --version "$recipe_version" --source make_toy_corpora.py --inputs raw --stages bpe=bpe \
        --commands "subword-nmt learn-joint-bpe-and-vocab --symbols $operations" \
        "subword-nmt apply-bpe --vocabulary-threshold $vocabulary_threshold" \
        "fairseq-preprocess ${preprocess[*]}"
}

case $folder in /*) ;; *) folder=$PWD/$folder ;; esac
find_python
for corpus in $corpora; do
    if [ "$corpus" = language_modeling ]; then
        operations=$language_modeling_operations
        suffixes=(txt)
        preprocess=(--only-source)
    else
        operations=$translation_operations
        suffixes=(en de)
        preprocess=(--source-lang en --target-lang de --joined-dictionary)
    fi
    begin "$folder/$corpus" "$PREPARE_PROGRAM --only $corpus" "$recipe_version"
    if [ -n "$complete" ]; then continue; fi
    stage "generate $corpus" generate
    stage "bpe" split_words
    stage "binarise" finish_folder
    publish
done
