//! What people are told leaves a shared host: sent by root and the system user alone, with secrets that nobody else reads.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::host::{ACCESS, CONFIG, Host, TEAM, access, as_user, home, root, run, shell};

/// A server of `tests/servers` on loopback, for as long as it is held.
pub struct Server {
    child: Child,
    pub port: String,
    log: PathBuf,
}

impl Server {
    pub fn start(script: &str, folder: &Path) -> Server {
        let python = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("test-python/bin/python");
        assert!(python.exists(), "{} is missing: run tests/python.sh", python.display());
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers").join(script);
        let log = folder.join("got");
        let mut command = Command::new(python);
        command.arg(script).arg(&log).arg(folder.join("rules")).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
        Server { child, port: port.trim().to_owned(), log }
    }

    /// What it was sent, a line for each.
    pub fn got(&self) -> Vec<String> {
        fs::read_to_string(&self.log).unwrap_or_default().lines().map(str::to_owned).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The team, with addresses.
pub fn team() -> String {
    let with_address = |team: String, name: &str| {
        team.replace(&format!("[members.{name}]\n"), &format!("[members.{name}]\nemail = \"{name}@acme.example\"\n"))
    };
    ["alice", "bob"].into_iter().fold(TEAM.to_owned(), with_address)
}

pub fn wire(mail: &Server, more: &str) {
    let known = fs::read_to_string(CONFIG).unwrap();
    let smtp = format!("[smtp]\nhost = \"127.0.0.1\"\nport = {}\nencryption = \"none\"\n", mail.port);
    fs::write(CONFIG, format!("{known}from = \"access@acme.example\"\n{smtp}{more}")).unwrap();
}

/// A webhook that is told everything, with a secret.
fn siem(hook: &Server) -> String {
    let url = format!("http://127.0.0.1:{}/hook", hook.port);
    format!(
        "[[webhooks]]\nname = \"siem\"\nurl = \"{url}\"\nevents = [\"audit\"]\nallow_http = [\"127.0.0.1\"]\n\
         secret_file = \"/etc/access/siem.secret\"\n"
    )
}

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn folder(host: &Host, name: &str) -> PathBuf {
    let folder = host.scratch.path().join(name);
    fs::create_dir(&folder).unwrap();
    folder
}

/// As cron does it.
fn expire() -> crate::host::Ran {
    run(&mut as_user("access", ACCESS, &["expire", "--quiet"]), "access$ access expire --quiet".into())
}

#[test]
fn people_are_told_by_mail_and_a_webhook_with_a_secret() {
    let Some(host) = Host::new() else { return };
    let mail = Server::start("mail.py", &folder(&host, "mail"));
    let hook = Server::start("web.py", &folder(&host, "hook"));
    wire(&mail, &siem(&hook));
    root("sh", &["-c", &format!("umask 077; echo {SECRET} > /etc/access/siem.secret")]).ok();
    root("chown", &["root:access", "/etc/access/siem.secret"]).ok();
    root("chmod", &["640", "/etc/access/siem.secret"]).ok();
    for login in ["bob", "alice"] {
        shell(login, "cat /etc/access/siem.secret").not_done();
    }
    // What people and root have at home says nothing here.
    for home in ["/home/access", "/root"] {
        let folder = format!("{home}/.config/access");
        root("mkdir", &["-p", &folder]).ok();
        fs::write(format!("{folder}/config.toml"), "[smtp]\nhost = \"127.0.0.1\"\nport = 1\n").unwrap();
    }
    host.apply("ana", &team()).ok();
    expire().ok();
    let before = mail.got().len();

    let id = host.request("bob", "target:orders-db");
    assert_eq!(mail.got().len(), before, "the door sends nothing");
    expire().ok();
    let told = mail.got();
    assert_eq!(told.len(), before + 1);
    assert!(told[before].contains("alice@acme.example") && told[before].contains("target:orders-db"), "{told:?}");
    access("alice", &["approve", &id]).ok();
    // By root as well; and after that still by the system user.
    root(ACCESS, &["expire"]).ok();
    assert!(mail.got().last().unwrap().contains("bob@acme.example"));
    access("bob", &["notify", "set", "request.approved", "--email", "off"]).ok();
    let before = mail.got().len();
    let second = host.request("bob", "connection:prod");
    root(ACCESS, &["deliver"]).ok();
    access("alice", &["approve", &second, "--duration", "4h"]).ok();
    expire().ok();
    assert_eq!(mail.got().len(), before + 1, "alice of the request; bob said that he wants no mail of it");

    let entries = hook.got();
    assert!(entries.iter().all(|entry| entry.contains("webhook-signature")), "{entries:?}");
    let last = entries.last().unwrap();
    assert!(last.contains("alice") && !last.contains("whsec"), "{last}");
    root(ACCESS, &["doctor"]).ok();
    assert_eq!(access("ana", &["audit", "verify"]).ok().code, Some(0));
}

#[test]
fn a_secret_that_lies_open_is_not_used_and_the_others_are_told() {
    let Some(host) = Host::new() else { return };
    let mail = Server::start("mail.py", &folder(&host, "mail"));
    let hook = Server::start("web.py", &folder(&host, "hook"));
    wire(&mail, &siem(&hook));
    fs::write("/etc/access/siem.secret", SECRET).unwrap();
    host.apply("ana", &team()).ok();
    host.request("bob", "target:orders-db");
    for (owner, mode) in [("root:access", "644"), ("root:bob", "640"), ("bob:access", "640"), ("root:access", "660")] {
        root("chown", &[owner, "/etc/access/siem.secret"]).ok();
        root("chmod", &[mode, "/etc/access/siem.secret"]).ok();
        let ran = expire().ok();
        assert!(ran.err.contains("/etc/access/siem.secret") && !ran.err.contains("whsec"), "{owner} {mode}: {ran:?}");
        root(ACCESS, &["doctor"]).exits(1).says("/etc/access/siem.secret");
    }
    assert_eq!(hook.got(), Vec::<String>::new());
    assert_eq!(mail.got().len(), 2, "alice was told of the team, and of the request");
    root("chown", &["root:access", "/etc/access/siem.secret"]).ok();
    root("chmod", &["640", "/etc/access/siem.secret"]).ok();
    expire().ok();
    assert!(!hook.got().is_empty());
    root(ACCESS, &["doctor"]).ok();
}

#[test]
fn who_may_look_at_the_outbox_and_who_may_send() {
    let Some(host) = Host::new() else { return };
    let mail = Server::start("mail.py", &folder(&host, "mail"));
    wire(&mail, "");
    host.apply("ana", &team()).ok();
    host.request("bob", "target:orders-db");
    let sent = || mail.got().len();
    for login in ["bob", "alice", "ana", "mallory"] {
        for args in [&["deliver"][..], &["outbox", "retry"], &["outbox", "discard"], &["expire"]] {
            access(login, args).fails(3, "only root and the user who owns the database");
        }
        let ran = access(login, &["notify", "test"]).not_done();
        assert!(login == "mallory" || ran.err.contains("cannot send notifications"), "{ran:?}");
    }
    // A refusal ends the watching, and is on the record once.
    let before = host.refused("bob").len();
    access("bob", &["deliver", "--watch"]).fails(3, "only root and the user who owns the database");
    assert_eq!(host.refused("bob").len(), before + 1);
    assert_eq!(sent(), 0);
    access("bob", &["outbox"]).fails(3, "only admins, auditors and the owner");
    access("alice", &["outbox"]).ok().says("alice").says("request.submitted");
    root(ACCESS, &["outbox"]).ok().says("alice");
    root(ACCESS, &["outbox", "retry"]).ok();
    root(ACCESS, &["outbox", "discard"]).ok();
    root(ACCESS, &["deliver"]).ok();
    assert_eq!(sent(), 2);
    assert!(!home("bob").join(".config").exists());
}
