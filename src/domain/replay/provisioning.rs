//! Replays what connectors gave and took back, and the drift that was found.

use super::{EntryContext, Fault, Model};
use crate::domain::provisioning::{
    Condition, Deprovisioned, Drift, Drifted, Failed, OmittedDrift, ProvisionedAccess, Provisioning,
    ProvisioningOperation,
};

impl Model {
    pub(super) fn provision(&mut self, context: EntryContext<'_>, provision: ProvisionedAccess) -> Result<(), Fault> {
        let checked = self.check_provision(context, &provision);
        let what = provision.holding.to_string();
        let before = self.put(context, provision, Condition::Granted, None);
        checked?;
        if before == Some(Condition::Granted) {
            Err(format!("{what} is given, which was given before"))
        } else {
            Ok(())
        }
    }

    pub(super) fn deprovision(&mut self, context: EntryContext<'_>, deprovisioned: Deprovisioned) -> Result<(), Fault> {
        let Deprovisioned { provision, .. } = deprovisioned;
        let checked = self.check_provision(context, &provision);
        let Some(mut row) = self.provisioned.given.remove(&(provision.request, provision.holding.clone())) else {
            return Err(format!("{} is taken back, which was not given", provision.holding));
        };
        (row.condition, row.error, row.since, row.recorded_at) = (Condition::Revoked, None, context.at, context.at);
        self.provisioned.ended.push(row);
        checked
    }

    pub(super) fn fail(&mut self, context: EntryContext<'_>, failed: Failed) -> Result<(), Fault> {
        let Failed { provision, operation, why } = failed;
        let condition = match operation {
            ProvisioningOperation::Grant => Condition::GrantFailed,
            ProvisioningOperation::Revoke => Condition::RevokeFailed,
        };
        let checked = self.check_provision(context, &provision);
        self.put(context, provision, condition, Some(why));
        checked
    }

    pub(super) fn find_drift(&mut self, context: EntryContext<'_>, drifted: Drifted) -> Result<(), Fault> {
        let checked = by_nobody(context);
        self.provisioned.begun.push(context.seq);
        let row = Provisioning {
            seq: context.seq,
            request: None,
            member: None,
            holding: drifted.holding.clone(),
            condition: Condition::Drifted(drifted.drift),
            error: None,
            since: context.at,
            recorded_at: context.at,
        };
        let what = said(&drifted);
        match self.provisioned.drift.insert(drifted, row) {
            Some(_) => Err(format!("{what} is found, which was found before")),
            None => checked,
        }
    }

    pub(super) fn resolve_drift(&mut self, context: EntryContext<'_>, drifted: &Drifted) -> Result<(), Fault> {
        let Some(mut row) = self.provisioned.drift.remove(drifted) else {
            return Err(format!("{} is resolved, which was not found", said(drifted)));
        };
        (row.condition, row.since, row.recorded_at) = (Condition::Resolved, context.at, context.at);
        self.provisioned.ended.push(row);
        by_nobody(context)
    }

    /// Puts what is open about a holding into this condition. Returns the condition before, if there was any.
    fn put(
        &mut self,
        context: EntryContext<'_>,
        provision: ProvisionedAccess,
        condition: Condition,
        error: Option<String>,
    ) -> Option<Condition> {
        let ProvisionedAccess { request, member, holding } = provision;
        let EntryContext { seq, at, .. } = context;
        if let Some(row) = self.provisioned.given.get_mut(&(request, holding.clone())) {
            let before = row.condition;
            let since = if before == condition { row.since } else { at };
            (row.condition, row.error, row.since, row.recorded_at) = (condition, error, since, at);
            return Some(before);
        }
        self.provisioned.begun.push(seq);
        let row = Provisioning {
            seq,
            request,
            member,
            holding: holding.clone(),
            condition,
            error,
            since: at,
            recorded_at: at,
        };
        self.provisioned.given.insert((request, holding), row);
        None
    }

    /// It is recorded by the reconciler, and of a grant that there is, to its member.
    fn check_provision(&self, context: EntryContext<'_>, provision: &ProvisionedAccess) -> Result<(), Fault> {
        by_nobody(context)?;
        let Some(id) = provision.request else { return Ok(()) };
        let none = || format!("{} is for the grant {id}, which there is not", provision.holding);
        let member = match self.past.get(id) {
            Some((requester, granted)) => granted.then(|| requester.clone()),
            None => {
                let grant = self.requests.get(&id).and_then(|request| request.grant.as_ref());
                grant.map(|grant| grant.member.clone())
            }
        };
        match (member, &provision.member) {
            (None, _) => Err(none()),
            (Some(member), Some(named)) if member == *named => Ok(()),
            (Some(_), _) => Err(format!("{} is for another member than grant {id}", provision.holding)),
        }
    }
}

/// Each difference that is left out is on no record, so there is nothing to replay.
pub(super) fn omit_drift(context: EntryContext<'_>, omitted: &OmittedDrift) -> Result<(), Fault> {
    by_nobody(context)?;
    if omitted.count == 0 { Err(format!("no drift of {} is left out", omitted.connector)) } else { Ok(()) }
}

pub(super) fn by_nobody(context: EntryContext<'_>) -> Result<(), Fault> {
    match context.actor {
        None => Ok(()),
        Some(actor) => Err(format!("{actor} records what the reconciler does, which no member does")),
    }
}

fn said(drifted: &Drifted) -> String {
    let drift: Drift = drifted.drift;
    format!("drift ({}) of {}", drift.as_str(), drifted.holding)
}
