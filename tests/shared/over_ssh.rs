//! Members who give commands over SSH, by the real sshd on loopback. It is configured as docs/shared-host.md says; the rest of
//! its configuration allows as much as it can.
//!
//! The client runs as mallory, who is the login of no member: only the key says who somebody is.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::host::{ACCESS, Host, Ran, SOCKET, TEAM, access, as_user, ran, root, run, shell, within};
use crate::ssh::{Running, keygen};

const OPTIONS: [&str; 16] = [
    "-F",
    "none",
    "-o",
    "BatchMode=yes",
    "-o",
    "StrictHostKeyChecking=no",
    "-o",
    "UserKnownHostsFile=/dev/null",
    "-o",
    "LogLevel=ERROR",
    "-o",
    "IdentitiesOnly=yes",
    "-o",
    "IdentityAgent=none",
    "-o",
    "ConnectTimeout=20",
];

pub struct Bastion {
    pub host: Host,
    _sshd: Running,
    port: u16,
}

/// What docs/shared-host.md says that sshd needs.
fn documented() -> String {
    const BEGIN: &str = "Match User access\n";
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/shared-host.md");
    let page = fs::read_to_string(page).unwrap();
    let (_, rest) = page.split_once(BEGIN).unwrap();
    format!("{BEGIN}{}", rest.split_once("END\n").unwrap().0)
}

/// The public key in this file of mallory's.
fn key(name: &str) -> String {
    fs::read_to_string(format!("/home/mallory/{name}.pub")).unwrap().trim().to_owned()
}

fn fingerprint(name: &str) -> String {
    let shown = root("ssh-keygen", &["-l", "-f", &format!("/home/mallory/{name}.pub")]).ok().out;
    shown.split(' ').nth(1).unwrap().to_owned()
}

/// The team, whose members have these keys. dave has no account here.
fn team(keys: &[(&str, &str)]) -> String {
    let mut team = TEAM.to_owned() + "\n[members.dave]\nrole = \"member\"\ntimezone = \"Asia/Kolkata\"\n";
    for (member, keys) in keys {
        let section = format!("[members.{member}]\n");
        assert!(team.contains(&section));
        let keys: Vec<String> = keys.split(' ').map(key).collect();
        team = team.replace(&section, &format!("{section}ssh_keys = {keys:?}\n"));
    }
    team
}

const EVERYBODY: [(&str, &str); 4] = [("ana", "ana"), ("alice", "alice"), ("bob", "bob bob2"), ("dave", "dave")];

impl Bastion {
    pub fn new() -> Option<Bastion> {
        Bastion::of(Host::new()?)
    }

    /// On a host that is set up, whose owner is ana.
    pub fn of(host: Host) -> Option<Bastion> {
        fs::create_dir_all("/srv/ssh").unwrap();
        fs::create_dir_all("/run/sshd").unwrap();
        for name in ["host", "ca"] {
            keygen(&["-f", &format!("/srv/ssh/{name}")]);
        }
        for name in ["ana", "alice", "bob", "bob2", "dave", "nobody"] {
            keygen(&["-f", &format!("/home/mallory/{name}"), "-C", &format!("{name}@laptop")]);
        }
        root("chown", &["-R", "mallory:mallory", "/home/mallory"]).ok();
        host.apply("ana", &team(&EVERYBODY)).ok();
        root("usermod", &["--shell", "/bin/sh", "-p", "*", "access"]).ok();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey /srv/ssh/host\nUsePAM no\nPidFile none\n\
             TrustedUserCAKeys /srv/ssh/ca.pub\nAuthorizedKeysFile /srv/ssh/keys-of-%u\nPermitUserEnvironment yes\n\
             AcceptEnv LANG LC_* TZ COLUMNS ACCESS_* COMPLETE SSH_* XDG_*\nSubsystem sftp internal-sftp\n\
             X11Forwarding yes\nPermitTunnel yes\nGatewayPorts yes\nMaxStartups 100\n{}",
            documented()
        );
        fs::write("/srv/ssh/sshd_config", config).unwrap();
        root("/usr/sbin/sshd", &["-t", "-f", "/srv/ssh/sshd_config"]).ok();
        let mut sshd = Command::new("/usr/sbin/sshd");
        sshd.args(["-D", "-e", "-f", "/srv/ssh/sshd_config"]).stdin(Stdio::null());
        let child = sshd.stderr(fs::File::create("/srv/ssh/log").unwrap()).spawn().unwrap();
        let sshd = Running(child);
        within(Duration::from_secs(10), || TcpStream::connect(("127.0.0.1", port)).is_ok(), "sshd listens");
        Some(Bastion { host, _sshd: sshd, port })
    }

    /// A client with this key: its options, and then what the member types.
    fn ssh(&self, key: &str, options: &[&str], words: &[&str]) -> Command {
        let (port, key) = (self.port.to_string(), format!("/home/mallory/{key}"));
        let login = ["-i", key.as_str(), "-p", port.as_str(), "--", "access@127.0.0.1"];
        as_user("mallory", "/usr/bin/ssh", &[&OPTIONS, options, &login, words].concat())
    }

    pub fn types(&self, key: &str, command: &str) -> Ran {
        self.types_with(key, &[], command)
    }

    fn types_with(&self, key: &str, options: &[&str], command: &str) -> Ran {
        let words: &[&str] = if command.is_empty() { &[] } else { &[command] };
        run(&mut self.ssh(key, options, words), format!("{key}$ ssh {} {command}", options.join(" ")))
    }

    /// With this on standard input.
    fn pipes(&self, key: &str, input: &str, command: &str) -> Ran {
        let mut client = self.ssh(key, &[], &[command]);
        let mut child = client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        ran(child.wait_with_output().unwrap(), format!("{key}$ … | ssh {command}"))
    }

    fn entries(&self, key: &str) -> Vec<Value> {
        let log = access("ana", &["audit", "--json"]).ok().json();
        let by_key = format!("ssh:{}", fingerprint(key));
        log.as_array().unwrap().iter().filter(|entry| entry["os_user"] == by_key.as_str()).cloned().collect()
    }
}

#[test]
fn a_member_without_an_account_gives_commands_over_ssh() {
    let Some(bastion) = Bastion::new() else { return };
    let asked = bastion.types("dave", "request target:orders-db --reason 'the orders  are \"stuck\"' --json").ok();
    let id = asked.json()["id"].to_string();
    assert_eq!(asked.json()["reason"], "the orders  are \"stuck\"");
    assert_eq!(asked.json()["requester"], "dave");
    bastion.types("dave", "check target:orders-db").exits(1);
    bastion.types("dave", &format!("approve {id}")).fails(3, "");
    bastion.types("alice", &format!("approve {id} --duration 1h")).ok().says("approved");
    bastion.types("dave", "check target:orders-db").ok();
    // Where dave lives it is five and a half hours later.
    bastion.types("dave", &format!("show {id}")).ok().says("+05:30");
    bastion.types("alice", &format!("show {id}")).ok().not("+05:30");
    bastion.types("bob2", "whoami").ok().says("bob");
    bastion.types("bob2", "list --json").ok().says("[]");
    let out = bastion.types("ana", "audit export --format jsonl").ok().out;
    assert_eq!(
        out.lines().count().to_string(),
        access("ana", &["audit", "verify", "--json"]).ok().json()["entries"].to_string()
    );
    // Each entry says by which key it came.
    let actions = |key: &str| -> Vec<(Value, Value)> {
        bastion.entries(key).iter().map(|entry| (entry["action"].clone(), entry["actor"].clone())).collect()
    };
    let both = |action: &str, actor: &str| (Value::from(action), Value::from(actor));
    assert_eq!(actions("dave"), [both("attempt.refused", "dave"), both("request.submitted", "dave")]);
    assert_eq!(actions("alice"), [both("grant.started", "alice"), both("request.approved", "alice")]);
    assert_eq!(actions("bob2"), []);
    // Help and mistakes are as in a shell.
    bastion.types("dave", "help request").ok().says("--reason");
    bastion.types("dave", "").exits(2);
    bastion.types("dave", "request target:orders-db --reason two words").fails(2, "quotes");
    bastion.types("dave", "whomai").fails(2, "whoami");
    bastion.types("dave", "show 999 --json").fails(4, "\"kind\":\"not_found\"");
    bastion.types("dave", "request target:none --reason x").fails(4, "target:none");
    bastion.types("dave", "request").fails(2, "nobody can be asked");
}

#[test]
fn an_approval_is_signed_where_the_key_is() {
    let Some(bastion) = Bastion::new() else { return };
    let rule = "\n[[rules]]\nname = \"signed\"\nsigned = true\n";
    bastion.host.apply("ana", &(team(&EVERYBODY) + rule)).ok();
    let id = bastion.types("dave", "request target:orders-db --reason stuck --json").ok().json()["id"].to_string();
    let ran = bastion.types("alice", &format!("approve {id}")).fails(2, "--signature is missing");
    assert!(ran.err.contains("--print-terms"), "{ran:?}");
    // What the guide says, with the key on the client.
    let terms = bastion.types("alice", &format!("approve {id} --duration 30m --print-terms")).ok().out;
    assert!(terms.contains("\nduration: 30m\n") && terms.contains("\napprover: alice\n"), "{terms}");
    let sign = |key: &str| {
        let key = format!("/home/mallory/{key}");
        let mut keygen =
            as_user("mallory", "/usr/bin/ssh-keygen", &["-q", "-Y", "sign", "-n", "access-approval", "-f", &key]);
        let mut child = keygen.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(terms.as_bytes()).unwrap();
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
    };
    let approve = format!("approve {id} --duration 30m --signature -");
    bastion.pipes("alice", &sign("bob"), &approve).fails(3, "is not one of theirs");
    bastion
        .pipes("alice", &sign("alice"), &format!("approve {id} --signature -"))
        .fails(3, "does not sign these terms");
    bastion.pipes("alice", &sign("alice"), &approve).ok().says("approved");
    bastion.types("alice", &format!("show {id}")).ok().says(&fingerprint("alice"));
    // A file would be one of the host's.
    bastion.types("alice", &format!("approve {id} --signature /etc/passwd")).fails(3, "signature other than -");
    bastion.types("ana", "audit signature 5 --to /tmp/x").exits(3);
    // On the host, the client asks the server for the terms, and signs them as its own user.
    root("mkdir", &["-p", "/home/alice/.ssh"]).ok();
    root("cp", &["/home/mallory/alice", "/home/alice/.ssh/id_ed25519"]).ok();
    root("cp", &["/home/mallory/alice.pub", "/home/alice/.ssh/id_ed25519.pub"]).ok();
    root("chown", &["-R", "alice:alice", "/home/alice/.ssh"]).ok();
    let id = bastion.types("bob", "request target:orders-db --reason stuck --json").ok().json()["id"].to_string();
    let ran = access("alice", &["approve", &id]).ok();
    assert!(ran.err.contains("You sign:") && ran.err.contains("requester: bob"), "{ran:?}");
    access("ana", &["audit", "verify"]).ok();
}

#[test]
fn the_owner_applies_a_team_file_over_ssh() {
    let Some(bastion) = Bastion::new() else { return };
    let more = team(&EVERYBODY) + "\n[members.erin]\nrole = \"viewer\"\n";
    bastion.pipes("ana", &more, "team apply -").fails(2, "--yes");
    bastion.pipes("alice", &more, "team apply - --yes").fails(3, "owner");
    bastion.pipes("ana", &more, "team apply - --yes").ok().says("erin");
    let shown = bastion.types("ana", "team show").ok().out;
    bastion.pipes("ana", &shown, "team apply - --yes --json").ok().says("\"changes\":[]");
    let checkpoint = bastion.types("ana", "audit checkpoint").ok().out;
    bastion.pipes("ana", &checkpoint, "audit verify --against -").ok();
    // The key of the one who applies it may go too, and they are warned.
    let without = team(&EVERYBODY[1..]);
    let applied = bastion.pipes("ana", &without, "team apply - --yes").ok();
    assert!(applied.err.contains("is not one of ana's"), "{applied:?}");
    bastion.types("ana", "whoami").exits(255);
    access("ana", &["audit", "verify"]).ok();
    // Who adds a key is seen by all admins, with its fingerprint.
    bastion.host.apply("ana", &team(&EVERYBODY)).ok();
    let told = access("alice", &["inbox", "--json"]).ok().json();
    let told = told[0]["text"].as_str().unwrap();
    assert!(told.contains(&fingerprint("ana")) && told.contains("ana@laptop"), "{told}");
}

#[test]
fn over_ssh_only_what_is_on_the_list_can_be_used() {
    let Some(bastion) = Bastion::new() else { return };
    let head = bastion.host.head();
    let before = bastion.entries("ana").len();
    let refused = [
        ("backup /tmp/x", "backup"),
        ("init", "init"),
        ("serve", "serve"),
        ("serve --connection", "serve"),
        ("expire", "expire"),
        ("deliver --watch", "deliver"),
        ("doctor", "doctor"),
        ("reconcile --fix", "reconcile"),
        ("connector list", "connector"),
        ("follow", "follow"),
        ("pending", "pending"),
        ("log status", "log"),
        ("run target:orders-db -- id", "run"),
        ("ssh keys -- x", "ssh"),
        ("ssh cert --ca /etc/passwd --for target:orders-db --login ana", "ssh"),
        ("ssh principals bob", "ssh"),
        ("man /tmp/x", "man"),
        ("completions bash", "completions"),
        ("session closed", "session"),
        ("whoami --db /var/lib/access/access.db", "--db"),
    ];
    for (command, what) in refused {
        let ran = bastion.types("ana", command).fails(3, "over SSH");
        assert!(ran.err.contains(what) && ran.out.is_empty(), "{ran:?}");
    }
    assert_eq!(bastion.entries("ana").len(), before + 20, "each is on the record");
    assert_ne!(bastion.host.head(), head);
    // Of one key, so many are recorded. The others are refused all the same.
    for (command, what) in [
        ("--as alice whoami", "--as"),
        ("whoami --as=alice", "--as"),
        ("--db=/tmp/x list", "--db"),
        ("whoami --watch", "--watch"),
        ("request target:orders-db --reason x --wait", "--wait"),
        ("team apply /etc/passwd --yes", "team file"),
        ("team apply /dev/stdin --yes", "team file"),
        ("audit verify --against /etc/shadow", "checkpoints"),
        ("audit prove 1 --checkpoint /etc/shadow", "checkpoints"),
        ("audit prove --consistency /etc/shadow", "checkpoints"),
        ("audit checkpoint --to /var/lib/access/x", "checkpoints"),
        ("audit witness -", "witness"),
        ("report --html /var/lib/access/x", "file"),
        ("report --csv /var/lib/access", "--csv"),
        ("report --csv -", "--csv"),
        ("ssh command --key=SHA256:KIH+LzaoZhmZrFQvBG95c/RYldddvcc9rBen8sqTLLU -- alice", "ssh"),
        ("team replace-owner alice", ""),
        ("outbox discard", ""),
    ] {
        let ran = bastion.types("ana", command).exits(3);
        assert!(ran.err.contains(what) && ran.out.is_empty(), "{ran:?}");
    }
    assert!(!Path::new("/tmp/x").exists());
    assert_eq!(bastion.entries("ana").len(), before + 20);
    access("ana", &["audit", "verify"]).ok();
}

#[test]
fn a_key_speaks_for_its_member_alone() {
    let Some(bastion) = Bastion::new() else { return };
    let bobs = bastion.types("bob", "request target:orders-db --reason x --json").ok().json()["id"].to_string();
    // What an outer command would take for its own options and operands.
    for command in [
        "-- alice",
        "--key=SHA256:KIH+LzaoZhmZrFQvBG95c/RYldddvcc9rBen8sqTLLU -- alice",
        &format!("--key={} -- alice approve {bobs}", fingerprint("alice")),
        &format!("-- alice approve {bobs}"),
        &format!("alice approve {bobs}"),
        "alice",
        "access whoami",
        "ssh access@127.0.0.1 whoami",
    ] {
        let ran = bastion.types("bob", command).not_done();
        assert!(ran.code == Some(2) || ran.code == Some(3), "{ran:?}");
        assert!(ran.out.is_empty(), "{ran:?}");
    }
    bastion.types("bob", &format!("approve {bobs}")).exits(3);
    bastion.types("dave", &format!("show {bobs}")).exits(4);
    bastion.types("bob", "check target:orders-db --user alice").exits(3);
    bastion.types("bob", "audit").exits(3);
    // Variables of the client reach nothing.
    let folder = "/home/mallory/home";
    for set in [
        "ACCESS_AS=alice",
        "ACCESS_DB=/home/mallory/x.db",
        "COMPLETE=bash",
        "SSH_ORIGINAL_COMMAND=list",
        &format!("XDG_CONFIG_HOME={folder}"),
        "LC_ALL=;id",
        "TZ=:/dev/zero",
        "COLUMNS=x",
    ] {
        let ran = bastion.types_with("bob", &["-o", &format!("SetEnv={set}")], "whoami --json").ok();
        assert_eq!(ran.json()["member"], "bob", "{ran:?}");
        assert!(ran.err.is_empty(), "{ran:?}");
    }
    // A key that is nobody's is not let in, and leaves no entry.
    let head = bastion.host.head();
    bastion.types("nobody", "whoami").exits(255);
    assert_eq!(bastion.host.head(), head);
}

#[test]
fn no_shell_and_no_expansion_in_what_is_typed() {
    let Some(bastion) = Bastion::new() else { return };
    for command in [
        "whoami; touch /tmp/broken-out",
        "whoami && id",
        "whoami & id",
        "whoami | id",
        "whoami > /var/lib/access/broken-out",
        "$(touch /tmp/broken-out)",
        "`touch /tmp/broken-out`",
        "whoami\nid",
        "\"; id; \"",
        "'whoami",
        "whoami \\",
        "\\",
        "exec sh",
        "/bin/sh -c id",
        "-c id",
        "~/x",
        "\u{1b}[2J",
        "whoami \u{202e}x",
    ] {
        let ran = bastion.types("bob", command).exits(2);
        assert!(ran.out.is_empty() && !ran.err.contains("uid=") && !ran.err.contains('\u{1b}'), "{ran:?}");
    }
    assert!(!Path::new("/tmp/broken-out").exists() && !Path::new("/var/lib/access/broken-out").exists());
    let said = "$(id) `id` $HOME * ~ ; | & > a\nb";
    let asked = bastion.types("bob", &format!("request target:orders-db --json --reason \"{said}\"")).ok();
    assert_eq!(asked.json()["reason"], said);
    // What is too long for one side or the other is not carried out.
    let long = |bytes: usize| format!("request target:orders-db --reason '{}'", "x".repeat(bytes));
    bastion.types("bob", &long(5000)).exits(2);
    bastion.types("bob", &long(70_000)).fails(2, "64 KiB");
    bastion.types("bob", &long(120_000)).not_done();
    let mut invalid = bastion.ssh("bob", &[], &[]);
    invalid.arg(std::ffi::OsStr::from_bytes(b"whoami \xff\xfe"));
    run(&mut invalid, "bob$ ssh (no text)".to_owned()).fails(2, "UTF-8");
    assert_eq!(bastion.types("bob", "list --json").ok().json().as_array().unwrap().len(), 1);
}

#[test]
fn sshd_gives_key_holders_nothing_but_commands() {
    let Some(bastion) = Bastion::new() else { return };
    let inside = TcpListener::bind("127.0.0.1:0").unwrap();
    let inside = inside.local_addr().unwrap().port();
    bastion.types_with("bob", &["-W", &format!("127.0.0.1:{inside}")], "").not_done();
    let remote = ["-o", "ExitOnForwardFailure=yes", "-R", &format!("0:127.0.0.1:{inside}")];
    bastion.types_with("bob", &remote, "whoami").not_done();
    // The client listens, and sshd refuses what goes through.
    let listening = "/home/mallory/listening";
    let mut client = bastion.ssh("bob", &["-N", "-L", &format!("{listening}:{SOCKET}")], &[]);
    let _client = Running(client.stdin(Stdio::null()).spawn().unwrap());
    within(Duration::from_secs(20), || Path::new(listening).exists(), "the client listens");
    let mut answer = Vec::new();
    let _ = UnixStream::connect(listening).unwrap().read_to_end(&mut answer);
    assert!(answer.is_empty(), "{answer:?}");
    let log = fs::read_to_string("/srv/ssh/log").unwrap();
    for refused in ["refused local port forward", "refused streamlocal port forward"] {
        assert!(log.contains(refused), "{log}");
    }
    bastion.types_with("bob", &["-tt"], "request").fails(255, "PTY allocation request failed").not("?");
    let port = bastion.port.to_string();
    for program in [
        format!("echo ls | sftp -b - {} -i ~/bob -P {port} access@127.0.0.1", OPTIONS.join(" ")),
        format!("scp {} -i ~/bob -P {port} access@127.0.0.1:/etc/passwd /tmp/got", OPTIONS.join(" ")),
        format!("scp -O {} -i ~/bob -P {port} access@127.0.0.1:/etc/passwd /tmp/got", OPTIONS.join(" ")),
        format!("ssh {} -s -i ~/bob -p {port} access@127.0.0.1 sftp < /dev/null", OPTIONS.join(" ")),
    ] {
        let ran = shell("mallory", &program).not_done();
        assert!(!ran.out.contains("root:"), "{ran:?}");
    }
    assert!(!Path::new("/tmp/got").exists());
    // A certificate of a CA that the rest of sshd trusts, and a key in a file, are not ssh_keys.
    root("ssh-keygen", &["-q", "-s", "/srv/ssh/ca", "-I", "x", "-n", "access,bob", "/home/mallory/nobody.pub"]).ok();
    fs::write("/srv/ssh/keys-of-access", key("nobody")).unwrap();
    root("chown", &["mallory", "/home/mallory/nobody-cert.pub"]).ok();
    let certificate = "CertificateFile=/home/mallory/nobody-cert.pub";
    bastion.types_with("nobody", &["-o", certificate], "whoami").exits(255);
    // bob's key opens no other account.
    let mut other = as_user("mallory", "/usr/bin/ssh", &OPTIONS);
    other.args(["-i", "/home/mallory/bob", "-p", &port, "bob@127.0.0.1", "id"]);
    run(&mut other, "as bob".to_owned()).exits(255);
}

#[test]
fn doctor_says_what_sshd_lacks() {
    let Some(bastion) = Bastion::new() else { return };
    fs::create_dir_all("/etc/ssh").unwrap();
    let config = fs::read_to_string("/srv/ssh/sshd_config").unwrap();
    let user = |config: &str| {
        fs::write("/etc/ssh/sshd_config", config).unwrap();
        let found = root(ACCESS, &["doctor", "--json"]).json();
        found.as_array().unwrap().iter().find(|finding| finding["what"] == "user").unwrap().clone()
    };
    let sound = user(&config);
    assert_eq!(sound["found"], "access, as whom sshd runs commands of members, and nothing else", "{sound}");
    for line in [
        "AuthenticationMethods publickey",
        "AuthorizedKeysFile none",
        "AuthorizedKeysCommand /usr/bin/access ssh keys",
        "TrustedUserCAKeys none",
    ] {
        assert!(config.contains(line));
        let found = user(&config.replace(line, &format!("#{line}")));
        let keyword = line.split(' ').next().unwrap().to_lowercase();
        assert_ne!(found["health"], sound["health"], "{found}");
        assert!(found["found"].as_str().unwrap().contains(&keyword), "{found}");
    }
    // Nothing else is kept to the user's block.
    assert_ne!(user("Port 22\nHostKey /srv/ssh/host\n")["health"], sound["health"]);
    assert_ne!(user("rubbish\n")["health"], sound["health"]);
    drop(bastion);
}

#[test]
fn a_key_that_was_removed_stops_at_once() {
    let Some(bastion) = Bastion::new() else { return };
    // A connection that stays open, on which more commands can be given without asking for keys again.
    let control = ["-o", "ControlPath=/home/mallory/%n-%p-control", "-o", "ControlPersist=no"];
    let mut master = bastion.ssh("bob", &[&control[..], &["-M", "-N"]].concat(), &[]);
    let _master = Running(master.stdin(Stdio::null()).spawn().unwrap());
    let socket = format!("/home/mallory/127.0.0.1-{}-control", bastion.port);
    within(Duration::from_secs(20), || Path::new(&socket).exists(), "the connection is open");
    let again = || bastion.types_with("bob", &control, "whoami --json");
    assert_eq!(again().ok().json()["member"], "bob");
    let with = |bob: &str| team(&[EVERYBODY[0], EVERYBODY[1], ("bob", bob), EVERYBODY[3]]);
    bastion.host.apply("ana", &with("bob2")).ok();
    again().fails(3, "is not one of bob's");
    bastion.types("bob", "whoami").exits(255);
    bastion.types("bob2", "whoami").ok();
    // It is recorded as the key's: nobody acted.
    let last = &bastion.entries("bob")[0];
    assert_eq!((&last["action"], &last["actor"]), (&"attempt.refused".into(), &Value::Null));
    // The key of another member now: what was opened as bob is not theirs.
    bastion.host.apply("ana", &team(&[EVERYBODY[0], EVERYBODY[1], ("bob", "bob2"), ("dave", "bob dave")])).ok();
    again().fails(3, "is not one of bob's");
    assert_eq!(bastion.types("bob", "whoami --json").ok().json()["member"], "dave");
    bastion.host.apply("ana", &with("bob")).ok();
    again().ok();
    let disabled = with("bob").replace("[members.bob]\n", "[members.bob]\ndisabled = true\n");
    bastion.host.apply("ana", &disabled).ok();
    again().fails(3, "is disabled");
    bastion.types("bob", "whoami").exits(255);
    let (before, after) = disabled.split_once("[members.bob]").unwrap();
    let gone = format!("{before}[members.{}", after.split_once("[members.").unwrap().1);
    bastion.host.apply("ana", &gone).ok();
    again().fails(3, "is not one of bob's");
    bastion.types("bob", "whoami").exits(255);
    access("ana", &["audit", "verify"]).ok();
}

#[test]
fn nobody_but_the_owner_of_the_database_names_a_member() {
    let Some(bastion) = Bastion::new() else { return };
    let line = root(ACCESS, &["ssh", "keys", "--", key("alice").split(' ').nth(1).unwrap()]).ok().out;
    let command = format!("command=\"{ACCESS} ssh command --key={} -- alice\"", fingerprint("alice"));
    let plain: Vec<String> = key("alice").split(' ').take(2).map(str::to_owned).collect();
    assert_eq!(line, format!("restrict,{command} {}\n", plain.join(" ")));
    let head = bastion.host.head();
    for login in ["mallory", "bob", "alice", "ana", "root"] {
        let args = ["ssh", "command", &format!("--key={}", fingerprint("alice")), "--", "alice"];
        let mut inner = as_user(if login == "root" { "ana" } else { login }, ACCESS, &args);
        if login == "root" {
            inner = Command::new(ACCESS);
            inner.args(args).env_clear().stdin(Stdio::null());
        }
        let ran = run(inner.env("SSH_ORIGINAL_COMMAND", "whoami"), format!("{login}$ access ssh command"));
        ran.fails(3, "sshd starts this").not("alice");
    }
    assert_eq!(bastion.host.head(), head);
    for login in ["mallory", "bob", "ana"] {
        access(login, &["ssh", "keys", "--", key("alice").split(' ').nth(1).unwrap()]).exits(3).not("alice");
    }
    // What is not a whole key, and the key of nobody.
    for blob in ["", "A", "AAAA", "%", "[", "\"", "AAAAC3NzaC1lZDI1NTE5AAAAI", key("nobody").split(' ').nth(1).unwrap()]
    {
        let ran = root(ACCESS, &["ssh", "keys", "--", blob]).exits(1);
        assert!(ran.out.is_empty(), "{ran:?}");
    }
}

#[test]
fn a_member_has_four_commands_at_once_over_ssh() {
    let Some(bastion) = Bastion::new() else { return };
    let waiting = |key: &str| {
        let mut client = bastion.ssh(key, &[], &["audit verify --against -"]);
        Running(client.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    };
    let mut all: Vec<Running> = Vec::new();
    bastion.types("bob", "whoami").ok();
    let places = fs::metadata("/var/lib/access/access.db.places").unwrap();
    let (major, minor) = (places.dev() >> 8 & 0xfff, places.dev() & 0xff | places.dev() >> 12 & !0xff);
    let file = format!(" {major:02x}:{minor:02x}:{} ", places.ino());
    let taken = || fs::read_to_string("/proc/locks").unwrap().lines().filter(|line| line.contains(&file)).count();
    for count in 1..=4 {
        all.push(waiting(if count % 2 == 0 { "bob" } else { "bob2" }));
        within(Duration::from_secs(30), || taken() == count, "it has begun");
    }
    bastion.types("bob", "whoami").fails(75, "4 commands at once");
    // Others have theirs, and bob on this host has his.
    bastion.types("dave", "whoami").ok();
    access("bob", &["whoami"]).ok();
    drop(all);
    within(Duration::from_secs(20), || bastion.types("bob", "whoami").code == Some(0), "a place is free");
}
