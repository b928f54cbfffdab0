#!/usr/bin/env bash
# XSum, BBC articles and their one-sentence summaries, from the authors' archive to a data folder.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source-path=SCRIPTDIR source=summaries.sh
. "$prepare_folder/summaries.sh"
# shellcheck source-path=SCRIPTDIR source=news.sh
. "$prepare_folder/news.sh"

# A copy with the checksum of http://bollin.inf.ed.ac.uk/public/direct, the authors' server, which
# often does not answer.
articles_url=https://huggingface.co/datasets/EdinburghNLP/xsum/resolve/0f3ea2f2b55fcb11e71fb1e3aec6822e44ddcb0f/data
lists_url=https://raw.githubusercontent.com/EdinburghNLP/XSum/master/XSum-Dataset

usage() {
    cat <<USAGE
Usage: prepare-xsum.sh [options]

Prepares XSum (Narayan et al., 2018) for fairseq: 204,045 training, 11,332 validation and 11,334
test articles of the BBC, each with its first sentence as its summary, in the order of the published
split. A few have no text behind their first sentence: these are dropped from training, but kept in
validation and test, as in published figures. Downloads 260 MB and needs some 3 GB of disk.

  --from DIR            take the official files from DIR instead of downloading them:
                        XSum-TRAINING-DEV-TEST-SPLIT-90-5-5.json and
                        XSUM-EMNLP18-Summary-Data-Original.tar.gz, or what was in this:
                        bbc-summary-data/*.summary; GPT-2's two files, too, where DIR has them
$(news_usage data-bin/xsum)

Case and words stay as they are. What pages said around the text ("Share this with") is left out.

Environment: PYTHON       interpreter with fairseq, sacremoses and subword-nmt
             XSUM_URL     folder of a mirror of both files
             GPT2_BPE_URL the same of GPT-2's, instead of $gpt2_official

A run that was killed continues when it is started again with the same options.
USAGE
}

recipe_version=1

# As huggingface/datasets lists it in datasets/xsum/dataset_infos.json, of the authors' server.
archive_pins() {
    echo 254582292 sha256 10b48aa187fc9c904b30f76ca97e2da0de8d3a1238acc26acadef93e2001af90
}

# The same source, and tensorflow/datasets, tensorflow_datasets/url_checksums/xsum.txt.
pinned() {
    echo 9c0c5d8f048a90bd68b19a34e4c30577ed270d3247b2119fa06a04ef46292068
}

splits=(train valid test) lists=(XSum-TRAINING-DEV-TEST-SPLIT-90-5-5.json)
archives="$articles_url/XSUM-EMNLP18-Summary-Data-Original.tar.gz bbc-summary-data"
out=data-bin/xsum mirror_given=${XSUM_URL:-}

news_option() {
    summary_option "$@"
}

take_articles() {
    local options=()
    if [ -n "$limit" ]; then options+=(--limit "$limit"); fi
    if [ -z "$unpinned" ]; then options+=(--counts 204045 11332 11334); fi
    new_texts
    find_articles
    or_discard "$python" "$prepare_folder/xsum_articles.py" text labels --place "${places[0]}" \
        --list "lists/${lists[0]}" --articles articles --dropped dropped.json \
        "${options[@]+"${options[@]}"}"
    rm -f articles
}

parse_news_options "$@"
begin_news ""
make_news "xsum_articles.py"
