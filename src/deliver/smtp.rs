//! An SMTP client (RFC 5321) that only sends: one connection, one message after another.
//!
//! Every reply must have the class that its command expects, and nothing may have been sent ahead of its command. Above all,
//! nothing that came in plain text is read after STARTTLS (CVE-2011-0411 and what followed).
//!
//! lettre's own client is not used: it takes any 2yz or 3yz reply for any command, keeps what was read ahead, limits each
//! read rather than the whole answer, and writes a message and its end apart without TCP_NODELAY (40 ms each).

use std::io::{self, BufRead as _, BufReader, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

/// Limits of a reply, in bytes: the whole, and one line.
const LONGEST_REPLY: usize = 16 << 10;
const LONGEST_LINE: u64 = 1000;

/// What a server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub code: u16,
    /// Untrusted: not yet safe to show.
    pub text: String,
}

/// Why a command failed.
#[derive(Debug)]
pub enum SmtpError {
    /// The server refused: temporarily (4yz) or permanently (5yz).
    Answered(Reply),
    /// The connection can't be used any more.
    Broken(String),
}

/// A TCP connection with a deadline for reads and writes.
struct TimedSocket {
    socket: TcpStream,
    until: Instant,
}

impl TimedSocket {
    fn left(&self) -> io::Result<Duration> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

impl Read for TimedSocket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(Some(self.left()?))?;
        self.socket.read(buffer)
    }
}

impl Write for TimedSocket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(Some(self.left()?))?;
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

enum Stream {
    Plain(TimedSocket),
    Tls(Box<StreamOwned<ClientConnection, TimedSocket>>),
}

impl Stream {
    fn socket(&self) -> &TcpStream {
        match self {
            Stream::Plain(timed) => &timed.socket,
            Stream::Tls(stream) => &stream.get_ref().socket,
        }
    }

    fn timed(&mut self) -> &mut TimedSocket {
        match self {
            Stream::Plain(timed) => timed,
            Stream::Tls(stream) => stream.get_mut(),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(timed) => timed.read(buffer),
            Stream::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(timed) => timed.write(bytes),
            Stream::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(timed) => timed.flush(),
            Stream::Tls(stream) => stream.flush(),
        }
    }
}

pub struct SmtpConnection {
    stream: BufReader<Stream>,
    timeout: Duration,
    /// The server's EHLO extensions in capitals, one a line.
    abilities: Vec<String>,
}

impl SmtpConnection {
    /// Connects, and reads the greeting. `tls`: encrypted from the first byte on.
    pub fn open(
        host: &str,
        port: u16,
        tls: Option<&Arc<ClientConfig>>,
        timeout: Duration,
    ) -> Result<SmtpConnection, SmtpError> {
        let until = Instant::now() + timeout;
        let places = (host, port).to_socket_addrs().map_err(|error| SmtpError::Broken(error.to_string()))?;
        let mut met = "the host has no address".to_owned();
        for place in places {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            match TcpStream::connect_timeout(&place, left) {
                Ok(socket) => {
                    let _ = socket.set_nodelay(true);
                    let plain = Stream::Plain(TimedSocket { socket, until });
                    let stream = match tls {
                        Some(config) => encrypted(plain, host, config)?,
                        None => plain,
                    };
                    let mut connection =
                        SmtpConnection { stream: BufReader::new(stream), timeout, abilities: Vec::new() };
                    connection.answer(2)?;
                    return Ok(connection);
                }
                Err(error) => met = describe(&error),
            }
        }
        Err(SmtpError::Broken(met))
    }

    /// Our own address on this connection, as EHLO takes it from a machine without a name: `[192.0.2.1]` or `[IPv6:2001:db8::1]`
    /// (RFC 5321 4.1.3).
    pub fn address_literal(&self) -> String {
        let address = self.stream.get_ref().socket().local_addr().map(|address| address.ip().to_canonical());
        match address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)) {
            IpAddr::V4(address) => format!("[{address}]"),
            IpAddr::V6(address) => format!("[IPv6:{address}]"),
        }
    }

    /// From now on, each answer may take so long.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Introduces us, and learns what the server can do.
    pub fn hello(&mut self, name: &str) -> Result<(), SmtpError> {
        let reply = self.command(&format!("EHLO {name}"), 2)?;
        self.abilities = reply.text.lines().skip(1).map(str::to_ascii_uppercase).collect();
        Ok(())
    }

    /// Encrypts the connection and greets again. What the server said before is forgotten.
    pub fn start_tls(
        mut self,
        host: &str,
        config: &Arc<ClientConfig>,
        name: &str,
    ) -> Result<SmtpConnection, SmtpError> {
        if !self.abilities.iter().any(|ability| ability.trim() == "STARTTLS") {
            return Err(SmtpError::Broken("the server does not offer STARTTLS".to_owned()));
        }
        self.command("STARTTLS", 2)?;
        self.nothing_more()?;
        // Plain text that arrives from here on is read by TLS, which rejects it.
        let stream = BufReader::new(encrypted(self.stream.into_inner(), host, config)?);
        let mut connection = SmtpConnection { stream, timeout: self.timeout, abilities: Vec::new() };
        connection.hello(name)?;
        Ok(connection)
    }

    /// Logs in by PLAIN or LOGIN. Of a refusal only the code is kept, since a server may repeat the password.
    pub fn log_in(&mut self, user: &str, password: &str) -> Result<(), SmtpError> {
        let offered: Vec<&str> = self
            .abilities
            .iter()
            .filter_map(|ability| ability.strip_prefix("AUTH"))
            .flat_map(|methods| methods.split([' ', '=']))
            .collect();
        let answered = if offered.contains(&"PLAIN") {
            let both = STANDARD.encode(format!("\0{user}\0{password}"));
            self.command(&format!("AUTH PLAIN {both}"), 2)
        } else if offered.contains(&"LOGIN") {
            self.command("AUTH LOGIN", 3)
                .and_then(|_| self.command(&STANDARD.encode(user), 3))
                .and_then(|_| self.command(&STANDARD.encode(password), 2))
        } else {
            return Err(SmtpError::Broken("the server offers neither AUTH PLAIN nor AUTH LOGIN".to_owned()));
        };
        match answered {
            Ok(_) => Ok(()),
            Err(SmtpError::Answered(Reply { code, .. })) => {
                Err(SmtpError::Answered(Reply { code, text: "it refused the login".to_owned() }))
            }
            Err(broken @ SmtpError::Broken(_)) => Err(broken),
        }
    }

    /// Sends a one-line command. Returns its reply if that is of this class.
    pub fn command(&mut self, line: &str, class: u16) -> Result<Reply, SmtpError> {
        self.send(&format!("{line}\r\n"), class)
    }

    /// Sends text as it is. Returns the reply if it is of this class.
    pub fn send(&mut self, text: &str, class: u16) -> Result<Reply, SmtpError> {
        self.nothing_more()?;
        let stream = self.stream.get_mut();
        stream.timed().until = Instant::now() + self.timeout;
        stream.write_all(text.as_bytes()).and_then(|()| stream.flush()).map_err(|error| broken(&error))?;
        self.answer(class)
    }

    /// Sends QUIT, and does not wait for the reply.
    pub fn quit(mut self) {
        let stream = self.stream.get_mut();
        stream.timed().until = Instant::now() + Duration::from_secs(1);
        let _ = stream.write_all(b"QUIT\r\n").and_then(|()| stream.flush());
    }

    /// Fails if the server has sent more than its replies so far.
    fn nothing_more(&self) -> Result<(), SmtpError> {
        if self.stream.buffer().is_empty() {
            return Ok(());
        }
        Err(SmtpError::Broken("the server sent an answer ahead of its command".to_owned()))
    }

    fn answer(&mut self, class: u16) -> Result<Reply, SmtpError> {
        let reply = self.read_reply()?;
        match reply.code / 100 {
            found if found == class => Ok(reply),
            4 | 5 => Err(SmtpError::Answered(reply)),
            _ => Err(SmtpError::Broken(format!(
                "the server answered {}, which does not answer this command",
                reply.code
            ))),
        }
    }

    fn read_reply(&mut self) -> Result<Reply, SmtpError> {
        let nonsense = |why: &str| SmtpError::Broken(why.to_owned());
        let mut text = String::new();
        let mut begun = None;
        loop {
            let mut line = Vec::new();
            let read = (&mut self.stream).take(LONGEST_LINE).read_until(b'\n', &mut line);
            read.map_err(|error| broken(&error))?;
            if line.is_empty() {
                return Err(nonsense("the server closed the connection"));
            }
            if line.pop() != Some(b'\n') {
                return Err(nonsense("the server's answer breaks off, or has a line that is too long"));
            }
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            let (code, last, rest) = parse(&line).ok_or_else(|| nonsense("the server's answer is not SMTP"))?;
            if *begun.get_or_insert(code) != code {
                return Err(nonsense("the server's answer has two codes"));
            }
            if !text.is_empty() {
                text.push('\n');
            }
            text += &String::from_utf8_lossy(rest);
            if text.len() > LONGEST_REPLY {
                return Err(nonsense("the server's answer is too long"));
            }
            if last {
                return Ok(Reply { code, text });
            }
        }
    }
}

/// The code of a line of a reply, whether it is the last, and its text.
fn parse(line: &[u8]) -> Option<(u16, bool, &[u8])> {
    let (code, rest) = line.split_at_checked(3)?;
    let code: u16 =
        std::str::from_utf8(code).ok().filter(|code| code.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()?;
    let (last, text) = match rest {
        [] => (true, rest),
        [b' ', text @ ..] => (true, text),
        [b'-', text @ ..] => (false, text),
        _ => return None,
    };
    (200..600).contains(&code).then_some((code, last, text))
}

fn encrypted(stream: Stream, host: &str, config: &Arc<ClientConfig>) -> Result<Stream, SmtpError> {
    let Stream::Plain(timed) = stream else {
        return Err(SmtpError::Broken("the connection is encrypted already".to_owned()));
    };
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| SmtpError::Broken("no certificate can be for such a host name".to_owned()))?;
    let client = ClientConnection::new(Arc::clone(config), name)
        .map_err(|error| SmtpError::Broken(format!("the encryption failed: {error}")))?;
    Ok(Stream::Tls(Box::new(StreamOwned::new(client, timed))))
}

fn broken(error: &io::Error) -> SmtpError {
    SmtpError::Broken(describe(error))
}

/// An untrusted certificate is reported as an error of reading or writing.
fn describe(error: &io::Error) -> String {
    match error.kind() {
        // Both are how a socket's timeout is reported.
        ErrorKind::WouldBlock | ErrorKind::TimedOut => "no answer in time".to_owned(),
        ErrorKind::UnexpectedEof => "the server closed the connection".to_owned(),
        ErrorKind::InvalidData => format!("the encryption failed: {error}"),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_line_is_a_reply_or_is_none(line in proptest::collection::vec(any::<u8>(), 0..20), code in 0..1200_u16) {
            for line in [line.clone(), [code.to_string().as_bytes(), &line].concat()] {
                if let Some((code, _, text)) = parse(&line) {
                    prop_assert!(line.starts_with(code.to_string().as_bytes()) && line.ends_with(text));
                }
            }
        }
    }

    #[test]
    fn lines_of_replies() {
        assert_eq!(parse(b"250 OK"), Some((250, true, &b"OK"[..])));
        assert_eq!(parse(b"250-SIZE"), Some((250, false, &b"SIZE"[..])));
        assert_eq!(parse(b"250"), Some((250, true, &b""[..])));
        for line in [&b"25"[..], b"+50 OK", b"2500 OK", b"150 no", b"600 no", b"\x00\xff what", b""] {
            assert_eq!(parse(line), None, "{line:?}");
        }
    }
}
