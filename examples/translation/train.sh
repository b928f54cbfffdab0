#!/usr/bin/env bash
# Multi30k English-German: an MLE baseline, then fine-tuning by MLE and by ScaleGrad at equal updates.
#
#   data-prep/prepare-multi30k.sh --bpe-operations 4000
#   examples/translation/train.sh [DATA [RUNS]]          then examples/translation/generate.sh
#
# The model is small enough for two CPU cores.  A run that is finished is not trained again, and one
# that was interrupted goes on from its last checkpoint.  SEED=2 examples/translation/train.sh ...
# gives another run.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
[ -d "$root/.venv" ] && PATH=$root/.venv/bin:$PATH
data=${1:-$root/data-bin/multi30k_en_de}
runs=${2:-$root/runs/multi30k}
seed=${SEED:-1}
baseline_updates=${BASELINE_UPDATES:-2400}
finetune_updates=${FINETUNE_UPDATES:-600}
device=()
python3 -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' || device=(--cpu)

# train NAME FLAGS...: one fairseq-train run in $runs/NAME, its command and log beside it
train() {
  local name=$1 folder=$runs/$1
  shift
  if [ -e "$folder/finished" ]; then echo "$name: finished already, in $folder"; return; fi
  mkdir -p "$folder"
  local command=(fairseq-train "$data" --user-dir "$root/genft_fairseq"
    --task translation --source-lang en --target-lang de
    --arch transformer_iwslt_de_en --encoder-embed-dim 256 --decoder-embed-dim 256
    --encoder-ffn-embed-dim 512 --decoder-ffn-embed-dim 512
    --encoder-layers 3 --decoder-layers 2 --share-all-embeddings --dropout 0.2
    --optimizer adam --adam-betas '(0.9, 0.98)' --clip-norm 1.0 --max-tokens 2048
    --seed "$seed" --save-dir "$folder" --no-epoch-checkpoints
    --log-format simple --log-interval 50 ${device[@]+"${device[@]}"} "$@")
  printf '%q ' "${command[@]}" >"$folder/command"
  echo "$name: ${command[*]}"
  # One log a run, with the progress shown as well; SECONDS counts what this call took.
  local begun=$SECONDS
  "${command[@]}" 2>&1 | tee -a "$folder/train.log" | grep -E --line-buffered 'train_inner|valid on|rror'
  echo "$((SECONDS - begun))" >"$folder/seconds"
  touch "$folder/finished"
}

train baseline --criterion label_smoothed_cross_entropy --label-smoothing 0.1 \
  --lr 1e-3 --lr-scheduler inverse_sqrt --warmup-updates 500 --max-update "$baseline_updates"

finetune=(--finetune-from-model "$runs/baseline/checkpoint_best.pt" --label-smoothing 0.1
  --lr 2e-4 --lr-scheduler inverse_sqrt --warmup-updates 100 --max-update "$finetune_updates")
train mle --criterion label_smoothed_cross_entropy "${finetune[@]}"
train scalegrad-0.5 --criterion scalegrad --gamma 0.5 "${finetune[@]}"
train scalegrad-0.2 --criterion scalegrad --gamma 0.2 "${finetune[@]}"
