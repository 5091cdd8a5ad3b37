//! Values that hosts share outside the log, changed by compare-and-set, and leases.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::engine::{Engine, EngineError, Param, unexpected};

/// A value beside the log, in JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SideValue {
    /// Goes up with each change. 0: there is no value yet.
    pub version: i64,
    pub value: Option<String>,
}

const GET: &str = "SELECT coalesce(side.version, 0), side.value::text
     FROM unnest($1::text[]) WITH ORDINALITY AS wanted (key, place), access.side_get(wanted.key) AS side ORDER BY place";
const SET: &str = "SELECT access.side_set($1, $2, $3::text::jsonb)";
const SET_PART: &str =
    "SELECT access.side_set($1, coalesce((SELECT version FROM access.side_get($1)), 0), $2::text::jsonb)";

impl Engine {
    /// Takes a lease, or extends the one that this host has. False: another host has it.
    pub fn lease(&mut self, key: &str, seconds: i32) -> Result<bool, EngineError> {
        let rows = self.ask_side("SELECT access.lease($1, $2)", &[(&key, Type::TEXT), (&seconds, Type::INT4)])?;
        rows.first().map_or(Ok(false), |row| row.try_get(0)).map_err(|error| unexpected(&error))
    }

    /// Gives a lease back.
    pub fn release(&mut self, key: &str) -> Result<(), EngineError> {
        self.ask_side("SELECT access.release($1)", &[(&key, Type::TEXT)]).map(drop)
    }

    /// These values, in order.
    pub fn side_get(&mut self, keys: &[String]) -> Result<Vec<SideValue>, EngineError> {
        let rows = self.ask_side(GET, &[(&keys, Type::TEXT_ARRAY)])?;
        let value = |row: &Row| Ok(SideValue { version: row.try_get(0)?, value: row.try_get(1)? });
        rows.iter().map(value).collect::<Result<_, _>>().map_err(|error| unexpected(&error))
    }

    /// Sets a value if its version is still this one, and in the same transaction its parts, which are set only together with
    /// it. Returns the new version. None: another host was first.
    pub fn side_set(
        &mut self,
        key: &str,
        version: i64,
        value: &str,
        parts: &[(String, String)],
    ) -> Result<Option<i64>, EngineError> {
        let set: [Param<'_>; 3] = [(&key, Type::TEXT), (&version, Type::INT8), (&value, Type::TEXT)];
        if parts.is_empty() {
            return new_version(&self.ask_side(SET, &set)?);
        }
        let connection = self.connected()?;
        connection.take_warnings();
        let client = &connection.client;
        let answer = connection.wait(async {
            let (begun, set) = tokio::join!(client.batch_execute("BEGIN"), client.query_typed(SET, &set));
            begun?;
            set
        });
        let new = new_version(&self.finish(answer)?)?;
        if new.is_none() {
            self.let_go();
            return Ok(None);
        }
        let connection = self.connected()?;
        let client = &connection.client;
        let answer = connection.wait(async {
            for (key, value) in parts {
                client.query_typed(SET_PART, &[(key, Type::TEXT), (value, Type::TEXT)]).await?;
            }
            client.batch_execute("COMMIT").await
        });
        self.finish(answer)?;
        self.no_warnings()?;
        Ok(new)
    }

    fn ask_side(&mut self, sql: &str, asked: &[Param<'_>]) -> Result<Vec<Row>, EngineError> {
        let connection = self.connected()?;
        connection.take_warnings();
        let answer = connection.wait(connection.client.query_typed(sql, asked));
        let rows = self.finish(answer)?;
        self.no_warnings()?;
        Ok(rows)
    }
}

fn new_version(rows: &[Row]) -> Result<Option<i64>, EngineError> {
    rows.first().map_or(Ok(None), |row| row.try_get(0)).map_err(|error| unexpected(&error))
}
