#!/usr/bin/env bash
# The main job in miniature, offline: `make demo`.
#
# Twice, for a language model and for translation: a small model is trained by maximum likelihood, then
# its best checkpoint is fine-tuned by maximum likelihood and by ScaleGrad for the same number of
# updates.  The language models continue held-out prefixes greedily, the translation models translate
# held-out sentences with a beam of 5, and one table compares them.
#
#   examples/demo/run.sh [RUNS]       default: runs/demo; a second call reuses what is finished
set -euo pipefail
# shellcheck source=examples/training.sh
. "$(dirname "${BASH_SOURCE[0]}")/../training.sh"
runs=${1:-$root/runs/demo}
data=$root/data-bin/toy
adam=(--optimizer adam --adam-betas '(0.9, 0.98)' --clip-norm 1 --lr-scheduler inverse_sqrt --seed 1)

language_models() {
  local name
  local shared=("$data/language_modeling" --task language_modeling --tokens-per-sample 160
    --arch transformer_lm --share-decoder-input-output-embed --decoder-layers 2
    --decoder-embed-dim 128 --decoder-ffn-embed-dim 512 --decoder-attention-heads 4 --dropout 0.2
    "${adam[@]}" --max-tokens 2560 --log-interval 20)
  train language_modeling/baseline "${shared[@]}" --criterion label_smoothed_cross_entropy \
    --lr 2e-3 --warmup-updates 100 --max-update 190
  local finetune=("${shared[@]}" --lr 5e-4 --warmup-updates 20 --max-update 80
    --finetune-from-model "$runs/language_modeling/baseline/checkpoint_best.pt")
  train language_modeling/mle "${finetune[@]}" --criterion label_smoothed_cross_entropy
  train language_modeling/scalegrad "${finetune[@]}" --criterion scalegrad --gamma 0.2

  [ -z "${DRY_RUN:-}" ] || return 0
  for name in baseline mle scalegrad; do
    evaluate "language_modeling/$name" "$data/language_modeling"
  done
}

translation_models() {
  local name
  local shared=("$data/translation" --task translation --source-lang en --target-lang de
    --arch transformer_tiny --share-all-embeddings --encoder-embed-dim 128 --decoder-embed-dim 128
    --encoder-ffn-embed-dim 256 --decoder-ffn-embed-dim 256
    --encoder-attention-heads 4 --decoder-attention-heads 4 --dropout 0 --label-smoothing 0.1
    "${adam[@]}" --max-tokens 1500 --log-interval 60)
  train translation/baseline "${shared[@]}" --criterion label_smoothed_cross_entropy \
    --lr 3e-3 --warmup-updates 300 --max-update 480
  local finetune=("${shared[@]}" --lr 5e-4 --warmup-updates 20 --max-update 120
    --finetune-from-model "$runs/translation/baseline/checkpoint_best.pt")
  train translation/mle "${finetune[@]}" --criterion label_smoothed_cross_entropy
  train translation/scalegrad "${finetune[@]}" --criterion scalegrad --gamma 0.2

  [ -z "${DRY_RUN:-}" ] || return 0
  for name in baseline mle scalegrad; do
    translate "translation/$name" "$data/translation"
  done
}

if [ -z "${DRY_RUN:-}" ]; then "$root/data-prep/prepare-toy.sh" --out "$data"; fi
language_models
translation_models
if [ -z "${DRY_RUN:-}" ]; then
  python3 "$root/examples/demo/table.py" "$runs" --data "$data"
  printf '\nWith curves, costs and the texts side by side, to be opened in a browser:\n'
  # Two tasks, so two data sets, each with a table of its own.
  genft report "$runs" --different-data --output "$runs/report.html"
fi
