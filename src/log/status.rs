//! What the database reports about the hosts, and about itself.

use tokio_postgres::Row;

use super::engine::{Engine, EngineError, unexpected};

/// How the database keeps what it acknowledges, as far as a host may see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineSettings {
    pub version: String,
    /// Empty: commits wait for no standby.
    pub synchronous_standbys: String,
    /// How many standbys are connected.
    pub standbys: i64,
    pub fsync: bool,
}

/// How far a host is, as the database knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostState {
    pub host: String,
    pub may: String,
    /// None: it never made contact.
    pub seen_seq: Option<i64>,
    /// Milliseconds since 1970.
    pub seen_at: Option<i64>,
    pub format: Option<i32>,
    pub retired: bool,
}

impl Engine {
    /// How far each host is.
    pub fn hosts(&mut self) -> Result<Vec<HostState>, EngineError> {
        let connection = self.connected()?;
        let sql = "SELECT host, may, seen_seq, (extract(epoch FROM seen_at) * 1000)::int8, format, retired
                   FROM access.hosts()";
        let rows = connection.wait(connection.client.query_typed(sql, &[]));
        self.finish(rows)?.iter().map(|row| host(row).map_err(|error| unexpected(&error))).collect()
    }

    pub fn settings(&mut self) -> Result<EngineSettings, EngineError> {
        let connection = self.connected()?;
        let sql = "SELECT current_setting('server_version'), current_setting('synchronous_standby_names'),
                   (SELECT count(*) FROM pg_stat_replication), current_setting('fsync') = 'on'";
        let rows = connection.wait(connection.client.query_typed(sql, &[]));
        let rows = self.finish(rows)?;
        let row = rows.first().ok_or_else(|| EngineError::Refused("the database gave no answer".to_owned()))?;
        let read = || -> Result<EngineSettings, tokio_postgres::Error> {
            Ok(EngineSettings {
                version: row.try_get(0)?,
                synchronous_standbys: row.try_get(1)?,
                standbys: row.try_get(2)?,
                fsync: row.try_get(3)?,
            })
        };
        read().map_err(|error| unexpected(&error))
    }
}

fn host(row: &Row) -> Result<HostState, tokio_postgres::Error> {
    Ok(HostState {
        host: row.try_get(0)?,
        may: row.try_get(1)?,
        seen_seq: row.try_get(2)?,
        seen_at: row.try_get(3)?,
        format: row.try_get(4)?,
        retired: row.try_get(5)?,
    })
}
