# For bash: shows in the prompt how long the access lasts that ends first: [target:orders-db 58m] $
# Needs jq, and shows nothing without it. Asks at most twice a minute. Shows nothing if you have no such access or if
# access can't answer. Keeps the exit code of the last command ($?), and can be sourced again. See docs/recipes.md.
_access_left() {
    local status=$? now left
    if ((SECONDS >= ${_access_next:-0})); then
        _access_next=$((SECONDS + 30))
        _access_ends=
        if type -P jq >/dev/null && type -P access >/dev/null; then
            _access_ends=$(timeout 2 access whoami --json 2>/dev/null | jq -r '[.grants[].grant | select(.ends_at)]
                | min_by(.ends_at) // empty | "\(.resource) \(.ends_at | fromdate)"' 2>/dev/null)
        fi
    fi
    ACCESS_LEFT=
    if [[ ${_access_ends-} =~ ^([a-z:0-9._-]+)\ ([0-9]+)$ ]]; then
        local unit size count=0 shown=""
        printf -v now '%(%s)T' -1
        left=$((BASH_REMATCH[2] - now))
        # Like `access` itself: one unit below an hour, else two, never rounded up.
        for unit in d:86400 h:3600 m:60 s:1; do
            size=${unit#*:}
            ((left < size)) || shown+=$((left / size))${unit%:*}
            left=$((left > 0 ? left % size : left))
            [[ -z $shown ]] || ((size > 60 && count++ == 0)) || break
        done
        [[ -z $shown ]] || ACCESS_LEFT="[${BASH_REMATCH[1]} $shown] "
    fi
    return "$status"
}
[[ ${PROMPT_COMMAND[*]-} == *_access_left* ]] || PROMPT_COMMAND="_access_left${PROMPT_COMMAND:+; $PROMPT_COMMAND}"
# shellcheck disable=SC2016 # bash expands it each time it shows the prompt
[[ ${PS1-} == *'${ACCESS_LEFT}'* ]] || PS1='${ACCESS_LEFT}'${PS1-}
