# shellcheck shell=bash
# shellcheck disable=SC2154   # common.sh, which reads this, sets the variables
# The steps that the stages of prepare-*.sh consist of: downloads, and the programs that are run.

# logged NAME COMMAND...: a chatty program speaks to a log; if it fails, its last line is told.
logged() {
    local log=$work/logs/$1.log program=$1 complaint
    shift
    if ! "$@" > "$log" 2>&1; then
        complaint=$(grep -v '^[[:space:]]*$' "$log" | tail -n 1) || true
        case $program:$complaint in
            # Two ways to say that there is nothing to merge.
            subword-nmt:*'max() arg is an empty sequence' | subword-nmt:*'exactly two subword units'*)
                die "the training text is too small to learn pieces from: no two letters stand\
 together in it twice; give more text, or a larger --limit"
                ;;
        esac
        die "$program failed: $complaint"
    fi
}

# tool COMMAND...: cp and the like; if it fails, what it says is the one line that is told.
tool() {
    local complaint
    { complaint=$("$@" 2>&1 >&3) || die "${complaint##*$'\n'}"; } 3>&1
}

# fetch URL FILE: downloads into FILE.part, resumes there, and renames when all of it has come.
fetch() {
    local url=$1 file=$2 attempt code redirects=()
    if [ -f "$file" ]; then return; fi
    command -v curl > /dev/null || die "curl is needed to download; or give --from DIR"
    progress "fetching $url"
    # What is encrypted must not lead to what is not.
    case $url in https:*) redirects=(--proto-redir =https) ;; esac
    for attempt in 1 2 3 4; do
        code=0
        curl --fail --location --silent --show-error --connect-timeout 30 --continue-at - \
            "${redirects[@]+"${redirects[@]}"}" --output "$file.part" "$url" 2>&1 > /dev/null |
            "$python" "$prepare_folder/download_progress.py" "$file.part" logs/curl.log || code=$?
        if [ "$code" -eq 0 ]; then
            mv "$file.part" "$file"
            return
        fi
        case $code in
            18 | 28 | 52 | 56) sleep "$attempt" ;;   # cut off, or silent: go on where it stopped
            33 | 36) rm -f "$file.part" ;;           # a server that cannot resume
            22)
                # Nothing to resume: the part was whole, or longer than what the server has now.
                if [ -f "$file.part" ] && grep -q 416 logs/curl.log; then
                    rm -f "$file.part"
                else
                    break
                fi
                ;;
            *) break ;;
        esac
    done
    die "cannot fetch $url: $(tail -n 1 logs/curl.log)"
}

# Its module has no entry of its own, and its script need not be on the PATH of our $python. Its
# temporary files are as large as the text: more than many a /tmp holds.
subword_nmt() {
    TMPDIR=$work logged subword-nmt "$python" -c 'from subword_nmt.subword_nmt import main; main()' "$@"
}

# learn_bpe OPERATIONS TEXT...: joint codes in bpe.codes, a vocabulary beside each text.
learn_bpe() {
    local operations=$1 text vocabularies=()
    shift
    for text in "$@"; do vocabularies+=("$text.vocabulary"); done
    subword_nmt learn-joint-bpe-and-vocab \
        --input "$@" --symbols "$operations" --output bpe.codes \
        --write-vocabulary "${vocabularies[@]}"
}

# apply_bpe TEXT RESULT VOCABULARY THRESHOLD
apply_bpe() {
    "$python" "$prepare_folder/segment_words.py" "$1" "$2" --codes bpe.codes --vocabulary "$3" \
        --threshold "$4" --workers "${workers:-1}"
    need_lines "$(count_lines "$1")" "$2"
}

# new_data: $data with the codes alone, because fairseq-preprocess, killed, leaves parts of files.
new_data() {
    rm -rf "$data" && mkdir "$data"
    tool cp bpe.codes "$data"
}

# binarise ARGUMENT...: fairseq-preprocess into $data, without its log (times, machine paths).
binarise() {
    logged fairseq-preprocess "$python" -m fairseq_cli.preprocess --destdir "$data" "$@"
    rm -f "$data/preprocess.log"
}
