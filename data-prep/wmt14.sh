# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154   # variables pass between this file, common.sh and the scripts
# What the two WMT 2014 preparations share. A script sets $src, $tgt, $out, $bpe_operations and
# $texts, one line for each text: its name in raw/, its number of lines, the archive that holds it,
# and the beginning of its name there.

# shellcheck source-path=SCRIPTDIR source=parallel.sh
. "$prepare_folder/parallel.sh"

official=https://www.statmt.org
# The published systems clean what the model sees: pieces, with these limits.
clean_on=pieces max_length=250 length_ratio=1.5
vocabulary_threshold=50
# Text from the web has control characters; the published preparations take them out, too.
printing_only=yes

# Bytes and SHA-256 of the training archives: as TensorFlow Datasets has published them
# (url_checksums/wmt14_translate.txt). dev.tgz: as the repository ml_tools has. test-full.tgz: MD5,
# as sacreBLEU has. training-giga-fren.tar: the size that TensorFlow's translation tutorial
# expected. For training-parallel-un.tgz nothing is published that we know; the number of lines of
# every text is compared in any case.
archive_pins() {
    case $1 in
        training-parallel-europarl-v7.tgz)
            echo 657632379 sha256 0224c7c710c8a063dfd893b0cc0830202d61f4c75c17eb8e31836103d27d96e7
            ;;
        training-parallel-commoncrawl.tgz)
            echo 918311367 sha256 c7a74e2ea01ac6c920123108627e35278d4ccb5701e15428ffa34de86fa3a9e5
            ;;
        training-parallel-nc-v9.tgz)
            echo 80418416 sha256 cb8953f292298e6877ae433c98912b927cb0766b303f4540512ddd286c748485
            ;;
        training-giga-fren.tar) echo 2595102720 - - ;;
        dev.tgz) echo - sha256 cda0f85309e8ea4c9c2bc142cd795fb2771a5939ed5b4527b525dae05fa0c145 ;;
        test-full.tgz) echo - md5 a8cd784e006feb32ac6f3d9ec7eb389a ;;
        *) echo - - - ;;
    esac
}

wmt14_usage() {
    cat <<USAGE
  --out DIR             result (default: $out)
  --from DIR            take the official archives from DIR instead of downloading them, or their
                        files, unpacked with the folders that they have in there
$(shared_usage)

Environment: PYTHON     interpreter with fairseq, sacremoses and subword-nmt
             WMT14_URL  mirror of $official

A run that was killed continues when it is started again with the same options.
USAGE
}

# member STEM LANGUAGE: the whole name of one side in its archive.
member() {
    case $1 in
        */newstest2014-*)
            if [ "$2" = "$src" ]; then echo "$1-src.$2.sgm"; else echo "$1-ref.$2.sgm"; fi
            ;;
        giga-fren.*) echo "$1.$2.gz" ;;
        *) echo "$1.$2" ;;
    esac
}

# unpack NAME LINES URL STEM
unpack() {
    local name=$1 lines=$2 tool=raw_text.py pins=()
    mkdir -p raw
    obtain "$3" "$(member "$4" "$src")" "$(member "$4" "$tgt")"
    if [ -z "$unpinned" ]; then pins=(--lines "$lines"); fi
    case ${found[0]%.gz} in
        *.sgm)
            tool=sgm_text.py
            if [ -z "$unpinned" ]; then pins=(--segments "$lines"); fi
            ;;
    esac
    or_discard "$python" "$prepare_folder/$tool" "${pins[@]+"${pins[@]}"}" \
        --sources "${found[@]}" --destinations "raw/$name.$src" "raw/$name.$tgt"
    if [ -z "$unpinned" ]; then need_lines "$lines" "raw/$name.$src" "raw/$name.$tgt"; fi
    rm -rf members
}

# prepare_wmt14 OPTION...: everything.
prepare_wmt14() {
    local name lines url stem
    parse_options "$@"
    mirror=${WMT14_URL:-$official}
    corpora=''
    while read -r name lines url stem <&3; do
        check_source "${url##*/}" "$(member "$stem" "$src")" "$(member "$stem" "$tgt")"
        case $name in valid | test) ;; *) corpora="$corpora${corpora:+ }$name" ;; esac
    done 3<<< "$texts"
    start
    while read -r name lines url stem <&3; do
        stage "unpack $name" unpack "$name" "$lines" "$url" "$stem"
    done 3<<< "$texts"
    prepare_pairs
}
