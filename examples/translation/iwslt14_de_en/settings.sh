# shellcheck shell=bash
# shellcheck disable=SC2034   # read by train.sh and generate.sh, which share this
# shellcheck source=examples/training.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../training.sh"
split_arguments "$@"
data=${arguments[0]:-$root/data-bin/iwslt14_de_en}
runs=${arguments[1]:-$root/runs/iwslt14_de_en}
averaged=${AVERAGE:-10}
methods=(mle scalegrad-0.5 scalegrad-0.2)

# The baseline stands for itself as the average of its last checkpoints.
chosen() {
  case $1 in
    baseline) echo "$runs/baseline/averaged.pt" ;;
    *) echo "$runs/$1/checkpoint_last.pt" ;;
  esac
}
