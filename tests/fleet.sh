#!/bin/sh
# Runs tests of the command line again, unchanged, with the log in PostgreSQL and two hosts that take turns.
# Usage: tests/fleet.sh [TESTS...]   (default: the rules, the lifecycle, the races, recertifications, and what takes two hosts)
#        tests/fleet.sh --long [ROUNDS]   real servers that fail in every way, ROUNDS times (default: 1), and a line that is
#                                         bad at every message
set -eu
cd "$(dirname "$0")/.."
tests/need.sh /usr/lib/postgresql=postgresql psql=postgresql-client setpriv=util-linux /usr/bin/etcd=etcd-server \
    /usr/bin/python3=python3
if [ "${1-}" = --long ]; then
    tests/python.sh >&2
    ACCESS_TEST_LONG=${2-1} exec cargo test --features test-overrides --test fleet -- --nocapture --test-threads 1 faults:: wire::
fi
[ "$#" -gt 0 ] || set -- rules:: lifecycle:: races:: turns:: recertify::what_ recertify::two_
# A name that no test has would test nothing.
for tests in "$@"; do
    found=$(cargo test --quiet --features test-overrides --test cli -- --list "$tests")
    case $found in
    *": test"*) ;;
    *)
        echo "no test has $tests in its name" >&2
        exit 2
        ;;
    esac
done

server=$(find /usr/lib/postgresql -maxdepth 1 -mindepth 1 | sort -V | tail -1)/bin
folder=$(mktemp -d)
as_postgres() {
    if [ "$(id -u)" = 0 ]; then
        setpriv --reuid=postgres --regid=postgres --init-groups "$@"
    else
        "$@"
    fi
}
# pg_ctl stops the process whose number is in the folder.
stop() {
    [ ! -e "$folder/data/postmaster.pid" ] || as_postgres "$server/pg_ctl" -D "$folder/data" -m immediate -s stop || true
    rm -rf "$folder"
}
trap stop EXIT
trap 'exit 130' HUP INT TERM
if [ "$(id -u)" = 0 ]; then chown postgres "$folder"; fi
chmod 755 "$folder"
as_postgres "$server/initdb" -D "$folder/data" --username=postgres --auth=trust --encoding=UTF8 --locale=C.UTF-8 --no-sync >/dev/null
as_postgres "$server/pg_ctl" -D "$folder/data" -l "$folder/log" -s -w \
    -o "-c listen_addresses= -c unix_socket_directories=$folder -c max_connections=200" start
# Else tests that install their logs at once would race for it.
psql -q -h "$folder" -U postgres -c "CREATE ROLE access_host NOLOGIN"
for host in alpha beta; do
    psql -q -h "$folder" -U postgres -c "CREATE ROLE $host LOGIN"
done
# Left out: what runs by the real clock, and not by the test's.
ACCESS_TEST_LOG="postgresql://postgres@$(printf %s "$folder" | sed 's,/,%2F,g')/" \
    cargo test --features test-overrides --test cli -- "$@" --skip at_random_commands
