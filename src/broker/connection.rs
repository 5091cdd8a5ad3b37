//! One connection, one process, one command: the server's side, on standard input.
//!
//! The order of work is the defence: nothing inherited, then who is there, then the whole command, and only then the
//! database. Nobody holds the write lock by being slow, for nobody has it before the last byte has come.

use std::fs::File;
use std::io::{BufWriter, Read, Write as _, stdin};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc::{F_WRLCK, SEEK_SET, flock};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::Uid;

use super::frame::{self, Answer, Broken};
use super::{looks_after, privacy};
use crate::command::{Command, End};
use crate::config::{self, Shared};
use crate::error::{Failure, Kind};
use crate::identity;
use crate::ledger::{self, Caller};
use crate::store::{self, Store};

/// A command has to be there whole within this.
const COMMAND_WITHIN: Duration = Duration::from_secs(2);
/// And a file that follows it.
const FILE_WITHIN: Duration = Duration::from_secs(10);
/// A client that takes nothing for so long is left. (Somebody reads what it shows, in a pager: 10 minutes.)
const STALLED: Duration = Duration::from_secs(600);
/// No answer takes longer: an hour.
const ANSWER_WITHIN: Duration = Duration::from_secs(3600);
/// So many connections of one user are served at once.
pub const PLACES: usize = 4;

/// Serves the one command that comes on standard input.
pub fn serve_connection() -> Result<(), Failure> {
    privacy::clear_environment()?;
    privacy::close_other_descriptors()?;
    let input = stdin().as_fd().try_clone_to_owned().map_err(|error| io(&error))?;
    let stream = UnixStream::from(input);
    let peer = getsockopt(&stream, PeerCredentials).map_err(|error| {
        Failure::new(Kind::Usage, format!("standard input is no connection: {}", error.desc()))
            .hint("`access serve --connection` is started by the system, for each connection")
    })?;
    let uid = Uid::from_raw(peer.uid());
    let answer = match serve(&stream, uid) {
        Ok(Served::Done(end)) => Answer::Done(end),
        Ok(Served::Nothing) => return Ok(()),
        Err(failure) => Answer::Failed(failure),
    };
    // Whoever has left gets no answer, and what was done is done.
    let _ = frame::answer(&mut Patient::for_answer(&stream), &answer);
    let _ = stream.shutdown(Shutdown::Both);
    Ok(())
}

enum Served {
    Done(End),
    /// There was no place free, or the client left without a word.
    Nothing,
}

fn serve(stream: &UnixStream, uid: Uid) -> Result<Served, Failure> {
    let begun = || -> Result<(Shared, Option<File>), Failure> {
        let shared = config::shared()?.ok_or_else(no_shared_host)?;
        privacy::become_owner(&shared.database)?;
        privacy::close_up()?;
        let place = take_place(&shared.database, uid)?;
        Ok((shared, place))
    };
    let begun = begun();
    if let Ok((_, None)) = &begun {
        // Unsaid, so that the client knows that nothing was begun, and tries again.
        return Ok(Served::Nothing);
    }
    (&mut &*stream).write_all(&frame::GREETING).map_err(|error| io(&error))?;
    let (shared, _place) = begun?;
    Connection { stream, shared: &shared, uid }.serve()
}

pub fn no_shared_host() -> Failure {
    Failure::new(Kind::Invalid, format!("{} names no socket, so this is no shared host", config::SYSTEM))
        .hint("as root: access init --shared")
}

fn io(error: &std::io::Error) -> Failure {
    Failure::new(Kind::Io, format!("the connection failed: {error}"))
}

struct Connection<'c> {
    stream: &'c UnixStream,
    shared: &'c Shared,
    uid: Uid,
}

impl Connection<'_> {
    fn serve(&self) -> Result<Served, Failure> {
        let mut slowly = Deadline { stream: self.stream, until: Instant::now() + COMMAND_WITHIN };
        let command = match read_command(&mut slowly) {
            Ok(Some(command)) => command,
            Ok(None) => return Ok(Served::Nothing),
            Err(failure) => return Err(self.refuse(failure)),
        };
        let caller = match identity::login_of(self.uid) {
            Ok(login) => Caller { login, root: self.uid.is_root(), acting_as: None },
            Err(failure) => return Err(self.refuse(Failure { kind: Kind::Refused, ..failure })),
        };
        let command = match command {
            Command::TeamApply { dry_run, seen, against, .. } => {
                let text = self.read_file(&caller)?;
                Command::TeamApply { text, dry_run, seen, against }
            }
            other => {
                if let Err(failure) = whole(&mut slowly).and_then(|()| is_for(&other, self.uid)) {
                    return Err(self.refuse(failure));
                }
                other
            }
        };
        let store = Store::open(&self.shared.database)?;
        let mut out = BufWriter::with_capacity(64 << 10, Patient::for_answer(self.stream));
        let end = ledger::carry_out(&store, &caller, &identity::clock, command, &mut |reply| {
            frame::answer(&mut out, &Answer::Piece(reply)).map_err(|error| io(&error))
        });
        out.flush().map_err(|error| io(&error))?;
        end.map(Served::Done)
    }

    /// The team file comes after the command, and only from somebody who may apply one.
    fn read_file(&self, caller: &Caller) -> Result<String, Failure> {
        if self.uid.is_root() {
            return Err(self.refuse(root_decides_nothing()));
        }
        let store = Store::open(&self.shared.database)?;
        ledger::may_apply_team(&store, caller, &identity::clock)?;
        drop(store);
        frame::answer(&mut &*self.stream, &Answer::SendFile).map_err(|error| io(&error))?;
        let mut slowly = Deadline { stream: self.stream, until: Instant::now() + FILE_WITHIN };
        let bytes = frame::read(&mut slowly, frame::FILE)
            .map_err(|broken| not_a_command(&broken))
            .and_then(|bytes| whole(&mut slowly).map(|()| bytes))
            .map_err(|failure| self.refuse(failure))?;
        String::from_utf8(bytes).map_err(|_| Failure::new(Kind::Invalid, "the team file is not a text (UTF-8)"))
    }

    /// Puts on the record that this user was refused, as what the kernel says and the system knows of them.
    fn refuse(&self, failure: Failure) -> Failure {
        let login = identity::login_of(self.uid).ok();
        // No user can be called so: a name that is a number begins with a #, as in sudo's log.
        let login = login.or_else(|| format!("#{}", self.uid).parse().ok());
        if let Some(login) = login {
            // The answer is no whether or not that can be written down.
            let _ = Store::open(&self.shared.database)
                .map_err(Failure::from)
                .and_then(|store| ledger::record_refused(&store, &login, &identity::clock, &failure.message));
        }
        failure
    }
}

fn read_command(from: &mut impl Read) -> Result<Option<Command>, Failure> {
    let mut greeting = frame::GREETING;
    if frame::fill(from, &mut greeting[..1]).is_err() {
        // Silence is no attempt at anything.
        return Ok(None);
    }
    frame::fill(from, &mut greeting[1..]).map_err(|broken| not_a_command(&broken))?;
    if greeting != frame::GREETING {
        return Err(if greeting.starts_with(b"access ") {
            Failure::new(Kind::Refused, "this client speaks another version than the server")
                .hint("install the same version of access for both")
        } else {
            Failure::new(Kind::Refused, "what came is not a command")
        });
    }
    let body = frame::read(from, frame::COMMAND).map_err(|broken| not_a_command(&broken))?;
    let command = serde_json::from_slice(&body).map_err(|_| {
        Failure::new(Kind::Refused, "what came is not a command of this version")
            .hint("install the same version of access for both")
    })?;
    Ok(Some(command))
}

/// After the command its sender has to have ended.
fn whole(from: &mut impl Read) -> Result<(), Failure> {
    match frame::fill(from, &mut [0]) {
        Err(Broken::Nothing) => Ok(()),
        Ok(()) => Err(Failure::new(Kind::Refused, "more came than one command")),
        Err(broken) => Err(not_a_command(&broken)),
    }
}

fn not_a_command(broken: &Broken) -> Failure {
    let why = match broken {
        Broken::Nothing | Broken::Half => "half a command came".to_owned(),
        Broken::TooLong => "a command came that is too long".to_owned(),
        Broken::TooSlow => "the command did not come in time".to_owned(),
        Broken::Io(error) => format!("the command can't be read: {error}"),
    };
    Failure::new(Kind::Refused, why)
}

/// Whether the command is one that this user can give over the socket at all.
fn is_for(command: &Command, uid: Uid) -> Result<(), Failure> {
    if looks_after(command) {
        return Err(Failure::new(Kind::Refused, "only root and the user who owns the database may do this")
            .hint("as root, on this machine: the same command"));
    }
    // Root asks about others, for the gates that root keeps.
    let about_another = matches!(command, Command::Check { user, login, .. } if user.is_some() || login.is_some());
    if uid.is_root() && !about_another { Err(root_decides_nothing()) } else { Ok(()) }
}

fn root_decides_nothing() -> Failure {
    Failure::new(Kind::Refused, "root is nobody's member on a shared host")
        .hint("root runs `access check --user NAME` and `--login NAME`, `expire`, `backup`, `doctor` and `serve`")
}

/// One of a user's places, held until it is dropped, which the kernel does when the process ends. None: all are taken.
/// It is a lock on a byte of a file; bytes need not be there to be locked.
fn take_place(database: &Path, uid: Uid) -> Result<Option<File>, Failure> {
    let file = store::open_private(&beside(database))?;
    for place in 0..PLACES {
        let wanted = byte(i64::from(uid.as_raw()) * PLACES as i64 + place as i64);
        if fcntl(&file, FcntlArg::F_OFD_SETLK(&wanted)).is_ok() {
            return Ok(Some(file));
        }
    }
    Ok(None)
}

pub fn beside(database: &Path) -> std::path::PathBuf {
    store::beside(database, ".places")
}

#[expect(clippy::cast_possible_truncation, reason = "both are small constants")]
fn byte(start: i64) -> flock {
    flock { l_type: F_WRLCK as i16, l_whence: SEEK_SET as i16, l_start: start, l_len: 1, l_pid: 0 }
}

/// Reads up to a moment, however small the pieces are in which it comes.
struct Deadline<'s> {
    stream: &'s UnixStream,
    until: Instant,
}

impl Read for Deadline<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(std::io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        self.stream.read(buffer)
    }
}

/// Writes to a client as long as it takes something, up to a moment.
struct Patient<'s> {
    stream: &'s UnixStream,
    until: Instant,
}

impl<'s> Patient<'s> {
    fn for_answer(stream: &'s UnixStream) -> Patient<'s> {
        Patient { stream, until: Instant::now() + ANSWER_WITHIN }
    }
}

impl std::io::Write for Patient<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(std::io::ErrorKind::TimedOut.into());
        }
        self.stream.set_write_timeout(Some(left.min(STALLED)))?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
