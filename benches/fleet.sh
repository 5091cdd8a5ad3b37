#!/bin/sh
# Builds what is measured, then measures a log that several hosts share: see benches/fleet.py, or benches/fleet.sh --help.
set -eu
cd "$(dirname "$0")/.."
tests/need.sh python3=python3 sqlite3=sqlite3 /usr/bin/time=time /usr/lib/postgresql=postgresql /usr/bin/etcd=etcd-server
tests/python.sh >/dev/null
cargo build --quiet --release --locked --example fill --example append
cargo build --quiet --release --locked --bin access
exec /usr/bin/python3 benches/fleet.py "$@"
