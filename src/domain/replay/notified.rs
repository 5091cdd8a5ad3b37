//! Checks that those were notified whom nobody can leave out: of a change of the team its admins, of an emergency the admins and
//! its reviewers.
//!
//! Format 1 is not checked. Neither is `revoke.failed`: of many at once only the first are notified of.

use std::collections::BTreeSet;

use super::{Fault, Model, TeamChanger};
use crate::domain::event::{Entry, Event};
use crate::domain::name::Name;
use crate::domain::notification::{NotificationKind, Recipient};
use crate::domain::resource::Resource;
use crate::domain::role::Role;
use crate::domain::team::Team;
use crate::domain::team::change::Change;
use crate::domain::text::joined;
use crate::domain::time::Timestamp;

/// Whom an entry has to notify, and of what.
pub(super) struct Mandatory {
    kind: NotificationKind,
    names: BTreeSet<Name>,
}

impl Model {
    /// By the team and the grants before the entry.
    pub(super) fn mandatory(&self, entry: &Entry) -> Option<Mandatory> {
        if self.format < 2 {
            return None;
        }
        match &entry.event {
            Event::TeamApplied { changes } => {
                // Older versions did not notify an owner whom root replaced. Those who are admins afterwards always were.
                let is_by_root = self.changed_by == Some(TeamChanger::Root);
                let mut names = if is_by_root { BTreeSet::new() } else { self.admins_then(entry.at) };
                for departed in changes.iter().filter_map(Change::departs) {
                    names.remove(departed);
                }
                Some(Mandatory { kind: NotificationKind::TeamChanged, names })
            }
            Event::GrantStarted(granted) => {
                let request = self.requests.get(&granted.request)?;
                if !request.emergency || granted.by_rule.is_none() || request.grant.is_some() {
                    return None;
                }
                let mut names = self.admins_then(entry.at);
                names.extend(granted.reviewers.iter().flatten().cloned());
                names.remove(&request.requester);
                names.remove(&request.filed_by);
                Some(Mandatory { kind: NotificationKind::AccessEmergency, names })
            }
            _ => None,
        }
    }

    /// What is missing of that, once the entry was replayed.
    pub(super) fn not_notified(&self, mandatory: Mandatory, recipients: &[Recipient]) -> Option<Fault> {
        let Mandatory { kind, mut names } = mandatory;
        if kind == NotificationKind::TeamChanged {
            names.extend(self.team.iter().flat_map(Team::admins).cloned());
        }
        names.retain(|name| !recipients.contains(&kind.to(name)));
        (!names.is_empty()).then(|| format!("it does not notify {} of {kind}", joined(&names)))
    }

    /// Admins and the owner, by base role or by a grant.
    fn admins_then(&self, at: Timestamp) -> BTreeSet<Name> {
        let Some(team) = &self.team else { return BTreeSet::new() };
        let granted = self.role_grants.iter().filter_map(|id| self.requests.get(id)?.grant.as_ref());
        let granted = granted.filter_map(|grant| match grant.terms.resource {
            Resource::Role(role) if role >= Role::Admin && grant.is_live(at) => Some(&grant.member),
            _ => None,
        });
        let granted = granted.filter(|name| team.members.get(*name).is_some_and(|member| member.can_decide()));
        team.admins().chain(granted).cloned().collect()
    }
}
