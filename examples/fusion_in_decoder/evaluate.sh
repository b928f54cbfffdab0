#!/usr/bin/env bash
# Answers the test questions, and the clozes held out, with every model that train.sh made, and makes the table: on the screen and
# in RUNS/results.json; with RECORD=1 also beside this script.
#
#   examples/fusion_in_decoder/evaluate.sh [DATA [RUNS]]
set -euo pipefail
# shellcheck source=examples/training.sh
. "$(dirname "${BASH_SOURCE[0]}")/../training.sh"
# shellcheck source=examples/fusion_in_decoder/settings.sh
. "$root/examples/fusion_in_decoder/settings.sh"

# answer RUN DATA SPLIT: into $runs/RUN/answers.json and answers.jsonl, unless they are there and newer.
answer() {
  local run=$1 output=$runs/$1/answers.json checkpoint=$runs/$1/checkpoint_last.pt words
  need_run "$run" examples/fusion_in_decoder/train.sh
  words=(genft evaluate-qa "$2" --path "$checkpoint" --split "$3" --n-context "$n_context" --beam 1
    --batch-size 4 --max-len-b 70 --output "$output" --predictions "$runs/$run/answers.jsonl")
  if [ "$gpus" -eq 0 ]; then words+=(--cpu); fi
  measure "$output" "$checkpoint" "$run: answering" "${words[@]}"
}

for seed in $seeds; do
  for system in $systems; do
    economy "$system"
    answer "seed-$seed/$system" "$folder" test
    if [ "$folder" = "$data/questions" ]; then
      answer "seed-$seed/$system-clozes" "$data/clozes" valid
    fi
  done
done
# shellcheck disable=SC2086   # seeds are words
score "$study/score.py" --data "$data" --runs "$runs" --systems "$systems" $seeds
