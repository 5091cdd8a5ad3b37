//! A member with everything that decides what they may use.

use std::collections::{BTreeMap, BTreeSet};

use super::catalog::Scope;
use super::grant::Grant;
use super::member::{Login, Member};
use super::name::Name;
use super::resource::Resource;
use super::role::Role;
use super::terms::RequestId;
use super::time::Timestamp;

/// A member with all that decides what they may use.
#[derive(Debug, Clone)]
pub struct Principal {
    pub name: Name,
    pub member: Member,
    /// The entry that brought them (back), or gave them another login: what was decided before is not theirs.
    pub since: i64,
    pub groups: BTreeSet<Name>,
    /// The scopes that are assigned to them in any way, and those that a grant of theirs is for.
    pub scopes: BTreeMap<Name, Scope>,
    /// Their grants whose end is not on the record; the clock may still have ended one.
    pub grants: Vec<Grant>,
}

/// How somebody comes to hold a role: by the team file, or by a grant.
pub(super) struct RoleHeld {
    pub(super) role: Role,
    pub(super) request: Option<RequestId>,
    pub(super) until: Option<Timestamp>,
}

impl Principal {
    /// Somebody who was a member once: of them only the name is left.
    pub fn gone(name: Name) -> Principal {
        let login = Login::from(&name);
        let member = Member { disabled: true, ..Member::plain(Role::Viewer, login) };
        let (groups, scopes) = (BTreeSet::new(), BTreeMap::new());
        Principal { name, member, since: i64::MAX, groups, scopes, grants: Vec::new() }
    }

    pub fn is_disabled(&self) -> bool {
        self.member.disabled
    }

    /// Whether this person is the member whom an entry names: by the same Unix user, or by a name that they have had since
    /// before it. A name alone is not enough: its bearer of then may be somebody else.
    pub fn was(&self, name: &Name, login: Option<&Login>, seq: i64) -> bool {
        login == Some(&self.member.login) || *name == self.name && self.since < seq
    }

    /// The highest of the base role and the live role grants.
    pub fn effective_role(&self, now: Timestamp) -> Role {
        self.roles_held(now).into_iter().map(|held| held.role).max().unwrap_or(self.member.role)
    }

    pub fn live_grants(&self, now: Timestamp) -> impl Iterator<Item = &Grant> {
        let disabled = self.is_disabled();
        self.grants.iter().filter(move |grant| !disabled && grant.is_live(now))
    }

    /// Those that begin later, in the order in which they do.
    pub fn following_grants(&self, now: Timestamp) -> Vec<&Grant> {
        let follows = |grant: &&Grant| !self.is_disabled() && grant.ended.is_none() && grant.starts_at > now;
        let mut grants: Vec<&Grant> = self.grants.iter().filter(follows).collect();
        grants.sort_by_key(|grant| grant.starts_at);
        grants
    }

    fn roles_held(&self, now: Timestamp) -> Vec<RoleHeld> {
        let base = RoleHeld { role: self.member.role, request: None, until: None };
        let granted = self.live_grants(now).filter_map(|grant| match grant.terms.resource {
            Resource::Role(role) => Some(RoleHeld { role, request: Some(grant.request), until: grant.ends_at }),
            Resource::Connection(_) | Resource::Target(_) | Resource::Feature(_) | Resource::Scope(_) => None,
        });
        std::iter::once(base).chain(granted).collect()
    }

    /// How this person holds `least` or more: permanently if the base role suffices, else by the grant that lasts longest.
    pub(super) fn role_held(&self, least: Role, now: Timestamp) -> Option<RoleHeld> {
        let enough = self.roles_held(now).into_iter().filter(|held| held.role >= least);
        enough.reduce(|a, b| if lasts_longer(b.until, a.until) { b } else { a })
    }
}

/// Whether an end `a` lies after an end `b`, where None is never.
pub fn lasts_longer(a: Option<Timestamp>, b: Option<Timestamp>) -> bool {
    match (a, b) {
        (None, Some(_)) => true,
        (Some(a), Some(b)) => a > b,
        (_, None) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::grant::examples::{at, grant, revoked};

    fn bob(grants: Vec<Grant>) -> Principal {
        let mut bob = Principal { grants, since: 5, ..Principal::gone("bob".parse().unwrap()) };
        assert!(bob.is_disabled());
        bob.member.disabled = false;
        bob
    }

    fn numbers(grants: Vec<&Grant>) -> Vec<i64> {
        grants.into_iter().map(|grant| grant.request.get()).collect()
    }

    #[test]
    fn grants_follow_until_they_begin_and_unless_they_were_revoked() {
        let mut bob = bob(vec![grant(1, 20, 30), grant(2, 10, 30), grant(3, 5, 30), revoked(grant(4, 20, 30))]);
        assert_eq!(numbers(bob.following_grants(at(5))), [2, 1]);
        assert_eq!(numbers(bob.live_grants(at(5)).collect()), [3]);
        assert_eq!(numbers(bob.live_grants(at(29)).collect()), [1, 2, 3]);
        assert_eq!(bob.effective_role(at(29)), Role::Admin);
        assert_eq!(bob.effective_role(at(30)), Role::Viewer);
        bob.member.disabled = true;
        assert_eq!(numbers(bob.following_grants(at(5))), [0; 0]);
        assert_eq!(numbers(bob.live_grants(at(29)).collect()), [0; 0]);
        assert_eq!(bob.effective_role(at(29)), Role::Viewer);
    }

    #[test]
    fn who_somebody_was_is_told_by_the_login_or_by_a_name_that_they_had_before() {
        let bob = bob(Vec::new());
        let was = |name: &str, login: &str, seq| bob.was(&name.parse().unwrap(), login.parse().ok().as_ref(), seq);
        assert!(was("robert", "bob", 1), "by the login");
        assert!(was("bob", "rob", 6), "by the name");
        assert!(!was("bob", "rob", 5) && !was("bob", "rob", 4), "another had the name");
        assert!(!was("robert", "rob", 6));
        assert!(!bob.was(&"robert".parse().unwrap(), None, 6));
    }

    #[test]
    fn never_is_the_latest_end() {
        assert!(lasts_longer(None, Some(at(1))) && lasts_longer(Some(at(2)), Some(at(1))));
        assert!(!lasts_longer(Some(at(1)), Some(at(1))) && !lasts_longer(Some(at(1)), Some(at(2))));
        assert!(!lasts_longer(None, None) && !lasts_longer(Some(at(1)), None));
    }
}
