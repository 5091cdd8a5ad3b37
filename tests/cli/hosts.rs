//! The same world with its log in PostgreSQL, shared by two hosts that take turns, if `ACCESS_TEST_LOG` names a server
//! (see `tests/fleet.sh`). The tests themselves do not change.

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use postgres::{Client, NoTls};

const NAMES: [&str; 2] = ["alpha", "beta"];

pub struct Hosts {
    server: String,
    database: String,
    folder: PathBuf,
    /// None until the log is shared, after `init`.
    clock: RefCell<Option<Client>>,
    next: Cell<usize>,
}

/// Runs as this Unix user.
type Prepared<'p> = &'p dyn Fn(&str, &[&str]) -> Command;

impl Hosts {
    /// `server`: the URL of a server without a database, such as `postgresql://postgres@%2Ftmp%2Fpg/`.
    pub fn in_server(server: String, folder: &Path) -> Hosts {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let database = format!("log_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        for host in NAMES {
            let config = folder.join(host).join(".config/access");
            std::fs::create_dir_all(&config).unwrap();
        }
        let hosts =
            Hosts { server, database, folder: folder.to_owned(), clock: RefCell::new(None), next: Cell::new(0) };
        (0..NAMES.len()).for_each(|host| hosts.configure(host, ""));
        hosts
    }

    /// Writes this host's configuration, which has the shared log as well.
    pub fn configure(&self, host: usize, more: &str) {
        let config = format!("[log]\nurl = \"{}\"\n{more}", self.url(host));
        std::fs::write(self.home(host).join(".config/access/config.toml"), config).unwrap();
    }

    fn connect(&self, database: &str) -> Client {
        Client::connect(&format!("{}{database}", self.server), NoTls).unwrap()
    }

    /// Where this host keeps its own.
    pub fn home(&self, host: usize) -> PathBuf {
        self.folder.join(NAMES[host])
    }

    /// The URL of the shared log for this host.
    pub fn url(&self, host: usize) -> String {
        format!("{}{}", self.server.replace("postgres@", &format!("{}@", NAMES[host])), self.database)
    }

    /// A connection to the shared log's database, for its superuser.
    pub fn superuser(&self) -> Client {
        self.connect(&self.database)
    }

    /// Runs the command on this host, at its time, with the copy as it is.
    pub fn run_on(&self, host: usize, command: &mut Command) {
        set_clock(self.clock.borrow_mut().as_mut().expect("the log is shared"), command);
        self.on(host, command);
    }

    fn on(&self, host: usize, command: &mut Command) {
        let home = self.home(host);
        command.env("HOME", &home);
        // The first host has the database that the test knows.
        if host > 0 {
            command.env("ACCESS_DB", home.join("access.db"));
        }
    }

    /// Runs the command on the other host than the last, whose copy is fresh.
    pub fn take_turns(&self, command: &mut Command, args: &[&str], prepared: Prepared<'_>) {
        let mut clock = self.clock.borrow_mut();
        let Some(client) = &mut *clock else { return };
        set_clock(client, command);
        let host = self.next.get();
        self.next.set(1 - host);
        let mut follow = prepared("olivia", &["follow", "--once"]);
        self.on(host, &mut follow);
        let followed = follow.output().unwrap();
        assert!(followed.status.success(), "before {args:?}: {}", String::from_utf8_lossy(&followed.stderr));
        self.on(host, command);
    }

    /// After `init`: moves the log, and makes the second host's copy.
    pub fn share(&self, args: &[&str], prepared: Prepared<'_>) {
        if args.first() != Some(&"init") || self.clock.borrow().is_some() {
            return;
        }
        let mut server = self.connect("postgres");
        server.batch_execute(&format!("CREATE DATABASE {} TEMPLATE template0", self.database)).unwrap();
        let url = format!("{}{}", self.server, self.database);
        let run = |host: usize, args: &[&str]| {
            let mut command = prepared("olivia", args);
            self.on(host, &mut command);
            let done = command.output().unwrap();
            assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
        };
        run(0, &["log", "init", &url]);
        let mut client = self.connect(&self.database);
        set_clock(&mut client, &prepared("olivia", &[]));
        for host in NAMES {
            run(0, &["log", "allow", host, "decide", &url]);
        }
        run(0, &["log", "move", &url]);
        run(1, &["log", "join"]);
        self.clock.replace(Some(client));
    }
}

/// The database's clock is that of the command.
fn set_clock(client: &mut Client, command: &Command) {
    let now = command.get_envs().find(|(name, _)| *name == "ACCESS_TEST_NOW").and_then(|(_, value)| value);
    let now = now.unwrap().to_str().unwrap();
    let sql = "CREATE OR REPLACE FUNCTION access.now() RETURNS timestamptz LANGUAGE sql";
    client.batch_execute(&format!("{sql} AS $$ SELECT '{now}'::timestamptz $$")).unwrap();
}

impl Drop for Hosts {
    fn drop(&mut self) {
        if self.clock.take().is_some() {
            let sql = format!("DROP DATABASE {} WITH (FORCE)", self.database);
            let _ = self.connect("postgres").batch_execute(&sql);
        }
    }
}
