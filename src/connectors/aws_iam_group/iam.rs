//! Calls of IAM's query API.

use crate::connectors::NotDone;
use crate::connectors::aws::{AwsClient, AwsEndpoint, AwsProblem, words};
use crate::connectors::web::encode;

pub struct Iam {
    pub client: AwsClient,
    pub endpoint: AwsEndpoint,
}

const FORM: &str = "application/x-www-form-urlencoded";

impl Iam {
    /// Returns the answer, XML.
    pub fn call(&mut self, action: &str, arguments: &[(&str, &str)]) -> Result<String, AwsProblem> {
        let fixed = [("Action", action), ("Version", "2010-05-08")];
        let pairs = fixed.iter().chain(arguments).map(|(key, value)| format!("{key}={}", encode(value)));
        let body = pairs.collect::<Vec<_>>().join("&");
        let answer = self.client.post(&mut self.endpoint, &[("content-type", FORM)], &body);
        let (status, text) = answer.map_err(AwsProblem::NotDone)?;
        match status {
            200 if text.contains(&format!("<{action}Response")) => Ok(text),
            // Such as an error of something on the way.
            200 => {
                let why = format!("the service answers {action} with something else: check --url");
                Err(AwsProblem::NotDone(NotDone::Later(why)))
            }
            _ => Err(problem(status, &text)),
        }
    }
}

fn problem(status: u16, text: &str) -> AwsProblem {
    let first = |name: &str| elements(text, name).into_iter().next().unwrap_or_default();
    let code = first("Code");
    let said = words(status, &code, &first("Message"));
    if code == "NoSuchEntity" {
        return AwsProblem::Missing(said);
    }
    let passing = ["Throttling", "RequestLimitExceeded", "EntityTemporarilyUnmodifiable", "ConcurrentModification"];
    let later = status == 429 || status >= 500 || passing.iter().any(|begin| code.starts_with(begin));
    AwsProblem::NotDone(if later { NotDone::Later(said) } else { NotDone::Failed(said) })
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
