#!/usr/bin/env bash
# WMT 2014 English-French from the official archives to a fairseq data folder.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source-path=SCRIPTDIR source=wmt14.sh
. "$prepare_folder/wmt14.sh"

usage() {
    cat <<USAGE
Usage: prepare-wmt14-en-fr.sh [options]

Prepares WMT 2014 English-French for fairseq: 40,842,333 training pairs (Europarl, Common Crawl,
United Nations, News Commentary, Giga), newstest2013 for validation, newstest2014 for testing,
Moses-tokenised (hyphens split, entities not escaped), joint BPE, joined dictionary. Downloads some
7 GB, needs some 120 GB of disk, memory for every word form while it learns the merges, and many
hours: try --limit first.

$(wmt14_usage)
USAGE
}

src=en tgt=fr out=data-bin/wmt14_en_fr bpe_operations=40000
# The numbers of lines are those that Lingvo's WmtEnFr names for the unfiltered text.
texts='europarl-v7 2007723 wmt13/training-parallel-europarl-v7.tgz training/europarl-v7.fr-en
commoncrawl 3244152 wmt13/training-parallel-commoncrawl.tgz commoncrawl.fr-en
undoc.2000 12886831 wmt13/training-parallel-un.tgz un/undoc.2000.fr-en
news-commentary-v9 183251 wmt14/training-parallel-nc-v9.tgz training/news-commentary-v9.fr-en
giga-fren 22520376 wmt10/training-giga-fren.tar giga-fren.release2.fixed
valid 3000 wmt14/dev.tgz dev/newstest2013
test 3003 wmt14/test-full.tgz test-full/newstest2014-fren'

prepare_wmt14 "$@"
