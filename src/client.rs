//! The client of a shared host: sends one command over the socket that the machine's config names.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, getsockopt, setsockopt, socket, sockopt::PeerCredentials,
    sockopt::SendTimeout,
};
use nix::sys::time::TimeVal;

use crate::error::{Failure, Kind};
use crate::frame::{self, Answer, Broken, Timed};
use crate::protocol::AsOfLast;
use crate::service::{Call, Callers, Rows};

/// How long to keep trying for a free connection.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait for the next frame of an answer, and to read all of it.
const SILENCE: Duration = Duration::from_secs(120);
/// The longest that an answer may take: the server's own limit, and a minute more.
const LONGEST: Duration = Duration::from_secs(3660);
/// How long sending a file may take.
const SENDING: Duration = Duration::from_secs(60);
/// The pause between two attempts: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(160));

pub struct Client {
    socket: PathBuf,
    /// How long to keep trying for a free connection, and how long to wait for the next frame of an answer.
    patience: Duration,
    silence: Duration,
    /// What the copy of a shared log knew that gave the last answer.
    as_of: AsOfLast,
}

/// How one attempt ended.
enum Tried<T> {
    Answered(T),
    /// The server had no free connection, and nothing was begun.
    NotBegun,
}

impl Client {
    pub fn new(socket: PathBuf) -> Client {
        Client { socket, patience: PATIENCE, silence: SILENCE, as_of: AsOfLast::default() }
    }

    /// A client with shorter limits.
    pub fn within(socket: PathBuf, limit: Duration) -> Client {
        Client { patience: limit.min(PATIENCE), silence: limit.min(SILENCE), ..Client::new(socket) }
    }

    /// Keeps what the last answer knew here.
    #[must_use]
    pub fn noting(self, as_of: AsOfLast) -> Client {
        Client { as_of, ..self }
    }

    pub fn call<C: Call>(&self, mut call: C, rows: Rows<'_, C::Row>) -> Result<C::Reply, Failure> {
        // The file is sent separately, once the server asks for it.
        let file = call.file().map(std::mem::take);
        let body =
            serde_json::to_vec(&(C::NAME, &call)).map_err(|error| Failure::new(Kind::Internal, error.to_string()))?;
        let most = if C::CALLERS == Callers::Reconciler { frame::FILE } else { frame::COMMAND };
        if body.len() > most {
            return Err(Failure::new(Kind::Usage, "the command is larger than the server accepts (64 KiB)")
                .hint("if you pass checkpoints, pass only the newest: it covers all earlier ones"));
        }
        let give_up = Instant::now() + self.patience;
        let mut pause = PAUSES.0;
        loop {
            match self.once::<C>(&body, file.as_deref(), rows)? {
                Tried::Answered(reply) => return Ok(reply),
                Tried::NotBegun if Instant::now() >= give_up => {
                    return Err(Failure::new(Kind::Busy, "the server had no free connection; nothing was done")
                        .hint("try again: each user can have four at once")
                        .hint("if it keeps failing, run `access doctor` as root"));
                }
                Tried::NotBegun => {}
            }
            sleep(pause);
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    fn once<C: Call>(
        &self,
        body: &[u8],
        mut file: Option<&str>,
        rows: Rows<'_, C::Row>,
    ) -> Result<Tried<C::Reply>, Failure> {
        let Some(stream) = self.connect()? else { return Ok(Tried::NotBegun) };
        let over = Instant::now() + LONGEST;
        let mut from = BufReader::with_capacity(64 << 10, Timed::within(&stream, self.patience));
        let mut greeting = frame::GREETING;
        if frame::fill(&mut from, &mut greeting).is_err() {
            return Ok(Tried::NotBegun);
        }
        if greeting != frame::GREETING {
            let message = format!("{} uses another protocol version than this client", self.socket.display());
            return Err(Failure::new(Kind::Unavailable, message).hint("install the same version of access for both"));
        }
        *from.get_mut() = Timed::within(&stream, self.silence);
        // A server that refuses stops reading and says why, so read its answer even if a write failed.
        let mut message = frame::GREETING.to_vec();
        let sent = frame::write(&mut message, body).and_then(|()| Timed::within(&stream, PATIENCE).write_all(&message));
        if sent.is_ok() && file.is_none() {
            let _ = stream.shutdown(Shutdown::Write);
        }
        if sent.is_err() && from.fill_buf().map_or(true, <[u8]>::is_empty) {
            // The server never had the whole command, and it begins nothing without that.
            return Ok(Tried::NotBegun);
        }
        loop {
            from.get_mut().until = over.min(Instant::now() + self.silence);
            match next::<C>(&mut from)? {
                Answer::Row(row) => rows(row)?,
                Answer::AsOf(as_of) => self.as_of.set(Some(as_of)),
                Answer::Done(reply) => return Ok(Tried::Answered(reply)),
                Answer::Failed(failure) => return Err(failure),
                Answer::SendFile => {
                    let Some(file) = file.take() else {
                        return Err(unclear("the server asks for a file that it was not offered"));
                    };
                    let _ = frame::write(&mut Timed::within(&stream, SENDING), file.as_bytes());
                    let _ = stream.shutdown(Shutdown::Write);
                }
            }
        }
    }

    /// None: the socket exists, but its queue is full.
    fn connect(&self) -> Result<Option<UnixStream>, Failure> {
        let shown = self.socket.display();
        let failed = |error: Errno| {
            let failure =
                Failure::new(Kind::Unavailable, format!("the shared host's socket, {shown}: {}", error.desc()));
            match error {
                Errno::ENOENT | Errno::ECONNREFUSED => {
                    failure.hint("no server is running; as root, run `systemctl start access.socket` or `access serve`")
                }
                Errno::EACCES => {
                    failure.hint("only members of its group may connect; ask an admin of this machine to add you")
                }
                _ => failure,
            }
        };
        let Some(stream) = connect(&self.socket).map_err(failed)? else { return Ok(None) };
        self.is_the_hosts(&stream)?;
        Ok(Some(stream))
    }

    /// The server must run as root, or as the owner of the socket's folder: nobody else can create a socket there.
    fn is_the_hosts(&self, stream: &UnixStream) -> Result<(), Failure> {
        let folder = self.socket.parent().unwrap_or(Path::new("/"));
        let found = fs::metadata(folder).map_err(lost)?;
        let server = getsockopt(stream, PeerCredentials).map_err(|error| lost(error.into()))?.uid();
        if (server == 0 || server == found.uid()) && found.mode() & 0o022 == 0 {
            return Ok(());
        }
        let message = format!("{} is served by an untrusted user ({server})", self.socket.display());
        Err(Failure::new(Kind::Unavailable, message).hint("make sure that only root can write to its folder"))
    }
}

/// Connects within a second: with a full queue a plain connect would block forever. None: the queue is full.
pub fn connect(path: &Path) -> nix::Result<Option<UnixStream>> {
    let address = UnixAddr::new(path)?;
    let made = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&made, SendTimeout, &TimeVal::new(1, 0))?;
    match nix::sys::socket::connect(made.as_raw_fd(), &address) {
        Ok(()) => Ok(Some(UnixStream::from(made))),
        Err(Errno::EAGAIN | Errno::EINTR | Errno::ETIMEDOUT) => Ok(None),
        Err(error) => Err(error),
    }
}

fn next<C: Call>(from: &mut BufReader<Timed<'_>>) -> Result<Answer<C::Row, C::Reply>, Failure> {
    let body = frame::read(from, frame::PIECE).map_err(|broken| {
        let why = match broken {
            Broken::Nothing | Broken::Half => "the server closed the connection before it answered".to_owned(),
            Broken::TooSlow => "the server did not answer in time".to_owned(),
            Broken::TooLong => "the server's answer can't be read".to_owned(),
            Broken::Io(error) => format!("the connection failed: {error}"),
        };
        unclear(&why)
    })?;
    serde_json::from_slice(&body).map_err(|error| {
        unclear(&format!("the server's answer can't be parsed: {error}"))
            .hint("install the same version of access for both")
    })
}

fn unclear(why: &str) -> Failure {
    Failure::new(Kind::Io, format!("{why}, so the outcome is unknown"))
        .hint("check the current state (`access list`, `access inbox`) before you try again")
}

fn lost(error: std::io::Error) -> Failure {
    Failure::new(Kind::Io, format!("the connection failed: {error}; nothing was done")).hint("try again")
}
