//! The host's mail system, through its `sendmail` program. The exit code is the outcome (sysexits.h).

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{Blame, Outcome};
use crate::config::trusted;
use crate::domain::contact::Email;
use crate::error::{Failure, Kind};

/// EX_USAGE, EX_NOUSER, EX_NOHOST: no later attempt can succeed.
const PERMANENT: [i32; 3] = [64, 67, 68];
/// EX_DATAERR, EX_NOPERM: nor can one with this message.
const REFUSED: [i32; 2] = [65, 77];

/// The program, if only root and this user can replace it.
pub fn checked(program: &Path) -> Result<PathBuf, Failure> {
    trusted(program).map_err(|why| {
        Failure::new(Kind::Invalid, format!("sendmail = {:?} cannot be used: {why}", program.display().to_string()))
            .hint("name a program that only you, or root, can change")
    })?;
    // Called by its own name: one program can be several.
    Ok(program.to_owned())
}

pub fn send(program: &Path, from: &Email, to: &Email, message: &[u8], timeout: Duration) -> Outcome {
    let shown = program.display();
    // After `--` no address is taken for an option.
    let mut command = Command::new(program);
    command.args(["-i", "-f", &from.on_the_wire(), "--", &to.on_the_wire()]);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return Outcome::route_failed(format!("{shown} can't be run: {error}")),
    };
    // Written in a thread, so that a program that does not read can't block us.
    if let Some(mut stdin) = child.stdin.take() {
        let message = message.to_vec();
        thread::spawn(move || drop(stdin.write_all(&message)));
    }
    let until = Instant::now() + timeout;
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Outcome::sent(format!("{shown} accepted it")),
            Ok(Some(status)) => {
                let why = format!("{shown} ended with {status}");
                return match status.code() {
                    Some(code) if PERMANENT.contains(&code) => Outcome::refused(why),
                    Some(code) if REFUSED.contains(&code) => Outcome::refused(why).blaming(Blame::Content),
                    Some(_) | None => Outcome::failed(why).blaming(Blame::Unclear),
                };
            }
            Ok(None) if Instant::now() < until => sleep(Duration::from_millis(5)),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Outcome::route_failed(format!("{shown} did not end in time")).blaming(Blame::Unclear);
            }
            Err(error) => return Outcome::route_failed(format!("{shown}: {error}")),
        }
    }
}
