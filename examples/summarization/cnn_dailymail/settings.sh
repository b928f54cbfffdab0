# shellcheck shell=bash disable=SC2034   # read by the other scripts
# The published fine-tunings on CNN/Daily Mail by what they start from; sets $start, $data, $runs, $seeds,
# $systems, and of that start $what, $import, $length, $prefix, $tokens, $tune, $beam and $decoding.

# shellcheck source=examples/training.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../training.sh"
start=${START:-bert-small2bert-small}
split_arguments "$@"
data=${arguments[0]:-$root/data-bin/cnn_dailymail-$start}
runs=${arguments[1]:-$root/runs/cnn_dailymail/$start}
seeds=${SEEDS:-42}
for seed in $seeds; do
  [[ $seed =~ ^(0|[1-9][0-9]{0,8})$ ]] || die "SEEDS must be numbers, but has $seed"
done
systems=${METHODS:-mle scalegrad-0.5 scalegrad-0.8 unlikelihood}
import=() prefix=()

# BART's beam and lengths (fairseq, examples/bart), which those of both BERTs are copied from.  Published
# figures are without repeated trigrams: mle-no-repeat-3 here.
beam=4 decoding=(--min-len 55 --max-len-b 140 --lenpen 2.0)
case $start in
  bert-small2bert-small | bert2bert)
    what=BERT
    # Rothe et al. (2020, arXiv:1907.12461): BERT twice, cross-attention at random, 512 tokens of an
    # article and 128 of a summary.
    import=(--decoder "${HF_DIR:-HF_DIR}" --seed 1) length=512
    # Not their 300,000 updates of 128 articles, but how the checkpoints of these names were fine-tuned
    # (Hugging Face's blog, warm-starting-encoder-decoder.md): 16 articles an update, most of which have
    # 512 tokens; 2,000 updates of warm-up; and the defaults of transformers' Trainer: Adam at 5e-5, down
    # to 0 in a line, for 3 epochs, which are 3 * 287,113 / 16 updates.
    tokens=8192
    tune=(--optimizer adam --adam-betas '(0.9, 0.999)' --adam-eps 1e-08 --weight-decay 0.0 --clip-norm 1.0
      --lr 5e-5 --lr-scheduler polynomial_decay --warmup-updates 2000 --total-num-update 53834
      --max-update 53834 --label-smoothing 0.0) ;;
  t5-small)
    what=T5
    # Raffel et al. (2020, arXiv:1910.10683), section 3.1.2: 128 sequences of 512 tokens an update, 2^18
    # updates at 0.001, validation every 5,000; Adafactor as in the operative_config.gin of the released
    # models.  bfloat16 is our choice: T5's activations can be too large for fp16.
    length=512 prefix=(--prefix 'summarize: ') tokens=65536
    tune=(--optimizer adafactor --scale-parameter --clip-threshold 1.0 --decay-rate -0.8
      --adafactor-eps '(1e-30, 1e-3)' --clip-norm 0.0 --lr 1e-3 --lr-scheduler fixed --warmup-updates 0
      --max-update 262144 --label-smoothing 0.0)
    if [ "$gpus" -gt 0 ] && [ -z "${PRECISION:-}" ]; then precision=(--bf16); fi
    # The beam of 4 and 0.6 are theirs, where the penalty of n tokens is ((5 + n) / 6)^0.6, fairseq's n^0.6;
    # 200 tokens are those of summaries in t5-small's config.json.
    decoding=(--max-len-b 200 --lenpen 0.6) ;;
  bart-base)
    what=BART
    # Lewis et al. (2020, arXiv:1910.13461), as in fairseq's examples/bart/README.summarization.md: 2,048
    # tokens, 4 batches, 8 GPUs.  That is BART large; to take it for base is our choice.
    length=1024 tokens=65536
    tune=(--optimizer adam --adam-betas '(0.9, 0.999)' --adam-eps 1e-08 --weight-decay 0.01 --clip-norm 0.1
      --lr 3e-05 --lr-scheduler polynomial_decay --warmup-updates 500 --total-num-update 20000
      --max-update 20000 --label-smoothing 0.1 --dropout 0.1 --attention-dropout 0.1) ;;
  *) die "START must be bert-small2bert-small, bert2bert, t5-small or bart-base, but is $start" ;;
esac
