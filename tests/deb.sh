#!/bin/sh
# The Debian package in a fresh Debian with systemd: installed, used by real people, upgraded while access is granted, removed
# and purged. tests/deb.sh [PACKAGE.deb]; without a package it builds one. It needs root, debootstrap and Debian's archive.
set -eu
cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || { echo "skipped: tests/deb.sh needs root" >&2; exit 0; }
deb=${1:-$(packaging/build-deb | tail -n 1)}
lintian --pedantic --display-info --fail-on error,warning,info,pedantic "$deb"

target=${CARGO_TARGET_DIR:-$PWD/target}
base=$target/deb/debian.tar
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ ! -e "$base" ]; then
    mkdir -p "$target/deb"
    debootstrap --variant=minbase --include=systemd bookworm "$work/base" >&2
    tar -C "$work/base" -cf "$base.new" .
    mv "$base.new" "$base"
    rm -rf "$work/base"
fi
mkdir "$work/root"
tar -C "$work/root" -xf "$base"
inside=$work/root/root/inside
mkdir "$inside"
cp /etc/apt/sources.list* "$inside" 2>/dev/null || :

# The same, as an older version.
dpkg-deb -R "$deb" "$work/older"
sed -i 's/^Version: .*/Version: 0.0.9/' "$work/older/DEBIAN/control"
dpkg-deb -b "$work/older" "$inside/older.deb" >/dev/null
cp "$deb" "$inside/newer.deb"

cat >"$inside/script" <<'END'
exec 2>&1
cd /root/inside
as() { login=$1; shift; runuser -u "$login" -- "$@" >/root/inside/said 2>&1; echo "$login $*: $?"; }
quietly() { "$@" >>/root/inside/log 2>&1 || echo "$*: $?"; }
# All that is there, but for what apt and the system itself keep.
files() { find / -xdev \( -path /proc -o -path /sys -o -path /run -o -path /tmp -o -path /root -o -path /var/lib/dpkg -o -path /var/cache \
    -o -path /var/log -o -path /var/lib/apt -o -path /var/lib/systemd -o -path /home \) -prune -o -print | sort; }
for login in ana alice bob; do useradd --create-home "$login"; done
files >before
quietly dpkg -i older.deb
systemctl is-enabled access.socket access-expire.timer access-follow.service | sort -u
quietly access init --shared --owner ana --team acme
quietly systemctl enable --now access.socket access-expire.timer access-reconcile.service
cat >/home/ana/team.toml <<TEAM
[team]
name = "acme"
owner = "ana"
[members.ana]
[members.alice]
role = "admin"
[members.bob]
[connections.prod]
environment = "production"
TEAM
as ana access team apply /home/ana/team.toml --yes
as bob access request connection:prod --reason x
as bob access approve 1
as alice access approve 1 --duration 1h
as bob access check connection:prod
before=$(systemctl show --property=MainPID access-reconcile.service)
quietly dpkg -i newer.deb
[ "$before" != "$(systemctl show --property=MainPID access-reconcile.service)" ] && echo "the reconciler was restarted"
systemctl is-active access.socket access-expire.timer access-reconcile.service | sort -u
as bob access check connection:prod
as ana access audit verify
as bob access request connection:prod --reason 'for a moment' --duration 2h
as alice access revoke 1
as bob access check connection:prod
quietly systemctl start access-expire.service
quietly access doctor
systemctl --state=failed --no-legend --plain
quietly dpkg --remove access
files | grep -v '^/var/lib/access' >removed
comm -13 before removed | grep -v -x -e '/etc/access\(/.*\)\?' -e '/etc/systemd/system/.*'
pgrep -l -x access
quietly dpkg --purge access
ls /var/lib/access
files >after
comm -13 before after | grep -v '^/var/lib/access'
comm -23 before after
echo the end
END

cat >"$work/root/etc/systemd/system/inside.service" <<'END'
[Unit]
After=basic.target dbus.socket
[Service]
Type=oneshot
ExecStart=/bin/sh /root/inside/script
StandardOutput=file:/root/inside/out
ExecStopPost=/bin/systemctl exit --force --force
END
ln -s ../inside.service "$work/root/etc/systemd/system/multi-user.target.wants/inside.service"
rm -f "$work/root/etc/resolv.conf"
# In control groups of its own. Whatever it started ends with it.
group=/sys/fs/cgroup/access-deb-$$
# shellcheck disable=SC2016 # the inner shells expand it
unshare --mount sh -eu -c '
    mount --make-rprivate /
    mount -t cgroup2 none /sys/fs/cgroup 2>/dev/null || :
    mkdir "$2"
    echo $$ >"$2/cgroup.procs"
    exec timeout --signal=KILL 300 unshare --mount --pid --fork --kill-child --cgroup --uts --ipc sh -eu -c "
        mount --bind \"$1\" \"$1\"
        mount -t proc proc \"$1/proc\"
        mount -t tmpfs tmpfs \"$1/run\"
        mount -t tmpfs tmpfs \"$1/tmp\"
        mount --rbind /dev \"$1/dev\"
        mount -t sysfs sysfs \"$1/sys\"
        mount -t cgroup2 none \"$1/sys/fs/cgroup\"
        exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot \"$1\" /lib/systemd/systemd --system --log-target=null
    "' sh "$work/root" "$group" </dev/null >/dev/null 2>&1 || :
find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || :

cat >"$work/expected" <<'END'
disabled
ana access team apply /home/ana/team.toml --yes: 0
bob access request connection:prod --reason x: 0
bob access approve 1: 3
alice access approve 1 --duration 1h: 0
bob access check connection:prod: 0
the reconciler was restarted
active
bob access check connection:prod: 0
ana access audit verify: 0
bob access request connection:prod --reason for a moment --duration 2h: 0
alice access revoke 1: 0
bob access check connection:prod: 1
access.db
the end
END
if ! diff -u "$work/expected" "$inside/out"; then
    cat "$inside/log" >&2
    exit 1
fi
echo "the package installs, upgrades and goes as it should"
