#!/bin/sh
# Makes sure that programs and files are there. Installs the Debian packages of those that are missing if it may (root, with
# apt-get). Otherwise prints the line that installs them, and fails.
# Usage: tests/need.sh PROGRAM=PACKAGE /FILE=PACKAGE ...
set -eu
missing=''
packages=''
for need in "$@"; do
    wanted=${need%%=*}
    case $wanted in
        /*) [ ! -e "$wanted" ] || continue ;;
        *) ! command -v "$wanted" >/dev/null || continue ;;
    esac
    missing="$missing $wanted"
    case " $packages " in
        *" ${need#*=} "*) ;;
        *) packages="$packages ${need#*=}" ;;
    esac
done
[ -n "$missing" ] || exit 0

echo "missing:$missing" >&2
install="apt-get install -y --no-install-recommends$packages"
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing:$packages" >&2
    # Packages of services must not start them: the tests start their own.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        trap 'rm -f "$policy"' EXIT
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    apt-get update -q >&2
    # Its words are split on purpose.
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive $install >&2
    exit 0
fi
echo "on Debian, this line installs them:" >&2
echo "sudo apt-get update && sudo $install" >&2
exit 1
