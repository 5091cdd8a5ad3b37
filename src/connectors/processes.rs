//! Running processes that still have access that was taken back.

use std::fs;
use std::io::{self, ErrorKind};
use std::ops::RangeInclusive;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::NotDone;

/// The time that processes have to end by themselves, and the time after which we give up.
const GRACE: Duration = Duration::from_secs(1);
const MOST: Duration = Duration::from_secs(4);

/// What the kernel says of a process. Its name may not be valid UTF-8: anyone can set it.
pub fn proc_file(pid: Pid, name: &str) -> io::Result<String> {
    let bytes = fs::read(format!("/proc/{pid}/{name}"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The processes with one of these user IDs that have this group.
pub fn with_group(uids: &[RangeInclusive<u32>], gid: u32) -> Result<Vec<Pid>, NotDone> {
    let unreadable = |error: io::Error| NotDone::Later(format!("/proc can't be read: {error}"));
    let mut found = Vec::new();
    for pid in numbers("/proc").map_err(unreadable)? {
        if any_thread_has_group(pid, uids, gid).map_err(unreadable)? {
            found.push(pid);
        }
    }
    Ok(found)
}

/// Each thread has groups of its own. The first may have ended, or have given up what the others keep.
fn any_thread_has_group(pid: Pid, uids: &[RangeInclusive<u32>], gid: u32) -> io::Result<bool> {
    for thread in unless_ended(numbers(&format!("/proc/{pid}/task")))?.unwrap_or_default() {
        let status = unless_ended(proc_file(pid, &format!("task/{thread}/status")))?;
        if status.is_some_and(|status| has_group(&status, uids, gid)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The processes of `/proc`, or the threads of a process.
fn numbers(folder: &str) -> io::Result<Vec<Pid>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)? {
        numbers.extend(entry?.file_name().to_str().and_then(|name| name.parse().ok()).map(Pid::from_raw));
    }
    Ok(numbers)
}

/// None: the process or the thread ended meanwhile.
fn unless_ended<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) if error.raw_os_error() == Some(Errno::ESRCH as i32) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether the thread of this status acts for a user, by its real, effective or saved ID, and has the group.
fn has_group(status: &str, uids: &[RangeInclusive<u32>], gid: u32) -> bool {
    let line = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
    let ids = |key: &str| line(key).split_whitespace().filter_map(|word| word.parse::<u32>().ok());
    let zombie = line("State:").trim_start().starts_with('Z');
    let is_theirs = ids("Uid:").any(|id| uids.iter().any(|range| range.contains(&id)));
    !zombie && is_theirs && ids("Gid:").chain(ids("Groups:")).any(|id| id == gid)
}

/// Ends all processes that are found, also those that they start meanwhile.
pub fn end(mut find: impl FnMut() -> Result<Vec<Pid>, NotDone>) -> Result<(), NotDone> {
    let begun = Instant::now();
    let mut signals = &[Signal::SIGHUP, Signal::SIGTERM, Signal::SIGCONT][..];
    loop {
        let found = find()?;
        if found.is_empty() {
            return Ok(());
        }
        if begun.elapsed() > MOST {
            let count = found.len();
            return Err(NotDone::Failed(format!("{count} processes did not end, such as process {}", found[0])));
        }
        for pid in found {
            for signal in signals {
                // It may have ended by itself.
                let _ = kill(pid, *signal);
            }
        }
        signals = if begun.elapsed() < GRACE { &[] } else { &[Signal::SIGKILL] };
        sleep(Duration::from_millis(50));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STATUS: &str = "Name:\tbash\nState:\tS (sleeping)\nUid:\t1001\t1001\t1001\t1001\nGid:\t100\t100\t100\t100\nGroups:\t27 1500 \n";

    #[test]
    fn a_process_has_its_own_group_and_its_supplementary_groups() {
        let bobs = [1001..=1001, 100_000..=165_535];
        assert!([100, 27, 1500].iter().all(|&gid| has_group(STATUS, &bobs, gid)));
        assert!(!has_group(STATUS, &bobs, 150) && !has_group(STATUS, &[100..=100], 27) && !has_group("", &bobs, 0));
        // A program with the set-user-ID bit acts for the user who started it.
        assert!(has_group(&STATUS.replace("\t1001\t1001\t1001\n", "\t0\t0\t0\n"), &bobs, 27));
        assert!(!has_group(&STATUS.replace("S (sleeping)", "Z (zombie)"), &bobs, 27));
        for (uid, theirs) in [("99999", false), ("100000", true), ("165535", true), ("165536", false)] {
            assert_eq!(has_group(&STATUS.replace("1001", uid), &bobs, 27), theirs, "{uid}");
        }
    }

    proptest! {
        #[test]
        fn a_name_changes_nothing(name in proptest::collection::vec(any::<u8>(), 0..16), rest in any::<String>()) {
            // The kernel writes a line break and a backslash in a name as two characters.
            let name = String::from_utf8_lossy(&name).replace('\\', "\\\\").replace('\n', "\\n");
            prop_assert!(has_group(&STATUS.replace("bash", &name), &[1001..=1001], 1500));
            has_group(&rest, &[1001..=1001], 1500);
        }
    }
}
