//! HTTPS requests of connectors.

use std::path::Path;
use std::time::Duration;

use ureq::http::Response;
use ureq::{Agent, Body};

use super::NotDone;
use crate::error::{Failure, Kind};
use crate::http_client;
use crate::tls;

/// How long one request may take.
const LIMIT: Duration = Duration::from_secs(10);
/// After so many requests without an answer it counts as down. One alone can be about one group.
const SILENT: u32 = 2;
/// The longest answer: 16 MiB.
const LONGEST: u64 = 16 << 20;

/// A service on the web, by its URL.
pub struct Website {
    agent: Agent,
    /// Without a slash at its end.
    pub base: String,
    /// How many requests in a row got no answer.
    silent: u32,
    /// Set when it could not be reached. The other operations of this run then do not try for as long again.
    down: Option<NotDone>,
}

impl Website {
    pub fn new(url: &str, allow_plain: bool, ca_file: Option<&Path>) -> Result<Website, Failure> {
        // The URL is not repeated: it may have a password, and members read this.
        let usage = |why: &str| Err(Failure::new(Kind::Usage, format!("--url {why}")));
        let Ok(parsed) = url.parse::<ureq::http::Uri>() else { return usage("is not valid") };
        let encrypted = match parsed.scheme_str() {
            Some("https") => true,
            Some("http") if allow_plain => false,
            Some("http") => return usage("is not encrypted"),
            Some(_) | None => return usage("begins with https://"),
        };
        if parsed.query().is_some() || parsed.authority().is_none_or(|authority| authority.as_str().contains('@')) {
            return usage("is not valid: leave out user, password and query");
        }
        let trusted = if encrypted { tls::trusted(ca_file)? } else { Vec::new() };
        let agent = http_client::open(&trusted, Some(LIMIT));
        Ok(Website { agent, base: url.trim_end_matches('/').to_owned(), silent: 0, down: None })
    }

    /// Sends a request. Returns the status and the text.
    pub fn ask(
        &mut self,
        send: impl Fn(&Agent, &str) -> Result<Response<Body>, ureq::Error>,
    ) -> Result<(u16, String), NotDone> {
        if let Some(why) = &self.down {
            return Err(why.clone());
        }
        let mut response = send(&self.agent, &self.base).map_err(|error| self.missed(&error))?;
        let text = response.body_mut().with_config().limit(LONGEST).read_to_string();
        match text {
            Ok(text) => {
                self.silent = 0;
                Ok((response.status().as_u16(), text))
            }
            Err(error @ ureq::Error::Timeout(_)) => Err(self.missed(&error)),
            // It answers, if with nothing of use.
            Err(error) => Err(unreachable(&error)),
        }
    }

    /// No answer came.
    fn missed(&mut self, error: &ureq::Error) -> NotDone {
        let why = unreachable(error);
        self.silent += 1;
        if self.silent >= SILENT {
            self.down = Some(why.clone());
        }
        why
    }
}

/// The request may have been sent, and only its answer be lost, unless the error says that there was no connection.
fn unreachable(error: &ureq::Error) -> NotDone {
    use ureq::Error::{BadUri, Http, Io, Pem, Rustls, Tls};
    let text = format!("the service can't be reached: {error}");
    let never_sent = match error {
        BadUri(_) | Http(_) | Pem(_) | Rustls(_) | Tls(_) => true,
        Io(error) => {
            let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
            matches!(cause, Some(rustls::Error::InvalidCertificate(_)))
        }
        _ => false,
    };
    if never_sent { NotDone::Failed(text) } else { NotDone::Later(text) }
}

/// As a part of a path, of a query or of a form.
pub fn encode(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    text.bytes().map(|byte| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
