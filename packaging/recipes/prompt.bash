# bash: what is left of the access that ends first, in front of the prompt: [target:orders-db 58m] $
# Needs jq. Asks at most twice a minute; says nothing when there is nothing, or nobody to ask. See docs/recipes.md.
_access_left() {
    if ((SECONDS >= ${_access_next:-0})); then
        _access_next=$((SECONDS + 30))
        _access_ends=$(timeout 2 access whoami --json 2>/dev/null | jq -r \
            '[.grants[].grant | select(.ends_at)] | min_by(.ends_at) // empty | "\(.resource) \(.ends_at | fromdate)"')
    fi
    ACCESS_LEFT=
    [[ $_access_ends =~ ^([a-z:0-9._-]+)\ ([0-9]+)$ ]] || return 0
    local left=$((BASH_REMATCH[2] - EPOCHSECONDS))
    ((left > 0)) || return 0
    # As `access` writes it: one unit below an hour, else two, and never rounded up.
    local unit size count=0 shown=""
    for unit in w:604800 d:86400 h:3600 m:60 s:1; do
        size=${unit#*:}
        ((left < size)) || shown+=$((left / size))${unit%:*}
        left=$((left % size))
        [[ -z $shown ]] || ((size > 60 && count++ == 0)) || break
    done
    ACCESS_LEFT="[${BASH_REMATCH[1]} $shown] "
}
PROMPT_COMMAND="_access_left${PROMPT_COMMAND:+; $PROMPT_COMMAND}"
PS1='${ACCESS_LEFT}'$PS1
