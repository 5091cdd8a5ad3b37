//! `access ssh principals`, asked by the real sshd on loopback, for real certificates.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::host::{ACCESS, CONFIG, Host, Ran, TEAM, access, python, root, shell, within};

pub const MORE: &str = r#"
[connections.staging]
environment = "non-production"

[targets.web]
connections = ["staging"]
"#;

/// A program that ends with the test.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An sshd that trusts the certificates of a CA, and asks access whom each may log in as. It is the target orders-db.
pub struct Sshd {
    _daemon: Running,
    pub port: u16,
}

impl Sshd {
    fn start(command: &str) -> Sshd {
        Sshd::with(command, "")
    }

    /// With more lines in its configuration, which come first and so count.
    pub fn with(command: &str, more: &str) -> Sshd {
        // The port is free again when sshd takes it.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey /srv/ssh/host\nTrustedUserCAKeys /srv/ssh/ca.pub\n\
             AuthorizedKeysFile none\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n{more}\nUsePAM no\nPidFile none\n\
             AuthorizedPrincipalsCommand {command}\nAuthorizedPrincipalsCommandUser root\n"
        );
        fs::write("/srv/ssh/sshd_config", config).unwrap();
        let mut sshd = Command::new("/usr/sbin/sshd");
        sshd.args(["-D", "-e", "-f", "/srv/ssh/sshd_config"]).stdin(Stdio::null());
        let child = sshd.stderr(fs::File::create("/srv/ssh/log").unwrap()).spawn().unwrap();
        let daemon = Running(child);
        within(Duration::from_secs(10), || TcpStream::connect(("127.0.0.1", port)).is_ok(), "sshd listens");
        Sshd { _daemon: daemon, port }
    }

    /// Logs in with the certificate of the first, as the second.
    fn login(&self, holder: &str, account: &str) -> Ran {
        let options =
            "-F none -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR";
        let port = self.port;
        shell(holder, &format!("ssh {options} -o IdentitiesOnly=yes -i ~/id -p {port} {account}@127.0.0.1 id -un"))
    }

    /// Types this, with the lines of docs/connectors.md in the configuration of ssh.
    fn types(&self, login: &str, command: &str) -> Ran {
        let home = format!("/home/{login}");
        let section = documented("Match host orders-db");
        let more =
            format!("Host orders-db\n    HostName 127.0.0.1\n    Port {}\n    StrictHostKeyChecking no\n", self.port);
        let more = more + "    UserKnownHostsFile /dev/null\n    LogLevel ERROR\n    BatchMode yes\n";
        fs::create_dir_all(format!("{home}/.ssh")).unwrap();
        fs::write(format!("{home}/.ssh/config"), section + &more).unwrap();
        root("chown", &["-R", &format!("{login}:{login}"), &home]).ok();
        shell(login, command)
    }
}

/// The block of docs/connectors.md that begins with this line.
fn documented(line: &str) -> String {
    documented_as("", line)
}

fn documented_as(language: &str, line: &str) -> String {
    let page = fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/connectors.md")).unwrap();
    let (_, rest) = page.split_once(&format!("```{language}\n{line}")).unwrap_or_else(|| panic!("no block {line}"));
    format!("{line}{}", rest.split_once("```").unwrap().0)
}

pub fn keygen(args: &[&str]) {
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
pub fn host() -> Option<Host> {
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

pub fn grant(host: &Host, login: &str, resource: &str) -> String {
    let id = host.request(login, resource);
    access("alice", &["approve", &id, "--duration", "1h"]).ok();
    id
}

fn principals(args: &[&str]) -> Ran {
    root(ACCESS, &[&["ssh", "principals"], args].concat())
}

const DB: &str = "target:orders-db";
pub const COMMAND: &str = "/usr/bin/access ssh principals --for target:orders-db -- %u";

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

/// A host on which people get certificates as docs/connectors.md says.
fn with_signer() -> Option<Host> {
    let host = host()?;
    let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/recipes/ssh-cert");
    root("install", &["-D", "-m", "755", recipe.to_str().unwrap(), "/usr/local/lib/access/ssh-cert"]).ok();
    fs::create_dir_all("/etc/ssh").unwrap();
    root("cp", &["-p", "/srv/ssh/ca", "/etc/ssh/access-ca"]).ok();
    root("groupadd", &["engineers"]).ok();
    for login in ["bob", "carol", "alice"] {
        root("usermod", &["-aG", "engineers", login]).ok();
        root("rm", &[&format!("/home/{login}/id-cert.pub")]).ok();
        root("install", &["-d", "-m", "700", "-o", login, "-g", login, &format!("/home/{login}/.ssh")]).ok();
        for (from, to) in [("id", "id_ed25519"), ("id.pub", "id_ed25519.pub")] {
            root("cp", &["-p", &format!("/home/{login}/{from}"), &format!("/home/{login}/.ssh/{to}")]).ok();
        }
    }
    fs::create_dir_all("/run/sudo").unwrap();
    fs::write("/etc/sudoers.d/ssh-cert", documented("%engineers")).unwrap();
    root("chmod", &["440", "/etc/sudoers.d/ssh-cert"]).ok();
    Some(host)
}

const SIGN: &str = "sudo -n /usr/local/lib/access/ssh-cert";

/// What ssh-keygen reads in a certificate of this person.
fn contents(login: &str, resource: &str) -> String {
    shell(login, &format!("{SIGN} {resource} < ~/id.pub > ~/cert.pub && TZ=UTC ssh-keygen -L -f ~/cert.pub")).ok().out
}

/// The recipe for people would read one file as root, and write another.
#[test]
fn the_recipe_opens_no_file_as_root() {
    let Some(host) = with_signer() else { return };
    grant(&host, "bob", "target:orders-db");
    fs::write("/root/secret", "secret\n").unwrap();
    for (key, certificate) in [("/root/secret", "/root/taken"), ("/root/none", "~/taken"), ("~/id.pub", "/root/secret")]
    {
        let ran = shell("bob", &format!("{SIGN} {DB} {key} {certificate} 2>&1"));
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{key} {certificate}");
    }
    assert_eq!(fs::read_to_string("/root/secret").unwrap(), "secret\n");
    assert!(!Path::new("/root/taken").exists() && !Path::new("/home/bob/taken").exists());
}

#[test]
fn after_approval_a_login_just_works_and_a_revoke_ends_it() {
    let Some(host) = with_signer() else { return };
    let sshd = Sshd::start(COMMAND);
    let ssh = |login: &str| sshd.types(login, "ssh orders-db id -un");
    ssh("bob").not_done();
    let id = grant(&host, "bob", "target:orders-db");
    ssh("bob").ok().says("bob");
    ssh("carol").not_done();
    access("alice", &["revoke", &id]).ok();
    ssh("bob").not_done();
    // The certificate is valid still, and sshd asks.
    shell("bob", &format!("ssh -o CertificateFile=~/cert.pub -i ~/id -p {} 127.0.0.1 id", sshd.port)).not_done();
}

#[test]
fn a_certificate_is_for_one_grant_and_ends_with_it() {
    let Some(host) = with_signer() else { return };
    // A host that can't ask.
    let sshd = Sshd::start("/bin/echo %u:target:orders-db");
    let id = host.request("bob", "target:orders-db");
    access("alice", &["approve", &id, "--duration", "6s"]).ok();
    let ends = access("alice", &["show", &id, "--json"]).ok().json();
    let ends = ends["grant"]["ends_at"].as_str().unwrap_or_else(|| panic!("{ends:#}")).trim_end_matches('Z').to_owned();
    let said = contents("bob", "target:orders-db");
    for words in [
        &format!("Serial: {id}"),
        &format!("Key ID: \"bob request {id}\""),
        "bob:target:orders-db\n",
        &format!("to {ends}\n"),
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert_eq!(said.matches(":target:").count(), 1, "{said}");
    sshd.types("bob", "ssh orders-db id -un").ok().says("bob");
    let login = |account: &str| {
        let options = "-F none -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null";
        let certificate = "-o CertificateFile=~/cert.pub -i ~/id";
        shell("bob", &format!("ssh {options} {certificate} -p {} {account}@127.0.0.1 id -un", sshd.port))
    };
    login("carol").not_done();
    login("root").not_done();
    within(Duration::from_secs(20), || login("bob").code != Some(0), "the certificate ends");
    let now = root("date", &["-u", "+%Y-%m-%dT%H:%M:%S"]).ok().out;
    assert!(now.trim() >= ends.as_str(), "not before {ends}, but at {now}");
    // Longer grants have certificates of 12 hours, or of the length that root chooses.
    access("alice", &["approve", &host.request("bob", "target:web"), "--duration", "permanent"]).ok();
    let id = grant(&host, "bob", "connection:staging");
    let cert = |args: &[&str]| {
        let all = [&["ssh", "cert", "--ca", "/etc/ssh/access-ca", "--login=bob"], args].concat();
        shell(
            "root",
            &format!("{ACCESS} {} < /home/bob/id.pub > /srv/c.pub && ssh-keygen -L -f /srv/c.pub", all.join(" ")),
        )
        .ok()
        .out
    };
    let seconds = |said: &str| {
        let times = said.lines().find_map(|line| line.trim().strip_prefix("Valid: from ")).unwrap();
        let (from, to) = times.split_once(" to ").unwrap();
        let unix = |time: &str| root("date", &["-u", "-d", time, "+%s"]).ok().out.trim().parse::<i64>().unwrap();
        unix(to) - unix(from)
    };
    assert_eq!(seconds(&cert(&["--for", "target:web"])), 12 * 3600 + 60);
    assert_eq!(seconds(&cert(&["--for", "target:web", "--longest", "10m"])), 660);
    let by_connection = cert(&["--for", "connection:staging"]);
    assert!(by_connection.contains(&format!("Serial: {id}")) && seconds(&by_connection) <= 3660, "{by_connection}");
}

/// Folders of signing processes that are no more. Other tests sign meanwhile, in the same `/tmp`: theirs are in use.
fn left_by_ended_signers() -> Vec<PathBuf> {
    let ended = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let pid = name.strip_prefix("access-ssh-cert-").and_then(|rest| rest.split('-').next());
        pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists())
    };
    let folders = fs::read_dir("/tmp").unwrap().map(|entry| entry.unwrap().path());
    // One that ended since the listing has removed its folder.
    let mut left: Vec<PathBuf> = folders.filter(|path| ended(path) && path.exists()).collect();
    left.sort();
    left
}

#[test]
fn nobody_gets_a_certificate_of_another_or_for_what_they_may_not_use() {
    let Some(host) = with_signer() else { return };
    let id = grant(&host, "bob", "target:orders-db");
    contents("bob", "target:orders-db");
    // Of tests that were killed.
    let before = left_by_ended_signers();
    for (login, line) in [
        ("carol", format!("{SIGN} target:orders-db < ~/id.pub")),
        ("carol", format!("SUDO_USER=bob {SIGN} target:orders-db < ~/id.pub")),
        ("carol", SIGN.replace("-n", "-n SUDO_USER=bob") + " target:orders-db < ~/id.pub"),
        ("carol", format!("{SIGN} 'target:orders-db --login=bob' < ~/id.pub")),
        ("carol", format!("{SIGN} target:orders-db --login=bob < ~/id.pub")),
        ("carol", format!("{SIGN} --help < ~/id.pub")),
        ("bob", format!("{SIGN} target:web < ~/id.pub")),
        ("bob", format!("{SIGN} target:orders-d < ~/id.pub")),
        ("bob", format!("{SIGN} < ~/id.pub")),
        // An admin may use it by role, and not by a grant.
        ("alice", format!("{SIGN} target:orders-db < ~/id.pub")),
        // What is no key is not signed, and not printed: root reads it.
        ("bob", format!("{SIGN} target:orders-db < /etc/passwd")),
        ("bob", format!("{SIGN} target:orders-db < ~/id")),
        ("bob", format!("{SIGN} target:orders-db < ~/cert.pub")),
        ("bob", format!("{SIGN} target:orders-db < /dev/zero")),
        ("bob", format!("{SIGN} target:orders-db < /dev/null")),
        // The CA's key is root's.
        ("bob", "cat /etc/ssh/access-ca".to_owned()),
        ("bob", format!("{ACCESS} ssh cert --ca /etc/ssh/access-ca --for target:orders-db --login=bob < ~/id.pub")),
    ] {
        let ran = shell(login, &line).not_done();
        assert!(!ran.out.contains("ssh-ed25519") && !ran.err.contains("root:x:0"), "{ran:?}");
    }
    // Only the first line counts.
    let two = shell("bob", &format!("cat ~/id.pub /home/alice/id.pub | {SIGN} target:orders-db")).ok();
    assert_eq!(two.out.lines().count(), 1, "{two:?}");
    assert_eq!(left_by_ended_signers(), before);
    access("alice", &["revoke", &id]).ok();
    shell("bob", &format!("{SIGN} target:orders-db < ~/id.pub")).not_done();
}

#[test]
fn what_members_say_on_the_socket_issues_and_reveals_nothing() {
    let Some(host) = with_signer() else { return };
    let id = grant(&host, "bob", DB);
    let say = |login: &str, call: &str| python(login, &format!("print(say(command({call})))")).ok();
    let key = "SHA256:KIH+LzaoZhmZrFQvBG95c/RYldddvcc9rBen8sqTLLU";
    let issue = |login: &str, key: &str, longest: &str| {
        format!(
            r#"{{"IssueCertificate": {{"login": "{login}", "resource": "{DB}", "key": "{key}", "longest": "{longest}"}}}}"#
        )
    };
    for login in ["bob", "carol", "mallory"] {
        say(login, &issue("bob", key, "1h")).says("Failed");
        say(login, r#"{"RevokedCertificates": {"known": None}}"#).says("Failed");
    }
    // Not even an admin reads the list, or makes the record say what is not so.
    say("alice", r#"{"RevokedCertificates": {"known": None}}"#).says("only root");
    say("alice", &issue("alice", key, "1h")).says("has no grant");
    for (key, longest) in [("MD5:x", "1h"), (key, "0s"), (key, "permanent"), ("SHA256:\\n", "1h")] {
        say("alice", &issue("bob", key, longest)).says("Failed");
    }
    let issued = || access("alice", &["audit", "--action", "certificate.issued", "--json"]).ok().json();
    assert_eq!(issued().as_array().unwrap().len(), 0);
    say("alice", &issue("bob", key, "9d")).says("Done");
    let entry = &issued()[0];
    let ends = access("alice", &["show", &id, "--json"]).ok().json()["grant"]["ends_at"].clone();
    assert_eq!((&entry["actor"], &entry["detail"]["until"]), (&"alice".into(), &ends));
    access("ana", &["audit", "verify"]).ok();
}

#[test]
fn an_agent_can_hold_the_key_of_the_ca() {
    let Some(host) = with_signer() else { return };
    grant(&host, "bob", DB);
    fs::remove_file("/srv/ssh/ca").unwrap();
    root("cp", &["/srv/ssh/ca.pub", "/etc/ssh/access-ca.pub"]).ok();
    shell("root", &documented_as("sh", "useradd --system --create-home")).ok();
    let unit = documented("[Service]");
    let line = |key: &str| unit.lines().find_map(|line| line.strip_prefix(key)).unwrap().to_owned();
    let (user, folder) = (line("User="), format!("/run/{}", line("RuntimeDirectory=")));
    root("install", &["-d", "-o", &user, "-m", &line("RuntimeDirectoryMode="), &folder]).ok();
    let begun = shell(&user, &line("ExecStart=")).ok().out;
    let pid: i32 = begun.split("SSH_AGENT_PID=").nth(1).unwrap().split(';').next().unwrap().parse().unwrap();
    let end = || nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
    shell(&user, &format!("{} {}", line("Environment="), line("ExecStartPost="))).ok();
    let recipe = "/usr/local/lib/access/ssh-cert";
    let text = fs::read_to_string(recipe).unwrap();
    let with_agent = "CA=\"--ca /etc/ssh/access-ca.pub --agent /run/access-ca/agent\"";
    fs::write(recipe, text.replace("CA=\"--ca /etc/ssh/access-ca\"", with_agent)).unwrap();
    let sshd = Sshd::start(COMMAND);
    sshd.types("bob", "ssh orders-db id -un").ok().says("bob");
    // Nobody else can use it, not even who reaches the socket.
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions("/run/access-ca/agent", fs::Permissions::from_mode(0o666)).unwrap();
    shell("bob", "SSH_AUTH_SOCK=/run/access-ca/agent ssh-add -l").not_done().not("SHA256");
    shell("bob", "cat /var/lib/access-ca/key").not_done();
    let sign = || shell("bob", &format!("{SIGN} {DB} < ~/id.pub"));
    sign().ok().says("-cert-v01@openssh.com");
    end().unwrap();
    sign().fails(1, "ssh-keygen did not sign the key");
}

#[test]
fn a_ca_with_a_passphrase_asks_nobody_at_the_terminal() {
    let Some(host) = with_signer() else { return };
    grant(&host, "bob", "target:orders-db");
    root("ssh-keygen", &["-q", "-p", "-P", "", "-N", "passphrase", "-f", "/etc/ssh/access-ca"]).ok();
    let line = format!("script -qec '{SIGN} target:orders-db < /home/bob/id.pub' /dev/null");
    shell("bob", &line).not_done().says("ssh-keygen did not sign the key");
}

// The list of revoked certificates, on a host that has nothing else

const KRL: &str = "/etc/ssh/access.krl";

/// A host with the signer, and the list as docs/connectors.md says.
fn with_list() -> Option<Host> {
    let host = with_signer()?;
    root("cp", &["/srv/ssh/ca.pub", "/etc/ssh/access-ca.pub"]).ok();
    let config = fs::read_to_string(CONFIG).unwrap();
    fs::write(CONFIG, config + &documented_as("toml", "[ssh]")).unwrap();
    fs::create_dir_all("/etc/ssh").unwrap();
    root(ACCESS, &["reconcile", "--fix"]).ok();
    Some(host)
}

/// An sshd that has the list and no access. The lines about principals and the list are those of docs/connectors.md.
fn far_host() -> Sshd {
    let lines = documented(
        "TrustedUserCAKeys /etc/ssh/user-ca.pub\nAuthorizedKeysFile none\nAuthorizedPrincipalsCommand /bin/echo",
    );
    let line = |key: &str| lines.lines().find_map(|line| line.strip_prefix(key)).unwrap().to_owned();
    Sshd::with(&line("AuthorizedPrincipalsCommand "), &format!("RevokedKeys {}\n", line("RevokedKeys ")))
}

/// Logs in with a certificate in this person's home.
fn login_with(sshd: &Sshd, login: &str, certificate: &str) -> Ran {
    let options =
        "-F none -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o IdentitiesOnly=yes";
    let line = format!("ssh {options} -o CertificateFile=~/{certificate} -i ~/id -p {} 127.0.0.1 id -un", sshd.port);
    shell(login, &line)
}

fn certify_grant(login: &str, certificate: &str) {
    shell(login, &format!("{SIGN} {DB} < ~/id.pub > ~/{certificate}")).ok();
}

fn write_list() -> Ran {
    root(ACCESS, &["expire", "--no-deliver"])
}

#[test]
fn a_host_without_access_refuses_a_revoked_certificate() {
    let Some(host) = with_list() else { return };
    let sshd = far_host();
    let (first, hers) = (grant(&host, "bob", DB), grant(&host, "carol", DB));
    certify_grant("bob", "first.pub");
    certify_grant("carol", "hers.pub");
    login_with(&sshd, "bob", "first.pub").ok().says("bob");
    access("alice", &["revoke", &first]).ok();
    // The host can't know yet.
    login_with(&sshd, "bob", "first.pub").ok();
    write_list().ok();
    login_with(&sshd, "bob", "first.pub").not_done();
    login_with(&sshd, "carol", "hers.pub").ok().says("carol");
    // What is granted again has another number.
    let second = grant(&host, "bob", DB);
    assert_ne!(first, second);
    certify_grant("bob", "second.pub");
    write_list().ok();
    login_with(&sshd, "bob", "second.pub").ok().says("bob");
    login_with(&sshd, "bob", "first.pub").not_done();
    // The service writes it at once, also where somebody removed it.
    let _watching = Running(Command::new(ACCESS).args(["reconcile", "--fix", "--watch"]).spawn().unwrap());
    access("alice", &["revoke", &hers]).ok();
    within(Duration::from_secs(10), || login_with(&sshd, "carol", "hers.pub").code != Some(0), "it is on the list");
    login_with(&sshd, "bob", "second.pub").ok();
    fs::remove_file(KRL).unwrap();
    within(Duration::from_secs(10), || login_with(&sshd, "bob", "second.pub").code == Some(0), "the list is back");
    login_with(&sshd, "carol", "hers.pub").not_done();
    access("ana", &["audit", "verify"]).ok();
}

#[test]
fn only_root_writes_the_list_on_a_shared_host() {
    let Some(host) = with_list() else { return };
    let inode = || fs::metadata(KRL).unwrap().ino();
    let (before, id) = (inode(), grant(&host, "bob", DB));
    certify_grant("bob", "cert.pub");
    access("alice", &["revoke", &id]).ok();
    access("bob", &["reconcile", "--fix"]).not_done();
    // The user who owns the database runs expire each minute, and writes nothing else.
    access("access", &["expire", "--no-deliver"]).ok();
    root(ACCESS, &["expire", "--dry-run"]).ok();
    assert_eq!(inode(), before);
    root(ACCESS, &["doctor"]).exits(1).says("does not list what was revoked");
    write_list().ok();
    assert_ne!(inode(), before);
    root(ACCESS, &["doctor"]).ok().says("lists what was revoked");
}

#[test]
fn a_list_on_a_full_disk_or_of_another_user_is_not_replaced() {
    let Some(host) = with_list() else { return };
    let id = grant(&host, "bob", DB);
    certify_grant("bob", "cert.pub");
    let is_revoked = || shell("bob", &format!("ssh-keygen -Q -f {KRL} ~/cert.pub")).code == Some(1);
    let whole = fs::read(KRL).unwrap();
    // A disk of one page, which the list has.
    let small = Some("size=4k,mode=755");
    nix::mount::mount(Some("tmpfs"), "/etc/ssh", Some("tmpfs"), nix::mount::MsFlags::empty(), small).unwrap();
    fs::write(KRL, &whole).unwrap();
    access("alice", &["revoke", &id]).ok();
    let refused = |why: &str| {
        let ran = write_list().exits(1);
        assert!(ran.err.contains("was not written") && ran.err.contains(why), "{ran:?}");
    };
    refused("");
    assert_eq!(fs::read(KRL).unwrap(), whole, "the old one is there, whole");
    assert_eq!(fs::read_dir("/etc/ssh").unwrap().count(), 1);
    nix::mount::umount("/etc/ssh").unwrap();
    write_list().ok();
    assert!(is_revoked());
    // Somebody else owns it: they can write what they want there.
    root("chown", &["bob", KRL]).ok();
    refused("it belongs to another user");
    root("chown", &["root", KRL]).ok();
    root("chown", &["bob", "/etc/ssh"]).ok();
    refused("belongs to another user");
    root("chown", &["root", "/etc/ssh"]).ok();
    write_list().ok();
    // The server can't be asked.
    drop(host);
}
