//! `team replace-owner`: root makes another member the owner if the owner's account is gone. This is the only decision that
//! root makes, and it is recorded as root's. Open requests and grants are treated as when a team file is applied.

use serde::{Deserialize, Serialize};

use super::{Call, Callers, Never, Problem, Rows, Service, Warned, member, team};
use crate::domain::event::Draft;
use crate::domain::member::Login;
use crate::domain::name::Name;
use crate::domain::refusal::Refusal;
use crate::domain::team::owner::Accounts;
use crate::domain::team::{Team, owner};
use crate::domain::time::Timestamp;
use crate::error::{Failure, Kind};
use crate::protocol::{PlanView, Seen};
use crate::store::{Context, Read};

const COMMAND: &str = "team replace-owner";

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

/// Makes another member the owner.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReplaceOwner {
    pub to: Name,
    pub dry_run: bool,
    /// The plan that was confirmed. None: it was not shown.
    pub seen: Option<Seen>,
}

impl Call for ReplaceOwner {
    const NAME: &'static str = "ReplaceOwner";
    const CALLERS: Callers = Callers::Keepers;
    type Row = Never;
    type Reply = Warned<PlanView>;

    fn carry_out(self, service: &Service<'_>, _: Rows<'_, Never>) -> Result<Warned<PlanView>, Failure> {
        let ReplaceOwner { to, dry_run, seen } = self;
        let (outside, to, seen) = (service.outside, &to, seen.as_ref());
        let by_root = service.caller.root && service.caller.acts_as_login();
        // The name service may be slow, so it is asked before the write lock is held, about the logins of that moment.
        let logins = service.store.read(|read| -> Result<Logins, Failure> { Logins::of(&read.team()?, to) })?;
        let has_account = |login: Option<&Login>| match login {
            Some(login) if by_root => (outside.has_account)(login),
            Some(_) | None => Ok(false),
        };
        let owner = has_account(Some(&logins.owner))?;
        let accounts = Accounts { owner, successor: has_account(logins.successor.as_ref())? };
        let plan = |read: &Read<'_>, now| -> Result<(Vec<Draft>, PlanView, Vec<String>), Problem> {
            let old = read.team()?;
            if logins != Logins::of(&old, to)? {
                return Err(Refusal::Changed { what: "the team".to_owned() }.into());
            }
            // A caller who may not do this does not learn which members exist.
            if by_root {
                member(read, to)?;
            }
            let new = owner::replace_owner(&old, to, by_root, &accounts)?;
            team::replace(read, None, &old, &new, false, now)
        };
        let (view, warnings) = if dry_run {
            let planned = service.store.read(|read| plan(read, service.now(read)?));
            let (_, view, warnings) = planned.map_err(|problem| service.refused(COMMAND, None, problem))?;
            (view, warnings)
        } else {
            apply(service, plan, seen)?
        };
        Ok(Warned { answer: view, warnings })
    }
}

/// Replaces the owner as planned, in one transaction. A refusal is recorded instead.
fn apply(
    service: &Service<'_>,
    plan: impl FnOnce(&Read<'_>, Timestamp) -> Result<(Vec<Draft>, PlanView, Vec<String>), Problem>,
    seen: Option<&Seen>,
) -> Result<(PlanView, Vec<String>), Failure> {
    let applied = service.store.write(|write| -> Result<Result<_, Refusal>, Failure> {
        let (time, last) = (service.now_to_write(write), write.last_time()?);
        let planned = plan(write, *time.as_ref().unwrap_or(&last)).and_then(|(drafts, view, warnings)| {
            if seen.is_some_and(|seen| view.seen.as_ref() != Some(seen)) {
                return Err(Refusal::Changed { what: "what this would do".to_owned() }.into());
            }
            Ok((drafts, PlanView { applied: true, ..view }, warnings))
        });
        let now = match (time, &planned) {
            (Ok(now), _) => now,
            // Without a valid time nothing is recorded, and a caller who may not do this does not learn that the clock is wrong.
            (Err(_), Err(Problem::Refusal(refusal))) => return Ok(Err(refusal.clone())),
            (Err(failure), _) => return Err(failure),
        };
        match planned {
            Ok((drafts, view, warnings)) => {
                // `audit verify` demands this name, even if the account with the ID 0 has another one.
                let context = Context { os_user: "root".to_owned(), ..service.context(None, now) };
                write.record(&context, drafts)?;
                Ok(Ok((view, warnings)))
            }
            Err(Problem::Failure(failure)) => Err(failure),
            Err(Problem::Refusal(refusal)) => {
                let me = service.actor(write).ok();
                service.write_refused(write, me.as_ref(), now, COMMAND, None, &refusal)?;
                Ok(Err(refusal))
            }
        }
    })?;
    Ok(applied?)
}
