//! Installing and upgrading the functions.

use crate::postgres_cluster::Cluster;
use crate::shared_log::{Body, Calls as _, Place, SQL, SharedLog, assert_refused, verdict};

#[test]
fn an_upgrade_keeps_the_log() {
    for cluster in Cluster::of_both_kinds() {
        let log = SharedLog::on(cluster);
        let mut alpha = log.connect("alpha");
        let bodies = [Body::new("alpha", 1).text()];
        assert_eq!(verdict(alpha.append(&Place::empty(), &bodies)), "ok");
        let end = log.end();
        log.install();
        // In a session that is open, too.
        assert_eq!(alpha.contact(&end).unwrap(), "ok");
        assert_eq!(verdict(alpha.append(&end, &[Body::new("alpha", 2).text()])), "ok");
        // One log in a database.
        let again = "SELECT access.create('other', 3)";
        assert_refused(log.connect("keeper").batch_execute(again), "23505", "duplicate key");
        log.admin().batch_execute("UPDATE access.log SET sql_version = 1000").unwrap();
        assert_refused(log.connect("keeper").batch_execute(SQL), "55000", "a newer version of access");
    }
}

#[test]
fn a_schema_or_database_that_does_not_fit_is_refused() {
    let log = SharedLog::start();
    let mut admin = log.admin();
    assert_refused(admin.batch_execute(SQL), "42501", "the schema access belongs to keeper");
    let other = |name: &str, options: &str| {
        log.admin().batch_execute(&format!("CREATE DATABASE {name} OWNER keeper {options}")).unwrap();
        let mut config = log.config("keeper");
        config.dbname(name).connect(postgres::NoTls).unwrap()
    };
    let mut ascii = other("ascii", "TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'");
    assert_refused(ascii.batch_execute(SQL), "0A000", "UTF8, not SQL_ASCII");

    // Another team's database in the same server: its own hosts, and none of this one.
    let mut owner = other("umbrella", "");
    owner.batch_execute(SQL).unwrap();
    let nothing = owner.query_one("SELECT count(*) FROM access.log", &[]).unwrap().get::<_, i64>(0);
    assert_eq!(nothing, 0);
    owner.batch_execute("SELECT access.create('umbrella', 3), access.open(), access.allow('desk', 'decide')").unwrap();
    let connect = |host: &str| log.config(host).dbname("umbrella").connect(postgres::NoTls).unwrap();
    assert_refused(connect("alpha").turn(&Place::empty()), "42501", "alpha is not a host");
    assert_eq!(connect("desk").turn(&Place::empty()).unwrap(), "ok");
}

#[test]
fn the_functions_know_actions_that_exist() {
    let events = include_str!("../../src/domain/event.rs");
    let known: Vec<&str> =
        SQL.split('\'').filter(|text| text.contains('.') && !text.contains([' ', '\n', '('])).collect();
    assert!(known.contains(&"team.applied") && known.contains(&"clock.accepted") && known.len() >= 8, "{known:?}");
    for action in known.iter().filter(|text| !text.starts_with("access.") && !text.contains('[')) {
        assert!(events.contains(&format!(r#"#[serde(rename = "{action}")]"#)), "{action}");
    }
}
