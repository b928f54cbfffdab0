#!/usr/bin/env bash
# WikiText-103 in GPT-2's pieces: a language model of GPT-2's size from scratch, then fine-tuning by
# MLE, ScaleGrad and unlikelihood.
#
#   data-prep/prepare-wikitext-103-bpe.sh
#   examples/language_modeling/wikitext103/train.sh [small|medium] [DATA [RUNS]] [-- FLAGS]
#   examples/language_modeling/wikitext103/generate.sh     the same arguments
#
# GPUS=n, MAX_TOKENS=n and PRECISION=fp16|bf16|fp32: see ../../training.sh; they change how long it
# takes.  BASELINE=checkpoint.pt fine-tunes another model.  FLAGS go to fairseq-train.
set -euo pipefail
# shellcheck source=examples/language_modeling/wikitext103/settings.sh
. "$(dirname "${BASH_SOURCE[0]}")/settings.sh"
need_data data-prep/prepare-wikitext-103-bpe.sh

shared=("$data" --task language_modeling "${model[@]}" --share-decoder-input-output-embed
  --dropout 0.1 --weight-decay 0.01 --sample-break-mode none --optimizer adam
  ${precision[@]+"${precision[@]}"} --seed "${SEED:-1}" --log-interval 100)

# fairseq's set-up for a Transformer on WikiText-103: 2 GPUs, 16 batches of 2048 tokens an update.
if [ -z "${BASELINE:-}" ]; then
  set_batch $((2 * 16 * 2048)) 4096
  train baseline "${shared[@]}" --criterion label_smoothed_cross_entropy \
    --tokens-per-sample 512 "${batch[@]}" --adam-betas '(0.9, 0.98)' --clip-norm 0.0 \
    --lr 5e-4 --lr-scheduler inverse_sqrt --warmup-updates 4000 --warmup-init-lr 1e-07 \
    --max-update 50000
fi

# The ScaleGrad authors' set-up for GPT-2 (see ../../open_ended_generation): 35,000 updates of one
# block of 300 tokens, no dropout, a rate that falls to 0 at the end of the epoch; which is work
# for one GPU.
if [ "$gpus" -gt 1 ]; then device=(--distributed-world-size 1); fi
for name in ${METHODS:-"${methods[@]}"}; do
  flags=$(criterion "$name")
  # shellcheck disable=SC2086   # words are meant
  train "$name" "${shared[@]}" --finetune-from-model "$baseline" --criterion $flags \
    --tokens-per-sample 300 --max-tokens 300 --update-freq 1 --clip-norm 0.0 --dropout 0 \
    --lr 2e-5 --lr-scheduler polynomial_decay --total-num-update 395000 --max-update 35000 \
    --save-interval-updates 5000 --keep-interval-updates 1
done
