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

for name in baseline mle scalegrad-0.5 scalegrad-0.2; do
  [ -e "$runs/$name/finished" ] || die "$runs/$name is not trained: run examples/translation/train.sh"
  translate "$name" "$data" --tokenizer moses
done
python3 "$here/score.py" --data "$data" --runs "$runs"
