# shellcheck shell=bash disable=SC2154   # the scripts that use it set $runs, $systems, $beam, $decoding
# How summaries are measured at both sizes; after settings.sh.

# Of every run the checkpoint that was best on the validation set.
chosen() { echo "$runs/$1/checkpoint_best.pt"; }

# measure_seed SEED DATA SCRIPT: what the runs of a seed, which SCRIPT trains, write of the test articles,
# by a beam and greedily; mle also without repeating a trigram; and the articles' first three sentences.
# All but mle's are compared with mle's.
measure_seed() {
  local seed=seed-$1 data=$2 system search against flags
  for system in $systems; do need_run "$seed/$system" "$3"; done
  for search in greedy ''; do
    against='' flags=(--beam "$beam" "${decoding[@]}")
    if [ -n "$search" ]; then flags=(--beam 1 "${decoding[@]}"); fi
    case " $systems " in *' mle '*)
      OUTPUT=$search summarize "$seed/mle" "$data" "${flags[@]}"
      against=$runs/$seed/mle/summaries${search:+-$search}.jsonl
      OUTPUT=${search:+$search-}no-repeat-3 summarize "$seed/mle" "$data" "${flags[@]}" \
        --no-repeat-ngram-size 3
    esac
    for system in $systems; do
      if [ "$system" != mle ]; then
        OUTPUT=$search summarize "$seed/$system" "$data" "${flags[@]}"
      fi
    done
  done
  measure_lead "$seed" "$data" "$against"
}

# measure_lead SEED DATA BASELINE
measure_lead() {
  local folder=$runs/$1/lead-3 lead=$runs/lead-3.txt words
  if [ -z "${DRY_RUN:-}" ]; then mkdir -p "$folder"; fi
  measure "$lead" "$2/raw/test.source" "the first three sentences of the articles" \
    python3 "$root/examples/summarization/lead.py" "$2/raw/test.source" --output "$lead"
  words=(genft evaluate-summaries "$2" --split test --predictions-from "$lead"
    --output "$folder/summaries.json" --side-by-side "$folder/summaries.txt")
  if [ -n "$3" ]; then words+=(--baseline "$3"); fi
  measure "$folder/summaries.json" "${3:-$lead}" "$1/lead-3: scoring" "${words[@]}"
}
