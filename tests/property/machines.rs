//! Hosts that share a log, as one process plays them: real copies, a real PostgreSQL whose clock is set, and clocks, starts and
//! lines that the simulation chooses.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use access::domain::replica::HostClocks;
use access::error::{Failure, Kind};
use access::log::{Engine, LogConfig, LogUrl};
use access::service::{join_log, move_log, prepare_log};
use access::store::{EngineAccess, Store};
use postgres::{Client, Config, NoTls};

use crate::line::{Line, Plan};
use crate::postgres_cluster::Cluster;
use crate::team::HOSTS;
use crate::tools::wait_until;

/// What the process that runs now knows of its host.
#[derive(Clone)]
pub struct Surroundings {
    pub url: String,
    pub clocks: HostClocks,
    /// A process that is killed when its line is cut.
    pub dies_with: Option<Arc<Line>>,
}

thread_local! {
    static HERE: RefCell<Option<Surroundings>> = const { RefCell::new(None) };
}

pub fn enter(surroundings: Option<Surroundings>) {
    HERE.replace(surroundings);
}

/// The clocks of this host. A process that was killed gets no further than to ask for them.
pub fn clocks() -> Result<HostClocks, Failure> {
    let here = HERE.with_borrow(Clone::clone);
    let here = here.ok_or_else(|| Failure::new(Kind::Failure, "no log is shared"))?;
    match here.dies_with.is_some_and(|line| line.reached.load(Ordering::SeqCst)) {
        true => Err(Failure::new(Kind::Io, "the process was killed")),
        false => Ok(here.clocks),
    }
}

fn url() -> Result<LogUrl, Failure> {
    let url = HERE.with_borrow(|here| here.as_ref().map(|here| here.url.clone()));
    plain(url.unwrap_or_default()).resolve()
}

fn plain(url: String) -> LogConfig {
    LogConfig {
        url,
        password_file: None,
        certificate: None,
        key: None,
        ca_file: None,
        allow_plain: true,
        patroni: None,
    }
}

fn access() -> EngineAccess {
    EngineAccess::new(url, clocks)
}

fn database(number: u64) -> String {
    format!("life{number}")
}

/// The server of the shared logs.
pub struct Server {
    cluster: Cluster,
    pub line: Arc<Line>,
}

/// The shared log of one team.
pub struct SharedLog {
    database: String,
    /// Sets the clock.
    admin: Client,
    socket: String,
    line: Arc<Line>,
}

/// How a host reaches the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Direct,
    /// On the line whose trouble is planned.
    Line,
    Cut,
}

impl Server {
    pub fn start() -> Server {
        let mut cluster = Cluster::start();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "local all all trust\nhost all all 127.0.0.1/32 trust\n").unwrap();
        cluster.put(file.path(), "pg_hba.conf");
        cluster.restart();
        for host in HOSTS {
            cluster.sql("postgres", &format!("CREATE ROLE {host} LOGIN"));
        }
        let line = Line::to(cluster.port().parse().unwrap());
        Server { cluster, line }
    }

    pub fn url_of(&self, number: u64, role: &str) -> String {
        format!("postgresql://{role}@{}/{}", self.socket(), database(number))
    }

    fn socket(&self) -> String {
        let folder = self.cluster.folder().display().to_string();
        format!("{}:{}", folder.replace('/', "%2F"), self.cluster.port())
    }

    /// Moves the log of this database, which belongs to the first host, into a new shared one.
    pub fn share(&self, number: u64, store: Store, now: i64) -> (SharedLog, Store) {
        let database = database(number);
        self.cluster.sql("postgres", &format!("CREATE DATABASE {database} TEMPLATE template0"));
        let socket = self.socket();
        let mut admin = Config::new();
        admin.host_path(self.cluster.folder()).port(self.cluster.port().parse().unwrap()).user("postgres");
        let admin = admin.dbname(&database).connect(NoTls).unwrap();
        let mut log = SharedLog { database, admin, socket, line: Arc::clone(&self.line) };
        let mut owner = Engine::new(plain(log.url("postgres", Way::Direct)).resolve().unwrap());
        prepare_log(&store, &mut owner).unwrap();
        log.admin
            .batch_execute(
                "CREATE SEQUENCE public.now;
                 CREATE OR REPLACE FUNCTION access.now() RETURNS timestamptz LANGUAGE sql VOLATILE
                     SET search_path = pg_catalog, pg_temp AS $$ SELECT to_timestamp(last_value) FROM public.now $$",
            )
            .unwrap();
        log.set_clock(now);
        for host in HOSTS {
            owner.allow(host, "decide").unwrap();
        }
        let store = store.with_engine(access());
        move_log(&store, &mut owner, false).unwrap();
        (log, store)
    }

    pub fn drop_log(&self, log: SharedLog) {
        let SharedLog { database, admin, .. } = log;
        drop(admin);
        self.cluster.sql("postgres", &format!("DROP DATABASE {database} WITH (FORCE)"));
    }
}

impl SharedLog {
    pub fn url(&self, role: &str, way: Way) -> String {
        match way {
            Way::Direct => format!("postgresql://{role}@{}/{}", self.socket, self.database),
            Way::Line => format!("postgresql://{role}@127.0.0.1:{}/{}", self.line.port, self.database),
            // Nothing listens there.
            Way::Cut => format!("postgresql://{role}@127.0.0.1:1/{}", self.database),
        }
    }

    pub fn set_clock(&mut self, now: i64) {
        self.admin.execute("SELECT setval('public.now', $1)", &[&now]).unwrap();
    }

    /// Waits until the server has done what this host has sent.
    pub fn wait_until_gone(&mut self, role: &str) {
        wait_until("the host's sessions end", || {
            let sql = "SELECT count(*) FROM pg_stat_activity WHERE usename = $1";
            self.admin.query_one(sql, &[&role]).unwrap().get::<_, i64>(0) == 0
        });
    }

    pub fn plan(&self, plan: Plan) {
        self.line.plan(plan);
    }

    /// Whether the trouble came about. It is over.
    pub fn clear(&self) -> bool {
        self.line.clear();
        self.line.reached.load(Ordering::SeqCst)
    }
}

/// One machine.
pub struct Machine {
    pub name: &'static str,
    pub path: PathBuf,
    /// None: it is in use.
    pub store: Option<Store>,
    pub way: Way,
    /// Whether its process is killed when the line is cut.
    pub is_killed: bool,
    boots: u32,
    booted_at: i64,
    /// How far its wall clock is ahead.
    pub skew: i64,
    /// It does not reach the log until then.
    pub cut_until: i64,
}

impl Machine {
    pub fn new(name: &'static str, folder: &Path, now: i64) -> Machine {
        let path = folder.join(name).join("access.db");
        Machine {
            name,
            path,
            store: None,
            way: Way::Direct,
            is_killed: false,
            boots: 0,
            booted_at: now - 1000,
            skew: 0,
            cut_until: 0,
        }
    }

    pub fn surroundings(&self, log: &SharedLog, now: i64) -> Surroundings {
        Surroundings {
            url: log.url(self.name, self.way),
            clocks: self.clocks(now),
            dies_with: self.is_killed.then(|| Arc::clone(&log.line)),
        }
    }

    pub fn clocks(&self, now: i64) -> HostClocks {
        HostClocks {
            boot_id: format!("{}-{}", self.name, self.boots),
            since_boot: (now - self.booted_at) * 1000,
            wall: (now + self.skew) * 1000,
        }
    }

    pub fn restart(&mut self, now: i64) {
        self.boots += 1;
        self.booted_at = now;
    }

    /// Opens its copy, in these surroundings.
    pub fn open(&self) -> Store {
        Store::open(&self.path).unwrap().with_engine(access())
    }

    pub fn join(&self) -> Store {
        join_log(&self.path, access()).unwrap();
        self.open()
    }
}
