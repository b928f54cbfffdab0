#!/usr/bin/env bash
# Measures every model that train.sh made, token by token and by its continuations, and compares them.
#
#   examples/open_ended_generation/generate.sh [small|medium|large] [DATA [RUNS]] [-- FLAGS]
#
# Prefixes of 50 tokens of the test set, cut as the published code cuts them, are continued by 100:
# greedily, from the nucleus of 0.9, from the 50 likeliest tokens, and by a beam of 10.  FLAGS go to
# genft evaluate-lm: -- --split valid.  Writes RUNS/NAME/evaluation*.json, the texts into
# RUNS/NAME/completions-*.txt, and RUNS/results.json; RECORD=1: also the tables in README.md.
set -euo pipefail
# shellcheck source=examples/open_ended_generation/settings.sh
. "$(dirname "${BASH_SOURCE[0]}")/settings.sh"

# search OUTPUT FLAGS...: the continuations of $name by one way of decoding.
search() {
  local output=$1
  shift
  OUTPUT=$output evaluate "$name" "$data" --peer-compatible --prefix-length 50 --length 100 \
    --completions "$runs/$name/completions-$output.txt" "$@"
}

for name in "${names[@]}"; do
  need_run "$name" examples/open_ended_generation/train.sh
  search greedy --tokens-per-sample 1024   # the blocks that their code predicts
  search nucleus --mode completions --search sampling --top-p 0.9
  search top-k --mode completions --search sampling --top-k 50
  search beam --mode completions --search beam --beam 10
done
score "$root/examples/language_modeling/score.py" open_ended_generation --data "$data" --runs "$runs" \
  --results "results-$size" --search greedy --search nucleus --search top-k --search beam "${names[@]}"
