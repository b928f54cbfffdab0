#!/usr/bin/env bash
# IWSLT 2014 German-English (talks) from the official archive to a fairseq data folder.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source-path=SCRIPTDIR source=parallel.sh
. "$prepare_folder/parallel.sh"

# A copy of the official archive that WIT3 no longer serves.
official=https://dl.fbaipublicfiles.com/fairseq/data/iwslt14

usage() {
    cat <<USAGE
Usage: prepare-iwslt14-de-en.sh [options]

Prepares IWSLT 2014 German-English for fairseq: of 174,443 pairs from talks those that are clean,
one in 23 of them for validation, and 6,750 pairs of five earlier test sets for testing;
Moses-tokenised (hyphens split, entities not escaped), lowercased, joint BPE, joined dictionary.
fairseq's own preparation, with Moses itself, keeps 167,522: 160,239 for training and 7,283 for
validation. It neither splits hyphens nor normalises punctuation, so counts differ a little.

  --out DIR             result (default: $out)
  --from DIR            take de-en.tgz from DIR instead of downloading it, or its folder de-en
  --lowercase on|off    off for cased text, against the published setting (default: $lowercase)
$(shared_usage)

Environment: PYTHON       interpreter with fairseq, sacremoses and subword-nmt
             IWSLT14_URL  folder of a mirror, instead of
                          $official

A run that was killed continues when it is started again with the same options.
USAGE
}

src=de tgt=en out=data-bin/iwslt14_de_en bpe_operations=10000 max_length=175 length_ratio=1.5
lowercase=on held_out_every=23
# The published setting has none; this one keeps pieces that a language never has from appearing.
vocabulary_threshold=1

# No digest of the archive is published that we know; the size is what its server has announced.
archive_pins() {
    echo 19982877 - -
}

# The number of pairs is what Moses' cleaning counts when fairseq's preparation runs.
training_pairs=174443
# The test sets and their numbers of pairs, in the order of fairseq's preparation.
tests='TED.dev2010 887
TEDX.dev2012 1165
TED.tst2010 1565
TED.tst2011 1433
TED.tst2012 1700'

members=(de-en/train.tags.de-en.de de-en/train.tags.de-en.en)
while read -r name _ <&3; do
    members+=("de-en/IWSLT14.$name.de-en.de.xml" "de-en/IWSLT14.$name.de-en.en.xml")
done 3<<< "$tests"

unpack() {
    local name pairs number=2 language pins=()
    rm -rf raw parts && mkdir -p raw parts
    obtain de-en.tgz "${members[@]}"
    if [ -z "$unpinned" ]; then pins=(--sentences "$training_pairs"); fi
    or_discard "$python" "$prepare_folder/talk_text.py" "${pins[@]+"${pins[@]}"}" \
        --sources "${found[@]:0:2}" --destinations raw/train.de raw/train.en
    while read -r name pairs <&3; do
        if [ -z "$unpinned" ]; then pins=(--segments "$pairs"); fi
        or_discard "$python" "$prepare_folder/sgm_text.py" "${pins[@]+"${pins[@]}"}" \
            --sources "${found[@]:number:2}" --destinations parts/test.de parts/test.en
        for language in de en; do tool cat "parts/test.$language" >> "raw/test.$language"; done
        number=$((number + 2))
    done 3<<< "$tests"
    if [ -z "$unpinned" ]; then
        need_lines "$training_pairs" raw/train.de raw/train.en
        need_lines 6750 raw/test.de raw/test.en
    fi
    need_lines "$(count_lines raw/test.de)" raw/test.en
    rm -rf members parts
}

parse_options "$@"
mirror=${IWSLT14_URL:-$official}
check_source de-en.tgz "${members[@]}"
start
stage "verify and unpack" unpack
prepare_pairs
