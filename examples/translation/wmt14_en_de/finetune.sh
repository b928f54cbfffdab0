#!/usr/bin/env bash
# The ten-epoch set-up of the strategy study: the baseline, fine-tuned by each method in turn.
#
#   examples/translation/wmt14_en_de/finetune.sh [base|big|big-large-batch] [DATA [RUNS]] [-- FLAGS]
#
# The same data, batch, learning rate, schedule and number of epochs for all, and a fresh optimizer.
# METHODS='mle scalegrad-0.5' takes these methods; BASELINE=checkpoint.pt starts from another model than
# the average of what train.sh wrote last.
set -euo pipefail
# shellcheck source=examples/translation/wmt14_en_de/settings.sh
. "$(dirname "${BASH_SOURCE[0]}")/settings.sh"
need_data data-prep/prepare-wmt14-en-de.sh
if [ -z "${BASELINE:-}" ]; then
  need_run baseline examples/translation/wmt14_en_de/train.sh
  average baseline "$averaged"
fi

# A rate well below where the baseline's schedule ended, and constant after a short warm-up.
for name in ${METHODS:-"${methods[@]}"}; do
  flags=$(criterion "$name")
  # shellcheck disable=SC2086   # words are meant
  train "$name" "${shared[@]}" --finetune-from-model "$baseline" --criterion $flags \
    --lr 5e-5 --lr-scheduler fixed --warmup-updates 500 --max-epoch 10
done
