//! Calls of IAM's query API, signed with an access key.

use std::path::Path;
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;

use crate::connectors::NotDone;
use crate::connectors::web::{Website, encode};
use crate::domain::text::acts_or_hides;
use crate::error::{Failure, Kind};
use crate::tls;

/// An access key, and the token that belongs to a temporary one.
pub struct IamKeys {
    id: String,
    secret: String,
    token: Option<String>,
}

impl IamKeys {
    /// Reads a section of a file such as `~/.aws/credentials`.
    pub fn read(path: &Path, profile: &str) -> Result<IamKeys, Failure> {
        let text = tls::private(path)?;
        let header = format!("[{profile}]");
        let lines = text.lines().map(str::trim).skip_while(|line| *line != header).skip(1);
        let section: Vec<(&str, &str)> = lines
            .take_while(|line| !line.starts_with('['))
            .filter_map(|line| line.split_once('='))
            .map(|(key, value)| (key.trim(), value.trim()))
            .collect();
        let value = |key: &str| section.iter().find(|(name, _)| *name == key).map(|(_, value)| (*value).to_owned());
        match (value("aws_access_key_id"), value("aws_secret_access_key")) {
            (Some(id), Some(secret)) => Ok(IamKeys { id, secret, token: value("aws_session_token") }),
            _ => {
                let why = format!("{}: the section {header} has no access key", path.display());
                Err(Failure::new(Kind::Invalid, why).hint("it needs aws_access_key_id and aws_secret_access_key"))
            }
        }
    }
}

pub struct Iam {
    website: Website,
    region: String,
    credentials: Credentials,
}

/// Why a call failed.
pub enum IamProblem {
    /// The group or the user is not there. IAM's text says which.
    NoSuchEntity(String),
    NotDone(NotDone),
}

const FORM: &str = "application/x-www-form-urlencoded";

impl Iam {
    pub fn new(website: Website, region: String, keys: &IamKeys) -> Iam {
        let credentials = Credentials::new(&keys.id, &keys.secret, keys.token.clone(), None, "file");
        Iam { website, region, credentials }
    }

    /// Returns the answer, XML.
    pub fn call(&mut self, action: &str, arguments: &[(&str, &str)]) -> Result<String, IamProblem> {
        let fixed = [("Action", action), ("Version", "2010-05-08")];
        let pairs = fixed.iter().chain(arguments).map(|(key, value)| format!("{key}={}", encode(value)));
        let body = pairs.collect::<Vec<_>>().join("&");
        let headers = self
            .sign(&body)
            .map_err(|why| IamProblem::NotDone(NotDone::Failed(format!("the request can't be signed: {why}"))))?;
        let answer = self.website.ask(|agent, base| {
            let request = agent.post(format!("{base}/")).header("content-type", FORM);
            headers.iter().fold(request, |request, (name, value)| request.header(name, value)).send(&body)
        });
        let (status, text) = answer.map_err(IamProblem::NotDone)?;
        if status == 200 { Ok(text) } else { Err(problem(status, &text)) }
    }

    fn sign(&self, body: &str) -> Result<Vec<(String, String)>, String> {
        let identity = self.credentials.clone().into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("iam")
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| error.to_string())?
            .into();
        let url = format!("{}/", self.website.base);
        let headers = std::iter::once(("content-type", FORM));
        let request = SignableRequest::new("POST", url, headers, SignableBody::Bytes(body.as_bytes()));
        let request = request.map_err(|error| error.to_string())?;
        let (instructions, _) = sign(request, &parameters).map_err(|error| error.to_string())?.into_parts();
        Ok(instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }
}

fn problem(status: u16, text: &str) -> IamProblem {
    let first = |name: &str| elements(text, name).into_iter().next().unwrap_or_default();
    let (code, said) = (first("Code"), first("Message"));
    let said: String = said.chars().filter(|c| !acts_or_hides(*c)).take(200).collect();
    let code: String = code.chars().filter(char::is_ascii_alphanumeric).take(50).collect();
    let said = format!("IAM says: {said} ({status} {code})");
    if code == "NoSuchEntity" {
        return IamProblem::NoSuchEntity(said);
    }
    let passing = ["Throttling", "RequestLimitExceeded", "EntityTemporarilyUnmodifiable", "ConcurrentModification"];
    let later = status == 429 || status >= 500 || passing.iter().any(|begin| code.starts_with(begin));
    IamProblem::NotDone(if later { NotDone::Later(said) } else { NotDone::Failed(said) })
}

/// The texts of all elements of this name that have no elements in them.
pub fn elements(xml: &str, name: &str) -> Vec<String> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let texts = xml.split(&open).skip(1).filter_map(|rest| rest.split_once(&close)).map(|(text, _)| text);
    texts.filter(|text| !text.contains('<')).map(unescape).collect()
}

fn unescape(text: &str) -> String {
    let pairs = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#34;", "\""), ("&apos;", "'"), ("&#39;", "'")];
    let plain = pairs.iter().fold(text.to_owned(), |text, (escaped, plain)| text.replace(escaped, plain));
    plain.replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_elements() {
        let xml =
            "<Users><member><UserName>bob</UserName></member><member><UserName>a&amp;lt;</UserName></member></Users>";
        assert_eq!(elements(xml, "UserName"), ["bob", "a&lt;"]);
        assert_eq!(elements(xml, "Users"), [""; 0]);
        assert_eq!(elements("<Code>Throttling", "Code"), [""; 0]);
    }
}
