#!/bin/sh
# Everything that has to hold, up to the first thing that does not. The tests come last, with their summary.
set -eu
cd "$(dirname "$0")/.."

missing=''
programs='bash zsh fish mandoc tmux sqlite3 shellcheck script stty python3 openssl'
# The shared host is tested by root, with all that it takes part with.
[ "$(id -u)" != 0 ] || programs="$programs cc git jq pamtester prlimit ps setpriv strace sudo systemd-analyze unshare useradd"
for program in $programs; do
    command -v "$program" >/dev/null || missing="$missing $program"
done
if [ -n "$missing" ]; then
    echo "missing:$missing" >&2
    echo 'apt-get install -y --no-install-recommends bash zsh fish mandoc tmux sqlite3 shellcheck bsdutils coreutils python3 python3-venv openssl' >&2
    echo 'as root also: gcc git jq pamtester passwd procps strace sudo systemd util-linux' >&2
    exit 1
fi

step() {
    printf '\n== %s\n' "$*"
    "$@"
}

step cargo fmt --check
step shellcheck tests/run.sh tests/python.sh tests/no-overrides.sh benches/run.sh benches/deliver.sh .ci/run examples/tour.sh \
    completions/access.bash packaging/recipes/access-may packaging/recipes/pam-check packaging/recipes/orders-psql packaging/recipes/pre-receive \
    packaging/recipes/prompt.bash
step cargo clippy --all-targets -- -D warnings
step cargo clippy --all-targets --features test-overrides -- -D warnings
step cargo build
step tests/no-overrides.sh "${CARGO_TARGET_DIR:-$PWD/target}/debug/access"
if command -v cargo-deny >/dev/null && [ -f deny.toml ]; then
    step cargo deny check bans licenses sources
fi
step tests/python.sh
# The shared host, by real users on the plain build (root only; it says so).
step timeout 900 cargo test --test shared
step cargo test --features test-overrides --lib --bins --tests
