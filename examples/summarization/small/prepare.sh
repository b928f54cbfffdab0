#!/usr/bin/env bash
# A small T5 of random parameters, what it learns to read and to copy from, and the pairs that it is
# fine-tuned on.
#
#   examples/summarization/small/prepare.sh PAIRS TEXT... [-- DATA]
#
# PAIRS holds {train,val,test}.{source,target}.gz, an article or its summary a line; TEXT is any text
# (gzipped or not), to learn from beside the training articles.
set -euo pipefail
# shellcheck source=examples/training.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../training.sh"
pairs=${1:-} texts=()
[ "$#" -ge 2 ] || die "usage: prepare.sh PAIRS TEXT... [-- DATA]"
shift
while [ "$#" -gt 0 ] && [ "$1" != -- ]; do texts+=("$1"); shift; done
[ "$#" -eq 0 ] || shift
# shellcheck source=examples/summarization/small/settings.sh
. "$root/examples/summarization/small/settings.sh"
for file in "$pairs"/{train,val,test}.{source,target}.gz "${texts[@]}"; do
  [ -f "$file" ] || die "there is no file $file"
done
mkdir -p "$data/work"
texts+=("$pairs/train.source.gz")

# step FILE COMMAND...: unless the file is there; the command writes it.
step() {
  local file=$1
  shift
  [ -e "$file" ] || "$@"
}
step "$data/t5" python3 "$study/start.py" "${texts[@]}" --output "$data/t5"
step "$data/start" genft import-hf "$data/t5" "$data/start"

# own_pairs NAME FLAGS...: pairs of our own, binarized.
own_pairs() {
  local name=$1 prefix=$data/work/$1
  shift
  step "$prefix.valid.target" python3 "$study/gap_sentences.py" "${texts[@]}" "$@" --output "$prefix"
  "$root/data-prep/prepare-summaries.sh" --train "$prefix".train.{source,target} \
    --valid "$prefix".valid.{source,target} --model "$data/start" --out "$data/$name" \
    --max-source-tokens 256 --max-target-tokens 128
}
own_pairs sentences --words 30 --sentences 1
own_pairs passages --words 130 --sentences 2
"$root/data-prep/prepare-summaries.sh" --train "$pairs"/train.{source,target}.gz \
  --valid "$pairs"/val.{source,target}.gz --test "$pairs"/test.{source,target}.gz \
  --model "$data/start" --out "$data/pairs" --max-source-tokens 400 --max-target-tokens 128
