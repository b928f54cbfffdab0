# shellcheck shell=bash
# shellcheck disable=SC2154   # parallel.sh, which reads this, sets the variables
# The stages of a parallel corpus, from raw/ to the binarised folder.

# The splits that exist before cleaning.
early_splits() {
    if [ -n "$held_out_every" ]; then echo train test; else echo train valid test; fi
}

select_pairs() {
    rm -rf selected && mkdir selected
    local corpus split language lines pairs share total=0 seen=0 taken=0
    for corpus in $corpora; do
        lines=$(count_lines "raw/$corpus.$src")
        total=$((total + lines))
    done
    pairs=$total
    if [ -n "$limit" ] && [ "$limit" -lt "$pairs" ]; then pairs=$limit; fi
    for corpus in $corpora; do
        lines=$(count_lines "raw/$corpus.$src")
        seen=$((seen + lines))
        share=$((pairs * seen / total - taken))   # so that the shares add up
        taken=$((taken + share))
        for language in "$src" "$tgt"; do
            if [ "$share" -eq "$lines" ]; then
                tool cat "raw/$corpus.$language" >> "selected/train.$language"
            elif [ "$share" -gt 0 ]; then
                tool head -n "$share" "raw/$corpus.$language" >> "selected/train.$language"
            fi
        done
        if [ "$corpora" != "$corpus" ]; then echo "    $corpus: $share of $lines pairs"; fi
    done
    for split in valid test; do
        for language in "$src" "$tgt"; do
            if [ -f "raw/$split.$language" ]; then tool cp "raw/$split.$language" selected; fi
        done
    done
    need_lines "$pairs" "selected/train.$src" "selected/train.$tgt"
    echo "    $pairs training pairs"
}

tokenise() {
    rm -rf tokenised models && mkdir tokenised models
    local split options=()
    if [ "$truecase" = on ]; then options+=(--truecase-models models); fi
    if [ -n "$printing_only" ]; then options+=(--printing-only); fi
    if [ "$lowercase" = on ]; then options+=(--lowercase); fi
    # shellcheck disable=SC2046   # words are meant
    "$python" "$prepare_folder/moses_tokenise.py" selected tokenised --splits $(early_splits) \
        --suffixes "$src" "$tgt" --languages "$src" "$tgt" --workers "$workers" \
        "${options[@]+"${options[@]}"}"
    for split in $(early_splits); do
        need_lines "$(count_lines "selected/$split.$src")" \
            "tokenised/$split.$src" "tokenised/$split.$tgt"
    done
}

# clean FOLDER: from there to cleaned/, and perhaps validation pairs from training.
clean() {
    rm -rf cleaned held_out && mkdir cleaned held_out
    local language hold_out=()
    if [ -n "$held_out_every" ]; then
        hold_out=(--hold-out-every "$held_out_every"
            --hold-out "cleaned/valid.$src" "cleaned/valid.$tgt"
            "held_out/valid.$src" "held_out/valid.$tgt"
            --untouched "selected/train.$src" "selected/train.$tgt")
    fi
    "$python" "$prepare_folder/clean_pairs.py" --sources "$1/train.$src" "$1/train.$tgt" \
        --destinations "cleaned/train.$src" "cleaned/train.$tgt" --min-length "$min_length" \
        --max-length "$max_length" --length-ratio "$length_ratio" "${hold_out[@]+"${hold_out[@]}"}"
    need_lines "$(count_lines "cleaned/train.$src")" "cleaned/train.$tgt"
    for language in "$src" "$tgt"; do
        if [ -z "$held_out_every" ]; then tool cp "$1/valid.$language" cleaned; fi
        tool cp "$1/test.$language" cleaned
    done
    need_lines "$(count_lines "cleaned/valid.$src")" "cleaned/valid.$tgt"
}

# split_words FOLDER: from there to bpe/.
split_words() {
    rm -rf bpe vocabularies && mkdir bpe vocabularies
    local split language
    for language in "$src" "$tgt"; do ln -s "../$1/train.$language" "vocabularies/$language"; done
    if [ "$(count_lines "$1/train.$src")" -gt 1000000 ]; then
        echo "    learning $bpe_operations merges: an hour or more, on one core, without a word"
    fi
    learn_bpe "$bpe_operations" "vocabularies/$src" "vocabularies/$tgt"
    for language in "$src" "$tgt"; do
        for split in train valid test; do
            if [ ! -f "$1/$split.$language" ]; then continue; fi
            apply_bpe "$1/$split.$language" "bpe/$split.$language" \
                "vocabularies/$language.vocabulary" "$vocabulary_threshold"
        done
    done
}

# finish_folder FOLDER...: those that the text went through, the last of which is binarised.
finish_folder() {
    local split language folder tokenising='' cleaning commands source=$official stages=()
    local bpe=("subword-nmt learn-joint-bpe-and-vocab --symbols $bpe_operations"
        "subword-nmt apply-bpe --vocabulary-threshold $vocabulary_threshold")
    new_data
    binarise --source-lang "$src" --target-lang "$tgt" --joined-dictionary --workers "$workers" \
        --trainpref "${*: -1}/train" --validpref "${*: -1}/valid" --testpref "${*: -1}/test"
    # Untouched text, what detokenised output is scored against.
    mkdir -p "$data/raw"
    for split in valid test; do
        for language in "$src" "$tgt"; do
            folder=raw
            if [ ! -f "raw/$split.$language" ]; then folder=held_out; fi
            tool cp "$folder/$split.$language" "$data/raw"
        done
    done
    if [ "$truecase" = on ]; then
        tool cp "models/truecase-model.$src" "models/truecase-model.$tgt" "$data"
    fi
    if [ -n "$unpinned" ]; then source="not pinned, laid out like $official"; fi
    if [ -n "$printing_only" ]; then tokenising=" --printing-only"; fi
    if [ "$lowercase" = on ]; then tokenising="$tokenising --lowercase"; fi
    cleaning="clean_pairs.py --min-length $min_length --max-length $max_length\
 --length-ratio $length_ratio${held_out_every:+ --hold-out-every $held_out_every}"
    if [ "$clean_on" = words ]; then
        commands=("$cleaning" "${bpe[@]}")
    else
        commands=("${bpe[@]}" "$cleaning")
    fi
    for folder in "$@"; do stages+=("$folder=$folder"); done
    "$python" "$prepare_folder/manifest.py" write "$data" --recipe "$recipe" \
        --version "$recipe_version" --source "$source" --inputs raw --stages "${stages[@]}" \
        --commands "moses_tokenise.py --languages $src $tgt$tokenising (sacremoses: punctuation\
 normalised, hyphens split, entities not escaped)" "${commands[@]}" \
        "fairseq-preprocess --source-lang $src --target-lang $tgt --joined-dictionary"
}
