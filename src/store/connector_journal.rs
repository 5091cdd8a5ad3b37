//! The journal of a leased connector, which the hosts that share a log exchange: what was given, by any host. It is stored
//! outside the log, so that the host that takes over knows what it has to take back, and what was there before.

use serde::{Deserialize, Serialize};

use super::journal::JournalEntry;
use super::read::Read;
use super::shared::problem;
use super::side_list::SideList;
use super::{Error, Store, open};
use crate::domain::binding::{Holding, Parameters};
use crate::domain::member::Login;
use crate::domain::name::Name;
use crate::domain::provisioning::{Condition, Provisioning};

/// What to do if it is too much to tell.
const TOO_LONG: &str = "bind less to this connector, or have several connectors";

/// What the hosts know of one system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedJournal {
    /// Goes up with each change. 0: there is none yet.
    pub version: i64,
    /// Of the shared log when it was written. An earlier one than now: the log was restored from a backup since, and so was this.
    pub epoch: i64,
    pub rows: Vec<SharedJournalRow>,
}

/// The journal that hosts share, and what it is compared with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchedJournal {
    pub journal: SharedJournal,
    /// The epoch of the shared log now.
    pub epoch: i64,
    /// Whether the log says that the connector gave something, and that it is still there.
    pub has_given: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedJournalRow {
    login: Login,
    parameters: Parameters,
    #[serde(flatten)]
    entry: JournalEntry,
}

impl SharedJournalRow {
    pub fn new(holding: &Holding, entry: &JournalEntry) -> SharedJournalRow {
        SharedJournalRow { login: holding.login.clone(), parameters: holding.parameters.clone(), entry: entry.clone() }
    }

    pub fn of(self, connector: &Name) -> (Holding, JournalEntry) {
        let SharedJournalRow { login, parameters, entry } = self;
        (Holding { connector: connector.clone(), login, parameters }, entry)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Epoch {
    epoch: i64,
}

type JournalList = SideList<Epoch, SharedJournalRow>;

fn lease_key(connector: &Name) -> String {
    format!("lease/connector/{connector}")
}

fn key(connector: &Name) -> String {
    format!("journal/{connector}")
}

impl Read<'_> {
    fn has_given(&self, connector: &Name) -> Result<bool, Error> {
        let is_there = |open: &Provisioning| matches!(open.condition, Condition::Granted | Condition::RevokeFailed);
        Ok(self.open_provisioning()?.iter().any(|open| open.holding.connector == *connector && is_there(open)))
    }
}

impl Store {
    /// Makes this the host that runs the connector, for so many seconds. False: another host is.
    pub fn lease_connector(&self, connector: &Name, seconds: i32) -> Result<bool, Error> {
        self.with(|engine, _| engine.lease(&lease_key(connector), seconds).map_err(problem))
    }

    pub fn release_connector(&self, connector: &Name) -> Result<(), Error> {
        self.with(|engine, _| engine.release(&lease_key(connector)).map_err(problem))
    }

    /// What the hosts know of the system. This copy has every entry that it follows from.
    pub fn connector_journal(&self, connector: &Name) -> Result<FetchedJournal, Error> {
        let conn = self.connection(open::connect)?;
        self.with(|engine, access| {
            let fetched = JournalList::fetch(engine, &key(connector))?;
            self.catch_up_open(engine, access, &conn)?;
            let read = Read::new(&conn);
            let epoch = read.replica()?.map_or(0, |replica| replica.epoch);
            let (version, list) = fetched.unwrap_or_else(|| (0, JournalList::new(Epoch { epoch }, Vec::new())));
            let journal = SharedJournal { version, epoch: list.about.epoch, rows: list.rows };
            Ok(FetchedJournal { journal, epoch, has_given: read.has_given(connector)? })
        })
    }

    /// Replaces the journal of this version. Returns the new version. None: another host was first.
    pub fn publish_connector_journal(&self, connector: &Name, journal: &SharedJournal) -> Result<Option<i64>, Error> {
        let list = JournalList::new(Epoch { epoch: journal.epoch }, journal.rows.clone());
        self.with(|engine, _| list.set(engine, &key(connector), journal.version, TOO_LONG))
    }
}
