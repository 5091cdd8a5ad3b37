//! Serves one connection, which is on standard input: one process, one command.
//!
//! The order of the steps is the defence: drop inherited state, take one of the user's places, read the whole command,
//! look up the user, and only then carry the command out. The write lock is never held while waiting for a client or for
//! the name service.

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

use super::{open, outside_of_members, process};
use crate::config;
use crate::config::Shared;
use crate::domain::member::Login;
use crate::error::{Failure, Kind};
use crate::frame;
use crate::frame::{Answer, Broken, Timed};
use crate::identity;
use crate::service;
use crate::service::{ActingAs, Call, Caller, Callers, Service};
use crate::store;

/// The longest that reading a command may take.
const COMMAND_WITHIN: Duration = Duration::from_secs(2);
/// The longest that reading a file may take.
const FILE_WITHIN: Duration = Duration::from_secs(10);
/// A client that reads nothing for this long is dropped: 10 minutes, since it may feed a pager.
const STALLED: Duration = Duration::from_secs(600);
/// The longest that an answer may take: an hour.
const ANSWER_WITHIN: Duration = Duration::from_secs(3600);
/// The most connections of one user at once.
pub const PLACES: u8 = 4;
/// The most connections of all user ids without a name together: one person can have thousands of such ids.
const NAMELESS: u8 = 4;
/// The most connections of all non-members together, including ids without a name. The listener and the systemd units
/// allow many more, so that the rest is left for root and members.
const STRANGERS: u8 = 16;

/// Serves the command that arrives on standard input.
pub fn serve_connection() -> Result<(), Failure> {
    process::clear_environment()?;
    process::close_other_descriptors()?;
    let input = stdin().as_fd().try_clone_to_owned().map_err(|error| io(&error))?;
    let stream = UnixStream::from(input);
    let peer = getsockopt(&stream, PeerCredentials).map_err(|error| {
        Failure::new(Kind::Usage, format!("standard input is not a connection: {}", error.desc()))
            .hint("the system starts `access serve --connection` for each connection; do not run it yourself")
    })?;
    let uid = Uid::from_raw(peer.uid());
    if let Err(failure) = serve(&stream, uid) {
        // The client may be gone. Nothing more can be done then.
        let _ = frame::answer(&mut for_answer(&stream), &Answer::<(), ()>::Failed(failure));
    }
    let _ = stream.shutdown(Shutdown::Both);
    Ok(())
}

fn serve(stream: &UnixStream, uid: Uid) -> Result<(), Failure> {
    let begun = begin(uid);
    if matches!(begun, Ok(None)) {
        // A client that gets no greeting knows that nothing was begun, and tries again.
        return Ok(());
    }
    (&mut &*stream).write_all(&frame::GREETING).map_err(|error| io(&error))?;
    match begun? {
        Some(begun) => Peer { stream, uid, begun }.serve(),
        None => Ok(()),
    }
}

/// What the server knows before it sends the greeting.
struct Begun {
    shared: Shared,
    /// The user whose refusal is recorded.
    known_as: Login,
    /// Holds the locks that are the user's places. They are released when it is closed.
    _places: File,
}

/// Takes the places that this user needs. None: no place is free.
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
        // A temporary failure of the name service: the client tries again.
        Err(failure) if failure.kind == Kind::Unavailable => return Err(failure),
        Err(_) => None,
    };
    // The database is closed again before the command is read.
    let member = |login: &Login| service::is_member(&open(&shared.database)?, login);
    let free = uid.is_root()
        || named.as_ref().map_or(Ok(false), member)?
        || (named.is_some() || take_place(&places, PLACES_OF_NAMELESS, NAMELESS))
            && take_place(&places, PLACES_OF_STRANGERS, STRANGERS);
    let nameless = || {
        // As in sudo's log, a number is written with a #, which no user name starts with.
        format!("#{number}").parse().map_err(|why| Failure::new(Kind::Internal, format!("user {number}: {why}")))
    };
    let known_as = named.map_or_else(nameless, Ok)?;
    Ok(free.then_some(Begun { shared, known_as, _places: places }))
}

pub fn no_shared_host() -> Failure {
    Failure::new(Kind::Invalid, format!("{} names no socket, so this host is not shared", config::SYSTEM))
        .hint("to set up a shared host, run `access init --shared` as root")
}

fn io(error: &std::io::Error) -> Failure {
    Failure::new(Kind::Io, format!("the connection failed: {error}"))
}

struct Peer<'c> {
    stream: &'c UnixStream,
    uid: Uid,
    begun: Begun,
}

/// A call as received.
#[derive(Debug)]
pub struct Sent<R> {
    pub name: String,
    pub fields: Value,
    /// The connection, on which a file may follow.
    pub rest: R,
}

impl Peer<'_> {
    fn serve(&self) -> Result<(), Failure> {
        // The limit applies only to reading from the client.
        // Root's reconciler records thousands of outcomes at once.
        let most = if self.uid.is_root() { frame::FILE } else { frame::COMMAND };
        match read_call(Timed::within(self.stream, COMMAND_WITHIN), most) {
            Ok(Some(sent)) => self.serve_named(sent),
            Ok(None) => Ok(()),
            Err(failure) => Err(self.refuse(failure)),
        }
    }

    /// Carries out the call that was named.
    fn serve_named(&self, sent: Sent<Timed<'_>>) -> Result<(), Failure> {
        macro_rules! serve {
            ($($file:ident: $($call:ident),+;)+) => {
                $($(if sent.name == service::$call::NAME {
                    return self.serve_call::<service::$call>(sent);
                })+)+
            };
        }
        service::calls!(serve);
        Err(self.refuse(not_of_this_version()))
    }

    fn serve_call<C: Call>(&self, mut sent: Sent<Timed<'_>>) -> Result<(), Failure> {
        let mut call: C = serde_json::from_value(sent.fields).map_err(|_| self.refuse(not_of_this_version()))?;
        if call.file().is_none() {
            whole(&mut sent.rest).map_err(|failure| self.refuse(failure))?;
        }
        let mut caller = self.caller()?;
        is_for(&call, self.uid).map_err(|failure| self.refuse(failure))?;
        let outside = outside_of_members();
        let clock = &identity::clock_of;
        if let Some(file) = call.file() {
            let store = open(&self.begun.shared.database)?;
            C::may_send_file(&Service { store: &store, caller: &caller, clock, outside: &outside })?;
            drop(store);
            *file = self.read_file()?;
            // Reading may have taken long, so the user is looked up again.
            caller = self.caller()?;
        }
        let store = open(&self.begun.shared.database)?;
        let service = Service { store: &store, caller: &caller, clock, outside: &outside };
        let mut out = BufWriter::with_capacity(64 << 10, for_answer(self.stream));
        let mut write = |answer| frame::answer(&mut out, &answer).map_err(|error| io(&error));
        let reply = call.carry_out(&service, &mut |row| write(Answer::Row::<C::Row, C::Reply>(row)));
        let written = reply.and_then(|reply| {
            if let Some(as_of) = service::as_of(&store, outside.clocks)? {
                write(Answer::AsOf(as_of))?;
            }
            write(Answer::Done(reply))
        });
        out.flush().map_err(|error| io(&error))?;
        written
    }

    /// Looks up the user. An id without an account is refused; a failed lookup is an error, not a refusal.
    fn caller(&self) -> Result<Caller, Failure> {
        match identity::login_of(self.uid) {
            Ok(login) => Ok(Caller { login, root: self.uid.is_root(), acting_as: ActingAs::Login }),
            Err(failure) if failure.kind == Kind::Unavailable => Err(failure),
            Err(failure) => Err(self.refuse(Failure { kind: Kind::Refused, ..failure })),
        }
    }

    /// Reads the file that follows the call, if this caller may send one.
    fn read_file(&self) -> Result<String, Failure> {
        frame::answer(&mut for_answer(self.stream), &Answer::<(), ()>::SendFile).map_err(|error| io(&error))?;
        let mut slowly = Timed::within(self.stream, FILE_WITHIN);
        let bytes = frame::read(&mut slowly, frame::FILE)
            .map_err(|broken| not_a_command(&broken))
            .and_then(|bytes| whole(&mut slowly).map(|()| bytes))
            .map_err(|failure| self.refuse(failure))?;
        String::from_utf8(bytes).map_err(|_| Failure::new(Kind::Invalid, "the team file is not UTF-8 text"))
    }

    /// Records that this user was refused, by the identity from the kernel and the name service.
    fn refuse(&self, failure: Failure) -> Failure {
        // The refusal holds even if it cannot be recorded.
        let Begun { shared, known_as, .. } = &self.begun;
        let _ = open(&shared.database)
            .and_then(|store| service::record_refused(&store, known_as, &identity::clock_of, &failure.message));
        failure
    }
}

/// `most`: the largest command, in bytes. None: the client sent nothing.
pub fn read_call<R: Read>(mut from: R, most: usize) -> Result<Option<Sent<R>>, Failure> {
    let mut greeting = frame::GREETING;
    if frame::fill(&mut from, &mut greeting[..1]).is_err() {
        // A client that sent nothing attempted nothing.
        return Ok(None);
    }
    frame::fill(&mut from, &mut greeting[1..]).map_err(|broken| not_a_command(&broken))?;
    if greeting != frame::GREETING {
        return Err(if greeting.starts_with(b"access ") {
            Failure::new(Kind::Refused, "the client and the server have different protocol versions")
                .hint("install the same version of access for both")
        } else {
            Failure::new(Kind::Refused, "the request is not a command")
        });
    }
    let body = frame::read(&mut from, most).map_err(|broken| not_a_command(&broken))?;
    let (name, fields) = serde_json::from_slice(&body).map_err(|_| not_of_this_version())?;
    Ok(Some(Sent { name, fields, rest: from }))
}

fn not_of_this_version() -> Failure {
    Failure::new(Kind::Refused, "the server does not know this command; its version differs from the client's")
        .hint("install the same version of access for both")
}

/// Checks that nothing follows the command.
fn whole(from: &mut impl Read) -> Result<(), Failure> {
    match frame::fill(from, &mut [0]) {
        Err(Broken::Nothing) => Ok(()),
        Ok(()) => Err(Failure::new(Kind::Refused, "data followed the command")),
        Err(broken) => Err(not_a_command(&broken)),
    }
}

fn not_a_command(broken: &Broken) -> Failure {
    let why = match broken {
        Broken::Nothing | Broken::Half => "the command is incomplete".to_owned(),
        Broken::TooLong => "the command is too long".to_owned(),
        Broken::TooSlow => "the command did not arrive in time".to_owned(),
        Broken::Io(error) => format!("the command can't be read: {error}"),
    };
    Failure::new(Kind::Refused, why)
}

/// Whether this user can make the call over the socket at all.
fn is_for<C: Call>(call: &C, uid: Uid) -> Result<(), Failure> {
    if C::CALLERS == Callers::Keepers {
        return Err(Failure::new(Kind::Refused, "only root and the user who owns the database may do this")
            .hint("run the same command as root on this machine"));
    }
    if C::CALLERS == Callers::Reconciler {
        let refused = || {
            Failure::new(Kind::Refused, "only root may reconcile access on a shared host")
                .hint("run the same command as root on this machine")
        };
        return if uid.is_root() { Ok(()) } else { Err(refused()) };
    }
    // Root may ask about others, for gates such as PAM.
    if uid.is_root() && !call.is_about_another() { Err(root_decides_nothing()) } else { Ok(()) }
}

fn root_decides_nothing() -> Failure {
    Failure::new(Kind::Refused, "on a shared host root is not a member")
        .hint("as root you can run `access check` with `--user` or `--login`, and what maintains the host: `backup`, `deliver`, \
`doctor`, `expire`, `follow`, `log`, `outbox`, `reconcile`, `serve` and `team replace-owner`")
}

/// The places of a user are the four bytes of this file from offset `uid * 4`. Above those of the highest uid:
const PLACES_OF_NAMELESS: i64 = 1 << 40;
const PLACES_OF_STRANGERS: i64 = 1 << 41;
pub const PLACES_OF_KEY_HOLDERS: i64 = 1 << 50;

/// Takes one of these places, if one is free. A place is a lock on a byte of the file. The kernel releases it when the
/// process ends. The byte need not exist.
pub fn take_place(places: &File, first: i64, count: u8) -> bool {
    (0..count).any(|place| fcntl(places, FcntlArg::F_OFD_SETLK(&byte(first + i64::from(place)))).is_ok())
}

pub fn beside(database: &Path) -> std::path::PathBuf {
    store::beside(database, ".places")
}

#[expect(clippy::cast_possible_truncation, reason = "both are small constants")]
fn byte(start: i64) -> flock {
    flock { l_type: F_WRLCK as i16, l_whence: SEEK_SET as i16, l_start: start, l_len: 1, l_pid: 0 }
}

/// Writes to a client for as long as it keeps reading.
fn for_answer(stream: &UnixStream) -> Timed<'_> {
    Timed { pause: STALLED, ..Timed::within(stream, ANSWER_WITHIN) }
}
