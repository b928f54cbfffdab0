# shellcheck shell=bash
# shellcheck disable=SC2034   # read by train.sh, finetune.sh and generate.sh, which share this
# The published set-ups, by name: sets $setup, $data, $runs, $model, $optimisation and the rest.
#
#   base             Vaswani et al. 2017, base
#   big              Vaswani et al. 2017, big
#   big-large-batch  Ott et al. 2018: the same model, 16 times the batch, a twelfth of the updates

# shellcheck source=examples/training.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../training.sh"
split_arguments "$@"
setup=${arguments[0]:-base}
data=${arguments[1]:-$root/data-bin/wmt14_en_de}
runs=${arguments[2]:-$root/runs/wmt14_en_de/$setup}

# What fits on a GPU at a time, and the tokens of an update: 8 GPUs of Vaswani et al., who give
# 25,000 of each language; batches of at most 4096 hold that many on average.
case $setup in
  base)
    model=(--arch transformer_wmt_en_de --dropout 0.1)
    most=4096 tokens=$((8 * 4096)) updates=100000
    # d^-0.5 warmup^-0.5, the top of the schedule in the paper.
    peak=(--lr 7e-4 --adam-eps 1e-9)
    # A checkpoint every ten minutes: the paper's step took 0.4 s.
    interval=1500 averaged=5 ;;
  big)
    model=(--arch transformer_vaswani_wmt_en_de_big --dropout 0.3)
    most=3584 tokens=$((8 * 3584)) updates=300000
    peak=(--lr 5e-4 --adam-eps 1e-9)
    interval=600 averaged=20 ;;   # the paper's step took 1.0 s
  big-large-batch)
    model=(--arch transformer_vaswani_wmt_en_de_big --dropout 0.3)
    most=3584 tokens=$((128 * 3584)) updates=24000
    peak=(--lr 1e-3)
    interval=400 averaged=10 ;;   # about an epoch
  *) die "there is no set-up $setup: base, big or big-large-batch" ;;
esac
# For a try with fewer checkpoints.
averaged=${AVERAGE:-$averaged}
set_batch "$tokens" "$most"
shared=("$data" --task translation --source-lang en --target-lang de
  "${model[@]}" --share-all-embeddings --label-smoothing 0.1 --weight-decay 0.0
  --optimizer adam --adam-betas '(0.9, 0.98)' --clip-norm 0.0
  "${batch[@]}" ${precision[@]+"${precision[@]}"} --seed "${SEED:-1}" --log-interval 100)

# All else is equal between these.
methods=(mle scalegrad-0.2 scalegrad-0.5 scalegrad-0.8 unlikelihood first-token-0.1 first-token-0.3)

# What fine-tuning starts from: BASELINE, or the average of the baseline's last checkpoints.
baseline=${BASELINE:-$runs/baseline/averaged.pt}
chosen() {
  case $1 in
    baseline) echo "$baseline" ;;
    *) echo "$runs/$1/checkpoint_last.pt" ;;
  esac
}
