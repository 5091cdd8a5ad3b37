//! Read marks, as hosts that share a log exchange them: for each member, which notifications were read on any host.

use rusqlite::params;
use serde_json as json;

use super::shared::problem;
use super::{Error, Store, Write, open};
use crate::domain::name::Name;
use crate::log::EngineError;

/// The most ranges that other hosts get: about 50 kB.
const MOST_RANGES: usize = 1400;

/// The member's notifications from the first number to the second, read at this time.
type ReadRange = (i64, i64, i64);

impl Write<'_> {
    /// Notes that other hosts do not know what was marked here. Does nothing where the log is not shared.
    pub(super) fn note_marked(&self, member: &Name) -> Result<(), Error> {
        let sql = "INSERT INTO read_mark SELECT ?1, 0, 1 FROM replica WHERE true
             ON CONFLICT DO UPDATE SET changes = changes + 1";
        self.conn().prepare_cached(sql)?.execute([member.as_str()])?;
        Ok(())
    }

    /// What was last taken over, and how many changes here the others do not know.
    fn read_mark(&self, member: &str) -> Result<(i64, i64), Error> {
        let sql = "SELECT version, changes FROM read_mark WHERE member = ?1";
        Ok(self.one(sql, [member], |row| Ok((row.get(0)?, row.get(1)?)))?.unwrap_or_default())
    }

    /// Takes over this version. `changes`: those that the others know by now.
    fn set_read_mark(&self, member: &str, version: i64, changes: i64) -> Result<(), Error> {
        let sql = "INSERT INTO read_mark VALUES (?1, ?2, 0)
             ON CONFLICT DO UPDATE SET version = ?2, changes = changes - ?3";
        self.conn().prepare_cached(sql)?.execute(params![member, version, changes])?;
        Ok(())
    }

    /// Marks what is read on other hosts. The first time counts.
    fn merge_read(&self, member: &str, ranges: &[ReadRange]) -> Result<(), Error> {
        let sql = "UPDATE notification SET read_at = ?4
             WHERE member = ?1 AND id BETWEEN ?2 AND ?3 AND (read_at IS NULL OR read_at > ?4)";
        for (first, last, at) in ranges {
            self.conn().prepare_cached(sql)?.execute(params![member, first, last, at])?;
        }
        Ok(())
    }

    /// What is read here, as ranges between which the member has unread ones, or ones that were read at another time.
    fn read_ranges(&self, member: &str) -> Result<Vec<ReadRange>, Error> {
        let sql = "SELECT id, read_at FROM notification WHERE member = ?1 ORDER BY id";
        let all: Vec<(i64, Option<i64>)> = self.rows(sql, [member], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let exact = ranges(&all, false);
        if exact.len() <= MOST_RANGES {
            return Ok(exact);
        }
        let mut rough = ranges(&all, true);
        Ok(rough.split_off(rough.len().saturating_sub(MOST_RANGES)))
    }
}

/// `rough`: whenever they were read.
fn ranges(all: &[(i64, Option<i64>)], rough: bool) -> Vec<ReadRange> {
    let mut ranges: Vec<ReadRange> = Vec::new();
    // Whether the one before belongs to the last range.
    let mut open = false;
    for &(id, read_at) in all {
        match (read_at, ranges.last_mut()) {
            (Some(at), Some((_, last, of))) if open && (rough || *of == at) => (*last, *of) = (id, at.max(*of)),
            (Some(at), _) => ranges.push((id, id, at)),
            (None, _) => {}
        }
        open = read_at.is_some();
    }
    ranges
}

impl Store {
    /// Takes over what the member read on other hosts, and tells them what they read here. Does nothing where the log is not
    /// shared.
    pub fn share_read_marks(&self, member: &Name) -> Result<(), Error> {
        if self.shares_log()? { self.share_marks(member.as_str()) } else { Ok(()) }
    }

    /// Tells other hosts what was marked here while they could not be reached.
    pub(super) fn share_new_read_marks(&self) -> Result<(), Error> {
        let sql = "SELECT member FROM read_mark WHERE changes > 0";
        let members: Vec<String> = self.read(|read| read.rows(sql, [], |row| Ok(row.get(0)?)))?;
        members.iter().try_for_each(|member| self.share_marks(member))
    }

    fn share_marks(&self, member: &str) -> Result<(), Error> {
        const TRIES: usize = 10;
        let conn = self.connection(open::connect)?;
        let key = format!("read/{member}");
        for _ in 0..TRIES {
            let side = self.with(|engine, _| engine.side_get(std::slice::from_ref(&key)).map_err(problem))?;
            let (version, value) = side.into_iter().next().map_or((0, None), |side| (side.version, side.value));
            let read: Vec<ReadRange> = value.and_then(|value| json::from_str(&value).ok()).unwrap_or_default();
            let (changes, ours) = self.transact(&conn, |write| -> Result<_, Error> {
                let (taken, changes) = write.read_mark(member)?;
                if taken != version {
                    write.merge_read(member, &read)?;
                    write.set_read_mark(member, version, 0)?;
                }
                Ok((changes, if changes > 0 { write.read_ranges(member)? } else { Vec::new() }))
            })?;
            if changes == 0 {
                return Ok(());
            }
            let ours = json::to_string(&ours).map_err(|error| Error::Internal { message: error.to_string() })?;
            let set = self.with(|engine, _| match engine.side_set(&key, version, &ours, &[]) {
                // A host that only reads keeps its marks to itself.
                Err(EngineError::Refused(_) | EngineError::Forbidden(_)) => Ok(Some(version)),
                set => set.map_err(problem),
            })?;
            if let Some(version) = set {
                return self.transact(&conn, |write| write.set_read_mark(member, version, changes));
            }
        }
        Err(Error::Busy)
    }
}

#[cfg(test)]
mod tests {
    use super::ranges;

    #[test]
    fn what_is_read_is_told_in_ranges() {
        let all = [(1, Some(5)), (4, Some(5)), (7, None), (8, Some(5)), (9, Some(6)), (12, Some(6))];
        assert_eq!(ranges(&all, false), [(1, 4, 5), (8, 8, 5), (9, 12, 6)]);
        assert_eq!(ranges(&all, true), [(1, 4, 5), (8, 12, 6)]);
        assert_eq!(ranges(&[], false), []);
    }
}
