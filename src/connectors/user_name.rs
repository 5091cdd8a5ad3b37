//! What a service calls the user of a login: `{login}@example.com`.

use super::NotDone;
use crate::domain::member::Login;
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
    /// never taken for a member of the team. None: the name can't be listed.
    pub fn holder(&self, name: &str) -> Option<Login> {
        let login = name.strip_prefix(&self.before).and_then(|rest| rest.strip_suffix(&self.after));
        login.and_then(|login| login.parse().ok()).or_else(|| format!("user={name}").parse().ok())
    }
}
