#!/usr/bin/env bash
# GPT-2, fine-tuned on WikiText-103 by maximum likelihood, ScaleGrad and unlikelihood, as published.
#
#   data-prep/prepare-wikitext-103-bpe.sh --tensors
#   HF_DIR=gpt2-medium/ examples/open_ended_generation/train.sh [small|medium|large] [DATA [RUNS]] [-- FLAGS]
#   examples/open_ended_generation/generate.sh     the same arguments
#
# HF_DIR is a folder with GPT-2 of this size as transformers saves it.  METHODS='mle scalegrad-0.2'
# trains these; SEED replaces the published seeds; PRECISION=fp16 is quicker than the published fp32.
# One GPU is used however many there are.  FLAGS go to fairseq-train.
set -euo pipefail
PRECISION=${PRECISION:-fp32}
# shellcheck source=examples/open_ended_generation/settings.sh
. "$(dirname "${BASH_SOURCE[0]}")/settings.sh"
need_data 'data-prep/prepare-wikitext-103-bpe.sh --tensors'
import_gpt2 "$gpt2"

# An update is one block of 300 tokens.  The published rate falls in a line that would end with the
# epoch, of about 395,000 blocks, long after training has stopped.
if [ "$gpus" -gt 1 ]; then device=(--distributed-world-size 1); fi
shared=("$data" --task language_modeling "${model[@]}" --dropout 0.0 --attention-dropout 0.0
  --sample-break-mode none --tokens-per-sample 300 --max-tokens 300 --max-tokens-valid 2400
  --update-freq 1 --optimizer adam --adam-betas '(0.9, 0.999)' --adam-eps 1e-08 --weight-decay 0.01
  --clip-norm 0.0 --lr-scheduler polynomial_decay --total-num-update 395000
  --validate-interval-updates 1000 --save-interval-updates 1000 --keep-interval-updates 1
  --best-checkpoint-metric nll_loss ${precision[@]+"${precision[@]}"} --log-interval 100)
for name in "${names[@]}"; do
  set_up "$name"
  read -ra loss <<<"$(criterion "$method")"
  # As the flags' defaults are, and as published.
  if [ "${loss[0]}" = sequence_unlikelihood ]; then
    loss+=(--sequence-rate 0.5 --sequence-prefix-length 50 --sequence-completion-length 100
      --sequence-ngram 4)
  fi
  train "$name" "${shared[@]}" --finetune-from-model "$start" --criterion "${loss[@]}" "${schedule[@]}"
done
