//! Three nodes of PostgreSQL with Patroni, and etcd, on loopback.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use postgres::Config;
use serde_json::Value;
use tempfile::TempDir;

use crate::postgres_cluster::{Programs, give, unprivileged};
use crate::tools::{free_port, run};

pub struct Nodes {
    folder: TempDir,
    etcd: Child,
    nodes: BTreeMap<String, Node>,
    password: String,
}

struct Node {
    number: usize,
    patroni: Child,
    port: u16,
    rest: u16,
    data: PathBuf,
}

/// What a frozen node has stopped, to go on.
pub struct Frozen(Vec<Pid>);

impl Frozen {
    pub fn thaw(self) {
        for pid in self.0 {
            // A process may have ended meanwhile.
            let _ = kill(pid, Signal::SIGCONT);
        }
    }
}

/// A command in this folder, as the server's user, with nothing of this environment.
fn command(program: &Path, folder: &Path, log: &str) -> Command {
    let mut command = Command::new(program);
    let log = std::fs::File::create(folder.join(log)).unwrap();
    command.env_clear().env("LC_ALL", "C.UTF-8").env("HOME", folder).current_dir(folder);
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    if let Some((uid, gid)) = unprivileged() {
        command.uid(uid).gid(gid);
    }
    command
}

fn settings(folder: &Path, programs: &Path, etcd: u16, number: usize, port: u16, rest: u16, password: &str) -> String {
    let folder = folder.display();
    let programs = programs.display();
    // 20 seconds is the least that Patroni takes as its time to live.
    format!(
        r#"
scope: acme
name: n{number}
restapi: {{listen: "127.0.0.1:{rest}", connect_address: "127.0.0.1:{rest}"}}
etcd3: {{host: "127.0.0.1:{etcd}"}}
bootstrap:
  dcs:
    ttl: 20
    loop_wait: 1
    retry_timeout: 3
    maximum_lag_on_failover: 0
    synchronous_mode: true
    synchronous_mode_strict: true
    postgresql:
      use_pg_rewind: true
      use_slots: true
      parameters:
        max_connections: 50
        shared_buffers: 32MB
        wal_log_hints: "on"
        wal_keep_size: 128MB
        synchronous_commit: "on"
        fsync: "off"
        tcp_user_timeout: 5s
        wal_receiver_status_interval: 1s
        wal_sender_timeout: 5s
        wal_receiver_timeout: 5s
        wal_retrieve_retry_interval: 500ms
  initdb: [{{encoding: UTF8}}, {{locale: C.UTF-8}}, no-sync]
  pg_hba:
  - host replication replicator 127.0.0.1/32 scram-sha-256
  - host all all 127.0.0.1/32 scram-sha-256
postgresql:
  listen: 127.0.0.1:{port}
  connect_address: 127.0.0.1:{port}
  data_dir: {folder}/data{number}
  bin_dir: {programs}
  pgpass: {folder}/pgpass{number}
  authentication:
    superuser: {{username: postgres, password: {password}}}
    replication: {{username: replicator, password: {password}}}
    rewind: {{username: rewinder, password: {password}}}
  parameters: {{unix_socket_directories: "{folder}"}}
watchdog: {{mode: "off"}}
"#
    )
}

impl Nodes {
    /// A leader, a synchronous standby and a replica that are ready.
    pub fn start() -> Nodes {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).unwrap();
        // In this folder, because the servers' user may not be let into the build folder.
        let python = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("test-patroni");
        assert!(python.exists(), "{} is missing: run tests/python.sh", python.display());
        run(Command::new("cp").arg("-a").arg(python).arg(path.join("python")));
        let password = random();
        let programs = Programs::of_debian();
        let [client, peer] = [free_port(), free_port()];
        let ports: Vec<(u16, u16)> = (0..3).map(|_| (free_port(), free_port())).collect();
        for (number, (port, rest)) in (1..).zip(&ports) {
            let settings = settings(path, programs.folder(), client, number, *port, *rest, &password);
            std::fs::write(path.join(format!("n{number}.yml")), settings).unwrap();
        }
        give_all(path);

        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let mut etcd = command(Path::new("/usr/bin/etcd"), path, "etcd.log");
        etcd.args(["--name", "e", "--data-dir"]).arg(path.join("etcd")).args(["--unsafe-no-fsync"]);
        etcd.args(["--listen-client-urls", &url(client), "--advertise-client-urls", &url(client)]);
        etcd.args(["--listen-peer-urls", &url(peer), "--initial-advertise-peer-urls", &url(peer)]);
        etcd.args(["--initial-cluster", &format!("e={}", url(peer)), "--heartbeat-interval", "100"]);
        let etcd = etcd.spawn().expect("etcd is installed (tests/run.sh)");
        let mut nodes = Nodes { folder, etcd, nodes: BTreeMap::new(), password };
        nodes.until("etcd answers", 30, |_| TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], client))).is_ok());
        for (number, (port, rest)) in (1..).zip(ports) {
            nodes.begin(number, port, rest, &programs);
        }
        nodes.until("three nodes are ready", 90, |nodes| nodes.is_whole());
        nodes
    }

    fn begin(&mut self, number: usize, port: u16, rest: u16, programs: &Programs) {
        let path = self.folder.path();
        let name = format!("n{number}");
        let mut patroni = command(Path::new("/usr/bin/python3"), path, &format!("{name}.log"));
        patroni.env("PYTHONPATH", path.join("python")).env("PYTHONDONTWRITEBYTECODE", "1");
        patroni.env("PATH", format!("{}:/usr/bin:/bin", programs.folder().display()));
        let patroni = patroni.args(["-m", "patroni"]).arg(path.join(format!("{name}.yml"))).spawn().unwrap();
        self.nodes.insert(name, Node { number, patroni, port, rest, data: path.join(format!("data{number}")) });
    }

    /// Kills everything that runs on a node, as a power cut does.
    pub fn kill_host(&mut self, node: &str) {
        let agent = self.nodes.get_mut(node).unwrap();
        agent.patroni.kill().unwrap();
        agent.patroni.wait().unwrap();
        for pid in self.freeze_server(node).0 {
            let _ = kill(pid, Signal::SIGKILL);
        }
    }

    /// Starts a node again that was killed.
    pub fn start_host(&mut self, node: &str) {
        let Node { number, port, rest, .. } = self.nodes[node];
        self.begin(number, port, rest, &Programs::of_debian());
    }

    /// Kills the server's first process. The others end by themselves.
    pub fn kill_postmaster(&self, node: &str) {
        kill(self.server(node).unwrap(), Signal::SIGKILL).unwrap();
    }

    /// Makes the synchronous standby the leader, by Patroni.
    pub fn switch_over(&self) {
        let (leader, candidate) = (self.leader().unwrap(), self.with_role("sync_standby").unwrap());
        let url = format!("http://127.0.0.1:{}/switchover", self.nodes[&leader].rest);
        let body = format!(r#"{{"leader":"{leader}","candidate":"{candidate}"}}"#);
        ureq::post(url).send(body).unwrap();
    }

    /// Stops the store in which the agents agree on a leader.
    pub fn freeze_etcd(&self) -> Frozen {
        stop_processes(vec![Pid::from_raw(self.etcd.id().try_into().unwrap())])
    }

    /// The port of each server.
    pub fn ports(&self) -> Vec<u16> {
        self.nodes.values().map(|node| node.port).collect()
    }

    /// Waits, and shows what the nodes say if it takes too long.
    #[track_caller]
    pub fn until(&self, what: &str, seconds: u64, mut ready: impl FnMut(&Nodes) -> bool) {
        let begun = Instant::now();
        while !ready(self) {
            if begun.elapsed() > Duration::from_secs(seconds) {
                for name in self.nodes.keys() {
                    let log = std::fs::read_to_string(self.folder.path().join(format!("{name}.log"))).unwrap();
                    let last: Vec<&str> = log.lines().rev().take(15).collect();
                    println!("{name}:\n{}", last.join("\n"));
                }
                panic!("{what}: not after {seconds} s; {:?}", self.members());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Role and state of each member, as the first node says that answers.
    fn members(&self) -> BTreeMap<String, (String, String)> {
        let agent: ureq::Agent =
            ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(1))).build().into();
        let ask = |node: &Node| -> Option<Value> {
            let mut answer = agent.get(format!("http://127.0.0.1:{}/cluster", node.rest)).call().ok()?;
            serde_json::from_str(&answer.body_mut().read_to_string().ok()?).ok()
        };
        let Some(cluster) = self.nodes.values().find_map(ask) else { return BTreeMap::new() };
        let members = cluster["members"].as_array().cloned().unwrap_or_default();
        let text = |member: &Value, key: &str| member[key].as_str().unwrap_or_default().to_owned();
        members.iter().map(|member| (text(member, "name"), (text(member, "role"), text(member, "state")))).collect()
    }

    pub fn with_role(&self, role: &str) -> Option<String> {
        self.members().into_iter().find(|(_, (its, _))| its == role).map(|(name, _)| name)
    }

    pub fn leader(&self) -> Option<String> {
        self.with_role("leader")
    }

    /// A leader, a synchronous standby, and a replica that streams.
    pub fn is_whole(&self) -> bool {
        let members = self.members();
        let count = |roles: &[&str]| members.values().filter(|(role, _)| roles.contains(&role.as_str())).count();
        let well = members.values().all(|(_, state)| state == "running" || state == "streaming");
        well && count(&["leader"]) == 1 && count(&["sync_standby"]) == 1 && count(&["replica"]) == 1
    }

    pub fn config(&self, node: &str, user: &str) -> Config {
        let mut config = Config::new();
        config.host("127.0.0.1").port(self.nodes[node].port).user(user).password(&self.password);
        config.connect_timeout(Duration::from_secs(2));
        config
    }

    /// Where its agent answers over HTTP.
    pub fn rest(&self, node: &str) -> String {
        format!("http://127.0.0.1:{}", self.nodes[node].rest)
    }

    pub fn password(&self) -> &str {
        &self.password
    }

    /// The server of a node, if it runs.
    fn server(&self, node: &str) -> Option<Pid> {
        let file = std::fs::read_to_string(self.nodes[node].data.join("postmaster.pid")).unwrap_or_default();
        file.lines().next().and_then(|line| line.trim().parse().ok()).map(Pid::from_raw)
    }

    fn agent(&self, node: &str) -> Pid {
        Pid::from_raw(self.nodes[node].patroni.id().try_into().unwrap())
    }

    /// Stops the server's processes of a node where they are, as a host does that freezes.
    pub fn freeze_server(&self, node: &str) -> Frozen {
        let server = self.server(node).unwrap();
        // First, so that it begins no more children.
        let mut frozen = stop_processes(vec![server]);
        let children = std::fs::read_to_string(format!("/proc/{server}/task/{server}/children")).unwrap();
        let children = children.split_whitespace().map(|pid| Pid::from_raw(pid.parse().unwrap()));
        frozen.0.extend(stop_processes(children.collect()).0);
        frozen
    }

    /// Patroni's process alone: it no longer renews its lease, and no longer acts on having lost it.
    pub fn freeze_agent(&self, node: &str) -> Frozen {
        stop_processes(vec![self.agent(node)])
    }
}

fn stop_processes(pids: Vec<Pid>) -> Frozen {
    for pid in &pids {
        let _ = kill(*pid, Signal::SIGSTOP);
    }
    Frozen(pids)
}

impl Drop for Nodes {
    fn drop(&mut self) {
        // The agents first, so that none starts its server again.
        for node in self.nodes.values_mut() {
            drop(node.patroni.kill());
            drop(node.patroni.wait());
        }
        let postmasters: Vec<Pid> = self.nodes.keys().filter_map(|node| self.server(node)).collect();
        for pid in &postmasters {
            let _ = kill(*pid, Signal::SIGQUIT);
            let _ = kill(*pid, Signal::SIGCONT);
        }
        drop(self.etcd.kill());
        drop(self.etcd.wait());
        // They are nobody's children now.
        let begun = Instant::now();
        while postmasters.iter().any(|pid| kill(*pid, None).is_ok()) && begun.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn random() -> String {
    let mut bytes = [0; 16];
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom").unwrap(), &mut bytes).unwrap();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn give_all(folder: &Path) {
    give(folder);
    if let Some((uid, gid)) = unprivileged() {
        run(Command::new("chown").arg("-R").arg(format!("{uid}:{gid}")).arg(folder));
    }
}
