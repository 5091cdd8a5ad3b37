//! Replaces an owner whose account is gone.

use super::Team;
use crate::domain::name::Name;
use crate::domain::refusal::{CallerRefusal, LookupRefusal, Refusal};
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
        return Err(CallerRefusal::NeedsRoot { to: "replace the owner" }.into());
    }
    let mut new = team.clone();
    for (name, member) in &mut new.members {
        if member.role == Role::Owner {
            if name == to {
                return Err(CallerRefusal::OwnerAlready { member: to.clone() }.into());
            }
            if accounts.owner {
                return Err(CallerRefusal::OwnerIsThere { owner: name.clone(), login: member.login.to_string() }.into());
            }
            member.role = Role::Viewer;
            member.disabled = true;
        }
    }
    match new.members.get_mut(to) {
        None => Err(LookupRefusal::NoSuchMember { name: to.clone(), nearest: None }.into()),
        Some(member) if member.disabled => Err(CallerRefusal::Disabled { member: to.clone() }.into()),
        // The next user with that login would be the owner.
        Some(member) if !accounts.successor => {
            Err(CallerRefusal::NoAccount { member: to.clone(), login: member.login.to_string() }.into())
        }
        Some(member) => {
            member.role = Role::Owner;
            Ok(new)
        }
    }
}
