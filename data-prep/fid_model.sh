# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154   # variables pass between this file, fid.sh and the scripts
# What fid.sh does with --model: pieces and dictionary of an imported T5, instead of learned ones.

# check_model: what --model goes with; leaves in $dict_recipe and $model_files what is taken of it,
# and in $tokenisers the version of the library that reads it.
check_model() {
    local described passages own="but --model takes those of $model: one of them"
    [ -z "$dict_from" ] || die "--dict-from takes the pieces of $dict_from, $own"
    [ -z "$bpe_operations" ] || die "--bpe-operations learns pieces, $own"
    [ -z "$tokenise" ] || die "--tokenise $tokenise makes words, but --model splits texts as they\
 are: one of them"
    [ -d "$model" ] || die "--model: there is no folder $model"
    model=$(cd -- "$model" && pwd)
    described=$(fid_python fid_model.py describe "$model" --frame "$frame")
    read -r dict_recipe passages tokenisers model_files <<< "$described"
    limit_passages "$model" "$passages"
    dict_recipe="--model $dict_recipe"
}

take_model() {
    local name
    rm -rf model && mkdir model
    for name in $model_files; do tool cp "$model/$name" model; done
    tool cp model/dict.txt dict.txt
}

# print_model_hint: how the result is used.
print_model_hint() {
    local weights=$model/model.pt
    if [ ! -f "$weights" ]; then weights=IMPORTED/model.pt; fi   # --model may be a data folder
    if grep -q '"texts": {' "$model/hugging_face.json"; then   # an encoder, which writes nothing
        cat <<HINT
    fairseq-train $out --user-dir genft_fairseq --task retrieval --arch bi_encoder \\
        --criterion in_batch_negatives --hugging-face $model \\
        --finetune-from-model $weights --share-encoders -s question -t answer ...
    genft retrieve PASSAGES --questions QUESTIONS --method dense --path CHECKPOINT --data $out ...
HINT
        return
    fi
    cat <<HINT
    fairseq-train $out --user-dir genft_fairseq --task fid --arch fid_t5 \\
        --hugging-face $model --finetune-from-model $weights \\
        -s question -t answer ...
    fairseq-generate $out --user-dir genft_fairseq --task fid -s question -t answer \\
        --bpe hugging_face --hugging-face-tokeniser $out ...
HINT
}
