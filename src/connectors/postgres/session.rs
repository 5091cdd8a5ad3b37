//! The connection to the server, and what its errors mean.

use std::error::Error as _;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use postgres::config::{Host, SslMode};
use postgres::{Client, Config, Error, NoTls, Statement};
use rustls::ClientConfig;

use super::sql;
use crate::connectors::NotDone;
use crate::tls::postgres::Tls;

/// A connection with its prepared statements.
pub struct PostgresSession {
    pub client: Client,
    pub list: Statement,
    pub before_grant: Statement,
    pub before_revoke: Statement,
    pub end_login: Statement,
    pub starting: Statement,
    pub end_sessions: Statement,
}

/// Opens sessions.
pub struct PostgresServer {
    config: Config,
    tls: Option<Arc<ClientConfig>>,
    session: Option<PostgresSession>,
    /// Set when no connection was possible. The other operations of this run then do not try for as long again.
    down: Option<NotDone>,
}

impl PostgresServer {
    /// `tls`: None for a plain connection.
    pub fn new(mut config: Config, tls: Option<Arc<ClientConfig>>) -> PostgresServer {
        config
            .application_name("access")
            .connect_timeout(Duration::from_secs(5))
            .tcp_user_timeout(Duration::from_secs(10))
            .ssl_mode(if tls.is_some() { SslMode::Require } else { SslMode::Disable });
        PostgresServer { config, tls, session: None, down: None }
    }

    /// Whether all hosts are sockets of this machine.
    pub fn is_local(config: &Config) -> bool {
        config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_)))
    }

    fn open(&self) -> Result<PostgresSession, Error> {
        let mut client = match &self.tls {
            Some(tls) => self.config.connect(Tls::new(Arc::clone(tls)))?,
            None => self.config.connect(NoTls)?,
        };
        client.batch_execute(sql::SESSION)?;
        Ok(PostgresSession {
            list: client.prepare(&sql::list())?,
            before_grant: client.prepare(&sql::before_grant())?,
            before_revoke: client.prepare(&sql::before_revoke())?,
            end_login: client.prepare(&sql::end_login())?,
            starting: client.prepare(sql::STARTING)?,
            end_sessions: client.prepare(&sql::end_sessions())?,
            client,
        })
    }

    /// Does the work, which is the same if it is done twice: if the server ends the session meanwhile, a second time.
    pub fn with<T>(&mut self, work: impl Fn(&mut PostgresSession) -> Result<T, PostgresProblem>) -> Result<T, NotDone> {
        let mut again = true;
        loop {
            let mut session = self.session().map_err(|why| if again { why } else { why.later() })?;
            match work(&mut session) {
                Err(PostgresProblem::Sql(error)) if is_gone(&error) && again => again = false,
                Err(PostgresProblem::Sql(error)) if is_gone(&error) => return Err(not_done(&error)),
                // The answer is lost: the statement was sent, and may have had its effect. So the session is of no use.
                Err(PostgresProblem::Sql(error)) if error.as_db_error().is_none() => {
                    return Err(not_done(&error).later());
                }
                done => {
                    self.session = Some(session);
                    return done.map_err(|problem| match problem {
                        PostgresProblem::Sql(error) => not_done(&error),
                        PostgresProblem::NotDone(why) => why,
                    });
                }
            }
        }
    }

    fn session(&mut self) -> Result<PostgresSession, NotDone> {
        if let Some(why) = &self.down {
            return Err(why.clone());
        }
        if let Some(session) = self.session.take() {
            return Ok(session);
        }
        self.open().map_err(|error| {
            let why = not_done(&error);
            self.down = Some(why.clone());
            why
        })
    }
}

/// Why the work failed.
pub enum PostgresProblem {
    Sql(Error),
    NotDone(NotDone),
}

impl PostgresProblem {
    /// The server refused to do the rest.
    pub fn after(done: &str, error: Error) -> PostgresProblem {
        if error.as_db_error().is_none() || is_gone(&error) {
            return PostgresProblem::Sql(error);
        }
        PostgresProblem::NotDone(match not_done(&error) {
            NotDone::Later(why) => NotDone::Later(format!("{done}: {why}")),
            NotDone::Failed(why) => NotDone::Failed(format!("{done}: {why}")),
        })
    }
}

impl From<Error> for PostgresProblem {
    fn from(error: Error) -> PostgresProblem {
        PostgresProblem::Sql(error)
    }
}

/// The server ended the session: it is stopped or restarted, or somebody ended this backend.
fn is_gone(error: &Error) -> bool {
    error.is_closed() || error.code().is_some_and(|code| code.code().starts_with("57P"))
}

fn not_done(error: &Error) -> NotDone {
    if let Some(error) = error.as_db_error() {
        let code = error.code().code();
        let text = format!("PostgreSQL says: {} ({code})", error.message());
        // Connections, conflicts, resources (such as too many connections), shutdown or cancelled, locked, a standby.
        // PostgreSQL reports that two sessions changed one role as an internal error.
        let passing = ["08", "40", "53", "57", "58"].iter().any(|class| code.starts_with(class))
            || ["55P03", "25006"].contains(&code)
            || (code == "XX000" && error.message().contains("concurrently"));
        return if passing { NotDone::Later(text) } else { NotDone::Failed(text) };
    }
    // The library's texts: `error connecting to server: connection refused`.
    let mut text = error.to_string();
    let mut cause = error.source();
    let mut lasting = !error.is_closed();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.ends_with(&said) {
            text = format!("{text}: {said}");
        }
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            // A certificate that is not trusted is invalid data.
            use ErrorKind::{InvalidData, InvalidInput, PermissionDenied, Unsupported};
            lasting = [InvalidData, InvalidInput, PermissionDenied, Unsupported].contains(&error.kind());
        }
        cause = error.source();
    }
    lasting &= !text.contains("timeout waiting for server");
    if lasting { NotDone::Failed(text) } else { NotDone::Later(text) }
}
