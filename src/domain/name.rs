//! Names of members, groups, connections, targets, features and scopes.

use std::str::FromStr;

use smol_str::SmolStr;

use super::text::is_hostile;
use super::{Malformed, checked_string};

/// `[a-z0-9][a-z0-9._-]{0,62}`: safe in a shell, a path, a URL and a mail header alike.
///
/// There are many of them in every log and list, and most are short: up to 23 bytes lie in the value itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(SmolStr);

checked_string!(Name);

const LONGEST: usize = 63;

impl FromStr for Name {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Name, Malformed> {
        let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let shape = "a name has lower-case letters, digits, '.', '_' and '-', and begins with a letter or digit";
        match text.as_bytes() {
            [] => Err(Malformed::new("a name is empty")),
            bytes if bytes.len() > LONGEST => Err(Malformed::new(format!("a name has at most {LONGEST} characters"))),
            [first, rest @ ..]
                if alphanumeric(*first) && rest.iter().all(|&b| alphanumeric(b) || matches!(b, b'.' | b'_' | b'-')) =>
            {
                Ok(Name(text.into()))
            }
            _ => Err(Malformed::new(shape)),
        }
    }
}

/// What people call a rule: one line of 1 to 80 characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuleName(String);
checked_string!(RuleName);

impl FromStr for RuleName {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<RuleName, Malformed> {
        let count = text.chars().count();
        if text.trim() != text || !(1..=80).contains(&count) || text.chars().any(is_hostile) {
            return Err(Malformed::new("a rule's name is one line of 1 to 80 characters, with no blank at its ends"));
        }
        Ok(RuleName(text.to_owned()))
    }
}

/// `alice, bob or carol`.
pub fn one_of(names: &[Name]) -> String {
    let names: Vec<&str> = names.iter().map(Name::as_str).collect();
    match names.as_slice() {
        [] => "nobody".to_owned(),
        [one] => (*one).to_owned(),
        [others @ .., last] => format!("{} or {last}", others.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_hold() {
        for text in ["a", "0", "prod-aws", "a.b_c-d", &"x".repeat(63)] {
            assert!(text.parse::<Name>().is_ok(), "{text}");
        }
    }

    #[test]
    fn names_that_do_not() {
        for text in ["", "-a", ".a", "A", "a b", "a/b", "a:b", "é", "a\n", "a\u{202e}b", "a\u{1b}[31m", &"x".repeat(64)]
        {
            assert!(text.parse::<Name>().is_err(), "{text:?}");
        }
    }
}
