//! How long somebody would have something, counted with their other grants.

use super::opened::{Opened, Proposal};
use super::other_grants::OtherGrant;
use crate::domain::catalog::{CatalogItem, grant_covers};
use crate::domain::duration::{Length, spell};
use crate::domain::interval::{covered, measure};
use crate::domain::terms::{RequestId, requests};
use crate::domain::time::Timestamp;

/// How long somebody would have a thing, counted with their other grants of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CountedLength {
    /// In seconds. None: permanent.
    pub(super) seconds: Option<i64>,
    /// The requests whose grants were counted in.
    pub(super) with: Vec<RequestId>,
}

impl CountedLength {
    pub(super) fn is_longer_than(&self, length: Length) -> bool {
        self.seconds.is_none_or(|seconds| seconds > length.seconds())
    }
}

impl CountedLength {
    /// `, and this would be 3h with requests 4 and 5`; empty when nothing else was counted.
    pub(super) fn words(&self) -> String {
        if self.with.is_empty() {
            return String::new();
        }
        let length = self.seconds.map_or_else(|| "permanent".to_owned(), spell);
        format!(", and this would be {length} together with {}", requests(&self.with))
    }
}

impl Opened<'_> {
    /// How long the requester would have this thing, counted with their other grants that open it too and that touch this
    /// one or lie nearer to it than `cooldown` seconds. `thing`: None for the scope asked for.
    ///
    /// Where other grants open it all the time anyway, this one adds nothing, and only its own length counts.
    pub(super) fn counted(&self, item: Option<&CatalogItem>, cooldown: i64) -> CountedLength {
        let Proposal { terms, held, now, .. } = self.case;
        let starts_at = terms.starts_at(now).unix();
        let Some(ends_at) = terms.ends_at(now).map(Timestamp::unix) else {
            return CountedLength { seconds: None, with: Vec::new() };
        };
        let own = CountedLength { seconds: Some(ends_at - starts_at), with: Vec::new() };
        let opens = |grant: &&OtherGrant| match item {
            Some(item) => grant_covers(&grant.resource, item, |name| held.scopes.get(name)),
            None => self.scope.as_ref() == Some(&grant.resource),
        };
        let end = |grant: &OtherGrant| grant.ends_at.map_or(i64::MAX, Timestamp::unix);
        let mut others: Vec<&OtherGrant> = held.grants.iter().filter(opens).collect();
        if others.is_empty() {
            return own;
        }
        others.sort_by_key(|grant| grant.starts_at);
        let intervals = || others.iter().map(|grant| (grant.starts_at.unix(), end(grant)));
        if covered(intervals(), starts_at, ends_at) {
            return own;
        }
        // In the order of their starts. One that begins too long after the end of all before it begins a new row.
        let mut spans: Vec<(i64, i64, Option<&OtherGrant>)> =
            others.iter().map(|grant| (grant.starts_at.unix(), end(grant), Some(*grant))).collect();
        spans.push((starts_at, ends_at, None));
        spans.sort_by_key(|(from, ..)| *from);
        let mut row: Vec<(i64, i64, Option<&OtherGrant>)> = Vec::new();
        let mut last = i64::MIN;
        for span in spans {
            let gap = span.0.saturating_sub(last);
            if gap > 0 && gap >= cooldown {
                if row.iter().any(|(.., grant)| grant.is_none()) {
                    break;
                }
                row.clear();
            }
            last = last.max(span.1);
            row.push(span);
        }
        let with = || row.iter().filter_map(|(.., grant)| *grant);
        let mut requests: Vec<RequestId> = with().map(|grant| grant.request).collect();
        requests.sort();
        let is_permanent = with().any(|grant| grant.ends_at.is_none());
        let seconds = (!is_permanent).then(|| measure(row.iter().map(|(from, to, _)| (*from, *to)).collect()));
        CountedLength { seconds, with: requests }
    }

    pub(super) fn own_length(&self) -> CountedLength {
        let Proposal { terms, now, .. } = self.case;
        let seconds = terms.ends_at(now).map(|end| end.since(terms.starts_at(now)));
        CountedLength { seconds, with: Vec::new() }
    }
}
