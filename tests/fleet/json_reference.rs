//! docs/json.md: the fields of the commands that need a shared log are those that they print, and the other way round.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::program::Fleet;
use crate::tables::{column, paths};

fn json<'a>(args: &[&'a str]) -> Vec<&'a str> {
    [args, &["--json"]].concat()
}

#[test]
fn the_page_has_every_field_that_the_log_commands_print() {
    let fleet = Fleet::start();
    let (alpha, beta, owner) = (fleet.on("alpha"), fleet.on("beta"), fleet.url("keeper"));
    let mut printed: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let mut add = |heading: &'static str, text: &[u8]| {
        let value: Value = serde_json::from_slice(text).unwrap_or_else(|why| panic!("{heading}: {why}"));
        let fields = printed.entry(heading).or_default();
        paths(&value, "", &["as_of", "pending[]"], fields);
        fields.remove("as_of");
    };
    add("log init", &alpha.run(&json(&["log", "init", &owner])).stdout);
    add("log allow", &alpha.run(&json(&["log", "allow", "alpha", "decide", &owner])).stdout);
    alpha.succeeds(&["log", "allow", "beta", "decide", &owner]);
    add("log move, log leave", &alpha.run(&json(&["log", "move", &owner])).stdout);
    add("log join", &beta.run(&json(&["log", "join"])).stdout);
    add("log status", &alpha.run(&json(&["log", "status"])).stdout);
    add("log upgrade", &alpha.run(&json(&["log", "upgrade", &owner])).stdout);
    add("follow --once", &alpha.run(&json(&["follow", "--once"])).stdout);
    add("pending", &alpha.run(&json(&["pending"])).stdout);

    // What alpha records now is lost: the database is restored.
    let kept = "CREATE TABLE kept AS SELECT * FROM access.entry";
    fleet.sql(kept);
    alpha.by("bob").succeeds(&["request", "target:orders-db", "--duration", "1h", "--reason", "x"]);
    fleet.sql("ALTER TABLE access.entry DISABLE TRIGGER never");
    fleet.sql("DELETE FROM access.entry WHERE seq NOT IN (SELECT seq FROM kept)");
    fleet.sql("ALTER TABLE access.entry ENABLE ALWAYS TRIGGER never");
    add("log raise-epoch", &beta.run(&json(&["log", "raise-epoch", &owner])).stdout);
    add("log salvage", &alpha.run(&json(&["log", "salvage", "tail"])).stdout);
    fleet.sql("REVOKE access_host FROM beta");
    add("log status", &beta.run(&json(&["log", "status"])).stdout);

    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/json.md")).unwrap();
    for (heading, fields) in &printed {
        assert_eq!(&column(&page, heading), fields, "{heading}");
    }
    let of_log = |section: &&str| ["log ", "follow --once", "pending"].iter().any(|name| section.starts_with(name));
    assert_eq!(page.split("\n## ").filter(of_log).count(), printed.len());
}
