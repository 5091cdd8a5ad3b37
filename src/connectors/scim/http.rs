//! Requests to a SCIM service, and what its answers mean.

use serde_json::Value;

use crate::connectors::NotDone;
use crate::connectors::web::Website;
use crate::domain::text::acts_or_hides;

const MEDIA: &str = "application/scim+json";

pub struct ScimService {
    website: Website,
    authorization: String,
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

    /// Whether a change of this resource is done: there is no content, or it is the resource as it is now.
    pub fn changed(&self, resource: &str) -> bool {
        self.status == 204 || (self.is_success() && self.body.get("id").and_then(Value::as_str) == Some(resource))
    }

    /// Why it failed.
    pub fn not_done(&self) -> NotDone {
        let detail = self.body.get("detail").and_then(Value::as_str).unwrap_or_default();
        let detail: String = detail.chars().filter(|c| !acts_or_hides(*c)).take(200).collect();
        let text = format!("the service answers {} {detail}", self.status).trim_end().to_owned();
        match self.status {
            // A conflict of two changes, too many requests, and faults of the service.
            408 | 409 | 412 | 425 | 429 | 500..=599 => NotDone::Later(text),
            // With something else than what was asked for, such as an error.
            200..=299 => NotDone::Later(format!("{text}, and not with what was asked for: check --url")),
            _ => NotDone::Failed(text),
        }
    }
}

impl ScimService {
    pub fn new(website: Website, token: &str) -> ScimService {
        ScimService { website, authorization: format!("Bearer {token}") }
    }

    /// `path` is what comes after the base, its values encoded.
    pub fn get(&mut self, path: &str) -> Result<ScimAnswer, NotDone> {
        let authorization = &self.authorization;
        let answer = self.website.ask(|agent, base| {
            agent.get(format!("{base}{path}")).header("accept", MEDIA).header("authorization", authorization).call()
        });
        answer.map(read)
    }

    pub fn patch(&mut self, path: &str, body: &Value) -> Result<ScimAnswer, NotDone> {
        let authorization = &self.authorization;
        let answer = self.website.ask(|agent, base| {
            let request = agent.patch(format!("{base}{path}")).header("accept", MEDIA).header("content-type", MEDIA);
            request.header("authorization", authorization).send(body.to_string())
        });
        answer.map(read)
    }
}

fn read((status, text): (u16, String)) -> ScimAnswer {
    ScimAnswer { status, body: serde_json::from_str(&text).unwrap_or_default() }
}
