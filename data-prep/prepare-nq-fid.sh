#!/usr/bin/env bash
# Natural Questions with 100 passages each, as Fusion-in-Decoder published it, to a data folder.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source-path=SCRIPTDIR source=archives.sh
. "$prepare_folder/archives.sh"
# shellcheck source-path=SCRIPTDIR source=fid.sh
. "$prepare_folder/fid.sh"

official=https://dl.fbaipublicfiles.com
# The questions, at the commit whose checksums are published.
official_questions=https://raw.githubusercontent.com/google-research-datasets/natural-questions/a7a113c9fdc2d9986d624bd43b8a18d6d5779eaa/nq_open

usage() {
    cat <<USAGE
Usage: prepare-nq-fid.sh [options]

Prepares Natural Questions for Fusion-in-Decoder: 79,168 training, 8,757 validation and 3,610 test
questions with 100 passages of Wikipedia each, as Izacard & Grave (2021) published them. Downloads
5 GB, needs some 50 GB of disk, 2 GB of memory, and hours: more --workers help.

  --from DIR            take the official files from DIR instead of downloading them:
                        psgs_w100.tsv.gz, dataindex.tar.gz, nq_passages.tar.gz, NQ-open.train.jsonl
                        and NQ-open.dev.jsonl, or what was in the archives; or the train.json,
                        dev.json and test.json that FiD's own get-data.sh has made of them
  --unpinned            take other questions in the same layout: checksums and numbers of lines are
                        not compared with the official ones; MANIFEST.json says so
$(fid_usage data-bin/nq_fid)

The questions are pinned by SHA-256. Of the other files no checksum is published that we know: they
must have the published numbers of examples and passages, and MANIFEST.json says which SHA-256 they
had.

Environment: PYTHON      interpreter with fairseq, sacremoses and subword-nmt
             FBAI_URL    mirror of $official
             NQ_OPEN_URL folder of a mirror, instead of nq_open of Google's repository

A run that was killed continues when it is started again with the same options.
USAGE
}

recipe_version=1
from='' unpinned=''

# Nothing is published about the archives that we know.
archive_pins() {
    echo - - -
}

# SHA-256 and number of lines of the questions, as TensorFlow Datasets has published them
# (url_checksums/natural_questions_open.txt); the number of examples of each split.
pinned() {
    case $1 in
        NQ-open.train.jsonl)
            echo 0c93aaf13b12f855628489665e4ef85ffb8573ad444646f11f4fabdc57a0aabf 87925
            ;;
        NQ-open.dev.jsonl)
            echo f15567f38099f3615f5b8a685c0aef449c11ad90d3da3735e8d1b98115b40616 3610
            ;;
        train) echo 79168 ;;
        valid) echo 8757 ;;
        test) echo 3610 ;;
    esac
}

splits=(train valid test)
questions=(NQ-open.train.jsonl NQ-open.dev.jsonl)
indices=(NQ.train.idx.json NQ.dev.idx.json NQ.test.idx.json)
found_passages=(nq_passages/train.json nq_passages/dev.json nq_passages/test.json)
table=psgs_w100.tsv

# find_joined: whether --from has what FiD's own preparation made; leaves it in ${files[@]}.
find_joined() {
    local name
    files=()
    if [ -z "$from" ]; then return 1; fi
    for name in train.json dev.json test.json; do
        files+=("$(unpacked "$name")") || return 1
    done
}

# need_official_files: --from must have them all.
need_official_files() {
    local name
    for name in "${questions[@]}" "$table"; do
        unpacked "$name" > /dev/null || die "--from: there is no file $from/$name"
    done
    check_source dataindex.tar.gz "${indices[@]}"
    check_source nq_passages.tar.gz "${found_passages[@]}"
}

# place NAME: prints where a file is that is no archive.
place() {
    if [ -n "$from" ]; then unpacked "$1"; else printf 'download/%s\n' "$1"; fi
}

unpack() {
    local name pins
    rm -rf nq && mkdir -p nq download
    for name in "${questions[@]}"; do
        suspects=() pins=()
        if [ -z "$from" ]; then
            fetch "${NQ_OPEN_URL:-$official_questions}/$name" "download/$name"
            suspects=("download/$name")
        fi
        if [ -z "$unpinned" ]; then
            # shellcheck disable=SC2207   # words without spaces
            pins=($(pinned "$name"))
            pins=(--sha256 "${pins[0]}" --lines "${pins[1]}")
        fi
        or_discard "$python" "$prepare_folder/raw_text.py" --sources "$(place "$name")" \
            --destinations "nq/$name" "${pins[@]+"${pins[@]}"}"
    done
    obtain FiD/data/dataindex.tar.gz "${indices[@]}"
    tool cp "${found[@]}" nq
    obtain FiD/data/nq_passages.tar.gz "${found_passages[@]}"
    mkdir nq/passages
    tool cp "${found[@]}" nq/passages
    rm -rf members
    if [ -z "$from" ]; then
        fetch "$mirror/dpr/wikipedia_split/$table.gz" "download/$table.gz"
    fi
}

join_examples() {
    rm -rf joined && mkdir joined
    local options=() text=download/$table.gz
    suspects=("$text")
    if [ -n "$from" ]; then
        text=$(place "$table")
        suspects=()
    fi
    if [ -z "$unpinned" ]; then options+=(--passages 100); fi
    or_discard fid_python nq_examples.py joined --table "$text" \
        --split train nq/NQ-open.train.jsonl nq/NQ.train.idx.json nq/passages/train.json \
        --split valid nq/NQ-open.train.jsonl nq/NQ.dev.idx.json nq/passages/dev.json \
        --split test nq/NQ-open.dev.jsonl nq/NQ.test.idx.json nq/passages/test.json \
        "${options[@]+"${options[@]}"}"
    local split
    for split in "${splits[@]}"; do
        if [ -z "$unpinned" ]; then need_lines "$(pinned "$split")" "joined/$split.jsonl"; fi
    done
}

# check_joined: the numbers of examples and passages of files that somebody else has joined.
check_joined() {
    local split kept=100 wrong
    if [ -n "$unpinned" ]; then return; fi
    if [ "$max_passages" -lt 100 ]; then kept=$max_passages; fi
    for split in "${splits[@]}"; do
        # Two numbers for question and answer, and two for each passage.
        wrong=$(awk -v fields=$((2 + 2 * kept)) 'NF != fields { print NR - 1; exit }' \
            "examples/$split.examples")
        [ -z "$wrong" ] || die "$split: example $wrong does not have 100 passages"
        if [ "$split" != train ] || [ -z "$limit" ]; then
            need_lines "$(pinned "$split")" "examples/$split.examples"
        fi
    done
}

# link_files: what the user gave, or was downloaded, under its own names, for the manifest.
link_files() {
    local name file
    rm -rf input && mkdir input
    if [ "${1:-}" = joined ]; then
        for file in "${files[@]}"; do tool ln -s "$file" input; done
        return
    fi
    for name in "${questions[@]}" "$table.gz" dataindex.tar.gz nq_passages.tar.gz; do
        file=$work/download/$name
        if [ -n "$from" ]; then
            file=$from/$name
            if [ ! -f "$file" ]; then file=$(unpacked "$name") || continue; fi
        fi
        tool ln -s "$file" input
    done
    if [ -n "$from" ]; then
        for name in "${indices[@]}"; do
            if [ ! -f "$from/dataindex.tar.gz" ]; then tool ln -s "$(unpacked "$name")" input; fi
        done
        for name in "${found_passages[@]}"; do
            if [ ! -f "$from/nq_passages.tar.gz" ]; then
                tool ln -s "$(unpacked "$name")" "input/${name/\//.}"
            fi
        done
    fi
}

while [ "$#" -gt 0 ]; do
    case $1 in
        --help | -h) usage; exit 0 ;;
        --unpinned) unpinned=yes; shift; continue ;;
        --truncate-questions) truncate_questions=yes; shift; continue ;;
        --keep-order) keep_order=yes; shift; continue ;;
        --*=*) set -- "${1%%=*}" "${1#*=}" "${@:2}"; continue ;;
        --from) need_value "$@"; from=$2 ;;
        *) fid_option "$@" ;;
    esac
    shift 2
done
mirror=${FBAI_URL:-$official} joined=''
if [ -n "$from" ]; then
    [ -d "$from" ] || die "--from: there is no folder $from"
    from=$(cd -- "$from" && pwd)
    if find_joined; then joined=yes; else need_official_files; fi
fi
find_python
describe_fid
begin "${out:-data-bin/nq_fid}" "$PREPARE_PROGRAM${unpinned:+ --unpinned} $fid_recipe" \
    "$recipe_version"
if [ -n "$complete" ]; then exit 0; fi
if [ -n "$unpinned" ]; then
    progress "--unpinned: nothing is compared with the official checksums and counts"
fi

if [ -n "$joined" ]; then
    link_files joined
else
    stage "verify and unpack" unpack
    stage "join" join_examples
    link_files
    files=("$work/joined/train.jsonl" "$work/joined/valid.jsonl" "$work/joined/test.jsonl")
fi
after_examples=check_joined
source=$official/FiD/data
if [ -n "$unpinned" ]; then source="not pinned, laid out like $source"; fi
make_fid_data "$source" "nq_examples.py" "fid_examples.py take"
