#!/usr/bin/env bash
# Multi30k (task 1, English-German image captions) from raw text to a fairseq data folder.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

official=https://raw.githubusercontent.com/multi30k/dataset/master/data/task1/raw

usage() {
    cat <<USAGE
Usage: prepare-multi30k.sh [options]

Prepares Multi30k English-German for fairseq: 29,000 training, 1,014 validation and 1,000 test
pairs, Moses-tokenised (hyphens split, entities not escaped), joint BPE, joined dictionary.

  --out DIR             result (default: data-bin/multi30k_en_de)
  --from DIR            take train.en.gz, val.de.gz, test_2016_flickr.en.gz ... from DIR
                        instead of downloading them
  --limit N             only the first N training pairs, for a quick try
  --bpe-operations N    merges of the joint BPE (default: 8000)
  --min-length N        drop training pairs with a side shorter than N tokens (default: 1)
  --max-length N        drop training pairs with a side longer than N tokens (default: 100)
  --length-ratio R      drop training pairs with one side R times as long (default: 3)
  --truecase on|off     write words in the case they have inside sentences (default: off);
                        a model then writes so, too: detruecase before scoring
  --workers N           processes (default: 2); the result does not depend on it
  --help                this text

Environment: PYTHON      interpreter with fairseq, sacremoses and subword-nmt
             MULTI30K_URL folder of a mirror, instead of $official

A run that was killed continues when it is started again with the same options.
USAGE
}

# SHA-256 of the uncompressed text, and its number of lines.
pinned() {
    case $1 in
        train.en) echo 460a15fbd157e34a7a9957ee388c1ca247fe47af3ef25fb50442af6c274e0fc6 ;;
        train.de) echo 2c2b73fd2b548fbcde3a875e0a78d6ee94d498bfdee6bd3eae3945779e9ddf72 ;;
        val.en) echo 1f2a23d992769b5b3d209b0a10dd0b77c08cceb1f20dfb97ed0aafa49d107227 ;;
        val.de) echo 660e09eb7e1da2f856ea13ee5ad3cf6d36b3d5b0b733c857e94c5747a3dfc660 ;;
        test_*.en) echo 399a4382932c1aadd3ceb9bef1008d388a64c76d4ae4e9d4728c6f4301cac182 ;;
        test_*.de) echo 4be6b5b3236b79c25475c6bb829800a7ce559e9ba7a1f6c2394fe4d40be46d16 ;;
        train) echo 29000 ;;
        val) echo 1014 ;;
        test_2016_flickr) echo 1000 ;;
    esac
}

# The vocabulary threshold keeps a side from using pieces that it hardly has itself; captions are
# so few that the 50 usual for millions of pairs would take most words to single letters.
vocabulary_threshold=5
recipe_version=1

out=data-bin/multi30k_en_de from='' limit='' bpe_operations=8000 workers=2 truecase=off
min_length=1 max_length=100 length_ratio=3

while [ "$#" -gt 0 ]; do
    case $1 in
        --help | -h) usage; exit 0 ;;
        --*=*) set -- "${1%%=*}" "${1#*=}" "${@:2}"; continue ;;
        --out) need_value "$@"; out=$2 ;;
        --from) need_value "$@"; from=$2 ;;
        --limit) need_value "$@"; need_positive_integer "$1" "$2"; limit=$2 ;;
        --bpe-operations) need_value "$@"; need_positive_integer "$1" "$2"; bpe_operations=$2 ;;
        --min-length) need_value "$@"; need_positive_integer "$1" "$2"; min_length=$2 ;;
        --max-length) need_value "$@"; need_positive_integer "$1" "$2"; max_length=$2 ;;
        --workers) need_value "$@"; need_positive_integer "$1" "$2"; workers=$2 ;;
        --length-ratio)
            need_value "$@"
            [[ $2 =~ ^[1-9][0-9]*(\.[0-9]+)?$ ]] || die "$1 must be a number from 1 up, but is $2"
            length_ratio=$2
            ;;
        --truecase)
            need_value "$@"
            case $2 in on | off) truecase=$2 ;; *) die "$1 must be on or off, but is $2" ;; esac
            ;;
        *) die "unknown option $1 (see --help)" ;;
    esac
    shift 2
done
[ "$min_length" -le "$max_length" ] ||
    die "--min-length $min_length must not be greater than --max-length $max_length"

unpack() {
    local ours theirs code
    rm -rf raw && mkdir -p raw download
    while read -r ours theirs; do
        if [ -z "$from" ]; then
            fetch "$url/$theirs.en.gz" "download/$theirs.en.gz"
            fetch "$url/$theirs.de.gz" "download/$theirs.de.gz"
        fi
        "$python" "$prepare_folder/raw_text.py" --lines "$(pinned "$theirs")" \
            --sources "${from:-download}/$theirs.en.gz" "${from:-download}/$theirs.de.gz" \
            --destinations "raw/$ours.en" "raw/$ours.de" \
            --sha256 "$(pinned "$theirs.en")" "$(pinned "$theirs.de")" || {
            code=$?
            # What came over the network and is wrong must not be found again by the next run.
            rm -f "download/$theirs.en.gz" "download/$theirs.de.gz"
            exit "$code"
        }
        need_lines "$(pinned "$theirs")" "raw/$ours.en" "raw/$ours.de"
    done <<< 'train train
valid val
test test_2016_flickr'
}

select_pairs() {
    rm -rf selected && mkdir selected
    local name pairs
    pairs=$(pinned train)
    if [ -n "$limit" ] && [ "$limit" -lt "$pairs" ]; then pairs=$limit; fi
    for name in train.en train.de; do head -n "$pairs" "raw/$name" > "selected/$name"; done
    for name in valid.en valid.de test.en test.de; do cp "raw/$name" "selected/$name"; done
    need_lines "$pairs" selected/train.en selected/train.de
    echo "    $pairs training pairs"
}

tokenise() {
    rm -rf tokenised models && mkdir tokenised models
    local truecaser=()
    if [ "$truecase" = on ]; then truecaser=(--truecase-models models); fi
    "$python" "$prepare_folder/moses_tokenise.py" selected tokenised --splits train valid test \
        --suffixes en de --languages en de --workers "$workers" "${truecaser[@]+"${truecaser[@]}"}"
    local name
    for name in train valid test; do
        need_lines "$(count_lines "selected/$name.en")" "tokenised/$name.en" "tokenised/$name.de"
    done
}

clean() {
    rm -rf cleaned && mkdir cleaned
    "$python" "$prepare_folder/clean_pairs.py" --sources tokenised/train.en tokenised/train.de \
        --destinations cleaned/train.en cleaned/train.de --min-length "$min_length" \
        --max-length "$max_length" --length-ratio "$length_ratio"
    need_lines "$(count_lines cleaned/train.en)" cleaned/train.de
    cp tokenised/valid.en tokenised/valid.de tokenised/test.en tokenised/test.de cleaned
}

split_words() {
    rm -rf bpe vocabularies && mkdir bpe vocabularies
    local split language
    cp cleaned/train.en vocabularies/en
    cp cleaned/train.de vocabularies/de
    learn_bpe "$bpe_operations" vocabularies/en vocabularies/de
    for language in en de; do
        for split in train valid test; do
            apply_bpe "cleaned/$split.$language" "bpe/$split.$language" \
                "vocabularies/$language.vocabulary" "$vocabulary_threshold"
        done
    done
}

finish_folder() {
    new_data
    binarise --source-lang en --target-lang de --trainpref bpe/train --validpref bpe/valid \
        --testpref bpe/test --joined-dictionary --workers "$workers"
    # Untouched text, what detokenised output is scored against.
    mkdir -p "$data/raw"
    cp raw/valid.en raw/valid.de raw/test.en raw/test.de "$data/raw"
    if [ "$truecase" = on ]; then cp models/truecase-model.en models/truecase-model.de "$data"; fi
    "$python" "$prepare_folder/manifest.py" write "$data" --recipe "$recipe" \
        --version "$recipe_version" --source "$official" --inputs raw \
        --stages selected=selected tokenised=tokenised cleaned=cleaned bpe=bpe \
        --commands "moses_tokenise.py --languages en de (sacremoses: punctuation normalised,\
 hyphens split, entities not escaped)" \
        "clean_pairs.py --min-length $min_length --max-length $max_length\
 --length-ratio $length_ratio" \
        "subword-nmt learn-joint-bpe-and-vocab --symbols $bpe_operations" \
        "subword-nmt apply-bpe --vocabulary-threshold $vocabulary_threshold" \
        "fairseq-preprocess --source-lang en --target-lang de --joined-dictionary"
}

url=${MULTI30K_URL:-$official}
if [ -n "$from" ]; then
    [ -d "$from" ] || die "--from: there is no folder $from"
    from=$(cd "$from" && pwd)
    for name in train.en train.de val.en val.de test_2016_flickr.en test_2016_flickr.de; do
        [ -f "$from/$name.gz" ] || die "--from: there is no file $from/$name.gz"
    done
fi
find_python
# Every option that decides about the bytes; where they come from and go to does not.
recipe="$PREPARE_PROGRAM ${limit:+--limit $limit }--bpe-operations $bpe_operations\
 --min-length $min_length --max-length $max_length --length-ratio $length_ratio\
 --truecase $truecase"
begin "$out" "$recipe" "$recipe_version"
if [ -n "$complete" ]; then exit 0; fi

stage "verify and unpack" unpack
stage "select" select_pairs
stage "tokenise" tokenise
stage "clean" clean
stage "bpe" split_words
stage "binarise" finish_folder
publish
cat <<HINT
    fairseq-train $out -s en -t de ...
    fairseq-generate $out -s en -t de --tokenizer moses --bpe subword_nmt \\
        --bpe-codes $out/bpe.codes ...           (fairseq-interactive: --moses-no-escape, too)
    sacrebleu $out/raw/test.de < detokenised output, sorted by its H- numbers
HINT
