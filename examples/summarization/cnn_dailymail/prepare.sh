#!/usr/bin/env bash
# Imports a pretrained model, and prepares CNN/Daily Mail with its tokeniser.
#
#   START=bert-small2bert-small HF_DIR=bert-small/ \
#     examples/summarization/cnn_dailymail/prepare.sh [DATA [RUNS]] [-- PREPARE_FLAGS]      then train.sh
#
# START is bert-small2bert-small, bert2bert, t5-small or bart-base; HF_DIR the folder in which transformers
# saved prajjwal1/bert-small, google-bert/bert-base-uncased, google-t5/t5-small or facebook/bart-base.
# PREPARE_FLAGS go to data-prep/prepare-cnn-dailymail.sh: -- --from ~/archives --workers 8
set -euo pipefail
# shellcheck source=examples/summarization/cnn_dailymail/settings.sh
. "$(dirname "${BASH_SOURCE[0]}")/settings.sh"
import_model "$what" "$runs/start" ${import[@]+"${import[@]}"}
words=("$root/data-prep/prepare-cnn-dailymail.sh" --model "$runs/start" --max-source-tokens "$length"
  --max-target-tokens 128 ${prefix[@]+"${prefix[@]}"} --out "$data" ${extra[@]+"${extra[@]}"})
if [ -n "${DRY_RUN:-}" ]; then printable "${words[@]}"; else "${words[@]}"; fi
