//! Email: over SMTP on one connection for as many messages as there are, or through the host's own `sendmail`.
//!
//! Headers are made of ids and names that can hold nothing a header acts on; what people wrote is in the body only.

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{Certificate, CertificateStore, SmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt, Rset};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Message, transport::smtp};

use super::http::{is_loopback, roots};
use super::secret::{Place, Secret};
use super::{Carried, Carrier, sendmail};
use crate::config::{Config, Encryption, Smtp};
use crate::domain::letter::{Letter, Piece};
use crate::domain::outbox::{Address, Content, Parcel};
use crate::domain::team::Email as EmailAddress;
use crate::domain::text::is_hostile;
use crate::error::{Failure, Kind};

pub struct Email {
    from: EmailAddress,
    way: Way,
}

enum Way {
    Smtp(Box<Server>),
    Sendmail(PathBuf),
}

struct Server {
    host: String,
    port: u16,
    encryption: Encryption,
    ca_file: Option<PathBuf>,
    /// Made when it is first needed: loading certificates takes its time, and most runs have nothing to send.
    tls: Option<TlsParameters>,
    hello: ClientId,
    login: Option<(String, Secret)>,
    connection: Option<SmtpConnection>,
}

/// Why a message was not taken, and where that leaves the connection.
struct Trouble {
    error: smtp::Error,
    /// It was met before the server knew of a message.
    at_the_door: bool,
}

impl Email {
    pub fn new(config: &Config) -> Result<Email, Failure> {
        let hello = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
        let hello = hello.filter(|name| !name.is_empty() && name.is_ascii()).unwrap_or_else(|| "localhost".to_owned());
        let from = config.smtp.as_ref().and_then(|smtp| smtp.from.clone()).or_else(|| config.from.clone());
        let from = match from {
            Some(from) => from,
            None => format!("access@{hello}").parse().map_err(|_| {
                Failure::new(Kind::Invalid, "nobody is named whom emails come from").hint("from = \"access@…\"")
            })?,
        };
        let way = match (&config.sendmail, &config.smtp) {
            (Some(program), None) => Way::Sendmail(program.clone()),
            (None, Some(smtp)) => Way::Smtp(Box::new(Server::new(smtp, hello)?)),
            (Some(_), Some(_)) | (None, None) => {
                return Err(Failure::new(Kind::Invalid, "emails go by [smtp] or by sendmail: name one"));
            }
        };
        Ok(Email { from, way })
    }
}

impl Carrier for Email {
    fn carry(&mut self, parcel: &Parcel, timeout: Duration) -> Carried {
        let (Address::Email(to), Content::Letter(letter)) = (&parcel.to, &parcel.content) else {
            return Carried::refused("that is no address for email");
        };
        let message = match compose(&self.from, to, letter) {
            Ok(message) => message,
            Err(why) => return Carried::refused(format!("the message can't be written: {why}")),
        };
        match &mut self.way {
            Way::Sendmail(program) => sendmail::send(program, &self.from, to, &message.formatted(), timeout),
            Way::Smtp(server) => server.send(&message, timeout),
        }
    }

    fn close(&mut self) {
        match &mut self.way {
            Way::Smtp(server) => {
                if let Some(mut connection) = server.connection.take() {
                    let _ = connection.quit();
                }
            }
            Way::Sendmail(_) => {}
        }
    }
}

impl Server {
    fn new(wiring: &Smtp, hello: String) -> Result<Server, Failure> {
        let place = Place {
            what: "password",
            file: wiring.password_file.as_deref(),
            credential: wiring.password_credential.as_deref(),
            env: wiring.password_env.as_deref(),
        };
        let login = match (&wiring.user, Secret::load(place)?) {
            (None, None) => None,
            (Some(user), Some(password)) => Some((user.clone(), password)),
            (Some(_), None) | (None, Some(_)) => {
                return Err(Failure::new(
                    Kind::Invalid,
                    "[smtp] has a user without a password, or the other way round",
                ));
            }
        };
        if wiring.encryption == Encryption::None && login.is_some() && !is_loopback(&wiring.host) {
            let why = format!("[smtp] would show its password on the way to {}", wiring.host);
            return Err(Failure::new(Kind::Invalid, why).hint("encryption = \"starttls\", or \"tls\""));
        }
        let port = wiring.port.unwrap_or(match wiring.encryption {
            Encryption::StartTls => 587,
            Encryption::Tls => 465,
            Encryption::None => 25,
        });
        Ok(Server {
            host: wiring.host.clone(),
            port,
            encryption: wiring.encryption,
            ca_file: wiring.ca_file.clone(),
            tls: None,
            hello: ClientId::Domain(hello),
            login,
            connection: None,
        })
    }

    fn connect(&mut self, timeout: Duration) -> Result<SmtpConnection, Carried> {
        if self.encryption != Encryption::None && self.tls.is_none() {
            let tls = trust(&self.host, self.ca_file.as_deref());
            self.tls = Some(tls.map_err(|failure| Carried::route_failed(failure.message))?);
        }
        self.open(timeout).map_err(|error| {
            let why = self.in_words(&error);
            if error.is_permanent() { Carried::route_refused(why) } else { Carried::route_failed(why) }
        })
    }

    fn open(&self, timeout: Duration) -> Result<SmtpConnection, smtp::Error> {
        let at_once = if self.encryption == Encryption::Tls { self.tls.as_ref() } else { None };
        let place = (self.host.as_str(), self.port);
        let mut connection = SmtpConnection::connect(place, Some(timeout), &self.hello, at_once, None)?;
        if let (Encryption::StartTls, Some(tls)) = (self.encryption, &self.tls) {
            connection.starttls(tls, &self.hello)?;
        }
        if let Some((user, password)) = &self.login {
            let credentials = Credentials::new(user.clone(), password.reveal().to_owned());
            connection.auth(&[Mechanism::Plain, Mechanism::Login], &credentials)?;
        }
        Ok(connection)
    }

    fn send(&mut self, message: &Message, timeout: Duration) -> Carried {
        // A server may have closed a connection that served others before: then a new one is tried, once.
        for connection in [self.connection.take(), None] {
            let kept = connection.is_some();
            let mut connection = match connection.map_or_else(|| self.connect(timeout), Ok) {
                Ok(connection) => connection,
                Err(carried) => return carried,
            };
            let _ = connection.set_timeout(Some(timeout));
            match transact(&mut connection, message) {
                Ok(answer) => {
                    self.connection = Some(connection);
                    return Carried::sent(clean(&answer));
                }
                Err(Trouble { error, at_the_door: true }) if kept && !error.is_permanent() => {}
                Err(Trouble { error, .. }) => {
                    let why = self.in_words(&error);
                    // An answer of the server's is about this message; silence, or 421, is about all of them.
                    let closing = error.status().is_some_and(|code| u16::from(code) == 421);
                    let answered = error.status().is_some() && !closing;
                    if answered && connection.command(Rset).is_ok() {
                        self.connection = Some(connection);
                    }
                    return match (error.is_permanent(), answered) {
                        (true, _) => Carried::refused(why),
                        (false, true) => Carried::failed(why),
                        (false, false) => Carried::route_failed(why),
                    };
                }
            }
        }
        Carried::route_failed("the server closes each connection")
    }

    fn in_words(&self, error: &smtp::Error) -> String {
        let mut words = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            // A socket's patience at its end, as the system names it.
            let late = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
            if matches!(late, Some(ErrorKind::WouldBlock | ErrorKind::TimedOut)) {
                return "no answer in time".to_owned();
            }
            let cause_words = cause.to_string();
            if !words.contains(&cause_words) {
                words = format!("{words}: {cause_words}");
            }
            source = cause.source();
        }
        let words = match &self.login {
            Some((_, password)) => password.hidden_in(&words),
            None => words,
        };
        clean(&words)
    }
}

/// One message, on a connection that stands.
fn transact(connection: &mut SmtpConnection, message: &Message) -> Result<String, Trouble> {
    let door = |error| Trouble { error, at_the_door: true };
    let inside = |error| Trouble { error, at_the_door: false };
    let envelope = message.envelope();
    connection.command(Mail::new(envelope.from().cloned(), Vec::new())).map_err(door)?;
    for to in envelope.to() {
        connection.command(Rcpt::new(to.clone(), Vec::new())).map_err(inside)?;
    }
    connection.command(Data).map_err(inside)?;
    let response = connection.command(Body(&message.formatted())).map_err(inside)?;
    let said: Vec<&str> = response.message().collect();
    Ok(format!("{} {}", response.code(), said.join(" ")))
}

/// A message as SMTP carries it, in one piece. The library's own way writes its end apart, and then the system waits for
/// the other side to acknowledge the rest: forty milliseconds for each message.
struct Body<'m>(&'m [u8]);

impl fmt::Display for Body<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Its encodings are ASCII.
        let text = String::from_utf8_lossy(self.0);
        if text.starts_with('.') {
            f.write_str(".")?;
        }
        // A line that is a dot alone would end it.
        f.write_str(&text.replace("\r\n.", "\r\n.."))?;
        f.write_str(if text.ends_with("\r\n") { ".\r\n" } else { "\r\n.\r\n" })
    }
}

fn trust(host: &str, ca_file: Option<&Path>) -> Result<TlsParameters, Failure> {
    let invalid = |error: smtp::Error| Failure::new(Kind::Invalid, format!("[smtp]: {error}"));
    let mut builder = TlsParameters::builder(host.to_owned()).certificate_store(CertificateStore::None);
    for certificate in roots(ca_file)? {
        // A certificate of the system's that can't be used is no reason to trust none of the others.
        if let Ok(certificate) = Certificate::from_der(certificate.to_vec()) {
            builder = builder.add_root_certificate(certificate);
        }
    }
    builder.build_rustls().map_err(invalid)
}

/// What a server said, on one line of at most 300 characters that act on nothing.
fn clean(text: &str) -> String {
    let plain = text.chars().map(|c| if is_hostile(c) { ' ' } else { c });
    plain.take(300).collect::<String>().trim().to_owned()
}

fn compose(from: &EmailAddress, to: &EmailAddress, letter: &Letter) -> Result<Message, String> {
    let mailbox = |address: &EmailAddress, name: Option<String>| -> Result<Mailbox, String> {
        let address = address.as_str().parse().map_err(|_| format!("{address} is no address that mail is sent to"))?;
        Ok(Mailbox::new(name, address))
    };
    let domain = from.as_str().rsplit_once('@').map_or("localhost", |(_, domain)| domain);
    let team = &letter.team;
    let header = |name: &'static str, value: String| HeaderValue::new(HeaderName::new_from_ascii_str(name), value);
    let sent = SystemTime::UNIX_EPOCH + Duration::from_secs(letter.at.unix().unsigned_abs());
    let mut builder = Message::builder()
        .from(mailbox(from, Some(format!("access {team}")))?)
        .to(mailbox(to, None)?)
        .subject(letter.subject.clone())
        .date(sent)
        .message_id(Some(format!("<{}@{domain}>", letter.token)))
        .raw_header(header("Auto-Submitted", "auto-generated".to_owned()))
        .raw_header(header("List-Id", format!("access <{team}.access.{domain}>")));
    if let Some(thread) = &letter.thread {
        let root = format!("<{thread}@{domain}>");
        builder = builder.in_reply_to(root.clone()).references(root);
    }
    let parts = MultiPart::alternative_plain_html(plain(letter), html(letter));
    builder.multipart(parts).map_err(|error| error.to_string())
}

fn plain(letter: &Letter) -> String {
    let mut text = String::new();
    for piece in &letter.pieces {
        if !text.is_empty() {
            text += "\n----\n\n";
        }
        text += &plain_piece(piece);
    }
    text + &format!(
        "\n-- \naccess, for the team {}. `access notify` says why you get this, and how to get less.\n",
        letter.team
    )
}

fn plain_piece(piece: &Piece) -> String {
    let mut text = format!("{}\n", piece.text);
    if !piece.facts.is_empty() {
        text += "\n";
    }
    for (label, fact) in &piece.facts {
        let fact = fact.replace('\n', &format!("\n{:11}", ""));
        text += &format!("{:<10} {fact}\n", format!("{label}:"));
    }
    if !piece.commands.is_empty() {
        text += "\n";
    }
    for command in &piece.commands {
        text += &format!("    {command}\n");
    }
    text + &format!("\n{}\n", piece.at)
}

fn html(letter: &Letter) -> String {
    let pieces: Vec<String> = letter.pieces.iter().map(html_piece).collect();
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{}</title></head>\
         <body style=\"font-family:sans-serif;max-width:40em\">\n{}\n<p style=\"color:#666;font-size:small\">access, for \
         the team {}. <code>access notify</code> says why you get this, and how to get less.</p></body></html>\n",
        escaped(&letter.subject),
        pieces.join("\n<hr>\n"),
        escaped(letter.team.as_str())
    )
}

fn html_piece(piece: &Piece) -> String {
    let mut html = format!("<h3>{}</h3>\n<p>{}</p>\n", escaped(&piece.headline), escaped(&piece.text));
    if !piece.facts.is_empty() {
        html += "<table cellpadding=\"4\">\n";
        for (label, fact) in &piece.facts {
            html += &format!(
                "<tr><td style=\"color:#666;vertical-align:top\">{label}</td><td>{}</td></tr>\n",
                escaped(fact)
            );
        }
        html += "</table>\n";
    }
    if !piece.commands.is_empty() {
        let commands: Vec<String> = piece.commands.iter().map(|command| escaped(command)).collect();
        html += &format!("<pre style=\"background:#eee;padding:8px\">{}</pre>\n", commands.join("\n"));
    }
    html + &format!("<p style=\"color:#666\">{}</p>", piece.at)
}

/// For HTML. What could turn the reading round is refused when it comes in; here it is made visible all the same.
fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => html += "&amp;",
            '<' => html += "&lt;",
            '>' => html += "&gt;",
            '"' => html += "&quot;",
            '\'' => html += "&#39;",
            '\n' => html += "<br>\n",
            c if is_hostile(c) => html.extend(c.escape_unicode()),
            c => html.push(c),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter() -> Letter {
        let at = "2026-11-24T09:00:00Z".parse().unwrap();
        let piece = Piece {
            at,
            headline: "bob asks for target:orders-db (request 12)".to_owned(),
            text: "<script>alert(1)</script>\nBcc: eve@evil.example".to_owned(),
            facts: vec![("Why", "a\n.\nb & \"c\"".to_owned())],
            commands: vec!["access approve 12".to_owned()],
        };
        Letter::of("acme".parse().unwrap(), "12.ab".to_owned(), Some("r12.cd".to_owned()), vec![piece]).unwrap()
    }

    #[test]
    fn the_headers_hold_nothing_that_people_wrote() {
        let from: EmailAddress = "access@acme.example".parse().unwrap();
        let message = compose(&from, &"alice@acme.example".parse().unwrap(), &letter()).unwrap().formatted();
        let text = String::from_utf8(message).unwrap();
        let (headers, body) = text.split_once("\r\n\r\n").unwrap();
        for header in [
            "From: \"access acme\" <access@acme.example>",
            "To: alice@acme.example",
            "Subject: [acme] bob asks for target:orders-db (request 12)",
            "Message-ID: <12.ab@acme.example>",
            "References: <r12.cd@acme.example>",
            "In-Reply-To: <r12.cd@acme.example>",
            "Auto-Submitted: auto-generated",
            "List-Id: access <acme.access.acme.example>",
            "Date: Tue, 24 Nov 2026 09:00:00 +0000",
        ] {
            assert!(headers.contains(header), "{header}\n{headers}");
        }
        assert!(!headers.contains("eve@"), "{headers}");
        let html = body.split_once("text/html").unwrap().1;
        assert!(html.contains("&lt;script&gt;") && !html.contains("<script>"), "{html}");
    }

    #[test]
    fn no_line_of_a_message_ends_it() {
        assert_eq!(Body(b".a\r\n.\r\nb").to_string(), "..a\r\n..\r\nb\r\n.\r\n");
        assert_eq!(Body(b"a\r\n").to_string(), "a\r\n.\r\n");
    }

    #[test]
    fn html_is_escaped() {
        assert_eq!(escaped("<a href='x'>\u{202e}"), "&lt;a href=&#39;x&#39;&gt;\\u{202e}");
    }
}
