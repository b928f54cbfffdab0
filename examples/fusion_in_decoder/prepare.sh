#!/usr/bin/env bash
# The data of the study: questions with the passages that BM25 finds, and questions made of the passages
# themselves to learn reading from.
#
#   examples/fusion_in_decoder/prepare.sh PASSAGES.tsv QUESTIONS.jsonl [DATA]
#
# PASSAGES.tsv is a passage table (id, text, title; gzipped or not); QUESTIONS.jsonl holds question,
# answers and, for long answers, nq_annotated_gold.long_answer.  Of the questions, in their order,
# 500 to 599 are for validation, 600 to 1,099 for the test, and all others for training.
set -euo pipefail
# shellcheck source=examples/training.sh
. "$(dirname "${BASH_SOURCE[0]}")/../training.sh"
[ "$#" -ge 2 ] && [ "$#" -le 3 ] || die "usage: prepare.sh PASSAGES.tsv QUESTIONS.jsonl [DATA]"
passages=$1 questions=$2
for file in "$passages" "$questions"; do [ -f "$file" ] || die "there is no file $file"; done
shift 2   # settings.sh takes what is left
# shellcheck source=examples/fusion_in_decoder/settings.sh
. "$root/examples/fusion_in_decoder/settings.sh"
work=$data/work
mkdir -p "$work"

# step FILE COMMAND...: unless the file is there; the command writes it.
step() {
  local file=$1
  shift
  [ -e "$file" ] || "$@"
}
part() { sed -n "$1" "$work/found.jsonl" >"$2.tmp" && mv "$2.tmp" "$2"; }
fid() { local out=$1; shift; "$root/data-prep/prepare-fid.sh" --max-passages 20 "$@" --out "$data/$out"; }

step "$work/found.jsonl" genft retrieve "$passages" --questions "$questions" --method bm25 --top-k 20 \
  --index "$work/bm25" --output "$work/found.jsonl"
part '501,600p' "$work/valid.jsonl"
part '601,1100p' "$work/test.jsonl"
part '1,500p;1101,$p' "$work/train.jsonl"

# Short windows, which are quick to read.
step "$work/windows.tsv" genft preprocess "$passages" --window 30 --stride 15 --output "$work/windows.tsv"
# own_questions NAME FLAGS...: questions of our own, for NAME, and the windows that BM25 finds for them.
own_questions() {
  local name=$1
  shift
  step "$work/$name.jsonl" python3 "$study/clozes.py" "$passages" --per-passage 12 "$@" \
    --output "$work/$name.jsonl"
  step "$work/$name-found.jsonl" genft retrieve "$work/windows.tsv" --questions "$work/$name.jsonl" \
    --top-k 6 --index "$work/bm25-windows" --output "$work/$name-found.jsonl"
  head -n 300 "$work/$name-found.jsonl" >"$work/$name-valid.jsonl"
  tail -n +301 "$work/$name-found.jsonl" >"$work/$name-train.jsonl"
  own=(--train "$work/$name-train.jsonl" --valid "$work/$name-valid.jsonl" --truncate-questions)
}

asked=(--train "$work/train.jsonl" --valid "$work/valid.jsonl" --test "$work/test.jsonl")
own_questions clozes
fid clozes "${own[@]}" --bpe-operations 5000
own_questions sentences --sentences
fid sentences "${own[@]}" --target sentence --dict-from "$data/clozes"
fid questions "${asked[@]}" --dict-from "$data/clozes"
fid long_answers "${asked[@]}" --target nq_annotated_gold.long_answer --max-answer 60 \
  --dict-from "$data/clozes"
