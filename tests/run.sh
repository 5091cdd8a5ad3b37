#!/bin/sh
# Everything that has to hold, up to the first thing that does not. The tests come last, with their summary.
set -eu
cd "$(dirname "$0")/.."

missing=''
for program in bash zsh fish mandoc tmux sqlite3 shellcheck script stty; do
    command -v "$program" >/dev/null || missing="$missing $program"
done
if [ -n "$missing" ]; then
    echo "missing:$missing" >&2
    echo 'apt-get install -y --no-install-recommends bash zsh fish mandoc tmux sqlite3 shellcheck bsdutils coreutils' >&2
    exit 1
fi

step() {
    printf '\n== %s\n' "$*"
    "$@"
}

# The program as people get it: what sets the clock and the user in tests must do nothing here.
ignores_overrides() {
    cargo build
    folder=$(mktemp -d)
    program="${CARGO_TARGET_DIR:-$PWD/target}/debug/access"
    code=0
    env HOME="$folder" ACCESS_TEST_USER=somebody-else ACCESS_TEST_NOW=2001-01-01T00:00:00Z \
        "$program" --db "$folder/access.db" --json init --owner me >"$folder/init" || code=$?
    log=$("$program" --db "$folder/access.db" --as me --json audit)
    rm -rf "$folder"
    if [ "$code" -ne 0 ]; then
        return "$code"
    fi
    case "$log" in
    *somebody-else* | *2001-01-01*)
        echo "a plain build heeds ACCESS_TEST_ variables: $log" >&2
        return 1
        ;;
    esac
}

step cargo fmt --check
step shellcheck tests/run.sh .ci/run examples/tour.sh completions/access.bash
step cargo clippy --all-targets -- -D warnings
step cargo clippy --all-targets --features test-overrides -- -D warnings
step ignores_overrides
if command -v cargo-deny >/dev/null && [ -f deny.toml ]; then
    step cargo deny check bans licenses sources
fi
step cargo test --features test-overrides
