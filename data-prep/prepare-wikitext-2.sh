#!/usr/bin/env bash
# WikiText-2 from raw text to a fairseq data folder: GPT-2's pieces, learned ones, or words.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source-path=SCRIPTDIR source=plain_text.sh
. "$prepare_folder/plain_text.sh"
# shellcheck source-path=SCRIPTDIR source=wikitext.sh
. "$prepare_folder/wikitext.sh"

# shellcheck disable=SC2034   # read by wikitext.sh
corpus=wikitext-2 default_out=data-bin/wikitext-2 bpe_operations=10000

# As huggingface/datasets lists them in datasets/wikitext/dataset_infos.json.
archive_pins() {
    case $1 in
        wikitext-2-raw-v1.zip)
            echo 4721645 sha256 ef7edb566e3e2b2d31b29c1fdb0c89a4cc683597484c3dc2517919c615435a11
            ;;
        wikitext-2-v1.zip)
            echo 4475746 sha256 92675f1d63015c1c8b51f1656a52d5bdbc33aafa60cc47a218a66e7ee817488c
            ;;
    esac
}

# The checksums are those of what the first of these archives holds.
text_pins() {
    case $1 in
        train) echo 36718 ;;
        valid) echo 3760 ;;
        test) echo 4358 ;;
        train.raw) echo 6707892fa3788b5ab9ed78ab5ff37d9fe825f6011a2ad4fcd6a6d467f0e7da57 ;;
        valid.raw) echo 4cd0f6876d07a413aa911261ff6d363c72d757d47f0fdd6015702014c89cb9c7 ;;
        test.raw) echo 173c87a53759e0201f33e0ccf978e510c2042d7f2cb78229d9a50d79b9e7dd08 ;;
    esac
}

prepare_wikitext "$@"
