# shellcheck shell=bash
# shellcheck disable=SC2034   # read by train.sh and generate.sh, which share this
# The sizes of GPT-2, by their usual names: sets $size, $data, $runs, $model and $methods.
# shellcheck source=examples/training.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../training.sh"
split_arguments "$@"
size=${arguments[0]:-small}
data=${arguments[1]:-$root/data-bin/wikitext-103-bpe}
runs=${arguments[2]:-$root/runs/wikitext103/$size}
# fairseq's names are one size off: its transformer_lm_gpt2_small is as large as GPT-2 medium.
case $size in
  small) model=(--arch transformer_lm_gpt) ;;          # 12 layers of width 768
  medium) model=(--arch transformer_lm_gpt2_small) ;;  # 24 layers of width 1024
  *) die "there is no size $size: small or medium" ;;
esac
methods=(mle scalegrad-0.2 unlikelihood)
baseline=${BASELINE:-$runs/baseline/checkpoint_best.pt}
