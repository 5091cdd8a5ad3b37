#!/bin/sh
# Plays the whole life of some requests on a new database in a temporary folder, and shows each command with its answer.
# You play everybody: in a database of your own, --as NAME acts as another member. (A shared host refuses that.)
set -eu

cd "$(dirname "$0")/.."
tests/need.sh cc=gcc /usr/include/stdio.h=libc6-dev
cargo build --profile tour
PATH="${CARGO_TARGET_DIR:-$PWD/target}/tour:$PATH"

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
# Only this folder: no database, settings or identity of yours.
export HOME="$folder" ACCESS_DB="$folder/access.db"
unset XDG_CONFIG_HOME XDG_DATA_HOME ACCESS_AS 2>/dev/null || true

chapter() {
    if [ -t 1 ]; then
        printf '\n\033[1m# %s\033[0m\n' "$1"
    else
        printf '\n# %s\n' "$1"
    fi
}

# Shows a command, runs it, and fails unless it ends with the expected code.
expect() {
    expected=$1
    shift
    printf '\n$ %s\n' "$*"
    code=0
    sh -c "$*" </dev/null 2>&1 || code=$?
    if [ "$code" -ne 0 ]; then
        printf '(exit %s)\n' "$code"
    fi
    if [ "$code" -ne "$expected" ]; then
        printf 'tour: expected exit %s\n' "$expected" >&2
        exit 1
    fi
}

run() {
    expect 0 "$@"
}

chapter 'A team, and what can be asked for'
run 'access init --owner olivia --sample'
run 'access team show | head -n 12'
run 'access --as bob resources'
expect 1 'access --as bob check target:orders-db'

chapter 'Bob asks; Alice decides, and gives less than was asked'
run "access --as bob request target:orders-db --reason 'OPS-12: stuck orders' --duration 4h"
run 'access --as alice inbox'
run 'access --as alice show 1'
run "access --as alice approve 1 --duration 1h --note 'Enough for the fix'"
run 'access --as bob check target:orders-db'
run 'access --as bob whoami'
run 'access --as alice who target:orders-db'

chapter 'Nobody decides on their own request, not even an admin'
run "access --as alice request feature:export-customers --reason 'Quarterly report' --duration permanent"
expect 3 'access --as alice approve 2'
run "access --as olivia deny 2 --reason 'Ask for a day instead'"
run 'access --as alice inbox'

chapter 'A request is withdrawn, and a grant is revoked'
run "access --as carol request role:admin --reason 'On call' --duration 1w"
run 'access --as carol withdraw 3'
run "access --as alice revoke 1 --reason 'The orders flow again'"
expect 1 'access --as bob check target:orders-db'

chapter 'Access ends by the clock; cron only records it'
run "access --as dave request connection:prod-aws --reason 'Rotate a key' --duration 1s"
run 'access --as erin approve 4'
sleep 2
expect 1 'access --as dave check connection:prod-aws'
run 'access expire'
run 'access --as dave inbox'

chapter 'All of it is recorded'
run 'access --as olivia list --all'
run 'access --as olivia audit --request 1'
run 'access --as olivia audit export --format jsonl | tail -n 1'
run 'access --as olivia audit checkpoint > kept-elsewhere.jsonl'
run 'access --as olivia audit verify --against kept-elsewhere.jsonl'
run 'access backup copy.db'
run 'access doctor'
