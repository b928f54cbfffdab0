#!/usr/bin/env bash
# WikiText-103 from raw text to a fairseq data folder: GPT-2's pieces, learned ones, or words.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source-path=SCRIPTDIR source=plain_text.sh
. "$prepare_folder/plain_text.sh"
# shellcheck source-path=SCRIPTDIR source=wikitext.sh
. "$prepare_folder/wikitext.sh"

# shellcheck disable=SC2034   # read by wikitext.sh
corpus=wikitext-103 default_out=data-bin/wikitext-103-bpe bpe_operations=40000

# As huggingface/datasets lists them in datasets/wikitext/dataset_infos.json.
archive_pins() {
    case $1 in
        wikitext-103-raw-v1.zip)
            echo 191984949 sha256 91c00ae287f0d699e18605c84afc9e45c192bc6b7797ff8837e5474655a33794
            ;;
        wikitext-103-v1.zip)
            echo 190229076 sha256 242ba0f20b329cfdf1ccc61e9e9e5b59becf189db7f7a81cd2a0e2fc31539590
            ;;
    esac
}

text_pins() {
    case $1 in
        train) echo 1801350 ;;
        valid) echo 3760 ;;
        test) echo 4358 ;;
    esac
}

prepare_wikitext "$@"
