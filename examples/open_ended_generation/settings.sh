# shellcheck shell=bash
# shellcheck disable=SC2034   # read by train.sh and generate.sh, which share this
# The published fine-tunings of GPT-2 by name: sets $size, $data, $runs, $gpt2, $model and $names.
# shellcheck source=examples/training.sh
. "$(dirname "${BASH_SOURCE[0]}")/../training.sh"
split_arguments "$@"
size=${arguments[0]:-medium}
data=${arguments[1]:-$root/data-bin/wikitext-103-bpe-tensors}
runs=${arguments[2]:-$root/runs/open_ended_generation/$size}
gpt2=$runs/gpt2
case $size in
  small) model=(--arch gpt2) ;;
  medium | large) model=(--arch "gpt2_$size") ;;
  *) die "there is no size $size: small, medium or large" ;;
esac
methods=(mle scalegrad-0.2 scalegrad-0.5 scalegrad-0.8 unlikelihood unlikelihood-sequence unlikelihood-both)

# $names: the runs of these methods, each after the one that it starts from.
names=()
add() {
  local name
  for name in "$@"; do
    case " ${names[*]-} " in *" $name "*) ;; *) names+=("$name") ;; esac
  done
}
for method in ${METHODS:-"${methods[@]}"}; do
  case $method in
    unlikelihood-sequence) add "$method" mle-20000 mle-20000-then-sequence ;;
    unlikelihood-both) add unlikelihood "$method" ;;
    *) add "$method" ;;
  esac
done

# set_up NAME: sets of a run $method, $start (a checkpoint) and $schedule.
set_up() {
  local token=(--lr 2e-5 --max-update 35000 --seed "${SEED:-60}")
  local sequence=(--lr 6.25e-5 --max-update 10000 --seed "${SEED:-42}")
  method=$1 start=$gpt2/model.pt schedule=("${token[@]}")
  case $1 in
    mle-20000)
      method=mle schedule=(--lr 6.25e-5 --max-update 20000 --seed "${SEED:-42}") ;;
    mle-20000-then-sequence)
      method=unlikelihood-sequence start=$(chosen mle-20000) schedule=("${sequence[@]}") ;;
    unlikelihood-sequence) schedule=("${sequence[@]}") ;;
    unlikelihood-both) start=$(chosen unlikelihood) schedule=("${sequence[@]}") ;;
  esac
}

# As published: the best of what was validated every 1,000 updates, but the last of sequence tuning.
chosen() {
  case $1 in
    *-sequence | *-both) echo "$runs/$1/checkpoint_last.pt" ;;
    *) echo "$runs/$1/checkpoint_best.pt" ;;
  esac
}
