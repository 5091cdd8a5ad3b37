//! What connectors gave and took back, by the log.

use std::collections::BTreeMap;

use rusqlite::{Row, params};

use super::log::RARE;
use super::project::{one, to_json};
use super::read::{Read, agree};
use super::{Error, Write, row};
use crate::domain::audit::Hash;
use crate::domain::binding::Holding;
use crate::domain::event::{Entry, Event};
use crate::domain::member::Login;
use crate::domain::name::Name;
use crate::domain::provisioning::{
    Condition, Deprovisioned, Drifted, Failed, ProvisionedAccess, Provisioning, ProvisioningOperation,
};
use crate::domain::reconciliation::RecentDrift;
use crate::domain::terms::RequestId;
use crate::domain::time::Timestamp;

/// The columns of a row, in the order in which `provisioning` reads them.
pub(super) const PROVISIONING: &str =
    "p.seq, p.request, p.member, p.connector, p.login, p.parameters, p.condition, p.error, p.since, p.recorded_at";
/// The first key of the index `provisioning_open`. 0: open, 1: over, 2: taking it back fails.
const STAGE: &str =
    "CASE i.condition WHEN 'revoked' THEN 1 WHEN 'resolved' THEN 1 WHEN 'revoke_failed' THEN 2 ELSE 0 END";

pub(super) fn provisioning(row: &Row<'_>, column: usize) -> Result<Provisioning, Error> {
    let text = row.get_ref(column + 6)?.as_str().map_err(Error::damaged)?;
    let condition = Condition::ALL.into_iter().find(|condition| condition.as_str() == text);
    let request = row.get::<_, Option<i64>>(column + 1)?;
    Ok(Provisioning {
        seq: row.get(column)?,
        request: request.map(RequestId::try_from).transpose().map_err(Error::damaged)?,
        member: row::maybe_parsed(row, column + 2)?,
        holding: Holding {
            connector: row::parsed(row, column + 3)?,
            login: row::parsed(row, column + 4)?,
            parameters: row::json(row, column + 5)?,
        },
        condition: condition.ok_or_else(|| Error::damaged(format!("provisioning in the condition {text:?}")))?,
        error: row.get(column + 7)?,
        since: row::time(row, column + 8)?,
        recorded_at: row::time(row, column + 9)?,
    })
}

impl Read<'_> {
    /// Whether the team has bindings, or anything is on record about connectors. Most teams have neither.
    pub fn has_provisioning(&self) -> Result<bool, Error> {
        let binding = self.one("SELECT 1 FROM catalogue WHERE kind = 'binding' LIMIT 1", [], |_| Ok(()))?;
        Ok(binding.is_some() || self.one("SELECT 1 FROM provisioning LIMIT 1", [], |_| Ok(()))?.is_some())
    }

    /// What is on record about a grant, in the order in which it began. Also what was taken back.
    pub fn provisioning_of(&self, request: RequestId) -> Result<Vec<Provisioning>, Error> {
        let is_of = |found: &Provisioning| found.request == Some(request);
        let clause = format!("{STAGE} IN (0, 1, 2) AND i.request = ?1 ORDER BY p.seq");
        self.provisioning_where(&clause, [request.get()], is_of)
    }

    /// What is open about a login, by grants of this request or without a grant.
    pub fn open_provisioning_of(&self, request: Option<RequestId>, login: &Login) -> Result<Vec<Provisioning>, Error> {
        let is_of = |found: &Provisioning| {
            found.request == request && found.holding.login == *login && !found.condition.is_final()
        };
        let clause = format!("{STAGE} IN (0, 2) AND i.request IS ?1 AND i.login = ?2 ORDER BY p.seq");
        self.provisioning_where(&clause, params![request.map(RequestId::get), login.as_str()], is_of)
    }

    /// Everything that is open, in the order in which it began.
    pub fn open_provisioning(&self) -> Result<Vec<Provisioning>, Error> {
        self.provisioning_where(&format!("{STAGE} IN (0, 2) ORDER BY p.seq"), [], |found| !found.condition.is_final())
    }

    /// What could not be taken back, in the order in which it began.
    pub fn failed_revokes(&self) -> Result<Vec<Provisioning>, Error> {
        let failed = |found: &Provisioning| found.condition == Condition::RevokeFailed;
        self.provisioning_where(&format!("{STAGE} = 2 ORDER BY p.seq"), [], failed)
    }

    /// The grants that ended up to this time and that the record still has as given, and when the first of them ended.
    pub fn unconfirmed_revokes(&self, until: Timestamp) -> Result<Option<(usize, Timestamp)>, Error> {
        let sql = format!(
            "SELECT p.request, ifnull(g.ended_at, g.ends_at)
             FROM provisioning i CROSS JOIN provisioning p ON p.seq = i.seq CROSS JOIN grant g ON g.request = p.request
             WHERE {STAGE} = 0 AND i.request > 0 AND p.condition = 'granted' AND ifnull(g.ended_at, g.ends_at) <= ?1"
        );
        let mut ended: BTreeMap<i64, Timestamp> = BTreeMap::new();
        for (request, at) in self.rows(&sql, [until.unix()], |row| Ok((row.get(0)?, row::time(row, 1)?)))? {
            ended.insert(request, at);
        }
        Ok(ended.values().min().map(|&first| (ended.len(), first)))
    }

    fn provisioning_where(
        &self,
        clause: &str,
        params: impl rusqlite::Params,
        is_found: impl Fn(&Provisioning) -> bool,
    ) -> Result<Vec<Provisioning>, Error> {
        let sql = format!(
            "SELECT {PROVISIONING} FROM provisioning i CROSS JOIN provisioning p ON p.seq = i.seq WHERE {clause}"
        );
        let rows = self.rows(&sql, params, |row| provisioning(row, 0))?;
        agree(rows.iter().all(is_found), "provisioning_open")?;
        Ok(rows)
    }

    /// The drift of a system that was recorded after this time. A limit keeps it small, also that of other systems.
    pub fn recent_drift(&self, connector: &Name, since: Timestamp) -> Result<RecentDrift, Error> {
        let count = |action: &str| -> Result<usize, Error> {
            let sql = format!(
                "SELECT at, body ->> '$.event.detail.connector' FROM event WHERE action = '{action}' AND {RARE}
                 ORDER BY seq DESC"
            );
            let of = |row: &Row<'_>, _| Ok(row.get_ref(1)?.as_str_or_null().ok().flatten() == Some(connector.as_str()));
            Ok(self.newest(&sql, [], since, of)?.into_iter().filter(|&is_of| is_of).count())
        };
        Ok(RecentDrift { found: count("drift.found")?, is_omitted: count("drift.omitted")? > 0 })
    }

    /// The members with a grant that is live by the clock.
    pub fn members_with_live_grants(&self, now: Timestamp) -> Result<Vec<Name>, Error> {
        let sql = "SELECT DISTINCT member FROM grant
             WHERE ended_at IS NULL AND starts_at <= ?1 AND (ends_at IS NULL OR ends_at > ?1) ORDER BY +member";
        self.rows(sql, [now.unix()], |row| row::parsed(row, 0))
    }

    /// The hash of an entry, if the log has it.
    pub fn hash_of(&self, seq: i64) -> Result<Option<Hash>, Error> {
        self.one("SELECT hash FROM event WHERE seq = ?1", [seq], |row| Ok(row.get(0)?))
    }
}

impl Write<'_> {
    pub(super) fn project_provisioning(&self, entry: &Entry) -> Result<(), Error> {
        let put =
            |provision: &ProvisionedAccess, condition, error| self.put_provisioning(entry, provision, condition, error);
        let drift = |holding: &Holding| ProvisionedAccess { request: None, member: None, holding: holding.clone() };
        match &entry.event {
            Event::GrantProvisioned(provision) => put(provision, Condition::Granted, None),
            Event::GrantDeprovisioned(Deprovisioned { provision, .. }) => put(provision, Condition::Revoked, None),
            Event::ProvisioningFailed(Failed { provision, operation, why }) => {
                let condition = match operation {
                    ProvisioningOperation::Grant => Condition::GrantFailed,
                    ProvisioningOperation::Revoke => Condition::RevokeFailed,
                };
                put(provision, condition, Some(why))
            }
            Event::DriftFound(Drifted { holding, drift: found }) => {
                self.begin_provisioning(entry, &drift(holding), Condition::Drifted(*found), None)
            }
            Event::DriftResolved(Drifted { holding, drift: found }) => {
                let of = Condition::Drifted(*found);
                match self.open_row(&drift(holding), |condition| condition == of)? {
                    Some(seq) => self.turn_provisioning(entry, seq, Condition::Resolved, None),
                    None => Err(missing()),
                }
            }
            _ => Ok(()),
        }
    }

    /// Changes the open row of this holding and request, or begins one.
    fn put_provisioning(
        &self,
        entry: &Entry,
        provision: &ProvisionedAccess,
        condition: Condition,
        error: Option<&String>,
    ) -> Result<(), Error> {
        match self.open_row(provision, |condition| !condition.is_drift())? {
            Some(seq) => self.turn_provisioning(entry, seq, condition, error),
            None if condition == Condition::Revoked => Err(missing()),
            None => self.begin_provisioning(entry, provision, condition, error),
        }
    }

    fn open_row(&self, provision: &ProvisionedAccess, is: impl Fn(Condition) -> bool) -> Result<Option<i64>, Error> {
        let open = self.open_provisioning_of(provision.request, &provision.holding.login)?;
        let found = open.into_iter().find(|open| open.holding == provision.holding && is(open.condition));
        Ok(found.map(|found| found.seq))
    }

    fn turn_provisioning(
        &self,
        entry: &Entry,
        seq: i64,
        condition: Condition,
        error: Option<&String>,
    ) -> Result<(), Error> {
        let sql =
            "UPDATE provisioning SET since = CASE condition WHEN ?2 THEN since ELSE ?4 END, condition = ?2, error = ?3,
             recorded_at = ?4 WHERE seq = ?1";
        one(self, sql, params![seq, condition.as_str(), error, entry.at.unix()])
    }

    fn begin_provisioning(
        &self,
        entry: &Entry,
        provision: &ProvisionedAccess,
        condition: Condition,
        error: Option<&String>,
    ) -> Result<(), Error> {
        let ProvisionedAccess { request, member, holding } = provision;
        let sql = "INSERT INTO provisioning (seq, request, member, connector, login, parameters, condition, error, since, recorded_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9)";
        let values = params![
            entry.seq,
            request.map(RequestId::get),
            member.as_ref().map(Name::as_str),
            holding.connector.as_str(),
            holding.login.as_str(),
            to_json(&holding.parameters)?,
            condition.as_str(),
            error,
            entry.at.unix()
        ];
        one(self, sql, values)
    }
}

fn missing() -> Error {
    Error::Internal { message: "what a connector took back is not on record".to_owned() }
}
