# bash completion for access

_access() {
    local line=${COMP_LINE:0:COMP_POINT} words=() before="" rest candidate i
    for ((i = 0; i < COMP_CWORD; i++)); do
        rest=${line#"${line%%[![:space:]]*}"}
        if ((i > 0)) && [[ $rest == "$line" ]]; then
            words[${#words[@]} - 1]+=${COMP_WORDS[i]}
        else
            words+=("${COMP_WORDS[i]}")
        fi
        line=${rest#"${COMP_WORDS[i]}"}
    done
    if [[ $line == [[:space:]]* ]]; then
        words+=("$2")
    else
        # The cursor is behind a break, or at one, when $2 is empty.
        [[ -n $2 ]] || words[${#words[@]} - 1]+=$line
        before=${words[${#words[@]} - 1]}
        words[${#words[@]} - 1]+=$2
    fi
    COMPREPLY=()
    while IFS= read -r candidate || [[ -n $candidate ]]; do
        COMPREPLY+=("${candidate#"$before"}")
    done < <(_ACCESS_COMPLETE=bash _CLAP_COMPLETE_INDEX=$((${#words[@]} - 1)) access -- "${words[@]}" 2>/dev/null)
    if [[ ${COMPREPLY[0]-} == *[=/:] ]]; then
        compopt -o nospace 2>/dev/null
    fi
}

complete -o nosort -F _access access 2>/dev/null || complete -F _access access
