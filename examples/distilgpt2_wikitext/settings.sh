# shellcheck shell=bash
# shellcheck disable=SC2034   # read by train.sh and generate.sh, which share this
# Sets $data, $runs, $gpt2 and $names.
# shellcheck source=examples/training.sh
. "$(dirname "${BASH_SOURCE[0]}")/../training.sh"
split_arguments "$@"
data=${arguments[0]:-$root/data-bin/wikitext-2}
runs=${arguments[1]:-$root/runs/distilgpt2_wikitext}
gpt2=$runs/distilgpt2
read -ra names <<<"${METHODS:-mle scalegrad-0.2}"
