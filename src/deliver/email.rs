//! Email: over SMTP, with one connection for all messages of a run, or through the host's own `sendmail`.
//!
//! Headers contain only ids and names, which can't have characters that mean anything in a header. What people wrote is only
//! in the body.

mod checkpoint;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use rustls::{ClientConfig, RootCertStore};

use super::http::{is_loopback, roots, squattable};
use super::secret::{Secret, SecretSource};
use super::smtp::{Reply, SmtpConnection, SmtpError};
use super::{Blame, Outcome, Transport, hello, sendmail};
use crate::config::{Config, Encryption, Smtp};
use crate::domain::channel::Address;
use crate::domain::contact::Email as EmailAddress;
use crate::domain::message::{Body, Message, Notification, Notifications};
use crate::domain::text::{acts_or_hides, indented, visible};
use crate::error::{Failure, Kind};

pub struct EmailTransport {
    from: EmailAddress,
    relay: Relay,
}

enum Relay {
    Smtp(Box<Server>),
    Sendmail(PathBuf),
}

struct Server {
    host: String,
    port: u16,
    encryption: Encryption,
    ca_file: Option<PathBuf>,
    /// Made when it is first needed: loading certificates takes time, and most runs send nothing.
    tls: Option<Arc<ClientConfig>>,
    /// The name for EHLO. None: the address of our end of the connection.
    hello: Option<String>,
    login: Option<(String, Secret)>,
    connection: Option<SmtpConnection>,
}

/// The step at which the server refused a message, or the connection broke.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Before the recipient: the fault concerns all messages, since they have the same sender.
    Sender,
    /// The fault concerns the recipient.
    Recipient,
    /// The server had the whole message: the fault concerns that.
    Message,
}

impl EmailTransport {
    pub fn new(config: &Config) -> Result<EmailTransport, Failure> {
        let (host, full) = hello::names();
        let hello = match config.smtp.as_ref().and_then(|smtp| smtp.hello.clone()) {
            Some(name) if hello::is_name(&name) => Some(name),
            Some(name) => {
                let message = format!("hello in [smtp] is {name:?}, which is not a host name");
                return Err(Failure::new(Kind::Invalid, message)
                    .hint("write a name such as mail.example.com, or an address: [192.0.2.1] or [IPv6:2001:db8::1]"));
            }
            None => full.clone(),
        };
        let from = config.smtp.as_ref().and_then(|smtp| smtp.from.clone()).or_else(|| config.from.clone());
        let from = match from {
            Some(from) => from,
            None => format!("access@{}", full.unwrap_or(host)).parse().map_err(|_| {
                Failure::new(Kind::Invalid, "config.toml names no sender of emails").hint("from = \"access@…\"")
            })?,
        };
        if let Err(why) = EmailAddress::check(from.as_str()) {
            return Err(Failure::new(Kind::Invalid, format!("from = \"{from}\": {why}")));
        }
        let relay = match (&config.sendmail, &config.smtp) {
            (Some(program), None) => Relay::Sendmail(sendmail::checked(program)?),
            (None, Some(smtp)) => Relay::Smtp(Box::new(Server::new(smtp, hello)?)),
            (Some(_), Some(_)) => {
                return Err(Failure::new(Kind::Invalid, "config.toml has both [smtp] and sendmail: keep one"));
            }
            (None, None) => {
                return Err(Failure::new(
                    Kind::Invalid,
                    "[checkpoints] has mail, and config.toml does not say how to send it",
                )
                .hint("add [smtp] or sendmail"));
            }
        };
        Ok(EmailTransport { from, relay })
    }
}

impl Transport for EmailTransport {
    fn send(&mut self, message: &Message, timeout: Duration) -> Outcome {
        let Address::Email(to) = &message.to else { return Outcome::refused("this is not an email") };
        let email = match compose(&self.from, to, &message.id, &message.body) {
            Ok(email) => email,
            Err(why) => return Outcome::refused(format!("the email can't be written: {why}")),
        };
        match &mut self.relay {
            Relay::Sendmail(program) => sendmail::send(program, &self.from, to, &email.formatted(), timeout),
            Relay::Smtp(server) => server.send(&email, timeout),
        }
    }

    fn close(&mut self) {
        match &mut self.relay {
            Relay::Smtp(server) => {
                if let Some(connection) = server.connection.take() {
                    connection.quit();
                }
            }
            Relay::Sendmail(_) => {}
        }
    }
}

impl Server {
    fn new(settings: &Smtp, hello: Option<String>) -> Result<Server, Failure> {
        let source = SecretSource {
            what: "password",
            file: settings.password_file.as_deref(),
            credential: settings.password_credential.as_deref(),
            env: settings.password_env.as_deref(),
        };
        let login = match (&settings.user, Secret::load(source)?) {
            (None, None) => None,
            (Some(user), Some(password)) => Some((user.clone(), password)),
            (Some(_), None) | (None, Some(_)) => {
                return Err(Failure::new(
                    Kind::Invalid,
                    "[smtp] has a user without a password, or the other way round",
                ));
            }
        };
        let port = settings.port.unwrap_or(match settings.encryption {
            Encryption::StartTls => 587,
            Encryption::Tls => 465,
            Encryption::None => 25,
        });
        if settings.encryption == Encryption::None && login.is_some() {
            if !is_loopback(&settings.host) {
                let why = format!("[smtp] would show its password on the way to {}", settings.host);
                return Err(Failure::new(Kind::Invalid, why).hint("encryption = \"starttls\", or \"tls\""));
            }
            if squattable(port) && !settings.allow_plain {
                let why = format!(
                    "[smtp] would show its password to any program that listens on port {port} of this machine"
                );
                return Err(Failure::new(Kind::Invalid, why)
                    .hint("encryption = \"starttls\" or \"tls\", or a port below 1024, which only root can take")
                    .hint("or, where nobody else can run programs here: allow_plain = true in [smtp]"));
            }
        }
        Ok(Server {
            host: settings.host.clone(),
            port,
            encryption: settings.encryption,
            ca_file: settings.ca_file.clone(),
            tls: None,
            hello,
            login,
            connection: None,
        })
    }

    fn connect(&mut self, timeout: Duration) -> Result<SmtpConnection, Outcome> {
        let tls = match (self.encryption, &self.tls) {
            (Encryption::None, _) => None,
            (_, Some(tls)) => Some(Arc::clone(tls)),
            (_, None) => {
                let tls = trust(self.ca_file.as_deref()).map_err(|failure| Outcome::route_failed(failure.message))?;
                self.tls = Some(Arc::clone(&tls));
                Some(tls)
            }
        };
        // A fault here meets every message, so it counts against none.
        self.open(tls.as_ref(), timeout).map_err(|fault| Outcome::route_failed(self.describe(&fault)))
    }

    fn open(&self, tls: Option<&Arc<ClientConfig>>, timeout: Duration) -> Result<SmtpConnection, SmtpError> {
        let at_once = tls.filter(|_| self.encryption == Encryption::Tls);
        let mut connection = SmtpConnection::open(&self.host, self.port, at_once, timeout)?;
        let hello = self.hello.clone().unwrap_or_else(|| connection.address_literal());
        connection.hello(&hello)?;
        if let (Encryption::StartTls, Some(tls)) = (self.encryption, tls) {
            connection = connection.start_tls(&self.host, tls, &hello)?;
        }
        if let Some((user, password)) = &self.login {
            connection.log_in(user, password.reveal())?;
        }
        Ok(connection)
    }

    fn send(&mut self, email: &lettre::Message, timeout: Duration) -> Outcome {
        // The server may have closed a connection that was kept open. Then try a new one, once.
        for connection in [self.connection.take(), None] {
            let kept = connection.is_some();
            let mut connection = match connection.map_or_else(|| self.connect(timeout), Ok) {
                Ok(connection) => connection,
                Err(outcome) => return outcome,
            };
            connection.set_timeout(timeout);
            match transact(&mut connection, email) {
                Ok(reply) => {
                    self.connection = Some(connection);
                    return Outcome::sent(self.shown(&reply));
                }
                Err((Step::Sender, SmtpError::Broken(_))) if kept => {}
                Err((Step::Sender, SmtpError::Answered(Reply { code: ..500, .. }))) if kept => {}
                Err((step, fault)) => {
                    let why = self.describe(&fault);
                    let reply = match fault {
                        SmtpError::Answered(reply) if reply.code != 421 => reply,
                        SmtpError::Answered(_) | SmtpError::Broken(_) if step == Step::Message => {
                            return Outcome::route_failed(why).blaming(Blame::Unclear);
                        }
                        SmtpError::Answered(_) | SmtpError::Broken(_) => return Outcome::route_failed(why),
                    };
                    if step == Step::Sender {
                        return Outcome::route_failed(why);
                    }
                    if connection.command("RSET", 2).is_ok() {
                        self.connection = Some(connection);
                    }
                    let outcome = if is_permanent(&reply) { Outcome::refused(why) } else { Outcome::failed(why) };
                    return if step == Step::Message { outcome.blaming(Blame::Content) } else { outcome };
                }
            }
        }
        Outcome::route_failed("the server closes every connection")
    }

    fn describe(&self, fault: &SmtpError) -> String {
        match fault {
            SmtpError::Answered(reply) => format!("the server answered {}", self.shown(reply)),
            SmtpError::Broken(why) => why.clone(),
        }
    }

    /// A reply that is safe to keep: only its code if the text repeats the password in any form that was sent.
    fn shown(&self, reply: &Reply) -> String {
        let Reply { code, text } = reply;
        let repeats = self.login.as_ref().is_some_and(|(user, password)| {
            let plain = password.reveal();
            let sent = [plain.to_owned(), STANDARD.encode(plain), STANDARD.encode(format!("\0{user}\0{plain}"))];
            let bare = |text: &str| text.split_whitespace().collect::<String>();
            sent.iter().any(|form| bare(text).contains(&bare(form)))
        });
        if repeats {
            format!("{code} and repeated the password")
        } else {
            format!("{code} {}", text.replace('\n', " "))
        }
    }
}

/// Whether no later attempt can succeed. A missing login or a denied relay (530, or 5.7.z of RFC 3463) can be fixed without
/// changing the message.
fn is_permanent(reply: &Reply) -> bool {
    let against_us = matches!(reply.code, 530 | 534 | 535 | 538) || reply.text.starts_with("5.7.");
    reply.code >= 500 && !against_us
}

/// Sends one message on an open connection.
fn transact(connection: &mut SmtpConnection, email: &lettre::Message) -> Result<Reply, (Step, SmtpError)> {
    let envelope = email.envelope();
    let from = envelope.from().map(ToString::to_string).unwrap_or_default();
    connection.command(&format!("MAIL FROM:<{from}>"), 2).map_err(|fault| (Step::Sender, fault))?;
    for to in envelope.to() {
        connection.command(&format!("RCPT TO:<{to}>"), 2).map_err(|fault| (Step::Recipient, fault))?;
    }
    connection.command("DATA", 3).map_err(|fault| (Step::Recipient, fault))?;
    connection.send(&on_the_wire(&email.formatted()), 2).map_err(|fault| (Step::Message, fault))
}

/// A message with dots stuffed, and its end.
fn on_the_wire(message: &[u8]) -> String {
    // All its encodings are ASCII.
    let text = String::from_utf8_lossy(message);
    // A line with only a dot would end the message.
    let stuffed = text.replace("\r\n.", "\r\n..");
    let dot = if text.starts_with('.') { "." } else { "" };
    let end = if text.ends_with("\r\n") { ".\r\n" } else { "\r\n.\r\n" };
    format!("{dot}{stuffed}{end}")
}

fn trust(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, Failure> {
    let invalid = |error: rustls::Error| Failure::new(Kind::Invalid, format!("[smtp]: {error}"));
    let mut trusted = RootCertStore::empty();
    // Skip system certificates that can't be parsed.
    trusted.add_parsable_certificates(roots(ca_file)?);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(Arc::new(config.map_err(invalid)?.with_root_certificates(trusted).with_no_client_auth()))
}

fn compose(from: &EmailAddress, to: &EmailAddress, id: &str, body: &Body) -> Result<lettre::Message, String> {
    let (team, at, subject, thread, parts) = match body {
        Body::Notifications(it) => {
            let parts = MultiPart::alternative_plain_html(plain(it), html(it));
            (&it.team, it.at, it.subject.clone(), it.thread.as_ref(), parts)
        }
        Body::Checkpoint(it) => (&it.team, it.at, checkpoint::subject(it), None, checkpoint::parts(it)?),
        Body::Json(_) => return Err("it is for a program".to_owned()),
    };
    let mailbox = |address: &EmailAddress, name: Option<String>| -> Result<Mailbox, String> {
        let address = address.on_the_wire().parse().map_err(|_| format!("{address} is not an address for mail"))?;
        Ok(Mailbox::new(name, address))
    };
    let sender = from.on_the_wire();
    let domain = sender.rsplit_once('@').map_or("localhost", |(_, domain)| domain);
    let header = |name: &'static str, value: String| HeaderValue::new(HeaderName::new_from_ascii_str(name), value);
    let sent = SystemTime::UNIX_EPOCH + Duration::from_secs(at.unix().unsigned_abs());
    let mut builder = lettre::Message::builder()
        .from(mailbox(from, Some(format!("access {team}")))?)
        .to(mailbox(to, None)?)
        .subject(subject)
        .date(sent)
        .message_id(Some(format!("<{id}@{domain}>")))
        .raw_header(header("Auto-Submitted", "auto-generated".to_owned()))
        .raw_header(header("List-Id", format!("access <{team}.access.{domain}>")));
    if let Some(thread) = thread {
        let root = format!("<{thread}@{domain}>");
        builder = builder.in_reply_to(root.clone()).references(root);
    }
    builder.multipart(parts).map_err(|error| error.to_string())
}

fn plain(notifications: &Notifications) -> String {
    let mut text = String::new();
    for notification in &notifications.each {
        if !text.is_empty() {
            text += "\n----\n\n";
        }
        text += &plain_notification(notification);
    }
    text + &format!(
        "\n-- \nSent by access for the team {}. `access notify` shows why you get this and how to change it.\n",
        notifications.team
    )
}

fn plain_notification(notification: &Notification) -> String {
    let mut text = format!("{}\n", indented(&visible(&notification.text, true), 4));
    if !notification.facts.is_empty() {
        text += "\n";
    }
    for (label, fact) in &notification.facts {
        let fact = indented(&visible(fact, true), 13);
        text += &format!("{:<12} {fact}\n", format!("{label}:"));
    }
    if !notification.commands.is_empty() {
        text += "\n";
    }
    for command in &notification.commands {
        text += &format!("    {command}\n");
    }
    text + &format!("\n{}\n", notification.when)
}

fn html(notifications: &Notifications) -> String {
    let each: Vec<String> = notifications.each.iter().map(html_notification).collect();
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{}</title></head>\
         <body style=\"font-family:sans-serif;max-width:40em\">\n{}\n<p style=\"color:#666;font-size:small\">Sent by \
         access for the team {}. <code>access notify</code> shows why you get this and how to change it.</p></body></html>\n",
        escaped(&notifications.subject),
        each.join("\n<hr>\n"),
        escaped(notifications.team.as_str())
    )
}

fn html_notification(notification: &Notification) -> String {
    let text = escaped(&notification.text).replace(BREAK, &format!("{BREAK}&nbsp;&nbsp;&nbsp;&nbsp;"));
    let mut html = format!("<h3>{}</h3>\n<p>{text}</p>\n", escaped(&notification.headline));
    if !notification.facts.is_empty() {
        html += "<table cellpadding=\"4\">\n";
        for (label, fact) in &notification.facts {
            html += &format!(
                "<tr><td style=\"color:#666;vertical-align:top\">{label}</td><td>{}</td></tr>\n",
                escaped(fact)
            );
        }
        html += "</table>\n";
    }
    if !notification.commands.is_empty() {
        let commands: Vec<String> = notification.commands.iter().map(|command| escaped(command)).collect();
        html += &format!("<pre style=\"background:#eee;padding:8px\">{}</pre>\n", commands.join("\n"));
    }
    html + &format!("<p style=\"color:#666\">{}</p>", escaped(&notification.when))
}

/// Where a line ends.
const BREAK: &str = "<br>\n";

/// Escapes text for HTML. Control and invisible characters become visible: `\u{200b}`.
fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => html += "&amp;",
            '<' => html += "&lt;",
            '>' => html += "&gt;",
            '"' => html += "&quot;",
            '\'' => html += "&#39;",
            '\n' => html += BREAK,
            c if acts_or_hides(c) => html.extend(c.escape_unicode()),
            c => html.push(c),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notifications() -> Body {
        let at = "2026-11-24T09:00:00Z".parse().unwrap();
        let only = Notification {
            at,
            when: "2026-11-24 10:00 CET".to_owned(),
            headline: "bob asks for target:orders-db (request 12)".to_owned(),
            text: "<script>alert(1)</script>\nBcc: eve@evil.example".to_owned(),
            facts: vec![("Why", "a\n.\nb & \"c\"".to_owned())],
            commands: vec!["access approve 12".to_owned()],
        };
        let thread = Some("r12.cd".to_owned());
        Body::Notifications(Box::new(Notifications::new("acme".parse().unwrap(), thread, vec![only]).unwrap()))
    }

    #[test]
    fn the_headers_hold_nothing_that_people_wrote() {
        let from: EmailAddress = "access@acme.example".parse().unwrap();
        let to = "alice@acme.example".parse().unwrap();
        let message = compose(&from, &to, "12.ab", &notifications()).unwrap().formatted();
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
        assert_eq!(on_the_wire(b".a\r\n.\r\nb"), "..a\r\n..\r\nb\r\n.\r\n");
        assert_eq!(on_the_wire(b"a\r\n"), "a\r\n.\r\n");
    }

    #[test]
    fn html_is_escaped() {
        assert_eq!(escaped("<a href='x'>\u{202e}"), "&lt;a href=&#39;x&#39;&gt;\\u{202e}");
    }
}
