//! Recertifications: reviews of what people hold.

use rusqlite::{Params, Row, params};

use super::project::{one, to_json};
use super::read::{Read, agree};
use super::{Error, Write, row};
use crate::domain::event::Entry;
use crate::domain::recertification::{
    Cancellation, ClosedRecertification, ItemDecision, ItemId, ItemOutcome, Recertification, RecertificationId,
    RecertificationItem, StartedRecertification,
};
use crate::domain::time::Timestamp;

/// The columns of a row, in the order in which `recertification` reads them.
pub(super) const RECERTIFICATION: &str =
    "c.id, c.seq, c.started_at, c.by, c.selection, c.due, c.remind_at, c.closed_at, c.cancelled";
/// The same for `recertification_item`.
pub(super) const RECERTIFICATION_ITEM: &str = "item, outcome";

/// A recertification without its items.
pub(super) fn recertification(row: &Row<'_>, column: usize) -> Result<Recertification, Error> {
    Ok(Recertification {
        id: RecertificationId::try_from(row.get::<_, i64>(column)?).map_err(Error::damaged)?,
        seq: row.get(column + 1)?,
        started_at: row::time(row, column + 2)?,
        by: row::parsed(row, column + 3)?,
        selection: row::json(row, column + 4)?,
        due: row::time(row, column + 5)?,
        remind_at: row::maybe_time(row, column + 6)?,
        closed_at: row::maybe_time(row, column + 7)?,
        cancelled: row::maybe_json(row, column + 8)?,
        items: Vec::new(),
    })
}

pub(super) fn recertification_item(row: &Row<'_>, column: usize) -> Result<RecertificationItem, Error> {
    Ok(RecertificationItem { item: row::json(row, column)?, outcome: row::maybe_json(row, column + 1)? })
}

impl Read<'_> {
    pub fn next_recertification(&self) -> Result<RecertificationId, Error> {
        let last: Option<i64> =
            self.conn.prepare_cached("SELECT max(id) FROM recertification")?.query_row([], |row| row.get(0))?;
        RecertificationId::try_from(last.unwrap_or(0) + 1).map_err(Error::damaged)
    }

    pub fn recertification(&self, id: RecertificationId) -> Result<Option<Recertification>, Error> {
        Ok(self.recertifications("c.id = ?1", [id.get()])?.pop())
    }

    /// All that were not closed yet, oldest first.
    pub fn open_recertifications(&self) -> Result<Vec<Recertification>, Error> {
        let open = self.recertifications("c.closed_at IS NULL ORDER BY c.id", [])?;
        agree(open.iter().all(|found| found.closed_at.is_none()), "recertification_open")?;
        Ok(open)
    }

    /// Every one, newest first.
    pub fn all_recertifications(&self) -> Result<Vec<Recertification>, Error> {
        self.recertifications("true ORDER BY c.id DESC", [])
    }

    /// Those that are due or whose reviewers are to be reminded, oldest first.
    pub fn recertifications_to_tend(&self, now: Timestamp) -> Result<Vec<Recertification>, Error> {
        self.recertifications("c.closed_at IS NULL AND (c.due <= ?1 OR c.remind_at <= ?1) ORDER BY c.id", [now.unix()])
    }

    /// The numbers of those that began by this entry and were open at this time or later, newest first.
    pub fn recertifications_open_since(&self, last: i64, since: Timestamp) -> Result<Vec<RecertificationId>, Error> {
        let sql = "SELECT id FROM recertification WHERE seq <= ?1 AND (closed_at IS NULL OR closed_at >= ?2)
             ORDER BY id DESC";
        self.rows(sql, [last, since.unix()], |row| {
            RecertificationId::try_from(row.get::<_, i64>(0)?).map_err(Error::damaged)
        })
    }

    /// Those that were due by this time and are not closed, oldest first, without their items.
    pub fn overdue_recertifications(&self, now: Timestamp) -> Result<Vec<Recertification>, Error> {
        let sql = format!(
            "SELECT {RECERTIFICATION} FROM recertification c WHERE c.closed_at IS NULL AND c.due <= ?1 ORDER BY c.id"
        );
        self.rows(&sql, [now.unix()], |row| recertification(row, 0))
    }

    fn recertifications(&self, clause: &str, params: impl Params) -> Result<Vec<Recertification>, Error> {
        let sql = format!("SELECT {RECERTIFICATION} FROM recertification c WHERE {clause}");
        let mut found = self.rows(&sql, params, |row| recertification(row, 0))?;
        for one in &mut found {
            let sql = format!(
                "SELECT {RECERTIFICATION_ITEM}, number FROM recertification_item WHERE recertification = ?1 ORDER BY number"
            );
            let items =
                self.rows(&sql, [one.id.get()], |row| Ok((row.get::<_, i64>(2)?, recertification_item(row, 0)?)))?;
            // An item is found by its place.
            let is_whole = items.iter().zip(1..).all(|((number, _), place)| *number == place);
            agree(is_whole, "of the items of recertifications")?;
            one.items = items.into_iter().map(|(_, item)| item).collect();
        }
        Ok(found)
    }
}

impl Write<'_> {
    pub(super) fn start_recertification(&self, entry: &Entry, started: &StartedRecertification) -> Result<(), Error> {
        let StartedRecertification { recertification, by, selection, due, remind_at, items } = started;
        one(
            self,
            "INSERT INTO recertification (id, seq, started_at, by, selection, due, remind_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                recertification.get(),
                entry.seq,
                entry.at.unix(),
                by.as_str(),
                to_json(selection)?,
                due.unix(),
                remind_at.unix()
            ],
        )?;
        let sql = "INSERT INTO recertification_item (recertification, number, item) VALUES (?1, ?2, ?3)";
        for (item, number) in items.iter().zip(1..) {
            one(self, sql, params![recertification.get(), number, to_json(item)?])?;
        }
        Ok(())
    }

    pub(super) fn decide_item(&self, entry: &Entry, decision: &ItemDecision) -> Result<(), Error> {
        let ItemDecision { item, by, verdict, reason, .. } = decision.clone();
        self.put_outcome(item, &ItemOutcome::Decided { by, verdict, reason, at: entry.at })
    }

    pub(super) fn note_reminder(&self, id: RecertificationId) -> Result<(), Error> {
        let sql = "UPDATE recertification SET remind_at = NULL WHERE id = ?1 AND closed_at IS NULL";
        one(self, sql, [id.get()])
    }

    pub(super) fn close_recertification(&self, entry: &Entry, closed: &ClosedRecertification) -> Result<(), Error> {
        let ClosedRecertification { recertification, not_kept } = closed;
        let sql = "UPDATE recertification SET closed_at = ?2 WHERE id = ?1 AND closed_at IS NULL";
        one(self, sql, [recertification.get(), entry.at.unix()])?;
        for &number in not_kept {
            self.put_outcome(ItemId { recertification: *recertification, number }, &ItemOutcome::NotKept)?;
        }
        Ok(())
    }

    pub(super) fn cancel_recertification(
        &self,
        entry: &Entry,
        id: RecertificationId,
        cancellation: &Cancellation,
    ) -> Result<(), Error> {
        let sql = "UPDATE recertification SET closed_at = ?2, cancelled = ?3 WHERE id = ?1 AND closed_at IS NULL";
        one(self, sql, params![id.get(), entry.at.unix(), to_json(cancellation)?])
    }

    fn put_outcome(&self, item: ItemId, outcome: &ItemOutcome) -> Result<(), Error> {
        let sql = "UPDATE recertification_item SET outcome = ?3
             WHERE recertification = ?1 AND number = ?2 AND outcome IS NULL";
        one(self, sql, params![item.recertification.get(), item.number, to_json(outcome)?])
    }
}
