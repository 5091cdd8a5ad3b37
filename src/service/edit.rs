//! `edit`: changes the caller's own pending request. It is judged as if it were filed now.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::policy_context::PolicyContext;
use super::request::{granted, item, out_of_reach};
use super::{Call, Never, Problem, Rows, Service, Warned, quota, those_asked, view, visible};
use crate::domain::event::Draft;
use crate::domain::name::Name;
use crate::domain::principal::Principal;
use crate::domain::request::edit::Edit;
use crate::domain::request::submit::Filing;
use crate::domain::request::{Recorded, edit, submit, vote};
use crate::domain::terms::RequestId;
use crate::domain::text::joined;
use crate::domain::time::Timestamp;
use crate::error::Failure;
use crate::protocol::RequestView;
use crate::store::Read;

/// Changes a pending request of the caller.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EditRequest {
    pub id: RequestId,
    pub edit: Edit,
    pub dry_run: bool,
}

impl Call for EditRequest {
    const NAME: &'static str = "EditRequest";

    type Row = Never;
    type Reply = Warned<RequestView>;

    fn carry_out(self, service: &Service<'_>, _: Rows<'_, Never>) -> Result<Warned<RequestView>, Failure> {
        let EditRequest { id, edit, dry_run } = self;
        let edit = &edit;
        let (view, warnings) = if dry_run {
            service.try_out("edit", Some(id), |read, me, now| {
                let PreparedEdit { view, warnings, .. } = prepare(read, me, id, edit, now)?;
                Ok((view, warnings))
            })?
        } else {
            service.change(
                "edit",
                Some(id),
                |read, me, now| {
                    let PreparedEdit { drafts, warnings, .. } = prepare(read, me, id, edit, now)?;
                    Ok((drafts, warnings))
                },
                |read, warnings, now| Ok((view::written(read, &PolicyContext::default(), id, now)?, warnings)),
            )?
        };
        Ok(Warned { answer: view, warnings })
    }
}

/// An edit that may be made.
struct PreparedEdit {
    drafts: Vec<Draft>,
    warnings: Vec<String>,
    /// The request as it would be shown after it.
    view: RequestView,
}

fn prepare(
    read: &Read<'_>,
    me: &Principal,
    id: RequestId,
    edit: &Edit,
    now: Timestamp,
) -> Result<PreparedEdit, Problem> {
    let policy = PolicyContext::default();
    let before = visible(read, &policy, me, id, now)?;
    let to = edit::edited(&before, edit, me, now)?;
    let item = item(read, &to.asked.resource)?;
    // The request after the edit, for the rules to judge.
    let mut after = before.clone();
    after.apply_edit(to.clone(), before.lapses_at, before.remind_at);
    let judged = policy.judge_and_fit(read, &after, &after.details.asked, now)?;
    after.lapses_at = submit::lapses_at(&after.details.asked, &judged.judgement, now);
    after.remind_at = submit::remind_at(&after.details.asked, &judged.judgement, now);
    let tallies = judged.tally(&after, &after.details.asked, now);
    let notify: Vec<Name> = vote::waits_on(&tallies);
    let filing = Filing {
        id,
        filer: me,
        requester: &judged.requester,
        item: &item,
        pending: None,
        edits: Some(&before),
        judgement: &judged.judgement,
        notify: &notify,
        people: &judged.people(),
        asked: &those_asked(read, &before)?,
    };
    let drafts = edit::edit(&before, to, &filing, now)?;
    quota::may_edit(read, &policy, me, &judged, now)?;
    let void: BTreeSet<&str> = before.approvals().map(|decision| decision.by.as_str()).collect();
    let mut warnings = Vec::new();
    if !void.is_empty() {
        warnings.push(format!("approvals that no longer count: {}", joined(void)));
    }
    let granted = granted(&drafts);
    // Once it is granted it waits on nobody.
    let tallies = if granted.is_some() { Vec::new() } else { tallies };
    warnings.extend(tallies.iter().filter_map(out_of_reach));
    if let Some(granted) = granted {
        after.recorded = Recorded::Approved;
        after.grant = Some(granted.into());
    }
    let rules = view::matched(&judged.judgement);
    drop(judged);
    let view = RequestView { rules, ..RequestView::at(after, &tallies, now) };
    Ok(PreparedEdit { drafts, warnings, view })
}
