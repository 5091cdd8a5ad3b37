//! Checks a grant by the team of its moment: whether the demands that it met were made, and met, by that team.

use std::collections::BTreeSet;

use super::{Fault, Model};
use crate::domain::event::{Granted, MetDemand};
use crate::domain::grant::Grant;
use crate::domain::member::Assignee;
use crate::domain::name::{Name, RuleName};
use crate::domain::policy::default_demand::default_role;
use crate::domain::policy::demand::RoleBasis;
use crate::domain::policy::rule::Rule;
use crate::domain::request::Request;
use crate::domain::resource::Resource;
use crate::domain::role::Role;
use crate::domain::team::Team;
use crate::domain::time::Timestamp;

impl Model {
    /// From format 2 on a grant says which demands it met. Each was made by a rule of the team at that moment, or is the
    /// default demand, and was met by people who were among its approvers at that moment.
    pub(super) fn unmet_demand(&self, granted: &Granted, at: Timestamp) -> Option<Fault> {
        let id = granted.request;
        if self.format < 2 || granted.by_rule.is_some() {
            return None;
        }
        let team = self.team.as_ref()?;
        let request = self.requests.get(&id)?;
        if granted.demands.is_empty() {
            return Some(format!("request {id} is granted without a demand that it met"));
        }
        let basis = request.role_basis(&granted.terms());
        let default = default_role_then(team, request, granted);
        for MetDemand { rule, approvals, by } in &granted.demands {
            let requirement = match rule {
                None => Some((BTreeSet::from([Assignee::Role(default)]), 1)),
                Some(name) => {
                    let rule = team.rules.iter().find(|rule| rule.name == *name && !rule.approvers.is_empty());
                    rule.map(|rule| (rule.approvers.clone(), rule.approvals))
                }
            };
            let whose = whose(rule.as_ref());
            let Some((approvers, needed)) = requirement else {
                return Some(format!("request {id} is granted by a demand of {whose}, which made none then"));
            };
            let distinct: BTreeSet<&Name> = by.iter().filter(|name| granted.approved_by.contains(name)).collect();
            if *approvals != needed || distinct.len() != by.len() || distinct.len() < needed as usize {
                return Some(format!("request {id} is granted without the approvals that {whose} demanded then"));
            }
            let stranger = by.iter().find(|name| !self.could_approve(team, name, &approvers, basis, at));
            if let Some(stranger) = stranger {
                return Some(format!("{stranger} could not meet the demand of {whose} on request {id} then"));
            }
        }
        None
    }

    /// From format 2 on, a rule that is said to have granted something by itself could do so at that moment, by the whole team
    /// of then.
    pub(super) fn not_given_by_rule(&mut self, granted: &Granted, at: Timestamp) -> Option<Fault> {
        let by = granted.by_rule.as_ref().filter(|_| self.format >= 2)?;
        let (team, request) = (self.team.as_ref()?, self.requests.get(&granted.request)?);
        let rule = team.rules.iter().find(|rule| rule.name == *by)?;
        let not_an_emergency = request.emergency
            && (request.filed_by != request.requester
                || request.details.asked.end.is_permanent()
                || request.details.asked.start.is_some());
        let why = match not_an_emergency {
            true => Some("an emergency is taken by who needs it, at once, and ends".to_owned()),
            false => self.team_then.not_given(team, request, rule, at),
        };
        why.map(|why| {
            format!("request {} is granted by rule {:?}, which could not give it then: {why}", request.id, by.as_str())
        })
    }

    /// Whether this member is among the approvers, by the team and the granted roles of this moment.
    pub(super) fn could_approve(
        &self,
        team: &Team,
        name: &Name,
        approvers: &BTreeSet<Assignee>,
        basis: RoleBasis,
        at: Timestamp,
    ) -> bool {
        let Some(member) = team.members.get(name).filter(|member| member.can_decide()) else { return false };
        let granted = self.roles_granted(name).filter_map(|grant| match grant.terms.resource {
            Resource::Role(role) if grant.is_live(at) => Some(role),
            Resource::Role(_)
            | Resource::Connection(_)
            | Resource::Target(_)
            | Resource::Feature(_)
            | Resource::Scope(_) => None,
        });
        let role = match basis {
            RoleBasis::Effective => granted.max().map_or(member.role, |role| role.max(member.role)),
            RoleBasis::Base | RoleBasis::BaseAdmin => member.role,
        };
        let holds = |least: Role| match basis {
            RoleBasis::Effective | RoleBasis::Base => role >= least,
            RoleBasis::BaseAdmin => role >= least.max(Role::Admin),
        };
        approvers.iter().any(|approver| match approver {
            Assignee::Member(other) => other == name,
            Assignee::Group(group) => team.groups.get(group).is_some_and(|group| group.members.contains(name)),
            Assignee::Role(least) => holds(*least),
        })
    }

    /// The grants of roles to this member that have not ended on the record.
    pub(super) fn roles_granted(&self, name: &Name) -> impl Iterator<Item = &Grant> {
        let grants = self.role_grants.iter().filter_map(|id| self.requests.get(id)?.grant.as_ref());
        grants.filter(move |grant| grant.member == *name)
    }
}

/// Who makes a demand. None: it is the default demand.
pub(super) fn whose(rule: Option<&RuleName>) -> String {
    rule.map_or_else(|| "the default".to_owned(), |rule| format!("rule {:?}", rule.as_str()))
}

/// The least role of those who met the default demand then. A feature has a default of its own, unless a rule whose demand
/// was met replaced it.
fn default_role_then(team: &Team, request: &Request, granted: &Granted) -> Role {
    let named = granted.demands.iter().filter_map(|met| met.rule.as_ref());
    let rules: Vec<&Rule> = named.filter_map(|name| team.rules.iter().find(|rule| rule.name == *name)).collect();
    let replaced = |resource: &Resource| {
        rules.iter().map(|rule| &rule.matches).any(|it| {
            let names = it.resources.is_empty() || it.resources.iter().any(|pattern| pattern.matches(resource));
            names && it.environments.is_empty()
        })
    };
    let under_default = [&request.details.asked.resource, &granted.resource].into_iter().filter(|it| !replaced(it));
    let items = under_default.filter_map(|it| team.item(it));
    items.map(|item| default_role(&item)).max().unwrap_or(Role::Admin)
}
