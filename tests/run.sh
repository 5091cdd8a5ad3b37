#!/bin/sh
# Everything that has to hold, up to the first thing that does not. The tests come last, with their summary.
set -eu
cd "$(dirname "$0")/.."

# What the tests run, and the Debian package that has it.
set -- bash=bash zsh=zsh fish=fish mandoc=mandoc groff=groff-base tmux=tmux sqlite3=sqlite3 ssh-keygen=openssh-client ssh-agent=openssh-client ssh-add=openssh-client shellcheck=shellcheck script=bsdutils \
    stty=coreutils jq=jq openssl=openssl chromium=chromium strace=strace prlimit=util-linux cc=gcc /usr/include/stdio.h=libc6-dev /usr/bin/python3=python3 \
    /usr/share/zoneinfo/Europe/Berlin=tzdata /usr/lib/postgresql=postgresql psql=postgresql-client /usr/sbin/slapd=slapd \
    ldapsearch=ldap-utils /usr/bin/etcd=etcd-server valgrind=valgrind go=golang-go \
    /usr/share/gocode/src/golang.org/x/mod/sumdb/tlog=golang-golang-x-mod-dev
if [ "$(id -u)" = 0 ]; then
    # The shared host is tested by root, with all that it takes part with.
    set -- "$@" git=git pamtester=pamtester ps=procps setpriv=util-linux sudo=sudo sudoreplay=sudo \
        systemd-analyze=systemd unshare=util-linux useradd=passwd /usr/sbin/sshd=openssh-server ssh=openssh-client
fi
# A Python without ensurepip can't make an environment.
python3 -c 'import ensurepip' 2>/dev/null || set -- "$@" ensurepip=python3-venv
tests/need.sh "$@"

step() {
    printf '\n== %s\n' "$*"
    "$@"
}

step cargo fmt --check
step shellcheck tests/run.sh tests/need.sh tests/python.sh tests/no-overrides.sh tests/fleet.sh tests/deb.sh tests/reproducible.sh tests/supply-chain.sh packaging/build-deb benches/run.sh benches/deliver.sh benches/fleet.sh .ci/run examples/tour.sh \
    fuzz/run completions/access.bash packaging/recipes/access-may packaging/recipes/pam-check packaging/recipes/pam-session packaging/recipes/orders-psql packaging/recipes/pre-receive \
    packaging/recipes/prompt.bash packaging/recipes/ssh-cert
step cargo clippy --all-targets -- -D warnings
step cargo clippy --all-targets --features test-overrides -- -D warnings
step cargo build
step tests/no-overrides.sh "${CARGO_TARGET_DIR:-$PWD/target}/debug/access"
step tests/python.sh
step tests/supply-chain.sh
# The Debian package, with the program that was just built.
step env ACCESS_PROGRAM="${CARGO_TARGET_DIR:-$PWD/target}/debug/access" timeout 600 tests/deb.sh
# The shared host, by real users on the plain build (root only; it says so).
step timeout 900 cargo test --test shared
# The rules, the lifecycle and the races again, on a shared log. It takes 3 minutes of a quiet machine with two cores.
step timeout 900 tests/fleet.sh
step cargo test --features test-overrides --lib --bins --tests
