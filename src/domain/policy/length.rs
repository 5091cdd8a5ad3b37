//! How long somebody would have something, counted with their other grants.

use std::collections::BTreeMap;

use super::judge::judge;
use super::opened::{Case, Opened};
use super::rule::Rule;
use crate::domain::catalog::{CatalogItem, Scope, grant_covers};
use crate::domain::duration::{Length, spell};
use crate::domain::name::Name;
use crate::domain::resource::Resource;
use crate::domain::terms::{End, RequestId, Terms};
use crate::domain::time::Timestamp;

/// The requester's other grants: their lengths count together with what is asked now.
#[derive(Debug, Clone, Default)]
pub struct Held {
    pub grants: Vec<HeldGrant>,
    /// The scopes that these grants are for.
    pub scopes: BTreeMap<Name, Scope>,
}

#[derive(Debug, Clone)]
pub struct HeldGrant {
    pub request: RequestId,
    pub resource: Resource,
    pub starts_at: Timestamp,
    /// When it ended or will end. None: permanent.
    pub ends_at: Option<Timestamp>,
}

/// How long somebody would have a thing, counted with their other grants of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Counted {
    /// In seconds. None: permanent.
    pub(super) seconds: Option<i64>,
    /// The requests whose grants were counted in.
    pub(super) with: Vec<RequestId>,
}

impl Counted {
    pub(super) fn is_longer_than(&self, length: Length) -> bool {
        self.seconds.is_none_or(|seconds| seconds > length.seconds())
    }
}

impl Counted {
    /// `, and this would be 3h with requests 4 and 5`; empty when nothing else was counted.
    pub(super) fn words(&self) -> String {
        let requests: Vec<String> = self.with.iter().map(ToString::to_string).collect();
        let Some((last, others)) = requests.split_last() else { return String::new() };
        let length = self.seconds.map_or_else(|| "permanent".to_owned(), spell);
        match others {
            [] => format!(", and this would be {length} together with request {last}"),
            others => format!(", and this would be {length} together with requests {} and {last}", others.join(", ")),
        }
    }
}

impl Opened<'_> {
    /// How long the requester would have this thing, counted with their other grants that open it too and that touch this
    /// one or lie nearer to it than `cooldown` seconds. `thing`: None for the scope asked for.
    ///
    /// Where other grants open it all the time anyway, this one adds nothing, and only its own length counts.
    pub(super) fn counted(&self, thing: Option<&CatalogItem>, cooldown: i64) -> Counted {
        let Case { terms, held, now, .. } = self.case;
        let starts_at = terms.starts_at(now).unix();
        let Some(ends_at) = terms.ends_at(now).map(Timestamp::unix) else {
            return Counted { seconds: None, with: Vec::new() };
        };
        let own = Counted { seconds: Some(ends_at - starts_at), with: Vec::new() };
        let opens = |grant: &&HeldGrant| match thing {
            Some(thing) => grant_covers(&grant.resource, thing, |name| held.scopes.get(name)),
            None => self.scope.as_ref() == Some(&grant.resource),
        };
        let end = |grant: &HeldGrant| grant.ends_at.map_or(i64::MAX, Timestamp::unix);
        let mut others: Vec<&HeldGrant> = held.grants.iter().filter(opens).collect();
        if others.is_empty() {
            return own;
        }
        others.sort_by_key(|grant| grant.starts_at);
        let intervals = || others.iter().map(|grant| (grant.starts_at.unix(), end(grant)));
        if covered(intervals(), starts_at, ends_at) {
            return own;
        }
        let near = |(from, to): (i64, i64), grant: &HeldGrant| {
            let gap = (from - end(grant)).max(grant.starts_at.unix() - to);
            gap <= 0 || gap < cooldown
        };
        let mut span = (starts_at, ends_at);
        let mut with: Vec<&HeldGrant> = Vec::new();
        loop {
            let (joined, apart): (Vec<&HeldGrant>, Vec<&HeldGrant>) =
                others.iter().copied().partition(|grant| near(span, grant));
            if joined.is_empty() {
                break;
            }
            for grant in &joined {
                span = (span.0.min(grant.starts_at.unix()), span.1.max(end(grant)));
            }
            with.extend(joined);
            others = apart;
        }
        if with.iter().any(|grant| grant.ends_at.is_none()) {
            return Counted { seconds: None, with: with.iter().map(|grant| grant.request).collect() };
        }
        let mut intervals: Vec<(i64, i64)> = with.iter().map(|grant| (grant.starts_at.unix(), end(grant))).collect();
        intervals.push((starts_at, ends_at));
        let mut requests: Vec<RequestId> = with.iter().map(|grant| grant.request).collect();
        requests.sort();
        Counted { seconds: Some(measure(intervals)), with: requests }
    }

    pub(super) fn own_length(&self) -> Counted {
        let Case { terms, now, .. } = self.case;
        let seconds = terms.ends_at(now).map(|end| end.since(terms.starts_at(now)));
        Counted { seconds, with: Vec::new() }
    }
}

/// The longest length that no rule's `max_duration` forbids in the place of the one that would be granted. None: it is
/// not the length that is forbidden, or every length is.
///
/// What counts together with a length never shrinks as the length grows, so halving finds it.
pub fn longest_allowed(rules: &[Rule], asked: Case<'_>, granted: Option<Case<'_>>, emergency: bool) -> Option<Length> {
    let limits: Vec<Rule> = rules.iter().filter(|rule| rule.max_duration.is_some()).cloned().collect();
    let case = granted.unwrap_or(asked);
    let is_allowed = |seconds: i64| {
        let length = Length::from_seconds(seconds).ok()?;
        let terms = Terms { end: End::After(length), ..case.terms.clone() };
        let judged = Case { terms: &terms, ..case };
        let judgement = match granted {
            Some(_) => judge(&limits, asked, Some(judged), emergency),
            None => judge(&limits, judged, None, emergency),
        };
        (!judgement.forbids_length(&terms)).then_some(length)
    };
    let own = case.terms.ends_at(case.now).map(|end| end.since(case.terms.starts_at(case.now)));
    let mut too_long = own.unwrap_or(Length::HOUR.seconds());
    let mut longest = is_allowed(too_long);
    if own.is_some() && longest.is_some() {
        return None;
    }
    while longest.map_or(0, Length::seconds) + 1 < too_long {
        let middle = too_long.midpoint(longest.map_or(0, Length::seconds));
        match is_allowed(middle) {
            Some(length) => longest = Some(length),
            None => too_long = middle,
        }
    }
    longest
}

/// Whether intervals, in the order of their starts, cover all from `from` to `to`.
pub(super) fn covered(intervals: impl Iterator<Item = (i64, i64)>, from: i64, to: i64) -> bool {
    let mut reached = from;
    for (start, end) in intervals {
        if start <= reached {
            reached = reached.max(end);
        }
    }
    reached >= to
}

/// How many seconds lie in any of these intervals.
pub fn measure(mut intervals: Vec<(i64, i64)>) -> i64 {
    intervals.sort_unstable();
    let mut reached = i64::MIN;
    let mut sum = 0;
    for (start, end) in intervals {
        sum += (end - start.max(reached)).max(0);
        reached = reached.max(end);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Counts every second by itself.
    fn measured_slowly(intervals: &[(i64, i64)]) -> i64 {
        let inside = |second: &i64| intervals.iter().any(|(from, to)| (from..to).contains(&second));
        i64::try_from((0..60).filter(inside).count()).unwrap()
    }

    proptest! {
        #[test]
        fn overlapping_time_counts_once(intervals in prop::collection::vec((0..50_i64, 0..10_i64), 0..6)) {
            let intervals: Vec<(i64, i64)> = intervals.into_iter().map(|(from, long)| (from, from + long)).collect();
            prop_assert_eq!(measure(intervals.clone()), measured_slowly(&intervals));
        }

        #[test]
        fn time_is_covered_if_every_second_is(
            mut intervals in prop::collection::vec((0..50_i64, 1..10_i64), 0..6), from in 0..40_i64, long in 1..15_i64
        ) {
            intervals.sort_unstable();
            let intervals: Vec<(i64, i64)> = intervals.into_iter().map(|(from, long)| (from, from + long)).collect();
            let every = (from..from + long).all(|second| intervals.iter().any(|(a, b)| (*a..*b).contains(&second)));
            prop_assert_eq!(covered(intervals.iter().copied(), from, from + long), every);
        }
    }
}
