#!/usr/bin/env bash
# WikiText-103 to a fairseq data folder: raw text as GPT-2's pieces, learned ones, or words; or the
# ids of GPT-2's pieces that the authors of unlikelihood training distribute.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source-path=SCRIPTDIR source=plain_text.sh
. "$prepare_folder/plain_text.sh"
# shellcheck source-path=SCRIPTDIR source=wikitext.sh
. "$prepare_folder/wikitext.sh"
# shellcheck source-path=SCRIPTDIR source=token_ids.sh
. "$prepare_folder/token_ids.sh"

# shellcheck disable=SC2034   # read by wikitext.sh
corpus=wikitext-103 default_out=data-bin/wikitext-103-bpe bpe_operations=40000 usage=usage

tensors=wikitext-103-bpe_v0
tensors_official=https://dl.fbaipublicfiles.com/unlikelihood
tensors_out=data-bin/wikitext-103-bpe-tensors

# As huggingface/datasets lists them in datasets/wikitext/dataset_infos.json.
archive_pins() {
    case $1 in
        wikitext-103-raw-v1.zip)
            echo 191984949 sha256 91c00ae287f0d699e18605c84afc9e45c192bc6b7797ff8837e5474655a33794
            ;;
        wikitext-103-v1.zip)
            echo 190229076 sha256 242ba0f20b329cfdf1ccc61e9e9e5b59becf189db7f7a81cd2a0e2fc31539590
            ;;
        "$tensors.tar.gz") echo - - - ;;   # nobody has published them
    esac
}

text_pins() {
    case $1 in
        train) echo 1801350 ;;
        valid) echo 3760 ;;
        test) echo 4358 ;;
    esac
}

usage() {
    wikitext_usage
    cat <<USAGE

Usage: $PREPARE_PROGRAM --tensors [options]

Takes the ready-made archive itself, $tensors.tar.gz: GPT-2's ids of each split in one
tensor. Options as above, but those about text do not go with it, and:

  --out DIR             result (default: $tensors_out)
  --from DIR            take the archive, or what it holds (train_tokens_bpe_gpt2.pt,
                        valid_tokens_bpe_gpt2.pt and test_tokens_bpe_gpt2.pt), from DIR;
                        GPT-2's two files, too, where DIR has them
  --block-length N      tokens of one item of the result (default: $block_length, a published row);
                        there is no </s>, and what does not fill the last item is dropped
  --limit N             only the first N training items, for a quick try

No checksum of this archive is published. The SHA-256 of what was taken is in MANIFEST.json; each
tensor must have one dimension and hold ids of GPT-2 only, and no code in it is run.

The published code cuts the ids into rows of T + 1 tokens that do not overlap, T inputs and T
targets, with T of 300 in training and for completions, and of 1024 for token-level evaluation.
fairseq's  --sample-break-mode none --tokens-per-sample T  makes samples of T inputs and targets,
too, but the first input is the last token of the sample before. So every token is predicted; in
the published layout one in T + 1 is not. Only where a sample begins with an item, its first input
is </s>: with items of 301 tokens in one sample of 300 out of 301, with items of 300 in every one.

Environment: UNLIKELIHOOD_URL folder of a mirror, instead of $tensors_official
USAGE
}

unpack_tensors() {
    local file split flat=()
    rm -rf input ids && mkdir input ids
    obtain "$tensors.tar.gz" "${members[@]}"
    for split in "${splits[@]}"; do flat+=("ids/$split.bin"); done
    or_discard "$python" "$prepare_folder/tensor_ids.py" --sources "${found[@]}" \
        --destinations "${flat[@]}" --block-length "$block_length"
    # For the manifest: what they were made of, without copies of what lies elsewhere.
    for file in "${found[@]}"; do
        case $file in
            /*) tool ln -s "$file" input ;;
            *) tool mv "$file" input ;;
        esac
    done
    file=${from:-$work/download}/$tensors.tar.gz
    if [ -f "$file" ]; then tool ln -s "$file" input; fi
}

prepare_tensors() {
    local from='' mirror=${UNLIKELIHOOD_URL:-$tensors_official} split members=()
    # Nothing of the archive is pinned, as if by --unpinned.
    local unpinned=yes unpinned_by=--tensors
    splits=(train valid test)
    while [ "$#" -gt 0 ]; do
        case $1 in
            --help | -h) usage; exit 0 ;;
            --tensors) shift; continue ;;
            --*=*) set -- "${1%%=*}" "${1#*=}" "${@:2}"; continue ;;
            --from) need_value "$@"; from=$2 ;;
            *) ids_option --tensors "$@" ;;
        esac
        shift 2
    done
    for split in "${splits[@]}"; do members+=("$tensors/${split}_tokens_bpe_gpt2.pt"); done
    if [ -n "$from" ]; then
        [ -d "$from" ] || die "--from: there is no folder $from"
        from=$(cd -- "$from" && pwd)
        if [ ! -f "$from/$tensors.tar.gz" ] && [ ! -d "$from/$tensors" ]; then
            members=("${members[@]##*/}")
        fi
        check_source "$tensors.tar.gz" "${members[@]}"
    fi
    describe_ids
    find_python
    begin "${out:-$tensors_out}" "$PREPARE_PROGRAM --tensors $ids_recipe" "$recipe_version"
    if [ -n "$complete" ]; then exit 0; fi
    progress "--tensors: no checksum of the archive is published, so that it is not pinned"
    stage "unpack" unpack_tensors
    make_ids_data "$tensors_official/$tensors.tar.gz (not pinned)" "tensor_ids.py"
}

if has_option --tensors "$@"; then
    prepare_tensors "$@"
elif has_option --block-length "$@"; then
    die "--block-length needs --tensors"
else
    prepare_wikitext "$@"
fi
