# shellcheck shell=bash
# What the train.sh of every example shares: one resumable fairseq-train run after the other.
#
# Sets $root, $device and PATH; the caller sets $runs, where each run gets a folder of its own.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if [ -d "$root/.venv/bin" ]; then PATH=$root/.venv/bin:$PATH; fi

die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 2; }

command -v fairseq-train >/dev/null || die "fairseq-train is not on the PATH: bash install.sh, or see the README"
device=()
python3 -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' || device=(--cpu)

# train NAME FAIRSEQ_TRAIN_ARGUMENTS...: train in $runs/NAME, or go on from where it stopped, or do
# nothing when it is finished.  Beside the checkpoints lie `command`, `train.log` and `seconds`.
# With DRY_RUN=1 in the environment it only prints the command.
train() {
  local name=$1 folder=$runs/$1 begun=$SECONDS before=0 command
  shift
  local words=(fairseq-train "$@" --user-dir "$root/genft_fairseq" --save-dir "$folder"
    --no-epoch-checkpoints --log-format simple ${device[@]+"${device[@]}"})
  # Paths below the checkout are kept relative, so that the record reads the same everywhere.
  command=$(printf '%q ' "${words[@]}" | sed "s|$root/||g")
  if [ -n "${DRY_RUN:-}" ]; then printf '%s\n' "$command"; return; fi
  if [ -e "$folder/command" ] && [ "$(cat "$folder/command")" != "$command" ]; then
    die "$folder was trained with other flags (see $folder/command); remove it to train again"
  fi
  if [ -e "$folder/finished" ]; then echo "== $name: finished already, in $folder"; return; fi
  mkdir -p "$folder"
  # The training run inherits the lock and holds it as long as it lives, even where this script dies.
  exec 9>>"$folder/lock"
  python3 -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)' 2>/dev/null ||
    die "another run is training in $folder"
  printf '%s\n' "$command" >"$folder/command"
  printf '== %s\n   %s\n' "$name" "$command"
  if [ -e "$folder/seconds" ]; then before=$(cat "$folder/seconds"); fi
  "${words[@]}" >>"$folder/train.log" 2>&1 &
  local status=0
  follow $! "$folder/train.log" || status=$?
  # Of an interrupted run, too: the next one adds its own.
  echo $((before + SECONDS - begun)) >"$folder/seconds"
  case $status in
    0) ;;
    130 | 143) die "$name was interrupted; the same command continues" ;;
    *) tail -n 3 "$folder/train.log" >&2; die "$name failed: see $folder/train.log" ;;
  esac
  touch "$folder/finished"
}

# The checkpoint that stands for a run: of the baseline its best one, which fine-tuning starts from; of
# the fine-tuned models their last, all after the same number of updates.
chosen() {
  case $1 in
    baseline | */baseline) echo "$runs/$1/checkpoint_best.pt" ;;
    *) echo "$runs/$1/checkpoint_last.pt" ;;
  esac
}

# translate NAME DATA FLAGS...: the test set by the run's chosen checkpoint, beam 5, detokenised, into
# $runs/NAME/generate-test.txt, unless that is there and newer.
translate() {
  local name=$1 data=$2 folder=$runs/$1 checkpoint
  shift 2
  checkpoint=$(chosen "$name")
  if [ "$folder/generate-test.txt" -nt "$checkpoint" ]; then return; fi
  echo "== $name: translating"
  # Moved into place when whole: a killed run must not leave half a test set.
  fairseq-generate "$data" --user-dir "$root/genft_fairseq" --path "$checkpoint" \
    --source-lang en --target-lang de --gen-subset test --beam 5 --max-tokens 4000 \
    --bpe subword_nmt --bpe-codes "$data/bpe.codes" "$@" ${device[@]+"${device[@]}"} \
    >"$folder/generate-test.tmp" 2>"$folder/generate.log" ||
    { tail -n 3 "$folder/generate.log" >&2; die "see $folder/generate.log"; }
  mv "$folder/generate-test.tmp" "$folder/generate-test.txt"
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
