#!/usr/bin/env bash
# Translates test_2016_flickr with every model that train.sh made (beam 5, detokenised) and scores it.
#
#   examples/translation/multi30k/generate.sh [DATA [RUNS]] [-- FAIRSEQ_GENERATE_FLAGS]
#
# Writes RUNS/NAME/generate-test.txt and RUNS/results.json; with RECORD=1 also results.json and the
# table in README.md beside this script.
set -euo pipefail
# shellcheck source=examples/training.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../training.sh"
split_arguments "$@"
data=${arguments[0]:-$root/data-bin/multi30k_en_de}
runs=${arguments[1]:-$root/runs/multi30k}

names=(baseline mle scalegrad-0.5 scalegrad-0.2)
for name in "${names[@]}"; do
  need_run "$name" examples/translation/multi30k/train.sh
  translate "$name" "$data" --tokenizer moses
done
score "$root/examples/translation/score.py" multi30k --data "$data" --runs "$runs" "${names[@]}"
