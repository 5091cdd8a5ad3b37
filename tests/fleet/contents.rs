//! The contents of a copy.

use std::collections::BTreeMap;

use rusqlite::Connection;

/// Every table that follows from the log, as text.
pub fn of_log(conn: &Connection) -> BTreeMap<String, Vec<String>> {
    let mut names = conn.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").unwrap();
    let names = names.query_map([], |row| row.get(0)).unwrap();
    let names: Vec<String> = names.map(Result::unwrap).collect();
    // What a host did itself is no part of the log.
    let of_host = ["replica", "outbox", "subscriber"];
    let of_log = names.into_iter().filter(|name| !of_host.contains(&name.as_str()) && !name.starts_with("sqlite"));
    of_log.map(|name| (name.clone(), rows(conn, &name))).collect()
}

fn rows(conn: &Connection, table: &str) -> Vec<String> {
    let mut rows = conn.prepare(&format!("SELECT * FROM \"{table}\"")).unwrap();
    let names: Vec<String> = rows.column_names().map(str::to_owned).collect();
    let of_log: Vec<usize> =
        (0..names.len()).filter(|at| !["expire_ran_at", "read_at"].contains(&names[*at].as_str())).collect();
    let rows = rows.query_map([], |row| {
        let values = of_log.iter().map(|at| row.get::<_, rusqlite::types::Value>(*at));
        Ok(format!("{:?}", values.collect::<Result<Vec<_>, _>>()?))
    });
    let mut rows: Vec<String> = rows.unwrap().map(Result::unwrap).collect();
    rows.sort();
    rows
}
