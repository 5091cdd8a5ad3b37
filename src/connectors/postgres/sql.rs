//! The statements. The server itself quotes names (`format('%I')`) and looks them up by index.
//!
//! A name of more than 63 bytes would be cut by the server, and could then be another role: such a name is no role here.
//! Since PostgreSQL 16, one login can have one role from several grantors, and a membership can be of no use (it only lets
//! the member administer the role). `to_jsonb` reads the columns that older servers lack.

/// Set for each session. To plan a statement takes longer than to run it, so it is planned once. The empty path makes sure that no function of another schema is called.
pub const SESSION: &str = "SET search_path = ''; SET statement_timeout = '10s'; SET lock_timeout = '5s'; \
     SET idle_in_transaction_session_timeout = '30s'; SET timezone = 'UTC'; SET client_min_messages = warning; \
     SET default_transaction_read_only = off; SET plan_cache_mode = force_generic_plan";

/// The comment of a login that `--create-logins` made.
const MARK: &str = "Created by access.";

/// How many sessions such a login can have, so that one member can't use up the server's.
const CONNECTIONS: u8 = 20;

/// What the statements below know: the connector's login, a login ($1), a role ($2), and the memberships of both.
fn known() -> String {
    format!(
        "WITH me AS (
            SELECT oid, rolsuper, current_setting('server_version_num')::int >= 160000 AS several
            FROM pg_roles WHERE rolname = current_user),
        login AS (
            SELECT oid, rolname, rolsuper, rolcanlogin, rolvaliduntil FROM pg_roles
            WHERE rolname = $1::text::name AND octet_length($1::text) < 64),
        role AS (
            SELECT oid, rolname, rolsuper, rolcanlogin FROM pg_roles
            WHERE rolname = $2::text::name AND octet_length($2::text) < 64),
        membership AS (
            SELECT coalesce(grantor.rolname::text, 'a role that is gone') AS grantor, {OURS} AS ours
            FROM (
                SELECT * FROM pg_auth_members
                WHERE roleid = (SELECT oid FROM role) AND member = (SELECT oid FROM login) OFFSET 0) m
            CROSS JOIN me LEFT JOIN pg_roles grantor ON grantor.oid = m.grantor
            WHERE {USABLE}),
        made AS (
            SELECT oid, rolname, rolvaliduntil FROM login WHERE rolvaliduntil IS NOT NULL
                AND shobj_description(oid, 'pg_authid') = '{MARK}')"
    )
}

/// The connector's login granted the membership `m`, as far as that can be told.
const OURS: &str = "CASE WHEN me.rolsuper THEN m.grantor = me.oid OR (me.several AND m.grantor = 10)
    ELSE pg_has_role(me.oid, m.grantor, 'USAGE') END";

/// Before a grant. $3: the end of access, in seconds since 1970.
pub fn before_grant() -> String {
    format!(
        "{}, ending AS (
            SELECT CASE WHEN $3::bigint IS NULL THEN 'infinity' ELSE to_timestamp($3::bigint) END AS at)
        SELECT EXISTS (SELECT FROM login) AS has_login,
            EXISTS (SELECT FROM login WHERE NOT rolcanlogin) AS is_group,
            ARRAY(SELECT textsend(other.rolname::text)
                FROM login JOIN pg_auth_members m ON m.roleid = login.oid JOIN pg_roles other ON other.oid = m.member
                WHERE {USABLE} AND NOT other.rolsuper AND other.oid <> me.oid ORDER BY other.rolname) AS members,
            EXISTS (SELECT FROM role) AS has_role,
            EXISTS (SELECT FROM login WHERE login.oid = me.oid) AS is_me,
            EXISTS (SELECT FROM role, pg_roles system
                WHERE {SYSTEM} AND pg_has_role(role.oid, system.oid, 'MEMBER')) AS is_system,
            EXISTS (SELECT FROM role WHERE NOT rolsuper AND EXISTS (
                SELECT FROM pg_roles other WHERE other.rolcanlogin AND pg_has_role(role.oid, other.oid, 'MEMBER'))) AS is_login,
            EXISTS (SELECT FROM membership) AS is_held,
            format('CREATE ROLE %I LOGIN CONNECTION LIMIT {CONNECTIONS} VALID UNTIL %L; COMMENT ON ROLE %1$I IS %3$L; ',
                $1::text, (SELECT at FROM ending), '{MARK}') AS make_login,
            (SELECT format('ALTER ROLE %I VALID UNTIL %L; ', rolname, ending.at) FROM made, ending
                WHERE rolvaliduntil < ending.at) AS extend_login,
            format('GRANT %I TO %I', $2::text, $1::text) || CASE WHEN several THEN ' WITH SET TRUE' ELSE '' END AS grant
        FROM me",
        known()
    )
}

/// The role `system` gives rights in the whole server. The owner of a database is an implicit member of pg_database_owner (6171).
const SYSTEM: &str = "(system.rolname::text LIKE 'pg\\_%' AND (system.oid <> 6171 OR role.oid = 6171)
    OR system.rolsuper OR system.rolcreaterole OR system.rolreplication OR system.rolbypassrls)";

/// Before a revoke. `renamed`: which roles the missing one can be now. `sessions`: the login's open ones. `indirect`: the login has the role in another way too.
pub fn before_revoke() -> String {
    format!(
        "{}
        SELECT ARRAY(SELECT textsend(grantor) FROM membership WHERE NOT ours) AS others,
            (SELECT string_agg(format('REVOKE %I FROM %I', $2::text, $1::text)
                || CASE WHEN several THEN format(' GRANTED BY %I', grantor) ELSE '' END || '; ', '')
                FROM membership WHERE ours) AS revoke,
            ARRAY(SELECT textsend(other.rolname::text)
                FROM login JOIN pg_auth_members m ON m.member = login.oid JOIN pg_roles other ON other.oid = m.roleid
                WHERE NOT EXISTS (SELECT FROM role) AND {OURS} ORDER BY other.rolname) AS renamed,
            EXISTS (SELECT FROM made) AS is_made,
            (SELECT count(*) FROM pg_stat_get_activity(NULL) s, login WHERE s.usesysid = login.oid) AS sessions,
            EXISTS (SELECT FROM login, role WHERE login.rolsuper OR EXISTS (
                SELECT FROM pg_auth_members m WHERE m.member = login.oid AND m.roleid <> role.oid
                    AND pg_has_role(m.roleid, role.oid, 'MEMBER'))) AS indirect,
            EXISTS (SELECT FROM role WHERE rolcanlogin) AS is_login
        FROM me",
        known()
    )
}

/// After a revoke, for a login that `--create-logins` made: ends it, unless it has another role.
pub fn end_login() -> String {
    format!(
        "{}
        SELECT format('ALTER ROLE %I VALID UNTIL %L', rolname, now()) AS end_login FROM made
            WHERE rolvaliduntil > now() AND NOT EXISTS (
                SELECT FROM pg_auth_members m
                WHERE m.member = made.oid AND m.roleid IS DISTINCT FROM (SELECT oid FROM role))",
        known()
    )
}

/// The membership `m` lets the member use the role.
const USABLE: &str = "(coalesce((to_jsonb(m)->>'inherit_option')::bool, true) OR (to_jsonb(m)->>'set_option')::bool)";

/// The processes of sessions that are still starting, all or only of these ($1). Such a session may have got a role before that was
/// revoked (`role` in the startup packet), and has a user in the list of sessions only when it has started. Until then it has a
/// lock on its database.
pub const STARTING: &str = "SELECT coalesce(array_agg(DISTINCT l.pid), '{}')
    FROM pg_locks l LEFT JOIN pg_stat_get_activity(NULL) s ON s.pid = l.pid
    WHERE l.locktype = 'object' AND l.classid = 1262 AND l.mode = 'RowExclusiveLock' AND l.granted AND s.usesysid IS NULL
        AND l.pid IS NOT NULL AND ($1::int[] IS NULL OR l.pid = ANY ($1::int[]))";

/// Ends the sessions of a login ($1) and of its members, who could take its roles: all or only those of these processes ($2). Returns the
/// processes of those that were there.
pub fn end_sessions() -> String {
    format!(
        "WITH RECURSIVE holder AS (
            SELECT oid FROM pg_roles WHERE rolname = $1::text::name AND octet_length($1::text) < 64
            UNION SELECT other.oid
                FROM holder JOIN pg_auth_members m ON m.roleid = holder.oid JOIN pg_roles other ON other.oid = m.member
                WHERE {USABLE} AND NOT other.rolsuper AND other.rolname <> current_user)
        SELECT coalesce(array_agg(s.pid), '{{}}'), bool_and(pg_terminate_backend(s.pid))
        FROM pg_stat_get_activity(NULL) s JOIN holder ON holder.oid = s.usesysid
        WHERE s.pid <> pg_backend_pid() AND ($2::int[] IS NULL OR s.pid = ANY ($2::int[]))"
    )
}

/// Who has the roles $1, or can give them to themselves, but the login of the connector, which may have to have a role in order to grant
/// it. Logins are bytes: one that was made in a database of another encoding may not be valid UTF-8.
pub fn list() -> String {
    format!(
        "SELECT textsend(login.rolname::text), role.rolname::text, bool_or({USABLE})
        FROM pg_roles role JOIN pg_auth_members m ON m.roleid = role.oid JOIN pg_roles login ON login.oid = m.member
        WHERE role.rolname::text = ANY ($1::text[]) AND login.rolname <> current_user AND ({USABLE} OR m.admin_option)
        GROUP BY login.rolname, role.rolname"
    )
}
