#!/usr/bin/env bash
# Translates test_2016_flickr with every model that train.sh made (beam 5, detokenised) and scores it.
#
#   examples/translation/generate.sh [DATA [RUNS]]
#
# Writes RUNS/NAME/generate-test.txt, then results.json and the table in README.md beside this script.
set -euo pipefail
# shellcheck source=examples/training.sh
. "$(dirname "${BASH_SOURCE[0]}")/../training.sh"
data=${1:-$root/data-bin/multi30k_en_de}
runs=${2:-$root/runs/multi30k}
here=$root/examples/translation

# The baseline is its best checkpoint, which fine-tuning starts from; the fine-tuned models are their
# last ones, all after the same number of updates.
for name in baseline mle scalegrad-0.5 scalegrad-0.2; do
  checkpoint=$runs/$name/checkpoint_last.pt
  [ "$name" = baseline ] && checkpoint=$runs/$name/checkpoint_best.pt
  [ -e "$runs/$name/finished" ] || die "$runs/$name is not trained: run examples/translation/train.sh"
  if [ "$runs/$name/generate-test.txt" -nt "$checkpoint" ]; then continue; fi
  echo "== translating with $name"
  fairseq-generate "$data" --user-dir "$root/genft_fairseq" --path "$checkpoint" \
    --source-lang en --target-lang de --gen-subset test --beam 5 --max-tokens 4000 \
    --tokenizer moses --bpe subword_nmt --bpe-codes "$data/bpe.codes" \
    --results-path "$runs/$name/partial" ${device[@]+"${device[@]}"} 2>"$runs/$name/generate.log" ||
    { tail -n 3 "$runs/$name/generate.log" >&2; die "see $runs/$name/generate.log"; }
  mv "$runs/$name/partial/generate-test.txt" "$runs/$name/" # whole: a kill leaves it in partial
done
python3 "$here/score.py" --data "$data" --runs "$runs"
