//! What a database has.

use std::path::Path;

use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags};

/// All rows of all tables, which SQLite itself finds sound.
pub fn rows(path: &Path) -> String {
    let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
    let check: String = conn.query_row("PRAGMA quick_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok", "{}", path.display());
    let version: i64 = conn.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    let mut all = format!("version {version}\n");
    let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name";
    let mut statement = conn.prepare(tables).unwrap();
    let tables: Vec<String> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    for table in tables {
        let mut statement = conn.prepare(&format!("SELECT * FROM \"{table}\"")).unwrap();
        let width = statement.column_count();
        let mut found = statement.query([]).unwrap();
        let mut lines = Vec::new();
        while let Some(row) = found.next().unwrap() {
            let values: Vec<String> = (0..width).map(|at| text(row.get(at).unwrap())).collect();
            lines.push(format!("{table}: {}\n", values.join("|")));
        }
        lines.sort();
        all.extend(lines);
    }
    all
}

fn text(value: Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => number.to_string(),
        Value::Text(text) => format!("{text:?}"),
        Value::Blob(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

/// Of such rows, what does not depend on random numbers and the order of entries: of each entry its time, actor, Unix user, action
/// and request, and of each other table how many rows it has.
pub fn recorded(rows: &str) -> String {
    let line = |line: &str| match line.split_once(": ") {
        Some(("event", entry)) => entry.splitn(7, '|').skip(1).take(5).collect::<Vec<_>>().join("|"),
        Some((table, _)) => table.to_owned(),
        None => line.to_owned(),
    };
    let mut lines: Vec<String> = rows.lines().map(line).collect();
    lines.sort();
    lines.join("\n")
}
