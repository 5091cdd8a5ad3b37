-- Identifies requesters by login, counts recent requests, and records who may review an emergency.
ALTER TABLE request ADD COLUMN seq INTEGER REFERENCES event (seq);   -- the entry that filed it
ALTER TABLE request ADD COLUMN requester_login TEXT;                 -- Unix user names at that time
ALTER TABLE request ADD COLUMN filer_login TEXT;
ALTER TABLE decision ADD COLUMN signed_with TEXT;                    -- the fingerprint of the key that signed an approval
ALTER TABLE grant ADD COLUMN reviewers TEXT;                         -- JSON: who may review an emergency
UPDATE request SET seq = (SELECT min(seq) FROM event WHERE event.request = request.id AND action = 'request.submitted');
-- The logins come from the last entry before the request that changed the member.
CREATE TEMP TABLE login_since (
    name  TEXT NOT NULL,
    seq   INTEGER NOT NULL,
    login TEXT,                                                      -- NULL: no member from this entry on
    PRIMARY KEY (name, seq)
) WITHOUT ROWID;
INSERT OR REPLACE INTO login_since
    SELECT substr(made ->> '$.what', 8), seq, made ->> '$.to.login'
    FROM (SELECT seq, CASE type WHEN 'object' THEN value END AS made
          FROM event, json_each(CASE WHEN json_valid(body) THEN body ELSE '{}' END, '$.event.detail.changes')
          WHERE action IN ('team.initialized', 'team.applied'))
    WHERE made ->> '$.what' GLOB 'member:*';
UPDATE request SET
    requester_login = (SELECT login FROM login_since AS l WHERE l.name = requester AND l.seq < request.seq
                       ORDER BY l.seq DESC LIMIT 1),
    filer_login = (SELECT login FROM login_since AS l WHERE l.name = filed_by AND l.seq < request.seq
                   ORDER BY l.seq DESC LIMIT 1);
DROP TABLE login_since;
-- A pending request lapses at the end that it asks for, if that is before `lapses_at`. That happens only in requests that an older
-- version filed.
DROP INDEX request_pending;
CREATE INDEX request_pending ON request (min(lapses_at, ifnull(until, lapses_at))) WHERE state = 'pending';
CREATE INDEX request_pending_by_requester ON request (requester, resource) WHERE state = 'pending';
-- Finds people's requests by Unix user, under any name, and those that they filed for others.
CREATE INDEX request_by_login ON request (requester_login, requester) WHERE requester_login <> requester;
DROP INDEX request_by_filer;
CREATE INDEX request_by_filer ON request (filer_login) WHERE filed_by <> requester;
-- Ended grants count together with new requests.
DROP INDEX grant_by_member;
CREATE INDEX grant_by_member ON grant (member, ended_at, ends_at);
-- Grants whose end is not recorded, by end, including those without one.
DROP INDEX grant_by_end;
CREATE INDEX grant_by_end ON grant (ends_at) WHERE ended_at IS NULL;
-- Rare values in a long history. Frequent ones need no index: reading backwards soon finds them. For each new row, SQLite would
-- build a table of the values in an IN with more than two.
CREATE INDEX request_closed ON request (state) WHERE state <> 'pending' AND state <> 'approved';
CREATE INDEX grant_revoked ON grant (request) WHERE ended_by IS NOT NULL;
CREATE INDEX event_by_actor ON event (actor) WHERE actor IS NOT NULL;
CREATE INDEX event_by_action ON event (action)
    WHERE action <> 'request.submitted' AND action <> 'request.approved' AND action <> 'grant.started'
        AND action <> 'grant.expired';

-- The addresses of a member, by channel.
ALTER TABLE member ADD COLUMN addresses TEXT NOT NULL DEFAULT '{}';  -- JSON
UPDATE member SET addresses = json_patch('{}', json_object('email', email, 'slack', slack));
ALTER TABLE member DROP COLUMN email;
ALTER TABLE member DROP COLUMN slack;
ALTER TABLE member ADD COLUMN auditor INTEGER NOT NULL DEFAULT 0;
-- The SSH public keys of a member.
ALTER TABLE member ADD COLUMN ssh_keys TEXT;                         -- JSON

-- What follows the log: how far it is, and what is queued for it. Not part of the record.
CREATE TABLE subscriber (
    name TEXT PRIMARY KEY,              -- slack:#ops, email:audit@acme.example, webhook:siem
    seq  INTEGER NOT NULL               -- the last entry that it was given
) STRICT, WITHOUT ROWID;
INSERT INTO subscriber SELECT key, value FROM team, json_each(streams);
ALTER TABLE team DROP COLUMN streams;
CREATE TABLE outbox_4 (
    id           INTEGER PRIMARY KEY,
    subscriber   TEXT NOT NULL,                          -- email, slack, or one of the above
    seq          INTEGER NOT NULL REFERENCES event (seq),
    topic        TEXT NOT NULL,                          -- what it gets of the entry: a notification, audit or checkpoint
    notification INTEGER REFERENCES notification (id),   -- of a member
    due_at       INTEGER NOT NULL,
    attempts     INTEGER NOT NULL DEFAULT 0,
    error        TEXT,                                   -- why the last attempt failed
    dead         INTEGER NOT NULL DEFAULT 0,             -- given up
    passed       INTEGER NOT NULL DEFAULT 0              -- later ones were taken while it failed, so it holds none back
) STRICT;
INSERT INTO outbox_4
    SELECT o.id, channel, coalesce(o.seq, n.seq), coalesce(o.kind, n.kind), notification, due_at, attempts, error, dead, 0
    FROM outbox o LEFT JOIN notification n ON n.id = notification;
DROP TABLE outbox;
ALTER TABLE outbox_4 RENAME TO outbox;

-- What connectors gave, took back and found. A row begins with one entry of the log, and is final once another ends it.
CREATE TABLE provisioning (
    seq         INTEGER PRIMARY KEY REFERENCES event (seq),
    request     INTEGER REFERENCES request (id),         -- NULL: access without a grant, or drift
    member      TEXT,
    connector   TEXT NOT NULL,
    login       TEXT NOT NULL,
    parameters  TEXT NOT NULL,                           -- JSON, keys in order
    condition   TEXT NOT NULL,                           -- granted, grant_failed, revoke_failed, revoked; of drift: its kind, resolved
    error       TEXT,
    since       INTEGER NOT NULL,                        -- in this condition
    recorded_at INTEGER NOT NULL                         -- the last entry about it
) STRICT;
-- 0: open, 1: over, 2: taking it back fails.
CREATE INDEX provisioning_open ON provisioning (
    CASE condition WHEN 'revoked' THEN 1 WHEN 'resolved' THEN 1 WHEN 'revoke_failed' THEN 2 ELSE 0 END, request, login
);

-- How long hosts answer about resources without contact to a shared log, if these have no limit of their own.
ALTER TABLE team ADD COLUMN offline_for TEXT;

-- Only in a copy of a log that several hosts share: one row.
CREATE TABLE replica (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    host       TEXT NOT NULL,           -- this host, as the log's entries name it
    epoch      INTEGER NOT NULL,        -- of the engine
    engine_at  INTEGER NOT NULL,        -- the engine's clock at the last contact, in milliseconds
    boot_id    TEXT NOT NULL,           -- this host's clocks at that moment
    since_boot INTEGER NOT NULL,
    wall_at    INTEGER NOT NULL,
    pending    TEXT,                    -- JSON: entries of which it is not known whether the log has them
    delivery   INTEGER NOT NULL DEFAULT 0   -- the version of the hosts' common outbox that this one goes on from
) STRICT;
-- Only in such a copy: what the hosts know of each member's read marks.
CREATE TABLE read_mark (
    member  TEXT PRIMARY KEY,
    version INTEGER NOT NULL,           -- the last that was taken over
    changes INTEGER NOT NULL            -- here, which the other hosts do not know
) STRICT, WITHOUT ROWID;
-- The SSH certificates that were issued, each by one entry of the log.
CREATE TABLE certificate (
    seq         INTEGER PRIMARY KEY REFERENCES event (seq),
    request     INTEGER NOT NULL REFERENCES request (id),    -- and the serial number
    member      TEXT NOT NULL,
    login       TEXT NOT NULL,
    resource    TEXT NOT NULL,
    key         TEXT NOT NULL,                           -- the fingerprint of the key
    valid_from  INTEGER NOT NULL,
    valid_until INTEGER NOT NULL,
    issued_at   INTEGER NOT NULL,
    os_user     TEXT NOT NULL                            -- who had it signed
) STRICT;
CREATE INDEX certificate_by_request ON certificate (request);
CREATE INDEX certificate_by_member ON certificate (member, issued_at);
CREATE INDEX certificate_by_end ON certificate (valid_until);
-- The sessions that people opened with their access.
CREATE TABLE session (
    seq       INTEGER PRIMARY KEY REFERENCES event (seq),
    request   INTEGER REFERENCES request (id),           -- NULL: baseline access
    member    TEXT NOT NULL,
    opened    TEXT NOT NULL,                             -- JSON: the detail of the entry
    opened_at INTEGER NOT NULL,
    closed_at INTEGER,
    how       TEXT                                       -- closed, ended, gone, restarted
) STRICT;
CREATE INDEX session_by_request ON session (request) WHERE request IS NOT NULL;
CREATE INDEX session_by_member ON session (member, opened_at);
CREATE INDEX session_open ON session (seq) WHERE closed_at IS NULL;
-- Reviews of what people hold. The items are what was held when one began.
CREATE TABLE recertification (
    id         INTEGER PRIMARY KEY,
    seq        INTEGER NOT NULL REFERENCES event (seq),  -- the entry that started it
    started_at INTEGER NOT NULL,
    by         TEXT NOT NULL,
    selection  TEXT NOT NULL,                            -- JSON
    due        INTEGER NOT NULL,
    remind_at  INTEGER,                                  -- NULL: reviewers were reminded
    closed_at  INTEGER,
    cancelled  TEXT                                      -- JSON: by whom, and why; NULL: it was due
) STRICT;
CREATE INDEX recertification_open ON recertification (due) WHERE closed_at IS NULL;
CREATE TABLE recertification_item (
    recertification INTEGER NOT NULL REFERENCES recertification (id),
    number          INTEGER NOT NULL,
    item            TEXT NOT NULL,                       -- JSON
    outcome         TEXT,                                -- JSON; NULL: nobody decided, or it was no longer held
    PRIMARY KEY (recertification, number)
) STRICT, WITHOUT ROWID;
