//! One connection, one process, one command: the server's side, on standard input.
//!
//! The order of work is the defence: nothing inherited, then a place by who is there, then the whole command, then who that
//! is now, and only then what the command asks. Nobody holds the write lock by being slow, because nobody has it before
//! the last byte has come and the name service has answered.

use std::fs::File;
use std::io::{BufWriter, Read, Write as _, stdin};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc::{F_WRLCK, SEEK_SET, flock};
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use nix::unistd::Uid;
use serde_json::Value;

use super::{calls, has_account, open, process};
use crate::config;
use crate::config::Shared;
use crate::domain::member::Login;
use crate::error::{Failure, Kind};
use crate::frame;
use crate::frame::{Answer, Broken, Timed};
use crate::identity;
use crate::service;
use crate::service::{Call, Caller, Callers, Outside, Service};
use crate::store;
use crate::time_zone;

/// A command has to be there whole within this.
const COMMAND_WITHIN: Duration = Duration::from_secs(2);
/// And a file that follows it.
const FILE_WITHIN: Duration = Duration::from_secs(10);
/// A client that takes nothing for so long is left. (Somebody reads what it shows, in a pager: 10 minutes.)
const STALLED: Duration = Duration::from_secs(600);
/// No answer takes longer: an hour.
const ANSWER_WITHIN: Duration = Duration::from_secs(3600);
/// So many connections of one user are served at once.
pub const PLACES: u8 = 4;
/// So many of all user numbers together that have no name: one person can have thousands of those.
const NAMELESS: u8 = 4;
/// So many of all who are no members, the nameless included. The listener and the units serve many more at once, so the
/// rest is left to root and the members.
const STRANGERS: u8 = 16;

/// Serves the one command that comes on standard input.
pub fn serve_connection() -> Result<(), Failure> {
    process::clear_environment()?;
    process::close_other_descriptors()?;
    let input = stdin().as_fd().try_clone_to_owned().map_err(|error| io(&error))?;
    let stream = UnixStream::from(input);
    let peer = getsockopt(&stream, PeerCredentials).map_err(|error| {
        Failure::new(Kind::Usage, format!("standard input is no connection: {}", error.desc()))
            .hint("`access serve --connection` is started by the system, for each connection")
    })?;
    let uid = Uid::from_raw(peer.uid());
    if let Err(failure) = serve(&stream, uid) {
        // A client that has left gets no answer.
        let _ = frame::answer(&mut for_answer(&stream), &Answer::<(), ()>::Failed(failure));
    }
    let _ = stream.shutdown(Shutdown::Both);
    Ok(())
}

fn serve(stream: &UnixStream, uid: Uid) -> Result<(), Failure> {
    let begun = begin(uid);
    if matches!(begun, Ok(None)) {
        // Without a greeting the client knows that nothing was begun, and tries again.
        return Ok(());
    }
    (&mut &*stream).write_all(&frame::GREETING).map_err(|error| io(&error))?;
    match begun? {
        Some(begun) => Peer { stream, uid, begun }.serve(),
        None => Ok(()),
    }
}

/// What is there before the server greets.
struct Begun {
    shared: Shared,
    /// As whom a refusal is recorded.
    known_as: Login,
    /// Its locks are the places, and end with it.
    _places: File,
}

/// Takes the places that this user needs. None: they are all taken.
fn begin(uid: Uid) -> Result<Option<Begun>, Failure> {
    let shared = config::shared()?.ok_or_else(no_shared_host)?;
    process::become_owner(&shared.database)?;
    process::harden()?;
    let places = store::open_private(&beside(&shared.database))?;
    let number = uid.as_raw();
    if !take_place(&places, i64::from(number) * i64::from(PLACES), PLACES) {
        return Ok(None);
    }
    let named = match identity::login_of(uid) {
        Ok(login) => Some(login),
        // Who it is may be known in a moment.
        Err(failure) if failure.kind == Kind::Unavailable => return Err(failure),
        Err(_) => None,
    };
    // The database is closed again while the client's words are waited for.
    let member = |login: &Login| service::is_member(&open(&shared.database)?, login);
    let free = uid.is_root()
        || named.as_ref().map_or(Ok(false), member)?
        || (named.is_some() || take_place(&places, PLACES_OF_NAMELESS, NAMELESS))
            && take_place(&places, PLACES_OF_STRANGERS, STRANGERS);
    let nameless = || {
        // No user can be called so: a name that is a number begins with a #, as in sudo's log.
        format!("#{number}").parse().map_err(|why| Failure::new(Kind::Internal, format!("user {number}: {why}")))
    };
    let known_as = named.map_or_else(nameless, Ok)?;
    Ok(free.then_some(Begun { shared, known_as, _places: places }))
}

pub fn no_shared_host() -> Failure {
    Failure::new(Kind::Invalid, format!("{} names no socket, so this is no shared host", config::SYSTEM))
        .hint("as root: access init --shared")
}

fn io(error: &std::io::Error) -> Failure {
    Failure::new(Kind::Io, format!("the connection failed: {error}"))
}

pub struct Peer<'c> {
    stream: &'c UnixStream,
    uid: Uid,
    begun: Begun,
}

/// A call as it came.
pub struct Sent<'s> {
    pub name: String,
    fields: Value,
    /// What may follow it.
    rest: Timed<'s>,
}

impl Peer<'_> {
    fn serve(&self) -> Result<(), Failure> {
        // The time limit is for the client's words alone, whatever else is slow.
        match read_call(Timed::within(self.stream, COMMAND_WITHIN)) {
            Ok(Some(sent)) => calls::serve(self, sent),
            Ok(None) => Ok(()),
            Err(failure) => Err(self.refuse(failure)),
        }
    }

    pub fn serve_call<C: Call>(&self, mut sent: Sent<'_>) -> Result<(), Failure> {
        let mut call: C = serde_json::from_value(sent.fields).map_err(|_| self.refuse(not_of_this_version()))?;
        if call.file().is_none() {
            whole(&mut sent.rest).map_err(|failure| self.refuse(failure))?;
        }
        let mut caller = self.caller()?;
        is_for(&call, self.uid).map_err(|failure| self.refuse(failure))?;
        let has_account: &dyn Fn(&Login) -> Result<bool, Failure> = &has_account;
        let outside = Outside {
            owns_file: &|| false,
            has_account,
            knows_zone: &time_zone::is_known,
            shared: true,
            deliver: &|_| Err(sends_nothing()),
            notify_test: &|_| Err(sends_nothing()),
            delivery_findings: &|_| Vec::new(),
        };
        let clock = &identity::clock;
        if let Some(file) = call.file() {
            let store = open(&self.begun.shared.database)?;
            C::may_send_file(&Service { store: &store, caller: &caller, clock, outside: &outside })?;
            drop(store);
            *file = self.read_file()?;
            // Reading took its time.
            caller = self.caller()?;
        }
        let store = open(&self.begun.shared.database)?;
        let service = Service { store: &store, caller: &caller, clock, outside: &outside };
        let mut out = BufWriter::with_capacity(64 << 10, for_answer(self.stream));
        let mut write = |answer| frame::answer(&mut out, &answer).map_err(|error| io(&error));
        let reply = call.carry_out(&service, &mut |row| write(Answer::Row::<C::Row, C::Reply>(row)));
        let written = reply.and_then(|reply| write(Answer::Done(reply)));
        out.flush().map_err(|error| io(&error))?;
        written
    }

    /// Who it is at this moment. That nobody has this number is a refusal; that it can't be found out is none.
    fn caller(&self) -> Result<Caller, Failure> {
        match identity::login_of(self.uid) {
            Ok(login) => Ok(Caller { login, root: self.uid.is_root(), acting_as: None }),
            Err(failure) if failure.kind == Kind::Unavailable => Err(failure),
            Err(failure) => Err(self.refuse(Failure { kind: Kind::Refused, ..failure })),
        }
    }

    /// The file comes after the call, and only from a caller who may send one.
    fn read_file(&self) -> Result<String, Failure> {
        frame::answer(&mut for_answer(self.stream), &Answer::<(), ()>::SendFile).map_err(|error| io(&error))?;
        let mut slowly = Timed::within(self.stream, FILE_WITHIN);
        let bytes = frame::read(&mut slowly, frame::FILE)
            .map_err(|broken| not_a_command(&broken))
            .and_then(|bytes| whole(&mut slowly).map(|()| bytes))
            .map_err(|failure| self.refuse(failure))?;
        String::from_utf8(bytes).map_err(|_| Failure::new(Kind::Invalid, "the team file is not a text (UTF-8)"))
    }

    /// Puts on the record that this user was refused, as what the kernel says and the system knows of them.
    pub fn refuse(&self, failure: Failure) -> Failure {
        // The answer is no whether or not that can be written down.
        let Begun { shared, known_as, .. } = &self.begun;
        let _ = open(&shared.database)
            .and_then(|store| service::record_refused(&store, known_as, &identity::clock, &failure.message));
        failure
    }
}

fn read_call(mut from: Timed<'_>) -> Result<Option<Sent<'_>>, Failure> {
    let mut greeting = frame::GREETING;
    if frame::fill(&mut from, &mut greeting[..1]).is_err() {
        // Silence is no attempt at anything.
        return Ok(None);
    }
    frame::fill(&mut from, &mut greeting[1..]).map_err(|broken| not_a_command(&broken))?;
    if greeting != frame::GREETING {
        return Err(if greeting.starts_with(b"access ") {
            Failure::new(Kind::Refused, "this client speaks another version than the server")
                .hint("install the same version of access for both")
        } else {
            Failure::new(Kind::Refused, "what came is not a command")
        });
    }
    let body = frame::read(&mut from, frame::COMMAND).map_err(|broken| not_a_command(&broken))?;
    let (name, fields) = serde_json::from_slice(&body).map_err(|_| not_of_this_version())?;
    Ok(Some(Sent { name, fields, rest: from }))
}

pub fn not_of_this_version() -> Failure {
    Failure::new(Kind::Refused, "what came is not a command of this version")
        .hint("install the same version of access for both")
}

fn sends_nothing() -> Failure {
    Failure::new(Kind::Failure, "a shared host sends no notifications from a member's command")
        .hint("your notifications are sent within a minute; `access notify` shows where to")
        .hint("root can send what is due with `access deliver`")
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

/// Whether this user can make the call over the socket at all.
fn is_for<C: Call>(call: &C, uid: Uid) -> Result<(), Failure> {
    if C::CALLERS == Callers::Keepers {
        return Err(Failure::new(Kind::Refused, "only root and the user who owns the database may do this")
            .hint("as root, on this machine: the same command"));
    }
    // Root asks about others, for the gates that root keeps.
    if uid.is_root() && !call.is_about_another() { Err(root_decides_nothing()) } else { Ok(()) }
}

fn root_decides_nothing() -> Failure {
    Failure::new(Kind::Refused, "root is nobody's member on a shared host")
        .hint("root runs `access check --user NAME` and `--login NAME`, `expire`, `backup`, `doctor` and `serve`")
}

/// A user's places are the bytes of this file from the fourfold of their number. Above the highest of those:
const PLACES_OF_NAMELESS: i64 = 1 << 40;
const PLACES_OF_STRANGERS: i64 = 1 << 41;

/// Takes one of so many places, if one is free. Each is a lock on a byte of the file, held until the file is closed, which
/// the kernel does when the process ends. Bytes need not be there to be locked.
fn take_place(places: &File, first: i64, count: u8) -> bool {
    (0..count).any(|place| fcntl(places, FcntlArg::F_OFD_SETLK(&byte(first + i64::from(place)))).is_ok())
}

pub fn beside(database: &Path) -> std::path::PathBuf {
    store::beside(database, ".places")
}

#[expect(clippy::cast_possible_truncation, reason = "both are small constants")]
fn byte(start: i64) -> flock {
    flock { l_type: F_WRLCK as i16, l_whence: SEEK_SET as i16, l_start: start, l_len: 1, l_pid: 0 }
}

/// Writes to a client as long as it takes something.
fn for_answer(stream: &UnixStream) -> Timed<'_> {
    Timed { pause: STALLED, ..Timed::within(stream, ANSWER_WITHIN) }
}
