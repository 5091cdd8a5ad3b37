//! Running processes that still have what was taken back.

use std::fs;
use std::ops::RangeInclusive;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::NotDone;

/// The time that processes have to end by themselves, and the time after which we give up.
const GRACE: Duration = Duration::from_secs(1);
const MOST: Duration = Duration::from_secs(4);

/// The processes with one of these user IDs that have this group.
pub fn with_group(uids: &[RangeInclusive<u32>], gid: u32) -> Result<Vec<Pid>, NotDone> {
    let unreadable = |error: std::io::Error| NotDone::Later(format!("/proc can't be read: {error}"));
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        // A process that ended meanwhile has no status.
        let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else { continue };
        if has_group(&status, uids, gid) {
            found.push(Pid::from_raw(pid));
        }
    }
    Ok(found)
}

/// Whether the process of this `/proc/PID/status` acts for a user, by its real, effective or saved ID, and has the group.
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
}
