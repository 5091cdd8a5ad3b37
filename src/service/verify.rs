//! `audit verify`: proves that the log is complete and unaltered.
//!
//! The stored bytes are hashed again in order; `domain::replay` folds the events in memory; and the result is compared
//! with every table that is a projection. This finds rows that no event explains, and events that no row reflects. One
//! thread reads the database and hashes, another parses and folds.
//!
//! Only open requests are kept in memory: a request that no later entry can change is compared with its rows as soon as
//! the fold returns it, and so is every notification. Counting proves that no other rows exist: each table has as many
//! rows as were compared.

mod signed;
mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc;
use std::thread;

use serde::{Deserialize, Serialize};
use signed::SignedHeads;
use tables::Tables;

use super::{Call, Never, Rows, Service};
use crate::domain::audit::{GENESIS, Hash};
use crate::domain::event::{self, Entry, Event};
use crate::domain::member::Assignee;
use crate::domain::replay::{Model, Released};
use crate::domain::request::authorize;
use crate::domain::team::Team;
use crate::domain::{Malformed, audit};
use crate::error::Failure;
use crate::protocol::{Checkpoint, FaultView, KeptCheckpoint, VerifyView};
use crate::store::{Error, RawEntry, Read, rule_keys};

/// The most faults that are reported.
const MOST_FAULTS: usize = 1000;

/// Proves that the log is whole and that the tables agree with it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AuditVerify {
    /// Checkpoints kept elsewhere.
    pub against: Vec<KeptCheckpoint>,
}

impl Call for AuditVerify {
    const NAME: &'static str = "AuditVerify";

    type Row = Never;
    type Reply = VerifyView;

    fn carry_out(self, service: &Service<'_>, _: Rows<'_, Never>) -> Result<VerifyView, Failure> {
        let AuditVerify { against } = self;
        let against = against.as_slice();
        service.ask("audit verify", |_, me, now| Ok(authorize::needs_auditor(me, "verify the audit log", now)?))?;
        Ok(service.store.read(|read| verify(read, against))?)
    }
}

/// Proves the record of one state of the database, and that its indexes agree with its tables.
pub fn verify(read: &Read<'_>, against: &[KeptCheckpoint]) -> Result<VerifyView, Error> {
    let mut view = prove(read, against)?;
    // What the proof reads it reads from the tables; what is looked up is found by their indexes, under the schema.
    let faults = read.structural_faults()?;
    view.faults.extend(faults.into_iter().map(|problem| FaultView { seq: None, problem }));
    view.ok = view.faults.is_empty();
    Ok(view)
}

/// Proves the record of one state of the database.
pub fn prove(read: &Read<'_>, against: &[KeptCheckpoint]) -> Result<VerifyView, Error> {
    let mut chain = Chain::new(against);
    let mut signed = SignedHeads::new(read, against);
    let mut tables = Tables::new(read);
    let mut proof = thread::scope(|scope| {
        let (sender, batches) = mpsc::channel::<EntryBatch>();
        let (sending_back, folded) = mpsc::channel::<Folded>();
        let folding = scope.spawn(move || {
            let mut proof = Proof::default();
            for batch in batches {
                let bytes = batch.bytes.len();
                batch.each(|raw, parsed| proof.entry(&raw, parsed));
                // Nobody receives it once reading has failed.
                let _ = sending_back.send(Folded { bytes, released: proof.model.release() });
            }
            proof
        });
        let mut fold = Fold { sender, folded, bytes: 0 };
        let mut batch = EntryBatch::default();
        let read = read.each_raw_entry(|raw| {
            chain.entry(&raw);
            signed.entry(&raw);
            batch.push(&raw);
            if batch.is_full() { fold.hand_over(std::mem::take(&mut batch), &mut tables) } else { Ok(()) }
        });
        let read = read.and_then(|()| fold.hand_over(batch, &mut tables)).and_then(|()| fold.end(&mut tables));
        let proof = folding.join().expect("folding refuses nothing and so never panics");
        read.map(|()| proof)
    })?;
    chain.end(read.last_seq()?);
    signed.end(read, proof.model.checkpoint_keys());
    proof.team(read);
    tables.end(&mut proof.model)?;
    let mut faults = chain.faults;
    faults.append(&mut signed.faults);
    faults.append(&mut proof.faults);
    faults.append(&mut tables.faults);
    // By entry, and what is wrong with rows of the tables after that.
    faults.sort_by_key(|fault| fault.seq.unwrap_or(i64::MAX));
    faults.truncate(MOST_FAULTS);
    Ok(VerifyView {
        ok: faults.is_empty(),
        entries: chain.entries,
        head: audit::hex(&chain.hash),
        faults,
        void: proof.void,
        checkpoints: against.len(),
    })
}

/// The reading thread's end of the fold.
struct Fold {
    sender: mpsc::Sender<EntryBatch>,
    folded: mpsc::Receiver<Folded>,
    /// How many bytes were sent and are not folded yet.
    bytes: usize,
}

/// What the fold sends back for each batch.
struct Folded {
    bytes: usize,
    released: Released,
}

impl Fold {
    /// Sends a batch. Where much waits already, this thread parses it first; and it never sends more than fits in memory.
    fn hand_over(&mut self, mut batch: EntryBatch, tables: &mut Tables<'_, '_>) -> Result<(), Error> {
        while let Ok(folded) = self.folded.try_recv() {
            self.take(folded, tables)?;
        }
        if self.bytes >= WAITING {
            batch.parse();
        }
        while self.bytes >= WAITING {
            let Ok(folded) = self.folded.recv() else { break };
            self.take(folded, tables)?;
        }
        self.bytes += batch.bytes.len();
        // It fails only if the other thread panicked, which joining it tells.
        let _ = self.sender.send(batch);
        Ok(())
    }

    fn end(mut self, tables: &mut Tables<'_, '_>) -> Result<(), Error> {
        drop(std::mem::replace(&mut self.sender, mpsc::channel().0));
        while let Ok(folded) = self.folded.recv() {
            self.take(folded, tables)?;
        }
        Ok(())
    }

    fn take(&mut self, folded: Folded, tables: &mut Tables<'_, '_>) -> Result<(), Error> {
        self.bytes -= folded.bytes;
        tables.take(folded.released)
    }
}

/// Entries passed from the thread that reads and hashes to the one that parses and folds.
#[derive(Default)]
struct EntryBatch {
    bytes: Vec<u8>,
    entries: Vec<Packed>,
    /// What the bodies say, or nothing where that is still to be found out.
    parsed: Vec<Parsed>,
}

type Parsed = Result<ReadEntry, Malformed>;

struct ReadEntry {
    entry: Entry,
    /// Whether its bytes are those that the program writes.
    is_as_written: bool,
}

fn parse(body: &[u8]) -> Parsed {
    let entry = Entry::parse(body)?;
    // Of a host's entry, reading it has found that out.
    let is_as_written = entry.host.is_some() || entry.is_written_as(body);
    Ok(ReadEntry { entry, is_as_written })
}

/// An entry of a batch: how long each of its texts is, which lie one after the other.
struct Packed {
    seq: i64,
    at: i64,
    request: Option<i64>,
    actor: Option<usize>,
    os_user: usize,
    action: usize,
    hash: Option<Hash>,
    body: usize,
}

/// A batch of a quarter of a megabyte: large enough to be worth the handing over.
const BATCH: usize = 256 * 1024;
/// No further batch is sent while this many bytes wait.
const WAITING: usize = 8 * BATCH;

impl EntryBatch {
    fn push(&mut self, raw: &RawEntry<'_>) {
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
            hash: raw.hash,
            body: raw.body.len(),
        });
    }

    fn is_full(&self) -> bool {
        self.bytes.len() >= BATCH
    }

    fn parse(&mut self) {
        let mut parsed = Vec::with_capacity(self.entries.len());
        self.each_raw(|raw| parsed.push(parse(raw.body)));
        self.parsed = parsed;
    }

    fn each(mut self, mut each: impl FnMut(RawEntry<'_>, Parsed)) {
        let mut parsed = std::mem::take(&mut self.parsed).into_iter();
        self.each_raw(|raw| {
            let entry = parsed.next().unwrap_or_else(|| parse(raw.body));
            each(raw, entry);
        });
    }

    fn each_raw(&self, mut each: impl FnMut(RawEntry<'_>)) {
        let mut rest = self.bytes.as_slice();
        let mut next = |length: usize| {
            let (text, after) = rest.split_at(length);
            rest = after;
            text
        };
        for packed in &self.entries {
            let actor = next(packed.actor.unwrap_or(0));
            each(RawEntry {
                seq: packed.seq,
                at: packed.at,
                actor: packed.actor.map(|_| actor),
                os_user: next(packed.os_user),
                action: next(packed.action),
                request: packed.request,
                hash: packed.hash,
                body: next(packed.body),
            });
        }
    }
}

/// Checks the bytes: that each entry exists and is chained to the one before.
struct Chain<'c> {
    faults: Vec<FaultView>,
    checkpoints: BTreeMap<i64, Vec<&'c Checkpoint>>,
    entries: i64,
    /// The number and the hash of the last entry read.
    seq: i64,
    hash: Hash,
}

impl<'c> Chain<'c> {
    fn new(against: &'c [KeptCheckpoint]) -> Chain<'c> {
        let mut checkpoints: BTreeMap<i64, Vec<&Checkpoint>> = BTreeMap::new();
        let lines = against.iter().filter_map(|kept| match kept {
            KeptCheckpoint::Line(checkpoint) => Some(&**checkpoint),
            KeptCheckpoint::Note(_) => None,
        });
        for checkpoint in lines {
            checkpoints.entry(checkpoint.seq).or_default().push(checkpoint);
        }
        Chain { faults: Vec::new(), checkpoints, entries: 0, seq: 0, hash: GENESIS }
    }

    fn at(&mut self, seq: i64, problem: impl Into<String>) {
        if self.faults.len() < MOST_FAULTS {
            self.faults.push(FaultView { seq: Some(seq), problem: problem.into() });
        }
    }

    fn entry(&mut self, raw: &RawEntry<'_>) {
        let seq = raw.seq;
        if seq != self.seq + 1 {
            self.at(self.seq + 1, format!("it is missing; entry {seq} follows entry {}", self.seq));
        }
        let hash = audit::link(&self.hash, raw.body);
        if raw.hash != Some(hash) {
            self.at(seq, "its hash does not follow from its bytes and the entry before: one of them was changed");
        }
        // Continues from the stored hash, so that one change is reported as one fault.
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

/// Checks the meaning: folds the entries, and compares the result with the tables.
#[derive(Default)]
struct Proof {
    faults: Vec<FaultView>,
    void: Vec<FaultView>,
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

    /// An entry is void only if it can't be read, or can't follow those before it.
    fn void(&mut self, seq: i64, hash: Hash, parsed: Parsed) {
        let why = match parsed {
            Err(why) => format!("it can't be read: {why}"),
            Ok(ReadEntry { entry, .. }) => match self.model.judge(entry, hash) {
                Some(why) => why,
                None if self.faults.is_empty() => {
                    return self.at(seq, "its row says that it is void, and it is not");
                }
                // Which a copy decides by its tables.
                None => "it can't follow the faulty entries before it".to_owned(),
            },
        };
        if self.void.len() < MOST_FAULTS {
            self.void
                .push(FaultView { seq: Some(seq), problem: format!("it is void and changes nothing, because {why}") });
        }
    }

    fn entry(&mut self, raw: &RawEntry<'_>, parsed: Parsed) {
        let (seq, hash) = (raw.seq, raw.hash.unwrap_or_default());
        if raw.action == Event::Void.action().as_bytes() {
            if event::time_of(raw.body).is_some_and(|at| at.unix() != raw.at) {
                self.at(seq, "its column at is not what was recorded");
            }
            return self.void(seq, hash, parsed);
        }
        match parsed {
            Err(why) => self.at(seq, format!("it can't be read: {why}")),
            Ok(ReadEntry { entry, is_as_written }) => {
                if !is_as_written {
                    self.at(seq, event::UNUSUAL);
                }
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
                for problem in self.model.take(entry, hash) {
                    self.at(seq, problem);
                }
            }
        }
    }

    fn team(&mut self, read: &Read<'_>) {
        let Some(recorded) = self.model.team.take() else {
            return self.row("the log sets no team up".to_owned());
        };
        let current = match read.team() {
            Ok(team) => team,
            Err(error) => return self.row(format!("the team can't be read: {}", Failure::from(error).message)),
        };
        for change in recorded.changes_to(&current) {
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
