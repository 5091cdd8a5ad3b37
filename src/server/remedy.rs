//! Shell commands with which root repairs a shared host. Tests run each of them (`tests/shared/doctor.rs`).

use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Group, Uid, User};

use super::USER;
use crate::config;

/// A path, quoted for the shell if needed.
pub fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@:,".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// Creates the system user. `numbers` are the user and group ID that own the data, which the new user gets if they are free.
pub fn make_user(numbers: Option<(u32, u32)>) -> String {
    let uid = numbers.map(|(uid, _)| uid).filter(|&uid| matches!(User::from_uid(Uid::from_raw(uid)), Ok(None)));
    let gid = numbers.map(|(_, gid)| gid).filter(|&gid| matches!(Group::from_gid(Gid::from_raw(gid)), Ok(None)));
    let number =
        |what: &str, number: Option<u32>| number.map(|number| format!(" --{what} {number}")).unwrap_or_default();
    let group = match Group::from_name(USER) {
        Ok(Some(_)) => String::new(),
        Ok(None) | Err(_) => format!("groupadd --system{} {USER} && ", number("gid", gid)),
    };
    let home = Path::new(config::SHARED_DATABASE).parent().unwrap_or(Path::new("/")).display();
    format!(
        "{group}useradd --system{} --gid {USER} --no-create-home --shell /usr/sbin/nologin --home-dir {home} {USER}",
        number("uid", uid)
    )
}

/// Replaces a link with a copy of the file or folder that it points to.
pub fn unlink(link: &Path) -> String {
    let link = quoted(link);
    format!("to=$(readlink -f {link}) && rm {link} && cp -a \"$to\" {link}")
}

/// Replaces a missing or damaged database with a backup. All files of the old one are moved away first, since SQLite would apply an
/// old write-ahead log to the backup. A new, empty database would not help: it has neither the team nor its grants.
pub fn restore(database: &Path) -> String {
    let name = quoted(database);
    format!(
        ": \"${{BACKUP:?set BACKUP to the newest backup}}\" && aside=$(mktemp -d /var/tmp/access-aside.XXXXXX) && \
         {{ mv {name}* \"$aside\"; install -o {USER} -g {USER} -m 0600 \"$BACKUP\" {name}; }}"
    )
}

/// The mount point in `/etc/fstab` that this path is below, if nothing is mounted there.
pub fn not_mounted(path: &Path) -> Option<PathBuf> {
    // Users can mount at paths that are not valid UTF-8.
    let mounted = fs::read("/proc/self/mountinfo").ok()?;
    let mounted: Vec<PathBuf> =
        String::from_utf8_lossy(&mounted).lines().filter_map(|line| line.split(' ').nth(4)).map(unescaped).collect();
    let table = fs::read_to_string("/etc/fstab").ok()?;
    let points = table.lines().filter(|line| !line.trim_start().starts_with('#'));
    let points = points.filter_map(|line| line.split_whitespace().nth(1)).map(unescaped);
    let above = points.filter(|point| point.is_absolute() && path.starts_with(point) && !mounted.contains(point));
    above.max_by_key(|point| point.components().count())
}

/// Both files write a space in a path as `\040`.
fn unescaped(path: &str) -> PathBuf {
    path.replace(r"\040", " ").replace(r"\011", "\t").replace(r"\134", "\\").into()
}

/// What serves the socket.
pub enum ServedBy {
    /// A systemd unit: a process for each connection, or a listener for all.
    Unit(&'static str),
    /// `access serve`, for this group or for everyone.
    Listener(Option<String>),
}

impl ServedBy {
    pub fn detect(socket: &Path) -> ServedBy {
        const UNITS: [&str; 2] = ["access-serve.socket", "access.socket"];
        const FOLDERS: [&str; 3] = ["/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];
        if Path::new("/run/systemd/system").is_dir() {
            let enabled = |unit: &&str| Path::new(FOLDERS[0]).join("sockets.target.wants").join(unit).exists();
            let installed = |unit: &&str| FOLDERS.iter().any(|folder| Path::new(folder).join(unit).exists());
            let unit = UNITS.into_iter().find(enabled).or_else(|| UNITS.into_iter().rev().find(installed));
            if let Some(unit) = unit {
                return ServedBy::Unit(unit);
            }
        }
        ServedBy::Listener(group_of(socket))
    }

    pub fn start(&self) -> String {
        match self {
            // Stops both at once, since a waiting client would make the socket start the service again.
            ServedBy::Unit("access-serve.socket") => {
                "systemctl stop access-serve.socket access-serve.service; systemctl enable --now access-serve.socket"
                    .to_owned()
            }
            ServedBy::Unit(unit) => format!("systemctl enable {unit} && systemctl restart {unit}"),
            ServedBy::Listener(group) => {
                let group = group.as_ref().map(|group| format!(" --group {group}")).unwrap_or_default();
                format!("setsid access serve{group} </dev/null >/dev/null 2>&1 &")
            }
        }
    }

    /// Restarts what listens but does not answer.
    pub fn restart(&self, socket: &Path) -> String {
        match (self, listener(socket)) {
            (ServedBy::Unit("access.socket"), _) => format!("systemctl stop 'access@*.service'; {}", self.start()),
            (ServedBy::Listener(_), Some(pid)) => format!("kill -KILL {pid}; sleep 1; {}", self.start()),
            _ => self.start(),
        }
    }
}

/// The process that listens on this socket: any that has it open, except systemd (process 1).
fn listener(socket: &Path) -> Option<u32> {
    const LISTENS: u32 = 0x1_0000;
    // Other users' sockets may have names that are not valid UTF-8.
    let sockets = fs::read("/proc/net/unix").ok()?;
    let sockets = String::from_utf8_lossy(&sockets);
    // Num RefCount Protocol Flags Type St Inode Path
    let listening = sockets.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let listens = u32::from_str_radix(fields.get(3)?, 16).is_ok_and(|flags| flags & LISTENS != 0);
        (listens && Path::new(fields.get(7)?) == socket).then(|| PathBuf::from(format!("socket:[{}]", fields[6])))
    });
    let listening: Vec<PathBuf> = listening.collect();
    // A container can have a socket with the same path. Its processes have another mount namespace.
    let mounts = |process: &str| fs::read_link(format!("/proc/{process}/ns/mnt")).ok();
    let ours = mounts("self")?;
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    numbers.filter(|&pid| pid > 1 && mounts(&pid.to_string()).as_ref() == Some(&ours)).find(|pid| {
        let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        open.filter_map(|entry| fs::read_link(entry.path()).ok()).any(|file| listening.contains(&file))
    })
}

/// The group that may connect, if not everyone may.
fn group_of(socket: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt as _;
    let found = fs::symlink_metadata(socket).ok().filter(|found| found.mode() & 0o006 == 0)?;
    let group = Group::from_gid(Gid::from_raw(found.gid())).ok().flatten()?;
    (!matches!(group.name.as_str(), "root" | USER)).then_some(group.name)
}
