//! Leased connectors of hosts that share a log: one host at a time runs one, and knows what the others gave.

use serde::{Deserialize, Serialize};

use super::super::{Call, Callers, Never, Rows, Service};
use crate::domain::name::Name;
use crate::error::Failure;
use crate::protocol::ConnectorLease;
use crate::store::{FetchedJournal, SharedJournal};

/// A host that dies is replaced after this long, in seconds.
const LEASE: i32 = 30;

/// Takes the lease of a connector, or extends it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LeaseConnector {
    pub connector: Name,
}

impl Call for LeaseConnector {
    const NAME: &'static str = "LeaseConnector";
    const CALLERS: Callers = Callers::Reconciler;
    type Row = Never;
    type Reply = ConnectorLease;

    fn carry_out(self, service: &Service<'_>, _: Rows<'_, Never>) -> Result<ConnectorLease, Failure> {
        if !service.store.shares_log()? {
            return Ok(ConnectorLease::NotShared);
        }
        let is_ours = service.store.lease_connector(&self.connector, LEASE)?;
        Ok(if is_ours { ConnectorLease::Ours } else { ConnectorLease::Taken })
    }
}

/// Gives the lease back.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReleaseConnector {
    pub connector: Name,
}

impl Call for ReleaseConnector {
    const NAME: &'static str = "ReleaseConnector";
    const CALLERS: Callers = Callers::Reconciler;
    type Row = Never;
    type Reply = ();

    fn carry_out(self, service: &Service<'_>, _: Rows<'_, Never>) -> Result<(), Failure> {
        Ok(service.store.release_connector(&self.connector)?)
    }
}

/// What the hosts know of a connector's system.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FetchJournal {
    pub connector: Name,
}

impl Call for FetchJournal {
    const NAME: &'static str = "FetchJournal";
    const CALLERS: Callers = Callers::Reconciler;
    type Row = Never;
    /// None: no other host shares the log.
    type Reply = Option<FetchedJournal>;

    fn carry_out(self, service: &Service<'_>, _: Rows<'_, Never>) -> Result<Option<FetchedJournal>, Failure> {
        let FetchJournal { connector } = self;
        if !service.store.shares_log()? {
            return Ok(None);
        }
        Ok(Some(service.store.connector_journal(&connector)?))
    }
}

/// Tells the other hosts what is in the journal. The reply is its new version. None: the lease is another host's by now.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PublishJournal {
    pub connector: Name,
    pub journal: SharedJournal,
}

impl Call for PublishJournal {
    const NAME: &'static str = "PublishJournal";
    const CALLERS: Callers = Callers::Reconciler;
    type Row = Never;
    type Reply = Option<i64>;

    fn carry_out(self, service: &Service<'_>, _: Rows<'_, Never>) -> Result<Option<i64>, Failure> {
        let PublishJournal { connector, journal } = self;
        if !service.store.lease_connector(&connector, LEASE)? {
            return Ok(None);
        }
        Ok(service.store.publish_connector_journal(&connector, &journal)?)
    }
}
