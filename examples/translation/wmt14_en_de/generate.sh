#!/usr/bin/env bash
# Translates newstest2014 with the averaged baseline and with what finetune.sh made of it, and scores.
#
#   examples/translation/wmt14_en_de/generate.sh [base|big|big-large-batch] [DATA [RUNS]] [-- FLAGS]
#
# Beam 4, length penalty 0.6, at most 50 pieces longer than the source, as published.  Fine-tuned
# models that are not there yet are left out.  FLAGS go to fairseq-generate.  Writes
# RUNS/NAME/generate-test.txt and RUNS/results.json; RECORD=1: also the table in README.md.
set -euo pipefail
# shellcheck source=examples/translation/wmt14_en_de/settings.sh
. "$(dirname "${BASH_SOURCE[0]}")/settings.sh"
names=()
if [ -z "${BASELINE:-}" ]; then
  need_run baseline examples/translation/wmt14_en_de/train.sh
  average baseline "$averaged"
  names+=(baseline)
fi
for name in ${METHODS:-"${methods[@]}"}; do
  if [ -n "${DRY_RUN:-}" ] || [ -e "$runs/$name/finished" ]; then names+=("$name"); fi
done
[ "${#names[@]}" -gt 0 ] || die "nothing in $runs is trained"
for name in "${names[@]}"; do
  translate "$name" "$data" --tokenizer moses --beam 4 --lenpen 0.6 --max-len-a 1 --max-len-b 50
done
score "$root/examples/translation/score.py" wmt14_en_de --data "$data" --runs "$runs" \
  --results "results-$setup" --tokenised-bleu compounds-split "${names[@]}"
