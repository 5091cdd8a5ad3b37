//! Replays changes of the team, and of what its members prefer.

use std::collections::BTreeSet;

use super::{EntryContext, Fault, Model, TeamChanger};
use crate::domain::event::{Entry, Event};
use crate::domain::member::{Login, Member};
use crate::domain::name::Name;
use crate::domain::preference::Preference;
use crate::domain::role::Role;
use crate::domain::simulation::historical::TeamThen;
use crate::domain::ssh_key::SshKey;
use crate::domain::team::Team;
use crate::domain::team::change::{Change, Diff};

impl Model {
    pub(super) fn initialize_team(&mut self, seq: i64, changes: Vec<Change>) -> Result<(), Fault> {
        if self.team.is_some() {
            return Err("the team is set up a second time".to_owned());
        }
        self.change_team(seq, changes)
    }

    pub(super) fn apply_team(&mut self, seq: i64, changes: Vec<Change>) -> Result<(), Fault> {
        let unauthorized = self.unauthorized_change();
        self.change_team(seq, changes)?;
        unauthorized.map_or(Ok(()), Err)
    }

    fn change_team(&mut self, seq: i64, changes: Vec<Change>) -> Result<(), Fault> {
        self.team_then = TeamThen::default();
        let mut fault = None;
        let mut changed = BTreeSet::new();
        for change in &changes {
            let what = change.what();
            if changed.contains(&what) {
                fault = Some(format!("it changes {what} twice"));
            }
            changed.insert(what);
            if let Change::Member(name, diff) = change {
                if !diff.is_same_person() {
                    self.since.remove(name);
                    self.preferences.remove(name);
                }
                if diff.after().is_some() {
                    self.since.entry(name.clone()).or_insert(seq);
                }
            }
            fault = fault.or(Team::apply(&mut self.team, change).err());
        }
        let members = || self.team.iter().flat_map(|team| team.members.values());
        let owners = members().filter(|member| member.role == Role::Owner);
        let logins: BTreeSet<&Login> = members().map(|member| &member.login).collect();
        let keys: Vec<&str> = members().flat_map(|member| &member.ssh_keys).map(SshKey::blob).collect();
        let different: BTreeSet<&str> = keys.iter().copied().collect();
        match (fault, owners.count()) {
            (Some(fault), _) => Err(fault),
            (None, _) if logins.len() < members().count() => Err("it gives two members the same login".to_owned()),
            (None, _) if different.len() < keys.len() => Err("it gives two members the same SSH key".to_owned()),
            (None, 1) => Ok(()),
            (None, owners) => Err(format!("it leaves the team with {owners} owners")),
        }
    }

    /// Remembers who changes the team, until an entry comes that does not follow from the change.
    pub(super) fn note_team_changer(&mut self, entry: &Entry) {
        if let Event::TeamApplied { changes } = &entry.event {
            self.changed_by = match &entry.actor {
                Some(actor) => Some(TeamChanger::Member(actor.clone())),
                None if entry.os_user == "root" && replaces_owner(changes) => Some(TeamChanger::Root),
                None => None,
            };
        } else if !entry.event.follows_team() {
            self.changed_by = None;
        }
    }

    /// Only the owner changes the team. Root, who is not a member, can replace the owner.
    fn unauthorized_change(&self) -> Option<Fault> {
        let owner = self.team.as_ref().and_then(Team::owner).map(|(name, _)| name);
        match &self.changed_by {
            Some(TeamChanger::Member(name)) if Some(name) == owner => None,
            Some(TeamChanger::Member(name)) => Some(format!("{name} changes the team, but is not its owner")),
            Some(TeamChanger::Root) => None,
            None => Some("the team was changed by nobody".to_owned()),
        }
    }

    pub(super) fn change_preference(
        &mut self,
        context: EntryContext<'_>,
        member: Name,
        from: &Preference,
        to: Preference,
    ) -> Result<(), Fault> {
        let by_member = context.actor == Some(&member);
        let before = match to.is_empty() {
            true => self.preferences.remove(&member),
            false => self.preferences.insert(member.clone(), to),
        };
        if !by_member {
            Err(format!("the preferences of {member} are changed by somebody else"))
        } else if before.unwrap_or_default() != *from {
            Err(format!("the preferences of {member} change from what they were not"))
        } else {
            Ok(())
        }
    }
}

/// Whether these changes make another member the owner, disable the old owner, and do nothing else. (Older versions did not
/// disable the old owner.)
fn replaces_owner(changes: &[Change]) -> bool {
    let [Change::Member(_, Diff::Change { from: a, to: to_a }), Change::Member(_, Diff::Change { from: b, to: to_b })] =
        changes
    else {
        return false;
    };
    let replaces = |old: &Member, gone: &Member, next: &Member, owner: &Member| {
        let viewer = Member { role: Role::Viewer, ..old.clone() };
        old.role == Role::Owner
            && (*gone == viewer || *gone == Member { disabled: true, ..viewer })
            && next.role != Role::Owner
            && !next.disabled
            && *owner == Member { role: Role::Owner, ..next.clone() }
    };
    replaces(a, to_a, b, to_b) || replaces(b, to_b, a, to_a)
}
