//! How long somebody would have something, counted with their other grants.

use super::opened::{Case, Opened};
use super::other_grants::HeldGrant;
use crate::domain::catalog::{CatalogItem, grant_covers};
use crate::domain::duration::{Length, spell};
use crate::domain::interval::{covered, measure};
use crate::domain::terms::RequestId;
use crate::domain::time::Timestamp;

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
