#!/usr/bin/env bash
# WMT 2014 English-German from the official archives to a fairseq data folder.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source-path=SCRIPTDIR source=wmt14.sh
. "$prepare_folder/wmt14.sh"

usage() {
    cat <<USAGE
Usage: prepare-wmt14-en-de.sh [options]

Prepares WMT 2014 English-German for fairseq: 4,520,620 training pairs (Europarl, Common Crawl, News
Commentary), newstest2013 for validation, newstest2014 for testing, Moses-tokenised (hyphens split,
entities not escaped), joint BPE, joined dictionary. Downloads 1.7 GB and needs some 15 GB of disk.

$(wmt14_usage)
USAGE
}

src=en tgt=de out=data-bin/wmt14_en_de bpe_operations=32000
texts='europarl-v7 1920209 wmt13/training-parallel-europarl-v7.tgz training/europarl-v7.de-en
commoncrawl 2399123 wmt13/training-parallel-commoncrawl.tgz commoncrawl.de-en
news-commentary-v9 201288 wmt14/training-parallel-nc-v9.tgz training/news-commentary-v9.de-en
valid 3000 wmt14/dev.tgz dev/newstest2013
test 3003 wmt14/test-full.tgz test-full/newstest2014-deen'

prepare_wmt14 "$@"
