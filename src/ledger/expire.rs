//! `expire`, for cron: puts on the record what the clock has done already, and tells people.
//!
//! It works in batches, each a transaction of its own, so that nobody waits long behind it. A run that dies half-way
//! leaves nothing half-done, and the next goes on; two at once find each batch done or to do, never twice.

use super::deliver::{self, OpenPost};
use super::{Call, Sink};
use crate::command::{End, ExpireView, Reply};
use crate::domain::decide;
use crate::domain::event::Draft;
use crate::domain::notification::Told;
use crate::domain::time::Timestamp;
use crate::error::Failure;
use crate::store::{Error, Read};

const BATCH: usize = 1000;

/// `post`: the ways by which what is due is sent as well. It is sent after all is on the record, and whether or not it can
/// be changes nothing of that.
pub fn expire(call: &Call<'_>, dry_run: bool, post: Option<OpenPost<'_>>, sink: Sink<'_>) -> Result<End, Failure> {
    let mut tally = if dry_run {
        call.store.read(|read| -> Result<ExpireView, Failure> { Ok(due(read, call.now(read)?, usize::MAX)?.1) })?
    } else {
        run(call)?
    };
    let mut end = End::default();
    if let Some(open) = post {
        match deliver::run(call, open, sink) {
            Ok(sent) => {
                (tally.delivered, tally.failed) = (sent.view.delivered, sent.view.failed);
                end = sent.end;
                for failure in sent.broken {
                    end.warnings.push(failure.message);
                    end.warnings.extend(failure.hints);
                }
            }
            Err(failure) => {
                end.warnings.push(format!("notifications were not sent: {}", failure.message));
                end.warnings.extend(failure.hints);
            }
        }
    }
    sink(Reply::Expired(tally))?;
    Ok(end)
}

fn run(call: &Call<'_>) -> Result<ExpireView, Failure> {
    let mut total = ExpireView::default();
    call.store.expect_much()?;
    loop {
        let batch = call.store.write(|write| -> Result<ExpireView, Failure> {
            let now = call.now_to_write(write)?;
            let (mut drafts, tally) = due(write, now, BATCH)?;
            for draft in &mut drafts {
                // A member who was removed has nobody to tell.
                let mut gone = Vec::new();
                for Told(member, _) in &draft.told {
                    if !write.is_member(member)? {
                        gone.push(member.clone());
                    }
                }
                draft.told.retain(|Told(member, _)| !gone.contains(member));
            }
            write.record(&call.context(None, now), drafts)?;
            write.expire_ran(now)?;
            Ok(tally)
        })?;
        total.expired += batch.expired;
        total.started += batch.started;
        total.expiring += batch.expiring;
        total.lapsed += batch.lapsed;
        if batch.expired + batch.expiring + batch.lapsed < BATCH as u64 {
            return Ok(total);
        }
    }
}

/// What is due at this time, at most so many of it.
pub fn due(read: &Read<'_>, now: Timestamp, most: usize) -> Result<(Vec<Draft>, ExpireView), Error> {
    let mut tally = ExpireView::default();
    let mut drafts: Vec<Draft> = Vec::new();
    let ended = read.lapsed_grants(now, most)?;
    drafts.extend(ended.iter().filter_map(|grant| decide::expire(grant, now)));
    tally.expired = drafts.len() as u64;
    if drafts.len() < most {
        let soon = now.plus(decide::WARN_WITHIN);
        let ending = read.unwarned_grants(now, soon, most - drafts.len())?;
        drafts.extend(ending.iter().filter_map(|grant| decide::warn(grant, now)));
        tally.expiring = drafts.len() as u64 - tally.expired;
    }
    if drafts.len() < most {
        let stale = read.lapsed_requests(now, most - drafts.len())?;
        drafts.extend(stale.iter().filter_map(|request| decide::lapse(request, now)));
        tally.lapsed = drafts.len() as u64 - tally.expired - tally.expiring;
    }
    Ok((drafts, tally))
}
