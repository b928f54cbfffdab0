#!/usr/bin/env bash
# Summarises the test articles with every model that train.sh made, and makes the tables: on the screen
# and in RUNS/results.json; with RECORD=1 also in ../results.json and ../README.md.
#
#   examples/summarization/small/evaluate.sh [DATA [RUNS]]
#
# By a beam of 4 and greedily; mle also without repeating a trigram.  Everything is compared with mle's
# summaries of the same seed.  RUNS/seed-SEED/SYSTEM/summaries*.txt are for people to read.
set -euo pipefail
# shellcheck source=examples/training.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../training.sh"
# shellcheck source=examples/summarization/small/settings.sh
. "$root/examples/summarization/small/settings.sh"
# shellcheck source=examples/summarization/measuring.sh
. "$root/examples/summarization/measuring.sh"

beam=4 decoding=(--max-len-b 130 --batch-size 20)
for seed in $seeds; do measure_seed "$seed" "$data/pairs" examples/summarization/small/train.sh; done
# shellcheck disable=SC2086   # seeds are words
score "$root/examples/summarization/score.py" --data "$data/sentences" --data "$data/passages" \
  --data "$data/pairs" --runs "$runs" --systems "$systems" --pretraining 'sentences base' $seeds
