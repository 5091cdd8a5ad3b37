#!/bin/sh
# What is linked in: licences, sources and what is banned (deny.toml), known vulnerabilities, and the list that goes with a package.
set -eu
cd "$(dirname "$0")/.."
python=$(tests/python.sh)
PATH=$(dirname "$python"):$PATH
cargo deny check bans licenses sources

# The advisories are fetched. ACCESS_ADVISORIES=FOLDER takes a clone of their repository instead.
advisories=https://github.com/RustSec/advisory-db
if [ -n "${ACCESS_ADVISORIES:-}" ]; then
    export GIT_CONFIG_COUNT=2 GIT_CONFIG_KEY_0="url.file://$ACCESS_ADVISORIES.insteadOf" GIT_CONFIG_VALUE_0="$advisories" \
        GIT_CONFIG_KEY_1=safe.directory GIT_CONFIG_VALUE_1="$ACCESS_ADVISORIES"
fi
if timeout 30 git ls-remote --quiet --exit-code "$advisories" HEAD >/dev/null 2>&1; then
    cargo deny check advisories
else
    echo "known vulnerabilities are not checked: $advisories can't be reached" >&2
fi

packaging/sbom | "$python" -c '
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(sys.stdin.read())
sys.exit(wrong and str(wrong))
'
echo "the list of what is linked in is valid"
