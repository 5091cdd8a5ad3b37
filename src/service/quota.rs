//! The limits on the number of requests, counted in the transaction that records the request.

use crate::domain::quota::{self, EDITED, EMERGENCIES, FILED, PENDING, UNREVIEWED};
use crate::domain::request::emergency::reviews_owed;
use crate::domain::request::{Request, authorize};
use std::collections::{BTreeMap, BTreeSet};

use super::policy_context::{Judged, PolicyContext};
use super::{Problem, review};
use crate::domain::name::RuleName;
use crate::domain::policy::rule::Rule;
use crate::domain::principal::Principal;
use crate::domain::refusal::{LimitRefusal, Refusal};
use crate::domain::resource::Resource;
use crate::domain::terms::Terms;
use crate::domain::time::Timestamp;
use crate::store::{Act, Filed, Read};

/// The most emergencies that a message names.
pub const NAMED: usize = 10;

/// Whether `filer` may file this request now: by how many they filed lately, by how many of them wait, and by the rules that
/// limit how many there may be for its requester.
pub fn may_file(
    read: &Read<'_>,
    policy: &PolicyContext,
    filer: &Principal,
    request: &Request,
    judged: &Judged,
    now: Timestamp,
) -> Result<(), Problem> {
    let for_filer = read.filed_for(filer, now.minus(FILED.within))?;
    if request.emergency {
        may_take(read, policy, filer, &for_filer, now)?;
    }
    // Only admins file for others, and only what they filed lately counts.
    let is_admin = authorize::needs_admin(filer, "", now).is_ok();
    let for_others = match is_admin {
        true => read.filed_for_others(filer, now.minus(FILED.within))?,
        false => Vec::new(),
    };
    let own = for_filer.iter().filter(|filed| filed.own).map(|filed| filed.at);
    FILED.allows(own.chain(for_others), now)?;

    // A request that is granted at once is never pending.
    if !request.emergency && judged.judgement.approved_by_rule().is_none() {
        let mut pending = read.pending_filed(filer, request.id, now)?;
        if is_admin {
            pending += read.pending_filed_for_others(filer, request.id, now)?;
        }
        if pending >= PENDING {
            return Err(Refusal::from(LimitRefusal::TooManyPending { most: PENDING }).into());
        }
    }
    within_rules(read, policy, request.emergency, judged, now)
}

/// Whether `editor` may edit a request into the one judged now.
pub fn may_edit(
    read: &Read<'_>,
    policy: &PolicyContext,
    editor: &Principal,
    judged: &Judged,
    now: Timestamp,
) -> Result<(), Problem> {
    EDITED.allows(read.acts(editor, Act::RequestEdited, now.minus(EDITED.within))?, now)?;
    // An emergency is granted at once, so it is never edited.
    within_rules(read, policy, false, judged, now)
}

/// Whether the rules that limit the number of requests leave room for one more of its requester. Edits count too. It makes
/// no difference who filed or edited, but for an emergency: there only what the requester filed counts, so that no admin
/// can use up what the person on call needs.
fn within_rules(
    read: &Read<'_>,
    policy: &PolicyContext,
    emergency: bool,
    judged: &Judged,
    now: Timestamp,
) -> Result<(), Problem> {
    within(read, policy, judged.judgement.daily_limits(), emergency, judged, now)
}

/// Whether the rules that limit the number of requests leave room to grant these terms. A rule that matches what was asked
/// has counted the request already.
pub fn may_grant(
    read: &Read<'_>,
    policy: &PolicyContext,
    request: &Request,
    terms: &Terms,
    now: Timestamp,
) -> Result<(), Problem> {
    let judged = policy.judge(read, request, terms, now)?;
    within(read, policy, judged.judgement.daily_limits_of_granted(), false, &judged, now)
}

fn within(
    read: &Read<'_>,
    policy: &PolicyContext,
    rules: &[Rule],
    only_own: bool,
    judged: &Judged,
    now: Timestamp,
) -> Result<(), Problem> {
    if rules.is_empty() {
        return Ok(());
    }
    let day_ago = now.minus(FILED.within);
    let mut filed = read.filed_for(&judged.requester, day_ago)?;
    filed.extend(read.edits_for(&judged.requester, day_ago)?);
    filed.retain(|filed| filed.own || !only_own);
    // What a resource opens can be much, so it is looked at once for all rules.
    let mut counting: BTreeMap<&Resource, BTreeSet<RuleName>> = BTreeMap::new();
    for filed in &filed {
        for resource in filed.resources() {
            if !counting.contains_key(resource) {
                counting.insert(resource, policy.counting(read, rules, &judged.requester, resource, now)?);
            }
        }
    }
    for rule in rules {
        let Some(most) = rule.max_per_day else { continue };
        let counts = |filed: &&Filed| {
            let mut resources = filed.resources();
            rule.is_about(filed.emergency) && resources.any(|resource| counting[resource].contains(&rule.name))
        };
        let times = filed.iter().filter(counts).map(|filed| filed.at);
        if let Some(next) = quota::next(times, most as usize, FILED.within, now) {
            let requester = judged.requester.name.clone();
            return Err(
                Refusal::from(LimitRefusal::TooManyByRule { rule: rule.name.clone(), most, requester, next }).into()
            );
        }
    }
    Ok(())
}

/// Whether somebody may take another emergency. Nobody takes one for somebody else, so `filed` has all that they took.
fn may_take(
    read: &Read<'_>,
    policy: &PolicyContext,
    filer: &Principal,
    filed: &[Filed],
    now: Timestamp,
) -> Result<(), Problem> {
    let owed = read.reviews_owed_by(filer)?;
    if owed.len() >= UNREVIEWED
        && let Some(&first) = owed.first()
    {
        let named = review::owed(read, policy, &owed[..owed.len().min(NAMED)], now)?;
        let (count, owed) = (named.len(), reviews_owed(&named));
        return Err(Refusal::from(LimitRefusal::ReviewsOwed { count, first, owed }).into());
    }
    EMERGENCIES.allows(filed.iter().filter(|filed| filed.emergency).map(|filed| filed.at), now)?;
    Ok(())
}
