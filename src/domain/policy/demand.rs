//! Whose approval a grant takes.

use std::collections::BTreeSet;

use super::default_demand::{default_role, replaces_default};
use super::matching::RuleMatch;
use super::opened::Opened;
use super::rule::Rule;
use crate::domain::member::Assignee;
use crate::domain::name::RuleName;
use crate::domain::principal::Principal;
use crate::domain::role::Role;
use crate::domain::time::Timestamp;

/// A number of approvals that a request takes, and of whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// The rule that demands it. None: the default demand.
    pub rule: Option<RuleName>,
    pub approvers: BTreeSet<Assignee>,
    pub approvals: u32,
    pub signing: SignatureDemand,
}

/// Whether approvals have to be signed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum SignatureDemand {
    Needed,
    #[default]
    Unneeded,
}

impl Requirement {
    /// Who meets it once, signed or not.
    pub fn one_of(approvers: BTreeSet<Assignee>) -> Requirement {
        Requirement { rule: None, approvers, approvals: 1, signing: SignatureDemand::Unneeded }
    }

    /// Whether this person is one of those whose approval is demanded.
    pub fn is_met_by(&self, principal: &Principal, basis: RoleBasis, now: Timestamp) -> bool {
        principal.member.can_decide()
            && self.approvers.iter().any(|approver| match (approver, basis) {
                (Assignee::Member(name), _) => *name == principal.name,
                (Assignee::Group(group), _) => principal.groups.contains(group),
                (Assignee::Role(least), RoleBasis::Effective) => principal.effective_role(now) >= *least,
                (Assignee::Role(least), RoleBasis::Base) => principal.member.role >= *least,
                (Assignee::Role(least), RoleBasis::BaseAdmin) => principal.member.role >= (*least).max(Role::Admin),
            })
    }

    fn default(least: Role) -> Requirement {
        Requirement::one_of([Assignee::Role(least)].into())
    }
}

/// How a `role:R` among the approvers counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoleBasis {
    /// By the role that somebody has now, granted or not.
    Effective,
    /// By the team file alone: nobody gives permanent access by a role that will end.
    Base,
    /// By the team file alone, and from admin up: else granted admins could keep one another in office.
    BaseAdmin,
}

/// What terms demand: by rules, and by default.
#[derive(Debug, Clone, Default)]
pub(super) struct Demands {
    pub(super) rules: Vec<Requirement>,
    /// The least role that meets the default demand, if there is one.
    default: Option<Role>,
}

impl Demands {
    pub(super) fn requirements(&self, signing: SignatureDemand) -> Vec<Requirement> {
        let all = self.rules.iter().cloned().chain(self.default.map(Requirement::default));
        all.map(|requirement| Requirement { signing, ..requirement }).collect()
    }

    pub(super) fn and(&self, other: &Demands) -> Demands {
        let mut rules = self.rules.clone();
        rules.extend(other.rules.iter().filter(|it| !self.rules.contains(it)).cloned());
        Demands { rules, default: self.default.max(other.default) }
    }
}

impl Opened<'_> {
    /// The demands of these terms alone.
    pub(super) fn demands(&self, hits: &[(&Rule, RuleMatch)]) -> Demands {
        let mut rules: Vec<Requirement> = Vec::new();
        let mut has_own = vec![false; self.items.len()];
        for (rule, hit) in hits.iter().filter(|(rule, _)| !rule.approvers.is_empty()) {
            rules.push(Requirement {
                rule: Some(rule.name.clone()),
                approvers: rule.approvers.clone(),
                approvals: rule.approvals,
                signing: SignatureDemand::Unneeded,
            });
            for &place in &hit.items {
                has_own[place] |= replaces_default(rule, self.items[place].item);
            }
        }
        let without = self.items.iter().zip(&has_own).filter(|(it, has_own)| !**has_own && !it.follows_connections);
        let default = without.map(|(it, _)| default_role(it.item)).max();
        Demands { rules, default }
    }
}
