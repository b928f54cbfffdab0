#!/usr/bin/env bash
# Decodes the test set with every model that train.sh made, and by other ways of decoding with the MLE
# models, and compares them: tables on the screen and in RUNS; with RECORD=1 also beside this script.
#
#   examples/token_level_study/generate.sh translation|language_modeling [DATA [RUNS]]
set -euo pipefail
# shellcheck source=examples/training.sh
. "$(dirname "${BASH_SOURCE[0]}")/../training.sh"
# shellcheck source=examples/token_level_study/settings.sh
. "$root/examples/token_level_study/settings.sh"

# decode RUN OUTPUT TRANSLATION_FLAGS -- LANGUAGE_MODEL_FLAGS
decode() {
  local run=$1 translation=()
  local -x OUTPUT=$2
  shift 2
  while [ "$1" != -- ]; do translation+=("$1"); shift; done
  shift
  if [ "$task" = translation ]; then
    translate "$run" "$data" --tokenizer moses ${translation[@]+"${translation[@]}"}
  else
    evaluate "$run" "$data" --bpe-symbol none "$@"
  fi
}

systems=()
for seed in $seeds; do
  models=(baseline)
  for method in $methods; do models+=("$method-lr-$(chosen_rate "$method")"); done
  models+=(mle-equal-time)
  for name in "${models[@]}"; do
    need_run "seed-$seed/$name" "examples/token_level_study/train.sh $task"
    decode "seed-$seed/$name" test --
  done
  mle=seed-$seed/mle-lr-$(chosen_rate mle)
  decode "$mle" no-repeat --no-repeat-ngram-size 3 -- --no-repeat-ngram-size 3
  decode "$mle" nucleus --sampling --sampling-topp 0.9 --beam 1 --seed "$seed" -- \
    --search sampling --top-p 0.9 --seed "$seed"
done
# shellcheck disable=SC2086   # seeds are words
score "$study/score.py" "$task" --data "$data" --runs "$runs" --models "${models[*]}" $seeds
