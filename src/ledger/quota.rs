//! The limits on how often somebody may ask, counted in the transaction that writes what they ask for.

use std::collections::BTreeMap;

use super::docket::{Docket, Judged};
use super::{Problem, review};
use crate::domain::entitlement::Person;
use crate::domain::quota::{self, EMERGENCIES, FILED, PENDING, UNREVIEWED};
use crate::domain::refusal::Refusal;
use crate::domain::request::Request;
use crate::domain::resource::Resource;
use crate::domain::rule::Rule;
use crate::domain::time::Timestamp;
use crate::store::{Filed, Read};

/// A message names at most so many emergencies that need a review.
pub const NAMED: usize = 10;

/// Whether `filer` may file this request now, or edit it into what it says: by how many they filed and edited lately, and by the
/// rules that limit how many there may be for its requester. `judged`: the request as it would be.
pub fn may_file(
    read: &Read<'_>,
    docket: &Docket,
    filer: &Person,
    request: &Request,
    judged: &Judged,
    now: Timestamp,
) -> Result<(), Problem> {
    let day_ago = quota::since(now, FILED.within);
    let for_filer = read.filed_for(&filer.name, day_ago)?;
    if request.emergency {
        may_take(read, docket, filer, &for_filer, now)?;
    }
    let own = for_filer.iter().filter(|filed| filed.filed_by == filer.name);
    let for_others = read.filed_for_others(&filer.name, day_ago)?;
    let edited = read.edited(&filer.name, day_ago)?;
    FILED.allows(own.chain(&for_others).chain(&edited).map(|filed| filed.at), now)?;

    // What is granted at once waits for nobody.
    let waits = !request.emergency && judged.judgement.approved_by_rule().is_none();
    if waits && read.pending_filed_by(&filer.name, request.id, now, PENDING)? >= PENDING {
        return Err(Refusal::TooManyPending { most: PENDING }.into());
    }
    if judged.judgement.limits_number().is_empty() {
        return Ok(());
    }
    let (mut filed, mut edits) = (for_filer, edited);
    if request.requester != filer.name {
        filed = read.filed_for(&request.requester, day_ago)?;
        edits.extend(read.edited(&request.requester, day_ago)?);
        edits.retain(|edit| edit.requester == request.requester);
    }
    filed.extend(edits);
    for rule in judged.judgement.limits_number() {
        within_rule(read, docket, rule, &filed, judged, now)?;
    }
    Ok(())
}

/// Whether a rule's `max_per_day` leaves room for one more request.
fn within_rule(
    read: &Read<'_>,
    docket: &Docket,
    rule: &Rule,
    filed: &[Filed],
    judged: &Judged,
    now: Timestamp,
) -> Result<(), Problem> {
    let Some(most) = rule.max_per_day else { return Ok(()) };
    let mut times = Vec::new();
    let mut known: BTreeMap<&Resource, bool> = BTreeMap::new();
    for filed in filed.iter().filter(|filed| rule.is_about(filed.emergency)) {
        let counts = match known.get(&filed.resource) {
            Some(counts) => *counts,
            None => docket.counts(read, rule, &judged.requester, &filed.resource, now)?,
        };
        known.insert(&filed.resource, counts);
        if counts {
            times.push(filed.at);
        }
    }
    match quota::next(times, most as usize, FILED.within, now) {
        None => Ok(()),
        Some(next) => {
            let requester = judged.requester.name.clone();
            Err(Refusal::TooManyByRule { rule: rule.name.clone(), most, requester, next }.into())
        }
    }
}

/// Whether somebody may take another emergency. Nobody takes one for somebody else, so `filed` has all that they took.
fn may_take(read: &Read<'_>, docket: &Docket, filer: &Person, filed: &[Filed], now: Timestamp) -> Result<(), Problem> {
    let owed = read.reviews_owed_by(filer)?;
    if owed.len() >= UNREVIEWED {
        let named = &owed[..owed.len().min(NAMED)];
        return Err(Refusal::ReviewsOwed { owed: review::owed(read, docket, named, now)? }.into());
    }
    EMERGENCIES.allows(filed.iter().filter(|filed| filed.emergency).map(|filed| filed.at), now)?;
    Ok(())
}
