//! One run at a time for each system, and an end for the program of a run that was killed.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use super::process_table::{boot, find, processes};
use crate::domain::name::Name;
use crate::error::Failure;
use crate::store;

/// Bytes of the lock file that are locked: by the run, and by the one that waits for it.
const RUN: i64 = 1 << 20;
const NEXT: i64 = RUN + 1;
/// How long a program of a killed run may take to end after SIGTERM, before SIGKILL.
const GRACE: Duration = Duration::from_secs(2);

/// The lock of one system, held until it is dropped or the process ends. The file names the program that runs under it.
pub struct SystemLock {
    file: File,
    path: PathBuf,
}

/// How long to wait for a lock.
pub struct LockWait {
    /// To be the one that waits for the run under way.
    pub queue: Duration,
    /// For that run.
    pub run: Duration,
}

/// Why the lock was not taken.
pub enum NoLock {
    /// Another process waits for it, and will see all that is recorded now.
    Waiting,
    /// The run under way did not end in time.
    Busy,
    Failure(Failure),
}

impl SystemLock {
    /// Waits for the lock. Where another process waits for it already, this one has nothing to add.
    pub fn take(journal: &Path, connector: &Name, patience: &LockWait) -> Result<SystemLock, NoLock> {
        let path = store::beside(journal, &format!("-{connector}.lock"));
        let failed = |error: store::Error| NoLock::Failure(error.into());
        let file = store::open_private(&path).map_err(failed)?;
        let waiting = store::open_private(&path).map_err(failed)?;
        let steps = [(&waiting, NEXT, patience.queue, NoLock::Waiting), (&file, RUN, patience.run, NoLock::Busy)];
        for (file, byte, patience, otherwise) in steps {
            let until = Instant::now() + patience;
            while !store::try_lock(file, byte, &path).map_err(failed)? {
                if Instant::now() >= until {
                    return Err(otherwise);
                }
                sleep(Duration::from_millis(10));
            }
        }
        let lock = SystemLock { file, path };
        lock.end_leftover();
        Ok(lock)
    }

    /// Notes the program that is about to work. It is written before the program gets anything to do, so that whatever it
    /// does after this process was killed, the next run ends it first.
    pub fn note(&self, program: Pid) -> Result<(), String> {
        let started = find(program).map(|found| found.started).unwrap_or_default();
        let note = format!("{program} {started} {}", boot());
        self.write(&note).map_err(|error| format!("{}: {error}", self.path.display()))
    }

    pub fn forget(&self) {
        // A note of a program that has ended does no harm.
        let _ = self.write("");
    }

    fn write(&self, text: &str) -> std::io::Result<()> {
        let mut file = &self.file;
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(text.as_bytes())
    }

    /// Ends the program of a run that was killed, with its group.
    fn end_leftover(&self) {
        let mut note = String::new();
        let mut file = &self.file;
        if file.rewind().and_then(|()| file.read_to_string(&mut note)).is_err() {
            return;
        }
        let words: Vec<&str> = note.split(' ').collect();
        let [group, started, booted] = words.as_slice() else { return };
        let Some(group) = group.parse().ok().filter(|&group: &i32| group > 1).map(Pid::from_raw) else { return };
        // While the group exists, no other process gets its number.
        let other = find(group).is_some_and(|found| found.started.to_string() != *started);
        if *booted != boot() || other || !is_running(group) {
            return;
        }
        let _ = killpg(group, Signal::SIGTERM);
        let until = Instant::now() + GRACE;
        while is_running(group) && Instant::now() < until {
            sleep(Duration::from_millis(5));
        }
        let _ = killpg(group, Signal::SIGKILL);
        let until = Instant::now() + GRACE;
        while is_running(group) && Instant::now() < until {
            sleep(Duration::from_millis(5));
        }
        self.forget();
    }
}

/// Ends all processes that this one is the parent of: those that programs left behind, which the kernel gave to this process
/// (see `adopt_strays`). Only when no program runs any more. `others`: children from before.
pub fn end_strays(others: &[Pid]) {
    const ROUNDS: usize = 100;
    for _ in 0..ROUNDS {
        let strays: Vec<Pid> = children().filter(|child| !others.contains(child)).collect();
        if strays.is_empty() {
            return;
        }
        for stray in strays {
            let _ = kill(stray, Signal::SIGKILL);
            let _ = waitpid(stray, Some(WaitPidFlag::WNOHANG));
        }
        sleep(Duration::from_millis(2));
    }
}

/// Processes whose parents end, of those that this process starts, become its children. So a program can't leave one behind by
/// detaching it. Returns the children that this process has already, from the program that started it.
pub fn adopt_strays() -> Vec<Pid> {
    // Where the system can't do this, only the process groups are ended.
    let _ = nix::sys::prctl::set_child_subreaper(true);
    children().collect()
}

fn children() -> impl Iterator<Item = Pid> {
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    processes().filter(move |found| found.parent == own).map(|found| found.pid)
}

/// Whether a process of this group runs.
fn is_running(group: Pid) -> bool {
    processes().any(|found| found.group == group.as_raw() && !found.zombie)
}
