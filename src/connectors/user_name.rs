//! What a service calls the user of a login: `{login}@example.com`.

use super::NotDone;
use crate::domain::member::Login;
use crate::domain::text::acts_or_hides;
use crate::error::{Failure, Kind};

pub struct UserNames {
    /// What a name has before and after the login.
    before: String,
    after: String,
}

const PLACE: &str = "{login}";

impl UserNames {
    /// `template` is the value of `--user-name`.
    pub fn parse(template: &str) -> Result<UserNames, Failure> {
        let Some((before, after)) = template.split_once(PLACE) else {
            let failure = Failure::new(Kind::Usage, format!("--user-name has no {PLACE}"));
            return Err(failure.hint("example: {login}@example.com"));
        };
        Ok(UserNames { before: before.to_owned(), after: after.to_owned() })
    }

    pub fn of(&self, login: &Login) -> String {
        format!("{}{login}{}", self.before, self.after)
    }

    /// Why a revoke fails if the service has no such user.
    pub fn gone(&self, login: &Login) -> NotDone {
        let name = self.of(login);
        NotDone::Failed(format!("there is no user {name} any more; if it was renamed, remove its membership by hand"))
    }

    /// Who a list names for a user. One whose name no login has, such as one who was renamed, is `user=NAME`: it is reported, and
    /// never taken for a member of the team.
    pub fn holder(&self, name: &str) -> Login {
        let login = name.strip_prefix(&self.before).and_then(|rest| rest.strip_suffix(&self.after));
        login.and_then(|login| login.parse().ok()).unwrap_or_else(|| no_login("user", name))
    }
}

/// In bytes.
const LONGEST_LOGIN: usize = 256;

/// How a list names somebody whose name no login has: `user=bob\20smith`. What no login has in it is written by its bytes. Each
/// name can be listed, because one that is left out is access that nobody sees.
pub fn no_login(kind: &str, name: &str) -> Login {
    let mut login = format!("{kind}=");
    for c in name.chars() {
        let mut next = c.to_string();
        if c.is_whitespace() || acts_or_hides(c) || [':', '/', ','].contains(&c) {
            next = next.bytes().map(|byte| format!("\\{byte:02x}")).collect();
        }
        if login.len() + next.len() > LONGEST_LOGIN {
            break;
        }
        login += &next;
    }
    login.parse().expect("nothing is left that no login has")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_is_listed() {
        let users = UserNames::parse("{login}@example.com").unwrap();
        for (name, listed) in [
            ("bob@example.com", "bob"),
            ("bob@partner.example", "user=bob@partner.example"),
            ("Bob Smith@example.com", r"user=Bob\20Smith@example.com"),
            ("", "user="),
            ("a\u{202e}b\n", r"user=a\e2\80\aeb\0a"),
            ("a:b/c,d", r"user=a\3ab\2fc\2cd"),
        ] {
            assert_eq!(users.holder(name).as_str(), listed);
        }
        assert_eq!(users.holder(&"\u{a0}é".repeat(300)).as_str().len(), 253);
    }
}
