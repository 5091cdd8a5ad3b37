//! Requests to a SCIM service, and what its answers mean.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use ureq::Agent;
use ureq::http::Response;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::connectors::{NotDone, files};
use crate::domain::text::acts_or_hides;
use crate::error::{Failure, Kind};

/// How long one request may take.
const LIMIT: Duration = Duration::from_secs(10);
/// The longest answer: 16 MiB.
const LONGEST: u64 = 16 << 20;
const MEDIA: &str = "application/scim+json";

pub struct ScimService {
    agent: Agent,
    /// `https://id.example/scim/v2`, without a slash at its end.
    base: String,
    authorization: String,
    /// Set when the service could not be reached. The other operations of this run then do not try for as long again.
    down: Option<NotDone>,
}

pub struct ScimAnswer {
    pub status: u16,
    /// Null if the answer is not JSON.
    pub body: Value,
}

impl ScimAnswer {
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Why it is no success.
    pub fn not_done(&self) -> NotDone {
        let detail = self.body.get("detail").and_then(Value::as_str).unwrap_or_default();
        let detail: String = detail.chars().filter(|c| !acts_or_hides(*c)).take(200).collect();
        let text = format!("the service answers {} {detail}", self.status).trim_end().to_owned();
        match self.status {
            // A conflict of two changes, too many requests, and faults of the service.
            408 | 409 | 412 | 425 | 429 | 500..=599 => NotDone::Later(text),
            _ => NotDone::Failed(text),
        }
    }
}

impl ScimService {
    pub fn new(url: &str, allow_plain: bool, ca_file: Option<&Path>, token: &str) -> Result<ScimService, Failure> {
        let usage = |why: &str| Err(Failure::new(Kind::Usage, format!("--url {why}: {url}")));
        let Ok(parsed) = url.parse::<ureq::http::Uri>() else { return usage("is not valid") };
        let encrypted = match parsed.scheme_str() {
            Some("https") => true,
            Some("http") if allow_plain => false,
            Some("http") => return usage("is not encrypted"),
            Some(_) | None => return usage("begins with https://"),
        };
        if parsed.query().is_some() || parsed.authority().is_none_or(|authority| authority.as_str().contains('@')) {
            return usage("is not valid");
        }
        let trusted = if encrypted { files::trusted(ca_file)? } else { Vec::new() };
        let trusted: Vec<_> = trusted.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect();
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::Specific(Arc::new(trusted)))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            // Redirects are not followed: they could lead anywhere, with the token.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent("access")
            .proxy(None)
            .timeout_global(Some(LIMIT))
            .tls_config(tls)
            .build();
        let base = url.trim_end_matches('/').to_owned();
        Ok(ScimService { agent: agent.into(), base, authorization: format!("Bearer {token}"), down: None })
    }

    /// `path` is what comes after the base, its values encoded.
    pub fn get(&mut self, path: &str) -> Result<ScimAnswer, NotDone> {
        self.reached(|service| {
            let request = service.agent.get(format!("{}{path}", service.base));
            request.header("accept", MEDIA).header("authorization", &service.authorization).call()
        })
    }

    pub fn patch(&mut self, path: &str, body: &Value) -> Result<ScimAnswer, NotDone> {
        self.reached(|service| {
            let request = service.agent.patch(format!("{}{path}", service.base));
            let request = request.header("accept", MEDIA).header("content-type", MEDIA);
            request.header("authorization", &service.authorization).send(body.to_string())
        })
    }

    fn reached(
        &mut self,
        send: impl Fn(&ScimService) -> Result<Response<ureq::Body>, ureq::Error>,
    ) -> Result<ScimAnswer, NotDone> {
        if let Some(why) = &self.down {
            return Err(why.clone());
        }
        let answer = send(self).and_then(|mut response| {
            let body = response.body_mut().with_config().limit(LONGEST).read_to_string()?;
            let status = response.status().as_u16();
            Ok(ScimAnswer { status, body: serde_json::from_str(&body).unwrap_or_default() })
        });
        answer.map_err(|error| {
            let why = unreachable(&error);
            self.down = Some(why.clone());
            why
        })
    }
}

fn unreachable(error: &ureq::Error) -> NotDone {
    let text = format!("the service can't be reached: {error}");
    match error {
        ureq::Error::Timeout(_)
        | ureq::Error::HostNotFound
        | ureq::Error::ConnectionFailed
        | ureq::Error::Protocol(_) => NotDone::Later(text),
        // A certificate that is not trusted is invalid data.
        ureq::Error::Io(error) if error.kind() != std::io::ErrorKind::InvalidData => NotDone::Later(text),
        _ => NotDone::Failed(text),
    }
}

/// As a part of a path or of a query.
pub fn encode(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    text.bytes().map(|byte| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
