# shellcheck shell=bash
# shellcheck disable=SC2034   # read by train.sh and generate.sh, which share this
# Sets $data, $runs, $name, $method, $epochs, $block, $tokens (an update), $model and
# $rate: of GPT-2 where HF_DIR says where its weights are, of a small model otherwise.
# shellcheck source=examples/training.sh
. "$(dirname "${BASH_SOURCE[0]}")/../training.sh"
split_arguments "$@"
data=${arguments[0]:-$root/data-bin/book}
runs=${arguments[1]:-$root/runs/book}
need_data 'data-prep/prepare-book.sh --text BOOK'
method=${METHOD:-scalegrad-0.5}
criterion "$method" >/dev/null

arch=${ARCH:-gpt2}
if [ -n "${HF_DIR:-}" ]; then
  [ -n "${DRY_RUN:-}" ] || [ -e "$data/encoder.json" ] ||
    die "$data is not in GPT-2's pieces, which its weights are for: data-prep/prepare-book.sh --bpe gpt2"
  name=$arch-$method gpt2=$runs/$arch
  model=(--arch "$arch" --finetune-from-model "$gpt2/model.pt" --dropout 0.1 --attention-dropout 0.1)
  epochs=${EPOCHS:-3} block=512 tokens=4096 rate=5e-5
else
  [ -z "${ARCH:-}" ] || die "ARCH=$ARCH needs HF_DIR: from scratch the model is a small one"
  name=small-$method
  model=(--arch gpt2 --decoder-layers 4 --decoder-embed-dim 256 --decoder-attention-heads 4
    --max-target-positions 256 --dropout 0.2 --attention-dropout 0.1)
  epochs=${EPOCHS:-10} block=256 tokens=2048 rate=1e-3
fi
[[ $epochs =~ ^[1-9][0-9]{0,3}$ ]] || die "EPOCHS must be a number from 1 to 9999, but is $epochs"
chosen() { echo "$runs/$1/checkpoint_best.pt"; }
workers=$((gpus > 0 ? gpus : 1))

# updates_an_epoch BLOCK BATCH_FLAGS...
updates_an_epoch() {
  if [ -n "${DRY_RUN:-}" ]; then echo 100; return; fi
  python3 "$root/examples/book/updates.py" "$data" --block "$@" --workers "$workers" ||
    die "the updates of an epoch cannot be counted"
}
