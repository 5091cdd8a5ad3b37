//! Bindings of the team file: what a connector gives to those who have a resource.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::member::Login;
use super::name::Name;
use super::resource::Resource;
use super::text::acts_or_hides;
use super::{Malformed, checked_string};

/// What a connector gives: `role = "orders_rw"`. The keys are sorted, so equal parameters are written the same.
pub type Parameters = BTreeMap<Name, ParameterValue>;

/// A value of 1 to 255 bytes on one line. It may become a word of a command line, so it never begins with a dash.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParameterValue(String);
checked_string!(ParameterValue);

impl FromStr for ParameterValue {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<ParameterValue, Malformed> {
        let plain = !text.chars().any(acts_or_hides) && text.trim() == text;
        if (1..=255).contains(&text.len()) && !text.starts_with('-') && plain {
            Ok(ParameterValue(text.to_owned()))
        } else {
            Err(Malformed::new("a parameter is one line of 1 to 255 bytes that does not begin with a dash"))
        }
    }
}

/// Who has the resource gets the parameters from the connector.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Binding {
    pub resource: Resource,
    /// Its name in root's configuration.
    pub connector: Name,
    /// Also for those who have the resource without a grant.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub baseline: bool,
    /// Whether the end of access ends open sessions too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub end_sessions: bool,
    /// The other keys of the table.
    #[serde(flatten)]
    pub parameters: Parameters,
}

/// Something that a login can hold in the system of a connector. Several grants can lead to the same holding.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Holding {
    pub connector: Name,
    pub login: Login,
    pub parameters: Parameters,
}

/// Says on which host something was given, where each host has a system of its own and they share a log. No binding has it.
pub const ON_HOST: &str = "on-host";

impl Holding {
    #[must_use]
    pub fn on(mut self, host: &Option<ParameterValue>) -> Holding {
        let key = ON_HOST.parse::<Name>().ok();
        self.parameters.extend(key.zip(host.clone()));
        self
    }

    /// The same anywhere, and the host.
    pub fn without_host(mut self) -> (Holding, Option<ParameterValue>) {
        let mut host = None;
        self.parameters.retain(|key, value| {
            let is_host = key.as_str() == ON_HOST;
            if is_host {
                host = Some(value.clone());
            }
            !is_host
        });
        (self, host)
    }
}

/// `bob: role=orders_rw in orders-pg`
impl fmt::Display for Holding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.login, in_connector(&self.parameters, &self.connector))
    }
}

/// `orders-pg target:orders-db role=orders_rw`: no two bindings of a team are written the same.
impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.connector, self.resource)?;
        if self.parameters.is_empty() { Ok(()) } else { write!(f, " {}", written(&self.parameters)) }
    }
}

/// `database=orders role=orders_rw`, with quotes around what has a space: equal texts are equal parameters.
pub fn written(parameters: &Parameters) -> String {
    let value = |value: &ParameterValue| match value.0.contains([' ', '"', '\\']) {
        true => format!("{:?}", value.0),
        false => value.0.clone(),
    };
    parameters.iter().map(|(key, text)| format!("{key}={}", value(text))).collect::<Vec<_>>().join(" ")
}

/// `role=orders_rw in orders-pg`, or `access in vpn` where there are no parameters.
pub fn in_connector(parameters: &Parameters, connector: &Name) -> String {
    let what = if parameters.is_empty() { "access".to_owned() } else { written(parameters) };
    format!("{what} in {connector}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_one_plain_line_without_a_dash_before_it() {
        for text in ["a", "orders rw", "a-b", &"x".repeat(255)] {
            assert_eq!(text.parse::<ParameterValue>().unwrap().as_str(), text);
        }
        for text in ["", "-a", "--", " a", "a ", "a\nb", "a\u{202e}b", "a\u{7}", &"x".repeat(256)] {
            assert!(text.parse::<ParameterValue>().is_err(), "{text:?}");
        }
    }
}
