//! Refusals because of who acts: not a member, without the role, or not the user who owns the database.

use super::kind::RefusalKind;
use crate::domain::name::Name;
use crate::domain::ssh_key::KeyFingerprint;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallerRefusal {
    NoMember { login: String },
    Disabled { member: Name },
    NeedsAdmin { to: &'static str },
    NeedsAuditor { to: &'static str },
    IsAuditor { member: Name, to: &'static str },
    NeedsOwner { to: &'static str },
    NeedsRoot { to: &'static str },
    NeedsKeeper { command: &'static str },
    OwnerIsThere { owner: Name, login: String },
    OwnerAlready { member: Name },
    NoAccount { member: Name, login: String },
    NotTheirKey { member: Name, key: KeyFingerprint },
    NotOverSsh { what: String },
}

impl CallerRefusal {
    pub fn kind(&self) -> RefusalKind {
        match self {
            CallerRefusal::NoMember { .. }
            | CallerRefusal::Disabled { .. }
            | CallerRefusal::NeedsAdmin { .. }
            | CallerRefusal::NeedsAuditor { .. }
            | CallerRefusal::IsAuditor { .. }
            | CallerRefusal::NeedsOwner { .. }
            | CallerRefusal::NeedsRoot { .. }
            | CallerRefusal::NeedsKeeper { .. }
            | CallerRefusal::OwnerIsThere { .. }
            | CallerRefusal::NoAccount { .. }
            | CallerRefusal::NotTheirKey { .. }
            | CallerRefusal::NotOverSsh { .. } => RefusalKind::Refused,
            CallerRefusal::OwnerAlready { .. } => RefusalKind::Conflict,
        }
    }

    pub fn message(&self) -> String {
        match self {
            CallerRefusal::NoMember { login } => format!("the Unix user {login} is not a member of this team"),
            CallerRefusal::Disabled { member } => format!("{member} is disabled, and may do nothing here"),
            CallerRefusal::NeedsAdmin { to } => format!("only admins and the owner may {to}"),
            CallerRefusal::NeedsAuditor { to } => format!("only admins, auditors and the owner may {to}"),
            CallerRefusal::IsAuditor { member, to } => {
                format!("{member} is an auditor, who sees everything and decides nothing, and may not {to}")
            }
            CallerRefusal::NeedsOwner { to } => format!("only the owner may {to}"),
            CallerRefusal::NeedsRoot { to } => format!("only root may {to}"),
            CallerRefusal::NeedsKeeper { command } => {
                format!("`access {command}` is for root and for the user who owns the database file")
            }
            CallerRefusal::OwnerIsThere { owner, login } => {
                format!("{owner} is the owner, and has an account on this machine: {login}")
            }
            CallerRefusal::OwnerAlready { member } => format!("{member} is the owner already"),
            CallerRefusal::NoAccount { member, login } => {
                format!("{member} can't become the owner: the login {login} is not a person's account on this machine")
            }
            CallerRefusal::NotTheirKey { member, key } => format!("the SSH key {key} is not one of {member}'s"),
            CallerRefusal::NotOverSsh { what } => format!("{what} can't be used over SSH"),
        }
    }

    pub fn hints(&self) -> Vec<String> {
        let one = |hint: &str| vec![hint.to_owned()];
        match self {
            CallerRefusal::NoMember { login } => vec![format!(
                "the owner can add a member with login = \"{login}\" to the team file and run `access team apply`"
            )],
            CallerRefusal::Disabled { .. } => one("ask the owner"),
            CallerRefusal::IsAuditor { .. } => one("ask an admin who is not an auditor"),
            CallerRefusal::NeedsAdmin { .. } | CallerRefusal::NeedsAuditor { .. } => {
                one("ask for the role with `access request role:admin --reason …`")
            }
            CallerRefusal::NeedsOwner { .. } => one("`access team show` names the owner"),
            CallerRefusal::NeedsKeeper { .. } => one("leave --as out, or ask the person who looks after this machine"),
            CallerRefusal::NeedsRoot { .. } => {
                one("the owner hands over by applying a team file; root replaces an owner only if there is none")
            }
            CallerRefusal::OwnerIsThere { .. } => vec![
                "the owner hands over by applying a team file".to_owned(),
                "if they have left, remove their account first".to_owned(),
            ],
            CallerRefusal::OwnerAlready { .. } => Vec::new(),
            CallerRefusal::NoAccount { login, .. } => vec![
                format!("create the account {login} first, or the next user with that name would own the team"),
                "or, if the login is wrong, have it corrected in the team file".to_owned(),
            ],
            CallerRefusal::NotTheirKey { .. } => one("the owner changes ssh_keys in the team file"),
            CallerRefusal::NotOverSsh { .. } => one("log in to the host, and run it there"),
        }
    }
}
