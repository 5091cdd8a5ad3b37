//! The processes of this host, as `/proc` has them.

use std::fs;

use nix::unistd::Pid;

pub struct Found {
    pub pid: Pid,
    pub zombie: bool,
    pub parent: i32,
    pub group: i32,
    /// When it was started, in ticks since the boot. No two processes have the same number and the same start.
    pub started: u64,
}

pub fn processes() -> impl Iterator<Item = Found> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| find(Pid::from_raw(pid)))
}

/// See proc_pid_stat(5).
pub fn find(pid: Pid) -> Option<Found> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name is in parentheses, and may have some itself.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some(Found {
        pid,
        zombie: matches!(*fields.first()?, "Z" | "X"),
        parent: fields.get(1)?.parse().ok()?,
        group: fields.get(2)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
    })
}

/// The ID of this boot.
pub fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// The number of the kernel's audit session of a process, if it has one. It is kept by all descendants.
pub fn audit_session(pid: Pid) -> Option<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/sessionid")).ok()?;
    text.trim().parse().ok().filter(|&number| number != 0 && number != u32::MAX)
}

/// The cgroup that logind made for the session of a process, such as `/user.slice/user-1000.slice/session-4.scope`.
pub fn session_scope(pid: Pid) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::").or(line.strip_prefix("1:name=systemd:")))?;
    scope_of(path)
}

/// Also of what is below it. A scope elsewhere is one of a container.
fn scope_of(path: &str) -> Option<String> {
    let mut parts = path.strip_prefix("/user.slice/user-")?.splitn(3, '/');
    let (slice, scope) = (parts.next()?, parts.next()?);
    let is_scope = slice.ends_with(".slice") && scope.starts_with("session-") && scope.ends_with(".scope");
    is_scope.then(|| format!("/user.slice/user-{slice}/{scope}"))
}

/// The real, effective and saved user IDs of a process.
pub fn user_ids(pid: Pid) -> Vec<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap_or_default();
    line.split_whitespace().take(3).filter_map(|word| word.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_has_the_scope_that_logind_made() {
        let scope = "/user.slice/user-1000.slice/session-4.scope";
        assert_eq!(scope_of(scope).as_deref(), Some(scope));
        assert_eq!(scope_of(&format!("{scope}/app")).as_deref(), Some(scope));
        for other in [
            "/",
            "/system.slice/ssh.service",
            "/user.slice/user-1000.slice/user@1000.service/session-4.scope",
            "/machine.slice/x/user.slice/user-1000.slice/session-4.scope",
            "/user.slice/user-1000.slice",
        ] {
            assert_eq!(scope_of(other), None, "{other}");
        }
    }
}
