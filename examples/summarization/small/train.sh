#!/usr/bin/env bash
# Trains a small T5 from nothing to copy, then to choose what to copy, and fine-tunes it from there on the
# pairs, by each method.
#
#   examples/summarization/small/prepare.sh PAIRS TEXT...
#   examples/summarization/small/train.sh [DATA [RUNS]] [-- FAIRSEQ_TRAIN_FLAGS]      then evaluate.sh
#
# A finished run is not trained again; METHODS='mle scalegrad-0.5' and SEEDS='1001' train some of them.
set -euo pipefail
# shellcheck source=examples/training.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../training.sh"
# shellcheck source=examples/summarization/small/settings.sh
. "$root/examples/summarization/small/settings.sh"
[ -n "${DRY_RUN:-}" ] || [ -d "$data/pairs" ] || die "$data/pairs is not there: run prepare.sh"

train sentences "$data/sentences" "${model[@]}" --criterion label_smoothed_cross_entropy --dropout 0 \
  --batch-size 24 --lr 2e-3 --warmup-updates 300 --max-update 6500 --seed 1 --log-interval 50 \
  --save-interval-updates 500 --keep-interval-updates 1 --validate-interval-updates 1000
train base "$data/passages" "${model[@]}" --criterion label_smoothed_cross_entropy --dropout 0.1 \
  --finetune-from-model "$runs/sentences/checkpoint_last.pt" \
  --batch-size 16 --lr 1e-3 --warmup-updates 100 --max-update 1000 --seed 1 --log-interval 50 \
  --save-interval-updates 500 --keep-interval-updates 1

for seed in $seeds; do
  for system in $systems; do
    read -ra loss <<<"$(criterion "$system")"
    train "seed-$seed/$system" "$data/pairs" "${model[@]}" --criterion "${loss[@]}" --dropout 0.1 \
      --finetune-from-model "$runs/base/checkpoint_last.pt" \
      --batch-size 10 --lr 5e-4 --warmup-updates 10 --max-update 150 --seed "$seed" --log-interval 10
  done
done
