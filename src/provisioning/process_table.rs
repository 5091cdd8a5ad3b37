//! The processes of this host, as `/proc` has them.

use std::fs;

use nix::unistd::Pid;

use crate::connectors::processes::{is_exiting, proc_file};

#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    pub pid: Pid,
    /// It has ended or is ending, and its parent has not asked for its exit status.
    pub zombie: bool,
    pub parent: i32,
    pub group: i32,
    /// When it was started, in ticks since the boot. No two processes have the same number and the same start.
    pub started: u64,
}

/// A list, which may lack what starts meanwhile.
pub fn processes() -> impl Iterator<Item = Found> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| find(Pid::from_raw(pid)))
}

pub fn find(pid: Pid) -> Option<Found> {
    parse(pid, &proc_file(pid, "stat").ok()?)
}

/// See proc_pid_stat(5).
fn parse(pid: Pid, stat: &str) -> Option<Found> {
    // The name is in parentheses, and may have some itself.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    // A process whose first thread has ended looks like a zombie, but it goes on.
    let threads: u32 = fields.get(17)?.parse().ok()?;
    let is_over = matches!(*fields.first()?, "Z" | "X") || is_exiting(stat);
    Some(Found {
        pid,
        zombie: is_over && threads <= 1,
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
    let text = proc_file(pid, "sessionid").ok()?;
    text.trim().parse().ok().filter(|&number| number != 0 && number != u32::MAX)
}

/// The cgroup that logind made for the session of a process, such as `/user.slice/user-1000.slice/session-4.scope`.
pub fn session_scope(pid: Pid) -> Option<String> {
    let text = proc_file(pid, "cgroup").ok()?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_name_changes_what_a_process_is(name in any::<String>(), rest in any::<String>()) {
            let stat = format!("7 ({name}) R 5 6 6 0 -1 0 2 6 1 0 2 1 4 1 20 0 1 0 8208 0 0 1\n");
            let runs = Found { pid: Pid::from_raw(7), zombie: false, parent: 5, group: 6, started: 8208 };
            prop_assert_eq!(parse(Pid::from_raw(7), &stat), Some(runs));
            parse(Pid::from_raw(7), &rest);
            scope_of(&rest);
        }
    }

    #[test]
    fn a_process_is_what_the_kernel_says_after_its_name() {
        let parse = |name: &str, state: &str, threads: u32| {
            let stat = format!("7 ({name}) {state} 5 6 6 0 -1 0 2 6 1 0 2 1 4 1 20 0 {threads} 0 8208 0 0 1\n");
            parse(Pid::from_raw(7), &stat).unwrap()
        };
        let runs = Found { pid: Pid::from_raw(7), zombie: false, parent: 5, group: 6, started: 8208 };
        assert_eq!(parse("sh", "S", 1), runs);
        assert_eq!(parse(") Z 1 1 (\u{fffd}", "R", 1), runs);
        assert!(parse("sh", "Z", 1).zombie);
        assert_eq!(parse("sh", "Z", 2), runs, "a thread goes on");
        assert!(super::parse(Pid::from_raw(7), "7 (sh").is_none());
    }

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
