//! Webhooks, signed by Standard Webhooks (standardwebhooks.com), so that a receiver can use its libraries: HMAC-SHA256 over
//! `id.timestamp.body`.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::http::{HttpClient, Plain, check_url};
use super::proxy::Proxies;
use super::secret::{Secret, SecretSource};
use super::{Blame, Outcome, Transport};
use crate::config;
use crate::domain::message::{Body, Message};
use crate::error::{Failure, Kind};

pub struct WebhookTransport {
    url: String,
    keys: Vec<Vec<u8>>,
    client: HttpClient,
}

impl WebhookTransport {
    pub fn new(settings: &config::Webhook, proxies: &Proxies) -> Result<WebhookTransport, Failure> {
        let what = format!("webhook {}", settings.name);
        check_url(&what, &settings.url, Plain { hosts: &settings.allow_http, allow_plain: settings.allow_plain })?;
        let source = SecretSource {
            what: "secret",
            file: settings.secret_file.as_deref(),
            credential: settings.secret_credential.as_deref(),
            env: settings.secret_env.as_deref(),
        };
        let secret = Secret::load(source)?.ok_or_else(|| {
            Failure::new(Kind::Invalid, format!("{what} has no secret to sign with"))
                .hint("write whsec_ and 32 random bytes in base64 to a file of mode 0600, and name it as secret_file")
        })?;
        let encrypted = settings.url.starts_with("https:");
        let client = HttpClient::new(encrypted, settings.ca_file.as_deref(), proxies, &settings.allow_http);
        Ok(WebhookTransport { url: settings.url.clone(), keys: keys(&what, &secret)?, client })
    }

    fn signatures(&self, signed: &str) -> String {
        let sign = |key: &Vec<u8>| {
            let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
            mac.update(signed.as_bytes());
            format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
        };
        self.keys.iter().map(sign).collect::<Vec<_>>().join(" ")
    }
}

/// One secret, or several during a rotation.
fn keys(what: &str, secret: &Secret) -> Result<Vec<Vec<u8>>, Failure> {
    let wrong =
        || Failure::new(Kind::Invalid, format!("{what}: its secret is not whsec_ and 24 to 64 bytes in base64"));
    let key = |word: &str| {
        let key = word.strip_prefix("whsec_").and_then(|encoded| STANDARD.decode(encoded).ok());
        key.filter(|key| (24..=64).contains(&key.len())).ok_or_else(wrong)
    };
    secret.reveal().split_whitespace().map(key).collect()
}

impl Transport for WebhookTransport {
    fn send(&mut self, message: &Message, timeout: Duration) -> Outcome {
        let (id, Body::Json(body)) = (&message.id, &message.body) else {
            return Outcome::refused("a webhook takes JSON only");
        };
        let timestamp = message.sent_at.unix().to_string();
        let signature = self.signatures(&format!("{id}.{timestamp}.{body}"));
        let headers =
            [("webhook-id", id.as_str()), ("webhook-timestamp", &timestamp), ("webhook-signature", &signature)];
        let answer = match self.client.post(&self.url, &headers, body, timeout) {
            Ok(answer) => answer,
            Err(fault) => return fault.outcome(),
        };
        let why = answer.describe("it");
        // No answer makes us give up at once: a receiver that is misconfigured, moved or gone can be fixed, and then gets
        // everything.
        match answer.status {
            200..=299 => Outcome::sent(why),
            410 => Outcome::route_failed(format!(
                "{why}: the receiver is gone; remove the webhook from config.toml, or change its url"
            ))
            .blaming(Blame::Content),
            429 | 503 if answer.retry_after.is_some() => Outcome::not_now(answer.retry_after.unwrap_or(0), why),
            _ => Outcome::route_failed(why).blaming(Blame::Content),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_of_the_specification() {
        // The example of the specification's own test vectors.
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let webhook = WebhookTransport {
            url: String::new(),
            keys: vec![STANDARD.decode(&secret[6..]).unwrap()],
            client: HttpClient::new(false, None, &Proxies::default(), &[]),
        };
        let signed = "msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{\"test\": 2432232314}";
        assert_eq!(webhook.signatures(signed), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
