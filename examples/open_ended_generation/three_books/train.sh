#!/usr/bin/env bash
# The papers' comparison at a size that two CPU cores can train: one language model of three books,
# fine-tuned from the same checkpoint by MLE, ScaleGrad and unlikelihood, each over several seeds.
#
#   examples/open_ended_generation/three_books/train.sh [DATA [RUNS]] [-- FAIRSEQ_TRAIN_FLAGS]
#
# In the environment: SEEDS='1001 2001 3001', METHODS, UPDATES=150 of fine-tuning; see ../../training.sh
# for more.  A finished run is not trained again, so that more seeds add to the table.
set -euo pipefail
# shellcheck source=examples/training.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../training.sh"
# shellcheck source=examples/open_ended_generation/three_books/settings.sh
. "$(dirname "${BASH_SOURCE[0]}")/settings.sh"

train baseline "$data" "${model[@]}" "${baseline[@]}" --seed 1 \
  --criterion label_smoothed_cross_entropy --log-interval 100
for seed in $seeds; do
  for method in $methods; do
    flags=$(criterion "$method")
    read -ra flags <<<"$flags"
    train "seed-$seed/$method" "$data" "${model[@]}" "${finetune[@]}" --seed "$seed" \
      --criterion "${flags[@]}" --finetune-from-model "$runs/baseline/checkpoint_best.pt" \
      --log-interval 50
  done
done
