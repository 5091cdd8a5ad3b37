//! Replays decisions on requests: approvals, denials, reviews of emergencies.

use std::collections::BTreeSet;

use super::{EntryContext, Fault, Model};
use crate::domain::event::Approval;
use crate::domain::member::{Login, Member};
use crate::domain::name::Name;
use crate::domain::request::emergency::could_review;
use crate::domain::request::{Decision, Recorded, Request, Review, Verdict};
use crate::domain::role::Role;
use crate::domain::ssh_signature::SshSignature;
use crate::domain::terms::RequestId;
use crate::domain::text::Text;
use crate::domain::time::Timestamp;

impl Model {
    pub(super) fn approve(&mut self, context: EntryContext<'_>, approval: Approval) -> Result<(), Fault> {
        let Approval { request: id, by, terms, asked, note, voids, signature } = approval;
        let login = self.login_of(&by).cloned();
        let request = self.pending(id, context.at)?;
        let checked = check_decision(context, request, &by, login.as_ref());
        let modified = asked.is_some().then(|| terms.clone());
        let misstated = asked.is_some_and(|asked| asked != request.details.asked)
            || modified.is_none() && terms != request.details.asked;
        let counted: BTreeSet<&Name> = request.approvals().map(|decision| &decision.by).collect();
        let voids_missing = voids.iter().any(|name| !counted.contains(name));
        request.void_approvals(&voids);
        request.decisions.push(Decision {
            seq: context.seq,
            by,
            at: context.at,
            verdict: Verdict::Approve,
            note,
            terms: modified,
            counts: true,
            signed_with: signature.as_ref().map(SshSignature::key),
        });
        checked?;
        if voids_missing {
            return Err(voids_no_approval(id));
        }
        if misstated {
            return Err(format!("it misstates what request {id} asked for"));
        }
        Ok(())
    }

    pub(super) fn deny(
        &mut self,
        context: EntryContext<'_>,
        id: RequestId,
        by: Name,
        reason: Option<Text>,
    ) -> Result<(), Fault> {
        let login = self.login_of(&by).cloned();
        let request = self.pending(id, context.at)?;
        let checked = check_decision(context, request, &by, login.as_ref());
        request.decisions.push(Decision {
            seq: context.seq,
            by,
            at: context.at,
            verdict: Verdict::Deny,
            note: reason,
            terms: None,
            counts: true,
            signed_with: None,
        });
        request.recorded = Recorded::Denied;
        checked
    }

    pub(super) fn void_approvals(
        &mut self,
        context: EntryContext<'_>,
        id: RequestId,
        voids: &[Name],
    ) -> Result<(), Fault> {
        let request = self.pending(id, context.at)?;
        let counted: BTreeSet<&Name> = request.approvals().map(|decision| &decision.by).collect();
        let voids_missing = voids.iter().any(|name| !counted.contains(name));
        request.void_approvals(voids);
        match context.actor {
            None => Err(format!("approvals of request {id} are voided by nobody")),
            Some(_) if voids_missing => Err(voids_no_approval(id)),
            Some(_) => Ok(()),
        }
    }

    pub(super) fn review(
        &mut self,
        context: EntryContext<'_>,
        id: RequestId,
        by: Name,
        note: Text,
    ) -> Result<(), Fault> {
        let unauthorized = self.unauthorized_review(id, &by, context.at);
        let login = self.login_of(&by).cloned();
        let not_owed = || format!("it reviews request {id}, which owes no review");
        let request = self.request(id, |_| not_owed())?;
        let checked = check_decision(context, request, &by, login.as_ref());
        let owed = request.owes_review() && request.grant.is_some();
        request.review = Some(Review { by, note, at: context.at });
        checked?;
        match unauthorized {
            Some(fault) => Err(fault),
            None if !owed => Err(not_owed()),
            None => Ok(()),
        }
    }

    /// Who reviews an emergency is fixed when it is taken. Of them, each counts while they could review it by the rules of
    /// the moment. If none can, anybody who could may review it. (Older versions let a fixed reviewer review whatever they
    /// had become.)
    ///
    /// Where the demands depend on grants that were released, only base admins are known to be able to review.
    fn unauthorized_review(&mut self, id: RequestId, by: &Name, at: Timestamp) -> Option<Fault> {
        let (team, request) = (self.team.as_ref()?, self.requests.get(&id)?);
        let grant = request.grant.as_ref()?;
        let reviewers = grant.reviewers.as_ref()?;
        let is_fixed = |name: &Name| {
            let same_person = self.since.get(name).is_some_and(|since| *since < request.seq);
            same_person && reviewers.contains(name)
        };
        let is_able = |name: &Name| team.members.get(name).is_some_and(Member::can_decide);
        if is_able(by) && is_fixed(by) {
            return None;
        }
        let judgement = self.team_then.judge_emergency(team, request, grant.starts_at);
        let could = |name: &Name| -> Option<bool> {
            let mut principal = team.principal(name).filter(|principal| {
                let login = &principal.member.login;
                principal.member.can_decide()
                    && !request.may_be_requested_by(name, login)
                    && !request.may_be_filed_by(name, login)
            })?;
            principal.grants = self.roles_granted(name).cloned().collect();
            match &judgement {
                Some(judgement) => Some(could_review(&principal, judgement, &request.details.asked, at)),
                None => (principal.member.role >= Role::Admin).then_some(true),
            }
        };
        if reviewers.iter().any(|name| is_fixed(name) && could(name) == Some(true)) {
            return Some(format!("{by} reviews request {id}, which is for others to review"));
        }
        (could(by) == Some(false)).then(|| format!("{by} reviews request {id}, who could not review it then"))
    }
}

fn voids_no_approval(id: RequestId) -> Fault {
    format!("it voids an approval of request {id} that does not exist")
}

/// The one who decides is the actor, and is neither the requester nor the filer. `login`: the Unix user of the member who decides. None:
/// they are not a member, which is a fault by itself.
fn check_decision(context: EntryContext<'_>, request: &Request, by: &Name, login: Option<&Login>) -> Result<(), Fault> {
    let is_own = |login: &Login| request.may_be_requested_by(by, login) || request.may_be_filed_by(by, login);
    if context.actor != Some(by) {
        Err(format!("the decision on request {} is not that of the member who acts", request.id))
    } else if login.is_some_and(is_own) {
        Err(format!("{by} decides on request {}, which is their own", request.id))
    } else {
        Ok(())
    }
}
