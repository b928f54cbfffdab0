#!/usr/bin/env bash
# Text by the model that train.sh made of a book.
#
#   PROMPT='It was a' examples/book/generate.sh [DATA [RUNS]] [-- FLAGS]    goes on from these words
#   PROMPT=-          examples/book/generate.sh                             from each line that you type
#   examples/book/generate.sh                              from the beginnings of held-out passages
#
# The environment is as for train.sh (HF_DIR, ARCH, METHOD): it says which model.  Tokens are drawn from
# the nucleus of 0.9; FLAGS, for fairseq-interactive or genft evaluate-lm, win: -- --seed 2.
set -euo pipefail
# shellcheck source=examples/book/settings.sh
. "$(dirname "${BASH_SOURCE[0]}")/settings.sh"
need_run "$name" examples/book/train.sh
checkpoint=$(chosen "$name")

if [ -z "${PROMPT:-}" ]; then
  file=$runs/$name/completions.txt
  words=(genft evaluate-lm "$data" --path "$checkpoint" --split valid --mode completions --limit 5
    --search sampling --top-p 0.9 --completions "$file")
  if [ "$gpus" -eq 0 ]; then words+=(--cpu); fi
  words+=(${extra[@]+"${extra[@]}"})
  if [ -n "${DRY_RUN:-}" ]; then printable "${words[@]}"; exit; fi
  "${words[@]}" >/dev/null
  cat "$file"
  exit
fi

if [ -e "$data/encoder.json" ]; then
  pieces=(--bpe gpt2 --gpt2-encoder-json "$data/encoder.json" --gpt2-vocab-bpe "$data/vocab.bpe")
else
  pieces=(--bpe subword_nmt --bpe-codes "$data/bpe.codes")
fi
words=(fairseq-interactive "$data" --user-dir "$root/genft_fairseq" --task language_modeling
  --path "$checkpoint" "${pieces[@]}" --beam 1 --sampling --sampling-topp 0.9 --max-len-b 100
  --seed 1)
if [ "$gpus" -eq 0 ]; then words+=(--cpu); fi
words+=(${extra[@]+"${extra[@]}"})
if [ -n "${DRY_RUN:-}" ]; then printable "${words[@]}"; exit; fi
# Of what fairseq prints, the text: "D-0<tab>score<tab>text".  A line ends where the paragraph does.
log=$runs/$name/interactive.log
if [ "$PROMPT" = - ]; then cat; else printf '%s\n' "$PROMPT"; fi |
  "${words[@]}" 2>"$log" | sed -un 's/^D-[0-9]*\t[^\t]*\t//p' ||
  { tail -n 1 "$log" >&2; die "see $log"; }
