#!/usr/bin/env bash
# Multi30k (task 1, English-German image captions) from raw text to a fairseq data folder.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source-path=SCRIPTDIR source=parallel.sh
. "$prepare_folder/parallel.sh"

official=https://raw.githubusercontent.com/multi30k/dataset/master/data/task1/raw

usage() {
    cat <<USAGE
Usage: prepare-multi30k.sh [options]

Prepares Multi30k English-German for fairseq: 29,000 training, 1,014 validation and 1,000 test
pairs, Moses-tokenised (hyphens split, entities not escaped), joint BPE, joined dictionary.

  --out DIR             result (default: data-bin/multi30k_en_de)
  --from DIR            take train.en.gz, val.de.gz, test_2016_flickr.en.gz ... from DIR
                        instead of downloading them
$(shared_usage)

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

src=en tgt=de
out=data-bin/multi30k_en_de bpe_operations=8000 max_length=100 length_ratio=3
# The vocabulary threshold keeps a side from using pieces that it hardly has itself; captions are
# so few that the 50 usual for millions of pairs would take most words to single letters.
vocabulary_threshold=5

unpack() {
    local ours theirs folder pins
    rm -rf raw && mkdir -p raw download
    while read -r ours theirs <&3; do
        folder=${from:-download} pins=()
        if [ -z "$from" ]; then
            fetch "$mirror/$theirs.en.gz" "download/$theirs.en.gz"
            fetch "$mirror/$theirs.de.gz" "download/$theirs.de.gz"
            suspects=("download/$theirs.en.gz" "download/$theirs.de.gz")
        fi
        if [ -z "$unpinned" ]; then
            pins=(--lines "$(pinned "$theirs")"
                --sha256 "$(pinned "$theirs.en")" "$(pinned "$theirs.de")")
        fi
        or_discard "$python" "$prepare_folder/raw_text.py" "${pins[@]+"${pins[@]}"}" \
            --sources "$folder/$theirs.en.gz" "$folder/$theirs.de.gz" \
            --destinations "raw/$ours.en" "raw/$ours.de"
        if [ -z "$unpinned" ]; then
            need_lines "$(pinned "$theirs")" "raw/$ours.en" "raw/$ours.de"
        fi
    done 3<<< 'train train
valid val
test test_2016_flickr'
}

parse_options "$@"
mirror=${MULTI30K_URL:-$official}
if [ -n "$from" ]; then
    for name in train.en train.de val.en val.de test_2016_flickr.en test_2016_flickr.de; do
        [ -f "$from/$name.gz" ] || die "--from: there is no file $from/$name.gz"
    done
fi
start
stage "verify and unpack" unpack
prepare_pairs
