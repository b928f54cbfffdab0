#!/usr/bin/env bash
# The baseline of the strategy study: a small Transformer trained by maximum likelihood on Multi30k, which
# every strategy of multi30k.yaml then fine-tunes.
#
#   data-prep/prepare-multi30k.sh --bpe-operations 4000
#   examples/strategy_study/baseline.sh [DATA [RUNS]] [-- FAIRSEQ_TRAIN_FLAGS]
#   genft compare examples/strategy_study/multi30k.yaml
set -euo pipefail
# shellcheck source=examples/training.sh
. "$(dirname "${BASH_SOURCE[0]}")/../training.sh"
split_arguments "$@"
data=${arguments[0]:-$root/data-bin/multi30k_en_de}
runs=${arguments[1]:-$root/runs/strategy_study}
need_data "data-prep/prepare-multi30k.sh --bpe-operations 4000"

train baseline "$data" --task translation --source-lang en --target-lang de \
  --arch transformer_iwslt_de_en --encoder-embed-dim 128 --decoder-embed-dim 128 \
  --encoder-ffn-embed-dim 512 --decoder-ffn-embed-dim 512 --encoder-layers 2 --decoder-layers 2 \
  --share-all-embeddings --dropout 0.1 --criterion label_smoothed_cross_entropy --label-smoothing 0.1 \
  --optimizer adam --adam-betas '(0.9, 0.98)' --clip-norm 1.0 --lr 2e-3 --lr-scheduler inverse_sqrt \
  --warmup-updates 300 --max-tokens 2048 --max-update 3000 --seed "${SEED:-1}" --log-interval 50
