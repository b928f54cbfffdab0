#!/usr/bin/env bash
# The main job in miniature, offline: `make demo`.
#
# A small language model is trained by maximum likelihood on the Python language reference, then the
# same checkpoint is fine-tuned by maximum likelihood and by ScaleGrad for the same number of updates.
# All three continue held-out prefixes greedily, and one table compares them.
#
#   examples/demo/run.sh [RUNS]       default: runs/demo; a second call reuses what is finished
set -euo pipefail
# shellcheck source=examples/training.sh
. "$(dirname "${BASH_SOURCE[0]}")/../training.sh"
runs=${1:-$root/runs/demo}
data=$root/data-bin/toy/language_modeling
cd "$root"

"$root/data-prep/prepare-toy.sh" --only language_modeling --out "$root/data-bin/toy"

shared=("$data" --task language_modeling --tokens-per-sample 160
  --arch transformer_lm --share-decoder-input-output-embed --decoder-layers 2
  --decoder-embed-dim 128 --decoder-ffn-embed-dim 512 --decoder-attention-heads 4 --dropout 0.2
  --optimizer adam --adam-betas '(0.9, 0.98)' --clip-norm 1 --max-tokens 2560 --seed 1
  --lr-scheduler inverse_sqrt --log-interval 20)
train baseline "${shared[@]}" --criterion label_smoothed_cross_entropy \
  --lr 2e-3 --warmup-updates 100 --max-update 190

finetune=("${shared[@]}" --finetune-from-model "$runs/baseline/checkpoint_best.pt"
  --lr 5e-4 --warmup-updates 20 --max-update 80)
train mle "${finetune[@]}" --criterion label_smoothed_cross_entropy
train scalegrad "${finetune[@]}" --criterion scalegrad --gamma 0.2

# evaluate NAME CHECKPOINT: the baseline by what was fine-tuned, its best checkpoint; the fine-tuned
# models by their last, after the same number of updates.
evaluate() {
  local output=$runs/$1/evaluation.json
  [ -e "$output" ] && return
  echo "== $1: continuing held-out prefixes"
  genft evaluate-lm "$data" --path "$runs/$1/$2" --split test --output "$output" >/dev/null
}
evaluate baseline checkpoint_best.pt
evaluate mle checkpoint_last.pt
evaluate scalegrad checkpoint_last.pt
python3 "$root/examples/demo/table.py" "$runs"
