//! `team replace-owner`: root has another member take the place of an owner whose account is gone. It is all that root
//! decides, and it is recorded as root's.

use super::{Call, Outside, Problem, Sink, member};
use crate::command::{End, PlanView, Reply};
use crate::domain::decide::{self, Accounts};
use crate::domain::event::{Draft, Event};
use crate::domain::name::Name;
use crate::domain::notification::Notice;
use crate::domain::refusal::Refusal;
use crate::domain::team::{Login, Team};
use crate::error::{Failure, Kind};

/// Whose accounts matter.
#[derive(PartialEq, Eq)]
struct Logins {
    owner: Login,
    successor: Option<Login>,
}

impl Logins {
    fn of(team: &Team, to: &Name) -> Result<Logins, Failure> {
        let (_, owner) = team.owner().ok_or_else(|| Failure::new(Kind::Invalid, "the team has no owner"))?;
        let successor = team.members.get(to).map(|member| member.login.clone());
        Ok(Logins { owner: owner.login.clone(), successor })
    }
}

pub fn replace(call: &Call<'_>, outside: &Outside<'_>, to: &Name, sink: Sink<'_>) -> Result<End, Failure> {
    let by_root = call.caller.root && call.caller.acting_as.is_none();
    // The name service may be slow, so it is asked before the write lock is held, about the logins of that moment.
    let logins = call.store.read(|read| -> Result<Logins, Failure> { Logins::of(&read.team()?, to) })?;
    let has_account = |login: Option<&Login>| match login {
        Some(login) if by_root => (outside.has_account)(login),
        Some(_) | None => Ok(false),
    };
    let owner = has_account(Some(&logins.owner))?;
    let accounts = Accounts { owner, successor: has_account(logins.successor.as_ref())? };
    let changes = call.store.write(|write| -> Result<Result<_, Refusal>, Failure> {
        let old = write.team()?;
        if logins != Logins::of(&old, to)? {
            return Ok(Err(Refusal::Changed { what: "the team".to_owned() }));
        }
        let judged = decide::replace_owner(&old, to, by_root, &accounts).map_err(Problem::from);
        // Who may not do it is told nothing of who there is.
        let known = if by_root { member(write, to).map(drop) } else { Ok(()) };
        let judged = known.and(judged);
        let now = match (call.now_to_write(write), &judged) {
            (Ok(now), _) => now,
            (Err(_), Err(Problem::Refusal(refusal))) => return Ok(Err(refusal.clone())),
            (Err(failure), _) => return Err(failure),
        };
        match judged {
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
