//! One connection to the database, with a deadline for each step.

use std::future::{Future, poll_fn};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use tokio_postgres::{AsyncMessage, Client, Connection, Error, NoTls};

use super::config::LogUrl;
use crate::tls::postgres::Tls;

/// How long a step may take.
pub const DEADLINE: Duration = Duration::from_secs(4);

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

/// What the server said besides its answers, such as that a commit did not wait for the standby.
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
        let connect = async {
            match &url.tls {
                Some(tls) => {
                    let (client, connection) = url.config.connect(Tls::new(Arc::clone(tls))).await?;
                    tokio::spawn(drive(connection, Arc::clone(&warnings)));
                    Ok(client)
                }
                None => {
                    let (client, connection) = url.config.connect(NoTls).await?;
                    tokio::spawn(drive(connection, Arc::clone(&warnings)));
                    Ok(client)
                }
            }
        };
        let client = within(&runtime, connect)?;
        Ok(LogConnection { runtime, client, warnings })
    }

    /// Waits for a step. After an error the connection is of no use, unless the server itself reported the error.
    pub fn wait<T>(&self, step: impl Future<Output = Result<T, Error>>) -> Result<T, StepError> {
        within(&self.runtime, step)
    }

    /// The warnings since the last call.
    pub fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut *self.warnings.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn within<T>(runtime: &Runtime, step: impl Future<Output = Result<T, Error>>) -> Result<T, StepError> {
    match runtime.block_on(async { timeout(DEADLINE, step).await }) {
        Ok(done) => Ok(done?),
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
