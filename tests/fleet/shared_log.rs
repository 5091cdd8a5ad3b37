//! A log in a server of its own, its hosts, and the entries that they append.

use std::time::SystemTime;

use chrono::{DateTime, Utc};
use postgres::{Client, Config, Error, NoTls};
use sha2::{Digest as _, Sha256};

use crate::postgres_cluster::Cluster;

pub const SQL: &str = include_str!("../../src/log/postgres.sql");

/// An entry's number and hash.
#[derive(Debug, Clone, PartialEq)]
pub struct Place(pub i64, pub Vec<u8>);

impl Place {
    pub fn empty() -> Place {
        Place(0, vec![0; 32])
    }

    /// Where these bodies end that follow this place.
    pub fn after(&self, bodies: &[String]) -> Place {
        bodies.iter().fold(self.clone(), |Place(seq, hash), body| {
            Place(seq + 1, Sha256::new().chain_update(hash).chain_update(body).finalize().to_vec())
        })
    }
}

/// What an entry says. Written as JSON by `text`.
#[derive(Clone)]
pub struct Body {
    pub v: i32,
    pub seq: i64,
    pub host: String,
    pub at: String,
    pub actor: String,
    pub action: String,
    pub detail: String,
}

impl Body {
    /// An approval, now.
    pub fn new(host: &str, seq: i64) -> Body {
        let detail = r#"{"request":1,"by":"alice"}"#.to_owned();
        let (host, actor, action) = (host.to_owned(), "alice".to_owned(), "request.approved".to_owned());
        Body { v: 3, seq, host, at: time(0), actor, action, detail }
    }

    pub fn action(mut self, action: &str, detail: &str) -> Body {
        (self.action, self.detail) = (action.to_owned(), detail.to_owned());
        self
    }

    /// A team file is applied that changes hosts: `add`, `change` or `remove`, the name, and what it may.
    pub fn hosts(self, changes: &[(&str, &str, &str)]) -> Body {
        let change = |(change, host, may): &(&str, &str, &str)| {
            let to = if *change == "remove" { "null".to_owned() } else { format!(r#"{{"may":"{may}"}}"#) };
            format!(r#"{{"change":"{change}","what":"host:{host}","from":null,"to":{to}}}"#)
        };
        let member = r#"{"change":"add","what":"member:bob","from":null,"to":{"login":"bob","may":"decide"}}"#;
        let all: Vec<String> = std::iter::once(member.to_owned()).chain(changes.iter().map(change)).collect();
        self.action("team.applied", &format!(r#"{{"changes":[{}]}}"#, all.join(",")))
    }

    pub fn at(mut self, at: &str) -> Body {
        self.at = at.to_owned();
        self
    }

    pub fn text(&self) -> String {
        let Body { v, seq, host, at, actor, action, detail } = self;
        format!(
            r#"{{"v":{v},"seq":{seq},"at":"{at}","actor":"{actor}","os_user":"alice","host":"{host}","nonce":"00ff","event":{{"action":"{action}","detail":{detail}}}}}"#
        )
    }
}

/// So many seconds from now.
pub fn time(seconds: i64) -> String {
    let now = DateTime::<Utc>::from(SystemTime::now()) + chrono::Duration::seconds(seconds);
    now.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

pub struct SharedLog {
    pub cluster: Cluster,
}

impl SharedLog {
    /// Of an owner who is no superuser. The hosts `alpha` and `beta` decide, `desk` asks and `leaf` reads.
    pub fn start() -> SharedLog {
        SharedLog::on(Cluster::start())
    }

    pub fn on(cluster: Cluster) -> SharedLog {
        cluster.sql("postgres", "CREATE ROLE keeper LOGIN CREATEROLE");
        cluster
            .sql("postgres", "GRANT pg_signal_backend, pg_read_all_stats TO keeper; CREATE DATABASE acme OWNER keeper");
        let log = SharedLog { cluster };
        let mut owner = log.connect("keeper");
        log.install();
        owner.batch_execute("SELECT access.create('acme', 3), access.open()").unwrap();
        for (host, may) in [("alpha", "decide"), ("beta", "decide"), ("desk", "ask"), ("leaf", "read")] {
            owner.batch_execute(&format!("CREATE ROLE {host} LOGIN; GRANT access_host TO {host}")).unwrap();
            owner.batch_execute(&format!("SELECT access.allow('{host}', '{may}')")).unwrap();
        }
        log
    }

    pub fn install(&self) {
        let mut owner = self.connect("keeper");
        let mut transaction = owner.transaction().unwrap();
        transaction.batch_execute(SQL).unwrap();
        transaction.commit().unwrap();
    }

    pub fn config(&self, user: &str) -> Config {
        let mut config = Config::new();
        config.host_path(self.cluster.folder()).port(self.cluster.port().parse().unwrap()).user(user).dbname("acme");
        config
    }

    pub fn connect(&self, user: &str) -> Client {
        self.config(user).connect(NoTls).unwrap()
    }

    /// The superuser.
    pub fn admin(&self) -> Client {
        self.connect("postgres")
    }

    /// A session with these settings from its beginning.
    pub fn connect_with(&self, user: &str, options: &str) -> Client {
        self.config(user).options(options).connect(NoTls).unwrap()
    }

    /// The engine's clock is this SQL expression.
    pub fn set_clock(&self, expression: &str) {
        let function = "CREATE OR REPLACE FUNCTION access.now() RETURNS timestamptz LANGUAGE sql";
        self.admin().batch_execute(&format!("{function} AS $$ SELECT {expression} $$")).unwrap();
    }

    pub fn end(&self) -> Place {
        let row = self.admin().query_opt("SELECT seq, hash FROM access.entry ORDER BY seq DESC LIMIT 1", &[]).unwrap();
        row.map_or_else(Place::empty, |row| Place(row.get(0), row.get(1)))
    }
}

/// The calls of a host.
pub trait Calls {
    fn turn(&mut self, at: &Place) -> Result<String, Error>;
    fn append_in(&mut self, epoch: i64, after: &Place, bodies: &[String]) -> Result<(String, Place), Error>;
    fn append(&mut self, after: &Place, bodies: &[String]) -> Result<(String, Place), Error>;
    fn contact(&mut self, at: &Place) -> Result<String, Error>;
    fn since(&mut self, seq: i64, limit: i32) -> Result<Vec<(Place, String, String)>, Error>;
}

impl<C: postgres::GenericClient> Calls for C {
    fn turn(&mut self, at: &Place) -> Result<String, Error> {
        self.query_one("SELECT verdict FROM access.turn($1, $2)", &[&at.0, &at.1]).map(|row| row.get(0))
    }

    fn append_in(&mut self, epoch: i64, after: &Place, bodies: &[String]) -> Result<(String, Place), Error> {
        let sql = "SELECT verdict, seq, hash FROM access.append($1, $2, $3, $4)";
        let row = self.query_one(sql, &[&epoch, &after.0, &after.1, &bodies])?;
        Ok((row.get(0), Place(row.get(1), row.get(2))))
    }

    fn append(&mut self, after: &Place, bodies: &[String]) -> Result<(String, Place), Error> {
        self.append_in(1, after, bodies)
    }

    fn contact(&mut self, at: &Place) -> Result<String, Error> {
        self.query_one("SELECT verdict FROM access.contact($1, $2, 3)", &[&at.0, &at.1]).map(|row| row.get(0))
    }

    fn since(&mut self, seq: i64, limit: i32) -> Result<Vec<(Place, String, String)>, Error> {
        let rows = self.query("SELECT seq, hash, body, host FROM access.since($1, $2)", &[&seq, &limit])?;
        Ok(rows.iter().map(|row| (Place(row.get(0), row.get(1)), row.get(2), row.get(3))).collect())
    }
}

/// The verdict of an append, which must have one.
#[track_caller]
pub fn verdict(answer: Result<(String, Place), Error>) -> String {
    answer.unwrap().0
}

/// It fails with this SQLSTATE, and the message has this text.
#[track_caller]
pub fn assert_refused<T: std::fmt::Debug>(answer: Result<T, Error>, code: &str, text: &str) {
    let error = answer.expect_err("it is refused");
    let database = error.as_db_error().unwrap_or_else(|| panic!("no answer of the server: {error}"));
    assert!(database.code().code() == code && database.message().contains(text), "{database:?}");
}
