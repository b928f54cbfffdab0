#!/usr/bin/env bash
# IWSLT14 German-English: fairseq's own set-up, then fine-tuning by MLE and by ScaleGrad.
#
#   data-prep/prepare-iwslt14-de-en.sh
#   examples/translation/iwslt14_de_en/train.sh [DATA [RUNS]] [-- FAIRSEQ_TRAIN_FLAGS]
#   examples/translation/iwslt14_de_en/generate.sh
#
# A few hours on one GPU.  GPUS=n, MAX_TOKENS=n and PRECISION=fp16|bf16|fp32: see ../../training.sh.
set -euo pipefail
# shellcheck source=examples/translation/iwslt14_de_en/settings.sh
. "$(dirname "${BASH_SOURCE[0]}")/settings.sh"
need_data data-prep/prepare-iwslt14-de-en.sh

set_batch 4096 $((4096 / (gpus > 0 ? gpus : 1)))
shared=("$data" --task translation --source-lang de --target-lang en
  --arch transformer_iwslt_de_en --share-decoder-input-output-embed --dropout 0.3
  --label-smoothing 0.1 --weight-decay 0.0001
  --optimizer adam --adam-betas '(0.9, 0.98)' --clip-norm 0.0
  "${batch[@]}" ${precision[@]+"${precision[@]}"} --seed "${SEED:-1}" --log-interval 100)

# About 50 epochs; a checkpoint about once an epoch.
train baseline "${shared[@]}" --criterion label_smoothed_cross_entropy \
  --lr 5e-4 --lr-scheduler inverse_sqrt --warmup-updates 4000 --max-update 50000 \
  --save-interval-updates 1000 --keep-interval-updates "$averaged"
average baseline "$averaged"

# At equal updates, with otherwise the same flags.
for name in ${METHODS:-"${methods[@]}"}; do
  flags=$(criterion "$name")
  # shellcheck disable=SC2086   # words are meant
  train "$name" "${shared[@]}" --finetune-from-model "$(chosen baseline)" --criterion $flags \
    --lr 5e-5 --lr-scheduler fixed --warmup-updates 500 --max-update 10000
done
