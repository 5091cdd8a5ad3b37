//! Who held what when, by resource and person.

use std::collections::BTreeMap;

use super::facts::{HeldHow, Span};
use super::figures::{Citation, Last};
use crate::domain::name::Name;
use crate::domain::resource::Resource;

/// The most entries that are cited of a resource.
const CITED: usize = 10;

/// The access that people held in the period.
#[derive(Debug, Default)]
pub struct HeldAccess {
    pub resources: BTreeMap<Resource, ResourceUse>,
}

#[derive(Debug)]
pub struct ResourceUse {
    pub grants: u64,
    pub live: u64,
    pub permanent: u64,
    pub emergencies: u64,
    pub people: BTreeMap<Name, Vec<Span>>,
    pub longest: i64,
    pub cited: Last<Citation>,
}

impl Default for ResourceUse {
    fn default() -> ResourceUse {
        ResourceUse {
            grants: 0,
            live: 0,
            permanent: 0,
            emergencies: 0,
            people: BTreeMap::new(),
            longest: 0,
            cited: Last::of(CITED),
        }
    }
}

impl HeldAccess {
    pub fn add(&mut self, resource: &Resource, member: &Name, span: Span, is_live: bool) -> &mut ResourceUse {
        let found = self.resources.entry(resource.clone()).or_default();
        found.grants += 1;
        found.live += u64::from(is_live);
        found.permanent += u64::from(span.how == HeldHow::Permanent);
        found.emergencies += u64::from(span.how == HeldHow::Emergency);
        found.longest = found.longest.max(span.to - span.from);
        found.people.entry(member.clone()).or_default().push(span);
        found
    }

    /// Those with the most grants first.
    pub fn by_grants(&self) -> Vec<(&Resource, &ResourceUse)> {
        let mut sorted: Vec<_> = self.resources.iter().collect();
        sorted.sort_by_key(|(_, used)| std::cmp::Reverse(used.grants));
        sorted
    }

    /// All times in which anybody held anything.
    pub fn spans(&self) -> impl Iterator<Item = &Span> {
        self.resources.values().flat_map(ResourceUse::spans)
    }
}

impl ResourceUse {
    pub fn spans(&self) -> impl Iterator<Item = &Span> {
        self.people.values().flatten()
    }

    /// How long at least one person held it, counted for each person.
    pub fn held(&self) -> i64 {
        self.people.values().map(|spans| covered(spans)).sum()
    }

    /// Those who held it longest first.
    pub fn by_time(&self) -> Vec<(&Name, &[Span])> {
        let mut sorted: Vec<_> = self.people.iter().map(|(name, spans)| (name, spans.as_slice())).collect();
        sorted.sort_by_key(|(_, spans)| std::cmp::Reverse(covered(spans)));
        sorted
    }
}

/// The length of the union of these times, in seconds.
pub fn covered(spans: &[Span]) -> i64 {
    merged(spans.iter().map(|span| (span.from, span.to)).collect()).iter().map(|(from, to)| to - from).sum()
}

/// The union of these times, in order.
pub fn merged(mut spans: Vec<(i64, i64)>) -> Vec<(i64, i64)> {
    spans.sort_unstable();
    let mut union: Vec<(i64, i64)> = Vec::new();
    for (from, to) in spans {
        match union.last_mut() {
            Some((_, end)) if from <= *end => *end = to.max(*end),
            Some(_) | None => union.push((from, to)),
        }
    }
    union
}

/// The most that overlap at once in each of so many equal parts of the period.
pub fn at_once<'s>(spans: impl Iterator<Item = &'s Span>, since: i64, until: i64, parts: usize) -> Vec<u64> {
    let mut steps: Vec<(i64, i64)> =
        spans.flat_map(|span| [(span.from, 1), (span.to.max(span.from + 1), -1)]).collect();
    // An end comes before a start at the same time.
    steps.sort_unstable();
    let length = (until - since).max(1);
    let part = |at: i64| {
        let index = (i128::from(at - since) * parts as i128 / i128::from(length)).clamp(0, parts as i128 - 1);
        usize::try_from(index).unwrap_or(0)
    };
    let mut most = vec![0; parts];
    let (mut count, mut reached) = (0_i64, 0);
    for (at, step) in steps {
        let here = part(at);
        for slot in &mut most[reached..=here.max(reached)] {
            *slot = count.max(*slot);
        }
        reached = here.max(reached);
        count += step;
        most[reached] = count.max(most[reached]);
    }
    for slot in &mut most[reached..] {
        *slot = count.max(*slot);
    }
    most.into_iter().map(|count| count.unsigned_abs()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(from: i64, to: i64) -> Span {
        Span { from, to, how: HeldHow::Limited }
    }

    #[test]
    fn time_held_twice_counts_once() {
        assert_eq!(covered(&[span(0, 10), span(5, 12), span(20, 21)]), 13);
        assert_eq!(merged(vec![(5, 6), (0, 5), (8, 9)]), [(0, 6), (8, 9)]);
        assert_eq!(covered(&[]), 0);
    }

    #[test]
    fn overlaps_are_counted_in_each_part() {
        let spans = [span(0, 50), span(40, 60), span(90, 100)];
        assert_eq!(at_once(spans.iter(), 0, 100, 10), [1, 1, 1, 1, 2, 2, 1, 0, 0, 1]);
        // One that ends when the next begins does not overlap it, and one of no length shows.
        assert_eq!(at_once([span(0, 50), span(50, 100)].iter(), 0, 100, 2), [1, 1]);
        assert_eq!(at_once([span(30, 30)].iter(), 0, 100, 2), [1, 0]);
        assert_eq!(at_once([].iter(), 0, 100, 3), [0, 0, 0]);
    }
}
