//! The time that counts; and `doctor --accept-clock`: the clock was wrong before, and is right now.
//!
//! What had ended by the wrong time is recorded first, so that nothing revives; then what was made while the clock was ahead
//! is ended, so that nothing starts by itself when that time comes; and last the time is accepted. This takes a thousand
//! requests a transaction. If a run dies half-way, the clock is still refused and the next run continues.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::revoke::following;
use super::{Call, Callers, Clock, Never, Problem, Rows, Service, expire, those_asked};
use crate::domain::duration::spell;
use crate::domain::event::{Because, Draft, Event};
use crate::domain::grant::State;
use crate::domain::name::Name;
use crate::domain::principal::Principal;
use crate::domain::refusal::Refusal;
use crate::domain::request::{Request, authorize, clock};
use crate::domain::terms::RequestId;
use crate::domain::time::{CLOCK_SLACK, Timestamp};
use crate::error::{Failure, Kind};
use crate::store::{Error, Read, Write};

/// The most requests in one transaction.
const BATCH: usize = 1000;
/// The most ended requests that are named.
const NAMED: usize = 20;

/// Goes back to the clock's time.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AcceptClock {}

impl Call for AcceptClock {
    const NAME: &'static str = "AcceptClock";
    const CALLERS: Callers = Callers::MembersAndRoot;
    type Row = Never;
    type Reply = Vec<String>;

    fn carry_out(self, service: &Service<'_>, _: Rows<'_, Never>) -> Result<Vec<String>, Failure> {
        let mut ended = Named::default();
        service.store.enlarge_cache()?;
        loop {
            let accepted = service.store.write(|write| -> Result<Result<Option<Named>, Refusal>, Failure> {
                let (time, last) = ((service.clock)(write.replica()?.as_ref())?, write.last_time()?);
                let me = match may_accept(service, write) {
                    Ok(me) => me,
                    Err(Problem::Failure(failure)) => return Err(failure),
                    Err(Problem::Refusal(refusal)) => {
                        let me = service.actor(write).ok();
                        let now = time.max(last);
                        service.write_refused(write, me.as_ref(), now, "doctor --accept-clock", None, &refusal)?;
                        return Ok(Err(refusal));
                    }
                };
                if time >= last {
                    return Ok(Err(Refusal::ClockNotBack));
                }
                let (over, mut count) = expire::over(write, last, BATCH)?;
                let by = me.as_ref().map(|me| &me.name);
                let ahead = write.requests_ahead(time, last, BATCH - count)?;
                count += ahead.len();
                let mut ends = end_all(write, &ahead, time, last, by)?;
                for (drafts, actor) in [(over, None), (std::mem::take(&mut ends.drafts), me.as_ref())] {
                    write.record(&service.context(actor, last), drafts)?;
                }
                ended.add(ends.named);
                if count >= BATCH {
                    return Ok(Ok(None));
                }
                let accepted = Draft { event: Event::ClockAccepted { was: last }, recipients: Vec::new() };
                write.record(&service.context(me.as_ref(), time), vec![accepted])?;
                let mut resting = Named::default();
                for grant in write.grants_begun_after(time, usize::MAX)? {
                    let id = grant.request;
                    resting.name(|| format!("grant {id} began after the time accepted, and rests until then"));
                }
                Ok(Ok(Some(resting)))
            })??;
            if let Some(resting) = accepted {
                let warnings = [ended.warnings("ended", "ended"), resting.warnings("rests", "rest")].concat();
                return Ok(warnings);
            }
        }
    }
}

/// The member who accepts the clock: the owner, or root, who need not be one.
fn may_accept(service: &Service<'_>, write: &Write<'_>) -> Result<Option<Principal>, Problem> {
    match service.actor(write) {
        // A member who is disabled does nothing: root acts as root.
        Ok(me) if service.caller.root => Ok(authorize::may_act(&me).is_ok().then_some(me)),
        Ok(me) => {
            authorize::needs_owner(&me, "accept the clock")?;
            Ok(Some(me))
        }
        Err(Problem::Refusal(_)) if service.caller.root => Ok(None),
        Err(problem) => Err(problem),
    }
}

/// What ends because it was made while the clock was ahead.
#[derive(Default)]
struct Ends {
    drafts: Vec<Draft>,
    named: Named,
}

/// `ahead`: what was made while the clock was ahead. What extends it ends with it.
fn end_all(
    write: &Write<'_>,
    ahead: &[Request],
    accepted: Timestamp,
    last: Timestamp,
    by: Option<&Name>,
) -> Result<Ends, Error> {
    let mut ends = Ends::default();
    // Each request ends once, though it may be found twice.
    let mut found: BTreeSet<RequestId> = ahead.iter().map(|request| request.id).collect();
    let mut end = |request: &Request, because: Because| -> Result<(), Error> {
        let pending = request.state(last) == State::Pending;
        let asked = if pending { those_asked(write, request)? } else { Vec::new() };
        let edited = because == Because::ClockAccepted(accepted) && request.submitted_at <= accepted;
        if let Some(draft) = clock::end(request, because, last, by, &asked) {
            ends.drafts.push(draft);
            let (id, member) = (request.id, &request.requester);
            let made = if edited { "edited" } else { "made" };
            ends.named.name(|| match pending {
                true => format!("request {id} of {member} was {made} while the clock was ahead, and is withdrawn"),
                false => format!("grant {id} of {member} was made while the clock was ahead, and is revoked"),
            });
        }
        Ok(())
    };
    for request in ahead {
        end(request, Because::ClockAccepted(accepted))?;
        if request.grant.is_none() {
            continue;
        }
        for next in following(write, request.id)? {
            if found.insert(next.id) {
                end(&next, Because::Fell(next.extends.unwrap_or(request.id)))?;
            }
        }
    }
    Ok(ends)
}

/// The first of many, and how many more there are.
#[derive(Default)]
struct Named {
    first: Vec<String>,
    more: usize,
}

impl Named {
    fn name(&mut self, words: impl FnOnce() -> String) {
        if self.first.len() < NAMED {
            self.first.push(words());
        } else {
            self.more += 1;
        }
    }

    fn add(&mut self, other: Named) {
        for words in other.first {
            self.name(|| words);
        }
        self.more += other.more;
    }

    fn warnings(mut self, one: &str, many: &str) -> Vec<String> {
        if self.more > 0 {
            let what = if self.more == 1 { one } else { many };
            self.first.push(format!("and {} more {what}; `access audit` lists them", self.more));
        }
        self.first
    }
}

/// The time that counts: never earlier than the last recorded one, so that setting the clock back revives nothing.
pub(super) fn now(read: &Read<'_>, clock: Clock<'_>) -> Result<Timestamp, Failure> {
    Ok(clock(read.replica()?.as_ref())?.max(read.last_time()?))
}

/// The same for a change, which is refused while the clock is plainly wrong.
pub(super) fn now_to_write(read: &Read<'_>, clock: Clock<'_>) -> Result<Timestamp, Failure> {
    let clock = clock(read.replica()?.as_ref())?;
    let last = read.last_time()?;
    let behind = last.since(clock);
    if behind > CLOCK_SLACK {
        let behind = spell(behind);
        return Err(Failure::new(
            Kind::Failure,
            format!(
                "the clock says {clock}, which is {behind} before the last recorded time, {last}; nothing was done"
            ),
        )
        .hint("set the clock right")
        .hint("or, if it was wrong before and is right now: `access doctor --accept-clock`, as the owner or root"));
    }
    Ok(clock.max(last))
}
