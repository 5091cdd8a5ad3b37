//! PostgreSQL: membership of a role.

mod session;
mod sql;

use std::cell::Cell;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use postgres::Row;

use self::session::{PostgresProblem, PostgresServer, PostgresSession};
use super::parameters::only;
use super::protocol::{Holder, Provision};
use super::user_name::no_login;
use super::{GrantEffect, NotDone, System};
use crate::domain::binding::Parameters;
use crate::domain::member::Login;
use crate::error::{Failure, Kind};
use crate::tls;

/// PostgreSQL: membership of a role (parameter: role)
#[derive(Debug, Args)]
pub struct PostgresArgs {
    /// postgresql://USER@HOST:PORT/DATABASE, without a password
    #[arg(long, value_name = "URL", conflicts_with_all = ["host", "port", "user", "dbname"])]
    pub url: Option<String>,
    /// The server's name, or the folder of its socket (default: /var/run/postgresql)
    #[arg(long)]
    pub host: Option<String>,
    /// The server's port (default: 5432)
    #[arg(long)]
    pub port: Option<u16>,
    /// Log in as this role (default: the name of the Unix user)
    #[arg(long)]
    pub user: Option<String>,
    /// The database to connect to; roles are shared by all databases of a server
    #[arg(long, default_value = "postgres")]
    pub dbname: String,
    /// The file with the password
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Encryption (default: verify-full, and disable for a socket)
    #[arg(long, value_name = "MODE", value_enum)]
    pub sslmode: Option<SslMode>,
    /// The certificates to trust, in PEM (default: the system's)
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Create logins that do not exist
    #[arg(long)]
    pub create_logins: bool,
    /// Grant roles with rights in the whole server too, such as superusers and pg_ roles
    #[arg(long)]
    pub allow_system_roles: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SslMode {
    /// Encrypt, and check the server's certificate and name
    VerifyFull,
    /// Do not encrypt
    Disable,
}

impl PostgresArgs {
    pub fn open(self) -> Result<Postgres, Failure> {
        let usage = |why: String| Failure::new(Kind::Usage, why);
        let mut config = match &self.url {
            Some(url) => url.parse().map_err(|error| {
                // The error does not repeat the URL.
                usage(format!("--url is not valid: {error}"))
            })?,
            None => {
                let mut config = postgres::Config::new();
                config.host(self.host.as_deref().unwrap_or("/var/run/postgresql")).dbname(&self.dbname);
                self.port.map(|port| config.port(port));
                self.user.as_ref().map(|user| config.user(user));
                config
            }
        };
        if config.get_password().is_some() {
            let failure = usage("--url has a password, which every user of this machine can see".to_owned());
            return Err(failure.hint("write it to a file of mode 0600, and name that with --password-file"));
        }
        if config.get_hosts().is_empty() {
            return Err(usage("--url names no host".to_owned()));
        }
        if let Some(file) = &self.password_file {
            config.password(tls::secret(file)?);
        }
        let local = PostgresServer::is_local(&config);
        let tls = match self.sslmode {
            Some(SslMode::Disable) => None,
            None if local => None,
            Some(SslMode::VerifyFull) if local => {
                return Err(usage("a socket can't be encrypted: leave out --sslmode".to_owned()));
            }
            Some(SslMode::VerifyFull) | None => Some(tls::client_config(self.ca_file.as_deref(), None)?),
        };
        let (create_logins, allow_system_roles) = (self.create_logins, self.allow_system_roles);
        Ok(Postgres { server: PostgresServer::new(config, tls), create_logins, allow_system_roles })
    }
}

pub struct Postgres {
    server: PostgresServer,
    create_logins: bool,
    allow_system_roles: bool,
}

impl System for Postgres {
    fn list(&mut self, parameters: &[Parameters]) -> Result<Vec<Holder>, NotDone> {
        // Nobody holds parameters that no operation accepts.
        let roles: Vec<(&str, &Parameters)> =
            parameters.iter().filter_map(|all| Some((only(all, "role").ok()?, all))).collect();
        let names: Vec<&str> = roles.iter().map(|(role, _)| *role).collect();
        let rows = self.server.with(|session| Ok(session.client.query(&session.list, &[&names])?))?;
        let holders = |row: &Row| {
            let bytes: &[u8] = row.get(0);
            let name = String::from_utf8_lossy(bytes);
            // Who can only grant the role does not have it. Nobody is taken for a member of the team by it.
            let has_role: bool = row.get(2);
            let login: Option<&str> = std::str::from_utf8(bytes).ok().filter(|_| has_role);
            let login: Option<Login> = login.and_then(|login| login.parse().ok());
            let login = login.unwrap_or_else(|| no_login(if has_role { "role" } else { "admin" }, &name));
            let role: &str = row.get(1);
            let asked = roles.iter().filter(|(name, _)| *name == role);
            let holder = |all: &Parameters| Holder { login: login.clone(), parameters: all.clone() };
            asked.map(|(_, all)| holder(all)).collect::<Vec<Holder>>()
        };
        Ok(rows.iter().flat_map(holders).collect())
    }

    fn grant(&mut self, act: &Provision) -> Result<GrantEffect, NotDone> {
        let role = only(&act.parameters, "role")?;
        let (create_logins, allow_system_roles) = (self.create_logins, self.allow_system_roles);
        let is_sent = Cell::new(false);
        self.server.with(|session| {
            let login = &act.login;
            let until = act.until.map(|until| until.unix());
            let found = session.client.query_one(&session.before_grant, &[&login.as_str(), &role, &until])?;
            let refuse = |why: String| Err(PostgresProblem::NotDone(NotDone::Failed(why)));
            let has_login: bool = found.get("has_login");
            if !found.get::<_, bool>("has_role") {
                return refuse(format!("there is no role {role}"));
            }
            if found.get("is_system") && !allow_system_roles {
                return refuse(format!("{role} is a system role, or a member of one (--allow-system-roles)"));
            }
            if found.get("is_login") {
                return refuse(format!(
                    "{role} can log in, or is a member of a role that can: {login} could set its password, and keep it"
                ));
            }
            if found.get("is_me") {
                return refuse(format!("{login} is the login of this connector"));
            }
            if found.get("is_group") {
                return refuse(format!("{login} can't log in: everybody who has that role would get {role}"));
            }
            let members: Vec<&[u8]> = found.get("members");
            if !members.is_empty() {
                return refuse(format!("{} can act as {login}, and would get {role} too", names(&members)));
            }
            if !has_login && !create_logins {
                return refuse(format!(
                    "there is no login {login}: create the role, or let the connector do it with --create-logins"
                ));
            }
            if !has_login && login.as_str().len() > LONGEST_NAME {
                return refuse(format!("{login} is longer than the {LONGEST_NAME} bytes of a PostgreSQL role"));
            }
            // One transaction.
            let mut statements = text(&found, if has_login { "extend_login" } else { "make_login" })?;
            let is_held: bool = found.get("is_held");
            // If the session ended meanwhile, this is the second try, and the first may have had its effect.
            let effect = if is_held && !is_sent.get() { GrantEffect::WasThere } else { GrantEffect::Given };
            if !is_held {
                statements += &text(&found, "grant")?;
                is_sent.set(true);
            }
            if !statements.is_empty() {
                session.client.batch_execute(&statements)?;
            }
            Ok(effect)
        })
    }

    fn revoke(&mut self, act: &Provision) -> Result<Option<String>, NotDone> {
        let role = only(&act.parameters, "role")?;
        let login = &act.login;
        self.server.with(|session| {
            let found = session.client.query_one(&session.before_revoke, &[&login.as_str(), &role])?;
            let (revoke, others): (String, Vec<&[u8]>) = (text(&found, "revoke")?, found.get("others"));
            // Alone and first: the member can keep everything locked that the rest needs.
            if !revoke.is_empty() {
                session.client.batch_execute(&revoke)?;
            }
            // The login is ended even if a session is not.
            let ended = if act.end_sessions { end_sessions(session, login) } else { Ok(()) };
            if found.get("is_made") && (others.is_empty() || !revoke.is_empty()) {
                ended.and(end_login(session, login, role))?;
            } else {
                ended?;
            }
            if !others.is_empty() {
                let others = names(&others);
                let why = format!("{login} still has {role}: {others} granted it too, and access does not undo that");
                return Err(PostgresProblem::NotDone(NotDone::Failed(why)));
            }
            // A role that was dropped took its memberships with it. One that was renamed is among those that access granted.
            let renamed: Vec<&[u8]> = found.get("renamed");
            if !renamed.is_empty() {
                let why = format!(
                    "there is no role {role} any more; if it was renamed, {login} still has it: access granted {login} {}",
                    names(&renamed)
                );
                return Err(PostgresProblem::NotDone(NotDone::Failed(why)));
            }
            if found.get("indirect") {
                return Ok(Some(format!("{login} can still use {role}, as a superuser or through another role")));
            }
            if found.get("is_login") {
                return Ok(Some(format!("{role} can log in, and {login} may have set its password")));
            }
            let sessions: i64 = found.get("sessions");
            if sessions == 0 || act.end_sessions {
                return Ok(None);
            }
            Ok(Some(format!(
                "{login} has open sessions ({sessions}): those that SET ROLE {role} keep it until they end"
            )))
        })
    }
}

/// In bytes.
const LONGEST_NAME: usize = 63;

/// Names of roles, which may not be valid UTF-8.
fn names(roles: &[&[u8]]) -> String {
    roles.iter().map(|name| String::from_utf8_lossy(name)).collect::<Vec<_>>().join(" and ")
}

/// A statement that the server wrote. Empty if none is needed.
fn text(row: &Row, name: &str) -> Result<String, PostgresProblem> {
    Ok(row.try_get::<_, Option<String>>(name)?.unwrap_or_default())
}

/// Ends a login that access made, after its last role was taken back.
fn end_login(session: &mut PostgresSession, login: &Login, role: &str) -> Result<(), PostgresProblem> {
    if let Some(row) = session.client.query_opt(&session.end_login, &[&login.as_str(), &role])? {
        let done = format!("{login} no longer has {role}, but the login can't be ended yet");
        let ended = session.client.batch_execute(&text(&row, "end_login")?);
        ended.map_err(|error| PostgresProblem::after(&done, error))?;
    }
    Ok(())
}

/// How long sessions may take to start, and to end.
const ENDING: Duration = Duration::from_secs(3);

/// Ends the sessions of the login and its members, and waits until they are gone. Those that begin after the revoke can't have got the role.
fn end_sessions(session: &mut PostgresSession, login: &Login) -> Result<(), PostgresProblem> {
    let later = |why: String| Err(PostgresProblem::NotDone(NotDone::Later(why)));
    let starting = left(|of| Ok(session.client.query_one(&session.starting, &[&of])?.get(0)))?;
    let open = left(|of| match session.client.query_one(&session.end_sessions, &[&login.as_str(), &of]) {
        Ok(row) => Ok(row.get(0)),
        Err(error) if error.code().is_some_and(|code| code.code() == "42501") => {
            let why = error.as_db_error().map_or("", |error| error.message());
            let why = format!("the sessions of {login} can't be ended: {why}");
            Err(PostgresProblem::NotDone(NotDone::Failed(why)))
        }
        Err(error) => Err(error.into()),
    })?;
    if open > 0 {
        return later(format!("{login} has sessions that do not end: {open}"));
    }
    if starting > 0 {
        return later(format!("sessions that are still starting, and may be of {login}: {starting}"));
    }
    Ok(())
}

/// Asks for processes, and then for those of them that are left, until none is. Returns how many there are at last.
fn left(mut ask: impl FnMut(Option<&[i32]>) -> Result<Vec<i32>, PostgresProblem>) -> Result<usize, PostgresProblem> {
    let begun = Instant::now();
    let mut those = ask(None)?;
    while !those.is_empty() && begun.elapsed() < ENDING {
        sleep(Duration::from_millis(20));
        those = ask(Some(&those))?;
    }
    Ok(those.len())
}
