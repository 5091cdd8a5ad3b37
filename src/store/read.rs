//! What can be read. Each function is one question; what the answer means is for the domain to say.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Params, Row, params, params_from_iter};

use super::{Error, row, window};
use crate::command::{AuditFilter, COUNTED, ListFilter, RawView};
use crate::domain::audit::{self, Hash};
use crate::domain::duration::Length;
use crate::domain::entitlement::{CatalogItem, Principal};
use crate::domain::event::Entry;
use crate::domain::name::Name;
use crate::domain::notification::NotificationKind;
use crate::domain::request::{Decision, Grant, Recorded, Request, RequestId, State};
use crate::domain::resource::{Kind, Resource};
use crate::domain::role::Role;
use crate::domain::team::{
    Assignee, Connection as Account, Environment, Feature, Group, Header, Login, Scope, Target, Team,
};
use crate::domain::time::Timestamp;

/// One consistent state of the database.
pub struct Read<'c> {
    pub(super) conn: &'c Connection,
}

/// The end of the audit log.
#[derive(Debug, Clone, Copy)]
pub struct Head {
    pub seq: i64,
    pub at: Timestamp,
    pub hash: Hash,
}

/// A notification in somebody's inbox, and the entry that it tells of.
pub struct InboxRow {
    pub id: i64,
    pub notice: NotificationKind,
    pub seq: i64,
    pub read_at: Option<Timestamp>,
}

/// Where a page of a list ends: the next one begins below.
pub struct Page<T> {
    pub rows: Vec<T>,
    pub last: bool,
}

/// Whose requests a list has: this person's, and these.
pub struct Only {
    pub member: Name,
    pub login: Login,
    /// The entry that brought this person: what is older and has only their name is somebody else's.
    pub since: i64,
    pub and: Vec<RequestId>,
}

/// Rows of a page: enough that the cost of a query is shared, few enough to be held.
pub(super) const PAGE: usize = 500;
/// Bytes of entries that a page holds, and at most one entry more.
const PAGE_BYTES: usize = 4 << 20;
/// Refused attempts are counted among so many entries at most: 2 milliseconds of reading.
const REFUSALS_AMONG: i64 = 2000;

/// Requests by their number.
const REQUESTS: &str = "request r LEFT JOIN grant g ON g.request = r.id";
/// Requests found by an index, as `i`. In a file that was edited, an index can differ from its table. So each row that an
/// index finds is read again by its number, as `r`, and compared. (Otherwise SQLite returns a column's value from the
/// index where it can, and does not check a condition that a partial index implies.)
const INDEXED: &str = "request i CROSS JOIN request r ON r.id = i.id LEFT JOIN grant g ON g.request = r.id";

/// Refuses a row that differs from what its index says.
pub(super) fn agree(same: bool, index: &str) -> Result<(), Error> {
    if same { Ok(()) } else { Err(Error::damaged(format!("the index {index} disagrees with its table"))) }
}

impl<'c> Read<'c> {
    pub(super) fn new(conn: &'c Connection) -> Read<'c> {
        Read { conn }
    }

    pub(super) fn rows<T>(
        &self,
        sql: &str,
        params: impl Params,
        mut read: impl FnMut(&Row<'_>) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let mut statement = self.conn.prepare_cached(sql)?;
        let mut rows = statement.query(params)?;
        let mut all = Vec::new();
        while let Some(row) = rows.next()? {
            all.push(read(row)?);
        }
        Ok(all)
    }

    pub(super) fn one<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        let mut statement = self.conn.prepare_cached(sql)?;
        let mut rows = statement.query(params)?;
        rows.next()?.map(read).transpose()
    }

    pub(super) fn count(&self, sql: &str, params: impl Params) -> Result<u64, Error> {
        let count: i64 = self.conn.prepare_cached(sql)?.query_row(params, |row| row.get(0))?;
        Ok(count.unsigned_abs())
    }

    // The log

    pub fn head(&self) -> Result<Head, Error> {
        self.one("SELECT seq, at, hash FROM event ORDER BY seq DESC LIMIT 1", [], |row| {
            Ok(Head { seq: row.get(0)?, at: row::time(row, 1)?, hash: row.get(2)? })
        })?
        .ok_or_else(|| Error::damaged("the audit log is empty"))
    }

    /// The latest time on the record: of the last entry, or of the last run of `expire`.
    /// Nothing happens before it, whatever the clock says.
    pub fn last_time(&self) -> Result<Timestamp, Error> {
        let sql = "SELECT max(at, coalesce((SELECT expire_ran_at FROM team), 0)) FROM event ORDER BY seq DESC LIMIT 1";
        self.one(sql, [], |row| row::time(row, 0))?.ok_or_else(|| Error::damaged("the audit log is empty"))
    }

    /// The number of the last entry about a request.
    pub fn last_entry_about(&self, id: RequestId) -> Result<i64, Error> {
        let sql = "SELECT max(seq) FROM event WHERE request = ?1";
        let last: Option<i64> = self.conn.prepare_cached(sql)?.query_row([id.get()], |row| row.get(0))?;
        let Some(last) = last else { return Ok(0) };
        let about = self.one("SELECT request FROM event WHERE seq = ?1", [last], |row| Ok(row.get(0)?))?;
        agree(about == Some(Some(id.get())), "event_by_request")?;
        Ok(last)
    }

    /// The entry that granted access, and when.
    pub fn granted_by(&self, id: RequestId) -> Result<Option<(i64, Timestamp)>, Error> {
        let sql = "SELECT seq, at FROM event WHERE request = ?1 AND action IN ('grant.started', 'grant.scheduled')
             ORDER BY seq LIMIT 1";
        self.one(sql, [id.get()], |row| Ok((row.get(0)?, row::time(row, 1)?)))
    }

    pub fn entry(&self, seq: i64) -> Result<Entry, Error> {
        self.one("SELECT body FROM event WHERE seq = ?1", [seq], |row| row::json(row, 0))?
            .ok_or_else(|| Error::damaged(format!("entry {seq} is missing")))
    }

    pub fn entries_about(&self, id: RequestId) -> Result<Vec<Entry>, Error> {
        self.rows("SELECT body FROM event WHERE request = ?1 ORDER BY seq", [id.get()], |row| {
            let entry: Entry = row::json(row, 0)?;
            agree(entry.event.request() == Some(id), "event_by_request")?;
            Ok(entry)
        })
    }

    /// Entries older than `before`, newest first, at most so many.
    pub fn entries_before(&self, filter: &AuditFilter, before: i64, most: usize) -> Result<Page<(Entry, Hash)>, Error> {
        let (clauses, values) = self.audit_clauses(filter)?;
        let most = most.min(PAGE);
        let sql = format!("SELECT body, hash FROM event WHERE seq < ?{clauses} ORDER BY seq DESC LIMIT {most}");
        let page = self.entries(&sql, before, values, most)?;
        let asked = |entry: &Entry| filter.request.is_none() || entry.event.request() == filter.request;
        agree(page.rows.iter().all(|(entry, _)| asked(entry)), "event_by_request")?;
        let acted = |entry: &Entry| filter.action.as_ref().is_none_or(|action| entry.event.action() == action);
        agree(page.rows.iter().all(|(entry, _)| acted(entry)), "event_by_action")?;
        let by = |entry: &Entry| filter.actor.is_none() || entry.actor == filter.actor;
        agree(page.rows.iter().all(|(entry, _)| by(entry)), "event_by_actor")?;
        Ok(page)
    }

    /// Entries newer than `after`, oldest first.
    pub fn entries_after(&self, after: i64) -> Result<Page<(Entry, Hash)>, Error> {
        let sql = format!("SELECT body, hash FROM event WHERE seq > ? ORDER BY seq LIMIT {PAGE}");
        self.entries(&sql, after, Vec::new(), PAGE)
    }

    fn entries(&self, sql: &str, bound: i64, values: Vec<Value>, most: usize) -> Result<Page<(Entry, Hash)>, Error> {
        let params = params_from_iter(std::iter::once(Value::Integer(bound)).chain(values));
        self.page(sql, params, most, |row| Ok((row::json(row, 0)?, row.get(1)?)))
    }

    /// Entries newer than `after` as they are stored, oldest first.
    pub fn raw_entries_after(&self, after: i64) -> Result<Page<RawView>, Error> {
        let sql = format!("SELECT body, hash, seq FROM event WHERE seq > ? ORDER BY seq LIMIT {PAGE}");
        self.page(&sql, [after], PAGE, |row| {
            let seq = row.get(2)?;
            let body = row.get_ref(0)?.as_str();
            let body = body.map_err(|_| Error::damaged(format!("entry {seq} is not a text (UTF-8)")))?.to_owned();
            Ok(RawView { seq, body, hash: audit::hex(row.get_ref(1)?.as_bytes().map_err(Error::damaged)?) })
        })
    }

    /// A page of at most so many entries, whose first column is the body. It ends early where they are large, since a page is
    /// held whole.
    fn page<T>(
        &self,
        sql: &str,
        params: impl Params,
        most: usize,
        read: impl Fn(&Row<'_>) -> Result<T, Error>,
    ) -> Result<Page<T>, Error> {
        let mut statement = self.conn.prepare_cached(sql)?;
        let mut found = statement.query(params)?;
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while let Some(row) = found.next()? {
            bytes += row.get_ref(0)?.as_bytes().map_err(Error::damaged)?.len();
            rows.push(read(row)?);
            if bytes >= PAGE_BYTES {
                return Ok(Page { rows, last: false });
            }
        }
        Ok(Page { last: rows.len() < most, rows })
    }

    fn audit_clauses(&self, filter: &AuditFilter) -> Result<(String, Vec<Value>), Error> {
        let (first, last) = self.entries_between(filter.since, filter.until)?;
        let mut clauses = String::from(" AND seq BETWEEN ? AND ?");
        let mut values = vec![Value::Integer(first), Value::Integer(last)];
        let mut add = |clause: &str, value: Value| {
            clauses += clause;
            values.push(value);
        };
        if let Some(request) = filter.request {
            add(" AND request = ?", Value::Integer(request.get()));
        }
        if let Some(actor) = &filter.actor {
            add(" AND actor = ?", actor.to_string().into());
        }
        match &filter.action {
            // The entries of one request are fewer than those of any action.
            Some(action) if filter.request.is_some() => add(" AND +action = ?", action.clone().into()),
            Some(action) => add(" AND action = ?", action.clone().into()),
            None => {}
        }
        if let Some(since) = filter.since {
            add(" AND at >= ?", Value::Integer(since.unix()));
        }
        if let Some(until) = filter.until {
            add(" AND at <= ?", Value::Integer(until.unix()));
        }
        let rare = filter.action.as_ref().filter(|_| filter.request.is_none()).and_then(|action| window::rare(action));
        clauses.extend(rare.map(|rare| format!(" AND {rare}")));
        Ok((clauses, values))
    }

    /// How many entries there are, or one more than `COUNTED`.
    pub fn count_entries(&self, filter: &AuditFilter, before: i64) -> Result<u64, Error> {
        let (clauses, values) = self.audit_clauses(filter)?;
        let params = params_from_iter(std::iter::once(Value::Integer(before)).chain(values));
        let first = format!("SELECT 1 FROM event WHERE seq < ?{clauses} ORDER BY seq DESC LIMIT {}", COUNTED + 1);
        self.count(&format!("SELECT count(*) FROM ({first})"), params)
    }

    /// How many refused attempts of this person are on the record since then, among the last entries of the log. It runs
    /// under the write lock, so the number of entries that it reads is bounded. In a busier hour it counts too few, and
    /// more is recorded: the limit then holds for each `REFUSALS_AMONG` entries.
    pub fn refusals_since(&self, actor: Option<&Name>, os_user: &str, since: Timestamp) -> Result<u64, Error> {
        // Numbers without a name (#100123) count as one: a person can have thousands of them.
        let sql = "SELECT at, action = 'attempt.refused' AND actor IS ?1
                       AND (os_user = ?2 OR (?2 GLOB '#*' AND os_user GLOB '#*'))
                   FROM event ORDER BY seq DESC LIMIT ?3";
        let mut statement = self.conn.prepare_cached(sql)?;
        let mut rows = statement.query(params![actor.map(Name::as_str), os_user, REFUSALS_AMONG])?;
        let mut count = 0;
        while let Some(row) = rows.next()? {
            if row::time(row, 0)? <= since {
                break;
            }
            count += u64::from(row.get::<_, bool>(1)?);
        }
        Ok(count)
    }

    /// Whether a member of this name ever did anything.
    pub fn has_acted(&self, name: &Name) -> Result<bool, Error> {
        Ok(self.one("SELECT 1 FROM event WHERE actor = ?1 LIMIT 1", [name.as_str()], |_| Ok(()))?.is_some())
    }

    /// Whether the team ever had this: `member:bob`, `target:orders-db`.
    pub fn was_declared(&self, what: &str) -> Result<bool, Error> {
        let sql = format!(
            "SELECT 1 FROM event e,
                 json_each(CASE WHEN json_valid(e.body) THEN e.body ELSE '{{}}' END, '$.event.detail.changes') c
             WHERE e.{} AND e.action IN ('team.initialized', 'team.applied') AND c.value ->> '$.what' = ?1 LIMIT 1",
            window::RARE
        );
        Ok(self.one(&sql, [what], |_| Ok(()))?.is_some())
    }

    // The team

    pub fn team_name(&self) -> Result<Name, Error> {
        let name = self.one("SELECT name FROM team", [], |row| row::parsed(row, 0))?;
        name.ok_or_else(|| Error::damaged("there is no team"))
    }

    pub fn team(&self) -> Result<Team, Error> {
        let members = self.rows("SELECT name, role, login, addresses, timezone, disabled FROM member", [], |row| {
            Ok((row::parsed(row, 0)?, row::member(row, 1)?))
        })?;
        Ok(Team {
            team: Header { name: self.team_name()? },
            members: members.into_iter().collect(),
            groups: self.catalogued("group")?,
            connections: self.catalogued("connection")?,
            targets: self.catalogued("target")?,
            features: self.catalogued("feature")?,
            scopes: self.catalogued("scope")?,
            rules: self.rules()?,
            notifications: self.policy()?,
        })
    }

    /// The connections and targets of the catalogue: what a scope may cover.
    pub fn usable(&self) -> Result<Team, Error> {
        Ok(Team {
            connections: self.catalogued("connection")?,
            targets: self.catalogued("target")?,
            ..Team::named(Header { name: self.team_name()? })
        })
    }

    fn catalogued<T: serde::de::DeserializeOwned>(&self, kind: &str) -> Result<BTreeMap<Name, T>, Error> {
        let rows = self.rows("SELECT name, body FROM catalogue WHERE kind = ?1", [kind], |row| {
            Ok((row::parsed(row, 0)?, row::json(row, 1)?))
        })?;
        Ok(rows.into_iter().collect())
    }

    fn catalogue_body<T: serde::de::DeserializeOwned>(&self, kind: &str, name: &Name) -> Result<Option<T>, Error> {
        let sql = "SELECT body FROM catalogue WHERE kind = ?1 AND name = ?2";
        self.one(sql, [kind, name.as_str()], |row| row::json(row, 0))
    }

    /// What the catalogue says of a resource; None when it has no such.
    pub fn thing(&self, resource: &Resource) -> Result<Option<CatalogItem>, Error> {
        let name = match resource {
            Resource::Role(role) => return Ok(Some(CatalogItem::Role(*role))),
            Resource::Connection(name) | Resource::Target(name) | Resource::Feature(name) | Resource::Scope(name) => {
                name.clone()
            }
        };
        Ok(match resource.kind() {
            Kind::Connection => {
                self.environment(&name)?.map(|environment| CatalogItem::Connection { name, environment })
            }
            Kind::Target => match self.catalogue_body::<Target>("target", &name)? {
                None => None,
                Some(target) => {
                    let mut connections = BTreeMap::new();
                    for connection in target.connections {
                        if let Some(environment) = self.environment(&connection)? {
                            connections.insert(connection, environment);
                        }
                    }
                    Some(CatalogItem::Target { name, connections })
                }
            },
            Kind::Feature => self
                .catalogue_body::<Feature>("feature", &name)?
                .map(|feature| CatalogItem::Feature { name, role: feature.role }),
            Kind::Scope => self.catalogue_body::<Scope>("scope", &name)?.map(|_| CatalogItem::Scope { name }),
            Kind::Role => None,
        })
    }

    fn environment(&self, connection: &Name) -> Result<Option<Environment>, Error> {
        Ok(self.catalogue_body::<Account>("connection", connection)?.map(|found| found.environment))
    }

    /// Every resource that the catalogue names, for suggestions and completion.
    pub fn resource_names(&self) -> Result<Vec<Resource>, Error> {
        let sql = "SELECT kind || ':' || name FROM catalogue WHERE kind IN ('connection', 'target', 'feature', 'scope') ORDER BY 1";
        let mut all = self.rows(sql, [], |row| row::parsed(row, 0))?;
        all.extend([Role::Member, Role::Admin].map(Resource::Role));
        Ok(all)
    }

    pub fn member_names(&self) -> Result<Vec<Name>, Error> {
        self.rows("SELECT name FROM member ORDER BY name", [], |row| row::parsed(row, 0))
    }

    pub fn is_member(&self, name: &Name) -> Result<bool, Error> {
        Ok(self.one("SELECT 1 FROM member WHERE name = ?1", [name.as_str()], |_| Ok(()))?.is_some())
    }

    pub fn member_of_login(&self, login: &Login) -> Result<Option<Name>, Error> {
        let sql = "SELECT name FROM member WHERE login = ?1";
        let Some(name) = self.one(sql, [login.as_str()], |row| row::parsed::<Name>(row, 0))? else { return Ok(None) };
        let sql = "SELECT login FROM member WHERE name = ?1";
        let in_row = self.one(sql, [name.as_str()], |row| row::parsed::<Login>(row, 0))?;
        agree(in_row.as_ref() == Some(login), "of logins")?;
        Ok(Some(name))
    }

    /// A member with all that decides what they may use.
    pub fn person(&self, name: &Name) -> Result<Option<Principal>, Error> {
        let sql = "SELECT role, login, addresses, timezone, disabled, since FROM member WHERE name = ?1";
        let found = self.one(sql, [name.as_str()], |row| Ok((row::member(row, 0)?, row.get(5)?)))?;
        let Some((member, since)) = found else { return Ok(None) };
        let groups: Vec<Name> =
            self.rows("SELECT group_name FROM membership WHERE member = ?1", [name.as_str()], |row| {
                row::parsed(row, 0)
            })?;
        let grants = self.grants_of(name)?;
        let mut scopes = BTreeMap::new();
        // Short statements, run often, cost less than one that does it all: most of it would be its parsing.
        let groups_of = groups.iter().map(|group| Assignee::Group(group.clone()));
        let assignees = Role::ALL.into_iter().map(Assignee::Role).chain([Assignee::Member(name.clone())]);
        let mut names: BTreeSet<Name> = BTreeSet::new();
        for assignee in assignees.chain(groups_of) {
            let sql = "SELECT scope FROM assignment WHERE assignee = ?1";
            names.extend(self.rows(sql, [assignee.to_string()], |row| row::parsed(row, 0))?);
        }
        names.extend(grants.iter().filter_map(|grant| match &grant.terms.resource {
            Resource::Scope(scope) => Some(scope.clone()),
            Resource::Connection(_) | Resource::Target(_) | Resource::Feature(_) | Resource::Role(_) => None,
        }));
        for scope in names {
            if let Some(body) = self.catalogue_body("scope", &scope)? {
                scopes.insert(scope, body);
            }
        }
        Ok(Some(Principal { name: name.clone(), member, since, groups: groups.into_iter().collect(), scopes, grants }))
    }

    /// A member's grants whose end is not on the record.
    fn grants_of(&self, member: &Name) -> Result<Vec<Grant>, Error> {
        let grants = self.grants("i.member = ?1 AND i.ended_at IS NULL", [member.as_str()])?;
        agree(grants.iter().all(|grant| grant.member == *member && grant.ended.is_none()), "grant_by_member")?;
        Ok(grants)
    }

    /// Grants found by an index, as `i`, and read by their number.
    fn grants(&self, clause: &str, params: impl Params) -> Result<Vec<Grant>, Error> {
        let columns = row::GRANT;
        let sql = format!("SELECT {columns} FROM grant i CROSS JOIN grant g ON g.request = i.request WHERE {clause}");
        self.rows(&sql, params, |row| row::grant(row, 0))
    }

    /// All grants that a member ever got.
    pub fn grants_ever(&self, member: &Name) -> Result<Vec<Grant>, Error> {
        let mut grants = self.grants_of(member)?;
        let sql = format!("SELECT {} FROM grant g WHERE member = ?1 AND ended_at IS NOT NULL", row::GRANT);
        grants.extend(self.rows(&sql, [member.as_str()], |row| row::grant(row, 0))?);
        Ok(grants)
    }

    /// The grants of a person that might count together with one that starts at `from`: all that have not ended on the
    /// record, and before them those that ended, as far back as each lies no further than `apart` seconds before the next.
    ///
    /// A person is a Unix user: they may have had other names before, and others may have had theirs.
    pub fn grants_near(
        &self,
        member: &Name,
        login: Option<&Login>,
        from: Timestamp,
        apart: i64,
    ) -> Result<Vec<Grant>, Error> {
        let names = self.names_of(member, login)?;
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
        let mut statement = self.conn.prepare_cached(&sql)?;
        // What one name leads back to may lead further back by another.
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

    /// The names under which a Unix user has asked for anything, and this one.
    pub(super) fn names_of(&self, member: &Name, login: Option<&Login>) -> Result<BTreeSet<Name>, Error> {
        let mut names = BTreeSet::from([member.clone()]);
        let Some(login) = login else { return Ok(names) };
        // From one name to the next, however many requests there are under each.
        let sql = "SELECT min(requester) FROM request
             WHERE requester_login = ?1 AND requester_login <> requester AND requester > ?2";
        let mut last = String::new();
        while let Some(name) =
            self.one(sql, params![login.as_str(), last], |row| row::maybe_parsed::<Name>(row, 0))?.flatten()
        {
            name.as_str().clone_into(&mut last);
            names.insert(name);
        }
        names.extend(login.as_str().parse::<Name>());
        Ok(names)
    }

    /// Everybody who may hold this role or a higher one now: by the team file, or by a grant that has not ended on the
    /// record.
    pub fn holders(&self, least: Role) -> Result<Vec<Name>, Error> {
        let roles: Vec<&str> = Role::ALL.into_iter().filter(|role| *role >= least).map(Role::as_str).collect();
        let base = if least >= Role::Admin { "role IN ('admin', 'owner') AND" } else { "" };
        let sql = format!(
            "SELECT name FROM member WHERE {base} instr(?1, role)
             UNION SELECT member FROM grant WHERE ended_at IS NULL AND resource >= 'role:' AND resource < 'role;'
                 AND instr(?1, substr(resource, 6))"
        );
        self.rows(&sql, [roles.join(" ")], |row| row::parsed(row, 0))
    }

    pub fn scope(&self, name: &Name) -> Result<Option<Scope>, Error> {
        self.catalogue_body("scope", name)
    }

    pub fn group_members(&self, group: &Name) -> Result<BTreeSet<Name>, Error> {
        Ok(self.catalogue_body::<Group>("group", group)?.map(|group| group.members).unwrap_or_default())
    }

    // Requests and grants

    pub fn next_request(&self) -> Result<RequestId, Error> {
        let last: Option<i64> =
            self.conn.prepare_cached("SELECT max(id) FROM request")?.query_row([], |row| row.get(0))?;
        match last {
            None => Ok(RequestId::FIRST),
            Some(last) => RequestId::try_from(last).map(RequestId::next).map_err(Error::damaged),
        }
    }

    pub fn request(&self, id: RequestId) -> Result<Option<Request>, Error> {
        let found = self.requests(REQUESTS, "r.id = ?", vec![Value::Integer(id.get())])?;
        Ok(found.into_iter().next())
    }

    fn requests(&self, from: &str, clause: &str, values: Vec<Value>) -> Result<Vec<Request>, Error> {
        let sql = format!("SELECT {}, {} FROM {from} WHERE {clause}", row::REQUEST, row::GRANT);
        let mut found = self.rows(&sql, params_from_iter(values), |row| row::request(row, 0))?;
        self.read_decisions(&mut found)?;
        Ok(found)
    }

    /// Puts its decisions with each request: all at once where the requests lie close together, else one by one.
    fn read_decisions(&self, requests: &mut [Request]) -> Result<(), Error> {
        let numbers = || requests.iter().map(|request| request.id.get());
        let (Some(first), Some(last)) = (numbers().min(), numbers().max()) else { return Ok(()) };
        let columns = row::DECISION;
        let sql = &format!("SELECT {columns} FROM decision WHERE request BETWEEN ?1 AND ?2 ORDER BY request, seq");
        let decision = |row: &Row<'_>| Ok((row.get::<_, i64>(7)?, row::decision(row, 0)?));
        if last - first > 4 * requests.len() as i64 {
            for request in requests {
                let id = request.id.get();
                let decisions = self.rows(sql, [id, id], decision)?;
                request.decisions = decisions.into_iter().map(|(_, decision)| decision).collect();
            }
            return Ok(());
        }
        let mut of: HashMap<i64, Vec<Decision>> = HashMap::new();
        for (id, decision) in self.rows(sql, [first, last], decision)? {
            of.entry(id).or_default().push(decision);
        }
        for request in requests {
            request.decisions = of.remove(&request.id.get()).unwrap_or_default();
        }
        Ok(())
    }

    /// The request of this member for this resource that still waits for a decision.
    pub fn pending_request(
        &self,
        requester: &Name,
        resource: &Resource,
        now: Timestamp,
    ) -> Result<Option<Request>, Error> {
        // By its number first: to prepare the statement that reads all of one costs more than this, and mostly none waits.
        let sql =
            "SELECT id FROM request WHERE requester = ?1 AND resource = ?2 AND state = 'pending' AND lapses_at > ?3
                 AND (until IS NULL OR until > ?3)
             LIMIT 1";
        let values = params![requester.as_str(), resource.to_string(), now.unix()];
        let Some(id) = self.one(sql, values, |row| row::request_id(row, 0))? else { return Ok(None) };
        let found = self.request(id)?;
        let is_it = |found: &Request| {
            found.requester == *requester && found.asked.resource == *resource && found.recorded == Recorded::Pending
        };
        agree(found.as_ref().is_some_and(is_it), "of pending requests")?;
        Ok(found)
    }

    pub fn pending_resources(&self, requester: &Name, now: Timestamp) -> Result<Vec<(Resource, RequestId)>, Error> {
        let sql = "SELECT r.resource, r.id, r.requester = ?1 AND r.state = 'pending'
             FROM request i CROSS JOIN request r ON r.id = i.id
             WHERE i.requester = ?1 AND i.state = 'pending' AND r.lapses_at > ?2 AND (r.until IS NULL OR r.until > ?2)";
        self.rows(sql, params![requester.as_str(), now.unix()], |row| {
            agree(row.get(2)?, "of pending requests")?;
            Ok((row::parsed(row, 0)?, row::request_id(row, 1)?))
        })
    }

    /// Requests numbered below `before`, newest first, at most so many. `only`: those that this member may see.
    pub fn requests_before(
        &self,
        filter: &ListFilter,
        only: Option<&Only>,
        before: i64,
        most: usize,
        now: Timestamp,
    ) -> Result<Page<Request>, Error> {
        let most = most.min(PAGE);
        let mut rows: Vec<Request> = Vec::new();
        self.windows(filter, only, before, now, |clauses, values| {
            let limit = most - rows.len();
            rows.extend(self.requests(REQUESTS, &format!("{clauses} ORDER BY r.id DESC LIMIT {limit}"), values)?);
            Ok(rows.len() >= most)
        })?;
        let may_see = |found: &Request| {
            let theirs = |only: &Only| {
                [&found.requester, &found.filed_by].contains(&&only.member)
                    || [&found.requester_login, &found.filer_login].contains(&&Some(only.login.clone()))
            };
            only.is_none_or(|only| theirs(only) || only.and.contains(&found.id))
        };
        agree(rows.iter().all(may_see), "of requests by member")?;
        Ok(Page { last: rows.len() < most, rows })
    }

    /// How many requests there are, or one more than `COUNTED`.
    pub fn count_requests(
        &self,
        filter: &ListFilter,
        only: Option<&Only>,
        before: i64,
        now: Timestamp,
    ) -> Result<u64, Error> {
        let mut count = 0;
        self.windows(filter, only, before, now, |clauses, values| {
            let limit = COUNTED + 1 - count;
            let first = format!("SELECT 1 FROM {REQUESTS} WHERE {clauses} ORDER BY r.id DESC LIMIT {limit}");
            count += self.count(&format!("SELECT count(*) FROM ({first})"), params_from_iter(values))?;
            Ok(count > COUNTED)
        })?;
        Ok(count)
    }

    /// Gives `work` the conditions of a list for each page of numbers that an index finds, newest first, until it has enough;
    /// or once for all, where no index helps.
    fn windows(
        &self,
        filter: &ListFilter,
        only: Option<&Only>,
        before: i64,
        now: Timestamp,
        mut work: impl FnMut(&str, Vec<Value>) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let first = filter.since.map(|since| self.first_request_since(since)).transpose()?;
        let mut before = before;
        loop {
            let window = self.window(filter, only, before)?;
            let (mut clauses, values) = list_clauses(filter, only, before, window.is_some(), now);
            clauses.extend(first.map(|first| format!(" AND r.id >= {first}")));
            let next = window.as_ref().and_then(|window| window.next);
            if let Some(window) = window {
                let ids: Vec<String> = window.ids.iter().map(ToString::to_string).collect();
                clauses += &format!(" AND r.id IN ({})", ids.join(", "));
            }
            let enough = work(&clauses, values)?;
            match next {
                Some(next) if !enough && first.is_none_or(|first| first < next) => before = next,
                Some(_) | None => return Ok(()),
            }
        }
    }

    /// Whether there is any request that a list with this filter would have.
    pub fn has_requests(&self, filter: &ListFilter, only: Option<&Only>, now: Timestamp) -> Result<bool, Error> {
        Ok(!self.requests_before(filter, only, i64::MAX, 1, now)?.rows.is_empty())
    }

    /// Every request that is pending on the record or whose grant has not ended on it.
    pub fn open_requests(&self) -> Result<Vec<Request>, Error> {
        let found = self.requests(REQUESTS, &format!("{ON_RECORD_OPEN} ORDER BY r.id"), Vec::new())?;
        let open = |found: &Request| {
            let held = found.grant.as_ref().is_some_and(|grant| grant.ended.is_none());
            found.recorded == Recorded::Pending || held || found.owes_review()
        };
        agree(found.iter().all(open), "of open requests")?;
        Ok(found)
    }

    /// Pending requests, found by an index as `i`.
    pub(super) fn pending(&self, clause: &str, values: Vec<Value>) -> Result<Vec<Request>, Error> {
        let found = self.requests(INDEXED, &format!("i.state = 'pending' AND {clause}"), values)?;
        agree(found.iter().all(|found| found.recorded == Recorded::Pending), "request_pending")?;
        Ok(found)
    }

    /// What was filed or granted while the clock was ahead of the accepted time, and is still open at `last`, the time
    /// that it reached. `domain::clock` says which of it ends.
    pub fn requests_ahead(&self, accepted: Timestamp, last: Timestamp, most: usize) -> Result<Vec<Request>, Error> {
        let clause = "r.id IN (SELECT id FROM request WHERE state = 'pending' AND lapses_at > ?2 AND submitted_at > ?1
                 UNION SELECT g.request FROM grant g JOIN request q ON q.id = g.request
                 WHERE g.ended_at IS NULL AND (g.ends_at IS NULL OR g.ends_at > ?2)
                     AND (q.submitted_at > ?1 OR g.starts_at > ?1 AND g.start IS NOT g.starts_at))
             ORDER BY r.id LIMIT ?3";
        let values = [accepted.unix(), last.unix(), limit(most)];
        self.requests(REQUESTS, clause, values.map(Value::Integer).into())
    }

    /// Live grants that have begun on the record and start after this time.
    pub fn grants_begun_after(&self, time: Timestamp, most: usize) -> Result<Vec<Grant>, Error> {
        let sql = format!(
            "SELECT {} FROM grant g WHERE begun AND ended_at IS NULL AND starts_at > ?1 ORDER BY +request LIMIT ?2",
            row::GRANT
        );
        self.rows(&sql, params![time.unix(), limit(most)], |row| row::grant(row, 0))
    }

    /// The grants of a member that are not ended on the record, as requests, in the order of their ends.
    pub fn requests_granted_to(&self, member: &Name) -> Result<Vec<Request>, Error> {
        let clause = "r.id IN (SELECT request FROM grant WHERE member = ? AND ended_at IS NULL)
             ORDER BY g.ends_at IS NULL, g.ends_at, r.id";
        let found = self.requests(REQUESTS, clause, vec![member.to_string().into()])?;
        let theirs = |grant: &Grant| grant.member == *member && grant.ended.is_none();
        agree(found.iter().all(|found| found.grant.as_ref().is_some_and(theirs)), "grant_by_member")?;
        Ok(found)
    }

    /// Grants that have ended by the clock and not yet on the record, the earliest first.
    pub fn lapsed_grants(&self, now: Timestamp, most: usize) -> Result<Vec<Grant>, Error> {
        self.grants_ending(i64::MIN, now.unix(), "", most)
    }

    /// Live grants of which `decide::warn` warns now, in the order of their ends, after this one.
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

    /// Whether the member of a grant has another one that lives at this moment, as far as the record says.
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

    /// Grants that have begun by the clock and not yet on the record.
    pub fn grants_to_begin(&self, now: Timestamp, most: usize) -> Result<Vec<Grant>, Error> {
        let clause = "NOT i.begun AND i.ended_at IS NULL AND i.starts_at <= ?1 ORDER BY i.starts_at LIMIT ?2";
        let grants = self.grants(clause, params![now.unix(), limit(most)])?;
        let begins = |grant: &Grant| !grant.begun && grant.ended.is_none() && grant.starts_at <= now;
        agree(grants.iter().all(begins), "grant_to_begin")?;
        Ok(grants)
    }

    /// Pending requests whose reminder is due.
    pub fn requests_to_remind(&self, now: Timestamp, most: usize) -> Result<Vec<Request>, Error> {
        let clause = format!(
            "{NOT_LAPSED} AND r.remind_at <= ?1 ORDER BY min(i.lapses_at, ifnull(i.until, i.lapses_at)) LIMIT ?2"
        );
        self.pending(&clause, vec![Value::Integer(now.unix()), Value::Integer(limit(most))])
    }

    /// The requests that go on from this one's grant.
    pub fn extensions(&self, id: RequestId) -> Result<Vec<Request>, Error> {
        let found = self.requests(INDEXED, "i.extends = ? ORDER BY i.id", vec![Value::Integer(id.get())])?;
        agree(found.iter().all(|found| found.extends == Some(id)), "request_extension")?;
        Ok(found)
    }

    /// Emergencies that owe their review.
    pub fn reviews_owed(&self) -> Result<Vec<RequestId>, Error> {
        let sql = "SELECT id FROM request WHERE emergency AND review IS NULL ORDER BY id";
        self.rows(sql, [], |row| row::request_id(row, 0))
    }

    /// Pending requests that an older version filed under format 1 of the log, and that were not judged again since.
    /// `again`: those too that were.
    pub fn pending_of_format_1(&self, now: Timestamp, again: bool, most: usize) -> Result<Vec<Request>, Error> {
        let not_again =
            "AND NOT EXISTS (SELECT 1 FROM event j WHERE j.request = r.id AND j.action = 'request.rejudged')";
        let not_again = if again { "" } else { not_again };
        let clause = format!(
            "{NOT_LAPSED} AND (SELECT body ->> '$.v' FROM event e WHERE e.seq = r.seq) = 1 {not_again} ORDER BY +i.id LIMIT ?2"
        );
        self.pending(&clause, vec![Value::Integer(now.unix()), Value::Integer(limit(most))])
    }

    /// Every request that is pending now.
    pub fn pending_requests(&self, now: Timestamp) -> Result<Vec<Request>, Error> {
        let clause = format!("{NOT_LAPSED} ORDER BY +i.id");
        let found = self.pending(&clause, vec![Value::Integer(now.unix())])?;
        agree(found.iter().all(|found| found.lapses() > now), "request_pending")?;
        Ok(found)
    }

    /// Requests submitted then or later and numbered above `after`, oldest first.
    pub fn requests_since(&self, since: Timestamp, after: i64) -> Result<Page<Request>, Error> {
        let after = after.max(self.first_request_since(since)? - 1);
        let clause = format!("r.submitted_at >= ? AND r.id > ? ORDER BY r.id LIMIT {PAGE}");
        let rows = self.requests(REQUESTS, &clause, vec![Value::Integer(since.unix()), Value::Integer(after)])?;
        Ok(Page { last: rows.len() < PAGE, rows })
    }

    /// Requests that lapsed by the clock and not yet on the record.
    pub fn lapsed_requests(&self, now: Timestamp, most: usize) -> Result<Vec<Request>, Error> {
        let clause = format!("{LAPSED} ORDER BY min(i.lapses_at, ifnull(i.until, i.lapses_at)) LIMIT ?2");
        let found = self.pending(&clause, vec![Value::Integer(now.unix()), Value::Integer(limit(most))])?;
        agree(found.iter().all(|found| found.lapses() <= now), "request_pending")?;
        Ok(found)
    }

    // Notifications

    /// How many notifications of a member are unread, or one more than `COUNTED`.
    pub fn unread(&self, member: &Name) -> Result<u64, Error> {
        self.count_notifications(member, false, i64::MAX)
    }

    /// How many notifications of a member there are below this number, or one more than `COUNTED`. By the index alone.
    pub fn count_notifications(&self, member: &Name, all: bool, before: i64) -> Result<u64, Error> {
        let unread = if all { "" } else { "AND read_at IS NULL" };
        let most = COUNTED + 1;
        let sql =
            format!("SELECT id FROM notification WHERE member = ?1 AND id < ?2 {unread} ORDER BY id DESC LIMIT {most}");
        let ids: Vec<i64> = self.rows(&sql, params![member.as_str(), before], |row| Ok(row.get(0)?))?;
        // Those before the entry that brought this member are of another person who had the name.
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

    /// A member's notifications numbered below `before`, newest first, at most so many.
    pub fn notifications_before(
        &self,
        member: &Name,
        all: bool,
        before: i64,
        most: usize,
    ) -> Result<Page<InboxRow>, Error> {
        let most = most.min(PAGE);
        let mut rows = Vec::new();
        self.each_notification(member, all, before, |row| {
            rows.push(InboxRow {
                id: row.get(0)?,
                notice: row::parsed(row, 1)?,
                seq: row.get(2)?,
                read_at: row::maybe_time(row, 3)?,
            });
            Ok(if rows.len() >= most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        Ok(Page { last: rows.len() < most, rows })
    }

    /// Reads a member's notifications numbered below `before`, newest first, until `each` ends it.
    fn each_notification(
        &self,
        member: &Name,
        all: bool,
        before: i64,
        mut each: impl FnMut(&Row<'_>) -> Result<ControlFlow<()>, Error>,
    ) -> Result<(), Error> {
        let unread = if all { "" } else { "AND i.read_at IS NULL" };
        let sql = format!(
            "SELECT n.id, n.kind, n.seq, n.read_at, n.member = ?1, n.seq < m.since
             FROM member m CROSS JOIN notification i CROSS JOIN notification n ON n.id = i.id
             WHERE m.name = ?1 AND i.member = ?1 AND i.id < ?2 {unread} ORDER BY i.id DESC"
        );
        let mut statement = self.conn.prepare_cached(&sql)?;
        let mut rows = statement.query(params![member.as_str(), before])?;
        while let Some(row) = rows.next()? {
            agree(row.get(4)?, "of notifications by member")?;
            // Older ones are of another person who had this name.
            if row.get(5)? || each(row)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// The entry that a member's notification tells of, if it is theirs.
    pub fn has_notification(&self, member: &Name, id: i64) -> Result<bool, Error> {
        let sql = "SELECT 1 FROM notification n JOIN member m ON m.name = n.member
             WHERE n.id = ?1 AND n.member = ?2 AND n.seq >= m.since";
        let found = self.conn.prepare_cached(sql)?.query_row(params![id, member.as_str()], |_| Ok(())).optional()?;
        Ok(found.is_some())
    }
}

/// SQLite takes no limit beyond its own integers.
fn limit(most: usize) -> i64 {
    i64::try_from(most).unwrap_or(i64::MAX)
}

/// Found by the partial indexes, however long the history is. (Grants with and without an end apart: otherwise SQLite reads
/// all of `grant_by_member`.)
const ON_RECORD_OPEN: &str = "r.id IN (SELECT id FROM request WHERE state = 'pending'
     UNION ALL SELECT request FROM grant WHERE ended_at IS NULL AND ends_at IS NOT NULL
     UNION ALL SELECT request FROM grant WHERE ended_at IS NULL AND ends_at IS NULL
     UNION ALL SELECT id FROM request WHERE emergency AND review IS NULL)";

/// Of a pending request: that it can no longer be decided, as `Request::lapses` says. `until` comes first only for requests
/// that an older version filed. No index has both, so this reads every pending request.
const LAPSED: &str = "min(i.lapses_at, ifnull(i.until, i.lapses_at)) <= ?1";
const NOT_LAPSED: &str = "min(i.lapses_at, ifnull(i.until, i.lapses_at)) > ?1";

/// The state at a moment (`?1`), in SQL: what `Request::state` says in Rust, and a test holds the two together.
fn state_clause(state: State) -> &'static str {
    match state {
        State::Pending => "(r.state = 'pending' AND min(r.lapses_at, ifnull(r.until, r.lapses_at)) > ?1)",
        State::Lapsed => {
            "(r.state = 'lapsed' OR r.state = 'pending' AND min(r.lapses_at, ifnull(r.until, r.lapses_at)) <= ?1)"
        }
        State::Denied => "r.state = 'denied'",
        State::Withdrawn => "r.state = 'withdrawn'",
        State::Revoked => "g.ended_by IS NOT NULL",
        State::Expired => "(g.ended_at IS NOT NULL AND g.ended_by IS NULL OR g.ended_at IS NULL AND g.ends_at <= ?1)",
        State::Scheduled => "(g.request IS NOT NULL AND g.ended_at IS NULL AND g.starts_at > ?1)",
        State::Active => "(g.ended_at IS NULL AND g.starts_at <= ?1 AND (g.ends_at IS NULL OR g.ends_at > ?1))",
    }
}

/// The conditions of a list. `narrowed`: its requests are found by number, so no other index is used (the `+`).
fn list_clauses(
    filter: &ListFilter,
    only: Option<&Only>,
    before: i64,
    narrowed: bool,
    now: Timestamp,
) -> (String, Vec<Value>) {
    // The time is ?1 wherever it stands, and stands here for the clauses that don't need it.
    let mut clauses = String::from("?1 IS NOT NULL AND r.id < ?2");
    let mut values = vec![Value::Integer(now.unix()), Value::Integer(before)];
    if let Some(Only { member, login, since, and }) = only {
        let and: Vec<String> = and.iter().map(ToString::to_string).collect();
        let and = and.join(", ");
        // What an index found is read by its number, and compared with `Request::belongs_to` in SQL.
        clauses += &format!(
            " AND (?3 IN (r.requester, r.filed_by) AND r.seq > ?5 OR ?4 IN (r.requester_login, r.filer_login)
                  OR r.id IN ({and}))"
        );
        values.extend([member.to_string().into(), login.to_string().into(), Value::Integer(*since)]);
    }
    let mut add = |clause: &str, value: Value| {
        values.push(value);
        clauses += &format!(" AND {}", clause.replace("?_", &format!("?{}", values.len())));
    };
    if let Some(requester) = &filter.requester {
        let clause = if narrowed { "+r.requester = ?_" } else { "r.requester = ?_" };
        add(clause, requester.to_string().into());
    }
    if let Some(resource) = &filter.resource {
        // What a row of the list shows: what was granted, or what an approver would grant now; and what was asked.
        add(
            "(r.resource = ?_ OR g.resource = ?_ OR r.state = 'pending' AND EXISTS (
                 SELECT 1 FROM decision d WHERE d.request = r.id AND d.verdict = 'approve' AND d.counts
                     AND CASE WHEN json_valid(d.terms) THEN d.terms ->> '$.resource' = ?_ END))",
            resource.to_string().into(),
        );
    }
    if let Some(since) = filter.since {
        add("r.submitted_at >= ?_", Value::Integer(since.unix()));
    }
    let (states, owed) = window::states(filter);
    if !states.is_empty() {
        let mut each: Vec<&str> = states.iter().map(|&state| state_clause(state)).collect();
        if owed {
            each.push("r.emergency AND r.review IS NULL");
        }
        clauses += &format!(" AND ({})", each.join(" OR "));
    }
    (clauses, values)
}
