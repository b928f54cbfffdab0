#!/usr/bin/env bash
# A pretrained model, fine-tuned on CNN/Daily Mail by each method, as published but for the loss.
#
#   START=bert-small2bert-small HF_DIR=bert-small/ examples/summarization/cnn_dailymail/prepare.sh
#   START=bert-small2bert-small examples/summarization/cnn_dailymail/train.sh [DATA [RUNS]] [-- FLAGS]
#   START=bert-small2bert-small examples/summarization/cnn_dailymail/generate.sh [DATA [RUNS]]
#
# START: see prepare.sh.  METHODS='mle scalegrad-0.5' and SEEDS='42' train some of them.  An update sees
# as many tokens however many GPUs there are.  FLAGS go to fairseq-train.
set -euo pipefail
# shellcheck source=examples/summarization/cnn_dailymail/settings.sh
. "$(dirname "${BASH_SOURCE[0]}")/settings.sh"
need_data "START=$start examples/summarization/cnn_dailymail/prepare.sh"
workers=$((gpus > 0 ? gpus : 1))
set_batch "$tokens" $((tokens / workers < 8192 ? tokens / workers : 8192))

for seed in $seeds; do
  for system in $systems; do
    read -ra loss <<<"$(criterion "$system")"
    # Of every method the checkpoint with the best plain likelihood of the validation set is kept.
    train "seed-$seed/$system" "$data" --task translation --source-lang source --target-lang target \
      --arch hugging_face --hugging-face "$runs/start" --finetune-from-model "$runs/start/model.pt" \
      --criterion "${loss[@]}" "${tune[@]}" "${batch[@]}" ${precision[@]+"${precision[@]}"} \
      --validate-interval-updates 5000 --save-interval-updates 5000 --keep-interval-updates 1 \
      --best-checkpoint-metric nll_loss --seed "$seed" --log-interval 100
  done
done
