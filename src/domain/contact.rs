//! Where people are reached: email addresses, Slack ids, time zones.

use std::str::FromStr;

use super::{Malformed, checked_string};

/// An email address, as it was written. It holds nothing that a mail header acts on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Email(String);
checked_string!(Email);

/// A Slack member id, such as `U012AB3CD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlackId(String);
checked_string!(SlackId);

/// A name of the IANA time zone database, such as `Europe/Paris`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timezone(String);
checked_string!(Timezone);

impl FromStr for Email {
    type Err = Malformed;
    /// Old logs and configurations may hold addresses that `check` refuses. They stay readable.
    fn from_str(text: &str) -> Result<Email, Malformed> {
        let (local, domain) = text.rsplit_once('@').unwrap_or(("", ""));
        let plain = |c: char| c.is_ascii_graphic() && !r#"<>()[]\,;:"'`@"#.contains(c);
        let as_before = text.len() <= 254
            && !local.is_empty()
            && !domain.is_empty()
            && local.chars().chain(domain.chars()).all(plain);
        let checked = Email::check(text);
        if as_before || checked.is_ok() { Ok(Email(text.to_owned())) } else { checked.map(|()| Email(text.to_owned())) }
    }
}

impl Email {
    /// Whether mail can be sent to this address: a dot-atom before the `@` (RFC 5322 3.2.3), the name of a host after it
    /// (RFC 1123 2.1), which may be an international one (RFC 5890).
    pub fn check(text: &str) -> Result<(), Malformed> {
        let wrong =
            |why: String| Err(Malformed::new(format!("an email is written like ana@example.com; this one {why}")));
        let Some((local, domain)) = text.rsplit_once('@') else { return wrong("has no @".to_owned()) };
        let atom = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c);
        if local.is_empty() || domain.is_empty() {
            return wrong("has nothing before or after the @".to_owned());
        }
        if let Some(c) = local.chars().find(|&c| !atom(c)) {
            let shown = if c.is_ascii_graphic() { c.to_string() } else { format!("U+{:04X}", u32::from(c)) };
            return wrong(format!("has the character {shown} before the @"));
        }
        if local.contains("..") || domain.contains("..") {
            return wrong("has two dots in a row".to_owned());
        }
        if local.starts_with('.') || local.ends_with('.') {
            return wrong("begins with a dot, or has one just before the @".to_owned());
        }
        if local.len() > 64 || text.len() > 254 {
            return wrong("is too long: at most 64 characters before the @, and 254 in all".to_owned());
        }
        match domain_on_the_wire(domain) {
            Ok(wire) if wire.len() > 253 => wrong("has a host name that is too long".to_owned()),
            Ok(_) => Ok(()),
            Err(why) => wrong(why),
        }
    }

    /// As mail servers take it: an international host name in its ASCII form, `xn--…`.
    pub fn on_the_wire(&self) -> String {
        match self.0.rsplit_once('@') {
            Some((local, domain)) if !domain.is_ascii() => {
                domain_on_the_wire(domain).map_or_else(|_| self.0.clone(), |domain| format!("{local}@{domain}"))
            }
            Some(_) | None => self.0.clone(),
        }
    }
}

/// A host name in its ASCII form, or why it is invalid.
fn domain_on_the_wire(domain: &str) -> Result<String, String> {
    if !domain.is_ascii() {
        return idna::domain_to_ascii_strict(domain)
            .map_err(|_| format!("has {domain:?} after the @, which is not an international host name"));
    }
    for label in domain.split('.') {
        if label.is_empty() {
            return Err("has a dot at the beginning or the end of its host name".to_owned());
        }
        if let Some(c) = label.chars().find(|&c| !c.is_ascii_alphanumeric() && c != '-') {
            return Err(format!("has the character {c:?} after the @"));
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err(format!("has {label:?} in its host name, which begins or ends with a hyphen"));
        }
        if label.len() > 63 {
            return Err("has a part of more than 63 characters in its host name".to_owned());
        }
    }
    Ok(domain.to_owned())
}

impl FromStr for SlackId {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<SlackId, Malformed> {
        let plain = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit();
        if (2..=32).contains(&text.len()) && text.bytes().all(plain) {
            Ok(SlackId(text.to_owned()))
        } else {
            Err(Malformed::new("a Slack id is written like U012AB3CD"))
        }
    }
}

impl FromStr for Timezone {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<Timezone, Malformed> {
        let part = |part: &str| {
            part.starts_with(|c: char| c.is_ascii_alphabetic())
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'+'))
        };
        if text.len() <= 64 && text.split('/').all(part) {
            Ok(Timezone(text.to_owned()))
        } else {
            Err(Malformed::new("a timezone is written like Europe/Paris"))
        }
    }
}
