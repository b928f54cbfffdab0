# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154   # variables pass between this file, common.sh and the scripts
# What the scripts for summarisation share, on top of common.sh: options, and the way from text to a
# binarised folder. A script sets ${splits[@]} and fills text/ with SPLIT.source, a document a line,
# and SPLIT.target, labels/ with SPLIT, what each pair is called, and dropped.json.

# shellcheck source-path=SCRIPTDIR source=plain_text.sh
. "$prepare_folder/plain_text.sh"

model='' max_source='' max_target='' prefix='' bpe_given=''

summaries_usage() {
    cat <<USAGE
  --bpe gpt2            split text into GPT-2's pieces (default), with one dictionary for both sides
  --gpt2-bpe DIR        take GPT-2's encoder.json and vocab.bpe from DIR instead of
                        downloading them
  --model DIR           split it as a model does that  genft import-hf  has imported into DIR (T5,
                        BART ...), with its dictionaries; its tokeniser's files are copied into the
                        result
  --max-source-tokens N cut longer documents at their end, to N tokens with </s>
  --max-target-tokens N the same for summaries. Without these nothing is cut; with --model, a text
                        that is longer than the model's positions is an error
  --prefix TEXT         put a text before every document, T5's "summarize: "
  --limit N             only the first N training pairs, for a quick try
  --out DIR             result (default: $1)
  --workers N           processes (default: $workers); the result does not depend on it
  --help                this text

The result has languages "source" and "target", and the untouched text of validation and test in
raw/. Where a summary's sentences are parted by <q>, raw/ keeps that and a model reads a space.
USAGE
}

# summary_option OPTION [VALUE ...]: the options that every one of these scripts has.
summary_option() {
    case $1 in
        --bpe)
            need_value "$@"
            [ "$2" = gpt2 ] || die "$1 must be gpt2, but is $2; a model's own pieces: --model DIR"
            bpe_given=yes
            ;;
        --model) need_value "$@"; model=$2 ;;
        --max-source-tokens) need_value "$@"; need_positive_integer "$1" "$2"; max_source=$2 ;;
        --max-target-tokens) need_value "$@"; need_positive_integer "$1" "$2"; max_target=$2 ;;
        --prefix)
            need_value "$@"
            case $2 in *[[:cntrl:]]*) die "$1 must be a text of one line" ;; esac
            prefix=$2
            ;;
        --bpe-operations) die "unknown option $1 (see --help)" ;;
        *) text_option "$@" ;;
    esac
}

# summary_python FILE ARGUMENT...: with this package, also where it is not installed.
summary_python() {
    PYTHONPATH=$repository${PYTHONPATH:+:$PYTHONPATH} "$python" "$prepare_folder/$1" "${@:2}"
}

# check_summary_options: what can be said before there is a Python.
check_summary_options() {
    bpe=gpt2
    if [ -n "$model" ]; then
        bpe=model
        [ -z "$bpe_given" ] || die "--model has pieces of its own, but --bpe is given: one of them"
        [ -z "$gpt2_bpe" ] ||
            die "--model has pieces of its own, but --gpt2-bpe is given: one of them"
        [ -d "$model" ] || die "--model: there is no folder $model"
        model=$(cd -- "$model" && pwd)
    fi
    need_gpt2_bpe
    lengths=()
    if [ -n "$max_source" ]; then lengths+=(--max-source-tokens "$max_source"); fi
    if [ -n "$max_target" ]; then lengths+=(--max-target-tokens "$max_target"); fi
    if [ -n "$prefix" ]; then lengths+=("--prefix=$prefix"); fi
}

# describe_summaries: leaves in $summary_recipe the options that decide about the pieces; of a model
# in $model_files what is taken of it, and in $tokenisers the version of what reads it.
describe_summaries() {
    local described
    summary_recipe="${limit:+--limit $limit }--bpe gpt2"
    if [ -n "$model" ]; then
        described=$(summary_python summary_tokenisers.py --model "$model" \
            "${lengths[@]+"${lengths[@]}"}")
        read -r described tokenisers model_files <<< "$described"
        summary_recipe="${limit:+--limit $limit }--model ${described:0:12}"
    fi
    summary_recipe+="${lengths[*]:+ ${lengths[*]}}"
}

# --- stages ---------------------------------------------------------------------------------------

take_tokeniser() {
    local name
    if [ -z "$model" ]; then
        take_gpt2_bpe
        summary_python summary_tokenisers.py --gpt2-bpe gpt2 "${lengths[@]+"${lengths[@]}"}"
        return
    fi
    rm -rf model && mkdir model
    for name in $model_files; do tool cp "$model/$name" model; done
}

# new_texts: empty folders for what the stage "text" writes.
new_texts() {
    rm -rf text labels && mkdir text labels
}

split_texts() {
    local tokeniser=(--gpt2-bpe gpt2) split side
    if [ -n "$model" ]; then tokeniser=(--model model); fi
    rm -rf pieces && mkdir pieces
    summary_python summary_pieces.py text labels pieces --splits "${splits[@]}" \
        --dropped dropped.json --counts counts.json --workers "$workers" "${tokeniser[@]}" \
        "${lengths[@]+"${lengths[@]}"}"
    for split in "${splits[@]}"; do
        for side in source target; do
            need_lines "$(count_lines "text/$split.source")" "pieces/$split.$side"
        done
    done
}

# binarise_summaries: pieces/ to $data, with the dictionaries as they are.
binarise_summaries() {
    local split side tests='' dictionary arguments=()
    if [ -z "$model" ]; then
        arguments=(--srcdict gpt2/dict.txt --joined-dictionary)
    elif [ -f model/dict.txt ]; then
        arguments=(--srcdict model/dict.txt --joined-dictionary)
    else
        arguments=(--srcdict model/dict.source.txt --tgtdict model/dict.target.txt)
    fi
    for split in "${splits[@]}"; do
        case $split in
            test*) tests+=,pieces/$split ;;
            *) arguments+=("--${split}pref" "pieces/$split") ;;
        esac
    done
    if [ -n "$tests" ]; then arguments+=(--testpref "${tests#,}"); fi
    binarise --source-lang source --target-lang target --workers "$workers" "${arguments[@]}"
    for side in source target; do
        dictionary=gpt2/dict.txt
        if [ -n "$model" ]; then dictionary=model/dict.$side.txt; fi
        if [ ! -f "$dictionary" ]; then dictionary=model/dict.txt; fi
        cmp -s "$dictionary" "$data/dict.$side.txt" ||
            die "dict.$side.txt is not the dictionary that fairseq-preprocess was given"
    done
}

# finish_summaries_folder SOURCE COMMAND...: binarised data, raw text and manifest in $data.
finish_summaries_folder() {
    local source=$1 split commands=() dictionaries='--srcdict dict.txt --joined-dictionary'
    shift
    rm -rf "$data" && mkdir -p "$data/raw"
    if [ -n "$model" ]; then
        tool cp model/* "$data"
        if [ ! -f model/dict.txt ]; then
            dictionaries='--srcdict dict.source.txt --tgtdict dict.target.txt'
        fi
        commands=("summary_pieces.py (the model's own tokeniser; tokenizers $tokenisers)")
    else
        copy_gpt2_bpe
        commands=("summary_pieces.py (fairseq.data.encoders.gpt2_bpe_utils)")
    fi
    binarise_summaries
    for split in "${splits[@]}"; do
        # What is shown to readers, and what output is compared with.
        if [ "$split" != train ]; then
            tool cp "text/$split.source" "text/$split.target" "$data/raw"
        fi
    done
    "$python" "$prepare_folder/manifest.py" write "$data" --recipe "$recipe" \
        --version "$recipe_version" --source "$source" --inputs input --counts counts.json \
        --commands "$@" "${commands[@]}" \
        "fairseq-preprocess --source-lang source --target-lang target $dictionaries"
}

# make_summaries_data SOURCE COMMAND...: all stages from text/ on.
make_summaries_data() {
    stage "pieces" split_texts
    stage "binarise" finish_summaries_folder "$@"
    publish
    local pieces="--bpe gpt2 --gpt2-encoder-json $out/encoder.json"
    pieces+=" \\"$'\n'"        --gpt2-vocab-bpe $out/vocab.bpe"
    if [ -n "$model" ]; then pieces="--bpe hugging_face --hugging-face-tokeniser $out"; fi
    cat <<HINT
    fairseq-train $out --user-dir genft_fairseq -s source -t target ...
    fairseq-generate $out --user-dir genft_fairseq -s source -t target \\
        $pieces ...
    genft evaluate-summaries $out --path CHECKPOINT
HINT
}
