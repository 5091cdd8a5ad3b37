//! Inboxes: the notifications of each member.

use rusqlite::params;

use super::read::{PAGE, Page, Read, agree};
use super::{Error, Write, row};
use crate::domain::name::Name;
use crate::domain::notification::NotificationKind;
use crate::domain::time::Timestamp;
use crate::protocol::COUNTED;

/// A notification in a member's inbox.
pub struct InboxItem {
    pub id: i64,
    pub notice: NotificationKind,
    /// The log entry that it is about.
    pub seq: i64,
    pub read_at: Option<Timestamp>,
}

impl Read<'_> {
    /// The number of a member's unread notifications, up to `COUNTED` + 1.
    pub fn unread(&self, member: &Name) -> Result<u64, Error> {
        self.count_notifications(member, false, i64::MAX)
    }

    /// The number of a member's notifications with numbers below `before`, up to `COUNTED` + 1. Reads only the index.
    pub fn count_notifications(&self, member: &Name, all: bool, before: i64) -> Result<u64, Error> {
        let unread = if all { "" } else { "AND read_at IS NULL" };
        let most = COUNTED + 1;
        let sql =
            format!("SELECT id FROM notification WHERE member = ?1 AND id < ?2 {unread} ORDER BY id DESC LIMIT {most}");
        let ids: Vec<i64> = self.rows(&sql, params![member.as_str(), before], |row| Ok(row.get(0)?))?;
        // Those before the entry that added this member are for another person who had the name.
        let sql = "SELECT n.seq >= m.since FROM notification n, member m WHERE n.id = ?1 AND m.name = ?2";
        let is_theirs =
            |id: i64| Ok::<_, Error>(self.one(sql, params![id, member.as_str()], |row| Ok(row.get(0)?))? == Some(true));
        let (mut theirs, mut others) = (0, ids.len());
        let mut middle = others.saturating_sub(1);
        while theirs < others {
            if is_theirs(ids[middle])? {
                theirs = middle + 1;
            } else {
                others = middle;
            }
            middle = usize::midpoint(theirs, others);
        }
        Ok(theirs as u64)
    }

    /// Up to `most` of a member's notifications with numbers below `before`, newest first.
    pub fn notifications_before(
        &self,
        member: &Name,
        all: bool,
        before: i64,
        most: usize,
    ) -> Result<Page<InboxItem>, Error> {
        let most = most.min(PAGE);
        let unread = if all { "" } else { "AND i.read_at IS NULL" };
        let sql = format!(
            "SELECT n.id, n.kind, n.seq, n.read_at, n.member = ?1, n.seq < m.since
             FROM member m CROSS JOIN notification i CROSS JOIN notification n ON n.id = i.id
             WHERE m.name = ?1 AND i.member = ?1 AND i.id < ?2 {unread} ORDER BY i.id DESC"
        );
        let mut statement = self.statement(&sql)?;
        let mut found = statement.query(params![member.as_str(), before])?;
        let mut rows = Vec::new();
        while rows.len() < most
            && let Some(row) = found.next()?
        {
            agree(row.get(4)?, "of notifications by member")?;
            // The rest is for another person who had this name.
            if row.get(5)? {
                break;
            }
            rows.push(InboxItem {
                id: row.get(0)?,
                notice: row::parsed(row, 1)?,
                seq: row.get(2)?,
                read_at: row::maybe_time(row, 3)?,
            });
        }
        Ok(Page { last: rows.len() < most, rows })
    }

    /// Whether a notification is this member's.
    pub fn has_notification(&self, member: &Name, id: i64) -> Result<bool, Error> {
        let sql = "SELECT 1 FROM notification n JOIN member m ON m.name = n.member
             WHERE n.id = ?1 AND n.member = ?2 AND n.seq >= m.since";
        Ok(self.one(sql, params![id, member.as_str()], |_| Ok(()))?.is_some())
    }
}

impl Write<'_> {
    /// Marks one of a member's notifications as read. Returns the number that changed.
    pub fn mark_read(&self, member: &Name, id: i64, now: Timestamp) -> Result<u64, Error> {
        let sql = "UPDATE notification SET read_at = ?1 WHERE id = ?2 AND +member = ?3 AND read_at IS NULL
                 AND seq >= (SELECT since FROM member WHERE name = ?3)";
        let marked = self.conn().prepare_cached(sql)?.execute(params![now.unix(), id, member.as_str()])?;
        if marked > 0 {
            self.note_marked(member)?;
        }
        Ok(marked as u64)
    }
}
