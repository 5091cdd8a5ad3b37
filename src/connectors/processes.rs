//! Running processes that still have access that was taken back.
//!
//! The person who runs them may not want them to be found. A process can start another and end, thousands of times a second, so that
//! no list of processes has it, and faster than they can be killed one by one.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::ops::RangeInclusive;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid, setresuid};

use super::NotDone;

/// The time that processes have to end by themselves, the time after which they are stopped before they are killed, and the time
/// after which we give up.
const GRACE: Duration = Duration::from_secs(1);
const STUBBORN: Duration = Duration::from_secs(2);
const MOST: Duration = Duration::from_secs(5);
/// How long to look for a moment in which no process starts.
const LOOKING: Duration = Duration::from_millis(500);
/// A user ID that no account has.
const NO_USER: u32 = u32::MAX - 1;
/// The flag of a process that is ending (PF_EXITING, see proc_pid_stat(5) and the kernel's `sched.h`).
const EXITING: u32 = 4;

/// Why a list of processes may lack some.
pub const TOO_FAST: &str = "processes start faster than they can be looked at";

/// How processes are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// With those that start meanwhile.
    Census,
    /// Those of one list, for an account whose processes are stopped.
    List,
}

/// Whether all processes of a moment were looked at.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Census {
    Complete,
    Partial,
}

/// What the kernel says of a process. Its name may not be valid UTF-8: anyone can set it.
pub fn proc_file(pid: Pid, name: &str) -> io::Result<String> {
    let bytes = fs::read(format!("/proc/{pid}/{name}"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Looks at all processes, and at those that start meanwhile. `look_at` gets the status of the first thread too.
///
/// The kernel numbers processes and threads in turn, so what started since the list was read has the numbers after the last one. A
/// number is given a moment before its process can be seen, so what is not there is looked at again. Until it can be seen, the process
/// that starts it is there. That one has an earlier number, and so is looked at before.
pub fn each(look: Look, mut look_at: impl FnMut(Pid, &ThreadStatus) -> io::Result<()>) -> io::Result<Census> {
    let begun = Instant::now();
    let mut last = last_number()?;
    let mut is_there = |pid: Pid| -> io::Result<bool> {
        let status = unless_ended(proc_file(pid, "status"))?.map(ThreadStatus);
        status.map_or(Ok(false), |status| look_at(pid, &status).map(|()| true))
    };
    for pid in numbers("/proc")? {
        is_there(pid)?;
    }
    if look == Look::List {
        return Ok(Census::Complete);
    }
    let mut absent: Vec<i32> = Vec::new();
    loop {
        let now = last_number()?;
        if now != last {
            // The newest may end soon.
            is_there(Pid::from_raw(now))?;
            absent.extend(numbers_between(last, now)?);
        }
        let mut still_absent = Vec::new();
        for number in absent {
            if !is_there(Pid::from_raw(number))? {
                still_absent.push(number);
            }
        }
        (absent, last) = (still_absent, now);
        if last_number()? == now {
            return Ok(Census::Complete);
        }
        if begun.elapsed() > LOOKING {
            return Ok(Census::Partial);
        }
    }
}

/// The processes for which this is true, and whether all were looked at.
fn found_by(
    look: Look,
    mut is_one: impl FnMut(Pid, &ThreadStatus) -> io::Result<bool>,
) -> Result<(Vec<Pid>, Census), NotDone> {
    let mut found = BTreeSet::new();
    let census = each(look, |pid, status| {
        if is_one(pid, status)? {
            // A thread has a number of its own.
            let process = status.numbers("Tgid:").next().and_then(|number| i32::try_from(number).ok());
            found.insert(process.map_or(pid, Pid::from_raw));
        }
        Ok(())
    });
    let census = census.map_err(|error| NotDone::Later(format!("/proc can't be read: {error}")))?;
    Ok((found.into_iter().collect(), census))
}

/// The number that was given last (see proc_loadavg(5)).
fn last_number() -> io::Result<i32> {
    let text = fs::read_to_string("/proc/loadavg")?;
    let last = text.split_whitespace().nth(4).and_then(|word| word.parse().ok());
    last.ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "/proc/loadavg has no last number"))
}

/// The numbers after one, up to another. After the largest number they begin again.
fn numbers_between(last: i32, now: i32) -> io::Result<Vec<i32>> {
    if now > last {
        return Ok((last + 1..=now).collect());
    }
    let text = fs::read_to_string("/proc/sys/kernel/pid_max")?;
    let largest = text.trim().parse().map_err(|_| io::Error::new(ErrorKind::InvalidData, "pid_max is no number"))?;
    Ok((last + 1..=largest).chain(1..=now).collect())
}

/// An account whose processes are looked for, and the group that it lost.
pub struct LostGroup<'g> {
    pub uids: &'g [RangeInclusive<u32>],
    pub gid: u32,
    /// Whether the account with this user ID is in the group.
    pub is_member: &'g dyn Fn(u32) -> bool,
}

impl LostGroup<'_> {
    /// The processes of the account that have the group, or can take it from the user namespace that they are in.
    pub fn processes(&self, look: Look) -> Result<(Vec<Pid>, Census), NotDone> {
        found_by(look, |pid, status| self.has_it(pid, status))
    }

    /// Each thread has groups of its own. The first may have ended, or have given up what the others keep.
    fn has_it(&self, pid: Pid, first: &ThreadStatus) -> io::Result<bool> {
        if self.thread_has_it(pid, pid, first)? {
            return Ok(true);
        }
        for thread in unless_ended(numbers(&format!("/proc/{pid}/task")))?.unwrap_or_default() {
            let status = unless_ended(proc_file(pid, &format!("task/{thread}/status")))?.map(ThreadStatus);
            if status.map_or(Ok(false), |status| self.thread_has_it(pid, thread, &status))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn thread_has_it(&self, pid: Pid, thread: Pid, status: &ThreadStatus) -> io::Result<bool> {
        let file = |name: &str| unless_ended(proc_file(pid, &format!("task/{thread}/{name}")));
        let has_group = status.has_group(self.gid);
        // A program of somebody else that they ran, with the set-user-ID bit.
        let may_be_theirs = || has_group && !status.uids().any(self.is_member);
        let logged_in = || Ok::<_, io::Error>(file("loginuid")?.and_then(|uid| uid.trim().parse().ok()));
        let is_theirs =
            status.is_of(self.uids) || may_be_theirs() && logged_in()?.is_some_and(|uid| is_in(uid, self.uids));
        if !is_theirs
            || status.is_over()
            || !has_group && !file("gid_map")?.is_some_and(|map| maps_group(&map, self.gid))
        {
            return Ok(false);
        }
        Ok(!file("stat")?.is_none_or(|stat| is_exiting(&stat)))
    }
}

fn is_in(uid: u32, uids: &[RangeInclusive<u32>]) -> bool {
    uids.iter().any(|range| range.contains(&uid))
}

/// Whether this is a program with root's rights that somebody else has started, and that acts by what it has read before: sg, newgrp
/// and sudo until they start another program, and any that is stopped. Who started it can stop it, and let it go on later.
fn is_changing(pid: Pid, status: &ThreadStatus, look: Look) -> bool {
    let mut ids = status.uids();
    let is_started = ids.next().is_some_and(|real| real != 0) && ids.any(|id| id == 0);
    // In a list all are stopped, by us. What was stopped before was in the first list.
    let is_stopped = || look == Look::Census && status.line("State:").starts_with(['T', 't']);
    let program = || fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    let is_named = || program().file_name().is_some_and(|name| ["sg", "newgrp", "sudo"].iter().any(|it| name == *it));
    // As sg does while its command runs.
    let waits_for_another = || proc_file(pid, "wchan").is_ok_and(|function| function == "do_wait");
    is_started && !status.is_over() && (is_stopped() || is_named() && !waits_for_another())
}

/// Kills what this account started before it lost something, and what could still take it (see `is_changing`).
pub fn kill_changing(account: Uid) -> Result<(), NotDone> {
    let find = |look| {
        found_by(look, |pid, status| {
            Ok(status.uids().next() == Some(account.as_raw()) && is_changing(pid, status, look))
        })
    };
    let (found, census) = find(Look::Census)?;
    for pid in found {
        let _ = kill(pid, Signal::SIGKILL);
    }
    if census == Census::Partial {
        kill_stopped(&[account], &mut { find })?;
    }
    Ok(())
}

/// Whether a user namespace other than the first has this group (see user_namespaces(7)).
fn maps_group(map: &str, gid: u32) -> bool {
    map.lines().any(|line| {
        let mut words = line.split_whitespace().map(|word| word.parse::<u32>().unwrap_or_default()).skip(1);
        let (first, count) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        count < u32::MAX && gid.checked_sub(first).is_some_and(|after| after < count)
    })
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
        // The map of the IDs of a process that has ended.
        Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(None),
        Err(error) => Err(error),
    }
}

/// The status of a thread (see proc_pid_status(5)).
pub struct ThreadStatus(String);

impl ThreadStatus {
    /// Of a process that runs.
    pub fn of(pid: Pid) -> Option<ThreadStatus> {
        proc_file(pid, "status").ok().map(ThreadStatus)
    }

    fn line(&self, key: &str) -> &str {
        self.0.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default().trim()
    }

    fn numbers(&self, key: &str) -> impl Iterator<Item = u32> {
        self.line(key).split_whitespace().filter_map(|word| word.parse().ok())
    }

    /// The real one first.
    pub fn uids(&self) -> impl Iterator<Item = u32> {
        self.numbers("Uid:")
    }

    /// Whether it acts for a user, by its real, effective or saved ID.
    fn is_of(&self, uids: &[RangeInclusive<u32>]) -> bool {
        self.uids().any(|id| is_in(id, uids))
    }

    fn has_group(&self, gid: u32) -> bool {
        self.numbers("Gid:").chain(self.numbers("Groups:")).any(|id| id == gid)
    }

    /// Whether it has ended, or has a SIGKILL before it: then it waits in the kernel, and never gets out of it.
    fn is_over(&self) -> bool {
        let pending = u64::from_str_radix(self.line("SigPnd:"), 16).unwrap_or_default();
        self.line("State:").starts_with('Z') || pending & 1 << (Signal::SIGKILL as u32 - 1) != 0
    }
}

/// Whether a thread is ending: it never runs a program again, but may wait in the kernel for others.
pub fn is_exiting(stat: &str) -> bool {
    // The name is in parentheses, and may have some itself.
    let flags = stat.rsplit_once(')').and_then(|(_, fields)| fields.split_whitespace().nth(6)?.parse::<u32>().ok());
    flags.is_some_and(|flags| flags & EXITING != 0)
}

/// Ends all processes that are found, also those that they start meanwhile. `uids`: the accounts that they belong to. Processes that
/// start others too fast are stopped, and killed while they are.
pub fn end(uids: &[Uid], mut find: impl FnMut(Look) -> Result<(Vec<Pid>, Census), NotDone>) -> Result<(), NotDone> {
    let begun = Instant::now();
    let mut signals = &[Signal::SIGHUP, Signal::SIGTERM, Signal::SIGCONT][..];
    loop {
        let (found, census) = find(Look::Census)?;
        if found.is_empty() && census == Census::Complete {
            return Ok(());
        }
        if begun.elapsed() > MOST {
            return Err(NotDone::Failed(match found.as_slice() {
                [] => TOO_FAST.to_owned(),
                [pid] => format!("process {pid} did not end"),
                [first, ..] => format!("{} processes did not end, such as process {first}", found.len()),
            }));
        }
        for pid in &found {
            let is_changing = ThreadStatus::of(*pid).is_some_and(|status| is_changing(*pid, &status, Look::Census));
            // It does not go on before it ends.
            for signal in if is_changing { &[Signal::SIGKILL][..] } else { signals } {
                // It may have ended by itself.
                let _ = kill(*pid, *signal);
            }
        }
        let left =
            if found.is_empty() || begun.elapsed() > STUBBORN { kill_stopped(uids, &mut find)? } else { found.len() };
        if found.is_empty() && left == 0 {
            return Ok(());
        }
        signals = if begun.elapsed() < GRACE { &[] } else { &[Signal::SIGKILL] };
        sleep(Duration::from_millis(50));
    }
}

/// Stops all processes of these accounts, kills those that are found, and lets the others go on. Returns how many were found.
fn kill_stopped(
    uids: &[Uid],
    find: &mut impl FnMut(Look) -> Result<(Vec<Pid>, Census), NotDone>,
) -> Result<usize, NotDone> {
    let stopped = uids.iter().try_for_each(|uid| signal_all_of(*uid, Signal::SIGSTOP));
    let found = stopped.and_then(|()| find(Look::List).map(|(found, _)| found));
    for pid in found.iter().flatten() {
        let _ = kill(*pid, Signal::SIGKILL);
    }
    uids.iter().try_for_each(|uid| signal_all_of(*uid, Signal::SIGCONT))?;
    Ok(found?.len())
}

/// Signals all processes of an account at once: while the kernel does this, none of them can start another.
fn signal_all_of(uid: Uid, signal: Signal) -> Result<(), NotDone> {
    let root = Uid::from_raw(0);
    if uid.is_root() {
        return Err(NotDone::Failed("the processes of root are not stopped".to_owned()));
    }
    let failed =
        |error: Errno| NotDone::Failed(format!("the processes of the user ID {uid} can't be stopped: {error}"));
    // The signal goes to those whom the sender's real or effective ID may signal. The real one is nobody's, so none of them can
    // signal this process.
    setresuid(Uid::from_raw(NO_USER), uid, root).map_err(failed)?;
    let sent = kill(Pid::from_raw(-1), signal);
    setresuid(root, root, root).map_err(failed)?;
    match sent {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STATUS: &str = "Name:\tbash\nState:\tS (sleeping)\nUid:\t1001\t1001\t1001\t1001\nGid:\t100\t100\t100\t100\nGroups:\t27 1500 \n";

    fn has_group(status: &str, uids: &[RangeInclusive<u32>], gid: u32) -> bool {
        let status = ThreadStatus(status.to_owned());
        !status.is_over() && status.is_of(uids) && status.has_group(gid)
    }

    #[test]
    fn what_starts_once_the_list_is_read_is_looked_at_too() {
        let seen_by = |look| {
            let (mut seen, mut child) = (BTreeSet::new(), None);
            let census = each(look, |pid, _| {
                child.get_or_insert_with(|| std::process::Command::new("sleep").arg("60").spawn().unwrap());
                seen.insert(pid.as_raw().unsigned_abs());
                Ok(())
            });
            let mut child = child.unwrap();
            let is_seen = seen.contains(&child.id());
            child.kill().unwrap();
            child.wait().unwrap();
            (is_seen, census.unwrap())
        };
        // Tests beside this one may start processes all the time, so it need not be complete.
        assert!(seen_by(Look::Census).0);
        assert_eq!(seen_by(Look::List), (false, Census::Complete));
    }

    #[test]
    fn what_a_list_does_not_have_has_not_ended() {
        // Of an account whose processes can't be stopped, such as somebody else's.
        let nobody = [Pid::from_raw(i32::MAX)];
        let looks = |look| match look {
            Look::Census => Ok((nobody.to_vec(), Census::Partial)),
            Look::List => Ok((Vec::new(), Census::Complete)),
        };
        assert!(matches!(end(&[], looks), Err(NotDone::Failed(why)) if why.ends_with("did not end")));
    }

    #[test]
    fn what_is_not_found_while_others_start_too_fast_is_looked_for_in_a_list() {
        let mut lists = 0;
        let looks = |look| {
            lists += usize::from(look == Look::List);
            Ok((Vec::new(), if look == Look::List { Census::Complete } else { Census::Partial }))
        };
        assert!(end(&[], looks).is_ok());
        assert_eq!(lists, 1);
    }

    #[test]
    fn what_started_since_has_the_numbers_after_the_last() {
        let between = |last, now| numbers_between(last, now).unwrap();
        assert_eq!(between(5, 8), [6, 7, 8]);
        let largest: i32 = fs::read_to_string("/proc/sys/kernel/pid_max").unwrap().trim().parse().unwrap();
        assert_eq!(between(largest - 1, 2), [largest, 1, 2]);
        assert_eq!(between(largest, 1), [1]);
    }

    #[test]
    fn what_is_killed_or_ends_is_over() {
        let pending = |mask: &str| ThreadStatus(format!("{STATUS}SigPnd:\t{mask}\n")).is_over();
        assert!(pending("0000000000000100") && pending("0000000000004101"));
        assert!(!pending("0000000000004001") && !ThreadStatus(STATUS.to_owned()).is_over());
        let stat = |flags| format!("7 () 4 4 4 4 4 4) S 5 6 6 0 -1 {flags} 2 6 1 0 2 1 4 1 20 0 1 0 8208 0 0 1\n");
        assert!(is_exiting(&stat("4194316")) && !is_exiting(&stat("4194304")) && !is_exiting("7 (sh"));
    }

    #[test]
    fn a_namespace_can_have_a_group() {
        assert!(maps_group("         0       1500          1\n", 1500));
        assert!(
            maps_group("0 1000 1\n1 100000 65536\n", 165_535) && !maps_group("0 1000 1\n1 100000 65536\n", 165_536)
        );
        assert!(!maps_group("0 1000 1\n", 1500) && !maps_group("", 0));
        // The first namespace has all.
        assert!(!maps_group("         0          0 4294967295\n", 1500));
    }

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
