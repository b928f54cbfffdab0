# shellcheck shell=bash disable=SC2034   # read by train.sh and generate.sh
# What train.sh and generate.sh agree on; sets $data, $runs, $seeds, $methods, and the flags $model,
# $baseline and $finetune.

split_arguments "$@"
data=${arguments[0]:-$root/data-bin/three_books}
runs=${arguments[1]:-$root/runs/three_books}
seeds=${SEEDS:-1001 2001 3001}
for seed in $seeds; do
  [[ $seed =~ ^(0|[1-9][0-9]{0,8})$ ]] || die "SEEDS must be numbers, but has $seed"
done
methods=${METHODS:-mle scalegrad-0.2 scalegrad-0.5 scalegrad-0.8 unlikelihood unlikelihood-sequence unlikelihood-both}
case " $methods " in *' mle '*) ;; *) die "METHODS must have mle, which the others are compared with" ;; esac
need_data 'data-prep/prepare-book.sh --text BOOK ... --test BOOK ... --bpe-operations 4000 --out data-bin/three_books'

model=(--task language_modeling --arch transformer_lm --share-decoder-input-output-embed
  --decoder-layers 3 --decoder-embed-dim 192 --decoder-ffn-embed-dim 768 --decoder-attention-heads 4
  --dropout 0.1 --tokens-per-sample 300 --max-tokens 2400 --optimizer adam
  --adam-betas '(0.9, 0.98)' --weight-decay 0.01 --clip-norm 1.0 --report-accuracy --num-workers 0)
baseline=(--lr 1.5e-3 --lr-scheduler inverse_sqrt --warmup-updates 400 --max-update 2400)
# Warm-up and decay in lines, as the papers fine-tune GPT-2.
updates=${UPDATES:-150}
finetune=(--lr 3e-4 --lr-scheduler polynomial_decay --warmup-updates 15
  --total-num-update "$updates" --max-update "$updates")
