#!/bin/sh
# Builds what is measured, then measures delivery: see benches/deliver.py.
set -eu
cd "$(dirname "$0")/.."
cargo build --quiet --release --locked --example bare
cargo build --quiet --release --locked --bin access
exec python3 -I benches/deliver.py "$@"
