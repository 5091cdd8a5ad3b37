//! One connection to the database, with a deadline for each step.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::{AlertDescription, CertificateError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_postgres::{AsyncMessage, Client, Config, Connection, Error, NoTls};

use super::config::LogUrl;
use crate::tls::postgres::Tls;

/// How long a step may take.
pub const DEADLINE: Duration = Duration::from_secs(4);

/// How long the turn may take: longer than the database lets a host wait for it, so that it says who has it.
pub const TURN_DEADLINE: Duration = Duration::from_secs(6);
/// How long a server may take to answer before the next is tried beside it.
const NEXT_AFTER: Duration = Duration::from_millis(500);

/// Why a step failed.
#[derive(Debug)]
pub enum StepError {
    Sql(Error),
    /// No answer within the deadline.
    Late,
    /// The runtime could not be started.
    Io(std::io::Error),
}

impl From<Error> for StepError {
    fn from(error: Error) -> StepError {
        StepError::Sql(error)
    }
}

/// Warnings that the server sent with its answers, such as that a commit did not wait for the standby.
type Warnings = Arc<Mutex<Vec<String>>>;

pub struct LogConnection {
    runtime: Runtime,
    pub client: Client,
    warnings: Warnings,
}

impl LogConnection {
    pub fn open(url: &LogUrl) -> Result<LogConnection, StepError> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(StepError::Io)?;
        let warnings = Warnings::default();
        match within(DEADLINE, &runtime, connect_to_any(url, &warnings)) {
            Ok(client) => Ok(LogConnection { runtime, client, warnings }),
            Err(error) => {
                // Does not wait for the look-up of a name.
                runtime.shutdown_background();
                Err(error)
            }
        }
    }

    /// Waits for a step. After an error the connection is of no use, unless the server itself reported the error.
    pub fn wait<T>(&self, step: impl Future<Output = Result<T, Error>>) -> Result<T, StepError> {
        within(DEADLINE, &self.runtime, step)
    }

    pub fn wait_for_turn<T>(&self, step: impl Future<Output = Result<T, Error>>) -> Result<T, StepError> {
        within(TURN_DEADLINE, &self.runtime, step)
    }

    /// The warnings since the last call.
    pub fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut *self.warnings.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Connects to the first server that answers and can be written to. A server that hangs accepts connections and says nothing.
async fn connect_to_any(url: &LogUrl, warnings: &Warnings) -> Result<Client, StepError> {
    let mut left: VecDeque<&Config> = url.servers.iter().collect();
    let mut begun = JoinSet::new();
    let mut failed: Option<Error> = None;
    loop {
        if let Some(server) = left.pop_front() {
            begun.spawn(connect_to(server.clone(), url.tls.clone(), Arc::clone(warnings)));
        }
        let answered = if left.is_empty() {
            begun.join_next().await
        } else {
            match timeout(NEXT_AFTER, begun.join_next()).await {
                Ok(answered) => answered,
                Err(_) => continue,
            }
        };
        match answered {
            Some(Ok(Ok(client))) => return Ok(client),
            // What a server itself says explains more than a server that is down.
            Some(Ok(Err(error))) if failed.as_ref().is_none_or(|failed| failed.as_db_error().is_none()) => {
                failed = Some(error);
            }
            Some(_) => {}
            None => return Err(failed.map_or(StepError::Late, StepError::Sql)),
        }
    }
}

async fn connect_to(
    server: Config,
    tls: Option<Arc<rustls::ClientConfig>>,
    warnings: Warnings,
) -> Result<Client, Error> {
    match tls {
        Some(tls) => {
            let (client, connection) = server.connect(Tls::new(tls)).await?;
            tokio::spawn(drive(connection, warnings));
            Ok(client)
        }
        None => {
            let (client, connection) = server.connect(NoTls).await?;
            tokio::spawn(drive(connection, warnings));
            Ok(client)
        }
    }
}

fn within<T, E: Into<StepError>>(
    deadline: Duration,
    runtime: &Runtime,
    step: impl Future<Output = Result<T, E>>,
) -> Result<T, StepError> {
    match runtime.block_on(async { timeout(deadline, step).await }) {
        Ok(done) => done.map_err(E::into),
        Err(_) => Err(StepError::Late),
    }
}

/// Moves the bytes of a connection, and keeps what the server warns of.
async fn drive<S, T>(mut connection: Connection<S, T>, warnings: Warnings)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
        if let AsyncMessage::Notice(notice) = message
            && !["NOTICE", "INFO", "LOG", "DEBUG"].contains(&notice.severity())
        {
            warnings.lock().unwrap_or_else(PoisonError::into_inner).push(notice.message().to_owned());
        }
    }
}

/// Whose certificate has ended, if that is why.
pub fn ended_certificate(error: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    let inner = error.downcast_ref::<std::io::Error>()?.get_ref()?;
    match inner.downcast_ref::<rustls::Error>()? {
        rustls::Error::AlertReceived(AlertDescription::CertificateExpired) => Some("this host's certificate has ended"),
        rustls::Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            Some("the server's certificate has ended")
        }
        _ => None,
    }
}
