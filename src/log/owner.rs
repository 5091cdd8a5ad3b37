//! Calls that only the owner of the log's database can make.

use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

use super::SQL;
use super::engine::{Engine, EngineError, Param, unexpected};
use crate::domain::audit::LogPlace;

/// A log as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedLog {
    pub team: String,
    pub state: LogState,
    pub epoch: i64,
    pub write_format: i32,
    /// The host that has taken a closed log.
    pub taken_by: Option<String>,
    pub head: LogPlace,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogState {
    /// It is filled with the entries of another log.
    Importing,
    Open,
    /// It was moved away.
    Closed,
}

const OWNED: &str = "SELECT l.name, l.state, l.epoch, l.write_format, l.taken_by::text, coalesce(e.seq, 0), e.hash
     FROM access.log l LEFT JOIN (SELECT seq, hash FROM access.entry ORDER BY seq DESC LIMIT 1) e ON true";
/// The first format with a host.
const FIRST_FORMAT: i32 = 3;

impl Engine {
    /// Installs or upgrades the database's side. Needs a role that may create schemas. Returns the team whose log it has.
    pub fn install(&mut self, team: &str) -> Result<String, EngineError> {
        let connection = self.connected()?;
        let installed = connection.wait(async {
            connection.client.batch_execute(SQL).await?;
            let create = "SELECT access.create($1, $2) WHERE NOT EXISTS (SELECT FROM access.log)";
            connection.client.query_typed(create, &[(&team, Type::TEXT), (&FIRST_FORMAT, Type::INT4)]).await
        });
        self.finish(installed)?;
        Ok(self.owned()?.team)
    }

    /// Lets a host in. `may`: decide, ask or read.
    pub fn allow(&mut self, role: &str, may: &str) -> Result<(), EngineError> {
        let connection = self.connected()?;
        let allowed = connection.wait(async {
            let client = &connection.client;
            client.query_typed("SELECT access.allow($1, $2)", &[(&role, Type::NAME), (&may, Type::TEXT)]).await?;
            let grant = "SELECT format('GRANT access_host TO %I', $1::text)";
            let grant = client.query_typed(grant, &[(&role, Type::TEXT)]).await?;
            if let Some(row) = grant.first() {
                match client.batch_execute(row.try_get(0)?).await {
                    // The owner of another log on this server let the same role in at this moment: it has what it needs.
                    Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => {}
                    granted => granted?,
                }
            }
            Ok(())
        });
        self.finish(allowed)
    }

    /// Adds entries that were recorded before the log was shared. Only for the owner of an empty log.
    pub fn import(&mut self, after: &LogPlace, bodies: &[String]) -> Result<(), EngineError> {
        let connection = self.connected()?;
        let hash = after.hash.as_slice();
        let asked: [Param<'_>; 3] = [(&after.seq, Type::INT8), (&hash, Type::BYTEA), (&bodies, Type::TEXT_ARRAY)];
        let sql = "SELECT verdict FROM access.import($1, $2, $3)";
        let imported = connection.wait(connection.client.query_typed(sql, &asked));
        let rows = self.finish(imported)?;
        let verdict: &str = rows.first().map_or(Ok(""), |row| row.try_get(0)).map_err(|error| unexpected(&error))?;
        match verdict {
            "ok" | "already" => Ok(()),
            _ => Err(EngineError::Refused("it has other entries already".to_owned())),
        }
    }

    /// Ends the import: hosts can append from now on.
    pub fn open_log(&mut self) -> Result<(), EngineError> {
        let connection = self.connected()?;
        let opened = connection.wait(connection.client.query_typed("SELECT access.open()", &[]));
        self.finish(opened).map(drop)
    }

    /// Ends appending, as a host takes the log. No other host can take it from then on.
    pub fn close_log(&mut self, host: &str) -> Result<(), EngineError> {
        let connection = self.connected()?;
        let sql = "SELECT access.close($1)";
        let closed = connection.wait(connection.client.query_typed(sql, &[(&host, Type::NAME)]));
        self.finish(closed).map(drop)
    }

    /// The log as its owner sees it.
    pub fn owned(&mut self) -> Result<OwnedLog, EngineError> {
        let connection = self.connected()?;
        let read = connection.wait(connection.client.query_typed(OWNED, &[]));
        let rows = self.finish(read)?;
        let row = rows.first().ok_or_else(|| EngineError::Refused("there is no log in it".to_owned()))?;
        owned(row).map_err(|error| unexpected(&error))
    }

    /// Begins an epoch that is later than this one: after a restore. Only for the owner.
    pub fn raise_epoch(&mut self, known: i64) -> Result<i64, EngineError> {
        let connection = self.connected()?;
        let sql = "SELECT access.raise_epoch($1)";
        let raised = connection.wait(connection.client.query_typed(sql, &[(&known, Type::INT8)]));
        let rows = self.finish(raised)?;
        rows.first().map_or(Ok(0), |row| row.try_get(0)).map_err(|error| unexpected(&error))
    }

    /// Lets hosts write this format. Refused while a host does not read it. Only for the owner.
    pub fn raise_format(&mut self, format: u32) -> Result<(), EngineError> {
        let connection = self.connected()?;
        let format = i32::try_from(format).unwrap_or(i32::MAX);
        let sql = "SELECT access.raise_format($1)";
        let raised = connection.wait(connection.client.query_typed(sql, &[(&format, Type::INT4)]));
        self.finish(raised).map(drop)
    }
}

fn owned(row: &Row) -> Result<OwnedLog, tokio_postgres::Error> {
    let state = match row.try_get(1)? {
        "importing" => LogState::Importing,
        "open" => LogState::Open,
        _ => LogState::Closed,
    };
    let hash: Option<&[u8]> = row.try_get(6)?;
    let hash = hash.map_or(LogPlace::START.hash, |hash| hash.try_into().unwrap_or_default());
    Ok(OwnedLog {
        team: row.try_get(0)?,
        state,
        epoch: row.try_get(2)?,
        write_format: row.try_get(3)?,
        taken_by: row.try_get(4)?,
        head: LogPlace { seq: row.try_get(5)?, hash },
    })
}
