#!/usr/bin/env bash
# DistilGPT-2, fine-tuned for one epoch of WikiText-2 by maximum likelihood and by ScaleGrad.
#
#   data-prep/prepare-wikitext-2.sh --bpe gpt2
#   HF_DIR=distilgpt2/ examples/distilgpt2_wikitext/train.sh [DATA [RUNS]] [-- FLAGS]
#   examples/distilgpt2_wikitext/generate.sh     the same arguments
#
# HF_DIR is a folder with DistilGPT-2 as transformers saves it.  METHODS='mle unlikelihood' trains these;
# PRECISION=fp16 is quicker than fp32.  One GPU is used however many there are, and none is needed: on
# two CPU cores it takes hours.  FLAGS go to fairseq-train.
set -euo pipefail
PRECISION=${PRECISION:-fp32}
# shellcheck source=examples/distilgpt2_wikitext/settings.sh
. "$(dirname "${BASH_SOURCE[0]}")/settings.sh"
need_data 'data-prep/prepare-wikitext-2.sh --bpe gpt2'
import_gpt2 "$gpt2"

# 2,334 updates of 8 blocks of 128 tokens: their epoch.
if [ "$gpus" -gt 1 ]; then device=(--distributed-world-size 1); fi
for name in "${names[@]}"; do
  read -ra loss <<<"$(criterion "$name")"
  train "$name" "$data" --task language_modeling --arch distilgpt2 --dropout 0.1 --attention-dropout 0.1 \
    --finetune-from-model "$gpt2/model.pt" --criterion "${loss[@]}" \
    --sample-break-mode none --tokens-per-sample 128 --batch-size 8 --max-tokens 1024 --update-freq 1 \
    --optimizer adam --adam-betas '(0.9, 0.999)' --adam-eps 1e-08 --weight-decay 0.01 --clip-norm 1.0 \
    --lr 2e-5 --lr-scheduler polynomial_decay --total-num-update 2334 --max-update 2334 \
    ${precision[@]+"${precision[@]}"} --seed "${SEED:-42}" --log-interval 50
done
