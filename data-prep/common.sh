# shellcheck shell=bash
# What the prepare-*.sh scripts share: options, errors, downloads, stages that survive a kill.
#
# A script works in OUT.partial: work/ holds what passes from stage to stage and one stamp for each
# finished stage, data/ is what will be published. The last act renames data/ to OUT, so OUT is
# either whole or not there. Works with the bash 3.2 of macOS: no associative arrays, no flock.

unset CDPATH   # with it, cd prints where it went, and goes elsewhere
prepare_folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repository=$(dirname "$prepare_folder")
PREPARE_PROGRAM=$(basename "$0")
export PREPARE_PROGRAM
# Bytes decide about order and UTF-8 about text, whatever the user's locale says; and a hash seed,
# because nothing that we run may depend on one.
export LC_ALL=C PYTHONUTF8=1 PYTHONHASHSEED=0

current_stage=
partial=   # OUT.partial, once this run holds its lock

die() {
    printf '%s: %s\n' "$PREPARE_PROGRAM" "$*" >&2
    exit 2
}

progress() {
    printf '[%4ds] %s\n' "$SECONDS" "$*"
}

# --- options -------------------------------------------------------------------------------------

# need_value OPTION [VALUE ...]: the rest of the command line must begin with a value.
need_value() {
    if [ "$#" -lt 2 ]; then die "$1 needs a value (see --help)"; fi
    case $2 in
        '') die "$1 needs a value, but is empty" ;;
        --*) die "$1 needs a value, but is followed by $2" ;;
    esac
}

need_positive_integer() {
    [[ $2 =~ ^[1-9][0-9]{0,8}$ ]] || die "$1 must be a positive integer, but is $2"
}

# Leaves in $python an interpreter that has what the recipe needs.
find_python() {
    if [ -n "${PYTHON:-}" ]; then
        python=$PYTHON
    elif [ -x "$repository/.venv/bin/python" ]; then
        python=$repository/.venv/bin/python
    else
        python=python3
    fi
    # The commands run in another folder, so a relative path must not stay one.
    python=$(command -v "$python") || die "there is no Python at ${PYTHON:-python3}; set PYTHON"
    case $python in /*) ;; *) python=$PWD/$python ;; esac
    local lacking
    lacking=$("$python" - fairseq_cli fairseq sacremoses subword_nmt 2>/dev/null <<'PYTHON'
import importlib.util, sys
if sys.version_info < (3, 10):
    print("lacks version 3.10 or newer")
else:
    print("lacks", *(name for name in sys.argv[1:] if importlib.util.find_spec(name) is None))
PYTHON
    ) || die "$python does not run"
    # Anything can end with exit code 0: only Python says this.
    case $lacking in lacks*) lacking=${lacking#lacks} ;; *) die "$python is no Python" ;; esac
    [ -z "$lacking" ] || die "$python lacks$lacking; run install.sh, or set PYTHON"
}

count_lines() {
    local lines
    lines=$(wc -l < "$1")
    echo $((lines))   # BSD's wc pads with spaces
}

# need_lines COUNT FILE...: every file must have that many lines.
need_lines() {
    local expected=$1 file found
    shift
    for file in "$@"; do
        found=$(count_lines "$file")
        [ "$found" -eq "$expected" ] ||
            die "${file##*/} has $found lines after stage '$current_stage', expected $expected"
    done
}

# --- output folder -------------------------------------------------------------------------------

# begin OUT RECIPE VERSION: sets $complete if OUT is already what the recipe makes; otherwise leaves
# $out, $partial, $work and $data, with whatever an interrupted run of the same recipe finished.
begin() {
    complete=
    local parent=$1 leftover name
    recipe=$2 recipe_version=$3
    while [ "${parent%/}" != "$parent" ]; do parent=${parent%/}; done
    name=${parent##*/}
    case $name in . | .. | '') die "--out must name a folder, but is $1" ;; esac
    case $parent in */*) parent=${parent%/*} ;; *) parent=. ;; esac
    mkdir -p -- "${parent:-/}" 2>/dev/null || die "cannot create the folder ${parent:-/} for --out"
    parent=$(cd -- "${parent:-/}" && pwd)
    out=${parent%/}/$name
    [ ! -L "$out" ] || die "$out is a symbolic link; give --out the folder itself"
    if [ -e "$out" ]; then
        [ -d "$out" ] || die "$out is a file; --out must be a folder"
        if [ -n "$(ls -A "$out")" ]; then
            "$python" "$prepare_folder/manifest.py" check "$out" --recipe "$recipe" \
                --version "$recipe_version"
            # Killed after the rename, a run leaves its work behind.
            if [ -f "$out.partial/recipe" ]; then rm -rf "$out.partial"; fi
            progress "$out is complete and was made with the same options\
${unpinned:+ (with ${unpinned_by:---unpinned} the text is not compared)}: nothing to do"
            # shellcheck disable=SC2034   # read by the scripts
            complete=yes
            return
        fi
    fi
    leftover=$out.partial
    if [ -e "$leftover" ] && [ ! -f "$leftover/recipe" ]; then
        case $(ls -A "$leftover") in
            '' | lock) ;;   # a run was killed before it began
            *) die "$leftover is in the way and holds other data; remove it" ;;
        esac
    fi
    mkdir -p "$leftover" 2>/dev/null || die "cannot write to $parent"
    { exec 9>> "$leftover/lock"; } 2>/dev/null || die "cannot write to $leftover"
    # The lock lives as long as any process of a run does, and dies with the last one.
    "$python" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)' 2>/dev/null ||
        die "another run is working in $leftover"
    partial=$leftover work=$leftover/work data=$leftover/data
    if [ -f "$partial/recipe" ]; then
        if [ "$(cat "$partial/recipe")" = "$recipe (version $recipe_version)" ]; then
            progress "continuing what an interrupted run left in $partial"
        else
            progress "starting anew: $partial was made with other options"
            rm -rf "$data"
            # What was downloaded is the same, whatever is made of it, and is checked when used.
            find "$work" -mindepth 1 -maxdepth 1 ! -name download -exec rm -rf {} +
        fi
    fi
    { printf '%s (version %s)\n' "$recipe" "$recipe_version" > "$partial/recipe" &&
        mkdir -p "$work/stamps" "$work/logs"; } 2>/dev/null || die "cannot write to $partial"
    cd "$work" || exit   # python -m imports from here first, not from wherever the user is
}

# publish: the rename that makes OUT appear. os.rename, because mv would move into an empty OUT.
publish() {
    "$python" -c 'import os, sys; os.rename(sys.argv[1], sys.argv[2])' "$data" "$out" 2>/dev/null ||
        die "cannot rename $data to $out"
    cd /
    rm -rf "$partial"
    partial=
    progress "done: $out"
}

# stage NAME COMMAND...: runs a command once; the stamp tells the next run that it is behind us.
stage() {
    current_stage=$1
    shift
    if [ -e "$work/stamps/$current_stage" ]; then
        progress "$current_stage: done by the interrupted run"
    else
        progress "$current_stage"
        "$@"
        : > "$work/stamps/$current_stage"
    fi
    current_stage=
}

# On the way out: one line for whatever was not told, and no trace of a run that achieved nothing.
finish() {
    local code=$?
    if [ "$code" -ne 0 ] && [ -n "$partial" ]; then
        cd /
        if [ -z "$(ls -A "$partial/work/stamps" 2>/dev/null)" ] &&
            [ -z "$(ls -A "$partial/work/download" 2>/dev/null)" ]; then
            rm -rf "$partial"
        fi
    fi
    case $code in
        0 | 2) ;;   # 2: told by die or by one of our Python files
        130 | 143) printf '%s: interrupted; the same command continues\n' "$PREPARE_PROGRAM" >&2 ;;
        *)
            printf '%s: failed in stage %s (exit code %s)\n' "$PREPARE_PROGRAM" \
                "${current_stage:-start}" "$code" >&2
            exit 2
            ;;
    esac
    exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# shellcheck source-path=SCRIPTDIR source=steps.sh
. "$prepare_folder/steps.sh"
