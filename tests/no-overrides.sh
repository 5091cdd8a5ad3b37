#!/bin/sh
# A build that anyone installs never takes the user or the time from the environment.
# Usage: tests/no-overrides.sh PATH-OF-ACCESS   (built without the feature test-overrides)
set -eu
access=$1
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT

run() {
    env -i HOME="$home" PATH="$PATH" ACCESS_DB="$home/access.db" \
        ACCESS_TEST_USER=mallory ACCESS_TEST_NOW=2001-02-03T04:05:06Z ACCESS_TEST_CONFIG="$home/config.toml" "$access" "$@"
}
fail() {
    echo "no-overrides: $1" >&2
    exit 1
}

# A shared host that the caller configures: if it counted, the program would refuse --db, or find nobody at the socket.
echo "socket = \"$home/sock\"" >"$home/config.toml"
run init --owner tester >/dev/null 2>&1
log=$(run audit --json)
case $log in
    *mallory*) fail "the user was taken from ACCESS_TEST_USER" ;;
    *"\"os_user\":\"$(id -un)\""*) ;;
    *) fail "the log does not name $(id -un): $log" ;;
esac
case $log in
    *2001-02-03*) fail "the time was taken from ACCESS_TEST_NOW" ;;
    *"\"at\":\"$(date -u +%Y)-"*) ;;
    *) fail "the log does not tell today's year: $log" ;;
esac
echo "no-overrides: ok"
