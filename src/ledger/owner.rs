//! `team replace-owner`: root has another member take the place of an owner whose account is gone. It is all that root
//! decides, and it is recorded as root's.

use super::{Call, Outside, Problem, Sink, member};
use crate::command::{End, PlanView, Reply};
use crate::domain::decide;
use crate::domain::event::{Draft, Event};
use crate::domain::name::Name;
use crate::domain::notification::Notice;
use crate::domain::refusal::Refusal;
use crate::error::{Failure, Kind};

pub fn replace(call: &Call<'_>, outside: &Outside<'_>, to: &Name, sink: Sink<'_>) -> Result<End, Failure> {
    let by_root = call.caller.root && call.caller.acting_as.is_none();
    let changes = call.store.write(|write| -> Result<Result<_, Refusal>, Failure> {
        let now = call.now_to_write(write)?;
        let old = write.team()?;
        let (_, owner) = old.owner().ok_or_else(|| Failure::new(Kind::Invalid, "the team has no owner"))?;
        let has_account = (outside.has_account)(&owner.login)?;
        let judged = decide::replace_owner(&old, to, by_root, has_account).map_err(Problem::from);
        // Who may not do it is told nothing of who there is.
        let known = if by_root { member(write, to).map(drop) } else { Ok(()) };
        match known.and(judged) {
            Ok(new) => {
                let changes = old.changes_to(&new);
                let event = Event::TeamApplied { changes: changes.clone() };
                let told = Notice::TeamChanged.to_all(new.admins());
                write.record(&call.context(None, now), vec![Draft { event, told }])?;
                Ok(Ok(changes))
            }
            Err(Problem::Failure(failure)) => Err(failure),
            Err(Problem::Refusal(refusal)) => {
                let me = call.actor(write).ok();
                call.write_refused(write, me.as_ref(), now, "team replace-owner", None, &refusal)?;
                Ok(Err(refusal))
            }
        }
    })??;
    sink(Reply::Plan(Box::new(PlanView { changes, follows: Vec::new(), applied: true, against: None, seen: None })))?;
    Ok(End::default())
}
