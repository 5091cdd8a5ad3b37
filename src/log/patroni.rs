//! What Patroni, which keeps a PostgreSQL server replicated, says of itself.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::http_client;
use crate::tls;

/// The longest answer: 1 MiB.
const LONGEST: u64 = 1 << 20;
const DEADLINE: Duration = Duration::from_secs(4);

/// How Patroni is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatroniSettings {
    pub version: String,
    pub is_synchronous: bool,
    /// Whether commits wait even when no standby is left.
    pub is_strict: bool,
}

#[derive(Deserialize)]
struct Node {
    patroni: Program,
}

#[derive(Deserialize)]
struct Program {
    version: String,
}

impl PatroniSettings {
    /// Asks the REST interface at this URL, such as `http://db1:8008`.
    pub fn ask(url: &str, ca_file: Option<&Path>) -> Result<PatroniSettings, String> {
        let node: Node = get(url, "/patroni", ca_file)?;
        let config: Value = get(url, "/config", ca_file)?;
        Ok(PatroniSettings {
            version: node.patroni.version,
            is_synchronous: is_on(&config["synchronous_mode"]),
            is_strict: is_on(&config["synchronous_mode_strict"]),
        })
    }

    /// Before 3.0.3, a leader that was frozen and thawed could acknowledge what its successor does not have.
    pub fn is_old(&self) -> bool {
        let mut numbers = self.version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
        let mut next = || numbers.next().unwrap_or(0);
        (next(), next(), next()) < (3, 0, 3)
    }
}

/// `true`, or `quorum`, or what YAML takes for true.
fn is_on(value: &Value) -> bool {
    match value {
        Value::Bool(on) => *on,
        Value::String(text) => ["on", "true", "yes", "quorum"].contains(&text.to_ascii_lowercase().as_str()),
        _ => false,
    }
}

fn get<T: serde::de::DeserializeOwned>(url: &str, path: &str, ca_file: Option<&Path>) -> Result<T, String> {
    let trusted =
        if url.starts_with("https:") { tls::trusted(ca_file).map_err(|why| why.message)? } else { Vec::new() };
    let url = format!("{}{path}", url.trim_end_matches('/'));
    let answer = http_client::open(&trusted, Some(DEADLINE)).get(&url).call();
    let mut answer = answer.map_err(|error| format!("{url}: {error}"))?;
    let text = answer.body_mut().with_config().limit(LONGEST).read_to_string();
    let text = text.map_err(|error| format!("{url}: {error}"))?;
    serde_json::from_str(&text).map_err(|error| format!("{url}: its answer can't be read: {error}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn versions_that_can_lose_entries_are_old() {
        let old = |version: &str| {
            PatroniSettings { version: version.to_owned(), is_synchronous: true, is_strict: true }.is_old()
        };
        assert!(old("3.0.2") && old("2.1.4") && old("3.0") && old("what"));
        assert!(!old("3.0.3") && !old("3.1.0") && !old("4.1.5"));
    }

    #[test]
    fn a_setting_is_on_in_several_ways() {
        assert!(is_on(&json!(true)) && is_on(&json!("quorum")) && is_on(&json!("on")));
        assert!(!is_on(&json!(false)) && !is_on(&json!(null)) && !is_on(&json!("off")));
    }
}
