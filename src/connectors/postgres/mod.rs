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
    /// Grant superuser roles and roles that begin with pg_ too
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
            // A role whose name can't be a Unix user name can't be the login of a member.
            let login: Option<Login> = std::str::from_utf8(row.get(0)).ok().and_then(|login| login.parse().ok());
            let role: &str = row.get(1);
            let asked = roles.iter().filter(move |(name, _)| *name == role);
            let holders: Vec<Holder> = login
                .into_iter()
                .flat_map(|login| {
                    asked.clone().map(move |(_, all)| Holder { login: login.clone(), parameters: (*all).clone() })
                })
                .collect();
            holders
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
                return refuse(format!("{role} is a system role, or a superuser (--allow-system-roles)"));
            }
            if found.get("is_me") {
                return refuse(format!("{login} is the login of this connector"));
            }
            if found.get("is_group") {
                return refuse(format!("{login} can't log in: everybody who has that role would get {role}"));
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
            let revoke = text(&found, "revoke")?;
            if !revoke.is_empty() {
                session.client.batch_execute(&(revoke + &text(&found, "end_login")?))?;
            }
            if act.end_sessions {
                end_sessions(session, login)?;
            }
            let others: Vec<&[u8]> = found.get("others");
            if !others.is_empty() {
                let others = others.into_iter().map(String::from_utf8_lossy).collect::<Vec<_>>().join(" and ");
                let why = format!("{login} still has {role}: {others} granted it too, and access does not undo that");
                return Err(PostgresProblem::NotDone(NotDone::Failed(why)));
            }
            if found.get("indirect") {
                return Ok(Some(format!("{login} can still use {role}, as a superuser or through another role")));
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

/// A statement that the server wrote. Empty if none is needed.
fn text(row: &Row, name: &str) -> Result<String, PostgresProblem> {
    Ok(row.try_get::<_, Option<String>>(name)?.unwrap_or_default())
}

/// How long ended sessions may take to disappear.
const ENDING: Duration = Duration::from_secs(3);

/// Ends the login's sessions, and waits until they are gone.
fn end_sessions(session: &mut PostgresSession, login: &Login) -> Result<(), PostgresProblem> {
    let begun = Instant::now();
    loop {
        let asked = session.client.query_one(&session.end_sessions, &[&login.as_str()]);
        let sessions: i64 = match asked {
            Ok(row) => row.get(0),
            Err(error) if error.code().is_some_and(|code| code.code() == "42501") => {
                let why = error.as_db_error().map_or("", |error| error.message());
                let why = format!("the sessions of {login} can't be ended: {why}");
                return Err(PostgresProblem::NotDone(NotDone::Failed(why)));
            }
            Err(error) => return Err(error.into()),
        };
        if sessions == 0 {
            return Ok(());
        }
        if begun.elapsed() > ENDING {
            let why = format!("{sessions} open sessions of {login} do not end");
            return Err(PostgresProblem::NotDone(NotDone::Later(why)));
        }
        sleep(Duration::from_millis(20));
    }
}
