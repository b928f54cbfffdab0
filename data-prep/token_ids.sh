# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154   # variables pass between this file, common.sh and the scripts
# What the scripts share that take GPT-2's ids instead of text, on top of plain_text.sh: from flat
# files of 16-bit ids, ids/SPLIT.bin, to a fairseq data folder. input/ has what they were made of.

# The rows of Welleck et al. (2020) in training and for completions: 300 inputs and their targets.
# One more than a sample of 300 on purpose: TokenBlockDataset of fairseq begins a sample with </s>
# where an item begins, and with the token before it everywhere else.
block_length=301

# has_option OPTION ARGUMENT...: whether a command line has it. No value of another begins with --.
has_option() {
    local option=$1 argument
    shift
    for argument in "$@"; do
        case $argument in "$option" | "$option"=*) return 0 ;; esac
    done
    return 1
}

# ids_option SOURCE OPTION [VALUE ...]: the options that go with ids, which SOURCE gives.
ids_option() {
    local source=$1
    shift
    case $1 in
        --block-length) need_value "$@"; need_positive_integer "$1" "$2"; block_length=$2 ;;
        --bpe)
            need_value "$@"
            [ "$2" = gpt2 ] || die "$source takes GPT-2's ids: --bpe must be gpt2, but is $2"
            ;;
        --bpe-operations | --tokenise | --lines | --blank-lines | --unpinned | \
            --text | --train | --valid | --test | --valid-percent | --test-percent)
            die "$source takes ids, but $1 is for text: give one of them"
            ;;
        *) text_option "$@" ;;
    esac
}

# describe_ids: leaves in $ids_recipe the options that decide about the blocks.
describe_ids() {
    bpe=gpt2
    need_gpt2_bpe
    describe_text
    ids_recipe="--block-length $block_length $text_recipe"
}

# --- stages ---------------------------------------------------------------------------------------

# finish_ids_folder SOURCE COMMAND...: binarised data, raw text and manifest in $data.
finish_ids_folder() {
    local source=$1 arguments=(--block-length "$block_length")
    shift
    if [ -n "$limit" ]; then arguments+=(--limit "$limit"); fi
    rm -rf "$data" && mkdir -p "$data/raw"
    copy_gpt2_bpe
    tool cp gpt2/dict.txt "$data"
    "$python" "$prepare_folder/token_ids.py" binarise ids "$data" --gpt2-bpe gpt2 \
        --splits "${splits[@]}" --counts counts.json "${arguments[@]}"
    "$python" "$prepare_folder/manifest.py" write "$data" --recipe "$recipe" \
        --version "$recipe_version" --source "$source" --inputs input --counts counts.json \
        --commands "$@" "token_ids.py binarise ${arguments[*]} (fairseq.data.indexed_dataset)"
}

# make_ids_data SOURCE COMMAND...: all stages from ids/ on.
make_ids_data() {
    stage "gpt2 bpe" take_gpt2_bpe
    stage "binarise" finish_ids_folder "$@"
    publish
    tell_bpe
}
