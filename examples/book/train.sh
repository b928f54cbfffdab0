#!/usr/bin/env bash
# A language model of a book, and after every epoch a sample of what it writes.
#
#   data-prep/prepare-book.sh --bpe gpt2 --text book.txt
#   HF_DIR=gpt2/ examples/book/train.sh [DATA [RUNS]] [-- FLAGS]
#   examples/book/generate.sh           the same, with the same environment
#
# HF_DIR is a folder with GPT-2 as transformers saves it, ARCH its size (gpt2; gpt2_medium, distilgpt2).
# Without HF_DIR a small model is trained from scratch; DATA is then best in pieces of its own (no --bpe
# gpt2).  Also in the environment: EPOCHS, METHOD (scalegrad-0.5), and what ../training.sh says.  It
# takes a GPU where there is one.  FLAGS go to fairseq-train.
set -euo pipefail
# shellcheck source=examples/book/settings.sh
. "$(dirname "${BASH_SOURCE[0]}")/settings.sh"

if [ -n "${HF_DIR:-}" ]; then import_gpt2 "$gpt2"; fi
set_batch "$tokens" $((tokens / workers))
# The schedule wants the number of updates beforehand: how many blocks the text has, by batches.
# shellcheck disable=SC2154   # set_batch sets it
updates=$(updates_an_epoch "$block" "${batch[@]}")
updates=$((epochs * updates))
read -ra loss <<<"$(criterion "$method")"

# sample EPOCH: two held-out beginnings, continued, into sample-epoch-EPOCH.txt and onto the screen.
sample() {
  local file=$runs/$name/sample-epoch-$1.txt
  local words=(genft evaluate-lm "$data" --path "$runs/$name/checkpoint_last.pt" --split valid
    --mode completions --limit 2 --search sampling --top-p 0.9 --seed "$1" --completions "$file")
  if [ "$gpus" -eq 0 ]; then words+=(--cpu); fi
  if [ -n "${DRY_RUN:-}" ]; then printable "${words[@]}"; return; fi
  if [ ! -e "$file" ]; then "${words[@]}" >/dev/null || exit; fi
  printf '== %s after epoch %s\n' "$name" "$1"
  cat "$file"
}

for ((epoch = 1; epoch <= epochs; epoch++)); do
  up_to_epoch=$epoch train "$name" "$data" --task language_modeling "${model[@]}" \
    --criterion "${loss[@]}" --sample-break-mode none --tokens-per-sample "$block" "${batch[@]}" \
    --optimizer adam --adam-betas '(0.9, 0.999)' --weight-decay 0.01 --clip-norm 1.0 \
    --lr "$rate" --lr-scheduler polynomial_decay --warmup-updates $((updates / 20 + 1)) \
    --total-num-update "$updates" --best-checkpoint-metric nll_loss \
    ${precision[@]+"${precision[@]}"} --seed "${SEED:-1}" --log-interval 20
  sample "$epoch"
done
if [ -z "${DRY_RUN:-}" ]; then touch "$runs/$name/finished"; fi
