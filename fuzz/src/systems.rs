//! The words of other systems: distinguished names of directories, commands of sudo, names of users elsewhere.

use access::connectors::ldap::dn::{Template, are_same, as_login, canonical, parent, parse};
use access::connectors::sudoers::command::{ProfileCommand, RunAs, SudoCommand};
use access::connectors::user_name::{UserNames, no_login};
use access::domain::member::Login;

use super::reads_back;

pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    names(text);
    logins(text);
    commands(text);
}

fn names(text: &str) {
    assert!(as_login(text).as_str().starts_with("dn="));
    parent(text);
    let Some(levels) = parse(text) else { return };
    let one = canonical(text).unwrap();
    assert_eq!(canonical(&one).as_ref(), Some(&one), "{text:?}");
    assert!(are_same(text, &one) && are_same(&one, text), "{text:?} {one:?}");
    // Another way to write it, by RFC 4514: a backslash before what has a meaning, instead of its number.
    let pair = |(kind, value): &(String, String)| format!("{kind}={}", by_backslash(value));
    let other: Vec<String> = levels.iter().map(|level| level.iter().map(pair).collect::<Vec<_>>().join("+")).collect();
    let other = other.join(",");
    assert_eq!(parse(&other).as_ref(), Some(&levels), "{text:?} is {other:?}");
    let mut above = Some(other.as_str());
    for _ in &levels {
        assert!(above.is_some_and(|name| parse(name).is_some()), "{other:?}");
        above = parent(above.unwrap());
    }
    assert_eq!(above, None, "{other:?}");
}

fn by_backslash(value: &str) -> String {
    let last = value.chars().count().saturating_sub(1);
    let shown = |(place, c): (usize, char)| match c {
        ' ' if place == 0 || place == last => "\\ ".to_owned(),
        '#' if place == 0 => "\\#".to_owned(),
        '"' | '+' | ',' | ';' | '<' | '>' | '\\' => format!("\\{c}"),
        '\0' => "\\00".to_owned(),
        c => c.to_string(),
    };
    value.chars().enumerate().map(shown).collect()
}

/// A login is found again in the name that is made of it, however the directory writes that name.
fn logins(text: &str) {
    let Ok(login) = text.parse::<Login>() else { return };
    let template = Template::parse("uid={login},ou=People,dc=example").unwrap();
    let dn = template.dn(login.as_str());
    assert_eq!(template.login(&dn).as_deref(), Some(login.as_str()), "{dn:?}");
    let dn = format!("uid={},ou=people,dc=example", by_backslash(login.as_str()));
    assert_eq!(template.login(&dn).as_deref(), Some(login.as_str()), "{dn:?}");
    let users = UserNames::parse("u-{login}@example.com").unwrap();
    assert_eq!(users.holder(&users.of(&login)), login);
    no_login("user", text);
}

fn commands(text: &str) {
    if let Ok(command) = text.parse::<SudoCommand>() {
        let printed = command.to_string();
        assert!(!printed.contains(|c: char| c.is_control() || "!#()&|;<>$`'%?[]{}^".contains(c) && c != '%'));
        let words: Vec<&str> = printed.split(' ').collect();
        let given: Vec<&str> = text.split_whitespace().collect();
        let plain = |word: &&str| word.replace('\\', "");
        match (words.as_slice(), given.as_slice()) {
            // No arguments at all.
            ([path, "\"\""], [only]) => assert_eq!(plain(path), *only),
            // Any arguments.
            ([path], [only, "*"]) => assert_eq!(plain(path), *only),
            _ => assert_eq!(words.iter().map(plain).collect::<Vec<_>>(), given),
        }
        let inner = &words[..words.len() - usize::from(words.last() == Some(&"*") || words.last() == Some(&"\"\""))];
        assert!(!inner.iter().any(|word| word.contains(['*', '"'])), "{printed}");
    }
    if let Ok(ProfileCommand { profile, command }) = text.parse() {
        let (name, rest) = text.split_once('=').unwrap();
        assert_eq!((profile.as_str(), Ok(command)), (name, rest.parse()));
    }
    if let Some(user) = reads_back::<RunAs>(text) {
        assert!(!user.to_string().contains(|c: char| !c.is_ascii_alphanumeric() && !"_-".contains(c)));
    }
}
