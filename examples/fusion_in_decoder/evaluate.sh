#!/usr/bin/env bash
# Answers the test questions with every model that train.sh made, and makes the table: on the screen and
# in RUNS/results.json; with RECORD=1 also beside this script.
#
#   examples/fusion_in_decoder/evaluate.sh [DATA [RUNS]]
set -euo pipefail
# shellcheck source=examples/training.sh
. "$(dirname "${BASH_SOURCE[0]}")/../training.sh"
# shellcheck source=examples/fusion_in_decoder/settings.sh
. "$root/examples/fusion_in_decoder/settings.sh"

for seed in $seeds; do
  for system in $systems; do
    run=seed-$seed/$system
    economy "$system"
    need_run "$run" examples/fusion_in_decoder/train.sh
    output=$runs/$run/answers.json checkpoint=$runs/$run/checkpoint_last.pt
    words=(genft evaluate-qa "$folder" --path "$checkpoint" --split test --n-context "$n_context"
      --beam 1 --batch-size 4 --max-len-b 70 --output "$output"
      --predictions "$runs/$run/answers.jsonl")
    if [ "$gpus" -eq 0 ]; then words+=(--cpu); fi
    command=$(printable "${words[@]}")
    if [ -n "${DRY_RUN:-}" ]; then printf '%s\n' "$command"; continue; fi
    if made "$output" "$checkpoint" "$command"; then continue; fi
    echo "== $run: answering"
    rm -f "$output"
    printf '%s\n' "$command" >"$output.command"
    "${words[@]}" >/dev/null
  done
done
# shellcheck disable=SC2086   # seeds are words
score "$study/score.py" --data "$data" --runs "$runs" --systems "$systems" $seeds
