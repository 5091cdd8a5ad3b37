//! The system calls of a run that change files, in their order.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::strace::under_strace;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Opened with O_CREAT: creates the file if there is none.
    Create {
        path: PathBuf,
        mode: u32,
    },
    CreateFolder {
        path: PathBuf,
    },
    /// At this place, or at the end.
    Write {
        path: PathBuf,
        at: Option<usize>,
        bytes: Vec<u8>,
    },
    SetLength {
        path: PathBuf,
        length: usize,
    },
    /// Of a file or a folder.
    Sync {
        path: PathBuf,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Link {
        from: PathBuf,
        to: PathBuf,
    },
    Remove {
        path: PathBuf,
    },
    /// The command said on standard output what it did.
    Told,
}

const TRACED: &str = "openat,open,creat,mkdir,mkdirat,write,pwrite64,writev,pwritev,copy_file_range,sendfile,ftruncate,truncate,\
fallocate,fsync,fdatasync,rename,renameat,renameat2,link,linkat,unlink,unlinkat,rmdir,symlink,symlinkat";

/// Runs the command, and returns what it does to the files in this folder.
pub fn record(command: &Command, folder: &Path) -> Vec<Op> {
    let trace = tempfile::NamedTempFile::new().unwrap();
    let traced = format!("trace={TRACED}");
    let options = ["--seccomp-bpf", "-y", "-xx", "-s", "100000000", "-e", &traced];
    let output = under_strace(command, trace.path(), &options).output().unwrap();
    assert!(output.status.code().is_some(), "{output:?}");
    let mut ops = Vec::new();
    for call in calls(&fs::read_to_string(trace.path()).unwrap()) {
        ops.extend(call.ops(folder));
    }
    ops
}

/// A system call that succeeded.
struct Call {
    name: String,
    arguments: Vec<String>,
    result: usize,
    /// Of the process that was started first.
    is_first: bool,
}

/// The calls, in the order in which they ended.
fn calls(trace: &str) -> Vec<Call> {
    let mut begun: BTreeMap<&str, &str> = BTreeMap::new();
    let first = trace.split(' ').next().unwrap_or_default();
    let mut calls = Vec::new();
    for line in trace.lines() {
        let (process, text) = line.split_once(' ').unwrap();
        let text = text.trim_start();
        if let Some(half) = text.strip_suffix(" <unfinished ...>") {
            begun.insert(process, half);
            continue;
        }
        let whole = match text.strip_prefix("<... ") {
            Some(rest) => {
                let rest = rest.split_once(" resumed>").unwrap().1;
                format!("{}{rest}", begun.remove(process).unwrap())
            }
            None => text.to_owned(),
        };
        calls.extend(parsed(&whole, process == first));
    }
    calls
}

fn parsed(text: &str, is_first: bool) -> Option<Call> {
    let (name, rest) = text.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(") ")?;
    let result = result.trim_start().strip_prefix("= ")?;
    let result = result.split([' ', '<']).next()?.parse().ok()?;
    let arguments = arguments.split(", ").map(str::to_owned).collect();
    Some(Call { name: name.to_owned(), arguments, result, is_first })
}

impl Call {
    fn ops(&self, folder: &Path) -> Vec<Op> {
        let inside = |path: &Path| path.starts_with(folder);
        let of = |at: usize| descriptor(&self.arguments[at]).filter(|path| inside(path));
        let named = |at: usize| Some(folder.join(string(&self.arguments[at]))).filter(|path| inside(path));
        let below = |at: usize| {
            let start = descriptor(&self.arguments[at]).unwrap_or_else(|| folder.to_owned());
            Some(start.join(string(&self.arguments[at + 1]))).filter(|path| inside(path))
        };
        let number = |at: usize| self.arguments[at].parse().unwrap();
        let one = |op: Option<Op>| op.into_iter().collect();
        match self.name.as_str() {
            "openat" => below(0).map_or_else(Vec::new, |path| self.opened(path)),
            "mkdir" => one(named(0).map(|path| Op::CreateFolder { path })),
            "mkdirat" => one(below(0).map(|path| Op::CreateFolder { path })),
            "write" if self.is_first && self.arguments[0].starts_with("1<") => vec![Op::Told],
            "write" => one(of(0).map(|path| Op::Write { path, at: None, bytes: self.written() })),
            "pwrite64" => one(of(0).map(|path| Op::Write { path, at: Some(number(3)), bytes: self.written() })),
            "ftruncate" => one(of(0).map(|path| Op::SetLength { path, length: number(1) })),
            "fsync" | "fdatasync" => one(of(0).map(|path| Op::Sync { path })),
            "rename" => one(named(0).zip(named(1)).map(|(from, to)| Op::Rename { from, to })),
            "renameat" | "renameat2" => one(below(0).zip(below(2)).map(|(from, to)| Op::Rename { from, to })),
            "link" => one(named(0).zip(named(1)).map(|(from, to)| Op::Link { from, to })),
            "linkat" => one(below(0).zip(below(2)).map(|(from, to)| Op::Link { from, to })),
            "unlink" | "rmdir" => one(named(0).map(|path| Op::Remove { path })),
            "unlinkat" => one(below(0).map(|path| Op::Remove { path })),
            other => {
                let here = (0..self.arguments.len()).any(|at| of(at).is_some());
                assert!(!here, "{other} is not in the model: {:?}", self.arguments);
                Vec::new()
            }
        }
    }

    fn opened(&self, path: PathBuf) -> Vec<Op> {
        let flags: Vec<&str> = self.arguments[2].split('|').collect();
        let mut ops = Vec::new();
        if flags.contains(&"O_CREAT") {
            let mode = u32::from_str_radix(&self.arguments[3], 8).unwrap();
            ops.push(Op::Create { path: path.clone(), mode });
        }
        if flags.contains(&"O_TRUNC") {
            ops.push(Op::SetLength { path, length: 0 });
        }
        ops
    }

    /// As much as was written.
    fn written(&self) -> Vec<u8> {
        let mut bytes = bytes(&self.arguments[1]);
        bytes.truncate(self.result);
        bytes
    }
}

/// The path of an open file that has a name: `3</folder/file>`.
fn descriptor(argument: &str) -> Option<PathBuf> {
    let path = argument.split_once('<')?.1.strip_suffix('>')?;
    Some(PathBuf::from(String::from_utf8(bytes(path)).ok()?))
}

fn string(argument: &str) -> String {
    String::from_utf8(bytes(argument)).unwrap()
}

/// What strace shows as `\x41\x42`.
fn bytes(text: &str) -> Vec<u8> {
    assert!(!text.ends_with("..."), "strace has cut it short");
    text.trim_matches('"').split("\\x").skip(1).map(|hex| u8::from_str_radix(hex, 16).unwrap()).collect()
}
