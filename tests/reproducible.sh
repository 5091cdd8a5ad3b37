#!/bin/sh
# A second build of what is committed, in another folder and under another umask, language and time zone, gives the same package
# and the same list of what is in it, byte by byte.
# Usage: tests/reproducible.sh [PACKAGE.deb]   (by packaging/build-deb, of the same commit; without it, it builds that first)
# A build takes minutes.
set -eu
cd "$(dirname "$0")/.."
first=${1:-$(umask 022 && packaging/build-deb | tail -n 1)}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset CARGO_TARGET_DIR
git clone --quiet . "$work/elsewhere/access"
second=$(umask 077 && LC_ALL=C.UTF-8 TZ=Asia/Tokyo "$work/elsewhere/access/packaging/build-deb" "$work/out" | tail -n 1)
cmp "$first" "$second"
cmp "${first%_*}.cdx.json" "${second%_*}.cdx.json"
sha256sum "$first" "${first%_*}.cdx.json"
echo "both builds are the same"
