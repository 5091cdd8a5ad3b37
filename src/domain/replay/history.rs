//! A request or a team as some entries of the log say: those about that request, or those that change the team.
//!
//! Nothing is checked here. What is wrong with an entry is for `audit verify` to report.

use std::collections::{BTreeMap, BTreeSet};

use super::{EntryContext, Model};
use crate::domain::event::Entry;
use crate::domain::grant::Grant;
use crate::domain::member::Assignee;
use crate::domain::name::Name;
use crate::domain::principal::Principal;
use crate::domain::request::Request;
use crate::domain::resource::Resource;
use crate::domain::team::Team;

/// A team of the past.
pub struct PastTeam {
    pub team: Team,
    /// For each member, the entry that added them.
    since: BTreeMap<Name, i64>,
    groups: BTreeMap<Name, BTreeSet<Name>>,
}

/// The request that these entries, in their order, file and change. None: they file none.
pub fn request(entries: Vec<Entry>) -> Option<Request> {
    folded(entries).requests.pop_first().map(|(_, request)| request)
}

/// The team that these entries, in their order, create and change. None: they create none.
pub fn team(entries: Vec<Entry>) -> Option<PastTeam> {
    let model = folded(entries);
    let team = model.team?;
    let mut groups: BTreeMap<Name, BTreeSet<Name>> = BTreeMap::new();
    for (name, group) in &team.groups {
        for member in &group.members {
            groups.entry(member.clone()).or_default().insert(name.clone());
        }
    }
    Some(PastTeam { team, since: model.since, groups })
}

fn folded(entries: Vec<Entry>) -> Model {
    let mut model = Model::default();
    for entry in entries {
        model.format = entry.v;
        let context =
            EntryContext { seq: entry.seq, at: entry.at, actor: entry.actor.as_ref(), os_user: &entry.os_user };
        // A fault is not reported here.
        let _ = model.fold(context, entry.event);
    }
    model
}

impl PastTeam {
    /// The entry that added a member.
    pub fn since(&self, name: &Name) -> Option<i64> {
        self.since.get(name).copied()
    }

    /// A member with these grants.
    pub fn principal(&self, name: &Name, grants: Vec<Grant>) -> Option<Principal> {
        let member = self.team.members.get(name)?.clone();
        let groups = self.groups.get(name).cloned().unwrap_or_default();
        let may_have = |scope: &Name, assigned: &BTreeSet<Assignee>| {
            let granted = |grant: &Grant| grant.terms.resource == Resource::Scope(scope.clone());
            grants.iter().any(granted)
                || assigned.iter().any(|assignee| match assignee {
                    Assignee::Member(other) => other == name,
                    Assignee::Group(group) => groups.contains(group),
                    // A granted role counts too.
                    Assignee::Role(_) => true,
                })
        };
        let scopes = self.team.scopes.iter().filter(|(scope, body)| may_have(scope, &body.assigned));
        let scopes = scopes.map(|(scope, body)| (scope.clone(), body.clone())).collect();
        let since = self.since.get(name).copied().unwrap_or_default();
        Some(Principal { name: name.clone(), member, since, groups, scopes, grants })
    }

    /// The member who was this person: by the same name, if they have had it since, or else by the same Unix user.
    pub fn same_person(&self, person: &Principal, last: i64) -> Option<&Name> {
        if person.since <= last {
            return self.team.members.get_key_value(&person.name).map(|(name, _)| name);
        }
        let same = |(_, member): &(&Name, &crate::domain::member::Member)| member.login == person.member.login;
        self.team.members.iter().find(same).map(|(name, _)| name)
    }
}
