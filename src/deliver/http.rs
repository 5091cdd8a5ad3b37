//! HTTP POST with a time limit, without following redirects.

use std::cell::OnceCell;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, NaiveDateTime, Utc};
use rustls::pki_types::CertificateDer;
use ureq::Agent;

use super::proxy::Proxies;
use super::{Blame, Outcome};
use crate::config;
use crate::error::{Failure, Kind};
use crate::http_client;
use crate::tls;

/// A response.
#[derive(Debug)]
pub struct HttpAnswer {
    pub status: u16,
    /// `Retry-After`, in seconds.
    pub retry_after: Option<u64>,
    /// The host that a redirect leads to. (Its path may be a secret.)
    pub elsewhere: Option<String>,
    pub body: String,
}

impl HttpAnswer {
    /// The status; for a redirect also where it leads, and what to do.
    pub fn describe(&self, who: &str) -> String {
        let status = format!("{who} answered {}", self.status);
        match (self.status, &self.elsewhere) {
            (300..=399, Some(host)) => {
                let host: String = host.chars().take(100).collect();
                format!("{status}, a redirect to {host}, which is not followed: change the address in config.toml")
            }
            (300..=399, None) => {
                format!("{status}, a redirect, which is not followed: change the address in config.toml")
            }
            _ => status,
        }
    }
}

/// Why there is no response.
#[derive(Debug)]
pub struct HttpFault {
    why: String,
    blame: Blame,
}

impl HttpFault {
    pub fn outcome(self) -> Outcome {
        Outcome::route_failed(self.why).blaming(self.blame)
    }
}

pub struct HttpClient {
    /// Whether certificates are needed at all.
    encrypted: bool,
    ca_file: Option<PathBuf>,
    proxies: Proxies,
    /// Hosts that are reached without a proxy.
    direct: Vec<String>,
    /// Made when it is first needed: loading certificates takes time, and most runs send nothing.
    agent: OnceCell<Agent>,
}

/// The longest response body: 64 KiB.
const LONGEST: u64 = 64 << 10;

/// The trusted certificates: those in this file, or the system's.
pub fn roots(ca_file: Option<&Path>) -> Result<Vec<CertificateDer<'static>>, Failure> {
    ca_file.map_or(Ok(()), config::trusted_certificates)?;
    tls::trusted(ca_file)
}

/// Where `http://` is allowed.
#[derive(Clone, Copy, Default)]
pub struct Plain<'c> {
    /// To these hosts.
    pub hosts: &'c [String],
    /// To every port of this machine.
    pub allow_plain: bool,
}

/// Refuses a URL that is neither encrypted, nor on a port of this machine that only root can listen on, nor allowed in
/// plain text.
pub fn check_url(what: &str, url: &str, plain: Plain<'_>) -> Result<(), Failure> {
    let invalid = |why: String| Failure::new(Kind::Invalid, format!("{what}: {why}"));
    let parsed: ureq::http::Uri = url.parse().map_err(|_| invalid("its url is not valid".to_owned()))?;
    let Some(host) = parsed.host() else { return Err(invalid("its url names no host".to_owned())) };
    let port = parsed.port_u16().unwrap_or(80);
    match parsed.scheme_str() {
        Some("https") => Ok(()),
        Some("http") if plain.hosts.iter().any(|name| name == host) => Ok(()),
        Some("http") if is_loopback(host) && (plain.allow_plain || !squattable(port)) => Ok(()),
        Some("http") if is_loopback(host) => Err(invalid(format!(
            "http:// to port {port} of this machine would show all of it to any program that listens there"
        ))
        .hint("give it an https:// address, or a port below 1024, which only root can take")
        .hint("or, where nobody else can run programs here: allow_plain = true in its section")),
        Some("http") => Err(invalid(format!("http:// to {host} would show all of it on the way"))
            .hint("give it an https:// address")
            .hint(format!("or, for a webhook on a network you trust, allow_http = [\"{host}\"]"))),
        Some(_) | None => Err(invalid("its url begins with https://".to_owned())),
    }
}

/// Whether this host is this machine.
pub fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let is_address = || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback());
    host.eq_ignore_ascii_case("localhost") || is_address()
}

/// Whether any user of this machine can listen on this port while its service is down.
pub fn squattable(port: u16) -> bool {
    port >= 1024
}

impl HttpClient {
    /// `direct`: hosts that are reached without a proxy.
    pub fn new(encrypted: bool, ca_file: Option<&Path>, proxies: &Proxies, direct: &[String]) -> HttpClient {
        let (proxies, direct) = (proxies.clone(), direct.to_vec());
        HttpClient { encrypted, ca_file: ca_file.map(Path::to_owned), proxies, direct, agent: OnceCell::new() }
    }

    fn agent(&self) -> Result<&Agent, Failure> {
        if let Some(agent) = self.agent.get() {
            return Ok(agent);
        }
        let trusted = if self.encrypted { roots(self.ca_file.as_deref())? } else { Vec::new() };
        Ok(self.agent.get_or_init(|| http_client::open(&trusted, None)))
    }

    /// Posts JSON. The error never contains the URL, which can be a secret.
    pub fn post(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        body: &str,
        timeout: Duration,
    ) -> Result<HttpAnswer, HttpFault> {
        let unread = |failure: Failure| HttpFault { why: failure.message, blame: Blame::Elsewhere };
        let agent = self.agent().map_err(unread)?;
        let mut request = agent.post(url).header("content-type", "application/json; charset=utf-8");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let config = request.config().timeout_global(Some(timeout)).proxy(self.proxies.toward(url, &self.direct));
        let request = config.build();
        let mut response = request.send(body).map_err(|error| fault(&error))?;
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let now = || DateTime::from(SystemTime::now());
        let retry_after = header("retry-after").and_then(|text| {
            // Relative to the server's clock, if it sends its time.
            retry_after(text, || header("date").and_then(http_date).unwrap_or_else(now))
        });
        let elsewhere = header("location").and_then(|location| location.parse::<ureq::http::Uri>().ok());
        let elsewhere = elsewhere.and_then(|location| location.host().map(str::to_owned));
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(LONGEST).read_to_string();
        // Only a success needs its body.
        let body = match body {
            Err(error) if (200..300).contains(&status) => return Err(fault(&error)),
            body => body.unwrap_or_default(),
        };
        Ok(HttpAnswer { status, retry_after, elsewhere, body })
    }
}

/// The seconds of `Retry-After`: a number, or a date (RFC 9110 10.2.3). Fractions, which some servers send against the
/// standard, are rounded up.
fn retry_after(text: &str, now: impl FnOnce() -> DateTime<Utc>) -> Option<u64> {
    let text = text.trim();
    if let Some(date) = http_date(text) {
        return Some((date - now()).num_seconds().max(0).unsigned_abs());
    }
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(part) {
        return None;
    }
    // Too many digits for a number: a very long time.
    let seconds = whole.parse::<u64>().unwrap_or(u64::MAX);
    Some(seconds.saturating_add(u64::from(part.bytes().any(|b| b != b'0'))))
}

/// An HTTP date in today's format, or one of the two obsolete ones (RFC 9110 5.6.7).
fn http_date(text: &str) -> Option<DateTime<Utc>> {
    let shapes = ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];
    let date = |shape: &&str| NaiveDateTime::parse_from_str(text.trim(), shape).ok();
    shapes.iter().find_map(date).map(|date| date.and_utc())
}

fn fault(error: &ureq::Error) -> HttpFault {
    let blame = match error {
        ureq::Error::HostNotFound
        | ureq::Error::Rustls(_)
        | ureq::Error::Tls(_)
        | ureq::Error::ConnectionFailed
        | ureq::Error::ConnectProxyFailed(_)
        | ureq::Error::Timeout(ureq::Timeout::Resolve | ureq::Timeout::Connect) => Blame::Elsewhere,
        ureq::Error::Io(error)
            if matches!(
                error.kind(),
                ErrorKind::ConnectionRefused | ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable
            ) =>
        {
            Blame::Elsewhere
        }
        _ => Blame::Unclear,
    };
    HttpFault { why: describe(error), blame }
}

fn describe(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Timeout(_) => "no answer in time".to_owned(),
        ureq::Error::HostNotFound => "there is no such host".to_owned(),
        ureq::Error::Io(error) => error.to_string(),
        ureq::Error::Rustls(error) => format!("the encryption failed: {error}"),
        ureq::Error::Tls(why) => format!("the encryption failed: {why}"),
        ureq::Error::ConnectionFailed => "no connection".to_owned(),
        ureq::Error::ConnectProxyFailed(_) => "the proxy makes no connection there".to_owned(),
        ureq::Error::Protocol(_) => "the answer is not HTTP".to_owned(),
        ureq::Error::BodyExceedsLimit(_) => "the answer is too long".to_owned(),
        // The library's own text could contain the URL.
        _ => "the request could not be made".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_time_to_come_again_panics(
            text in "\\PC{0,12}|[0-9.]{0,30}|(Sun|Mon|Tue), [0-9]{1,2} (Nov|Feb) -?[0-9]{1,7} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT",
            now in -62_000_000_000_i64..253_000_000_000,
        ) {
            retry_after(&text, || DateTime::from_timestamp(now, 0).unwrap());
        }
    }

    #[test]
    fn when_to_come_again() {
        let now = || http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        for (text, seconds) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("1.5", Some(2)),
            ("1.0", Some(1)),
            ("0.001", Some(1)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("Sun, 06 Nov 1994 08:51:37 GMT", Some(120)),
            ("Sunday, 06-Nov-94 08:51:37 GMT", Some(120)),
            ("Sun Nov  6 08:51:37 1994", Some(120)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", Some(0)),
            ("", None),
            ("-1", None),
            ("1.", None),
            (".5", None),
            ("1e3", None),
            ("inf", None),
            ("soon", None),
            ("Sun, 06 Nov 1994 08:51:37 +0100", None),
            ("Sun, 99 Nov 1994 08:51:37 GMT", None),
        ] {
            assert_eq!(retry_after(text, now), seconds, "{text:?}");
        }
    }

    #[test]
    fn what_may_be_posted_to() {
        let hosts = ["siem.internal".to_owned()];
        let plain = Plain { hosts: &hosts, allow_plain: false };
        for url in ["https://x.example/y", "http://127.0.0.1/", "http://[::1]:1023/", "http://siem.internal:8080/in"] {
            assert!(check_url("w", url, plain).is_ok(), "{url}");
        }
        for url in ["http://127.0.0.1:8080/", "http://[::1]:1024/", "http://localhost:65535/"] {
            assert!(check_url("w", url, plain).is_err(), "{url}");
            assert!(check_url("w", url, Plain { allow_plain: true, ..plain }).is_ok(), "{url}");
        }
        for url in
            ["http://x.example/", "ftp://x.example/", "x.example", "", "http://127.0.0.1.evil.example/", "http://"]
        {
            assert!(check_url("w", url, Plain { allow_plain: true, ..plain }).is_err(), "{url}");
        }
    }
}
