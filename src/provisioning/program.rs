//! Runs the program of a connector. It is not trusted to behave: it gets a clean environment and a time limit, its output is
//! capped, and nothing of it is left running.

use std::io::{Read, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use super::answers::{Answered, ProgramEnd, answers, one_line};
use crate::config::Connector;
use crate::connectors::TIME_LIMIT;
use crate::connectors::protocol::{ConnectorAnswer, Operation};

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The most that is read of its standard output: 1 MiB.
const OUTPUT: usize = 1 << 20;
/// What is kept of its standard error.
const TAIL: usize = 4 << 10;
/// How long a program may take to end after SIGTERM, before SIGKILL.
const GRACE: Duration = Duration::from_secs(2);
/// How long the output may stay open after the program has ended: a process that it left behind can hold it.
const LINGER: Duration = Duration::from_millis(500);
/// How often a program is tried that is just being written.
const TEXT_BUSY: usize = 20;

/// The longest that a run of the program takes.
pub fn longest(connector: &Connector) -> Duration {
    connector.timeout() + GRACE + LINGER
}

/// Runs the program with these operations. Returns an answer for each. `started` is called before the program gets anything
/// to do. If it fails, nothing is done.
pub fn run(
    connector: &Connector,
    operations: &[Operation],
    started: impl FnOnce(Pid) -> Result<(), String>,
) -> Vec<Answered> {
    let not_run = |why: String| vec![Ok(ConnectorAnswer::Failed(why)); operations.len()];
    let mut input = Vec::new();
    for operation in operations {
        if let Err(error) = serde_json::to_writer(&mut input, operation) {
            return not_run(error.to_string());
        }
        input.push(b'\n');
    }
    let mut child = match start(connector) {
        Ok(child) => child,
        Err(why) => return not_run(why),
    };
    let Some(group) = i32::try_from(child.id()).ok().map(Pid::from_raw) else {
        return not_run("the program has no process ID".to_owned());
    };
    if let Err(why) = started(group) {
        end(group, Signal::SIGKILL);
        let _ = child.wait();
        return not_run(why);
    }
    let (output, errors) = (ProgramPipe::default(), ProgramPipe::default());
    // Threads, so that a program that does not read, or writes too much, can't block this one.
    if let Some(mut stdin) = child.stdin.take() {
        thread::spawn(move || drop(stdin.write_all(&input)));
    }
    if let Some(stdout) = child.stdout.take() {
        output.follow(stdout, Keep::First(OUTPUT));
    }
    if let Some(stderr) = child.stderr.take() {
        errors.follow(stderr, Keep::Last(TAIL));
    }
    let stopped = watch(group, connector.timeout(), &output, &errors);
    // What it left behind in its group. The group still exists, because its first process is not waited for yet.
    end(group, Signal::SIGKILL);
    let status = child.wait();
    let ended = match (stopped, status) {
        (Some(why), _) => ProgramEnd::Stopped(why),
        (None, Ok(status)) => ProgramEnd::of(status),
        (None, Err(error)) => ProgramEnd::Stopped(error.to_string()),
    };
    let said = one_line(&String::from_utf8_lossy(&errors.take().bytes));
    answers(operations, &output.take().bytes, &ended, &said)
}

/// Starts the program, if nobody else could have changed it.
fn start(connector: &Connector) -> Result<Child, String> {
    let program = connector.program().map_err(|why| format!("the program is not run: {why}"))?;
    let (named, arguments) = connector.command.split_first().ok_or("the command is empty")?;
    let mut command = Command::new(program);
    command.arg0(named).args(arguments);
    command.env_clear().env("PATH", PATH).env("LANG", "C.UTF-8").env("HOME", "/").current_dir("/");
    command.env(TIME_LIMIT, connector.timeout().as_secs().to_string());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut tries = 0;
    loop {
        match command.spawn() {
            Err(error) if error.raw_os_error() == Some(Errno::ETXTBSY as i32) && tries < TEXT_BUSY => {
                tries += 1;
                thread::sleep(Duration::from_millis(10));
            }
            started => return started.map_err(|error| format!("{named} can't be run: {error}")),
        }
    }
}

/// Waits until the program has ended and its output is read. Returns why it was stopped, if it was.
fn watch(group: Pid, limit: Duration, output: &ProgramPipe, errors: &ProgramPipe) -> Option<String> {
    let deadline = Instant::now() + limit;
    let mut pause = Duration::from_millis(1);
    let mut over: Option<Instant> = None;
    loop {
        if over.is_none() && has_ended(group) {
            over = Some(Instant::now());
        }
        let is_read = output.is_over() && errors.is_over();
        match over {
            Some(_) if is_read => return None,
            Some(ended) if ended.elapsed() > LINGER => return None,
            _ => {}
        }
        let why = if output.is_full() {
            Some(format!("it printed more than {OUTPUT} bytes"))
        } else if over.is_none() && Instant::now() >= deadline {
            Some(format!("it did not end within {}", crate::domain::duration::spell(seconds(limit))))
        } else {
            None
        };
        if why.is_some() {
            stop(group);
            return why;
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

fn seconds(limit: Duration) -> i64 {
    i64::try_from(limit.as_secs()).unwrap_or(i64::MAX)
}

/// Ends a process group: SIGTERM, and SIGKILL if that is not enough.
fn stop(group: Pid) {
    end(group, Signal::SIGTERM);
    let until = Instant::now() + GRACE;
    while !has_ended(group) && Instant::now() < until {
        thread::sleep(Duration::from_millis(5));
    }
    end(group, Signal::SIGKILL);
}

fn end(group: Pid, signal: Signal) {
    // It may have ended by itself.
    let _ = killpg(group, signal);
}

/// Whether a child has ended. It stays to be waited for, so that no other process can get its number.
fn has_ended(child: Pid) -> bool {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    !matches!(waitid(Id::Pid(child), flags), Ok(WaitStatus::StillAlive) | Err(Errno::EINTR))
}

/// Which part of a long output is kept.
#[derive(Clone, Copy)]
enum Keep {
    /// Reading ends there.
    First(usize),
    Last(usize),
}

/// What was read from a pipe so far.
#[derive(Default)]
struct Piped {
    bytes: Vec<u8>,
    full: bool,
    over: bool,
}

#[derive(Default, Clone)]
struct ProgramPipe(Arc<Mutex<Piped>>);

impl ProgramPipe {
    fn with<T>(&self, work: impl FnOnce(&mut Piped) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn is_over(&self) -> bool {
        self.with(|piped| piped.over)
    }

    fn is_full(&self) -> bool {
        self.with(|piped| piped.full)
    }

    fn take(&self) -> Piped {
        self.with(std::mem::take)
    }

    /// Reads on a thread. If a process that escaped holds the pipe, the thread stays until that process ends.
    fn follow(&self, mut from: impl Read + Send + 'static, keep: Keep) {
        let pipe = self.clone();
        thread::spawn(move || {
            let mut chunk = [0; 16 << 10];
            loop {
                match from.read(&mut chunk) {
                    Ok(0) => break,
                    Ok(count) => {
                        if pipe.with(|piped| piped.add(&chunk[..count], keep)) {
                            break;
                        }
                    }
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(_) => break,
                }
            }
            pipe.with(|piped| piped.over = true);
        });
    }
}

impl Piped {
    /// Returns whether it is full.
    fn add(&mut self, bytes: &[u8], keep: Keep) -> bool {
        match keep {
            Keep::First(most) => {
                self.full = self.bytes.len() + bytes.len() > most;
                if !self.full {
                    self.bytes.extend_from_slice(bytes);
                }
                self.full
            }
            Keep::Last(most) => {
                self.bytes.extend_from_slice(bytes);
                let surplus = self.bytes.len().saturating_sub(most);
                self.bytes.drain(..surplus);
                false
            }
        }
    }
}
