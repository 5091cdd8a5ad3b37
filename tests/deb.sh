#!/bin/sh
# The Debian package in a fresh Debian with systemd, by the lines of the README: installed over an older version that real people
# use, while access is granted, then removed and purged.
# Usage: tests/deb.sh [PACKAGE.deb]   (without a package it builds one)
# ACCESS_PROGRAM=PATH packs a program that is built already, and leaves piuparts out: that is quick.
# ACCESS_PREVIOUS=PATH is the program of the older version. Otherwise it is the same program with a lower version.
# It needs root, mounts, and Debian's archive.
set -eu
cd "$(dirname "$0")/.."
if [ "$(id -u)" != 0 ] || ! unshare --mount true 2>/dev/null; then
    echo "skipped: tests/deb.sh needs root and mounts" >&2
    exit 0
fi
tests/need.sh debootstrap=debootstrap dh=debhelper lintian=lintian dpkg-buildpackage=dpkg-dev unshare=util-linux
if [ -n "${ACCESS_PROGRAM:-}" ]; then
    export DPKG_DEB_COMPRESSOR_TYPE=gzip DPKG_DEB_COMPRESSOR_LEVEL=1
fi
target=${CARGO_TARGET_DIR:-$PWD/target}
deb=${1:-$(packaging/build-deb "$target/deb/tested" | tail -n 1)}
lintian --allow-root --pedantic --display-info --fail-on error,warning,info,pedantic "$deb"

# The package was built for this release of Debian.
suite=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
base=$target/deb/$suite.tar.gz
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ ! -e "$base" ]; then
    mkdir -p "$target/deb"
    # shellcheck disable=SC2016 # apt-get expands it
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' "Codename: $suite" | head -n 1)
    debootstrap --variant=minbase --include=systemd "$suite" "$work/base" "$mirror" >"$work/log" 2>&1 || { tail "$work/log" >&2; exit 1; }
    tar -C "$work/base" -czf "$base.new" .
    mv "$base.new" "$base"
    rm -rf "$work/base" "$work/log"
fi
if [ -z "${ACCESS_PROGRAM:-}" ]; then
    tests/need.sh piuparts=piuparts
    piuparts --basetgz "$base" --distribution "$suite" --no-eatmydata --warn-on-leftovers-after-purge "$deb" >"$work/log" 2>&1 ||
        { grep -v DEBUG "$work/log" >&2; exit 1; }
fi
root=$work/root
mkdir "$root"
tar -C "$root" -xzf "$base"
inside=$root/root/inside
mkdir -p "$inside/target/debian"
cp "$deb" "$inside/target/debian/"

dpkg-deb -R "$deb" "$work/older"
sed -i 's/^Version: .*/Version: 0.0.9-1/' "$work/older/DEBIAN/control"
[ -z "${ACCESS_PREVIOUS:-}" ] || strip -o "$work/older/usr/bin/access" "$ACCESS_PREVIOUS"
dpkg-deb -Znone -b "$work/older" "$inside/older.deb" >/dev/null
rm -rf "$work/older"

# What the README says about packages.
sed -n 's/^\(sudo apt [a-z]* [^#]*[^# ]\).*/\1/p' README.md >"$inside/readme"
echo 'APT::Get::Assume-Yes "true"; APT::Sandbox::User "root";' >"$root/etc/apt/apt.conf.d/90inside"
cat >"$inside/team.toml" <<'END'
[team]
name = "acme"
[members.ana]
role = "owner"
[members.alice]
role = "admin"
[members.bob]
role = "member"
[connections.prod]
environment = "production"
[[bindings]]
resource = "connection:prod"
connector = "groups"
group = "prod"
END
cat >"$inside/config.toml" <<'END'

[[connectors]]
name = "groups"
command = ["/usr/bin/access", "connector", "unix-group"]
allow = { group = ["prod"] }
END

cat >"$inside/script" <<'END'
exec >/root/inside/out 2>&1
cd /root/inside
export DEBIAN_FRONTEND=noninteractive
as() { login=$1; shift; runuser -u "$login" -- "$@" >>log 2>&1; echo "$login $*: $?"; }
quietly() { "$@" >>log 2>&1 || echo "$*: $?"; }
# A line of the README.
readme() { line=$(grep "^sudo apt $1 " readme); quietly eval "${line#sudo }"; }
# All that is there, but for what apt and the system keep for themselves.
files() {
    { find / -xdev \( -path /proc -o -path /sys -o -path /run -o -path /tmp -o -path /root -o -path /var/lib/dpkg -o -path /var/cache \
        -o -path /var/log -o -path /var/lib/apt -o -path /var/lib/systemd -o -path /home \) -prune -o -print
    find /run -name '*access*'; } | LC_ALL=C sort
}
processes() { readlink /proc/[0-9]*/exe | grep '^/usr/bin/access' || :; }
# Until it is so, for at most 20 seconds.
until_so() { tries=100; until eval "$1"; do tries=$((tries - 1)); [ "$tries" -gt 0 ] || { echo "never: $1"; return; }; sleep 0.2; done; }
in_group() { getent group prod | grep -q '[:,]bob$'; }
for login in ana alice bob; do useradd --create-home "$login"; done
groupadd prod
cp team.toml /home/ana/
files >before

echo "== the older version"
quietly apt install ./older.deb
systemctl is-enabled access.socket access-expire.timer access-follow.service access-reconcile.service | sort -u
systemctl is-active access.socket access-expire.timer access-follow.service access-reconcile.service | sort -u
quietly access init --shared --owner ana --team acme
cat config.toml >>/etc/access/config.toml
quietly systemctl enable --now access.socket access-expire.timer access-reconcile.service
as ana access team apply /home/ana/team.toml --yes
as bob access request connection:prod --reason x --duration 1h
as bob access approve 1
as bob access check connection:prod
as alice access approve 1
as bob access check connection:prod
as bob access request connection:prod --reason later --start 'in 2h'
until_so in_group

echo "== the upgrade"
# Meanwhile bob asks without a pause.
: >asking
(asked=0; while [ -e asking ]; do runuser -u bob -- access check --quiet connection:prod >>asked.log 2>&1 || { echo "bob was refused: $?"; break; }
    asked=$((asked + 1)); done; [ "$asked" -gt 10 ] || echo "bob asked only $asked times") &
asker=$!
reconciler=$(systemctl show --property=MainPID access-reconcile.service)
readme install
rm asking
wait "$asker"
dpkg-query --showformat='${Version}\n' --show access | grep -v '^0\.0\.9' >>log || echo "the older version is still there"
[ "$reconciler" != "$(systemctl show --property=MainPID access-reconcile.service)" ] || echo "the reconciler was not restarted"
systemctl is-active access.socket access-expire.timer access-reconcile.service | sort -u
as bob access check connection:prod
as ana access audit verify
as alice access approve 2
in_group || echo "bob has left the group"
as alice access revoke 1
as bob access check connection:prod
until_so '! in_group'
quietly systemctl start access-expire.service
quietly access doctor
systemctl --state=failed --no-legend --plain
for page in access access-request access-team access-config; do ls /usr/share/man/man?/$page.?.gz >>log || echo "no manual page $page"; done

echo "== removed"
# A gate. Nobody uses this service.
echo 'account required pam_exec.so seteuid quiet /usr/local/lib/access/pam-check user connection:prod' >/etc/pam.d/gate
readme remove
grep -o '^access: lines .* take them out' log
rm /etc/pam.d/gate
processes
systemctl list-units --all --state=active,failed --no-legend --plain 'access*'
files | grep -v '^/var/lib/access' >removed
LC_ALL=C comm -13 before removed
echo "== installed again"
readme install
quietly systemctl start access.socket
as bob access check connection:prod
as ana access audit verify
echo "== purged"
readme purge
processes
systemctl list-units --all --state=active,failed --no-legend --plain 'access*'
files >after
LC_ALL=C comm -13 before after | grep -v '^/var/lib/access/access\.db\(-wal\|-shm\|\.lock\|\.places\)$'
LC_ALL=C comm -23 before after
echo "== the end"
END

cat >"$root/etc/systemd/system/inside.service" <<'END'
[Unit]
After=basic.target
[Service]
Type=oneshot
ExecStart=/bin/sh /root/inside/script
ExecStopPost=/bin/systemctl exit --force --force
END
ln -s ../inside.service "$root/etc/systemd/system/multi-user.target.wants/inside.service"
# In a control group of its own: what it started ends with it.
cat >"$work/boot" <<'END'
set -eu
root=$2
case $1 in
all)
    mount --make-rprivate /
    mount -t cgroup2 none /sys/fs/cgroup
    group=/sys/fs/cgroup/access-deb-$$
    mkdir "$group"
    sh "$0" grouped "$root" "$group" || :
    find "$group" -depth -type d -exec rmdir {} +
    ;;
grouped)
    echo $$ >"$3/cgroup.procs"
    exec timeout --signal=KILL 300 unshare --mount --pid --fork --kill-child --cgroup --uts --ipc sh "$0" alone "$root"
    ;;
alone)
    mount --bind "$root" "$root"
    mount -t proc proc "$root/proc"
    mount -t tmpfs tmpfs "$root/run"
    mount -t tmpfs tmpfs "$root/tmp"
    mount --rbind /dev "$root/dev"
    mount -t sysfs sysfs "$root/sys"
    mount -t cgroup2 none "$root/sys/fs/cgroup"
    exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$root" /lib/systemd/systemd --system --log-target=null
    ;;
esac
END
unshare --mount sh "$work/boot" all "$root" </dev/null >"$work/log" 2>&1 || :

cat >"$work/expected" <<'END'
== the older version
disabled
inactive
ana access team apply /home/ana/team.toml --yes: 0
bob access request connection:prod --reason x --duration 1h: 0
bob access approve 1: 3
bob access check connection:prod: 1
alice access approve 1: 0
bob access check connection:prod: 0
bob access request connection:prod --reason later --start in 2h: 0
== the upgrade
active
bob access check connection:prod: 0
ana access audit verify: 0
alice access approve 2: 0
alice access revoke 1: 0
bob access check connection:prod: 1
== removed
access: lines in /etc/pam.d/gate ask access: once it is removed they refuse everybody but root; take them out
/etc/access
/etc/access/config.toml
/etc/systemd/system/multi-user.target.wants/access-reconcile.service
/etc/systemd/system/sockets.target.wants
/etc/systemd/system/sockets.target.wants/access.socket
/etc/systemd/system/timers.target.wants/access-expire.timer
/run/access
== installed again
bob access check connection:prod: 1
ana access audit verify: 0
== purged
/var/lib/access
/var/lib/access/access.db
== the end
END
if ! diff -u "$work/expected" "$inside/out"; then
    tail -n 100 "$work/log" "$inside/log" >&2
    exit 1
fi
echo "the package installs, upgrades and goes as it should"
