//! The tables of fields in the documents, and the fields of what is printed.

use std::collections::BTreeSet;

use serde_json::Value;

/// The path of every field: `data.grant.demands[].rule`. What lies below the `closed` ones is described elsewhere.
pub fn paths(value: &Value, path: &str, closed: &[&str], into: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) if !closed.contains(&path) => {
            for (name, value) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                into.insert(path.clone());
                paths(value, &path, closed, into);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| paths(item, &format!("{path}[]"), closed, into)),
        _ => {}
    }
}

/// The first column of the table under a heading, without its marks.
pub fn column(page: &str, heading: &str) -> BTreeSet<String> {
    let section = page.split_once(&format!("## {heading}\n")).unwrap_or_else(|| panic!("no heading {heading}")).1;
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| row.split('`').next().unwrap().to_owned()).collect()
}
