#!/usr/bin/env bash
# The first study: what the token-level methods do to a small model, beside MLE, after equal updates.
#
#   data-prep/prepare-multi30k.sh --bpe-operations 4000
#   data-prep/prepare-book.sh --text NOVEL --text NOVEL ... --bpe-operations 2000 --out data-bin/books
#   examples/token_level_study/train.sh translation [DATA [RUNS]] [-- FAIRSEQ_TRAIN_FLAGS]
#   examples/token_level_study/train.sh language_modeling [DATA [RUNS]]     then generate.sh
#
# For each seed a baseline is trained by maximum likelihood, and from it one model a method.  The first
# seed tries every learning rate with every method; the one that validation likes best (choose.py) is
# what the other seeds use.  One more MLE model stops when the time of the other methods is up
# (equal_time.py).  A finished run is not trained again, so that SEEDS='1001 2001 3001' after
# SEEDS='1001 2001' adds to the table.  The seeds lie further apart than a run has updates, because
# fairseq draws with (seed + update).
set -euo pipefail
# shellcheck source=examples/training.sh
. "$(dirname "${BASH_SOURCE[0]}")/../training.sh"
# shellcheck source=examples/token_level_study/settings.sh
. "$root/examples/token_level_study/settings.sh"

# shared SEED: sets $shared, the flags of every run of a seed.
shared() {
  shared=("$data" "${model[@]}" --seed "$1" --optimizer adam --adam-betas '(0.9, 0.98)'
    --clip-norm 1.0 --lr-scheduler inverse_sqrt --log-interval 20)
}

# finetune SEED NAME METHOD RATE FLAGS...
finetune() {
  local seed=$1 name=$2 method=$3 rate=$4 flags
  shift 4
  flags=$(criterion "$method")
  read -ra flags <<<"$flags"
  shared "$seed"
  train "seed-$seed/$name" "${shared[@]}" --criterion "${flags[@]}" --report-accuracy \
    "${finetune[@]}" --lr "$rate" \
    --finetune-from-model "$runs/seed-$seed/baseline/checkpoint_best.pt" "$@"
}

for seed in $seeds; do
  shared "$seed"
  train "seed-$seed/baseline" "${shared[@]}" --criterion label_smoothed_cross_entropy \
    --report-accuracy "${baseline[@]}"
  for method in $methods; do
    if [ "$seed" = "$first_seed" ]; then rates=$learning_rates; else rates=$(chosen_rate "$method"); fi
    for rate in $rates; do
      finetune "$seed" "$method-lr-$rate" "$method" "$rate"
      if [ "$seed" = "$first_seed" ] && [ "$task" = translation ]; then
        # In a subshell without $extra, which is meant for training.
        (extra=() OUTPUT=valid
          translate "seed-$seed/$method-lr-$rate" "$data" --tokenizer moses --gen-subset valid)
      fi
    done
  done
done
for seed in $seeds; do
  finetune "$seed" mle-equal-time mle "$(chosen_rate mle)" --max-update "$(equal_time_updates)"
done
