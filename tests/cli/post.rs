//! Servers on loopback for what is sent, and a machine wired to them.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use crate::harness::World;

/// A server, for as long as it is held.
pub struct Server {
    child: Child,
    pub port: u16,
    log: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The Python that has the servers (tests/python.sh).
pub fn python() -> Command {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("test-python/bin/python");
    assert!(path.exists(), "{} is missing: run tests/python.sh", path.display());
    Command::new(path)
}

pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers").join(name)
}

impl Server {
    fn start(world: &World, name: &str, log: &str, arguments: &[&str]) -> Server {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let log = world.folder().join(format!("{log}.{}", COUNT.fetch_add(1, Ordering::Relaxed)));
        let mut command = python();
        command.arg(script(name)).arg(&log).args(arguments).stdout(Stdio::piped()).stdin(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Server { child, port: line.trim().parse().expect("the server says its port"), log }
    }

    /// A mail server; `rules` for it are in `mail.rules`.
    pub fn mail(world: &World, arguments: &[&str]) -> Server {
        let rules = world.folder().join("mail.rules");
        let mut all = arguments.to_vec();
        all.extend(["--rules", rules.to_str().unwrap()]);
        Server::start(world, "mail.py", "mail.log", &all)
    }

    pub fn broken_mail(world: &World, step: &str, fault: &str) -> Server {
        Server::start(world, "broken_mail.py", "broken.log", &[step, fault])
    }

    /// A mail server that lies in this way; with a certificate and its key, if it is to encrypt.
    pub fn hostile_mail(world: &World, mode: &str, certificate: &[&str]) -> Server {
        Server::start(world, "hostile_mail.py", "hostile.log", &[&[mode], certificate].concat())
    }

    /// A web server; `rules` for it are in `web.rules`.
    pub fn web(world: &World) -> Server {
        let rules = world.folder().join("web.rules");
        Server::start(world, "web.py", "web.log", &[rules.to_str().unwrap()])
    }

    pub fn web_encrypted(world: &World, certificate: &str, key: &str) -> Server {
        let rules = world.folder().join("web.rules");
        Server::start(world, "web.py", "web.log", &[rules.to_str().unwrap(), certificate, key])
    }

    /// A proxy that leads to this port, whatever host it is asked for.
    pub fn proxy(world: &World, port: u16) -> Server {
        Server::start(world, "proxy.py", "proxy.log", &[&port.to_string()])
    }

    pub fn lines(&self) -> Vec<String> {
        fs::read_to_string(&self.log).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    pub fn got(&self) -> Vec<Value> {
        self.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// What went to this path, as JSON.
    pub fn bodies(&self, path: &str) -> Vec<Value> {
        let got = self.got().into_iter().filter(|request| request["path"] == path);
        got.map(|request| serde_json::from_str(request["body"].as_str().unwrap()).unwrap()).collect()
    }

    pub fn log(&self) -> &Path {
        &self.log
    }
}

/// A team as its file has it, with nothing waiting to be sent.
pub fn fresh(team: &str) -> World {
    let world = World::of("olivia", team);
    world.rows("DELETE FROM outbox");
    world
}

/// Asks for the orders' database. Gives the request's number.
pub fn ask(world: &World, login: &str, more: &[&str]) -> String {
    let all: Vec<&str> = ["request", "target:orders-db"].into_iter().chain(more.iter().copied()).collect();
    world.json(login, &all)["id"].to_string()
}

/// Writes a file for oneself alone. Gives its path.
pub fn private(world: &World, name: &str, text: &str) -> String {
    let path = world.folder().join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Writes the machine's configuration.
pub fn configure(world: &World, text: &str) {
    let folder = world.folder().join(".config/access");
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("config.toml");
    fs::write(&file, text).unwrap();
    // What others can write is not used.
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
}

pub fn smtp(port: u16) -> String {
    format!("[smtp]\nhost = \"127.0.0.1\"\nport = {port}\nencryption = \"none\"\nfrom = \"access@acme.example\"\n")
}

pub fn slack(world: &World, port: u16) -> String {
    let token = private(world, "slack-token", "xoxb-secret-token\n");
    format!("[slack]\ntoken_file = \"{token}\"\napi = \"http://127.0.0.1:{port}/api\"\nallow_plain = true\n")
}

pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

pub fn webhook(world: &World, name: &str, url: &str, events: &str) -> String {
    let secret = private(world, "webhook-secret", SECRET);
    format!(
        "[[webhooks]]\nname = \"{name}\"\nurl = \"{url}\"\nevents = [{events}]\nsecret_file = \"{secret}\"\nallow_plain = true\n"
    )
}

/// Short times, for tests of what does not answer.
pub fn hurry(deadline: &str, timeout: &str) -> String {
    format!("[deliver]\ndeadline = \"{deadline}\"\ntimeout = \"{timeout}\"\n")
}

/// A header of a message, unfolded.
pub fn header(data: &str, name: &str) -> Option<String> {
    let headers = data.split("\r\n\r\n").next().unwrap().replace("\r\n ", " ").replace("\r\n\t", " ");
    let line = headers.lines().find(|line| line.to_lowercase().starts_with(&format!("{}:", name.to_lowercase())))?;
    Some(line[name.len() + 1..].trim().to_owned())
}

/// The plain text of a mail, and its HTML.
pub fn parts(mail: &Value) -> (String, String) {
    use std::io::Write as _;
    let decode = "import email, email.policy, sys; m = email.message_from_file(sys.stdin, policy=email.policy.default)\n\
                  [print(p.get_content()) for p in m.walk() if not p.is_multipart()]";
    let mut python = python().args(["-c", decode]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    python.stdin.take().unwrap().write_all(mail["data"].as_str().unwrap().as_bytes()).unwrap();
    let body = String::from_utf8(python.wait_with_output().unwrap().stdout).unwrap().replace("\r\n", "\n");
    let (plain, html) = body.split_once("<!doctype").unwrap();
    (plain.to_owned(), html.to_owned())
}
