# shellcheck shell=bash
# What the language-model corpora share, on top of common.sh: from plain text, text/SPLIT.txt with
# one paragraph or line a line, to pieces, to a fairseq data folder.

# shellcheck source-path=SCRIPTDIR source=archives.sh
. "$prepare_folder/archives.sh"

gpt2_official=https://openaipublic.blob.core.windows.net/gpt-2/encodings/main
# A piece that merging leaves nowhere in the training text would be unknown: split it further.
vocabulary_threshold=1

out='' limit='' workers=2 bpe=subword-nmt bpe_operations='' gpt2_bpe='' tokenise=none

# need_choice OPTION VALUE CHOICE...
need_choice() {
    local option=$1 value=$2 choice choices
    shift 2
    for choice in "$@"; do if [ "$value" = "$choice" ]; then return; fi; done
    choices=$(printf ', %s' "${@:1:$#-1}")
    die "$option must be ${choices#, } or ${*: -1}, but is $value"
}

# text_option OPTION [VALUE ...]: the options that every one of these scripts has.
text_option() {
    case $1 in
        --out) need_value "$@"; out=$2 ;;
        --limit) need_value "$@"; need_positive_integer "$1" "$2"; limit=$2 ;;
        --workers) need_value "$@"; need_positive_integer "$1" "$2"; workers=$2 ;;
        --bpe-operations) need_value "$@"; need_positive_integer "$1" "$2"; bpe_operations=$2 ;;
        --gpt2-bpe) need_value "$@"; gpt2_bpe=$2 ;;
        *) die "unknown option $1 (see --help)" ;;
    esac
}

# need_gpt2_bpe: the folder of --gpt2-bpe must hold what is looked for, before any work is done.
need_gpt2_bpe() {
    local name
    if [ -z "$gpt2_bpe" ]; then return; fi
    [ "$bpe" = gpt2 ] || die "--gpt2-bpe needs --bpe gpt2, but --bpe is $bpe"
    [ -d "$gpt2_bpe" ] || die "--gpt2-bpe: there is no folder $gpt2_bpe"
    gpt2_bpe=$(cd -- "$gpt2_bpe" && pwd)
    for name in encoder.json vocab.bpe; do
        [ -f "$gpt2_bpe/$name" ] || [ -f "$gpt2_bpe/$name.gz" ] ||
            die "--gpt2-bpe: there is no file $gpt2_bpe/$name"
    done
}

# Leaves in $text_recipe the options that decide how text becomes pieces.
describe_text() {
    text_recipe="--bpe $bpe"
    if [ "$bpe" = subword-nmt ]; then text_recipe+=" --bpe-operations $bpe_operations"; fi
    if [ -n "$limit" ]; then text_recipe="--limit $limit $text_recipe"; fi
}

# --- stages ---------------------------------------------------------------------------------------

# take_gpt2_bpe: from --gpt2-bpe; or what --from has, and the rest from the network.
take_gpt2_bpe() {
    local name url=${GPT2_BPE_URL:-$gpt2_official} from=${gpt2_bpe:-${from:-}} folders=(download)
    suspects=()
    rm -rf gpt2 && mkdir -p gpt2 download
    if [ -n "$from" ]; then folders=("$from" download); fi
    for name in encoder.json vocab.bpe; do
        if [ -n "$from" ] && unpacked "$name" > /dev/null; then continue; fi
        fetch "$url/$name" "download/$name"
        suspects+=("download/$name")
    done
    or_discard "$python" "$prepare_folder/gpt2_bpe.py" take "${folders[@]}" gpt2
}

tokenise_text() {
    rm -rf tokenised && mkdir tokenised
    "$python" "$prepare_folder/moses_tokenise.py" text tokenised --splits "${splits[@]}" \
        --suffixes txt --languages en --workers "$workers"
    local split
    for split in "${splits[@]}"; do
        need_lines "$(count_lines "text/$split.txt")" "tokenised/$split.txt"
    done
}

# split_words FOLDER: its text as pieces, in bpe/.
split_words() {
    rm -rf bpe && mkdir bpe
    local split
    case $bpe in
        gpt2)
            "$python" "$prepare_folder/gpt2_bpe.py" encode "$1" bpe --gpt2-bpe gpt2 \
                --splits "${splits[@]}" --workers "$workers"
            ;;
        subword-nmt)
            rm -rf vocabularies && mkdir vocabularies
            tool cp "$1/train.txt" vocabularies/txt
            learn_bpe "$bpe_operations" vocabularies/txt
            for split in "${splits[@]}"; do
                apply_bpe "$1/$split.txt" "bpe/$split.txt" vocabularies/txt.vocabulary \
                    "$vocabulary_threshold"
            done
            rm -rf vocabularies
            ;;
        none) for split in "${splits[@]}"; do tool cp "$1/$split.txt" "bpe/$split.txt"; done ;;
    esac
    for split in "${splits[@]}"; do
        need_lines "$(count_lines "$1/$split.txt")" "bpe/$split.txt"
    done
}

# copy_gpt2_bpe: GPT-2's files into $data, and the dictionary that goes with them.
copy_gpt2_bpe() {
    tool cp gpt2/encoder.json gpt2/vocab.bpe "$data"
    # All of GPT-2's symbols in their order, so that the dictionary depends on no text.
    "$python" "$prepare_folder/gpt2_bpe.py" dictionary gpt2 gpt2/dict.txt
}

# finish_text_folder SOURCE COMMAND...: binarised data, raw text and manifest in $data.
finish_text_folder() {
    local source=$1 split arguments=() tests='' commands=() stages=(text=text)
    shift
    rm -rf "$data" && mkdir -p "$data/raw"
    case $bpe in
        gpt2)
            copy_gpt2_bpe
            arguments=(--srcdict gpt2/dict.txt)
            commands=("gpt2_bpe.py (fairseq.data.encoders.gpt2_bpe_utils)")
            ;;
        subword-nmt)
            tool cp bpe.codes "$data"
            commands=("subword-nmt learn-joint-bpe-and-vocab --symbols $bpe_operations"
                "subword-nmt apply-bpe --vocabulary-threshold $vocabulary_threshold")
            ;;
    esac
    if [ "$tokenise" = moses ]; then
        commands=("moses_tokenise.py --languages en (sacremoses: punctuation normalised,\
 hyphens split, entities not escaped)" "${commands[@]+"${commands[@]}"}")
        stages+=(tokenised=tokenised)
    fi
    for split in "${splits[@]}"; do
        case $split in
            test*) tests+=,bpe/$split.txt ;;
            *) arguments+=("--${split}pref" "bpe/$split.txt") ;;
        esac
        # What prompts are taken from and what output is compared with.
        if [ "$split" != train ]; then tool cp "text/$split.txt" "$data/raw"; fi
    done
    if [ -n "$tests" ]; then arguments+=(--testpref "${tests#,}"); fi
    binarise --only-source "${arguments[@]}" --workers "$workers"
    commands+=("fairseq-preprocess --only-source$([ "$bpe" != gpt2 ] || echo ' --srcdict dict.txt')")
    "$python" "$prepare_folder/manifest.py" write "$data" --recipe "$recipe" \
        --version "$recipe_version" --source "$source" --inputs input \
        --stages "${stages[@]}" bpe=bpe --commands "$@" "${commands[@]}"
}

# make_data SOURCE COMMAND...: all stages from text/ on.
make_data() {
    local folder=text
    if [ "$bpe" = gpt2 ]; then stage "gpt2 bpe" take_gpt2_bpe; fi
    if [ "$tokenise" = moses ]; then
        stage "tokenise" tokenise_text
        folder=tokenised
    fi
    stage "bpe" split_words "$folder"
    stage "binarise" finish_text_folder "$@"
    publish
    tell_bpe
}

# tell_bpe: the options by which fairseq's commands turn pieces into text.
tell_bpe() {
    case $bpe in
        gpt2) set -- gpt2 "--gpt2-encoder-json $out/encoder.json --gpt2-vocab-bpe $out/vocab.bpe" ;;
        subword-nmt) set -- subword_nmt "--bpe-codes $out/bpe.codes" ;;
        none) return ;;
    esac
    printf '    fairseq commands that read or write text need  --bpe %s %s\n' "$1" "$2"
}
