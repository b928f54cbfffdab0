#!/usr/bin/env bash
# Trains a small Fusion-in-Decoder from nothing, and from it one model a system of the study: plain, each
# economy, and combinations of them.
#
#   examples/fusion_in_decoder/prepare.sh PASSAGES.tsv QUESTIONS.jsonl
#   examples/fusion_in_decoder/train.sh [DATA [RUNS]] [-- FAIRSEQ_TRAIN_FLAGS]      then evaluate.sh
#
# A finished run is not trained again; SYSTEMS='plain lsa-3' trains some of them, in a process of its
# own if it likes.
set -euo pipefail
# shellcheck source=examples/training.sh
. "$(dirname "${BASH_SOURCE[0]}")/../training.sh"
# shellcheck source=examples/fusion_in_decoder/settings.sh
. "$root/examples/fusion_in_decoder/settings.sh"
for system in $systems; do economy "$system"; done   # a mistake is told before anything is trained

# To copy first: of one window, the whole sentence.
train sentences "$data/sentences" "${model[@]}" --criterion scalegrad --gamma 1 --n-context 1 \
  --dropout 0 --batch-size 16 --lr 1.5e-3 --warmup-updates 500 --max-update 3000 \
  --save-interval-updates 500 --keep-interval-updates 1 --validate-interval-updates 1000
# Then to find: of three windows, what is asked for.
train base "$data/clozes" "${model[@]}" --criterion scalegrad --gamma 1 --n-context 3 --dropout 0.1 \
  --batch-size 16 --lr 7e-4 --warmup-updates 100 --max-update 800 \
  --finetune-from-model "$runs/sentences/checkpoint_last.pt"

for seed in $seeds; do
  for system in $systems; do
    economy "$system"
    start=$runs/base/checkpoint_last.pt
    if [ "$system" = scaled-decoder ]; then
      start=$runs/base/deeper.pt
      if [ -z "${DRY_RUN:-}" ] && [ ! -e "$start" ]; then
        python3 "$study/deepen.py" "$runs/base/checkpoint_last.pt" "$start"
      fi
    fi
    each=("${model[@]}" "${economy[@]}" "${reading[@]}" --seed "$seed" --criterion scalegrad --gamma 1
      --dropout 0.1)
    steps=(--batch-size 16 --lr 5e-4 --warmup-updates 20)
    if [ "$folder" = "$data/questions" ]; then
      train "seed-$seed/$system-clozes" "$data/clozes" "${each[@]}" "${steps[@]}" --max-update 200 \
        --finetune-from-model "$start"
    fi
    train "seed-$seed/$system" "$folder" "${each[@]}" --label-smoothing 0.1 "${steps[@]}" \
      --max-update 100 --finetune-from-model "$start"
  done
done
