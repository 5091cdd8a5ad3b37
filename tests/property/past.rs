//! What the program says of a moment of the past is what the model was then: for moments at which something was recorded, one
//! second before them, and one second after them.

use std::collections::BTreeMap;

use access::domain::event::Entry;
use access::domain::grant::State;
use access::domain::team::team_file;
use access::domain::time::Timestamp;
use access::error::Kind;
use access::protocol::{ListFilter, RequestKind, RequestView};
use access::service::{Check, TeamShow, Who};
use access::store::Error;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use crate::model::{Asked, Model, Stands};
use crate::team::{EVER, PEOPLE, RESOURCES};
use crate::{Checked, Run, resource, time};

/// The model once this entry was recorded.
pub struct Then {
    pub seq: i64,
    pub model: Model,
}

/// What the model does not keep: reconciling changes nothing that it knows.
const BESIDE: [&str; 10] = [
    "grant.provisioned",
    "grant.deprovisioned",
    "provisioning.failed",
    "drift.found",
    "drift.resolved",
    "drift.omitted",
    "certificate.issued",
    "session.opened",
    "session.closed",
    "attempt.refused",
];

impl Run<'_> {
    pub fn remembers(&self) -> Checked {
        let entries = self.entries()?;
        let owner = self.there(self.model.team.owner()).login;
        let mut moments: Vec<i64> =
            entries.iter().flat_map(|entry| [-1, 0, 1].map(|by| entry.at.unix() + by)).collect();
        moments.sort_unstable();
        moments.dedup();
        // All moments of one sequence in eight, and a few of each of the others: a moment takes as long as a step.
        let is_all = entries.len().is_multiple_of(8) && entries.len() < 500;
        let apart = if is_all { 1 } else { 1 + moments.len() / 8 };
        let moments: Vec<i64> = moments.into_iter().skip(entries.len() % apart).step_by(apart).collect();
        // After an accepted clock, entries can be older than the first one.
        let first = entries.iter().map(|entry| entry.at.unix()).min().unwrap_or_default();
        for (number, at) in moments.into_iter().enumerate() {
            if at > self.now() {
                let view = self.answer(owner, TeamShow { at: Some(time(at)) });
                prop_assert_eq!(view.map(|_| ()), Err(Kind::Usage), "{} is in the future", time(at));
            } else if at < first {
                let view = self.answer(owner, TeamShow { at: Some(time(at)) });
                prop_assert_eq!(view.map(|_| ()), Err(Kind::NotFound), "{} is before the log", time(at));
            } else if let Some(then) = self.then(&entries, at) {
                let number = number + entries.len();
                self.was(owner, then, at, number)
                    .map_err(|why| TestCaseError::fail(format!("at {}: {why}", time(at))))?;
            }
        }
        self.agrees_with_now(owner)
    }

    pub fn entries(&self) -> Result<Vec<Entry>, TestCaseError> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let after = entries.last().map_or(0, |entry| entry.seq);
            let page = self.store.read(|read| read.entries_after(after));
            let page = page.map_err(|error: Error| TestCaseError::fail(format!("{error:?}")))?;
            entries.extend(page.rows.into_iter().map(|(entry, _)| entry));
            if page.last {
                return Ok(entries);
            }
        }
    }

    /// The model as it was. None: in the midst of a step.
    fn then(&self, entries: &[Entry], at: i64) -> Option<&Then> {
        let last = entries.iter().rev().find(|entry| entry.at.unix() <= at)?.seq;
        let then = self.pasts.iter().rev().find(|then| then.seq <= last)?;
        let between = entries.iter().filter(|entry| then.seq < entry.seq && entry.seq <= last);
        between.into_iter().all(|entry| BESIDE.contains(&entry.event.action())).then_some(then)
    }

    fn was(&self, owner: &str, then: &Then, at: i64, number: usize) -> Checked {
        self.tally.checked();
        let model = &then.model;
        let what = RESOURCES[number / 3 % RESOURCES.len()];
        let who = PEOPLE[number / 5 % PEOPLE.len()];
        let moment = Some(time(at));
        match number % 3 {
            0 => {
                let outcome = self.list(owner, Who { resource: resource(what), at: moment });
                if !model.team.has(what) {
                    prop_assert_eq!(outcome.map(|_| ()), Err(Kind::NotFound));
                    return Ok(());
                }
                let (_, holders) = outcome.map_err(|kind| {
                    TestCaseError::fail(format!("who gave {kind:?}: {}", self.tally.last_failure.borrow()))
                })?;
                for who in PEOPLE {
                    let ways = holders.iter().filter(|view| view.member.as_str() == who);
                    let until = ways.map(|view| view.entitlement.until.map_or(EVER, Timestamp::unix)).max();
                    prop_assert_eq!(until, model.until(who, what, at), "{} on {}", who, what);
                }
            }
            1 => {
                let (user, resource) = (Some(who.parse().unwrap()), resource(what));
                let check = Check { resource, user, login: None, freshness: None, at: moment };
                let outcome = self.answer(owner, check);
                if !model.team.members.contains_key(who) || !model.team.has(what) {
                    prop_assert_eq!(outcome.map(|_| ()), Err(Kind::NotFound));
                    return Ok(());
                }
                let view = outcome.map_err(|kind| {
                    TestCaseError::fail(format!("check gave {kind:?}: {}", self.tally.last_failure.borrow()))
                })?;
                let until = view.because.iter().map(|way| way.until.map_or(EVER, Timestamp::unix)).max();
                prop_assert_eq!(until, model.until(who, what, at), "{} on {}", who, what);
                prop_assert_eq!((view.allowed, view.at), (until.is_some(), moment));
            }
            _ => {
                let team = self.answer(owner, TeamShow { at: moment });
                let team = team.map_err(|kind| TestCaseError::fail(format!("team show gave {kind:?}")))?;
                prop_assert_eq!(team, team_file::parse(&model.team.file()).unwrap());
                let all = self.listed(owner, ListFilter { all: true, at: moment, ..ListFilter::default() })?;
                let listed: BTreeMap<i64, &RequestView> = all.iter().map(|view| (view.id.get(), view)).collect();
                prop_assert_eq!(listed.len(), model.requests.len());
                for (asked, id) in model.requests.iter().zip(1..) {
                    was_so(asked, listed[&id], at)?;
                }
                let open = self.listed(owner, ListFilter { at: moment, ..ListFilter::default() })?;
                let is_open = |view: &&RequestView| {
                    view.state.is_open() || model.requests[view.id.get() as usize - 1].owes_review()
                };
                let expected: Vec<_> = all.iter().filter(is_open).map(|view| view.id).collect();
                prop_assert_eq!(open.iter().map(|view| view.id).collect::<Vec<_>>(), expected, "open requests");
            }
        }
        Ok(())
    }

    /// What is asked about this moment by its time is what is asked about now. Conditions are in SQL for the one, and not for
    /// the other.
    fn agrees_with_now(&self, owner: &str) -> Checked {
        let approver = PEOPLE[self.log as usize % PEOPLE.len()].parse().ok();
        let since = Some(time(self.now() - crate::HOUR));
        let all = || ListFilter { all: true, ..ListFilter::default() };
        let open = vec![State::Pending, State::Scheduled, State::Active];
        let filters = [
            ListFilter { states: open, ..ListFilter::default() },
            all(),
            ListFilter { kind: Some(RequestKind::Permanent), ..all() },
            ListFilter { kind: Some(RequestKind::Emergency), ..all() },
            ListFilter { kind: Some(RequestKind::Unreviewed), ..ListFilter::default() },
            ListFilter { ticket: "OPS-1".parse().ok(), ..all() },
            ListFilter { search: Some("BECAUSE it".to_owned()), ..all() },
            ListFilter { search: Some("looked AT".to_owned()), ..all() },
            ListFilter { granted_since: since, ..all() },
            ListFilter { states: vec![State::Revoked, State::Expired], ..all() },
            ListFilter { resource: Some(resource(RESOURCES[self.log as usize % 5])), ..all() },
            ListFilter { approver, ..all() },
        ];
        for filter in filters {
            // A name that the team never had is refused for both.
            let said = format!("{filter:?}");
            let ids = |at| {
                let views = self.list(owner, access::service::List { filter: ListFilter { at, ..filter.clone() } });
                views.map(|(_, views)| views.iter().map(|view| (view.id, view.state)).collect::<BTreeMap<_, _>>())
            };
            prop_assert_eq!(ids(None), ids(Some(time(self.now()))), "{}", said);
        }
        Ok(())
    }
}

fn was_so(asked: &Asked, view: &RequestView, at: i64) -> Checked {
    let state = view.state;
    let as_it_was = match asked.stands {
        Stands::Pending if asked.pending(at) => state == State::Pending,
        Stands::Pending => state == State::Lapsed,
        Stands::Decided => [State::Denied, State::Withdrawn].contains(&state),
        Stands::Granted if at < asked.starts => state == State::Scheduled,
        Stands::Granted if asked.live(at) => state == State::Active,
        Stands::Granted => state == State::Expired,
        Stands::Over => !state.is_open(),
    };
    prop_assert!(as_it_was, "request {} was {state}, and should be {asked:?}", view.id);
    let owes = matches!(view.review, Some(access::protocol::ReviewView::Owed(_)));
    prop_assert_eq!(owes, asked.owes_review());
    prop_assert_eq!(view.reason.as_str(), asked.reason);
    Ok(())
}
