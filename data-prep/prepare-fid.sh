#!/usr/bin/env bash
# Questions with passages, in the public JSON of Fusion-in-Decoder, to a fairseq data folder.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source-path=SCRIPTDIR source=fid.sh
. "$prepare_folder/fid.sh"

usage() {
    cat <<USAGE
Usage: prepare-fid.sh --train FILE --valid FILE [--test FILE ...] [options]

Prepares questions, answers and the passages found for them for Fusion-in-Decoder. The files are
taken as they are published: an array of JSON, or an object a line, gzipped or not, of

  {"id": "0", "question": "...", "target": "...", "answers": ["...", ...],
   "ctxs": [{"id": "1", "title": "...", "text": "...", "score": 30.8}, ...]}

id, target, title and score may be missing. Passages are read by score, highest first, as FiD reads
them; those of an example with a passage without a score, or one that is not a number, in the order
of the file, which should then begin with the best. What was reordered is told for each file.
Examples may have any number of passages, but not none.

  --train, --valid, --test FILE
                        examples; a second --test becomes test1, and so on
$(fid_usage data-bin/fid)

Files are read an example at a time, so that their size does not matter; each distinct passage takes
some 200 bytes of memory, and the work some four times the size of the files on the disk. For
Natural Questions with 100 passages a question that is 1 GB and 30 GB.

Environment: PYTHON     interpreter with fairseq, sacremoses and subword-nmt

A run that was killed continues when it is started again with the same options and texts.
USAGE
}

recipe_version=2   # 2: passages by score

splits=() files=() train='' valid='' tests=()

# need_file OPTION FILE: leaves in $file where it is, whatever folder we are in.
need_file() {
    [ -f "$2" ] || die "$1: there is no file $2"
    file=$2
    case $file in /*) ;; *) file=$PWD/$file ;; esac
}

# link_files: the user's files under the names of their splits, for the manifest.
link_files() {
    local i
    rm -rf input && mkdir input
    for ((i = 0; i < ${#files[@]}; i++)); do tool ln -s "${files[i]}" "input/${splits[i]}"; done
}

while [ "$#" -gt 0 ]; do
    case $1 in
        --help | -h) usage; exit 0 ;;
        --truncate-questions) truncate_questions=yes; shift; continue ;;
        --keep-order) keep_order=yes; shift; continue ;;
        --*=*) set -- "${1%%=*}" "${1#*=}" "${@:2}"; continue ;;
        --train)
            need_value "$@"
            [ -z "$train" ] || die "give $1 once"
            need_file "$1" "$2"
            train=$file
            ;;
        --valid)
            need_value "$@"
            [ -z "$valid" ] || die "give $1 once"
            need_file "$1" "$2"
            valid=$file
            ;;
        --test) need_value "$@"; need_file "$1" "$2"; tests+=("$file") ;;
        *) fid_option "$@" ;;
    esac
    shift 2
done
[ -n "$train" ] && [ -n "$valid" ] || die "give --train FILE and --valid FILE (see --help)"
splits=(train valid) files=("$train" "$valid")
for ((i = 0; i < ${#tests[@]}; i++)); do
    splits+=("test${i#0}")   # the names that fairseq-preprocess gives them: test, test1, ...
    files+=("${tests[i]}")
done

find_python
describe_fid
checksums=$(fid_python fid_examples.py digest "${files[@]}")
recipe=$PREPARE_PROGRAM
for split in "${splits[@]}"; do
    recipe+=" --${split%%[0-9]*} ${checksums:0:12}"   # not a file's name, but what it holds
    checksums=${checksums#*$'\n'}
done
recipe+=" $fid_recipe"
begin "${out:-data-bin/fid}" "$recipe" "$recipe_version"
if [ -n "$complete" ]; then exit 0; fi

link_files   # not a stage: the files may have moved since
make_fid_data "the user's files" "fid_examples.py take"
