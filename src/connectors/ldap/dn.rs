//! Distinguished names (RFC 4514), and the template that makes one from a login and finds the login in one.

use ldap3::dn_escape;

use crate::connectors::user_name::no_login;
use crate::domain::member::Login;
use crate::error::{Failure, Kind};

/// One level: `uid=bob`, or several types and values joined by `+`. Types are in lower case, values unescaped.
pub type Level = Vec<(String, String)>;

/// The levels of a name, the entry's own first. None: it is not valid, or has a value in hexadecimal, which no login has.
pub fn parse(text: &str) -> Option<Vec<Level>> {
    let mut levels = vec![Vec::new()];
    let mut rest = text;
    loop {
        let (kind, after) = rest.split_once('=')?;
        let kind = kind.trim().to_lowercase();
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
        if kind.is_empty() || !kind.chars().all(plain) {
            return None;
        }
        let (value, end) = value(after)?;
        levels.last_mut()?.push((kind, value));
        rest = after[end..].get(1..).unwrap_or_default();
        match after.as_bytes().get(end) {
            None => return Some(levels),
            Some(b'+') => {}
            Some(_) => levels.push(Vec::new()),
        }
    }
}

/// The unescaped value at the start of the text, and where it ends: at a separator, or at the end.
fn value(text: &str) -> Option<(String, usize)> {
    let bytes = text.as_bytes();
    let mut value = Vec::new();
    // The value with its escaped spaces, but not the plain ones that follow.
    let mut kept = 0;
    let mut at = bytes.iter().take_while(|byte| **byte == b' ').count();
    if bytes.get(at) == Some(&b'#') {
        return None;
    }
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b',' | b';' | b'+' => break,
            b'\\' => {
                // Not from_str_radix alone, which takes the `+b` of `\+b` for a number.
                let pair = bytes.get(at + 1..at + 3).filter(|pair| pair.iter().all(u8::is_ascii_hexdigit));
                let pair = pair.and_then(|pair| std::str::from_utf8(pair).ok());
                if let Some(byte) = pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
                    value.push(byte);
                    at += 3;
                } else {
                    value.push(*bytes.get(at + 1)?);
                    at += 2;
                }
                kept = value.len();
            }
            b'"' | b'<' | b'>' => return None,
            byte => {
                value.push(byte);
                at += 1;
                if byte != b' ' {
                    kept = value.len();
                }
            }
        }
    }
    value.truncate(kept);
    Some((String::from_utf8(value).ok()?, at))
}

/// The name above, as it is written. None: there is none.
pub fn parent(dn: &str) -> Option<&str> {
    let mut escaped = false;
    for (at, byte) in dn.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b',' | b';' => return Some(dn[at + 1..].trim_start()).filter(|parent| !parent.is_empty()),
            _ => {}
        }
    }
    None
}

/// `uid={login},ou=people,dc=example,dc=com`
#[derive(Debug)]
pub struct Template {
    text: String,
    levels: Vec<Level>,
    /// Which level has the login.
    at: usize,
}

const PLACE: &str = "{login}";

impl Template {
    pub fn parse(text: &str) -> Result<Template, Failure> {
        let is_place = |level: &Level| matches!(level.as_slice(), [(_, value)] if value == PLACE);
        let found = parse(text).and_then(|levels| Some((levels.iter().position(is_place)?, levels)));
        match found {
            Some((at, levels)) if text.matches(PLACE).count() == 1 => {
                Ok(Template { text: text.to_owned(), levels, at })
            }
            Some(_) | None => Err(Failure::new(Kind::Usage, format!("--login-dn is not valid: {text}"))
                .hint("example: uid={login},ou=people,dc=example,dc=com")),
        }
    }

    /// The attribute that has the login.
    pub fn attribute(&self) -> &str {
        self.levels[self.at].first().map_or("", |(kind, _)| kind)
    }

    pub fn dn(&self, login: &str) -> String {
        self.text.replace(PLACE, &dn_escape(login))
    }

    /// The login in a name that this template can make. Directories compare names without regard to case.
    pub fn login(&self, dn: &str) -> Option<String> {
        let levels = parse(dn)?;
        if levels.len() != self.levels.len() {
            return None;
        }
        let mut login = None;
        for (at, (level, expected)) in levels.iter().zip(&self.levels).enumerate() {
            if at == self.at {
                let [(kind, value)] = level.as_slice() else { return None };
                if kind != self.attribute() {
                    return None;
                }
                login = Some(value.clone());
            } else if !is_same(level, expected) {
                return None;
            }
        }
        login
    }
}

fn is_same(one: &Level, other: &Level) -> bool {
    let plain = |level: &Level| {
        let words = |value: &str| value.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ");
        let mut pairs: Vec<_> = level.iter().map(|(kind, value)| (kind.clone(), words(value))).collect();
        pairs.sort();
        pairs
    };
    plain(one) == plain(other)
}

/// The one way to write a name, but for upper and lower case. None: the name is not valid.
pub fn canonical(text: &str) -> Option<String> {
    let level = |level: &Level| {
        let words = |value: &str| value.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
        let mut pairs: Vec<String> =
            level.iter().map(|(kind, value)| format!("{kind}={}", dn_escape(words(value)))).collect();
        pairs.sort();
        pairs.join("+")
    };
    Some(parse(text)?.iter().map(level).collect::<Vec<_>>().join(","))
}

/// How a list names an entry that no login has: `dn=uid=bob;ou=alumni;dc=example`.
pub fn as_login(dn: &str) -> Login {
    no_login("dn", &canonical(dn).unwrap_or_else(|| dn.to_owned()).replace(',', ";"))
}

/// Whether both name the same entry.
pub fn are_same(one: &str, other: &str) -> bool {
    match (parse(one), parse(other)) {
        (Some(one), Some(other)) => one.len() == other.len() && one.iter().zip(&other).all(|(a, b)| is_same(a, b)),
        (None, _) | (_, None) => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_comes_back_from_its_name() {
        let template = Template::parse("uid={login},ou=People, dc=example,dc=com").unwrap();
        for login in
            ["bob", "o'brien", "a+b", "a+bc", "#1000", "a\"b", "a\\b", "a=b", "a;b", "<x>", "é", "x$", "a\\2Cb"]
        {
            let dn = template.dn(login);
            assert_eq!(template.login(&dn).as_deref(), Some(login), "{dn}");
        }
        assert_eq!(template.dn("a+b\"c"), "uid=a\\2bb\\22c,ou=People, dc=example,dc=com");
        let odd = "UID = b\\6fb , OU=people,DC=Example,dc=com";
        assert_eq!(template.login(odd).as_deref(), Some("bob"));
        // Some directories write a backslash where others write a number.
        for (dn, login) in [("uid=a\\+b", "a+b"), ("uid=a\\+bc", "a+bc"), ("uid=\\+1", "+1"), ("uid=a\\-1b", "a-1b")] {
            assert_eq!(template.login(&format!("{dn},ou=people,dc=example,dc=com")).as_deref(), Some(login), "{dn}");
        }
    }

    #[test]
    fn names_of_others_hold_no_login() {
        let template = Template::parse("uid={login},ou=people,dc=example").unwrap();
        for dn in [
            "cn=bob,ou=people,dc=example",
            "uid=bob,ou=robots,dc=example",
            "uid=bob,ou=people,dc=example,dc=com",
            "uid=bob,dc=example",
            "uid=bob+cn=x,ou=people,dc=example",
            "uid=#04024869,ou=people,dc=example",
            "uid=bob\\",
            "",
            "bob",
        ] {
            assert_eq!(template.login(dn), None, "{dn}");
        }
    }

    #[test]
    fn templates_that_are_refused() {
        for text in ["", "bob", "uid=bob,dc=x", "uid=x{login},dc=x", "uid={login},cn={login}", "uid={login}+cn=x,dc=x"]
        {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_name_above() {
        assert_eq!(parent("cn=a\\,b,ou=groups,dc=x"), Some("ou=groups,dc=x"));
        assert_eq!(parent("dc=x"), None);
        assert!(are_same("CN=Nobody, dc=x", "cn=nobody,DC=X"));
        assert!(!are_same("cn=a,dc=x", "cn=b,dc=x"));
    }

    #[test]
    fn any_name_can_be_listed() {
        assert_eq!(as_login("UID=bob, ou=old people,dc=x").as_str(), "dn=uid=bob;ou=old\\20people;dc=x");
        assert_eq!(as_login("uid=a\u{7}b,dc=x").as_str(), "dn=uid=a\\07b;dc=x");
        let long = format!("cn={},dc=x", "é".repeat(200));
        for dn in [
            "cn=a\\,b/c:d,dc=x",
            "cn=#04",
            "uid=é\\ ,dc=x",
            &long,
            "",
            "x y",
            "\u{1b}\n\u{a0}",
            "uid=a\\00\\e2\\80\\ae",
        ] {
            assert!(as_login(dn).as_str().starts_with("dn="), "{dn}");
        }
    }
}
