#!/usr/bin/env bash
# CNN/Daily Mail, not anonymised, from the official archives to a fairseq data folder.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source-path=SCRIPTDIR source=summaries.sh
. "$prepare_folder/summaries.sh"
# shellcheck source-path=SCRIPTDIR source=news.sh
. "$prepare_folder/news.sh"

# Of the page of Hermann et al. (2015), https://cs.nyu.edu/~kcho/DMQA, which keeps them where only a
# browser gets at them. These copies have the same checksums.
stories_url=https://huggingface.co/datasets/cnn_dailymail/resolve/11343c3752184397d56efc19a8a7cceb68089318/data
# The splits of See et al. (2017).
lists_url=https://raw.githubusercontent.com/abisee/cnn-dailymail/master/url_lists

usage() {
    cat <<USAGE
Usage: prepare-cnn-dailymail.sh [options]

Prepares CNN/Daily Mail for fairseq, not anonymised, in the splits of See et al. (2017): 287,113
training, 13,368 validation and 11,490 test articles with their highlights, in the order of the
published lists. 114 training stories of these lists have no article and are dropped. Downloads
590 MB and needs some 6 GB of disk.

  --from DIR            take the official files from DIR instead of downloading them:
                        all_train.txt, all_val.txt, all_test.txt, cnn_stories.tgz and
                        dailymail_stories.tgz, or what was in these: cnn/stories/*.story and
                        dailymail/stories/*.story; GPT-2's two files, too, where DIR has them
  --dateline keep|drop  keep (default): articles of CNN begin with "(CNN)" or "LONDON (CNN) --", as
                        in the data of See et al. and of Hugging Face; drop: without it
$(news_usage data-bin/cnn_dailymail)

Case and words stay. Paragraphs and highlights without final punctuation get a full stop.

Environment: PYTHON       interpreter with fairseq, sacremoses and subword-nmt
             CNN_DAILYMAIL_URL folder of a mirror of all five files
             GPT2_BPE_URL the same of GPT-2's, instead of $gpt2_official

A run that was killed continues when it is started again with the same options.
USAGE
}

recipe_version=1

# As huggingface/datasets lists them in datasets/cnn_dailymail/dataset_infos.json; the same as in
# tensorflow/datasets, tensorflow_datasets/url_checksums/cnn_dailymail.txt, of the original page.
archive_pins() {
    case $1 in
        cnn_stories.tgz)
            echo 158577824 sha256 e8fbc0027e54e0a916abd9c969eb35f708ed1467d7ef4e3b17a56739d65cb200
            ;;
        dailymail_stories.tgz)
            echo 375893739 sha256 ad69010002210b7c406718248ee66e65868b9f6820f163aa966369878d14147e
            ;;
    esac
}

# The same sources; numbers of See et al. (2017), and of articles that are not empty.
pinned() {
    case $1 in
        all_train.txt)
            echo a5cee49f3a6c862c26ce29308236d2a99625ab6c86a43be22d5206b2790d8029 287227
            ;;
        all_val.txt)
            echo 81887e982b045083409c6ee838aede8ff4b97291605bcfb21bffc456a16991db 13368
            ;;
        all_test.txt)
            echo c4f5efb5ec2126430a5c156efbd13d0e9c4cb490169e552c38b4a51981a009bd 11490
            ;;
        train) echo 287113 ;;
        valid) echo 13368 ;;
        test) echo 11490 ;;
    esac
}

splits=(train valid test) lists=(all_train.txt all_val.txt all_test.txt)
archives="$stories_url/cnn_stories.tgz cnn/stories
$stories_url/dailymail_stories.tgz dailymail/stories"
out=data-bin/cnn_dailymail dateline=keep mirror_given=${CNN_DAILYMAIL_URL:-}

news_option() {
    case $1 in
        --dateline) need_value "$@"; need_choice "$1" "$2" keep drop; dateline=$2 ;;
        *) summary_option "$@" ;;
    esac
}

take_articles() {
    local split options=()
    if [ -n "$limit" ]; then options+=(--limit "$limit"); fi
    new_texts
    find_articles
    or_discard "$python" "$prepare_folder/cnn_dailymail_stories.py" text labels \
        --places "${places[@]}" --splits "${splits[@]}" --lists "${lists[@]/#/lists/}" \
        --dateline "$dateline" --stories stories --dropped dropped.json \
        "${options[@]+"${options[@]}"}"
    rm -f stories
    for split in "${splits[@]}"; do
        if [ -z "$unpinned" ] && { [ "$split" != train ] || [ -z "$limit" ]; }; then
            need_lines "$(pinned "$split")" "text/$split.source" "text/$split.target"
        fi
    done
}

parse_news_options "$@"
begin_news "--dateline $dateline"
make_news "cnn_dailymail_stories.py --dateline $dateline"
