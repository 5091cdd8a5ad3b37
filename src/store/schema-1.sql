-- Every command parses the whole schema when it starts, so tables, indexes and checks cost time even if unused.
-- Times are seconds since 1970 in UTC. Resources are written kind:name.

-- The audit log. All other tables follow from it, except what is marked "no record". `body` is what the hash covers; the columns
-- before it are copies of its fields to search by.
CREATE TABLE event (
    seq     INTEGER PRIMARY KEY,
    at      INTEGER NOT NULL,
    actor   TEXT,
    os_user TEXT NOT NULL,
    action  TEXT NOT NULL,
    request INTEGER,
    hash    BLOB NOT NULL,
    body    TEXT NOT NULL
) STRICT;
CREATE INDEX event_by_request ON event (request) WHERE request IS NOT NULL;
-- The triggers protect against bugs. Someone who can write the file can drop them, but the hash chain shows what was changed.
CREATE TRIGGER event_no_update BEFORE UPDATE ON event BEGIN
    SELECT raise(ABORT, 'the audit log is append-only');
END;
CREATE TRIGGER event_no_delete BEFORE DELETE ON event BEGIN
    SELECT raise(ABORT, 'the audit log is append-only');
END;

CREATE TABLE team (
    only          INTEGER PRIMARY KEY CHECK (only = 1),
    name          TEXT NOT NULL,
    last_seq      INTEGER NOT NULL,     -- the number of the last entry, so that a log cut short shows
    expire_ran_at INTEGER               -- no record
) STRICT;

CREATE TABLE member (
    name     TEXT PRIMARY KEY,
    role     TEXT NOT NULL,
    login    TEXT NOT NULL UNIQUE,
    email    TEXT,
    slack    TEXT,
    timezone TEXT,
    disabled INTEGER NOT NULL,
    since    INTEGER NOT NULL REFERENCES event (seq)   -- the entry that brought them (back)
) STRICT, WITHOUT ROWID;
CREATE INDEX member_admin ON member (name) WHERE role IN ('admin', 'owner');

-- Groups, connections, targets, features and scopes, as in the team file but in JSON.
CREATE TABLE catalogue (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;

-- The groups of each member, and the scopes of each assignee. Both repeat the catalogue in a form that is indexed by member.
CREATE TABLE membership (
    member     TEXT NOT NULL,
    group_name TEXT NOT NULL,
    PRIMARY KEY (member, group_name)
) STRICT, WITHOUT ROWID;
CREATE TABLE assignment (
    assignee TEXT NOT NULL,
    scope    TEXT NOT NULL,
    PRIMARY KEY (assignee, scope)
) STRICT, WITHOUT ROWID;

CREATE TABLE request (
    id           INTEGER PRIMARY KEY,
    state        TEXT NOT NULL,         -- pending, approved, denied, withdrawn or lapsed
    requester    TEXT NOT NULL,
    filed_by     TEXT NOT NULL,
    resource     TEXT NOT NULL,
    length       INTEGER,               -- neither a length nor an until: permanent
    until        INTEGER,
    reason       TEXT NOT NULL,
    ticket       TEXT,
    submitted_at INTEGER NOT NULL,
    lapses_at    INTEGER NOT NULL
) STRICT;
CREATE INDEX request_pending ON request (lapses_at) WHERE state = 'pending';
CREATE INDEX request_by_requester ON request (requester);
CREATE INDEX request_by_filer ON request (filed_by) WHERE filed_by <> requester;

CREATE TABLE decision (
    request INTEGER NOT NULL REFERENCES request (id),
    seq     INTEGER NOT NULL REFERENCES event (seq),
    by      TEXT NOT NULL,
    verdict TEXT NOT NULL,
    at      INTEGER NOT NULL,
    note    TEXT,
    terms   TEXT,                       -- JSON, when they were not the ones asked
    PRIMARY KEY (request, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE grant (
    request   INTEGER PRIMARY KEY REFERENCES request (id),
    member    TEXT NOT NULL,
    resource  TEXT NOT NULL,
    length    INTEGER,
    until     INTEGER,
    modified  INTEGER NOT NULL,
    starts_at INTEGER NOT NULL,
    ends_at   INTEGER,
    warned    INTEGER NOT NULL DEFAULT 0,
    ended_at  INTEGER,
    ended_by  TEXT                      -- who revoked it; ended without: expired
) STRICT;
CREATE INDEX grant_by_member ON grant (member) WHERE ended_at IS NULL;
CREATE INDEX grant_by_end ON grant (ends_at) WHERE ended_at IS NULL AND ends_at IS NOT NULL;
CREATE INDEX grant_of_role ON grant (resource) WHERE ended_at IS NULL AND resource >= 'role:' AND resource < 'role;';

CREATE TABLE notification (
    id      INTEGER PRIMARY KEY,
    seq     INTEGER NOT NULL REFERENCES event (seq),
    member  TEXT NOT NULL,
    kind    TEXT NOT NULL,
    read_at INTEGER                     -- no record
) STRICT;
CREATE INDEX notification_by_member ON notification (member);
CREATE INDEX notification_unread ON notification (member) WHERE read_at IS NULL;

-- Messages to send. No record: delivered rows are deleted.
CREATE TABLE outbox (
    id           INTEGER PRIMARY KEY,
    notification INTEGER NOT NULL REFERENCES notification (id),
    channel      TEXT NOT NULL,
    due_at       INTEGER NOT NULL
) STRICT;
