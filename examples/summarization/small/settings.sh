# shellcheck shell=bash disable=SC2034   # read by the other scripts
# What prepare.sh, train.sh and evaluate.sh agree on; sets $data, $runs, $seeds, $systems, $model.

study=$root/examples/summarization/small
split_arguments "$@"
data=${arguments[0]:-$root/data-bin/small_summaries}
runs=${arguments[1]:-$root/runs/small_summaries}
seeds=${SEEDS:-1001 2001 3001}
for seed in $seeds; do
  [[ $seed =~ ^(0|[1-9][0-9]{0,8})$ ]] || die "SEEDS must be numbers, but has $seed"
done
systems=${METHODS:-mle scalegrad-0.5 scalegrad-0.8 unlikelihood}

model=(--task translation --source-lang source --target-lang target --arch hugging_face
  --hugging-face "$data/start" --max-source-positions 2048 --optimizer adam
  --adam-betas '(0.9,0.98)' --clip-norm 1 --lr-scheduler inverse_sqrt --num-workers 0)
