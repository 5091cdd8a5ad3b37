//! Compares the schema in the file with the one that this version makes.
//!
//! Someone who can write the file could add a trigger that changes other tables, replace a table with a view, or drop the triggers
//! that protect the log. So every write transaction first compares a hash of the whole schema.

use std::collections::BTreeMap;

use rusqlite::Connection;
use sha2::{Digest, Sha256};

use super::{Error, open};

/// The hash of the schema after all migrations. After a change of it the test below fails with the new hash.
const HASH: &str = "1102af8a293b8a5956f2328e1591942509df6bc079c23761cef70f79da874873";

/// Tables, indexes, triggers and views: from type and name to table and SQL text.
type Objects = BTreeMap<(String, String), (String, String)>;

fn hash(conn: &Connection) -> Result<String, Error> {
    // Each value is preceded by its length, so that no two schemas hash the same bytes.
    let sql = "SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_schema";
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    let mut hash = Sha256::new();
    while let Some(row) = rows.next()? {
        for column in 0..4 {
            let text = row.get_ref(column)?.as_bytes().map_err(Error::damaged)?;
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn objects(conn: &Connection) -> Result<Objects, Error> {
    let mut statement = conn.prepare("SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_schema")?;
    let mut rows = statement.query([])?;
    let mut objects = Objects::new();
    while let Some(row) = rows.next()? {
        let object: (String, String) = (row.get(0)?, row.get(1)?);
        if objects.insert(object.clone(), (row.get(2)?, row.get(3)?)).is_some() {
            return Err(Error::damaged(format!("the {} {} exists twice", object.0, object.1)));
        }
    }
    Ok(objects)
}

/// A database in memory after the migrations up to this version.
fn expected(version: u32) -> Result<Connection, Error> {
    let conn = Connection::open_in_memory()?;
    for migration in open::MIGRATIONS.iter().take(version as usize) {
        conn.execute_batch(migration)?;
    }
    Ok(conn)
}

/// Fails if the schema is not the one that this version makes.
pub(super) fn check(conn: &Connection) -> Result<(), Error> {
    refuse(differences(conn)?)
}

/// Fails if the schema is not the one that this older version made. A migration would run what was put into it: triggers, and the
/// conditions of tables.
pub(super) fn check_older(conn: &Connection, version: u32) -> Result<(), Error> {
    refuse(differences_from(version, conn)?)
}

fn refuse(differences: Vec<String>) -> Result<(), Error> {
    match differences.into_iter().next() {
        None => Ok(()),
        Some(first) => Err(Error::Invalid {
            message: format!("the database's schema was changed: {first}"),
            hint: "find out who could write the file, then restore a backup; `access doctor` lists all differences"
                .to_owned(),
        }),
    }
}

/// The differences between the schema and the one that this version makes.
pub(super) fn differences(conn: &Connection) -> Result<Vec<String>, Error> {
    // After a VACUUM the objects can be in another order. That changes the hash, but not the schema.
    if hash(conn)? == HASH {
        return Ok(Vec::new());
    }
    differences_from(open::VERSION, conn)
}

fn differences_from(version: u32, conn: &Connection) -> Result<Vec<String>, Error> {
    let mut expected = objects(&expected(version)?)?;
    let mut differences = Vec::new();
    for (object, made) in objects(conn)? {
        let (kind, name) = &object;
        match expected.remove(&object) {
            None => differences.push(format!("the {kind} {name} is not part of it")),
            Some(expected) if expected != made => {
                differences.push(format!("the {kind} {name} is not the one that access makes"));
            }
            Some(_) => {}
        }
    }
    differences.extend(expected.into_keys().map(|(kind, name)| format!("the {kind} {name} is missing")));
    Ok(differences)
}

/// Why a statement of this program can't be prepared: a table that it names was changed, or is now a view. Otherwise it is a bug.
pub(super) fn unprepared(conn: &Connection, error: rusqlite::Error) -> Error {
    match Error::from(error) {
        bug @ Error::Internal { .. } => check(conn).err().unwrap_or(bug),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "in a test, panicking is failing")]

    use super::*;

    #[test]
    fn the_hash_is_that_of_all_migrations() {
        let made = hash(&expected(open::VERSION).unwrap()).unwrap();
        assert_eq!(made, HASH, "the schema has changed: set HASH in src/store/schema.rs to {made}");
    }
}
