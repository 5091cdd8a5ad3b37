-- The shared log of one team: one database holds one log. Installed and upgraded by its owner in one transaction.
-- PostgreSQL 15 or later.
--
-- A host is a login role. It calls the functions that are granted to access_host, and reads and writes no table itself.
-- The functions run as the owner. They refer to every object by its schema, contain no backslash, and parse times
-- without a zone, so that no setting of the caller's session changes what they do. Those that set no search_path are
-- called only by those that do.

SET LOCAL client_min_messages = warning;

DO $$
DECLARE
    owner name := (SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = 'access');
    installed int;
BEGIN
    IF current_setting('server_version_num')::int < 150000 THEN
        RAISE 'the log needs PostgreSQL 15 or later' USING ERRCODE = '0A000';
    ELSIF getdatabaseencoding() <> 'UTF8' THEN
        RAISE 'the database of a log has the encoding UTF8, not %', getdatabaseencoding() USING ERRCODE = '0A000';
    ELSIF current_setting('max_prepared_transactions') <> '0' THEN
        RAISE 'the setting max_prepared_transactions is not 0, so a host could hold up all others'
            USING ERRCODE = '55000', HINT = 'Set it to 0 and restart the server.';
    ELSIF owner <> current_user THEN
        RAISE 'the schema access belongs to %', owner
            USING ERRCODE = '42501', HINT = 'Connect as its owner, or use another database.';
    END IF;
    IF to_regclass('access.log') IS NOT NULL THEN
        EXECUTE 'SELECT sql_version FROM access.log' INTO installed;
        IF installed > 1 THEN
            RAISE 'this log was installed by a newer version of access (version % of its functions)', installed
                USING ERRCODE = '55000';
        END IF;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'access_host') THEN
        BEGIN
            CREATE ROLE access_host NOLOGIN;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            -- Another database of this server was prepared at the same moment.
            NULL;
        END;
    END IF;
END $$;

CREATE SCHEMA IF NOT EXISTS access;
REVOKE ALL ON SCHEMA access FROM PUBLIC;

-- One row. Its row lock is the turn.
CREATE TABLE IF NOT EXISTS access.log (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    name text NOT NULL,
    -- Raised after a restore.
    epoch bigint NOT NULL DEFAULT 1,
    -- The newest format of an entry that hosts may write. Entries of format 3 and later name their host.
    write_format int NOT NULL CHECK (write_format >= 3),
    state text NOT NULL DEFAULT 'importing' CHECK (state IN ('importing', 'open', 'closed')),
    -- The host that has taken a closed log into its file.
    taken_by name,
    sql_version int NOT NULL DEFAULT 1
);

CREATE TABLE IF NOT EXISTS access.entry (
    seq bigint PRIMARY KEY CHECK (seq > 0),
    hash bytea NOT NULL CHECK (length(hash) = 32),
    body text NOT NULL CHECK (octet_length(body) <= 1048576),
    -- The role that appended it. Empty: imported, from a format without hosts.
    host text NOT NULL,
    -- What the body says.
    at timestamptz NOT NULL,
    -- When it came here.
    taken timestamptz NOT NULL
);

-- What a host may append. Changed by the log's own entries (access.follow) or by the owner (access.allow).
CREATE TABLE IF NOT EXISTS access.host (
    role name PRIMARY KEY,
    may text NOT NULL CHECK (may IN ('decide', 'ask', 'read')),
    -- Whether an entry of the log names it.
    named boolean NOT NULL,
    retired boolean NOT NULL DEFAULT false
);

-- How far a host is. Apart from access.host: a host that keeps its own row locked holds up nobody else.
CREATE TABLE IF NOT EXISTS access.seen (
    role name PRIMARY KEY,
    seq bigint,
    at timestamptz,
    -- The newest format that it reads.
    format int
);

-- What is no record: read marks, positions of delivery. Keys that begin with lease/ are leases, which have `until`.
CREATE TABLE IF NOT EXISTS access.side (
    key text PRIMARY KEY,
    version bigint NOT NULL,
    value jsonb NOT NULL,
    until timestamptz
);

-- The clock of all decisions.
CREATE OR REPLACE FUNCTION access.now() RETURNS timestamptz
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$ SELECT clock_timestamp() $$;

CREATE OR REPLACE FUNCTION access.never() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE 'the log is append-only' USING ERRCODE = '42501';
END $$;

-- The commit waits for the standby, whatever the session says.
CREATE OR REPLACE FUNCTION access.wait_for_standby() RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('synchronous_commit') NOT IN ('on', 'remote_apply') THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
END $$;

-- The same at the very end of a transaction, after everything that the session says in it.
CREATE OR REPLACE FUNCTION access.durable() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM access.wait_for_standby();
    RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER never BEFORE UPDATE OR DELETE ON access.entry
    FOR EACH ROW EXECUTE FUNCTION access.never();
CREATE OR REPLACE TRIGGER never_truncate BEFORE TRUNCATE ON access.entry
    FOR EACH STATEMENT EXECUTE FUNCTION access.never();
CREATE OR REPLACE TRIGGER never BEFORE DELETE ON access.log
    FOR EACH ROW EXECUTE FUNCTION access.never();
CREATE OR REPLACE TRIGGER never_truncate BEFORE TRUNCATE ON access.log
    FOR EACH STATEMENT EXECUTE FUNCTION access.never();
DROP TRIGGER IF EXISTS durable ON access.entry;
CREATE CONSTRAINT TRIGGER durable AFTER INSERT ON access.entry
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION access.durable();
DROP TRIGGER IF EXISTS durable ON access.side;
CREATE CONSTRAINT TRIGGER durable AFTER INSERT OR UPDATE ON access.side
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION access.durable();
-- Even where session_replication_role switches other triggers off.
ALTER TABLE access.entry ENABLE ALWAYS TRIGGER never;
ALTER TABLE access.entry ENABLE ALWAYS TRIGGER never_truncate;
ALTER TABLE access.entry ENABLE ALWAYS TRIGGER durable;
ALTER TABLE access.log ENABLE ALWAYS TRIGGER never;
ALTER TABLE access.log ENABLE ALWAYS TRIGGER never_truncate;
ALTER TABLE access.side ENABLE ALWAYS TRIGGER durable;

-- The host that calls.
CREATE OR REPLACE FUNCTION access.caller() RETURNS access.host
LANGUAGE plpgsql AS $$
DECLARE
    found_host access.host;
BEGIN
    IF pg_is_in_recovery() THEN
        RAISE 'this server is a standby' USING ERRCODE = '25006', HINT = 'Connect to the leader.';
    END IF;
    SELECT * INTO found_host FROM access.host h WHERE h.role = session_user AND NOT h.retired;
    IF NOT FOUND THEN
        RAISE 'the role % is not a host of this log', session_user
            USING ERRCODE = '42501', HINT = 'Add it to [hosts] in the team file.';
    ELSIF current_setting('transaction_isolation') <> 'read committed' THEN
        -- A snapshot of the transaction's beginning would show an old end of the log.
        RAISE 'the log is used at the isolation level read committed' USING ERRCODE = '25001';
    ELSIF current_setting('max_prepared_transactions') <> '0' THEN
        -- A prepared transaction keeps its locks without a session.
        RAISE 'the setting max_prepared_transactions is not 0, so a host could hold up all others'
            USING ERRCODE = '55000', HINT = 'Set it to 0 and restart the server.';
    END IF;
    RETURN found_host;
END $$;

-- Whether the log has this entry. Number 0 with 32 zero bytes is before the first.
CREATE OR REPLACE FUNCTION access.has(p_seq bigint, p_hash bytea) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    IF p_seq = 0 THEN
        RETURN coalesce(p_hash = decode(repeat('00', 32), 'hex'), false);
    END IF;
    RETURN EXISTS (SELECT FROM access.entry e WHERE e.seq = p_seq AND e.hash = p_hash);
END $$;

-- Names the host that has the turn, for a message. Ends its session if it has kept the turn longer than any honest host
-- does, whatever it does or waits for, other than a standby; for that, the owner needs pg_signal_backend and
-- pg_read_all_stats, or is a superuser.
CREATE OR REPLACE FUNCTION access.evict() RETURNS name
LANGUAGE plpgsql AS $$
DECLARE
    holder record;
BEGIN
    SELECT a.pid, a.usename, a.xact_start < clock_timestamp() - interval '15 seconds' AS overdue INTO holder
    FROM pg_locks k JOIN pg_stat_activity a USING (pid) JOIN access.host h ON h.role = a.usename
    WHERE k.locktype = 'relation' AND k.relation = 'access.log'::regclass AND k.mode = 'RowExclusiveLock' AND k.granted
        AND k.database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND k.pid <> pg_backend_pid()
        AND a.wait_event IS DISTINCT FROM 'SyncRep'
    LIMIT 1;
    IF holder.overdue THEN
        BEGIN
            PERFORM pg_terminate_backend(holder.pid);
        EXCEPTION WHEN insufficient_privilege THEN
            NULL;
        END;
    END IF;
    RETURN holder.usename;
END $$;

-- Takes the turn: until the transaction ends, nobody else appends. A host that then stalls loses it.
CREATE OR REPLACE FUNCTION access.lock() RETURNS access.log
LANGUAGE plpgsql AS $$
DECLARE
    log access.log;
    holder name;
BEGIN
    PERFORM set_config('lock_timeout', '5s', true);
    PERFORM set_config('idle_in_transaction_session_timeout', '4s', true);
    SELECT * INTO log FROM access.log FOR UPDATE;
    IF NOT FOUND THEN
        RAISE 'there is no log in this database' USING ERRCODE = '55000', HINT = 'Run access log init.';
    END IF;
    -- By this lock the others find who has the turn: nobody else has it.
    LOCK TABLE access.log IN ROW EXCLUSIVE MODE;
    RETURN log;
EXCEPTION WHEN lock_not_available THEN
    holder := access.evict();
    RAISE 'no turn within 5 seconds: % has it', coalesce('the host ' || holder, 'somebody else')
        USING ERRCODE = '55P03', HINT = 'Try again.';
END $$;

-- Takes the turn and returns the end of the log. Verdicts: ok; fork (the log does not have the caller's last entry);
-- closed.
CREATE OR REPLACE FUNCTION access.turn(p_seq bigint, p_hash bytea,
    OUT verdict text, OUT epoch bigint, OUT seq bigint, OUT hash bytea, OUT now timestamptz, OUT write_format int)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    host access.host := access.caller();
    log access.log;
BEGIN
    IF host.may = 'read' THEN
        RAISE 'the host % may only read', session_user USING ERRCODE = '42501';
    END IF;
    -- A commit of the turn proves what it answers.
    PERFORM access.wait_for_standby();
    log := access.lock();
    SELECT e.seq, e.hash INTO seq, hash FROM access.entry e ORDER BY e.seq DESC LIMIT 1;
    seq := coalesce(seq, 0);
    hash := coalesce(hash, decode(repeat('00', 32), 'hex'));
    epoch := log.epoch;
    write_format := log.write_format;
    now := access.now();
    verdict := CASE WHEN NOT access.has(p_seq, p_hash) THEN 'fork' WHEN log.state <> 'open' THEN 'closed' ELSE 'ok' END;
END $$;

-- The hashes of entries that follow this one.
CREATE OR REPLACE FUNCTION access.chain(p_hash bytea, p_bodies text[]) RETURNS bytea[]
LANGUAGE plpgsql AS $$
DECLARE
    hash bytea := p_hash;
    hashes bytea[] := ARRAY[]::bytea[];
    body text;
    bytes bigint := 0;
BEGIN
    IF p_bodies IS NULL OR array_ndims(p_bodies) IS DISTINCT FROM 1 OR array_lower(p_bodies, 1) <> 1
        OR cardinality(p_bodies) > 10000 OR array_position(p_bodies, NULL) IS NOT NULL THEN
        RAISE 'one call appends 1 to 10000 entries' USING ERRCODE = '22023';
    ELSIF length(p_hash) IS DISTINCT FROM 32 THEN
        RAISE 'a hash has 32 bytes' USING ERRCODE = '22023';
    END IF;
    FOREACH body IN ARRAY p_bodies LOOP
        bytes := bytes + octet_length(body);
        IF octet_length(body) > 1048576 OR bytes > 16777216 THEN
            RAISE 'an entry has at most 1 MiB, and one call at most 16 MiB' USING ERRCODE = '54000';
        END IF;
        hash := sha256(hash || convert_to(body, 'UTF8'));
        hashes := hashes || hash;
    END LOOP;
    RETURN hashes;
END $$;

-- The JSON of a body. An escaped NUL, which jsonb refuses, becomes another character here; the body keeps it.
CREATE OR REPLACE FUNCTION access.parse(p_body text) RETURNS jsonb
LANGUAGE plpgsql AS $$
BEGIN
    RETURN replace(p_body, chr(92) || 'u0000', chr(92) || 'ufffd')::jsonb;
END $$;

-- The time that an entry says.
CREATE OR REPLACE FUNCTION access.time_of(p_entry jsonb) RETURNS timestamptz
LANGUAGE plpgsql AS $$
BEGIN
    IF p_entry->>'at' ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z$' THEN
        RETURN left(p_entry->>'at', 19)::timestamp AT TIME ZONE 'UTC';
    END IF;
    RAISE 'an entry has no time like 2026-12-01T17:00:00Z' USING ERRCODE = '22007';
END $$;

-- What a host may append that asks for its members and decides nothing: what the member who acts does to requests,
-- grants and preferences of their own. It may claim any member, as each of them could come to that host, so at worst
-- it asks for somebody and takes access back early. It never gives any: no approval, no grant, no change of the team.
CREATE OR REPLACE FUNCTION access.may_ask(p_entry jsonb) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    detail jsonb := p_entry->'event'->'detail';
    actor text := p_entry->>'actor';
    -- A clock that was accepted, or a review: others decided that.
    decided boolean := coalesce(detail->'because' ?| ARRAY['clock_accepted', 'not_kept'], false);
BEGIN
    RETURN coalesce(CASE p_entry->'event'->>'action'
        WHEN 'request.submitted' THEN detail->>'filed_by' = actor
        WHEN 'request.edited' THEN detail->>'by' = actor
        WHEN 'request.withdrawn' THEN detail->>'by' = actor AND NOT decided
        WHEN 'grant.revoked' THEN detail->>'by' = actor AND NOT decided
        WHEN 'preference.changed' THEN detail->>'member' = actor
        WHEN 'attempt.refused' THEN NOT p_entry ? 'told'
    END, false);
END $$;

-- Refuses an entry that this host may not append at this place.
CREATE OR REPLACE FUNCTION access.inspect(p_host access.host, p_seq bigint, p_entry jsonb) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    action text := p_entry->'event'->>'action';
BEGIN
    IF p_entry->>'seq' IS DISTINCT FROM p_seq::text OR jsonb_typeof(p_entry->'seq') <> 'number' THEN
        RAISE 'an entry at the place % says that it is %', p_seq, coalesce(p_entry->>'seq', 'none')
            USING ERRCODE = '22023';
    ELSIF jsonb_typeof(p_entry->'v') IS DISTINCT FROM 'number' OR (p_entry->>'v')::int < 3 THEN
        RAISE 'an entry of a shared log has format 3 or later' USING ERRCODE = '22023';
    ELSIF p_entry->>'host' IS DISTINCT FROM session_user::text THEN
        RAISE 'the host % may not append an entry of the host %', session_user, coalesce(p_entry->>'host', 'none')
            USING ERRCODE = '42501';
    ELSIF coalesce(length(p_entry->>'nonce'), 0) NOT BETWEEN 1 AND 64 THEN
        RAISE 'an entry has a nonce of 1 to 64 characters' USING ERRCODE = '22023';
    ELSIF action IS NULL THEN
        RAISE 'an entry has no action' USING ERRCODE = '22023';
    ELSIF p_host.may = 'read' OR p_host.may = 'ask' AND NOT access.may_ask(p_entry) THEN
        RAISE 'the host % may not append %', session_user, action
            USING ERRCODE = '42501', HINT = 'Use a host that has may = "decide" in [hosts] of the team file.';
    END IF;
END $$;

-- Makes a row for what this host will report. Only the session that has the turn does this, so no other makes one meanwhile.
-- ON CONFLICT would wait for a host that keeps its row locked.
CREATE OR REPLACE FUNCTION access.expect(p_role name) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM access.seen s WHERE s.role = p_role) THEN
        INSERT INTO access.seen (role) VALUES (p_role);
    END IF;
END $$;

-- Follows what an entry says about hosts.
CREATE OR REPLACE FUNCTION access.follow(p_entry jsonb) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    change record;
BEGIN
    IF p_entry->'event'->>'action' NOT IN ('team.initialized', 'team.applied') THEN
        RETURN;
    END IF;
    FOR change IN
        SELECT substr(c->>'what', 6) AS host, c->>'change' AS kind, c->'to'->>'may' AS may
        FROM jsonb_array_elements(p_entry->'event'->'detail'->'changes') c WHERE starts_with(c->>'what', 'host:')
    LOOP
        IF change.kind = 'remove' THEN
            UPDATE access.host h SET retired = true WHERE h.role = change.host;
            CONTINUE;
        END IF;
        IF change.may IS NULL OR change.may NOT IN ('decide', 'ask', 'read') OR octet_length(change.host) > 63 THEN
            RAISE 'the host % has no may of decide, ask or read', change.host USING ERRCODE = '22023';
        END IF;
        INSERT INTO access.host AS h (role, may, named) VALUES (change.host, change.may, true)
            ON CONFLICT (role) DO UPDATE SET may = excluded.may, named = true, retired = false;
        PERFORM access.expect(change.host);
        -- From the first that the log names, only those that it names count.
        UPDATE access.host h SET retired = true WHERE NOT h.named AND NOT h.retired;
    END LOOP;
    IF FOUND AND NOT EXISTS (SELECT FROM access.host h WHERE h.may = 'decide' AND NOT h.retired)
        AND (SELECT l.state FROM access.log l) = 'open' THEN
        RAISE 'no host would be left that may decide' USING ERRCODE = '55000';
    END IF;
END $$;

-- Appends entries after the one given. Verdicts:
-- ok; already: these very entries are there; behind: others are there; fork: the log does not have the entry given;
-- epoch: another epoch; clock: a time that is not now; closed.
CREATE OR REPLACE FUNCTION access.append(p_epoch bigint, p_prev_seq bigint, p_prev_hash bytea, p_bodies text[],
    OUT verdict text, OUT seq bigint, OUT hash bytea, OUT now timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    host access.host := access.caller();
    hashes bytea[] := access.chain(p_prev_hash, p_bodies);
    count int := cardinality(p_bodies);
    entries jsonb[] := ARRAY[]::jsonb[];
    times timestamptz[] := ARRAY[]::timestamptz[];
    entry jsonb;
    log access.log;
    last_time timestamptz;
BEGIN
    -- Before the lock, so that it is held briefly.
    FOR i IN 1 .. count LOOP
        entry := access.parse(p_bodies[i]);
        PERFORM access.inspect(host, p_prev_seq + i, entry);
        entries := entries || entry;
        times := times || access.time_of(entry);
    END LOOP;

    log := access.lock();
    now := access.now();
    SELECT e.seq, e.hash, e.at INTO seq, hash, last_time FROM access.entry e ORDER BY e.seq DESC LIMIT 1;
    seq := coalesce(seq, 0);
    hash := coalesce(hash, decode(repeat('00', 32), 'hex'));
    IF access.has(p_prev_seq + count, hashes[count]) THEN
        -- The answer must not come from a server that is no longer the leader. The row lock makes this a transaction
        -- that is committed; here its commit is made to wait for the standby.
        PERFORM access.wait_for_standby();
        verdict := 'already';
        seq := p_prev_seq + count;
        hash := hashes[count];
        RETURN;
    ELSIF log.epoch IS DISTINCT FROM p_epoch THEN
        verdict := 'epoch';
        RETURN;
    ELSIF log.state <> 'open' THEN
        verdict := 'closed';
        RETURN;
    ELSIF NOT access.has(p_prev_seq, p_prev_hash) THEN
        verdict := 'fork';
        RETURN;
    ELSIF seq <> p_prev_seq THEN
        verdict := 'behind';
        RETURN;
    END IF;

    FOR i IN 1 .. count LOOP
        IF (entries[i]->>'v')::int > log.write_format THEN
            RAISE 'entries of format % are not written here yet, only up to %', entries[i]->>'v', log.write_format
                USING ERRCODE = '0A000';
        END IF;
        -- Accepting another clock is the only entry that may go back. A new leader's clock may lag behind the last entry.
        IF last_time IS NULL OR entries[i]->'event'->>'action' = 'clock.accepted' THEN
            last_time := '-infinity';
        END IF;
        IF times[i] < greatest(last_time, now - interval '10 seconds')
            OR times[i] > greatest(last_time, now + interval '10 seconds') THEN
            verdict := 'clock';
            RETURN;
        END IF;
        last_time := times[i];
    END LOOP;
    INSERT INTO access.entry (seq, hash, body, host, at, taken)
        SELECT p_prev_seq + n, u.h, u.b, session_user, u.t, append.now
        FROM unnest(hashes, p_bodies, times) WITH ORDINALITY u (h, b, t, n);
    FOREACH entry IN ARRAY entries LOOP
        PERFORM access.follow(entry);
    END LOOP;
    -- Hosts accept what follows from a host's own removal only at the same time.
    IF NOT EXISTS (SELECT FROM access.host h WHERE h.role = host.role AND h.may = host.may AND NOT h.retired)
        AND (SELECT count(DISTINCT t) FROM unnest(times) t) > 1 THEN
        RAISE 'entries by which a host loses its rights have one time' USING ERRCODE = '22023';
    END IF;
    verdict := 'ok';
    seq := p_prev_seq + count;
    hash := hashes[count];
END $$;

-- A page of entries after this one. What it returns counts once a contact after it has succeeded.
CREATE OR REPLACE FUNCTION access.since(p_seq bigint, p_limit int)
RETURNS TABLE (seq bigint, hash bytea, body text, host text)
-- A page is kept in memory until it is whole.
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET work_mem = '32MB' AS $$
DECLARE
    bytes bigint := 0;
BEGIN
    PERFORM access.caller();
    FOR seq, hash, body, host IN
        SELECT e.seq, e.hash, e.body, e.host FROM access.entry e WHERE e.seq > p_seq ORDER BY e.seq
        LIMIT least(p_limit, 10000)
    LOOP
        RETURN NEXT;
        bytes := bytes + octet_length(body);
        EXIT WHEN bytes >= 8388608;
    END LOOP;
END $$;

-- Notes how far the caller is, and returns the end of the log. The caller's commit waits for the standby: that proves
-- that this server is still the leader, and that everything read from it before stays. Verdicts: ok; fork.
CREATE OR REPLACE FUNCTION access.contact(p_seq bigint, p_hash bytea, p_format int,
    OUT verdict text, OUT epoch bigint, OUT seq bigint, OUT hash bytea, OUT now timestamptz, OUT write_format int,
    OUT state text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM access.caller();
    PERFORM access.wait_for_standby();
    PERFORM set_config('idle_in_transaction_session_timeout', '4s', true);
    now := access.now();
    SELECT l.epoch, l.write_format, l.state INTO epoch, write_format, state FROM access.log l;
    SELECT e.seq, e.hash INTO seq, hash FROM access.entry e ORDER BY e.seq DESC LIMIT 1;
    seq := coalesce(seq, 0);
    hash := coalesce(hash, decode(repeat('00', 32), 'hex'));
    PERFORM pg_logical_emit_message(true, 'access', 'contact');
    IF NOT access.has(p_seq, p_hash) THEN
        verdict := 'fork';
        RETURN;
    END IF;
    -- At once where the host has come further, otherwise at most once a second.
    UPDATE access.seen s SET seq = p_seq, at = contact.now, format = p_format
    WHERE s.role = (
        SELECT r.role FROM access.seen r
        WHERE r.role = session_user AND (r.at IS NULL OR r.seq < p_seq OR r.at <= contact.now - interval '1 second')
        FOR UPDATE SKIP LOCKED
    );
    verdict := 'ok';
END $$;

-- Every host, and how far it is. For hosts and for the owner.
CREATE OR REPLACE FUNCTION access.hosts()
RETURNS TABLE (host text, may text, seen_seq bigint, seen_at timestamptz, format int, retired boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    IF NOT pg_has_role(session_user, current_user, 'USAGE') THEN
        PERFORM access.caller();
    END IF;
    RETURN QUERY SELECT h.role::text, h.may, s.seq, s.at, s.format, h.retired
        FROM access.host h JOIN access.seen s USING (role) ORDER BY h.role;
END $$;

-- Sets a value if its version is still this one (0: there is none yet). Returns the new version, or NULL.
-- Hosts that ask set only read marks: keys that begin with read/.
CREATE OR REPLACE FUNCTION access.side_set(p_key text, p_version bigint, p_value jsonb) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    host access.host := access.caller();
    new_version bigint;
BEGIN
    IF host.may = 'read' OR host.may = 'ask' AND NOT starts_with(p_key, 'read/') THEN
        RAISE 'the host % may not set %', session_user, p_key USING ERRCODE = '42501';
    ELSIF starts_with(p_key, 'lease/') THEN
        RAISE 'a lease is taken, not set' USING ERRCODE = '42501';
    ELSIF coalesce(octet_length(p_key), 0) NOT BETWEEN 1 AND 200
        OR coalesce(octet_length(p_value::text), 65537) > 65536 THEN
        RAISE 'a key has 1 to 200 bytes, and a value at most 64 KiB' USING ERRCODE = '54000';
    END IF;
    PERFORM set_config('lock_timeout', '5s', true);
    PERFORM set_config('idle_in_transaction_session_timeout', '4s', true);
    IF p_version = 0 THEN
        INSERT INTO access.side (key, version, value) VALUES (p_key, 1, p_value) ON CONFLICT DO NOTHING
            RETURNING version INTO new_version;
    ELSE
        UPDATE access.side s SET version = s.version + 1, value = p_value
            WHERE s.key = p_key AND s.version = p_version RETURNING s.version INTO new_version;
    END IF;
    PERFORM access.wait_for_standby();
    RETURN new_version;
END $$;

CREATE OR REPLACE FUNCTION access.side_get(p_key text, OUT version bigint, OUT value jsonb, OUT until timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM access.caller();
    SELECT s.version, s.value, s.until INTO version, value, until FROM access.side s WHERE s.key = p_key;
END $$;

-- Takes a lease, or extends the caller's own. Only for hosts that decide: a lease holds up the others.
CREATE OR REPLACE FUNCTION access.lease(p_key text, p_seconds int) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    host access.host := access.caller();
    now timestamptz := access.now();
    taken boolean;
BEGIN
    IF host.may <> 'decide' THEN
        RAISE 'the host % may not take leases', session_user USING ERRCODE = '42501';
    ELSIF coalesce(p_seconds, 0) NOT BETWEEN 1 AND 3600 OR coalesce(octet_length(p_key), 0) NOT BETWEEN 1 AND 200
        OR NOT starts_with(p_key, 'lease/') THEN
        RAISE 'a lease is for 1 to 3600 seconds, and its key is lease/ and a name, of at most 200 bytes' USING ERRCODE = '22023';
    END IF;
    PERFORM set_config('lock_timeout', '5s', true);
    PERFORM set_config('idle_in_transaction_session_timeout', '4s', true);
    INSERT INTO access.side AS s (key, version, value, until)
        VALUES (p_key, 1, to_jsonb(host.role::text), now + make_interval(secs => p_seconds))
        ON CONFLICT (key) DO UPDATE SET version = s.version + 1, value = excluded.value, until = excluded.until
        WHERE s.until <= now OR s.value = excluded.value
        RETURNING true INTO taken;
    -- A lease that somebody else has may be news from a server that is no longer the leader, but that only delays.
    RETURN coalesce(taken, false);
END $$;

-- Gives a lease back.
CREATE OR REPLACE FUNCTION access.release(p_key text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    host access.host := access.caller();
BEGIN
    PERFORM set_config('lock_timeout', '5s', true);
    PERFORM set_config('idle_in_transaction_session_timeout', '4s', true);
    UPDATE access.side s SET version = s.version + 1, until = access.now()
        WHERE s.key = p_key AND s.until > access.now() AND s.value = to_jsonb(host.role::text);
END $$;

-- The rest is for the owner. It runs with the rights of the caller.

-- Begins a log.
CREATE OR REPLACE FUNCTION access.create(p_name text, p_write_format int) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO access.log (name, write_format) VALUES (p_name, p_write_format);
END $$;

-- Lets a role use the log, until an entry of the log names hosts. NULL: no longer.
CREATE OR REPLACE FUNCTION access.allow(p_role name, p_may text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM access.lock();
    IF EXISTS (SELECT FROM access.host h WHERE h.role = p_role AND h.may = p_may AND NOT h.retired) THEN
        RETURN;
    ELSIF EXISTS (SELECT FROM access.host h WHERE h.named AND NOT h.retired) THEN
        RAISE 'the log itself names its hosts' USING ERRCODE = '55000', HINT = 'Change [hosts] in the team file.';
    END IF;
    IF p_may IS NULL THEN
        UPDATE access.host h SET retired = true WHERE h.role = p_role;
        RETURN;
    END IF;
    INSERT INTO access.host AS h (role, may, named) VALUES (p_role, p_may, false)
        ON CONFLICT (role) DO UPDATE SET may = excluded.may, named = false, retired = false;
    PERFORM access.expect(p_role);
END $$;

-- Copies entries of another log, with their numbers, hashes and times: before the log is opened, or while it is closed.
-- Verdicts: ok; already; fork.
CREATE OR REPLACE FUNCTION access.import(p_prev_seq bigint, p_prev_hash bytea, p_bodies text[],
    OUT verdict text, OUT seq bigint, OUT hash bytea)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    hashes bytea[] := access.chain(p_prev_hash, p_bodies);
    count int := cardinality(p_bodies);
    log access.log := access.lock();
    entry jsonb;
BEGIN
    IF log.state = 'open' THEN
        RAISE 'the log is %: entries are imported before it is opened', log.state USING ERRCODE = '55000';
    END IF;
    SELECT e.seq, e.hash INTO seq, hash FROM access.entry e ORDER BY e.seq DESC LIMIT 1;
    IF access.has(p_prev_seq + count, hashes[count]) THEN
        verdict := 'already';
    ELSIF coalesce(seq, 0) <> p_prev_seq OR NOT access.has(p_prev_seq, p_prev_hash) THEN
        verdict := 'fork';
        RETURN;
    ELSE
        FOR i IN 1 .. count LOOP
            entry := access.parse(p_bodies[i]);
            IF entry->>'seq' IS DISTINCT FROM (p_prev_seq + i)::text THEN
                RAISE 'an entry at the place % says that it is %', p_prev_seq + i, coalesce(entry->>'seq', 'none')
                    USING ERRCODE = '22023';
            END IF;
            INSERT INTO access.entry (seq, hash, body, host, at, taken)
                VALUES (p_prev_seq + i, hashes[i], p_bodies[i], coalesce(entry->>'host', ''), access.time_of(entry),
                    access.now());
            UPDATE access.log l SET write_format = (entry->>'v')::int WHERE l.write_format < (entry->>'v')::int;
            PERFORM access.follow(entry);
        END LOOP;
        verdict := 'ok';
    END IF;
    seq := p_prev_seq + count;
    hash := hashes[count];
END $$;

-- Opens a log: after an import, or again after it was closed, which begins an epoch.
CREATE OR REPLACE FUNCTION access.open() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM access.lock();
    UPDATE access.log l SET state = 'open', epoch = l.epoch + (l.state = 'closed')::int, taken_by = NULL
        WHERE l.state <> 'open';
END $$;

-- Closes a log, so that it can be moved elsewhere: by one host only.
CREATE OR REPLACE FUNCTION access.close(p_host name DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    log access.log := access.lock();
BEGIN
    IF log.state = 'closed' AND log.taken_by IS DISTINCT FROM p_host THEN
        RAISE 'the log was moved to the host %', coalesce(log.taken_by, 'of somebody else') USING ERRCODE = '55000';
    END IF;
    UPDATE access.log l SET state = 'closed', taken_by = p_host WHERE l.state = 'open';
END $$;

-- Begins an epoch, after a restore or where a standby was promoted by hand. It is later than the one given: the latest
-- that any host knows.
CREATE OR REPLACE FUNCTION access.raise_epoch(p_known bigint DEFAULT 0) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    raised bigint;
BEGIN
    PERFORM access.lock();
    UPDATE access.log l SET epoch = greatest(l.epoch, p_known) + 1 RETURNING l.epoch INTO raised;
    RETURN raised;
END $$;

-- Lets hosts write a newer format, once every host reads it.
CREATE OR REPLACE FUNCTION access.raise_format(p_format int) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    behind text;
BEGIN
    PERFORM access.lock();
    SELECT string_agg(h.role, ', ' ORDER BY h.role) INTO behind FROM access.host h JOIN access.seen s USING (role)
        WHERE NOT h.retired AND (s.format IS NULL OR s.format < p_format);
    IF behind IS NOT NULL THEN
        RAISE 'these hosts do not read format % yet: %', p_format, behind
            USING ERRCODE = '55000', HINT = 'Upgrade them, or remove them from [hosts] in the team file.';
    END IF;
    UPDATE access.log l SET write_format = p_format WHERE l.write_format < p_format;
END $$;

REVOKE ALL ON ALL TABLES IN SCHEMA access FROM PUBLIC, access_host;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA access FROM PUBLIC, access_host;
GRANT USAGE ON SCHEMA access TO access_host;
GRANT EXECUTE ON FUNCTION access.turn, access.append, access.since, access.contact, access.hosts, access.side_set,
    access.side_get, access.lease, access.release TO access_host;

UPDATE access.log SET sql_version = 1;
