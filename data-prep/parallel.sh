# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154   # variables pass between this file, common.sh and the scripts
# What the preparations of parallel corpora share: options, and the way from raw text to a binarised
# folder.
#
# A script sets the variables below, calls parse_options, looks whether --from has what it needs,
# calls start, fills raw/ with CORPUS.LANGUAGE, valid.LANGUAGE and test.LANGUAGE in stages of its
# own, and calls prepare_pairs.

# shellcheck source-path=SCRIPTDIR source=archives.sh
. "$prepare_folder/archives.sh"

src='' tgt=''            # two-letter codes
corpora=train            # names in raw/ that together are the training text, in order
official=''              # where the raw text comes from
recipe_version=1
clean_on=words           # or pieces: clean before or after BPE
held_out_every=''        # validation is every so many-th clean training pair, if raw/ has none
lowercase=''             # on or off where a script offers --lowercase
printing_only=''         # yes: spaces for control characters, as for text from the web
out='' from='' limit='' workers=2 truecase=off unpinned=''
bpe_operations='' vocabulary_threshold='' min_length=1 max_length='' length_ratio=''

# --- options -------------------------------------------------------------------------------------

shared_usage() {
    cat <<USAGE
  --limit N             only N training pairs, for a quick try: the first of each corpus, each by
                        its share
  --bpe-operations N    merges of the joint BPE (default: $bpe_operations)
  --vocabulary-threshold N
                        split pieces that a language has less often (default: $vocabulary_threshold)
  --min-length N        drop training pairs with a side shorter than N $clean_on (default: $min_length)
  --max-length N        drop training pairs with a side longer than N $clean_on (default: $max_length)
  --length-ratio R      drop training pairs with one side R times as long (default: $length_ratio)
  --truecase on|off     write words in the case they have inside sentences (default: $truecase);
                        a model then writes so, too: detruecase before scoring
  --unpinned            take other text in the same layout: checksums and line counts are not
                        compared with the official ones; MANIFEST.json says so
  --workers N           processes (default: $workers); the result does not depend on it
  --help                this text
USAGE
}

# parse_options OPTION...: the command line, for a script that defines usage.
parse_options() {
    local default_threshold=$vocabulary_threshold argument
    for argument in "$@"; do
        # First, because the text tells the defaults, which the other options change.
        case $argument in --help | -h) usage; exit 0 ;; esac
    done
    while [ "$#" -gt 0 ]; do
        case $1 in
            --unpinned) unpinned=yes; shift; continue ;;
            --*=*) set -- "${1%%=*}" "${1#*=}" "${@:2}"; continue ;;
            --out) need_value "$@"; out=$2 ;;
            --from) need_value "$@"; from=$2 ;;
            --limit) need_value "$@"; need_positive_integer "$1" "$2"; limit=$2 ;;
            --bpe-operations) need_value "$@"; need_positive_integer "$1" "$2"; bpe_operations=$2 ;;
            --vocabulary-threshold)
                need_value "$@"
                need_positive_integer "$1" "$2"
                vocabulary_threshold=$2
                ;;
            --min-length) need_value "$@"; need_positive_integer "$1" "$2"; min_length=$2 ;;
            --max-length) need_value "$@"; need_positive_integer "$1" "$2"; max_length=$2 ;;
            --workers) need_value "$@"; need_positive_integer "$1" "$2"; workers=$2 ;;
            --length-ratio)
                need_value "$@"
                [[ $2 =~ ^[1-9][0-9]*(\.[0-9]+)?$ ]] ||
                    die "$1 must be a number from 1 up, but is $2"
                length_ratio=$2
                ;;
            --truecase) need_value "$@"; need_on_or_off "$1" "$2"; truecase=$2 ;;
            --lowercase)
                [ -n "$lowercase" ] || die "unknown option $1 (see --help)"
                need_value "$@"
                need_on_or_off "$1" "$2"
                lowercase=$2
                ;;
            *) die "unknown option $1 (see --help)" ;;
        esac
        shift 2
    done
    [ "$min_length" -le "$max_length" ] ||
        die "--min-length $min_length must not be greater than --max-length $max_length"
    [ "$truecase $lowercase" != 'on on' ] || die "--truecase on needs --lowercase off"
    if [ -n "$from" ]; then
        [ -d "$from" ] || die "--from: there is no folder $from"
        from=$(cd -- "$from" && pwd)
    fi
    # Every option that decides about the bytes; where they come from and go to does not.
    recipe="$PREPARE_PROGRAM ${limit:+--limit $limit }--bpe-operations $bpe_operations\
 --min-length $min_length --max-length $max_length --length-ratio $length_ratio\
 --truecase $truecase${lowercase:+ --lowercase $lowercase}"
    if [ "$vocabulary_threshold" != "$default_threshold" ]; then
        recipe="$recipe --vocabulary-threshold $vocabulary_threshold"
    fi
    recipe="$recipe${unpinned:+ --unpinned}"
}

need_on_or_off() {
    case $2 in on | off) ;; *) die "$1 must be on or off, but is $2" ;; esac
}

# start: the end of what is checked before any work; ends the script if there is no work.
start() {
    find_python
    begin "$out" "$recipe" "$recipe_version"
    if [ -n "$complete" ]; then exit 0; fi
    if [ -n "$unpinned" ]; then
        progress "--unpinned: nothing is compared with the checksums and counts of $official"
    fi
}

# --- the way of the pairs ------------------------------------------------------------------------

# shellcheck source-path=SCRIPTDIR source=parallel_stages.sh
. "$prepare_folder/parallel_stages.sh"

prepare_pairs() {
    stage "select" select_pairs
    stage "tokenise" tokenise
    if [ "$clean_on" = words ]; then
        stage "clean" clean tokenised
        stage "bpe" split_words cleaned
        stage "binarise" finish_folder selected tokenised cleaned bpe
    else
        stage "bpe" split_words tokenised
        stage "clean" clean bpe
        stage "binarise" finish_folder selected tokenised bpe cleaned
    fi
    publish
    local insensitive=''
    if [ "$lowercase" = on ]; then insensitive=' --lowercase'; fi
    cat <<HINT
    fairseq-train $out -s $src -t $tgt ...
    fairseq-generate $out -s $src -t $tgt --tokenizer moses --bpe subword_nmt \\
        --bpe-codes $out/bpe.codes ...           (fairseq-interactive: --moses-no-escape, too)
    sacrebleu$insensitive $out/raw/test.$tgt < detokenised output, sorted by its H- numbers
HINT
}
