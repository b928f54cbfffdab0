#!/usr/bin/env bash
# Summarises the 11,490 test articles with every model that train.sh made, and makes the tables: on the
# screen and in RUNS/results.json; with RECORD=1 also in ../results-START.json and ../README.md.
#
#   START=bert-small2bert-small examples/summarization/cnn_dailymail/generate.sh [DATA [RUNS]]
#
# With the published beam and lengths, and greedily; mle also without repeating a trigram.
set -euo pipefail
# shellcheck source=examples/summarization/cnn_dailymail/settings.sh
. "$(dirname "${BASH_SOURCE[0]}")/settings.sh"
# shellcheck source=examples/summarization/measuring.sh
. "$root/examples/summarization/measuring.sh"

decoding+=(--batch-size 32)
for seed in $seeds; do
  measure_seed "$seed" "$data" "START=$start examples/summarization/cnn_dailymail/train.sh"
done
# shellcheck disable=SC2086   # seeds are words
score "$root/examples/summarization/score.py" --data "$data" --runs "$runs" --systems "$systems" \
  --results "results-$start" $seeds
