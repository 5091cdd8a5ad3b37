//! Signed requests.

use std::time::SystemTime;

use chrono::{DateTime, Utc};
use ureq::http::Uri;

use super::keys::KeySource;
use super::signature::Post;
use crate::connectors::NotDone;
use crate::connectors::patience::Patience;
use crate::connectors::web::Website;

/// A service of AWS in one region.
pub struct AwsEndpoint {
    pub website: Website,
    /// Its name in signatures.
    pub service: &'static str,
}

pub struct AwsClient {
    keys: KeySource,
    region: String,
    patience: Patience,
}

type RequestHeader<'h> = (&'h str, &'h str);

impl AwsClient {
    pub fn new(keys: KeySource, region: String) -> AwsClient {
        AwsClient { keys, region, patience: Patience::of_run() }
    }

    pub fn patience(&self) -> Patience {
        self.patience
    }

    /// Posts a body, again and again while AWS says that there are too many requests. Returns the status and the text.
    pub fn post(
        &mut self,
        endpoint: &mut AwsEndpoint,
        headers: &[RequestHeader<'_>],
        body: &str,
    ) -> Result<(u16, String), NotDone> {
        let key = self.keys.key()?;
        let url = format!("{}/", endpoint.website.base);
        let uri: Uri = url.parse().map_err(|error| NotDone::Failed(format!("{url}: {error}")))?;
        let mut pauses = self.patience.pauses();
        loop {
            let time = DateTime::<Utc>::from(SystemTime::now()).format("%Y%m%dT%H%M%SZ").to_string();
            let (region, service) = (self.region.as_str(), endpoint.service);
            let signature = key.sign(&Post { uri: &uri, region, service, headers, body, time: &time });
            let (status, text) = endpoint.website.ask(|agent, _| {
                let signature = signature.iter().map(|(name, value)| (*name, value.as_str()));
                let headers = headers.iter().copied().chain(signature);
                headers.fold(agent.post(&uri), |post, (name, value)| post.header(name, value)).send(body)
            })?;
            if !is_throttled(status, &text) || !pauses.wait() {
                return Ok((status, text));
            }
        }
    }
}

/// Each service has an error code of its own for it.
fn is_throttled(status: u16, text: &str) -> bool {
    let codes = ["Throttling", "TooManyRequests", "RequestLimitExceeded"];
    status == 429 || (status >= 400 && codes.iter().any(|code| text.contains(code)))
}
