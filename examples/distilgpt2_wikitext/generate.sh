#!/usr/bin/env bash
# Measures the models that train.sh made on WikiText-2's test set, and compares them.
#
#   examples/distilgpt2_wikitext/generate.sh [DATA [RUNS]] [-- FLAGS]
#
# Prefixes of 50 tokens, continued greedily by 100.  FLAGS go to genft evaluate-lm.  Writes
# RUNS/NAME/evaluation.json, the texts into RUNS/NAME/completions.txt, and RUNS/results.json; RECORD=1:
# also the table in README.md.
set -euo pipefail
# shellcheck source=examples/distilgpt2_wikitext/settings.sh
. "$(dirname "${BASH_SOURCE[0]}")/settings.sh"
for name in "${names[@]}"; do
  need_run "$name" examples/distilgpt2_wikitext/train.sh
  evaluate "$name" "$data" --prefix-length 50 --length 100 \
    --completions "$runs/$name/completions.txt"
done
score "$root/examples/language_modeling/score.py" distilgpt2_wikitext --data "$data" --runs "$runs" \
  "${names[@]}"
