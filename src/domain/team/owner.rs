//! Replaces an owner whose account is gone.

use super::Team;
use crate::domain::name::Name;
use crate::domain::refusal::Refusal;
use crate::domain::role::Role;

/// Who has an account on this machine: the owner there is, and the member who is to take their place.
pub struct Accounts {
    pub owner: bool,
    pub successor: bool,
}

/// The team with another owner, in the place of one whose account is gone. It is for root, who could take any account and
/// should not have to. The old owner is disabled: the next Unix user with that name is another person.
pub fn replace_owner(team: &Team, to: &Name, by_root: bool, accounts: &Accounts) -> Result<Team, Refusal> {
    if !by_root {
        return Err(Refusal::NeedsRoot { to: "replace the owner" });
    }
    let mut new = team.clone();
    for (name, member) in &mut new.members {
        if member.role == Role::Owner {
            if name == to {
                return Err(Refusal::OwnerAlready { member: to.clone() });
            }
            if accounts.owner {
                return Err(Refusal::OwnerIsThere { owner: name.clone(), login: member.login.to_string() });
            }
            member.role = Role::Viewer;
            member.disabled = true;
        }
    }
    match new.members.get_mut(to) {
        None => Err(Refusal::NoSuchMember { name: to.clone(), nearest: None }),
        Some(member) if member.disabled => Err(Refusal::Disabled { member: to.clone() }),
        // The next user with that login would be the owner.
        Some(member) if !accounts.successor => {
            Err(Refusal::NoAccount { member: to.clone(), login: member.login.to_string() })
        }
        Some(member) => {
            member.role = Role::Owner;
            Ok(new)
        }
    }
}
