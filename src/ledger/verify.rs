//! `audit verify` and `audit checkpoint`: the proof that the record is whole.
//!
//! The stored bytes are hashed again, one after the other; the events folded in memory by `domain::replay`; and what they
//! amount to is held against every table that is a projection. So a row that no event explains is found, as is an event
//! that no row reflects. Two threads share the work: one reads and hashes, the other understands.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{self, TrySendError};
use std::thread;

use super::{Call, Sink};
use crate::command::{Checkpoint, End, FaultView, Reply, VerifyView};
use crate::domain::audit::{self, GENESIS, Hash};
use crate::domain::decide;
use crate::domain::event::Entry;
use crate::domain::replay::Model;
use crate::domain::request::{Grant, Request};
use crate::domain::team::{Assignee, Team};
use crate::error::Failure;
use crate::store::{Error, Raw, Read, rule_keys};

/// Faults beyond this many say nothing new.
const MOST_FAULTS: usize = 1000;

pub fn verify(call: &Call<'_>, against: &[Checkpoint], sink: Sink<'_>) -> Result<End, Failure> {
    call.ask("audit verify", |_, me, now| Ok(decide::needs_admin(me, "verify the audit log", now)?))?;
    let view = call.store.read(|read| -> Result<VerifyView, Error> {
        let mut view = prove(read, against)?;
        // What the proof reads it reads from the tables; what is looked up is found by their indexes, under the schema.
        let faults = read.structural_faults()?;
        view.faults.extend(faults.into_iter().map(|problem| FaultView { seq: None, problem }));
        view.ok = view.faults.is_empty();
        Ok(view)
    })?;
    let no = !view.ok;
    sink(Reply::Verified(view))?;
    Ok(End { no, ..End::default() })
}

pub fn checkpoint(call: &Call<'_>, sink: Sink<'_>) -> Result<End, Failure> {
    let checkpoint = call.ask("audit checkpoint", |read, me, now| {
        decide::needs_admin(me, "take a checkpoint of the audit log", now)?;
        let head = read.head()?;
        Ok(Checkpoint { team: read.team_name()?, seq: head.seq, head: audit::hex(&head.hash), at: now })
    })?;
    sink(Reply::Checkpoint(checkpoint))?;
    Ok(End::default())
}

/// Proves the record of one state of the database.
pub fn prove(read: &Read<'_>, against: &[Checkpoint]) -> Result<VerifyView, Error> {
    let mut chain = Chain::new(against);
    let mut proof = thread::scope(|scope| {
        let (sender, receiver) = mpsc::sync_channel::<Batch>(BATCHES);
        let folding = scope.spawn(move || {
            let mut proof = Proof::default();
            receiver.iter().for_each(|batch| batch.each(|raw, parsed| proof.entry(&raw, parsed)));
            proof
        });
        let mut batch = Batch::default();
        let read = read.each_raw_entry(|raw| {
            chain.entry(&raw);
            batch.push(&raw);
            if batch.is_full() {
                // Whoever has less to do parses: where others wait already, this thread. (The other goes on receiving
                // until this end is dropped.)
                if let Err(TrySendError::Full(mut batch)) = sender.try_send(std::mem::take(&mut batch)) {
                    batch.parse();
                    let _ = sender.send(batch);
                }
            }
        });
        let _ = sender.send(batch);
        drop(sender);
        let proof = folding.join().expect("folding refuses nothing and so never panics");
        read.map(|()| proof)
    })?;
    chain.end(read.last_seq()?);
    proof.tables(read)?;
    let mut faults = chain.faults;
    faults.append(&mut proof.faults);
    // By entry, and what is wrong with rows of the tables after that.
    faults.sort_by_key(|fault| fault.seq.unwrap_or(i64::MAX));
    faults.truncate(MOST_FAULTS);
    Ok(VerifyView {
        ok: faults.is_empty(),
        entries: chain.entries,
        head: audit::hex(&chain.hash),
        faults,
        checkpoints: against.len(),
    })
}

/// Entries on their way from the thread that reads and hashes to the one that understands them.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    entries: Vec<Packed>,
    /// What the bodies say, or nothing where that is still to be found out.
    parsed: Vec<Parsed>,
}

type Parsed = serde_json::Result<Entry>;

/// An entry of a batch: how long each of its texts is, which lie one after the other.
struct Packed {
    seq: i64,
    at: i64,
    request: Option<i64>,
    actor: Option<usize>,
    os_user: usize,
    action: usize,
    body: usize,
}

/// So many batches wait at most.
const BATCHES: usize = 8;
/// A batch of a quarter of a megabyte: large enough to be worth the handing over.
const BATCH: usize = 256 * 1024;

impl Batch {
    fn push(&mut self, raw: &Raw<'_>) {
        for text in [raw.actor.unwrap_or_default(), raw.os_user, raw.action, raw.body] {
            self.bytes.extend_from_slice(text);
        }
        self.entries.push(Packed {
            seq: raw.seq,
            at: raw.at,
            request: raw.request,
            actor: raw.actor.map(<[u8]>::len),
            os_user: raw.os_user.len(),
            action: raw.action.len(),
            body: raw.body.len(),
        });
    }

    fn is_full(&self) -> bool {
        self.bytes.len() >= BATCH
    }

    fn parse(&mut self) {
        let mut parsed = Vec::with_capacity(self.entries.len());
        self.each_raw(|raw| parsed.push(serde_json::from_slice(raw.body)));
        self.parsed = parsed;
    }

    fn each(mut self, mut each: impl FnMut(Raw<'_>, Parsed)) {
        let mut parsed = std::mem::take(&mut self.parsed).into_iter();
        self.each_raw(|raw| {
            let entry = parsed.next().unwrap_or_else(|| serde_json::from_slice(raw.body));
            each(raw, entry);
        });
    }

    fn each_raw(&self, mut each: impl FnMut(Raw<'_>)) {
        let mut rest = self.bytes.as_slice();
        let mut next = |length: usize| {
            let (text, after) = rest.split_at(length);
            rest = after;
            text
        };
        for packed in &self.entries {
            let actor = next(packed.actor.unwrap_or(0));
            each(Raw {
                seq: packed.seq,
                at: packed.at,
                actor: packed.actor.map(|_| actor),
                os_user: next(packed.os_user),
                action: next(packed.action),
                request: packed.request,
                hash: None,
                body: next(packed.body),
            });
        }
    }
}

/// The bytes: that each entry is there, and bound to the one before.
struct Chain<'c> {
    faults: Vec<FaultView>,
    checkpoints: BTreeMap<i64, Vec<&'c Checkpoint>>,
    entries: i64,
    /// The number and the hash of the last entry read.
    seq: i64,
    hash: Hash,
}

impl<'c> Chain<'c> {
    fn new(against: &'c [Checkpoint]) -> Chain<'c> {
        let mut checkpoints: BTreeMap<i64, Vec<&Checkpoint>> = BTreeMap::new();
        for checkpoint in against {
            checkpoints.entry(checkpoint.seq).or_default().push(checkpoint);
        }
        Chain { faults: Vec::new(), checkpoints, entries: 0, seq: 0, hash: GENESIS }
    }

    fn at(&mut self, seq: i64, problem: impl Into<String>) {
        if self.faults.len() < MOST_FAULTS {
            self.faults.push(FaultView { seq: Some(seq), problem: problem.into() });
        }
    }

    fn entry(&mut self, raw: &Raw<'_>) {
        let seq = raw.seq;
        if seq != self.seq + 1 {
            self.at(self.seq + 1, format!("it is missing; entry {seq} follows entry {}", self.seq));
        }
        let hash = audit::link(&self.hash, raw.body);
        if raw.hash != Some(hash) {
            self.at(seq, "its hash does not follow from its bytes and the entry before: one of them was changed");
        }
        // Going on from the hash that stands there, so that one change is one fault.
        self.hash = raw.hash.unwrap_or(hash);
        self.seq = seq;
        self.entries += 1;
        if self.checkpoints.is_empty() {
            return;
        }
        for checkpoint in self.checkpoints.remove(&seq).into_iter().flatten() {
            if checkpoint.head != audit::hex(&self.hash) {
                self.at(seq, format!("it is not the entry that the checkpoint of {} was taken at", checkpoint.at));
            }
        }
    }

    /// `last`: the number of the last entry, as the tables have it.
    fn end(&mut self, last: Option<i64>) {
        let ended = self.seq;
        for missing in std::mem::take(&mut self.checkpoints).into_values().flatten() {
            let problem = format!(
                "the log ends at entry {ended}, and had {} when the checkpoint of {} was taken",
                missing.seq, missing.at
            );
            self.at(missing.seq, problem);
        }
        if let Some(last) = last.filter(|&last| last != ended) {
            self.at(last.max(ended), format!("the log ends at entry {ended}, and the tables say at {last}"));
        }
    }
}

/// The meaning: what the entries amount to, and whether the tables agree.
#[derive(Default)]
struct Proof {
    faults: Vec<FaultView>,
    model: Model,
}

impl Proof {
    fn fault(&mut self, seq: Option<i64>, problem: String) {
        if self.faults.len() < MOST_FAULTS {
            self.faults.push(FaultView { seq, problem });
        }
    }

    fn at(&mut self, seq: i64, problem: impl Into<String>) {
        self.fault(Some(seq), problem.into());
    }

    fn row(&mut self, problem: String) {
        self.fault(None, problem);
    }

    fn entry(&mut self, raw: &Raw<'_>, parsed: Parsed) {
        let seq = raw.seq;
        match parsed {
            Err(why) => self.at(seq, format!("it can't be read: {why}")),
            Ok(entry) => {
                for (column, same) in [
                    ("seq", entry.seq == seq),
                    ("at", entry.at.unix() == raw.at),
                    ("actor", entry.actor.as_ref().map(|actor| actor.as_str().as_bytes()) == raw.actor),
                    ("os_user", entry.os_user.as_bytes() == raw.os_user),
                    ("action", entry.event.action().as_bytes() == raw.action),
                    ("request", entry.event.request().map(i64::from) == raw.request),
                ] {
                    if !same {
                        self.at(seq, format!("its column {column} is not what was recorded"));
                    }
                }
                for problem in self.model.take(entry) {
                    self.at(seq, problem);
                }
            }
        }
    }

    fn tables(&mut self, read: &Read<'_>) -> Result<(), Error> {
        self.team(read);
        let mut model = std::mem::take(&mut self.model);
        let mut decisions = Vec::new();
        let mut grants: Vec<Option<Grant>> = Vec::new();
        for request in &mut model.requests {
            let id = request.id.get();
            decisions.extend(std::mem::take(&mut request.decisions).into_iter().map(|it| (it.seq, (id, it))));
            grants.push(request.grant.take());
        }
        decisions.sort_by_key(|(seq, _)| *seq);
        let numbered = |request: Request| (request.id.get(), request);
        let granted = |grant: Grant| (grant.request.get(), grant);
        let mut told = model.notifications;
        told.sort_by_key(|(id, _)| *id);

        self.table("request", model.requests.into_iter().map(numbered), |each| read.each_request(each))?;
        self.table("the decision of entry", decisions.into_iter(), |each| read.each_decision(each))?;
        self.table("grant", grants.into_iter().flatten().map(granted), |each| read.each_grant(each))?;
        self.table("notification", told.into_iter(), |each| read.each_notification(each))
    }

    /// Holds a table against what the log says it should be; both are in the order of their keys.
    fn table<T: PartialEq>(
        &mut self,
        what: &str,
        expected: impl Iterator<Item = (i64, T)>,
        read: impl FnOnce(&mut dyn FnMut(i64, Result<T, String>)) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut expected = expected.peekable();
        read(&mut |key, row| {
            while let Some((missing, _)) = expected.next_if(|(next, _)| *next < key) {
                self.row(format!("{what} {missing} is on the record and not in its table"));
            }
            match (expected.next_if(|(next, _)| *next == key), row) {
                (_, Err(why)) => self.row(format!("{what} {key} can't be read: {why}")),
                (None, Ok(_)) => self.row(format!("{what} {key} is in its table, and no entry explains it")),
                (Some((_, recorded)), Ok(row)) if row != recorded => {
                    self.row(format!("{what} {key} is not as it was recorded"));
                }
                (Some(_), Ok(_)) => {}
            }
        })?;
        for (missing, _) in expected {
            self.row(format!("{what} {missing} is on the record and not in its table"));
        }
        Ok(())
    }

    fn team(&mut self, read: &Read<'_>) {
        let Some(recorded) = self.model.team.take() else {
            return self.row("the log sets no team up".to_owned());
        };
        let stands = match read.team() {
            Ok(team) => team,
            Err(error) => return self.row(format!("the team can't be read: {}", Failure::from(error).message)),
        };
        for change in recorded.changes_to(&stands) {
            self.row(format!("{} is not as it was recorded", change.what()));
        }
        let (groups, scopes) = turned_round(&recorded);
        let keys =
            recorded.rules.iter().flat_map(|rule| rule_keys(rule).into_iter().map(|key| (key, rule.name.to_string())));
        let keys: Pairs = keys.collect();
        let differ = |what: &str, same: Result<bool, Error>| match same {
            Ok(true) => None,
            Ok(false) => Some(format!("{what} are not as they were recorded")),
            Err(error) => Some(format!("{what} can't be read: {}", Failure::from(error).message)),
        };
        let since = read.members_since().map(|since| since == self.model.since);
        let preferences = read.preferences().map(|preferences| preferences == self.model.preferences);
        let problems = [
            differ("the entries that brought the members", since),
            differ("the memberships of groups", read.memberships().map(|stand| stand == groups)),
            differ("the keys of rules", read.rule_keys().map(|stand| stand == keys)),
            differ("the assignments of scopes", read.assignments().map(|stand| stand == scopes)),
            differ("the members' preferences", preferences),
        ];
        for problem in problems.into_iter().flatten() {
            self.row(problem);
        }
    }
}

/// The members of groups and the assignments of scopes, as pairs.
type Pairs = BTreeSet<(String, String)>;

fn turned_round(team: &Team) -> (Pairs, Pairs) {
    let members = team
        .groups
        .iter()
        .flat_map(|(name, group)| group.members.iter().map(|member| (member.to_string(), name.to_string())));
    let assigned = team.scopes.iter().flat_map(|(name, scope)| {
        scope.assigned.iter().map(|assignee: &Assignee| (assignee.to_string(), name.to_string()))
    });
    (members.collect(), assigned.collect())
}
