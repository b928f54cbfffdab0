#!/usr/bin/env bash
# Fills the GPU page: everything that this project measures, on a GPU.
#
#   benchmarks/gpu.sh --data data-bin/multi30k_en_de       two hours; results, and benchmarks/GPU.md
#   benchmarks/gpu.sh --minutes 20                         what fits, and what matters most first
#   benchmarks/gpu.sh --dry-run                            only print the commands
set -euo pipefail

unset CDPATH   # with it, cd prints where it went
here=$PWD
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

usage() {
    cat <<'USAGE'
Usage: benchmarks/gpu.sh [options]

Runs, in this order, and keeps the results of each step even if a later one fails:

  tests        every criterion, rollout and precision on the GPU against the CPU
  projection   time and memory of output projection and loss: bfloat16, float16; last, float32
  losses       time and memory of the loss alone: the same
  training     words per second of fairseq-train: bf16, fp16; last, fp32 and amp
  strategies   what updates on the model's own text cost
  logging      what the figures cost that are logged
  study        genft compare: all strategies from one Transformer base (needs --data)

  --data DIR      translation data for the study (data-prep/prepare-multi30k.sh makes such a folder)
  --seeds N       of the study (default: 3)
  --minutes N     end by then: leave out what does not fit into the time that is left
  --only STEPS    some of the steps, separated by commas
  --out DIR       results and page go there (default: benchmarks/results and benchmarks/GPU.md)
  --work DIR      logs, and the runs of the study (default: runs/gpu)
  --small         tiny sizes, to try the script; needs --out
  --device cpu    without a GPU; needs --small
  --dry-run       only print the commands
  --help          this text

Environment: PYTHON  interpreter (default: .venv/bin/python if it is there, or python3); the package
                     need not be installed in it
Ends with status 1 when a step failed; its log is in DIR/logs of --work.
USAGE
}

die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 2; }
need_value() { [ "$#" -ge 2 ] || die "$1 needs a value (see --help)"; }
need_positive_integer() {
    [[ $2 =~ ^[1-9][0-9]{0,5}$ ]] || die "$1 must be a positive integer, but is $2"
}

# place PATH: a path that was given where the script was called, as seen from the checkout.
place() {
    if [ "$here" = "$root" ] || [[ $1 = /* ]]; then echo "$1"; else echo "$here/$1"; fi
}

steps=(tests projection losses training strategies logging study)
data='' seeds=3 minutes='' only=" ${steps[*]} " out='' work=runs/gpu small='' device=cuda dry_run=''
while [ "$#" -gt 0 ]; do
    case $1 in
        --help | -h) usage; exit 0 ;;
        --*=*) set -- "${1%%=*}" "${1#*=}" "${@:2}"; continue ;;
        --small) small=yes; shift; continue ;;
        --dry-run) dry_run=yes; shift; continue ;;
        --data) need_value "$@"; data=$(place "$2") ;;
        --out) need_value "$@"; out=$(place "$2") ;;
        --work) need_value "$@"; work=$(place "$2") ;;
        --seeds) need_value "$@"; need_positive_integer "$1" "$2"; seeds=$2 ;;
        --minutes) need_value "$@"; need_positive_integer "$1" "$2"; minutes=$2 ;;
        --only)
            need_value "$@"
            only=" ${2//,/ } "
            for name in $only; do
                [[ " ${steps[*]} " == *" $name "* ]] ||
                    die "--only must be among ${steps[*]}, but has $name"
            done
            ;;
        --device)
            need_value "$@"
            case $2 in
                cpu | cuda) device=$2 ;;
                *) die "--device must be cuda or cpu, but is $2" ;;
            esac
            ;;
        *) die "unknown option $1 (see --help)" ;;
    esac
    shift 2
done
if [ -n "$small" ]; then
    [ -n "$out" ] || die "--small needs --out DIR: what it measures is not for the page"
elif [ "$device" = cpu ]; then
    die "--device cpu is for --small: the sizes are a GPU's"
fi
if [ -n "$data" ]; then
    [ -n "$dry_run" ] || compgen -G "$data/dict.*.txt" >/dev/null ||
        die "--data $data is no prepared data folder: data-prep/prepare-multi30k.sh makes one"
fi
results=${out:-benchmarks/results}
page=${out:+$out/GPU.md}
page=${page:-benchmarks/GPU.md}

# The commands: those that are installed beside the interpreter, or their modules.
if [ -z "${PYTHON:-}" ]; then
    PYTHON=python3
    if [ -x .venv/bin/python ]; then PYTHON=.venv/bin/python; fi
fi
python=$(command -v "$PYTHON") || die "there is no $PYTHON: set PYTHON"
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH}
bin=$(dirname "$python")
if ! [ -x "$bin/fairseq-train" ]; then
    # genft compare starts what lies beside its interpreter, so one gets a folder of its own.
    bin=$work/bin
fi
genft=("$bin/genft")
if ! [ -x "${genft[0]}" ]; then genft=("$bin/$(basename "$python")" -m genft_fairseq.cli); fi

# make_bin: an interpreter with fairseq's commands beside it, where they are not installed.
make_bin() {
    [ "$bin" = "$work/bin" ] || return 0
    local name packages interpreter
    interpreter=$(basename "$python")
    mkdir -p "$bin"
    ln -sf "$(cd "$(dirname "$python")" && pwd)/$interpreter" "$bin/$interpreter"
    # A link into a virtual environment does not know the packages there.
    packages=$("$python" -c 'import site; print(":".join(site.getsitepackages()))')
    export PYTHONPATH=$PYTHONPATH:$packages
    for name in train generate; do
        # shellcheck disable=SC2016   # for the script that is written to expand
        printf '#!/bin/sh\nexec "$(dirname "$0")/%s" -m fairseq_cli.%s "$@"\n' \
            "$interpreter" "$name" >"$bin/fairseq-$name"
        chmod +x "$bin/fairseq-$name"
    done
}

# printable WORDS...: a command as one types it, with the interpreter and commands by their names.
printable() {
    case $1 in
        "$python" | "$bin"/python*) set -- python "${@:2}" ;;
        "$bin"/*) set -- "$(basename "$1")" "${@:2}" ;;
    esac
    printf '%q ' "$@"
    echo
}

failed=()
# step NAME MINUTES COMMAND...: run a command that takes about so long on a large GPU, unless its name
# was not chosen, or there is no time left for it.  Sets $done to whether it ran to its end.
step() {
    local name=$1 estimate=$2 log left=() status=0
    shift 2
    done=''
    [[ $only == *" $name "* ]] || return 0
    if [ -n "$small" ]; then estimate=1; fi
    if [ -n "$minutes" ]; then
        local seconds=$((minutes * 60 - SECONDS))
        # Nothing has run yet where commands are only printed: count what would have.
        if [ -n "$dry_run" ]; then seconds=$((minutes * 60 - planned * 60)); fi
        if [ "$seconds" -lt $((estimate * 60)) ]; then
            echo "# $name: left out, $estimate minutes do not fit into the time left: ${*:2:1}"
            return 0
        fi
        planned=$((planned + estimate))
        if command -v timeout >/dev/null; then left=(timeout --kill-after=10 "$seconds"); fi
    fi
    if [ -n "$dry_run" ]; then
        echo "# $name, about $estimate minutes"
        printable "$@"
        return 0
    fi
    printf '\n== %s: ' "$name"
    printable "$@"
    log=$work/logs/$name.log
    { printable "$@" >>"$log"; ${left[@]+"${left[@]}"} "$@" 2>&1 | tee -a "$log"; } || status=$?
    if [ "$status" -eq 0 ]; then
        done=yes
    else
        echo "== $name failed with status $status; its log is $log" >&2
        failed+=("$name")
    fi
}
planned=0 done=''

if [ -z "$dry_run" ]; then
    "$python" -c 'import torch, fairseq, genft_fairseq' || die "$PYTHON lacks a module: see the README"
    if [ "$device" = cuda ]; then
        "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' ||
            die "there is no GPU that torch can use (--small --device cpu --out DIR tries the script)"
    fi
    mkdir -p "$results" "$work/logs"
    [ -e "$page" ] || cp benchmarks/GPU.md "$page"
    make_bin
    # Whatever happens, the page shows what there is.
    trap '"$python" benchmarks/gpu_page.py --results "$results" --page "$page" --device "$device"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
fi

measure() {
    local name=$1 estimate=$2 script=$3 of=$4
    shift 4
    step "$name" "$estimate" "$python" "benchmarks/$script.py" "$@" --device "$device" \
        --output "$results/$of-$device.json"
}

if [ -n "$small" ]; then
    tests=(-k "scalegrad and translation and not in-chunks and not fp16")
    projection=(--shape 2,8,8,40 --repeats 1 --dense-repeats 1 --losses scalegrad)
    losses=(--shape 2,8,40 --repeats 1 --dense-repeats 1 --losses scalegrad)
    training=(--model translation,tiny --rows scalegrad --updates 3 --warm-up 1 --rounds 1
        --processes 1)
    strategies=(--setting translation,tiny,2,6 --repeats 1 --unrolled-repeats 1
        --strategies generative_greedy,unrolled)
    logging=(--setting translation,tiny,2,6 --rounds 1)
else
    tests=()
    projection=(--shape 4,1024,768,50257 --shape 16,1024,768,50257 --repeats 15)
    losses=(--shape 32,32,32000 --shape 4,1024,50257 --shape 16,1024,50257)
    training=(--model translation,base --model language,base --updates 60 --warm-up 10 --rounds 3)
    strategies=(--setting translation,base,64,16 --setting translation,base,64,64
        --setting language,base,32,150 --unrolled-limit-gib 40)
    logging=(--setting translation,base,64,64 --setting language,base,32,150)
fi

# in_types DTYPES -- PRECISIONS: what is measured in several types.
in_types() {
    local type
    while [ "$1" != -- ]; do
        measure projection 2 projection "projection-$1" "${projection[@]}" --dtype "$1"
        measure losses 2 losses "losses-$1" "${losses[@]}" --dtype "$1"
        shift
    done
    for type in "${@:2}"; do
        measure training 6 training "training-$type" "${training[@]}" --precision "$type"
    done
}

measure tests 5 gpu_tests tests ${tests[@]+"${tests[@]}"}
if [ -n "$small" ]; then
    in_types bfloat16 -- bf16
else
    in_types bfloat16 float16 -- bf16 fp16
fi
measure strategies 6 strategies strategies "${strategies[@]}"
measure logging 2 logging_cost logging "${logging[@]}"
if [ -z "$small" ]; then
    in_types float32 -- fp32 amp
fi

# study: the baseline once, then genft compare, which goes on where it stopped.
study() {
    local folder=$work/study words flags=()
    if [ -n "$small" ]; then flags+=(--small); fi
    if [ -n "$dry_run" ]; then flags+=(--dry-run); fi
    words=$("$python" benchmarks/gpu_study.py --data "$data" --work "$folder" --seeds "$seeds" \
        ${flags[@]+"${flags[@]}"}) || { failed+=(study); return 0; }
    mapfile -t words <<<"$words"
    words+=(--user-dir genft_fairseq)
    if [ "$device" = cpu ]; then words+=(--cpu); fi
    # A baseline that is finished already stays as it is, and takes seconds.
    step study 10 "$bin/fairseq-train" "${words[@]}"
    [ -n "$done" ] || [ -n "$dry_run" ] || return 0
    step study $((seeds * 20)) "${genft[@]}" compare "$folder/study.yaml"
    if [ -n "$done" ]; then cp "$folder/comparison/results.json" "$results/study-$device.json"; fi
}
if [[ $only == *" study "* ]]; then
    if [ -n "$data" ]; then
        study
    else
        echo "# study: left out, it needs --data DIR (data-prep/prepare-multi30k.sh makes such a folder)"
    fi
fi

if [ ${#failed[@]} -gt 0 ]; then
    echo "failed: ${failed[*]}" >&2
    exit 1
fi
