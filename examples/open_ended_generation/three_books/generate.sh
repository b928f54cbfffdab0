#!/usr/bin/env bash
# Evaluates every model that train.sh made on a book and on WikiText's test set, neither of which was
# trained on, and compares them.
#
#   examples/open_ended_generation/three_books/generate.sh [DATA [RUNS]] [-- EVALUATE_LM_FLAGS]
#
# Prefixes of 50 pieces are continued by 100, greedily and from the nucleus of 0.9, 256 of each text; the
# MLE models also without repeating a 3-gram.  Writes RUNS/RUN/evaluation-*.json, the texts beside them,
# and RUNS/results.json; RECORD=1: also ../results.json, and tables and samples in ../README.md.
set -euo pipefail
# shellcheck source=examples/training.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../training.sh"
# shellcheck source=examples/open_ended_generation/three_books/settings.sh
. "$(dirname "${BASH_SOURCE[0]}")/settings.sh"

# decode RUN OUTPUT SEED FLAGS...: both texts.
decode() {
  local run=$1 output=$2 seed=$3 split
  shift 3
  for split in test test1; do
    OUTPUT=$split-$output evaluate "$run" "$data" --limit 256 --batch-size 128 --show 0 "$@" \
      --split "$split" --completions "$runs/$run/completions-$split-$output.jsonl"
  done
}
# all RUN SEED
all() {
  need_run "$1" examples/open_ended_generation/three_books/train.sh
  decode "$1" greedy "$2"
  decode "$1" nucleus "$2" --mode completions --search sampling --top-p 0.9 --seed "$2"
}

all baseline 1
for seed in $seeds; do
  for method in $methods; do all "seed-$seed/$method" "$seed"; done
  decode "seed-$seed/mle" no-repeat "$seed" --mode completions --no-repeat-ngram-size 3
done
# shellcheck disable=SC2086   # seeds are words
score "$root/examples/open_ended_generation/three_books/table.py" --data "$data" --runs "$runs" \
  --methods "$methods" $seeds
