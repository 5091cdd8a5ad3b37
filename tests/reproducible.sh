#!/bin/sh
# Two builds of what is committed, in different folders, give the same package and the same list of what is in it, byte by byte.
# It takes two release builds. The path of the package is the last line.
set -eu
cd "$(dirname "$0")/.."
work=${CARGO_TARGET_DIR:-$PWD/target}/reproducible
rm -rf "$work"
mkdir -p "$work"
unset CARGO_TARGET_DIR
git clone --quiet . "$work/one"
git clone --quiet . "$work/elsewhere/another"
(umask 022 && LC_ALL=C TZ=UTC "$work/one/packaging/build-deb" "$work/out-1")
(umask 077 && LC_ALL=C.UTF-8 TZ=Asia/Tokyo "$work/elsewhere/another/packaging/build-deb" "$work/out-2")
for built in "$work"/out-1/access_*.deb "$work"/out-1/access_*.cdx.json; do
    cmp "$built" "$work/out-2/${built##*/}"
    sha256sum "$built"
done
rm -rf "$work/one" "$work/elsewhere"
ls "$work"/out-1/*.deb
