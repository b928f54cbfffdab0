#!/usr/bin/env bash
# Multi30k English-German: an MLE baseline, then fine-tuning by MLE and by ScaleGrad at equal updates.
#
#   data-prep/prepare-multi30k.sh --bpe-operations 4000
#   examples/translation/multi30k/train.sh [DATA [RUNS]] [-- FAIRSEQ_TRAIN_FLAGS]
#   examples/translation/multi30k/generate.sh
#
# The model is small enough for two CPU cores.  A run that is finished is not trained again, and one
# that was interrupted goes on from its last checkpoint.  SEED=2 gives another run (name RUNS too).
set -euo pipefail
# shellcheck source=examples/training.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../training.sh"
split_arguments "$@"
data=${arguments[0]:-$root/data-bin/multi30k_en_de}
runs=${arguments[1]:-$root/runs/multi30k}
need_data "data-prep/prepare-multi30k.sh --bpe-operations 4000"

shared=("$data" --task translation --source-lang en --target-lang de
  --arch transformer_iwslt_de_en --encoder-embed-dim 256 --decoder-embed-dim 256
  --encoder-ffn-embed-dim 512 --decoder-ffn-embed-dim 512
  --encoder-layers 3 --decoder-layers 2 --share-all-embeddings --dropout 0.2
  --optimizer adam --adam-betas '(0.9, 0.98)' --clip-norm 1.0 --max-tokens 2048
  --label-smoothing 0.1 --lr-scheduler inverse_sqrt --seed "${SEED:-1}" --log-interval 50)
train baseline "${shared[@]}" --criterion label_smoothed_cross_entropy \
  --lr 1e-3 --warmup-updates 500 --max-update 2400

finetune=("${shared[@]}" --finetune-from-model "$(chosen baseline)"
  --lr 2e-4 --warmup-updates 100 --max-update 600)
train mle "${finetune[@]}" --criterion label_smoothed_cross_entropy
train scalegrad-0.5 "${finetune[@]}" --criterion scalegrad --gamma 0.5
train scalegrad-0.2 "${finetune[@]}" --criterion scalegrad --gamma 0.2
