#!/usr/bin/env bash
# Evaluates every model that train.sh made on the test set, and compares them.
#
#   examples/language_modeling/wikitext103/generate.sh [small|medium] [DATA [RUNS]] [-- FLAGS]
#
# Perplexity and accuracy; prefixes of 50 tokens, continued greedily by 100, as published.  FLAGS go to
# genft evaluate-lm.  Writes RUNS/NAME/evaluation.json and RUNS/results.json; RECORD=1: also the table
# in README.md.
set -euo pipefail
# shellcheck source=examples/language_modeling/wikitext103/settings.sh
. "$(dirname "${BASH_SOURCE[0]}")/settings.sh"

names=()
if [ -z "${BASELINE:-}" ]; then names+=(baseline); fi
for name in ${METHODS:-"${methods[@]}"}; do names+=("$name"); done
for name in "${names[@]}"; do
  need_run "$name" examples/language_modeling/wikitext103/train.sh
  evaluate "$name" "$data" --prefix-length 50 --length 100
done
score "$root/examples/language_modeling/score.py" language_modeling/wikitext103 --data "$data" --runs "$runs" \
  --results "results-$size" "${names[@]}"
