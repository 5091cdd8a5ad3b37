//! The team as its file declares it: members, groups, and the catalogue of what there is to ask for.
//! Also the difference between two teams, which is what a `team.applied` event records.

pub mod catalog;
pub mod change;
pub mod diff;
pub mod difference;
pub mod owner;
pub mod team_file;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::domain::binding::Binding;
use crate::domain::catalog::{Connection, Feature, Scope, Target};
use crate::domain::host::Hosts;
use crate::domain::member::{Assignee, Login, Member};
use crate::domain::name::Name;
use crate::domain::policy::rule::Rule;
use crate::domain::preference::Policy;
use crate::domain::principal::Principal;
use crate::domain::replica::OfflineLimit;
use crate::domain::role::Role;

/// Serialized in the shape of the team file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Team {
    pub team: Header,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub members: BTreeMap<Name, Member>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<Name, Group>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub connections: BTreeMap<Name, Connection>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub targets: BTreeMap<Name, Target>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub features: BTreeMap<Name, Feature>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub scopes: BTreeMap<Name, Scope>,
    /// The hosts that share the log. Empty: the owner of the log's database lets them in.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hosts: Hosts,
    /// In the order of the file; all that match hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub bindings: BTreeSet<Binding>,
    #[serde(default, skip_serializing_if = "Policy::is_empty")]
    pub notifications: Policy,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    pub name: Name,
    /// Where a resource has no limit of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offline_for: Option<OfflineLimit>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    pub members: BTreeSet<Name>,
}

impl Team {
    /// An empty team.
    pub fn named(team: Header) -> Team {
        Team {
            team,
            members: BTreeMap::new(),
            groups: BTreeMap::new(),
            connections: BTreeMap::new(),
            targets: BTreeMap::new(),
            features: BTreeMap::new(),
            scopes: BTreeMap::new(),
            hosts: BTreeMap::new(),
            rules: Vec::new(),
            bindings: BTreeSet::new(),
            notifications: Policy::default(),
        }
    }

    /// A team of one: its owner.
    pub fn of_one(team: Name, owner: Name, login: Login) -> Team {
        let mut team = Team::named(Header { name: team, offline_for: None });
        team.members.insert(owner, Member::plain(Role::Owner, login));
        team
    }

    /// Those who are named so, by the team file alone, and may act. `about_a_role`: as far as they decide on roles.
    pub fn approvers(&self, named: &BTreeSet<Assignee>, about_a_role: bool) -> BTreeSet<&Name> {
        let is_named = |name: &Name, member: &Member| {
            named.iter().any(|named| match named {
                Assignee::Member(other) => other == name,
                Assignee::Group(group) => self.groups.get(group).is_some_and(|group| group.members.contains(name)),
                Assignee::Role(least) if about_a_role => member.role >= (*least).max(Role::Admin),
                Assignee::Role(least) => member.role >= *least,
            })
        };
        let able = self.members.iter().filter(|(name, member)| member.can_decide() && is_named(name, member));
        able.map(|(name, _)| name).collect()
    }

    /// The admins and the owner, without those who are auditors.
    pub fn admins(&self) -> impl Iterator<Item = &Name> {
        self.members
            .iter()
            .filter(|(_, member)| member.role >= Role::Admin && member.can_decide())
            .map(|(name, _)| name)
    }

    pub fn owner(&self) -> Option<(&Name, &Member)> {
        self.members.iter().find(|(_, member)| member.role == Role::Owner)
    }

    /// A member as the team file has them: without any grant.
    pub fn principal(&self, name: &Name) -> Option<Principal> {
        let groups = self.groups.iter().filter(|(_, group)| group.members.contains(name));
        Some(Principal {
            name: name.clone(),
            member: self.members.get(name)?.clone(),
            since: 0,
            groups: groups.map(|(group, _)| group.clone()).collect(),
            scopes: BTreeMap::new(),
            grants: Vec::new(),
        })
    }
}
