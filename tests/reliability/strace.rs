//! Runs a command under strace, which makes one of its system calls fail, or kills it there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The system calls that change files or speak to others.
pub const CALLS: [&str; 20] = [
    "write",
    "writev",
    "pwrite64",
    "pwritev",
    "fsync",
    "fdatasync",
    "ftruncate",
    "fallocate",
    "rename",
    "renameat",
    "renameat2",
    "link",
    "linkat",
    "unlink",
    "unlinkat",
    "mkdir",
    "mkdirat",
    "connect",
    "sendto",
    "sendmsg",
];

/// What happens at the `nth` call of this name.
#[derive(Debug, Clone, Copy)]
pub struct Injection<'i> {
    pub call: &'i str,
    pub nth: usize,
    /// As strace has it: `signal=KILL`, `error=EIO`.
    pub what: &'i str,
}

/// How a command ended under strace.
#[derive(Debug)]
pub struct Traced {
    /// None: a signal killed it.
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
    /// The system call at which the injection happened, in this process or a child of it.
    pub injected: Option<String>,
}

impl Traced {
    pub fn new(output: Output, injected: Option<String>) -> Traced {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Traced { code: output.status.code(), out: text(output.stdout), err: text(output.stderr), injected }
    }
}

/// Runs the command with this happening to it.
pub fn inject(command: &Command, injection: Injection<'_>) -> Traced {
    let trace = tempfile::NamedTempFile::new().unwrap();
    let Injection { call, nth, what } = injection;
    let expression = format!("inject={call}:{what}:when={nth}");
    let traced = format!("trace={call}");
    let mut strace = under_strace(command, trace.path(), &["-e", &traced, "-e", &expression]);
    let output = strace.output().unwrap();
    let trace = fs::read_to_string(trace.path()).unwrap();
    Traced::new(output, injected(&trace))
}

/// The call of a trace at which something was injected.
pub fn injected(trace: &str) -> Option<String> {
    let is_it = |line: &&str| line.contains("(INJECTED)") || line.contains("killed by SIGKILL");
    trace.lines().find(is_it).map(str::to_owned)
}

/// Runs the command with a limit on the size of its files: a write across it is a short one, and the next fails.
pub fn limit_file_size(command: &Command, bytes: u64) -> Traced {
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; exec prlimit --fsize=\"$0\" -- \"$@\""]).arg(bytes.to_string());
    around(command, &mut shell);
    Traced::new(shell.output().unwrap(), Some(format!("files of at most {bytes} bytes")))
}

/// How often each call is made, by the process that makes it most often: strace counts for each process alone.
pub fn count_calls(command: &Command) -> BTreeMap<&'static str, usize> {
    let trace = tempfile::NamedTempFile::new().unwrap();
    let traced = format!("trace={}", CALLS.join(","));
    let output = under_strace(command, trace.path(), &["-e", &traced]).output().unwrap();
    let text = fs::read_to_string(trace.path()).unwrap();
    assert!(text.contains("exited with"), "it was not traced: {output:?}\n{text}");
    counts(&text)
}

/// How often each call is in a trace.
pub fn counts(trace: &str) -> BTreeMap<&'static str, usize> {
    let mut counts: BTreeMap<(&'static str, String), usize> = BTreeMap::new();
    for line in trace.lines() {
        let Some((process, call)) = line.split_once(' ') else { continue };
        if let Some(name) = CALLS.into_iter().find(|name| call.trim_start().starts_with(&format!("{name}("))) {
            *counts.entry((name, process.to_owned())).or_default() += 1;
        }
    }
    let mut most = BTreeMap::new();
    for ((name, _), count) in counts {
        let known: &mut usize = most.entry(name).or_default();
        *known = count.max(*known);
    }
    most
}

/// The same command, with strace before it.
pub fn under_strace(command: &Command, trace: &Path, options: &[&str]) -> Command {
    let mut strace = Command::new("strace");
    // The process above the command is this one, as without strace.
    strace.args(["-D", "-f", "-q", "-o"]).arg(trace).args(options).arg("--");
    around(command, &mut strace);
    strace
}

/// Has this program run the command, in the same surroundings.
fn around(command: &Command, program: &mut Command) {
    let folder = command.get_current_dir().map_or_else(|| PathBuf::from("/"), Path::to_owned);
    program.arg(command.get_program()).args(command.get_args()).env_clear();
    program.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    // A file of this name is what the command reads.
    program.stdin(fs::File::open(folder.join("input")).map_or_else(|_| Stdio::null(), Stdio::from));
    program.current_dir(folder);
}
