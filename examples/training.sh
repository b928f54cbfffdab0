# shellcheck shell=bash
# What the scripts of every example share: one resumable fairseq-train run after the other, checkpoint
# averaging, translation.
#
# Sets $root, $gpus, $device, $precision and PATH; the caller sets $runs, where each run gets a folder
# of its own.  In the environment:
#   DRY_RUN=1            only print the commands
#   GPUS=n               as if there were n GPUs; 0: the CPU (default: those that torch sees)
#   PRECISION=fp16|bf16|fp32    for the recipes that say so (default: fp16 on a GPU, fp32 on the CPU)
#   MAX_TOKENS=n         most tokens on a GPU at a time, where its memory is short (see set_batch)
#   HF_DIR=folder   a pretrained model, for the recipes that start from one (see import_model)
#   METHODS='mle scalegrad-0.5'    some methods of fine-tuning instead of a recipe's own (see criterion)

unset CDPATH   # with it, cd prints where it went
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if [ -d "$root/.venv/bin" ]; then PATH=$root/.venv/bin:$PATH; fi

die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 2; }

command -v fairseq-train >/dev/null || die "fairseq-train is not on the PATH: bash install.sh, or see the README"
gpus=${GPUS:-$(python3 -c 'import torch; print(torch.cuda.device_count())')}
[[ $gpus =~ ^(0|[1-9][0-9]{0,3})$ ]] || die "GPUS must be a number from 0 to 9999, but is $gpus"
[[ ${MAX_TOKENS:-1} =~ ^[1-9][0-9]{0,6}$ ]] || die "MAX_TOKENS must be a positive integer, but is $MAX_TOKENS"
for name in DRY_RUN RECORD; do
  [[ ${!name:-1} = 1 ]] || die "$name must be 1, or not be set, but is ${!name}"
done
device=(--cpu)
# fairseq starts one process a GPU by itself.
if [ "$gpus" -gt 0 ]; then device=(--distributed-world-size "$gpus"); fi
precision=()
case ${PRECISION:-} in
  fp16 | bf16)
    # On a CPU half precision is no faster than float32, and fp16 some 20 times slower.
    [ "$gpus" -gt 0 ] || die "PRECISION=$PRECISION needs a GPU"
    precision=("--$PRECISION") ;;
  '') if [ "$gpus" -gt 0 ]; then precision=(--fp16); fi ;;
  fp32) ;;
  *) die "PRECISION must be fp16, bf16 or fp32, but is $PRECISION" ;;
esac

# split_arguments ARGUMENTS [-- FLAGS]: sets $arguments, and $extra, which is added to the commands of
# train, translate, evaluate and summarize and wins over what they say: -- --max-update 20
arguments=() extra=()
split_arguments() {
  while [ "$#" -gt 0 ]; do
    if [ "$1" = -- ]; then shift; extra=("$@"); return; fi
    arguments+=("$1")
    shift
  done
}

# set_batch TOKENS MOST: sets $batch such that an update sees TOKENS tokens however many GPUs there
# are, each of them at most MOST (or MAX_TOKENS) at a time.
set_batch() {
  local each=${MAX_TOKENS:-$2} workers=$((gpus > 0 ? gpus : 1))
  { [ "$each" -gt 0 ] && [ $(($1 % (each * workers))) -eq 0 ]; } ||
    die "an update of $1 tokens is no multiple of $workers times $each: set MAX_TOKENS or GPUS"
  # shellcheck disable=SC2034   # read by the recipes
  batch=(--max-tokens "$each" --update-freq $(($1 / (each * workers))))
}

# criterion METHOD: the criterion that a run of this name is trained by, and its flags.
criterion() {
  local share='(0?\.[0-9]+|0|1|[01]\.0+)$'   # gamma 0 is for the criterion itself to refuse
  if [ "$1" = mle ]; then
    echo label_smoothed_cross_entropy
  elif [[ $1 =~ ^scalegrad-$share ]]; then
    echo scalegrad --gamma "${1#*-}"
  elif [ "$1" = unlikelihood ]; then
    echo unlikelihood --unlikelihood-alpha 1.0
  elif [ "$1" = unlikelihood-sequence ]; then
    echo sequence_unlikelihood
  elif [ "$1" = unlikelihood-both ]; then
    echo sequence_unlikelihood --unlikelihood-alpha 1.0
  elif [[ $1 =~ ^first-token-$share ]]; then
    echo first_token_auxiliary --first-token-weight "${1##*-}"
  else
    die "there is no method $1: mle, scalegrad-GAMMA, unlikelihood, unlikelihood-sequence," \
      "unlikelihood-both or first-token-WEIGHT"
  fi
}
# A mistake in METHODS is told before anything is trained.
if [ -n "${METHODS+set}" ]; then
  [ -n "${METHODS// /}" ] || die "METHODS is set, but names no method"
  for name in $METHODS; do criterion "$name" >/dev/null; done
fi

# printable WORDS: a command as one types it.  Paths below the checkout are kept relative, so that the
# record reads the same everywhere.
printable() { printf '%q ' "$@" | sed "s|$root/||g"; echo; }

# made FILE CHECKPOINT COMMAND: the file is there, newer than the checkpoint, and by that command.
made() {
  [ "$1" -nt "$2" ] && [ -e "$1.command" ] && [ "$(cat "$1.command")" = "$3" ]
}

# need_data SCRIPT: $data must be what that script makes.
need_data() {
  if [ -n "${DRY_RUN:-}" ] || compgen -G "$data/dict*.txt" >/dev/null; then return; fi
  die "$data is no prepared data folder: run $1"
}

# import_model WHAT FOLDER FLAGS...: a pretrained model as fairseq reads it, in FOLDER/model.pt, by genft
# import-hf from HF_DIR, a folder that transformers saved it in; unless it is there already.
import_model() {
  local what=$1 folder=$2 command
  shift 2
  local words=(genft import-hf "${HF_DIR:-HF_DIR}" "$folder" "$@")
  command=$(printable "${words[@]}")
  if [ -n "${DRY_RUN:-}" ]; then printf '%s\n' "$command"; return; fi
  if [ -e "$folder/model.pt" ]; then
    [ -z "${HF_DIR:-}" ] || [ ! -e "$folder/command" ] || [ "$(cat "$folder/command")" = "$command" ] ||
      die "$folder was imported from another folder (see $folder/command); remove it to import again"
    return
  fi
  [ -n "${HF_DIR:-}" ] || die "set HF_DIR to a folder with $what as transformers saves it"
  mkdir -p "$(dirname "$folder")"
  "${words[@]}" || exit
  printf '%s\n' "$command" >"$folder/command"
}
import_gpt2() { import_model GPT-2 "$1"; }

# train NAME FAIRSEQ_TRAIN_ARGUMENTS...: train in $runs/NAME, or go on from where it stopped, or do
# nothing when it is finished.  Beside the checkpoints lie `command`, `train.log` and `seconds`.
# `up_to_epoch=3 train ...` pauses there; the same with a later epoch goes on.
train() {
  local name=$1 folder=$runs/$1 begun=$SECONDS before=0 command finished=$runs/$1/finished until=()
  shift
  local words=(fairseq-train "$@" --user-dir "$root/genft_fairseq" --save-dir "$folder"
    --no-epoch-checkpoints --log-format simple "${device[@]}" ${extra[@]+"${extra[@]}"})
  command=$(printable "${words[@]}")
  if [ -n "${up_to_epoch:-}" ]; then
    until=(--max-epoch "$up_to_epoch") finished+=-epoch-$up_to_epoch
  fi
  if [ -n "${DRY_RUN:-}" ]; then printable "${words[@]}" ${until[@]+"${until[@]}"}; return; fi
  if [ -e "$folder/command" ] && [ "$(cat "$folder/command")" != "$command" ]; then
    die "$folder was trained with other flags (see $folder/command); remove it to train again"
  fi
  if [ -e "$finished" ]; then echo "== $name: finished already, in $folder"; return; fi
  mkdir -p "$folder"
  # The training run inherits the lock and holds it as long as it lives, even where this script dies.
  exec 9>>"$folder/lock"
  python3 -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)' 2>/dev/null ||
    die "another run is training in $folder"
  printf '%s\n' "$command" >"$folder/command"
  printf '== %s\n   %s\n' "$name${up_to_epoch:+, epoch $up_to_epoch}" "$command"
  if [ -e "$folder/seconds" ]; then before=$(cat "$folder/seconds"); fi
  "${words[@]}" ${until[@]+"${until[@]}"} >>"$folder/train.log" 2>&1 &
  local status=0
  follow $! "$folder/train.log" || status=$?
  # Of an interrupted run, too: the next one adds its own.
  echo $((before + SECONDS - begun)) >"$folder/seconds"
  case $status in
    0) ;;
    130 | 143) die "$name was interrupted; the same command continues" ;;
    *) tail -n 3 "$folder/train.log" >&2; die "$name failed: see $folder/train.log" ;;
  esac
  touch "$finished"
  exec 9>&- # so that nobody takes it for a run that is going
}

# need_run NAME SCRIPT: the run must be finished.
need_run() {
  [ -n "${DRY_RUN:-}" ] || [ -e "$runs/$1/finished" ] || die "$runs/$1 is not trained: run $2"
}

# average NAME N: the mean of the last N checkpoints that the run wrote on the way, in
# $runs/NAME/averaged.pt.
average() {
  local folder=$runs/$1
  local words=(genft average-checkpoints "$folder" --last "$2" --output "$folder/averaged.pt")
  if [ -n "${DRY_RUN:-}" ]; then printable "${words[@]}"; return; fi
  if [ "$folder/averaged.pt" -nt "$folder/checkpoint_last.pt" ]; then return; fi
  echo "== $1: averaging"
  "${words[@]}" || exit
}

# The checkpoint that stands for a run: of the baseline its best one, which fine-tuning starts from; of
# the fine-tuned models their last, all after the same number of updates.  A recipe can say otherwise.
chosen() {
  case $1 in
    baseline | */baseline) echo "$runs/$1/checkpoint_best.pt" ;;
    *) echo "$runs/$1/checkpoint_last.pt" ;;
  esac
}

# translate NAME DATA FLAGS...: the test set by the run's chosen checkpoint, detokenised, into
# $runs/NAME/generate-test.txt, unless that is there and newer; English to German and a beam of 5
# where FLAGS do not say otherwise.  With OUTPUT=valid the file is generate-valid.txt, and so on.
translate() {
  local name=$1 data=$2 folder=$runs/$1 output=generate-${OUTPUT:-test} checkpoint command
  shift 2
  checkpoint=$(chosen "$name")
  local words=(fairseq-generate "$data" --user-dir "$root/genft_fairseq" --path "$checkpoint"
    --source-lang en --target-lang de --gen-subset test --beam 5 --max-tokens 4000
    --bpe subword_nmt --bpe-codes "$data/bpe.codes" "$@")
  if [ "$gpus" -eq 0 ]; then words+=(--cpu); fi   # on GPUs it takes the first
  words+=(${extra[@]+"${extra[@]}"})
  command=$(printable "${words[@]}")
  if [ -n "${DRY_RUN:-}" ]; then printf '%s\n' "$command"; return; fi
  if made "$folder/$output.txt" "$checkpoint" "$command"; then return; fi
  echo "== $name: translating"
  rm -f "$folder/$output.txt"
  # Moved into place when whole: a killed run must not leave half a test set.
  "${words[@]}" >"$folder/$output.tmp" 2>"$folder/$output.log" ||
    { tail -n 3 "$folder/$output.log" >&2; die "see $folder/$output.log"; }
  printf '%s\n' "$command" >"$folder/$output.txt.command"
  mv "$folder/$output.tmp" "$folder/$output.txt"
}

# evaluate NAME DATA FLAGS...: perplexity and greedy continuations by the run's chosen checkpoint, into
# $runs/NAME/evaluation.json, unless that is there and newer.  With OUTPUT=nucleus the file is
# evaluation-nucleus.json, and so on.
evaluate() {
  local name=$1 data=$2 checkpoint output=$runs/$1/evaluation${OUTPUT:+-$OUTPUT}.json
  shift 2
  checkpoint=$(chosen "$name")
  local words=(genft evaluate-lm "$data" --split test --path "$checkpoint" --output "$output" "$@")
  if [ "$gpus" -eq 0 ]; then words+=(--cpu); fi
  words+=(${extra[@]+"${extra[@]}"})
  measure "$output" "$checkpoint" "$name: continuing held-out prefixes" "${words[@]}"
}

# summarize NAME DATA FLAGS...: summaries of the test set by the run's chosen checkpoint, into
# $runs/NAME/summaries.jsonl, side by side with their sources into summaries.txt, and their figures into
# summaries.json, unless these are there and newer.  With OUTPUT=greedy the files are summaries-greedy.*.
# With against=FILE they are compared with these other summaries of the same sources.
summarize() {
  local name=$1 data=$2 output=$runs/$1/summaries${OUTPUT:+-$OUTPUT} checkpoint newest
  shift 2
  checkpoint=$(chosen "$name") newest=$checkpoint
  local words=(genft evaluate-summaries "$data" --split test --path "$checkpoint" --output "$output.json"
    --predictions "$output.jsonl" --side-by-side "$output.txt" "$@")
  if [ -n "${against:-}" ]; then
    words+=(--baseline "$against")
    if [ "$against" -nt "$newest" ]; then newest=$against; fi
  fi
  if [ "$gpus" -eq 0 ]; then words+=(--cpu); fi
  words+=(${extra[@]+"${extra[@]}"})
  measure "$output.json" "$newest" "$name: summarising${OUTPUT:+, $OUTPUT}" "${words[@]}"
}

# measure OUTPUT CHECKPOINT WHAT COMMAND...: the command writes OUTPUT, unless it is there, by the same
# command, and newer than the checkpoint.
measure() {
  local output=$1 checkpoint=$2 what=$3 command
  shift 3
  command=$(printable "$@")
  if [ -n "${DRY_RUN:-}" ]; then printf '%s\n' "$command"; return; fi
  if made "$output" "$checkpoint" "$command"; then return; fi
  echo "== $what"
  rm -f "$output"
  printf '%s\n' "$command" >"$output.command"
  "$@" >/dev/null || exit
}

# score WORDS...: the last step of a generate.sh; RECORD=1 also writes the recipe's page.
score() {
  if [ -n "${RECORD:-}" ]; then set -- "$@" --record; fi
  if [ -n "${DRY_RUN:-}" ]; then printable python3 "$@"; else python3 "$@"; fi
}

# follow PID LOG: show a run's progress while it goes on, and return its exit status.
follow() {
  local pid=$1 log=$2 status=0 stopped=
  # The training run must not outlive this script.  The shell sees a signal at once only while it
  # waits, so the watcher runs beside it; it ends with the run.
  trap 'stopped=yes; kill "$pid" 2>/dev/null' INT TERM HUP
  tail -n 0 -F "$log" --pid="$pid" 2>/dev/null |
    sed -un 's/.*| train_inner | /   /p; s/.*| valid | /   valid: /p' | cut -c1-110 &
  wait "$pid" || status=$?
  wait || true
  trap - INT TERM HUP
  if [ -n "$stopped" ]; then status=130; fi
  return $status
}
