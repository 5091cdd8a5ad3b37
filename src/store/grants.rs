//! Grants: of a member, and by their start and end.

use std::collections::BTreeMap;

use rusqlite::{Params, params};

use super::read::{Read, agree, limit};
use super::{Error, row};
use crate::domain::duration::Length;
use crate::domain::grant::Grant;
use crate::domain::member::Login;
use crate::domain::name::Name;
use crate::domain::terms::RequestId;
use crate::domain::time::Timestamp;

impl Read<'_> {
    /// A member's grants whose end is not recorded.
    pub(super) fn grants_of(&self, member: &Name) -> Result<Vec<Grant>, Error> {
        // Finds only the numbers first. Mostly there are none, and the statement that reads a whole grant is slow to prepare.
        let sql = "SELECT request FROM grant WHERE member = ?1 AND ended_at IS NULL";
        let ids = self.rows(sql, [member.as_str()], |row| row::request_id(row, 0))?;
        let sql = format!("SELECT {} FROM grant g WHERE request = ?1", row::GRANT);
        let mut grants = Vec::with_capacity(ids.len());
        for id in ids {
            let grant: Option<Grant> = self.one(&sql, [id.get()], |row| row::grant(row, 0))?;
            let is_it = |grant: &Grant| grant.member == *member && grant.ended.is_none();
            agree(grant.as_ref().is_some_and(is_it), "grant_by_member")?;
            grants.extend(grant);
        }
        Ok(grants)
    }

    /// Grants that an index finds as `i`, read again by their number as `g`.
    fn grants(&self, clause: &str, params: impl Params) -> Result<Vec<Grant>, Error> {
        let columns = row::GRANT;
        let sql = format!("SELECT {columns} FROM grant i CROSS JOIN grant g ON g.request = i.request WHERE {clause}");
        self.rows(&sql, params, |row| row::grant(row, 0))
    }

    /// All grants of a member, ended ones included.
    pub fn all_grants(&self, member: &Name) -> Result<Vec<Grant>, Error> {
        let mut grants = self.grants_of(member)?;
        let sql = format!("SELECT {} FROM grant g WHERE member = ?1 AND ended_at IS NOT NULL", row::GRANT);
        grants.extend(self.rows(&sql, [member.as_str()], |row| row::grant(row, 0))?);
        Ok(grants)
    }

    /// The grants of a person that may count together with one that starts at `from`: those whose end is not recorded, and
    /// the chain of ended ones before them in which each ends at most `apart` seconds before the next starts.
    ///
    /// A person is a Unix user, who may have had other names, and other people may have had this name.
    pub fn grants_near(
        &self,
        member: &Name,
        login: Option<&Login>,
        from: Timestamp,
        apart: i64,
    ) -> Result<Vec<Grant>, Error> {
        let names = self.names_of_login(member, login)?;
        let mut grants: BTreeMap<RequestId, Grant> = BTreeMap::new();
        for name in &names {
            grants.extend(self.grants_of(name)?.into_iter().map(|grant| (grant.request, grant)));
        }
        let mut earliest = grants.values().map(|grant| grant.starts_at).chain([from]).min().unwrap_or(from).unix();
        let columns = row::GRANT;
        let sql = format!(
            "SELECT {columns} FROM grant i CROSS JOIN grant g ON g.request = i.request
             WHERE i.member = ?1 AND i.ended_at IS NOT NULL ORDER BY i.ended_at DESC"
        );
        let mut statement = self.statement(&sql)?;
        // An earlier grant found under one name can extend the chain under another, so this repeats until nothing changes.
        loop {
            let before = earliest;
            for name in &names {
                let mut rows = statement.query([name.as_str()])?;
                while let Some(row) = rows.next()? {
                    let grant = row::grant(row, 0)?;
                    agree(grant.member == *name && grant.ended.is_some(), "grant_by_member")?;
                    let ended = grant.ended.as_ref().map_or(i64::MAX, |ended| ended.at.unix());
                    if ended < earliest - apart {
                        break;
                    }
                    earliest = earliest.min(grant.starts_at.unix());
                    grants.insert(grant.request, grant);
                }
            }
            if earliest == before || names.len() == 1 {
                break;
            }
        }
        let mut theirs = Vec::new();
        for (id, grant) in grants {
            let of = self.one("SELECT requester_login FROM request WHERE id = ?1", [id.get()], |row| {
                row::maybe_parsed::<Login>(row, 0)
            })?;
            let same = match (of.flatten(), login) {
                (Some(of), Some(login)) => of == *login,
                (None, _) | (_, None) => grant.member == *member,
            };
            theirs.extend(same.then_some(grant));
        }
        Ok(theirs)
    }

    /// Whether the member of this grant has another grant that is active at a time.
    pub fn has_another_grant(&self, grant: &Grant, at: Timestamp) -> Result<bool, Error> {
        let sql = "SELECT g.member = ?1 AND g.ended_at IS NULL FROM grant i CROSS JOIN grant g ON g.request = i.request
             WHERE i.member = ?1 AND i.ended_at IS NULL AND i.ends_at > ?2 AND i.request <> ?3 AND i.starts_at <= ?2
             UNION ALL
             SELECT g.member = ?1 AND g.ended_at IS NULL FROM grant i CROSS JOIN grant g ON g.request = i.request
             WHERE i.member = ?1 AND i.ended_at IS NULL AND i.ends_at IS NULL AND i.request <> ?3 AND i.starts_at <= ?2
             LIMIT 1";
        let found =
            self.one(sql, params![grant.member.as_str(), at.unix(), grant.request.get()], |row| Ok(row.get(0)?))?;
        agree(found.unwrap_or(true), "grant_by_member")?;
        Ok(found.is_some())
    }

    /// Grants that have ended and whose end is not recorded yet, earliest first.
    pub fn lapsed_grants(&self, now: Timestamp, most: usize) -> Result<Vec<Grant>, Error> {
        self.grants_ending(i64::MIN, now.unix(), "", most)
    }

    /// Active grants whose member `lifecycle::warn` now warns, in the order of their ends, after the grant `after`.
    pub fn unwarned_grants(
        &self,
        now: Timestamp,
        within: Length,
        after: Option<(Timestamp, RequestId)>,
        most: usize,
    ) -> Result<Vec<Grant>, Error> {
        let until = now.plus(within);
        let (end, id) = after.map_or((now.unix(), 0), |(end, id)| (end.unix(), id.get()));
        let within = within.seconds();
        let and = format!(
            "AND g.warned = 0 AND (i.ends_at - i.starts_at > {within} OR (i.ends_at - {now}) * 4 <= i.ends_at - i.starts_at)
             AND (i.ends_at, i.request) > ({end}, {id})",
            now = now.unix()
        );
        self.grants_ending(now.unix(), until.unix(), &and, most)
    }

    fn grants_ending(&self, after: i64, until: i64, and: &str, most: usize) -> Result<Vec<Grant>, Error> {
        let clause = format!(
            "i.ended_at IS NULL AND i.ends_at IS NOT NULL AND i.ends_at > ?1 AND i.ends_at <= ?2 {and}
             ORDER BY i.ends_at, i.request LIMIT ?3"
        );
        let grants = self.grants(&clause, params![after, until, limit(most)])?;
        let ends = |grant: &Grant| grant.ends_at.is_some_and(|ends| ends.unix() > after && ends.unix() <= until);
        agree(grants.iter().all(|grant| grant.ended.is_none() && ends(grant)), "grant_by_end")?;
        Ok(grants)
    }

    /// Grants that have started and whose start is not recorded yet.
    pub fn grants_to_begin(&self, now: Timestamp, most: usize) -> Result<Vec<Grant>, Error> {
        let clause = "NOT i.begun AND i.ended_at IS NULL AND i.starts_at <= ?1 ORDER BY i.starts_at LIMIT ?2";
        let grants = self.grants(clause, params![now.unix(), limit(most)])?;
        let begins = |grant: &Grant| !grant.begun && grant.ended.is_none() && grant.starts_at <= now;
        agree(grants.iter().all(begins), "grant_to_begin")?;
        Ok(grants)
    }

    /// Grants that are recorded as started but start after this time.
    pub fn grants_begun_after(&self, time: Timestamp, most: usize) -> Result<Vec<Grant>, Error> {
        let sql = format!(
            "SELECT {} FROM grant g WHERE begun AND ended_at IS NULL AND starts_at > ?1 ORDER BY +request LIMIT ?2",
            row::GRANT
        );
        self.rows(&sql, params![time.unix(), limit(most)], |row| row::grant(row, 0))
    }

    /// The number of grants with an end that is not recorded yet.
    pub fn time_bound_grants(&self) -> Result<u64, Error> {
        self.count("SELECT count(*) FROM grant WHERE ended_at IS NULL AND ends_at IS NOT NULL", [])
    }
}
