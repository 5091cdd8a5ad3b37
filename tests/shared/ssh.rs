//! `access ssh principals`, asked by the real sshd on loopback, for real certificates.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::host::{ACCESS, Host, Ran, TEAM, access, root, shell, within};

const MORE: &str = r#"
[connections.staging]
environment = "non-production"

[targets.web]
connections = ["staging"]
"#;

/// An sshd that trusts the certificates of a CA, and asks access whom each may log in as. It is the target orders-db.
struct Sshd {
    child: Child,
    port: u16,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Sshd {
    fn start(command: &str) -> Sshd {
        // The port is free again when sshd takes it.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey /srv/ssh/host\nTrustedUserCAKeys /srv/ssh/ca.pub\n\
             AuthorizedKeysFile none\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\nPidFile none\n\
             AuthorizedPrincipalsCommand {command}\nAuthorizedPrincipalsCommandUser root\n"
        );
        fs::write("/srv/ssh/sshd_config", config).unwrap();
        let mut sshd = Command::new("/usr/sbin/sshd");
        sshd.args(["-D", "-e", "-f", "/srv/ssh/sshd_config"]).stdin(Stdio::null());
        let child = sshd.stderr(fs::File::create("/srv/ssh/log").unwrap()).spawn().unwrap();
        within(Duration::from_secs(10), || TcpStream::connect(("127.0.0.1", port)).is_ok(), "sshd listens");
        Sshd { child, port }
    }

    /// Logs in with the certificate of the first, as the second.
    fn login(&self, holder: &str, account: &str) -> Ran {
        let options =
            "-F none -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR";
        let port = self.port;
        shell(holder, &format!("ssh {options} -o IdentitiesOnly=yes -i ~/id -p {port} {account}@127.0.0.1 id -un"))
    }
}

fn keygen(args: &[&str]) {
    root("ssh-keygen", &[&["-q", "-t", "ed25519", "-N", ""], args].concat()).ok();
}

/// The CA certifies the key of this person, for these principals.
fn certify(login: &str, principals: &str) {
    let home = format!("/home/{login}");
    let identity = format!("{home}/id.pub");
    root("ssh-keygen", &["-q", "-s", "/srv/ssh/ca", "-I", login, "-n", principals, "-V", "+1h", &identity]).ok();
    root("chown", &["-R", &format!("{login}:{login}"), &home]).ok();
}

/// A host on which everybody has a key with a certificate for their own name, as many companies have it.
fn host() -> Option<Host> {
    let host = Host::new()?;
    host.apply("ana", &(TEAM.to_owned() + MORE)).ok();
    fs::create_dir_all("/srv/ssh").unwrap();
    fs::create_dir_all("/run/sshd").unwrap();
    for key in ["ca", "host"] {
        keygen(&["-f", &format!("/srv/ssh/{key}")]);
    }
    for login in ["ana", "alice", "bob", "carol"] {
        keygen(&["-f", &format!("/home/{login}/id")]);
        certify(login, login);
        // An account without a password is not a locked one.
        root("usermod", &["-p", "*", login]).ok();
    }
    Some(host)
}

fn grant(host: &Host, login: &str, resource: &str) -> String {
    let id = host.request(login, resource);
    access("alice", &["approve", &id, "--duration", "1h"]).ok();
    id
}

fn principals(args: &[&str]) -> Ran {
    root(ACCESS, &[&["ssh", "principals"], args].concat())
}

const COMMAND: &str = "/usr/bin/access ssh principals --for target:orders-db -- %u";

#[test]
fn a_member_logs_in_while_a_grant_is_live() {
    let Some(mut host) = host() else { return };
    let sshd = Sshd::start(COMMAND);
    let in_as_bob = || sshd.login("bob", "bob");
    in_as_bob().not_done();
    let other = grant(&host, "bob", "target:web");
    in_as_bob().not_done();
    access("alice", &["revoke", &other]).ok();
    let id = grant(&host, "bob", "target:orders-db");
    in_as_bob().ok().says("bob");
    // A grant of the connection behind it opens it too, and the certificate of one person is not that of another.
    let hers = grant(&host, "carol", "connection:prod");
    sshd.login("carol", "carol").ok().says("carol");
    sshd.login("carol", "bob").not_done();
    sshd.login("bob", "carol").not_done();
    sshd.login("bob", "root").not_done();
    sshd.login("bob", "mallory").not_done();
    access("alice", &["revoke", &id]).ok();
    in_as_bob().not_done();
    sshd.login("carol", "carol").ok();
    // Who can't be asked lets nobody in.
    host.stop_serving();
    sshd.login("carol", "carol").not_done();
    host.serve(crate::host::Start::Listener);
    sshd.login("carol", "carol").ok();
    access("alice", &["revoke", &hers]).ok();
    sshd.login("carol", "carol").not_done();
}

#[test]
fn a_certificate_for_a_resource_opens_it_for_its_holder_alone() {
    let Some(host) = host() else { return };
    certify("bob", "bob:target:orders-db");
    certify("alice", "alice:target:orders-db");
    certify("carol", "target:orders-db,carol:target:web,connection:prod");
    let sshd = Sshd::start(COMMAND);
    sshd.login("bob", "bob").not_done();
    let id = grant(&host, "bob", "target:orders-db");
    for resource in ["target:orders-db", "target:web"] {
        grant(&host, "carol", resource);
    }
    sshd.login("bob", "bob").ok();
    // An admin may use all targets.
    sshd.login("alice", "alice").ok();
    // She may use it too, and her certificate is still not his.
    sshd.login("alice", "bob").not_done();
    // Hers is for another host, whatever else she may use.
    sshd.login("carol", "carol").not_done();
    sshd.login("carol", "bob").not_done();
    access("alice", &["revoke", &id]).ok();
    sshd.login("bob", "bob").not_done();
}

#[test]
fn principals_are_what_check_allows() {
    let Some(host) = host() else { return };
    principals(&["bob"]).exits(1).not("bob");
    grant(&host, "bob", "target:orders-db");
    let staging = grant(&host, "bob", "connection:staging");
    let lines = |args: &[&str]| principals(args).ok().out.lines().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(lines(&["bob"]), ["bob:connection:staging", "bob:target:orders-db", "bob:target:web"]);
    assert_eq!(lines(&["--for", "target:orders-db", "--", "bob"]), ["bob", "bob:target:orders-db"]);
    assert_eq!(lines(&["--quiet", "--for=target:web", "--", "bob"]), ["bob", "bob:target:web"]);
    assert_eq!(principals(&["--json", "bob"]).ok().json()[1], "bob:target:orders-db");
    principals(&["--for", "connection:prod", "bob"]).exits(1).not("bob");
    access("alice", &["revoke", &staging]).ok();
    assert_eq!(lines(&["bob"]), ["bob:target:orders-db"]);
    // mallory is a member whose login is carol.
    grant(&host, "carol", "target:web");
    assert_eq!(lines(&["carol"]), ["carol:target:web"]);
    principals(&["mallory"]).not_done().not("mallory");
    for login in ["root", "nobody", "", "-h", "--help", "bob bob", "bob:x", "*"] {
        principals(&["--for", "target:orders-db", "--", login]).not_done().not("target");
    }
    principals(&["--for", "target:none", "--", "bob"]).fails(4, "target:none");
    // About others only root and admins may ask.
    access("bob", &["ssh", "principals", "carol"]).fails(3, "admin");
    access("bob", &["ssh", "principals", "bob"]).fails(3, "admin");
    access("alice", &["ssh", "principals", "bob"]).ok().says("bob:target:orders-db");
    let head = host.head();
    for _ in 0..3 {
        principals(&["--for", "target:orders-db", "--", "bob"]).ok();
        principals(&["nobody"]).not_done();
    }
    assert_eq!(host.head(), head, "to ask records nothing");
}
