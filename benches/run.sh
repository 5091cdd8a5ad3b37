#!/bin/sh
# Builds what is measured, then measures it: see benches/run.py, or benches/run.sh --help.
set -eu
cd "$(dirname "$0")/.."
for tool in cargo python3 sqlite3 /usr/bin/time; do
    if ! command -v "$tool" >/dev/null; then
        echo "benches/run.sh needs $tool (on Debian: apt install python3 sqlite3 time)" >&2
        exit 1
    fi
done
cargo build --quiet --release --locked --example fill
cargo build --quiet --release --locked --bin access
exec python3 -I benches/run.py "$@"
