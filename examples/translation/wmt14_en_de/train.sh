#!/usr/bin/env bash
# WMT14 English-German: a Transformer as published, by maximum likelihood with label smoothing.
#
#   data-prep/prepare-wmt14-en-de.sh
#   examples/translation/wmt14_en_de/train.sh [base|big|big-large-batch] [DATA [RUNS]] [-- FLAGS]
#   examples/translation/wmt14_en_de/generate.sh     the same arguments
#
# However many GPUs there are (or GPUS=n), an update sees the same number of tokens: --update-freq
# makes up for fewer.  MAX_TOKENS=2048 halves what is on a GPU at a time.  PRECISION=bf16 or fp32
# instead of fp16.  FLAGS go to fairseq-train.
set -euo pipefail
# shellcheck source=examples/translation/wmt14_en_de/settings.sh
. "$(dirname "${BASH_SOURCE[0]}")/settings.sh"
need_data data-prep/prepare-wmt14-en-de.sh

train baseline "${shared[@]}" --criterion label_smoothed_cross_entropy "${peak[@]}" \
  --lr-scheduler inverse_sqrt --warmup-updates 4000 --warmup-init-lr 1e-07 \
  --max-update "$updates" --save-interval-updates "$interval" --keep-interval-updates "$averaged"
