//! What came of an attempt to give or take access, and what was found: what of it is worth an entry of the log.

use std::collections::{BTreeMap, BTreeSet};

use super::duration::Length;
use super::event::Event;
use super::name::Name;
use super::provisioning::{
    Condition, Deprovisioned, Drifted, Failed, OmittedDrift, ProvisionedAccess, Provisioning, ProvisioningOperation,
    ProvisioningOutcome,
};
use super::text::visible;
use super::time::Timestamp;

/// What fails for the same reason is recorded again after this long: a day.
const AGAIN_AFTER: i64 = 24 * 3600;
/// What fails for another reason, if it does not change at each try: an hour.
const OTHER_REASON_AFTER: i64 = 3600;
/// The most drift of one system that is new on the record in an hour. The rest is on it later, if it is still there. Each
/// entry stays in the log, and a system may list other logins each time.
const NEW_DRIFT: usize = 100;
/// The time that this limit covers.
pub const DRIFT_WITHIN: Length = Length::HOUR;
/// The most characters of a reason that are recorded.
const LONGEST_REASON: usize = 500;

/// A reason on one line, which cannot act on a terminal. It comes from another program.
fn bounded(why: &str) -> String {
    let line = why.split_whitespace().collect::<Vec<_>>().join(" ");
    let short: String = visible(&line, false).chars().take(LONGEST_REASON).collect();
    if short.is_empty() { "it gave no reason".to_owned() } else { short }
}

fn event(provision: ProvisionedAccess, outcome: ProvisioningOutcome) -> Event {
    let failed =
        |operation, why: &str, provision| Event::ProvisioningFailed(Failed { provision, operation, why: bounded(why) });
    match outcome {
        ProvisioningOutcome::Granted => Event::GrantProvisioned(provision),
        ProvisioningOutcome::Revoked { still_held, note } => {
            let note = note.map(|note| bounded(&note));
            Event::GrantDeprovisioned(Deprovisioned { provision, still_held, note })
        }
        ProvisioningOutcome::GrantFailed { why } => failed(ProvisioningOperation::Grant, &why, provision),
        ProvisioningOutcome::RevokeFailed { why } => failed(ProvisioningOperation::Revoke, &why, provision),
    }
}

/// What an outcome adds to the record. None: it is on record already. `open`: what is on record about the same holding and
/// request, and has not ended.
pub fn outcome(
    open: Option<&Provisioning>,
    provision: ProvisionedAccess,
    outcome: ProvisioningOutcome,
    now: Timestamp,
) -> Option<Event> {
    let condition = open.map(|open| open.condition);
    let is_new = match (&outcome, open) {
        (ProvisioningOutcome::Granted, _) => condition != Some(Condition::Granted),
        // The log never said that it was given.
        (ProvisioningOutcome::Revoked { .. }, open) => open.is_some(),
        (ProvisioningOutcome::GrantFailed { why }, Some(open)) if open.condition == Condition::GrantFailed => {
            is_due(open, why, now)
        }
        (ProvisioningOutcome::RevokeFailed { why }, Some(open)) if open.condition == Condition::RevokeFailed => {
            is_due(open, why, now)
        }
        (ProvisioningOutcome::GrantFailed { .. } | ProvisioningOutcome::RevokeFailed { .. }, _) => true,
    };
    is_new.then(|| event(provision, outcome))
}

/// Whether a failure that goes on is recorded again.
fn is_due(open: &Provisioning, why: &str, now: Timestamp) -> bool {
    let is_same = open.error.as_deref() == Some(bounded(why).as_str());
    now.since(open.recorded_at) >= if is_same { AGAIN_AFTER } else { OTHER_REASON_AFTER }
}

/// The drift of one system that was recorded in the last hour.
#[derive(Debug, Default)]
pub struct RecentDrift {
    pub found: usize,
    /// Whether an entry says that some was left out.
    pub is_omitted: bool,
}

/// What is new of the drift in these systems, and what is no longer there. `open`: the drift on record.
pub fn drift<'p>(
    open: impl IntoIterator<Item = &'p Provisioning>,
    looked_at: &BTreeMap<Name, RecentDrift>,
    found: Vec<Drifted>,
) -> Vec<Event> {
    let known: BTreeSet<Drifted> = open
        .into_iter()
        .filter_map(|open| match open.condition {
            Condition::Drifted(drift) => Some(Drifted { holding: open.holding.clone(), drift }),
            _ => None,
        })
        .filter(|known| looked_at.contains_key(&known.holding.connector))
        .collect();
    let found: BTreeSet<Drifted> = found.into_iter().collect();
    let mut events: Vec<Event> = known.difference(&found).cloned().map(Event::DriftResolved).collect();
    for (connector, recent) in looked_at {
        let new: Vec<&Drifted> = found.difference(&known).filter(|new| new.holding.connector == *connector).collect();
        let recorded = new.len().min(NEW_DRIFT.saturating_sub(recent.found));
        events.extend(new[..recorded].iter().map(|&new| Event::DriftFound(new.clone())));
        let count = (new.len() - recorded) as u64;
        let is_news = count > 0 && !recent.is_omitted;
        events.extend(is_news.then(|| Event::DriftOmitted(OmittedDrift { connector: connector.clone(), count })));
    }
    events
}
