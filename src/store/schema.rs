//! The schema in the file, compared with the one that this version makes.
//!
//! Who can write the file can put a trigger into it that changes other tables, replace a table by a view, or drop the
//! triggers that guard the log. Every write compares the whole schema first, by a hash of its text.

use std::collections::BTreeMap;

use rusqlite::Connection;
use sha2::{Digest, Sha256};

use super::{Error, open};

/// The hash of the schema after all migrations. After a new migration a test below fails and says the new hash.
const HASH: &str = "69d4004b8a75020fa655f38c10304ba4c2fa71e1aa1b7305ef19e133e91a51c6";

/// A table, index, trigger or view: its type and name, and the table and SQL text that it was made with.
type Objects = BTreeMap<(String, String), (String, String)>;

fn hash(conn: &Connection) -> Result<String, Error> {
    // No object is left out, and none is read as another: each value is preceded by its length.
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
            return Err(Error::damaged(format!("the {} {} is there twice", object.0, object.1)));
        }
    }
    Ok(objects)
}

/// What all migrations make, in memory.
fn expected() -> Result<Connection, Error> {
    let conn = Connection::open_in_memory()?;
    for migration in open::MIGRATIONS {
        conn.execute_batch(migration)?;
    }
    Ok(conn)
}

/// Refuses a schema that this version did not make.
pub(super) fn check(conn: &Connection) -> Result<(), Error> {
    match differences(conn)?.into_iter().next() {
        None => Ok(()),
        Some(first) => Err(Error::Invalid {
            message: format!("the database's schema was changed: {first}"),
            hint: "find out who could write the file, then restore a backup; `access doctor` says all that is wrong"
                .to_owned(),
        }),
    }
}

/// How the schema differs from the one that this version makes; empty when it does not.
pub(super) fn differences(conn: &Connection) -> Result<Vec<String>, Error> {
    // The same objects in another order, as after a VACUUM, have another hash and no differences.
    if hash(conn)? == HASH {
        return Ok(Vec::new());
    }
    let mut expected = objects(&expected()?)?;
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

/// Refuses a view. Access makes none, and one in a table's place says whatever its author likes.
pub(super) fn no_views(conn: &Connection) -> Result<(), Error> {
    let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'view')";
    let any: bool = conn.query_row(sql, [], |row| row.get(0))?;
    if any { check(conn) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "in a test, panicking is failing")]

    use super::*;

    #[test]
    fn the_hash_is_that_of_all_migrations() {
        let made = hash(&expected().unwrap()).unwrap();
        assert_eq!(made, HASH, "the schema is another now: put {made} into HASH (src/store/schema.rs)");
    }
}
