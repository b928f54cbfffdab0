#!/usr/bin/env bash
# Translates the five test sets with every model that train.sh made (beam 5) and scores them together.
#
#   examples/translation/iwslt14_de_en/generate.sh [DATA [RUNS]] [-- FAIRSEQ_GENERATE_FLAGS]
#
# The data is lowercased, as published, and so is the scoring.  Writes RUNS/NAME/generate-test.txt and
# RUNS/results.json; RECORD=1: also the table in README.md.
set -euo pipefail
# shellcheck source=examples/translation/iwslt14_de_en/settings.sh
. "$(dirname "${BASH_SOURCE[0]}")/settings.sh"

names=(baseline)
for name in ${METHODS:-"${methods[@]}"}; do names+=("$name"); done
for name in "${names[@]}"; do
  need_run "$name" examples/translation/iwslt14_de_en/train.sh
  translate "$name" "$data" --source-lang de --target-lang en --tokenizer moses
done
score "$root/examples/translation/score.py" iwslt14_de_en --data "$data" --runs "$runs" \
  --lowercase --tokenised-bleu plain "${names[@]}"
