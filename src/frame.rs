//! The socket protocol.
//!
//! | from the server | from the client |
//! | --- | --- |
//! | the greeting, once a connection is free | |
//! | | the greeting of its own version, and a frame: the command |
//! | of `team apply`: "send the file" | a frame: the file |
//! | | end of stream; any further data makes the command invalid |
//! | frames: rows, then what a copy of a shared log knows, then the reply or a failure | |
//!
//! A frame is a length (4 bytes, big-endian), then that many bytes: JSON, except for the file. A server that closes
//! before it sends the greeting has begun nothing.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::error::Failure;
use crate::protocol::AsOf;

/// Both sides send it first. The digit is the protocol version.
pub const GREETING: [u8; 9] = *b"access 1\n";
/// The largest command: 64 KiB. Root's may be as large as a file.
pub const COMMAND: usize = 64 << 10;
/// The largest file that follows a command: 16 MiB.
pub const FILE: usize = 16 << 20;
/// The largest frame of an answer: 64 MiB (a team file of the largest size as JSON).
pub const PIECE: usize = 64 << 20;

/// A frame from the server: rows (`R`), then the reply (`D`) or a failure.
#[derive(Debug, Serialize, Deserialize)]
pub enum Answer<R, D> {
    Row(R),
    /// The file that belongs to the call may come now.
    SendFile,
    /// Before the reply, where the database is a copy of a shared log.
    AsOf(AsOf),
    Done(D),
    Failed(Failure),
}

/// Why nothing could be read.
#[derive(Debug)]
pub enum Broken {
    /// The stream ended before the first byte.
    Nothing,
    /// The stream ended within a frame.
    Half,
    TooLong,
    TooSlow,
    Io(io::Error),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Broken {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Broken::TooSlow,
            io::ErrorKind::UnexpectedEof => Broken::Half,
            _ => Broken::Io(error),
        }
    }
}

/// A connection with a deadline, however slowly single bytes arrive or leave.
pub struct Timed<'s> {
    pub stream: &'s UnixStream,
    pub until: Instant,
    /// The longest that one read or write may take.
    pub pause: Duration,
}

impl<'s> Timed<'s> {
    pub fn within(stream: &'s UnixStream, length: Duration) -> Timed<'s> {
        Timed { stream, until: Instant::now() + length, pause: length }
    }

    fn left(&self) -> io::Result<Duration> {
        let left = self.until.saturating_duration_since(Instant::now()).min(self.pause);
        // A zero timeout would mean no timeout.
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

impl Read for Timed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.left()?))?;
        (&mut &*self.stream).read(buffer)
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        (&mut &*self.stream).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Fills the buffer.
pub fn fill(from: &mut impl Read, buffer: &mut [u8]) -> Result<(), Broken> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]) {
            Ok(0) if filled == 0 => return Err(Broken::Nothing),
            Ok(0) => return Err(Broken::Half),
            Ok(more) => filled += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Reads a frame of at most `most` bytes. Allocates only what has arrived.
pub fn read(from: &mut impl Read, most: usize) -> Result<Vec<u8>, Broken> {
    let mut length = [0; 4];
    fill(from, &mut length)?;
    let length = u32::from_be_bytes(length) as usize;
    if length > most {
        return Err(Broken::TooLong);
    }
    let mut body = Vec::new();
    from.take(length as u64).read_to_end(&mut body)?;
    if body.len() < length { Err(Broken::Half) } else { Ok(body) }
}

pub fn write(to: &mut impl Write, body: &[u8]) -> io::Result<()> {
    let length = u32::try_from(body.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    to.write_all(&length.to_be_bytes())?;
    to.write_all(body)
}

/// Writes a frame of an answer.
pub fn answer<R: Serialize, D: Serialize>(to: &mut impl Write, answer: &Answer<R, D>) -> io::Result<()> {
    write(to, &serde_json::to_vec(answer)?)
}
