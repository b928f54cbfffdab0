# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154   # variables pass between this file, common.sh and the scripts
# What the scripts for Fusion-in-Decoder share, on top of common.sh: options, and the way from files
# of examples to a binarised folder. A script sets ${splits[@]} and, a file for each, ${files[@]}.

# shellcheck source-path=SCRIPTDIR source=fid_model.sh
. "$prepare_folder/fid_model.sh"

out='' limit='' workers=2 bpe_operations='' dict_from='' model='' target='' tokenise=''
max_question=60 max_title=30 max_passage=180 max_answer=0 max_passages='' truncate_questions=''
frame='' keep_order=''
default_bpe_operations=8000 default_max_passages=100
after_examples=''   # what a script checks as soon as the examples are read

fid_usage() {
    cat <<USAGE
  --max-question N      pieces of a question (default: $max_question); a longer one is an error
  --truncate-questions  cut longer questions at their end instead
  --max-title N         pieces of a title (default: $max_title); longer ones are cut at their end
  --max-passage N       pieces of a passage, without its title (default: $max_passage); longer ones are cut
  --max-answer N        pieces of the answer that is trained on (default: $max_answer, no limit); longer
                        ones are cut
  --max-passages N      passages of an example that are kept, the best of them, and the last symbol
                        <passage:N> of the dictionary (default: $default_max_passages)
  --keep-order          passages in the order of the file, not by score
  --frame symbols|text  what tells the parts of a pair apart: symbols (default): <question> Q
                        <title> T <context> P; text: "question: Q title: T context: P", the words
                        that FiD's published readers were trained on; --model then needs no new
                        symbols (genft import-hf without --passages). With --dict-from, or a data
                        folder as --model, that of its data
  --target KEY          train on the text under another key of the examples, for long answers or
                        summaries: nested ones with dots, nq_annotated_gold.long_answer; of a list
                        the first. Without it: target, or else the first of answers
  --tokenise moses|none moses (default): for --tokenizer moses of fairseq's commands; none: words
                        are what stands between spaces, as for Korean, whose spaces Moses' joining
                        loses
  --bpe-operations N    merges that are learned (default: $default_bpe_operations)
  --dict-from DIR       take pieces and dictionary of DIR, a folder made before, instead of learning
                        them: its models read the result
  --model DIR           split texts as the T5 does that  genft import-hf ... --passages N  has
                        imported into DIR, and take its dictionary; its tokeniser's files are copied
                        into the result. Nothing is learned, and limits count its pieces
  --limit N             only the first N training examples, for a quick try
  --out DIR             result (default: $1)
  --workers N           processes (default: $workers); the result does not depend on it
  --help                this text

Limits are counted in pieces, without what stands between the parts. Pieces are learned from the
questions, answers, titles and passages of the training examples, whole, and each distinct one
counted once, however many examples have it. A passage counts as evidence if its text, not its
title, holds one of the right answers.
USAGE
}

# fid_option OPTION [VALUE ...]: the options that every one of these scripts has.
fid_option() {
    case $1 in
        --max-answer)
            need_value "$@"
            [[ $2 =~ ^(0|[1-9][0-9]{0,8})$ ]] || die "$1 must be a whole number from 0 up, but is $2"
            max_answer=$2
            return
            ;;
        --max-* | --limit | --workers | --bpe-operations) ;;
        --out) need_value "$@"; out=$2; return ;;
        --dict-from) need_value "$@"; dict_from=$2; return ;;
        --model) need_value "$@"; model=$2; return ;;
        --target) need_value "$@"; target=$2; return ;;
        --tokenise)
            need_value "$@"
            case $2 in moses | none) ;; *) die "$1 must be moses or none, but is $2" ;; esac
            tokenise=$2
            return
            ;;
        --frame)
            need_value "$@"
            case $2 in symbols | text) ;; *) die "$1 must be symbols or text, but is $2" ;; esac
            frame=$2
            return
            ;;
    esac
    case $1 in
        --max-question | --max-title | --max-passage | --max-passages) ;;
        --limit | --workers | --bpe-operations) ;;
        *) die "unknown option $1 (see --help)" ;;
    esac
    need_value "$@"
    need_positive_integer "$1" "$2"
    case $1 in
        --max-question) max_question=$2 ;;
        --max-title) max_title=$2 ;;
        --max-passage) max_passage=$2 ;;
        --max-passages) max_passages=$2 ;;
        --limit) limit=$2 ;;
        --workers) workers=$2 ;;
        --bpe-operations) bpe_operations=$2 ;;
    esac
}

# limit_passages DIR PASSAGES: no more than the dictionary of DIR has symbols for.
limit_passages() {
    if [ "$frame" = text ]; then
        max_passages=${max_passages:-$default_max_passages}   # which needs no symbols
        return
    fi
    max_passages=${max_passages:-$2}
    [ "$max_passages" -le "$2" ] ||
        die "--max-passages $max_passages is more than the dictionary of $1 has symbols for, $2"
}

# agree_on_frame OPTION DIR: models of DIR read the result, so that it has the frame of DIR's data.
agree_on_frame() {
    local theirs=symbols
    if [ ! -f "$2/MANIFEST.json" ]; then return; fi   # a model alone
    if grep -q -e '--frame text ' "$2/MANIFEST.json"; then theirs=text; fi
    frame=${frame:-$theirs}
    [ "$frame" = "$theirs" ] ||
        die "--frame $frame does not go with $1: the data in $2 have --frame $theirs"
}

# check_dict_from: what --dict-from goes with; leaves in $dict_recipe what it holds.
check_dict_from() {
    local described passages theirs
    if [ -z "$dict_from" ]; then
        bpe_operations=${bpe_operations:-$default_bpe_operations}
        max_passages=${max_passages:-$default_max_passages} tokenise=${tokenise:-moses}
        dict_recipe="--bpe-operations $bpe_operations"
        return
    fi
    [ -d "$dict_from" ] || die "--dict-from: there is no folder $dict_from"
    dict_from=$(cd -- "$dict_from" && pwd)
    [ -z "$bpe_operations" ] ||
        die "--bpe-operations learns pieces, but --dict-from takes those of $dict_from: one of them"
    described=$("$python" "$prepare_folder/fid_dictionary.py" describe "$dict_from")
    read -r dict_recipe passages theirs <<< "$described"
    limit_passages "$dict_from" "$passages"
    if [ "$theirs" = unknown ]; then theirs=${tokenise:-moses}; fi
    tokenise=${tokenise:-$theirs}
    [ "$tokenise" = "$theirs" ] ||
        die "--tokenise $tokenise does not go with --dict-from: $dict_from has --tokenise $theirs"
    dict_recipe="--dict-from $dict_recipe"
}

# describe_fid: leaves in $fid_recipe the options that decide about the bytes.
describe_fid() {
    local framed=''
    if [ -n "$model" ]; then agree_on_frame --model "$model"; fi
    if [ -n "$dict_from" ]; then agree_on_frame --dict-from "$dict_from"; fi
    frame=${frame:-symbols}
    if [ -n "$model" ]; then check_model; else check_dict_from; fi
    if [ "$frame" = text ]; then framed='--frame text '; fi   # what reads the result looks for this
    fid_recipe="${limit:+--limit $limit }$framed${keep_order:+--keep-order }\
--max-question $max_question${truncate_questions:+ --truncate-questions}\
 --max-title $max_title --max-passage $max_passage\
 --max-answer $max_answer --max-passages $max_passages${target:+ --target $target}\
${tokenise:+ --tokenise $tokenise} $dict_recipe"
}

# --- stages ---------------------------------------------------------------------------------------

take_examples() {
    rm -rf examples texts raw && mkdir examples texts raw
    local options=(--frame "$frame")
    if [ -n "$keep_order" ]; then options+=(--keep-order); fi
    if [ -n "$limit" ]; then options+=(--limit "$limit"); fi
    if [ -n "$target" ]; then options+=(--target "$target"); fi
    if [ -n "$model" ]; then options+=(--verbatim); fi
    fid_python fid_examples.py take . --splits "${splits[@]}" --files "${files[@]}" \
        --max-passages "$max_passages" --workers "$workers" "${options[@]}"
    ${after_examples:-:}
}

# fid_python FILE ARGUMENT...: with this package, also where it is not installed.
fid_python() {
    PYTHONPATH=$repository${PYTHONPATH:+:$PYTHONPATH} "$python" "$prepare_folder/$1" "${@:2}"
}

tokenise_texts() {
    rm -rf words
    if [ "$tokenise" = none ]; then
        tool cp -R texts words
        return
    fi
    mkdir words
    fid_python fid_words.py texts words --workers "$workers"
    local text
    for text in texts/*; do need_lines "$(count_lines "$text")" "words/${text##*/}"; done
}

make_dictionary() {
    if [ -n "$model" ]; then
        take_model
        return
    fi
    rm -rf vocabularies && mkdir vocabularies
    if [ -n "$dict_from" ]; then
        tool cp "$dict_from/bpe.codes" bpe.codes
        tool cp "$dict_from/dict.question.txt" dict.txt
        fid_python fid_dictionary.py pieces dict.txt vocabulary
        return
    fi
    tool cat words/train.* > vocabularies/texts
    learn_bpe "$bpe_operations" vocabularies/texts
    tool mv vocabularies/texts.vocabulary vocabulary
    fid_python fid_dictionary.py make vocabulary dict.txt --passages "$max_passages"
    rm -rf vocabularies
}

# split_texts KIND...
split_texts() {
    local kind
    mkdir -p pieces
    if [ -n "$model" ]; then
        fid_python fid_model.py split texts pieces --kinds "$@" --model model --workers "$workers"
    else
        fid_python fid_pieces.py words pieces --kinds "$@" --codes bpe.codes \
            --vocabulary vocabulary --workers "$workers"
    fi
    for kind in "$@"; do
        need_lines "$(($(count_lines "texts/train.$kind") + $(count_lines "texts/other.$kind")))" \
            "pieces/$kind"
    done
}

# put_together ACTION [FOLDER]: see fid_assemble.py.
put_together() {
    local action=$1
    shift
    fid_python fid_assemble.py "$action" examples pieces "$@" --splits "${splits[@]}" \
        --files "${files[@]}" --max-question "$max_question" --max-answer "$max_answer" \
        --max-title "$max_title" --max-passage "$max_passage" --frame "$frame" \
        ${truncate_questions:+--truncate-questions}
}

# Before passages, which take long: a question that is too long is an error.
split_questions() {
    split_texts question
    put_together check
}

write_fid_lines() {
    rm -rf lines && mkdir lines
    put_together write lines
    local split
    for split in "${splits[@]}"; do
        need_lines "$(count_lines "examples/$split.examples")" "lines/$split.question" \
            "lines/$split.answer" "examples/$split.align" "examples/$split.fid.jsonl"
    done
}

# finish_fid_folder SOURCE COMMAND...: binarised data, raw text and manifest in $data.
finish_fid_folder() {
    local source=$1 split commands=()
    shift
    if [ -n "$model" ]; then
        rm -rf "$data" && mkdir "$data"
        tool cp model/* "$data"
    else
        new_data
    fi
    for split in "${splits[@]}"; do tool cp "examples/$split.fid.jsonl" "$data"; done
    tool cp -R raw "$data"
    fid_python fid_binarise.py lines examples "$data" --splits "${splits[@]}" \
        --dictionary dict.txt --frame "$frame" --counts counts.json \
        --log logs/fairseq-preprocess.log --workers "$workers"
    if [ "$tokenise" = moses ]; then
        commands+=("fid_words.py (sacremoses: hyphens split, entities not escaped)")
    fi
    if [ -n "$model" ]; then
        commands+=("fid_model.py (the model's own tokeniser; tokenizers $tokenisers)")
    else
        if [ -z "$dict_from" ]; then
            commands+=("subword-nmt learn-joint-bpe-and-vocab --symbols $bpe_operations")
        fi
        commands+=("subword-nmt apply-bpe --vocabulary-threshold 1")
    fi
    "$python" "$prepare_folder/manifest.py" write "$data" --recipe "$recipe" \
        --version "$recipe_version" --source "$source" --inputs input --counts counts.json \
        --commands "$@" "${commands[@]}" \
        "fairseq-preprocess --source-lang question --target-lang answer --joined-dictionary\
 --srcdict dict.txt"
}

# make_fid_data SOURCE COMMAND...: all stages from ${files[@]} on.
make_fid_data() {
    stage "examples" take_examples
    if [ -z "$model" ]; then stage "tokenise" tokenise_texts; fi
    stage "dictionary" make_dictionary
    stage "questions" split_questions
    stage "pieces" split_texts answer title text
    stage "lines" write_fid_lines
    stage "binarise" finish_fid_folder "$@"
    publish
    if [ -n "$model" ]; then
        print_model_hint
        return
    fi
    local tokenizer=''
    if [ "$tokenise" = moses ]; then tokenizer=' --tokenizer moses'; fi
    cat <<HINT
    fairseq-train $out --user-dir genft_fairseq --task fid --arch fid_transformer \\
        -s question -t answer ...
    fairseq-generate $out --user-dir genft_fairseq --task fid -s question -t answer \\
       $tokenizer --bpe subword_nmt --bpe-codes $out/bpe.codes ...
                        (fairseq-interactive: --moses-no-escape, too)
HINT
}
