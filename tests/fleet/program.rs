//! Hosts that run the real program on a shared log: each has a folder with its configuration and its copy.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use postgres::{Client, NoTls};
use tempfile::TempDir;

use crate::postgres_cluster::Cluster;

pub struct Fleet {
    pub cluster: Cluster,
    folder: TempDir,
}

pub const HOSTS: [&str; 3] = ["alpha", "beta", "leaf"];

impl Fleet {
    /// An empty database of the owner `keeper`. Each host is configured, and `alpha` has a team of its own.
    pub fn start() -> Fleet {
        let cluster = Cluster::start();
        cluster.sql("postgres", "CREATE ROLE keeper LOGIN CREATEROLE");
        cluster.sql("postgres", "CREATE DATABASE acme OWNER keeper TEMPLATE template0");
        let folder = tempfile::tempdir().unwrap();
        let fleet = Fleet { cluster, folder };
        for host in HOSTS {
            fleet.cluster.sql("postgres", &format!("CREATE ROLE {host} LOGIN"));
            let config = fleet.folder.path().join(host).join(".config/access");
            std::fs::create_dir_all(&config).unwrap();
            std::fs::write(config.join("config.toml"), format!("[log]\nurl = \"{}\"\n", fleet.url(host))).unwrap();
        }
        fleet.on("alpha").succeeds(&["init", "--sample"]);
        fleet
    }

    /// The same, with the log of `alpha` shared by `alpha` and `beta`, which may decide.
    pub fn shared() -> Fleet {
        let fleet = Fleet::start();
        let owner = fleet.url("keeper");
        fleet.on("alpha").succeeds(&["log", "init", &owner]);
        for host in ["alpha", "beta"] {
            fleet.on("alpha").succeeds(&["log", "allow", host, "decide", &owner]);
        }
        fleet.on("alpha").succeeds(&["log", "move", &owner]);
        fleet.on("beta").succeeds(&["log", "join"]);
        fleet
    }

    pub fn url(&self, role: &str) -> String {
        let folder = self.cluster.folder().to_str().unwrap().replace('/', "%2F");
        format!("postgresql://{role}@{folder}:{}/acme", self.cluster.port())
    }

    pub fn on<'f>(&'f self, host: &'f str) -> Host<'f> {
        Host { fleet: self, name: host, user: "root" }
    }

    /// SQL of the superuser.
    pub fn sql(&self, sql: &str) {
        self.admin().batch_execute(sql).unwrap();
    }

    pub fn admin(&self) -> Client {
        Client::connect(&self.url("postgres"), NoTls).unwrap()
    }

    /// What the database has, as text.
    pub fn ask(&self, sql: &str) -> String {
        self.admin().query_one(sql, &[]).unwrap().get(0)
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Takes the last entries away, as a backup that is restored does.
    pub fn restore_to(&self, seq: i64) {
        self.sql(&format!(
            "ALTER TABLE access.entry DISABLE TRIGGER never; DELETE FROM access.entry WHERE seq > {seq};
             ALTER TABLE access.entry ENABLE ALWAYS TRIGGER never"
        ));
    }
}

#[derive(Clone, Copy)]
pub struct Host<'f> {
    fleet: &'f Fleet,
    name: &'f str,
    user: &'f str,
}

impl<'f> Host<'f> {
    pub fn by(self, user: &'f str) -> Host<'f> {
        Host { user, ..self }
    }

    pub fn database(&self) -> PathBuf {
        self.fleet.file(self.name).join("access.db")
    }

    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let home = self.fleet.file(self.name);
        let mut command = Command::new(env!("CARGO_BIN_EXE_access"));
        command.env_clear().env("HOME", &home).env("ACCESS_DB", self.database()).env("PATH", "/usr/bin:/bin");
        if self.user != "root" {
            command.args(["--as", self.user]);
        }
        command.current_dir(self.path()).args(args);
        command
    }

    #[track_caller]
    pub fn succeeds(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} {args:?}: {errors}", self.name);
        String::from_utf8(output.stdout).unwrap() + &errors
    }

    /// Exits with this code, and says this.
    #[track_caller]
    pub fn fails(&self, args: &[&str], code: i32, text: &str) {
        let output = self.run(args);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.code() == Some(code) && errors.contains(text),
            "{} {args:?}: {:?}: {errors}",
            self.name,
            output.status
        );
    }

    /// The entries of the log, byte for byte.
    pub fn entries(&self) -> Vec<String> {
        let database = rusqlite::Connection::open(self.database()).unwrap();
        let mut rows = database.prepare("SELECT body FROM event ORDER BY seq").unwrap();
        rows.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    }

    /// Removes its database, and puts this file in its place.
    pub fn put_back(&self, kept: Option<&Path>) {
        for file in self.files().iter().filter(|file| file.starts_with("access.db")) {
            std::fs::remove_file(self.database().with_file_name(file)).unwrap();
        }
        if let Some(kept) = kept {
            std::fs::copy(kept, self.database()).unwrap();
        }
    }

    pub fn files(&self) -> Vec<String> {
        let folder = std::fs::read_dir(self.database().parent().unwrap()).unwrap();
        folder.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    pub fn path(&self) -> &Path {
        self.fleet.folder.path()
    }
}
