//! Patterns of resources and of tickets.

use std::fmt;
use std::str::FromStr;

use regex_lite::Regex;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::domain::resource::{Resource, ResourceKind};
use crate::domain::role::Role;
use crate::domain::text::{Ticket, is_hostile};
use crate::domain::{Malformed, read_by_parsing};

/// Resources by kind and name, where `*` stands for any characters: `connection:prod-*`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pattern {
    kind: ResourceKind,
    name: SmolStr,
}

impl Pattern {
    pub fn matches(&self, resource: &Resource) -> bool {
        self.kind == resource.kind() && is_like(&self.name, resource.name())
    }

    /// The name without its `*`, for a comparison with real names.
    pub fn letters(&self) -> String {
        self.name.replace('*', "")
    }

    pub fn kind(&self) -> ResourceKind {
        self.kind
    }

    pub fn is_of_scopes(&self) -> bool {
        self.kind == ResourceKind::Scope
    }

    /// How everything that matches begins.
    pub fn beginning(&self) -> String {
        let text = self.to_string();
        text.split_once('*').map_or(text.clone(), |(begins, _)| begins.to_owned())
    }

    /// The one resource that it names, if there is no `*` in it.
    pub fn names(&self) -> Option<Resource> {
        if self.name.contains('*') { None } else { self.to_string().parse().ok() }
    }
}

/// Whether a name is like a pattern: its pieces between the `*` follow one another in the name.
pub fn is_like(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut left) = name.strip_prefix(first) else { return false };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    for piece in middle.split('*').filter(|piece| !piece.is_empty()) {
        match left.find(piece) {
            Some(at) => left = &left[at + piece.len()..],
            None => return false,
        }
    }
    left.ends_with(last)
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.name)
    }
}

impl FromStr for Pattern {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<Pattern, Malformed> {
        let shape = || Malformed::new("written kind:name, where * stands for any characters, like connection:prod-*");
        let (kind, name) = text.split_once(':').ok_or_else(shape)?;
        let kind: ResourceKind = kind.parse()?;
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-' | b'*');
        if name.is_empty() || name.len() > 63 || !name.bytes().all(plain) {
            return Err(shape());
        }
        if kind == ResourceKind::Role && !name.contains('*') {
            name.parse::<Role>()?;
        }
        Ok(Pattern { kind, name: name.into() })
    }
}

read_by_parsing!(Pattern);

impl Serialize for Pattern {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What the whole ticket must match: a regular expression of at most 200 bytes. Matching takes time in proportion to
/// pattern and ticket together, whatever they are: the `regex-lite` crate never backtracks.
///
/// Validated on input only. If a stored pattern fails to compile, it matches nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TicketPattern(String);

impl TicketPattern {
    fn compiled(pattern: &str) -> Result<Regex, Malformed> {
        // Groups and alternatives stay inside; a pattern that closes the group too early is invalid.
        Regex::new(pattern).and_then(|_| Regex::new(&format!("^(?:{pattern})$"))).map_err(|why| {
            Malformed::new(format!("it is not a regular expression: {}", why.to_string().replace('\n', " ")))
        })
    }

    pub fn matches(&self, ticket: &Ticket) -> bool {
        TicketPattern::compiled(&self.0).is_ok_and(|regex| regex.is_match(ticket.as_str()))
    }
}

impl fmt::Display for TicketPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TicketPattern {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<TicketPattern, Malformed> {
        if text.is_empty() || text.len() > 200 || text.chars().any(is_hostile) {
            return Err(Malformed::new("a pattern is one line of 1 to 200 bytes"));
        }
        TicketPattern::compiled(text)?;
        Ok(TicketPattern(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_a_star_stands_for() {
        for (pattern, name, like) in [
            ("*", "a", true),
            ("prod-*", "prod-", true),
            ("prod-*", "prod-aws", true),
            ("prod-*", "prod", false),
            ("*-db", "orders-db", true),
            ("*-db", "orders-db-2", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("prod", "prod", true),
            ("prod", "prod-aws", false),
            ("**", "x", true),
        ] {
            assert_eq!(is_like(pattern, name), like, "{pattern} {name}");
        }
    }

    #[test]
    fn a_pattern_is_of_one_kind() {
        let pattern: Pattern = "connection:prod-*".parse().unwrap();
        for (resource, is_matched) in
            [("connection:prod-aws", true), ("target:prod-aws", false), ("connection:dev-aws", false)]
        {
            assert_eq!(pattern.matches(&resource.parse().unwrap()), is_matched, "{resource}");
        }
        assert_eq!((pattern.beginning().as_str(), pattern.names()), ("connection:prod-", None));
        let whole: Pattern = "target:web".parse().unwrap();
        assert_eq!((whole.beginning().as_str(), whole.names()), ("target:web", "target:web".parse().ok()));
        assert!(!whole.is_of_scopes() && "scope:*".parse::<Pattern>().unwrap().is_of_scopes());
    }

    #[test]
    fn the_name_in_a_pattern_has_1_to_63_plain_characters() {
        for (name, is_valid) in [
            ("a".repeat(63), true),
            ("a".repeat(64), false),
            (String::new(), false),
            ("A".to_owned(), false),
            ("a b".to_owned(), false),
        ] {
            assert_eq!(format!("target:{name}").parse::<Pattern>().is_ok(), is_valid, "{name:?}");
        }
        assert!("a".repeat(200).parse::<TicketPattern>().is_ok());
    }

    #[test]
    fn a_ticket_matches_whole() {
        let pattern: TicketPattern = "OPS-[0-9]+|INC-7".parse().unwrap();
        for (ticket, fits) in
            [("OPS-12", true), ("INC-7", true), ("OPS-12x", false), ("xOPS-12", false), ("OPS-", false)]
        {
            assert_eq!(pattern.matches(&ticket.parse().unwrap()), fits, "{ticket}");
        }
        for pattern in ["", "(", "a)(b", "[", "a{99999999}", "\u{202e}", &"a".repeat(201)] {
            assert!(pattern.parse::<TicketPattern>().is_err(), "{pattern:?}");
        }
    }

    proptest! {
        #[test]
        fn no_pattern_panics(pattern in "\\PC*", ticket in "[ -~]{1,60}") {
            if let (Ok(pattern), Ok(ticket)) = (pattern.parse::<TicketPattern>(), ticket.parse::<Ticket>()) {
                let _ = pattern.matches(&ticket);
            }
        }

        #[test]
        fn a_star_as_a_regular_expression_has_it(pattern in "[ab*]{1,6}", name in "[ab]{1,8}") {
            let regex = Regex::new(&format!("^{}$", pattern.replace('*', ".*"))).unwrap();
            prop_assert_eq!(is_like(&pattern, &name), regex.is_match(&name));
        }
    }
}
