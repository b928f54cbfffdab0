# shellcheck shell=bash disable=SC2034   # read by train.sh and generate.sh
# What train.sh and generate.sh agree on; sets $task, $data, $runs, $seeds, $first_seed, $methods,
# $learning_rates, and the flags $model, $baseline and $finetune.

study=$root/examples/token_level_study
split_arguments "$@"
task=${arguments[0]:-}
case $task in
  translation) data=${arguments[1]:-$root/data-bin/multi30k_en_de} ;;
  language_modeling) data=${arguments[1]:-$root/data-bin/books} ;;
  *) die "the first argument must be translation or language_modeling, but is '$task'" ;;
esac
runs=${arguments[2]:-$root/runs/token_level_study/$task}
seeds=${SEEDS:-1001 2001 3001}
for seed in $seeds; do
  [[ $seed =~ ^(0|[1-9][0-9]{0,8})$ ]] || die "SEEDS must be numbers, but has $seed"
done
first_seed=${seeds%% *}
methods=${METHODS:-mle scalegrad-0.2 scalegrad-0.5 scalegrad-0.8 unlikelihood first-token-0.1 first-token-0.3}
case " $methods " in *' mle '*) ;; *) die "METHODS must have mle, which the others are compared with" ;; esac
learning_rates='3e-4 1e-3'

if [ "$task" = translation ]; then
  need_data 'data-prep/prepare-multi30k.sh --bpe-operations 4000'
  model=(--task translation --source-lang en --target-lang de --arch transformer_iwslt_de_en
    --encoder-embed-dim 128 --decoder-embed-dim 128 --encoder-ffn-embed-dim 512
    --decoder-ffn-embed-dim 512 --encoder-layers 2 --decoder-layers 2 --share-all-embeddings
    --dropout 0.1 --label-smoothing 0.1 --max-tokens 2048)
  baseline=(--lr 2e-3 --warmup-updates 300 --max-update 1000)
else
  need_data 'data-prep/prepare-book.sh --text NOVEL ... --bpe-operations 2000 --out data-bin/books'
  model=(--task language_modeling --arch transformer_lm --share-decoder-input-output-embed
    --decoder-layers 2 --decoder-embed-dim 128 --decoder-ffn-embed-dim 512
    --decoder-attention-heads 4 --dropout 0.1 --tokens-per-sample 160 --max-tokens 2560)
  baseline=(--lr 2e-3 --warmup-updates 200 --max-update 1000)
fi
updates=140
finetune=(--warmup-updates 20 --max-update "$updates")

# chosen_rate METHOD: the learning rate that validation liked best on the first seed.
chosen_rate() {
  if [ -n "${DRY_RUN:-}" ]; then echo "${learning_rates%% *}"; return; fi
  # shellcheck disable=SC2086   # rates are words
  python3 "$study/choose.py" "$task" "$data" "$runs/seed-$first_seed" "$1" $learning_rates
}

# equal_time_updates: how many updates of MLE take as long as $updates of the other methods.  Kept in a
# file once it is known, because another measurement would give another number.
equal_time_updates() {
  if [ -n "${DRY_RUN:-}" ]; then echo "$updates"; return; fi
  local file=$runs/equal_time_updates
  if [ ! -s "$file" ]; then
    # shellcheck disable=SC2086   # methods are words
    python3 "$study/equal_time.py" "$runs/seed-$first_seed" "$updates" $methods >"$file.tmp" 2>"$file.log"
    mv "$file.tmp" "$file"
  fi
  cat "$file"
}
