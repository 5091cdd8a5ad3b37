//! What the log and the tables say about a moment of the past.
//!
//! The log counts up to its last entry of that time. A grant never changes once it is given, except for its end, so the
//! table of grants tells which were live then. Requests change, and their entries tell how they were.

use rusqlite::params;
use rusqlite::types::Value;

use super::log::RARE;
use super::read::{Read, agree};
use super::{Error, row};
use crate::domain::event::{Entry, Event};
use crate::domain::grant::Grant;
use crate::domain::name::Name;
use crate::domain::terms::RequestId;
use crate::domain::time::Timestamp;

/// A moment of the past, and the last entry that was recorded by then.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    pub at: Timestamp,
    pub last: i64,
}

impl Read<'_> {
    /// None: the log begins later.
    pub fn moment(&self, at: Timestamp) -> Result<Option<Moment>, Error> {
        let (_, last) = self.entries_between(None, Some(at))?;
        Ok((last > 0).then_some(Moment { at, last }))
    }

    /// The entries that created and changed the team, oldest first.
    pub fn team_entries(&self, moment: Moment) -> Result<Vec<Entry>, Error> {
        let sql = format!(
            "SELECT body FROM event WHERE action IN ('team.initialized', 'team.applied') AND {RARE} AND seq <= ?1
             ORDER BY seq"
        );
        self.rows(&sql, [moment.last], |row| {
            let entry: Entry = row::json(row, 0)?;
            let changes_team = matches!(entry.event, Event::TeamInitialized { .. } | Event::TeamApplied { .. });
            agree(changes_team, "event_by_action")?;
            Ok(entry)
        })
    }

    /// The entries that filed and changed a request, oldest first.
    pub fn entries_changing(&self, id: RequestId, moment: Moment) -> Result<Vec<Entry>, Error> {
        let sql = "SELECT body FROM event WHERE request = ?1 AND seq <= ?2 AND action NOT IN
                 ('attempt.refused', 'grant.provisioned', 'grant.deprovisioned', 'provisioning.failed',
                  'certificate.issued', 'session.opened', 'session.closed')
             ORDER BY seq";
        self.rows(sql, params![id.get(), moment.last], |row| {
            let entry: Entry = row::json(row, 0)?;
            agree(entry.event.request() == Some(id), "event_by_request")?;
            Ok(entry)
        })
    }

    /// The grants that were live. `member`: only this member's.
    pub fn grants_live_at(&self, moment: Moment, member: Option<&Name>) -> Result<Vec<Grant>, Error> {
        let mut values = vec![Value::Integer(moment.at.unix()), Value::Integer(moment.last)];
        let of = if member.is_some() { "g.member = ?3 AND" } else { "" };
        values.extend(member.map(|member| member.to_string().into()));
        // While the clock was ahead, an end was recorded at a time that came only later.
        let sql = format!(
            "SELECT {} FROM grant g WHERE {of} g.starts_at <= ?1 AND (g.ends_at IS NULL OR g.ends_at > ?1)
                 AND (g.ended_at IS NULL OR g.ended_at > ?1 AND NOT EXISTS (
                     SELECT 1 FROM event e WHERE e.request = g.request AND e.seq <= ?2
                         AND e.action IN ('grant.expired', 'grant.revoked')))",
            row::GRANT
        );
        self.rows(&sql, rusqlite::params_from_iter(values), |row| {
            let grant = row::grant(row, 0)?;
            agree(member.is_none_or(|member| grant.member == *member), "grant_by_member")?;
            // Its end was not known then.
            Ok(Grant { ended: None, ..grant })
        })
    }
}
