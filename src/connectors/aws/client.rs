//! Signed requests (Signature Version 4).

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;

use super::keys::KeySource;
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
        let credentials = self.keys.credentials()?;
        let mut pauses = self.patience.pauses();
        loop {
            let signature = self
                .sign(&credentials, endpoint, headers, body)
                .map_err(|why| NotDone::Failed(format!("the request can't be signed: {why}")))?;
            let (status, text) = endpoint.website.ask(|agent, base| {
                let signature = signature.iter().map(|(name, value)| (name.as_str(), value.as_str()));
                let headers = headers.iter().copied().chain(signature);
                headers.fold(agent.post(format!("{base}/")), |post, (name, value)| post.header(name, value)).send(body)
            })?;
            if !is_throttled(status, &text) || !pauses.wait() {
                return Ok((status, text));
            }
        }
    }

    /// The headers of the signature.
    fn sign(
        &self,
        credentials: &Credentials,
        endpoint: &AwsEndpoint,
        headers: &[RequestHeader<'_>],
        body: &str,
    ) -> Result<Vec<(String, String)>, String> {
        let identity = credentials.clone().into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(endpoint.service)
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| error.to_string())?
            .into();
        let url = format!("{}/", endpoint.website.base);
        let request = SignableRequest::new("POST", url, headers.iter().copied(), SignableBody::Bytes(body.as_bytes()));
        let request = request.map_err(|error| error.to_string())?;
        let (instructions, _) = sign(request, &parameters).map_err(|error| error.to_string())?.into_parts();
        Ok(instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }
}

/// Each service has an error code of its own for it.
fn is_throttled(status: u16, text: &str) -> bool {
    let codes = ["Throttling", "TooManyRequests", "RequestLimitExceeded"];
    status == 429 || (status >= 400 && codes.iter().any(|code| text.contains(code)))
}
