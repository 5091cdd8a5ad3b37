//! What replay keeps of requests that no later entry can change: a few bytes each.

use std::collections::BTreeMap;

use crate::domain::name::Name;
use crate::domain::request::Request;
use crate::domain::terms::RequestId;

/// Ascending numbers, stored as runs: those of an honest log are one run.
#[derive(Debug, Clone, Default)]
pub(super) struct Numbers {
    /// The first number of each run, and how many numbers come before it.
    runs: Vec<(i64, usize)>,
    count: usize,
    last: i64,
}

impl Numbers {
    pub(super) fn last(&self) -> i64 {
        self.last
    }

    /// Adds a number. One that is not above all before it is ignored.
    pub(super) fn push(&mut self, number: i64) {
        if number <= self.last {
            return;
        }
        if self.runs.is_empty() || number != self.last + 1 {
            self.runs.push((number, self.count));
        }
        self.count += 1;
        self.last = number;
    }

    pub(super) fn contains(&self, number: i64) -> bool {
        self.index(number).is_some()
    }

    /// How many numbers come before this one. None if it is not one of them.
    fn index(&self, number: i64) -> Option<usize> {
        let run = self.runs.partition_point(|(first, _)| *first <= number).checked_sub(1)?;
        let (first, before) = self.runs[run];
        let index = before + usize::try_from(number - first).ok()?;
        let end = self.runs.get(run + 1).map_or(self.count, |(_, before)| *before);
        (index < end).then_some(index)
    }
}

/// What is kept of every request that was released: four bytes. A later entry may still name it.
#[derive(Debug, Clone, Default)]
pub(super) struct Past {
    pub(super) filed: Numbers,
    /// For each number filed: 0 until it is released, else 1 + twice the requester's index in `requesters`, and 1 more if
    /// access was granted.
    states: Vec<u32>,
    requesters: Vec<Name>,
    indexes: BTreeMap<Name, u32>,
}

impl Past {
    pub(super) fn file(&mut self, id: RequestId) {
        self.filed.push(id.get());
        self.states.resize(self.filed.count, 0);
    }

    pub(super) fn release(&mut self, request: &Request) {
        let Some(index) = self.filed.index(request.id.get()) else { return };
        let requester = match self.indexes.get(&request.requester) {
            Some(&known) => known,
            None => {
                let new = u32::try_from(self.requesters.len()).unwrap_or(u32::MAX);
                self.requesters.push(request.requester.clone());
                self.indexes.insert(request.requester.clone(), new);
                new
            }
        };
        self.states[index] = 1 + 2 * requester + u32::from(request.grant.is_some());
    }

    /// Who asked, and whether access was granted. None unless the request was released.
    pub(super) fn get(&self, id: RequestId) -> Option<(&Name, bool)> {
        let state = self.states.get(self.filed.index(id.get())?)?.checked_sub(1)?;
        let requester = self.requesters.get((state / 2) as usize)?;
        Some((requester, state % 2 == 1))
    }
}
