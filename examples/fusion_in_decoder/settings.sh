# shellcheck shell=bash disable=SC2034   # read by the other scripts
# What prepare.sh, train.sh and evaluate.sh agree on; sets $data, $runs, $seeds, $systems, $model.

study=$root/examples/fusion_in_decoder
split_arguments "$@"
data=${arguments[0]:-$root/data-bin/fusion_in_decoder}
runs=${arguments[1]:-$root/runs/fusion_in_decoder}
seeds=${SEEDS:-1001}
for seed in $seeds; do
  [[ $seed =~ ^(0|[1-9][0-9]{0,8})$ ]] || die "SEEDS must be numbers, but has $seed"
done
systems=${SYSTEMS:-plain first-k-8 first-k-32 gqa-4 lsa-3 lsa-2 lsa-3-gqa-4 lsa-3-mqa k8-gqa-4 k8-lsa-3 k8-lsa-3-gqa-4 scaled-decoder source-pointing long-answers}
n_context=3   # passages read

# The decoder is twice as deep as the encoder, because sparse cross-attention needs layers to leave out.
model=(--task fid --source-lang question --target-lang answer --arch fid_transformer
  --encoder-layers 3 --decoder-layers 6 --encoder-embed-dim 128 --decoder-embed-dim 128
  --encoder-ffn-embed-dim 512 --decoder-ffn-embed-dim 512 --encoder-attention-heads 8
  --decoder-attention-heads 8 --encoder-normalize-before --decoder-normalize-before
  --share-all-embeddings --report-accuracy --optimizer adam --adam-betas '(0.9,0.98)' --clip-norm 1
  --lr-scheduler inverse_sqrt --num-workers 0 --seed 1)

# economy SYSTEM: sets $economy, its flags of the model; $reading, those of the task; and $folder, its data.
economy() {
  local part rest=$1
  economy=() reading=(--n-context "$n_context") folder=$data/questions
  while [ -n "$rest" ]; do
    case $rest in
      plain*) part=plain ;;
      first-k-8*) part=first-k-8 economy+=(--first-k 8) ;;
      first-k-32*) part=first-k-32 economy+=(--first-k 32) ;;
      k8*) part=k8 economy+=(--first-k 8) ;;
      gqa-4*) part=gqa-4 economy+=(--decoder-kv-heads 4) ;;
      mqa*) part=mqa economy+=(--decoder-kv-heads 1) ;;
      lsa-3*) part=lsa-3 economy+=(--cross-attention-interval 3) ;;
      lsa-2*) part=lsa-2 economy+=(--cross-attention-interval 2) ;;
      scaled-decoder*) part=scaled-decoder economy+=(--decoder-layers 12) ;;
      source-pointing*) part=source-pointing reading+=(--source-pointing) ;;
      long-answers*) part=long-answers folder=$data/long_answers ;;
      *) die "there is no system $1" ;;
    esac
    rest=${rest#"$part"}
    rest=${rest#-}
  done
}
