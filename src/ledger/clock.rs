//! `doctor --accept-clock`: the clock was wrong before, and is right now.

use super::docket::Docket;
use super::{Call, Problem, expire};
use crate::command::End;
use crate::domain::decide;
use crate::domain::event::{Draft, Event};
use crate::domain::refusal::Refusal;
use crate::error::Failure;

/// Goes back to the clock's time. What had ended by the old time is put on the record first, so that nothing revives.
pub fn accept(call: &Call<'_>) -> Result<End, Failure> {
    let outcome = call.store.write(|write| -> Result<Result<Vec<String>, Refusal>, Failure> {
        let clock = (call.clock)()?;
        let last = write.last_time()?;
        let me = match call.actor(write) {
            Ok(me) => Some(me),
            Err(Problem::Refusal(_)) if call.caller.root => None,
            Err(Problem::Refusal(refusal)) => {
                call.write_refused(write, None, last, "doctor --accept-clock", None, &refusal)?;
                return Ok(Err(refusal));
            }
            Err(Problem::Failure(failure)) => return Err(failure),
        };
        if let Some(me) = me.as_ref().filter(|_| !call.caller.root)
            && let Err(refusal) = decide::needs_owner(me, "accept the clock")
        {
            call.write_refused(write, Some(me), last, "doctor --accept-clock", None, &refusal)?;
            return Ok(Err(refusal));
        }
        if clock >= last {
            return Ok(Err(Refusal::ClockNotBack));
        }
        let (ended, _) = expire::due(write, &Docket::default(), last, usize::MAX)?;
        write.record(&call.context(None, last), ended)?;
        let accepted = Draft { event: Event::ClockAccepted { was: last }, told: Vec::new() };
        write.record(&call.context(me.as_ref(), clock), vec![accepted])?;
        let begun = write.open_requests()?.into_iter().filter_map(|request| request.grant);
        let ahead = begun.filter(|grant| grant.begun && grant.starts_at > clock);
        Ok(Ok(ahead
            .map(|grant| format!("grant {} began after the time accepted, and rests until then", grant.request))
            .collect()))
    })?;
    Ok(End { warnings: outcome?, ..End::default() })
}
