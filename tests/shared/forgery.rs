//! Forgeries: a client that says whatever it likes, and people who try to be others.

use std::fs;
use std::time::{Duration, Instant};

use crate::host::{ACCESS, CONFIG, Host, SOCKET, Start, access, home, python, root, run, shell, user};

#[test]
fn nobody_acts_as_another_or_names_a_database() {
    let Some(host) = Host::new() else { return };
    let head = host.head();
    let own = home("bob").join("own.db");
    let own = own.to_str().unwrap();
    access("bob", &["--as", "alice", "whoami"]).fails(3, "you cannot act as another member");
    access("bob", &["--db", own, "whoami"]).fails(3, "you cannot choose the database");
    access("bob", &["--db", own, "init"]).fails(3, "you cannot choose the database");
    access("bob", &["init"]).fails(3, "this host is shared");
    shell("bob", "ACCESS_AS=alice access whoami").fails(3, "ACCESS_AS");
    shell("bob", &format!("ACCESS_DB={own} access whoami")).fails(3, "ACCESS_DB");
    shell("bob", "mkdir -p ~/.config/access; echo 'database = \"/home/bob/own.db\"' > ~/.config/access/config.toml")
        .ok();
    shell("bob", "access whoami").ok().says("bob");
    shell("bob", "XDG_CONFIG_HOME=/home/bob/.config XDG_DATA_HOME=/home/bob access whoami").ok().says("bob");
    shell("bob", "ACCESS_TEST_USER=alice ACCESS_TEST_CONFIG=/home/bob/x.toml access whoami").ok().says("bob");
    assert!(!fs::exists(own).unwrap() && !home("bob").join(".local").exists());
    // Root looks after the file, and acts as nobody.
    root(ACCESS, &["--as", "alice", "approve", "1"]).fails(3, "you cannot act as another member");
    root("env", &["ACCESS_DB=/root/x.db", ACCESS, "expire"]).fails(3, "ACCESS_DB");
    for login in ["bob", "alice", "ana"] {
        access(login, &["expire"]).fails(3, "only root and the user who owns the database");
        access(login, &["doctor"]).fails(3, "only root and the user who owns the database");
        access(login, &["backup", "/tmp/x.db"]).fails(3, "only root and the user who owns the database");
    }
    assert_eq!(host.refused("alice").len(), 3, "expire, doctor and backup");
    assert_ne!(host.head(), head);
}

#[test]
fn completions_come_through_the_door_and_from_nowhere_else() {
    let Some(_host) = Host::new() else { return };
    let complete = |more: &str| {
        shell("bob", &format!("{more} _ACCESS_COMPLETE=bash _CLAP_COMPLETE_INDEX=2 access -- access request target:"))
    };
    complete("").ok().says("target:orders-db");
    access("bob", &["whoami"]).ok();
    assert_eq!(complete("ACCESS_AS=alice").out, "");
    assert_eq!(complete("ACCESS_DB=/home/bob/x.db").out, "");
    let as_alice =
        shell("bob", "_ACCESS_COMPLETE=bash _CLAP_COMPLETE_INDEX=4 access -- access --as alice request target:");
    assert_eq!(as_alice.out, "");
}

#[test]
fn a_socket_that_cannot_be_reached_is_an_error_and_no_private_file() {
    let Some(mut host) = Host::new() else { return };
    host.stop_serving();
    for args in [&["whoami"][..], &["init"], &["request", "target:orders-db", "--reason", "x"], &["list"]] {
        let ran = access("bob", args).not_done();
        assert!(ran.code == Some(69) || args == ["init"], "{ran:?}");
    }
    access("bob", &["check", "target:orders-db"]).fails(69, "no server is running");
    assert_eq!(shell("bob", "find ~ -name 'access*'").ok().out, "");
    // A group's socket, for somebody who is not in it.
    host.serve(Start::Handed);
    root("chmod", &["660", SOCKET]).ok();
    access("bob", &["whoami"]).fails(69, "only members of its group may connect");
    root("chgrp", &["bob", SOCKET]).ok();
    access("bob", &["whoami"]).ok();
    access("alice", &["whoami"]).fails(69, "only members of its group may connect");
}

#[test]
fn a_config_that_others_could_write_is_refused() {
    let Some(_host) = Host::new() else { return };
    for (spoil, mend) in [
        (vec!["chmod", "666", CONFIG], vec!["chmod", "644", CONFIG]),
        (vec!["chmod", "664", CONFIG], vec!["chmod", "644", CONFIG]),
        (vec!["chown", "bob", CONFIG], vec!["chown", "root", CONFIG]),
    ] {
        root(spoil[0], &spoil[1..]).ok();
        access("bob", &["whoami"]).fails(65, "can be written by others than root");
        root(mend[0], &mend[1..]).ok();
    }
    root("mv", &[CONFIG, "/etc/access/real.toml"]).ok();
    root("ln", &["-s", "/etc/access/real.toml", CONFIG]).ok();
    access("bob", &["whoami"]).exits(65);
}

#[test]
fn somebody_elses_server_is_not_believed() {
    let Some(mut host) = Host::new() else { return };
    host.stop_serving();
    root("sh", &["-c", "rm -f /run/access/access.sock; chmod 777 /run/access"]).ok();
    let listen = "python3 -c 'import socket,time; s=socket.socket(socket.AF_UNIX); s.bind(\"/run/access/access.sock\"); \
                  s.listen(); time.sleep(20)' >/dev/null 2>&1 & echo $!";
    let pid = shell("bob", listen).ok().out;
    crate::host::within(Duration::from_secs(5), || fs::exists(SOCKET).unwrap(), "it listens");
    root("chmod", &["666", SOCKET]).ok();
    access("alice", &["check", "target:orders-db"]).fails(69, "an untrusted user");
    root("chmod", &["755", "/run/access"]).ok();
    access("alice", &["check", "target:orders-db"]).fails(69, "an untrusted user");
    root("kill", &[pid.trim()]).ok();
}

/// What is recorded besides what the attempt itself leaves: who has asked for what, and who holds what.
fn state() -> String {
    let list = access("alice", &["list", "--all", "--json"]).ok().out;
    let team = access("alice", &["team", "show"]).ok().out;
    list.lines().filter(|line| !line.contains("remaining")).collect::<String>() + &team
}

#[test]
fn what_is_no_command_is_refused_and_recorded() {
    let Some(host) = Host::new() else { return };
    let before = state();
    let whoami = r#"command("Whoami")"#;
    for (message, says) in [
        ("b'garbage'", "the command is incomplete"),
        ("b'GET / HTTP/1.1\\r\\n\\r\\n'", "not a command"),
        ("b'access 0\\n' + frame(b'\"Whoami\"')", "different protocol versions"),
        ("b'access 2\\n' + frame(b'\"Whoami\"')", "different protocol versions"),
        ("b'access 1\\n' + struct.pack('>I', 65537) + b'x' * 65537", "too long"),
        ("b'access 1\\n' + struct.pack('>I', 4294967295)", "too long"),
        ("b'access 1\\n' + struct.pack('>I', 100) + b'\"Who'", "the command is incomplete"),
        ("b'access 1\\n' + b'\\0'", "the command is incomplete"),
        ("b'access 1\\n' + frame(b'[\"Wh\\xffami\", {}]')", "the server does not know this command"),
        ("b'access 1\\n' + frame(b'[\"Nothing\", {}]')", "the server does not know this command"),
        ("b'access 1\\n' + frame(b'[' * 60000)", "the server does not know this command"),
        ("b'access 1\\n' + frame(b'')", "the server does not know this command"),
        (&format!("{whoami} + {whoami}"), "data followed the command"),
        (&format!("{whoami} + frame(b'\"Whoami\"')"), "data followed the command"),
        (&format!("{whoami} + b'x'"), "data followed the command"),
        (r#"command({"Expire": {"dry_run": False, "deliver": True}})"#, "only root and the user who owns"),
        (r#"command("Deliver")"#, "only root and the user who owns"),
        (r#"command({"OutboxRetry": {"ids": []}})"#, "only root and the user who owns"),
        (r#"command({"OutboxDiscard": {"ids": []}})"#, "only root and the user who owns"),
        (r#"command({"Doctor": {"against": []}})"#, "only root and the user who owns"),
        (r#"command({"Backup": {"to": "/tmp/x.db"}})"#, "only root and the user who owns"),
    ] {
        let answer = python("carol", &format!("print(say({message}))")).ok().says("Failed").says(says);
        assert!(!answer.out.contains("\"Done\"") && !answer.out.contains("Profile"), "{answer:?}");
    }
    assert!(!host.refused("carol").is_empty());
    assert_eq!(state(), before);
    // The largest that is taken is taken: 64 KiB and no byte more.
    let largest =
        "body = b'[\"Whoami\", {}]'; body += b' ' * (65536 - len(body)); print(say(b'access 1\\n' + frame(body)))";
    python("carol", largest).ok().says("mallory").says("Done");
}

#[test]
fn no_field_that_is_sent_names_the_actor() {
    let Some(host) = Host::new() else { return };
    host.request("bob", "target:orders-db");
    let approve = r#"{"id": 1, "modification": {"resource": None, "end": None}, "note": None, "seen": None"#;
    for more in [
        r#", "actor": "alice""#,
        r#", "acting_as": "alice""#,
        r#", "login": "alice""#,
        r#", "uid": 0, "root": True"#,
        r#", "by": "alice", "os_user": "alice""#,
        r#", "caller": {"login": "alice", "root": True, "acting_as": "alice"}"#,
    ] {
        let sent = format!("print(say(command({{\"Approve\": {approve}{more}}}}})))");
        python("bob", &sent).ok().says("Failed").says("nobody decides on their own request");
        let sent = format!("print(say(command({{\"Approve\": {approve}}}{more}}})))");
        python("bob", &sent).ok().says("Failed");
    }
    // Asked of another, by one who may not.
    let check = r#"{"resource": "target:orders-db", "user": "alice", "login": None}"#;
    python("bob", &format!("print(say(command({{\"Check\": {check}}})))"))
        .ok()
        .says("only admins, auditors and the owner");
    access("bob", &["check", "target:orders-db", "--login", "ana"]).fails(3, "only admins, auditors and the owner");
    assert_eq!(access("alice", &["show", "1", "--json"]).ok().json()["state"], "pending");
}

#[test]
fn a_user_namespace_makes_nobody_root() {
    let Some(host) = Host::new() else { return };
    host.request("bob", "target:orders-db");
    let inside = |line: &str| shell("bob", &format!("unshare --user --map-root-user {line}"));
    inside("id -u").ok().says("0");
    inside("access expire").not_done();
    inside("access approve 1").not_done();
    inside("access --db /var/lib/access/access.db doctor").not_done();
    inside("cat /var/lib/access/access.db").not_done();
    // The client believes what it sees there, and refuses; the server sees what is.
    let program = format!("{}print(say(command('Whoami')))", crate::host::PRELUDE);
    let as_root = ["--user", "--map-root-user", "/usr/bin/python3", "-I", "-c", program.as_str()];
    run(&mut crate::host::as_user("bob", "unshare", &as_root), "unshare python".into()).ok().says("\"member\":\"bob\"");
    // Not mapped at all: bob still, by the number that the kernel keeps.
    let unmapped = ["--user", "/usr/bin/python3", "-I", "-c", program.as_str()];
    run(&mut crate::host::as_user("bob", "unshare", &unmapped), "unshare python".into())
        .ok()
        .says("\"member\":\"bob\"");
    assert_eq!(access("alice", &["show", "1", "--json"]).ok().json()["state"], "pending");
}

#[test]
fn the_overflow_user_is_nobody() {
    let Some(host) = Host::new() else { return };
    // Even where the team has a member of that name.
    let team = crate::host::TEAM.replace("[members.bob]\n", "[members.bob]\nlogin = \"nobody\"\n");
    host.apply("ana", &team).ok();
    let as_nobody = ["--reuid=65534", "--regid=65534", "--clear-groups", ACCESS, "whoami"];
    root("setpriv", &as_nobody).fails(3, "all users that can't be mapped");
    assert_eq!(host.refused("#65534").len(), 1);
}

#[test]
fn who_connects_counts_and_not_who_speaks_later() {
    let Some(host) = Host::new() else { return };
    host.request("bob", "target:orders-db");
    let approve = r#"command({"Approve": {"id": 1, "modification": {"resource": None, "end": None}, "note": None, "seen": None}})"#;
    // Connects as root, then becomes an admin, then speaks: root decides nothing.
    let alice = user("alice").uid;
    let program = format!(
        "{}s = connect(); os.setuid({alice}); s.sendall({approve}); s.shutdown(socket.SHUT_WR); print(answers(s))",
        crate::host::PRELUDE
    );
    root("/usr/bin/python3", &["-I", "-c", &program]).ok().says("on a shared host root is not a member");
    // Connects as bob, and has a set-id helper of alice's, which she left lying about, speak: still bob.
    let helper = "/usr/local/bin/helper";
    fs::write("/root/helper.c", HELPER).unwrap();
    root("cc", &["-o", helper, "/root/helper.c"]).ok();
    root("chown", &["alice", helper]).ok();
    root("chmod", &["4755", helper]).ok();
    let through = format!(
        "import subprocess\ns = connect()\nsubprocess.run(['{helper}'], stdout=s, input={approve})\n\
         s.shutdown(socket.SHUT_WR)\nprint(answers(s))"
    );
    python("bob", &through).ok().says("nobody decides on their own request");
    // The program itself does nothing with rights that are not its caller's.
    root("cp", &[ACCESS, "/usr/local/bin/set-id"]).ok();
    for (owner, mode) in [("alice", "4755"), ("root", "4755"), ("root:access", "2755")] {
        root("chown", &[owner, "/usr/local/bin/set-id"]).ok();
        root("chmod", &[mode, "/usr/local/bin/set-id"]).ok();
        shell("bob", "/usr/local/bin/set-id approve 1").fails(3, "rights other than its caller's");
    }
    assert_eq!(access("alice", &["show", "1", "--json"]).ok().json()["state"], "pending");
}

/// Copies what it reads to its output, with the rights of its owner.
const HELPER: &str = r#"
#include <unistd.h>
int main(void) {
    char b[4096]; ssize_t n;
    while ((n = read(0, b, sizeof b)) > 0) if (write(1, b, n) != n) return 1;
    return 0;
}
"#;

#[test]
fn root_decides_nothing_even_as_a_member() {
    let Some(host) = Host::new() else { return };
    host.request("bob", "target:orders-db");
    host.apply("ana", &(crate::host::TEAM.to_owned() + "[members.toor]\nrole = \"admin\"\nlogin = \"root\"\n")).ok();
    root(ACCESS, &["approve", "1"]).fails(3, "on a shared host root is not a member");
    root(ACCESS, &["whoami"]).fails(3, "on a shared host root is not a member");
    root(ACCESS, &["team", "apply", "/home/ana/team.toml", "--yes"]).fails(3, "on a shared host root is not a member");
    root(ACCESS, &["--db", "/var/lib/access/access.db", "approve", "1"])
        .fails(3, "on a shared host root is not a member");
    root(ACCESS, &["--db", "/var/lib/access/other.db", "approve", "1"]).fails(3, "--db is for");
    root(ACCESS, &["check", "target:orders-db", "--user", "bob"]).exits(1);
    root(ACCESS, &["check", "target:orders-db", "--login", "carol"]).exits(1).says("mallory");
    root(ACCESS, &["check", "target:orders-db", "--login", "mallory"]).fails(3, "not a member");
    root(ACCESS, &["expire"]).ok();
    assert_eq!(access("alice", &["show", "1", "--json"]).ok().json()["state"], "pending");
}

#[test]
fn a_team_file_is_read_only_from_who_may_apply_one() {
    let Some(host) = Host::new() else { return };
    let head = host.head();
    let apply = r#"command({"TeamApply": {"text": "", "dry_run": False, "seen": None, "against": None}})"#;
    // Refused before a byte of it is asked for.
    python("bob", &format!("print(say({apply}, end=False))")).ok().says("only the owner may apply").not("SendFile");
    python("mallory", &format!("print(say({apply}, end=False))")).ok().says("not a member").not("SendFile");
    assert_ne!(host.head(), head, "both are recorded");
    let huge = "s.sendall(frame(b'x' * (16 << 20))); s.shutdown(socket.SHUT_WR); print(answers(s))";
    let send = format!("s = connect(); s.sendall({apply}); time.sleep(0.5); ");
    python("ana", &format!("{send}{huge}")).ok().says("the team file has");
    let tried = format!(
        "{send}\ntry:\n    s.sendall(frame(b'x' * ((16 << 20) + 1)))\nexcept OSError:\n    pass\nprint(answers(s))"
    );
    python("ana", &tried).ok().says("too long");
    let invalid = "s.sendall(frame(b'\\xff\\xfe')); s.shutdown(socket.SHUT_WR); print(answers(s))";
    python("ana", &format!("{send}{invalid}")).ok().says("is not UTF-8 text");
    let file = home("ana").join("large.toml");
    fs::write(&file, "# filler\n".repeat((16 << 20) / 9 + 10)).unwrap();
    access("ana", &["team", "apply", file.to_str().unwrap(), "--yes"]).fails(65, "larger than 16 MiB");
    // The file that a person names is opened as them.
    let secret = home("alice").join("secret.toml");
    fs::write(&secret, "x").unwrap();
    root("chmod", &["600", secret.to_str().unwrap()]).ok();
    access("ana", &["team", "apply", secret.to_str().unwrap(), "--yes"]).not_done();
}

#[test]
fn a_hundred_silent_clients_hold_nobody_up() {
    for_both(|| {
        let silent = "import resource\nheld = []\nfor _ in range(100):\n    try:\n        held.append(connect())\n    \
                      except OSError:\n        pass\nprint('held', flush=True)\ntime.sleep(4)";
        let program = format!("{}{silent}", crate::host::PRELUDE);
        let mut command = crate::host::as_user("mallory", "/usr/bin/python3", &["-I", "-c", &program]);
        let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
        let mut line = [0; 4];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
        let begun = Instant::now();
        access("bob", &["request", "target:orders-db", "--reason", "x"]).ok();
        let took = begun.elapsed();
        child.kill().unwrap();
        child.wait().unwrap();
        // Anyone held up by a silent client waits until it is dropped, after 2 s.
        assert!(took < Duration::from_millis(1900), "{took:?}");
        std::thread::sleep(Duration::from_millis(2200));
        access("mallory", &["whoami"]).fails(3, "not a member");
        let log = access("ana", &["audit", "--json"]).ok().out;
        assert_eq!(log.matches("\"os_user\":\"mallory\"").count(), 1, "silence is not recorded");
    });
}

fn for_both(test: impl Fn() + Send + Copy + 'static) {
    // Each on a thread, and so on a machine, of its own.
    for start in [Start::Listener, Start::Given, Start::Handed] {
        let run = move || {
            if let Some(_host) = Host::alone(start) {
                test();
            }
        };
        std::thread::spawn(run).join().unwrap();
    }
}

#[test]
fn no_more_than_sixty_four_are_served_at_once_and_the_others_wait() {
    let Some(host) = Host::alone(Start::Listener) else { return };
    // Twenty members, of four connections each; every one that is greeted says so, once.
    let numbers: Vec<String> = (70_000..70_020).map(|uid| uid.to_string()).collect();
    let passwd: String = numbers.iter().map(|uid| format!("m{uid}:x:{uid}:{uid}::/:/bin/sh\n")).collect();
    let members: String = numbers.iter().map(|uid| format!("[members.m{uid}]\nrole = \"member\"\n")).collect();
    fs::write("/etc/passwd", fs::read_to_string("/etc/passwd").unwrap() + &passwd).unwrap();
    host.apply("ana", &(crate::host::TEAM.to_owned() + &members)).ok();
    let program = "import threading\nr, w = os.pipe()\nfor n in range(20):\n    if os.fork() == 0:\n        \
                   os.setgid(70000 + n); os.setuid(70000 + n)\n        held = [connect() for _ in range(4)]\n        \
                   wait = [threading.Thread(target=lambda s=s: s.recv(9) and os.write(w, b'.')) for s in held]\n        \
                   [t.start() for t in wait]; [t.join() for t in wait]; time.sleep(5); os._exit(0)\n\
                   time.sleep(1.2)\nprint(len(os.read(r, 1000)))\ntime.sleep(2.5)\nprint(len(os.read(r, 1000)))";
    let ran = root("/usr/bin/python3", &["-I", "-c", &format!("{}{program}", crate::host::PRELUDE)]).ok();
    assert_eq!(ran.out, "64\n16\n", "{ran:?}");
    access("bob", &["whoami"]).ok();
}

/// Root, as many users without a name: what one person is who has sub-uids. Each of them connects eight times, says
/// nothing, and comes again as soon as it is sent away.
const FLOOD: &str = r#"
def hold(uid):
    os.setgid(uid); os.setuid(uid)
    held = []
    while True:
        for s in list(held):
            try:
                if s.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK) == b"":
                    held.remove(s)
            except BlockingIOError:
                pass
            except OSError:
                held.remove(s)
        while len(held) < 8:
            try:
                held.append(connect())
            except OSError:
                break
        time.sleep(PAUSE)

children = []
for n in range(NUMBERS):
    pid = os.fork()
    if pid == 0:
        try:
            hold(1500000000 + n)
        finally:
            os._exit(1)
    children.append(pid)
print("held", flush=True)
sys.stdin.read(1)
for pid in children:
    os.kill(pid, 9)
"#;

#[test]
fn a_flood_from_numbers_without_a_name_takes_no_place_of_root_or_a_member() {
    // What is handed over is counted by systemd, and here by nobody: there each comes once.
    for (start, pause) in [(Start::Listener, 1), (Start::Given, 1), (Start::Handed, 60)] {
        let run = move || {
            if let Some(_host) = Host::alone(start) {
                flood(pause);
            }
        };
        std::thread::spawn(run).join().unwrap();
    }
}

fn flood(pause: u32) {
    let program = format!("NUMBERS = 90\nPAUSE = {pause}\n{}{FLOOD}", crate::host::PRELUDE);
    let mut command = std::process::Command::new("/usr/bin/python3");
    command.args(["-I", "-c", &program]).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut line = [0; 4];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    for _ in 0..3 {
        root(ACCESS, &["check", "--quiet", "--login=carol", "--", "target:orders-db"]).exits(1);
        access("bob", &["whoami"]).ok().says("bob");
    }
    drop(child.stdin.take());
    child.wait().unwrap();
}

#[test]
fn who_are_no_members_leave_places_to_those_who_are() {
    for_both(|| {
        // Twenty accounts that are no members, with four silent connections each.
        let numbers: Vec<String> = (70_000..70_020).map(|uid| uid.to_string()).collect();
        let passwd: String = numbers.iter().map(|uid| format!("s{uid}:x:{uid}:{uid}::/:/bin/sh\n")).collect();
        fs::write("/etc/passwd", fs::read_to_string("/etc/passwd").unwrap() + &passwd).unwrap();
        let program = "greeted = 0\nr, w = os.pipe()\nfor n in range(20):\n    if os.fork() == 0:\n        \
                       os.setgid(70000 + n); os.setuid(70000 + n)\n        held = [connect() for _ in range(4)]\n        \
                       [os.write(w, b'.') for s in held if s.recv(9)]\n        time.sleep(1); os._exit(0)\n\
                       time.sleep(1.2)\nprint(len(os.read(r, 1000)), flush=True)\ntime.sleep(1)";
        let program = format!("{}{program}", crate::host::PRELUDE);
        let mut command = std::process::Command::new("/usr/bin/python3");
        let mut child = command.args(["-I", "-c", &program]).stdout(std::process::Stdio::piped()).spawn().unwrap();
        let mut line = [0; 3];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
        assert_eq!(&line, b"16\n", "of eighty");
        access("bob", &["whoami"]).ok();
        child.wait().unwrap();
    });
}

#[test]
fn numbers_without_a_name_are_refused_on_the_record_as_one() {
    let Some(host) = Host::new() else { return };
    let program =
        format!("{}os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1])); say(b'garbage!!')", crate::host::PRELUDE);
    for n in 0..40 {
        root("/usr/bin/python3", &["-I", "-c", &program, &(1_500_000_000 + n).to_string()]).ok();
    }
    let log = access("ana", &["audit", "--json", "--action", "attempt.refused"]).ok().out;
    assert_eq!(log.matches("\"os_user\":\"#15").count(), 20, "{log}");
    // Who has a name has an allowance of their own.
    access("mallory", &["whoami"]).fails(3, "not a member");
    assert_eq!(host.refused("mallory").len(), 1);
}

#[test]
fn who_writes_slowly_or_reads_nothing_holds_no_lock() {
    let Some(host) = Host::new() else { return };
    for n in 0..40 {
        access("bob", &["request", "target:orders-db", "--reason", &"long ".repeat(700)]).ok();
        let id = (n + 1).to_string();
        access("alice", &["deny", &id]).ok();
    }
    let all = access("alice", &["list", "--all", "--json"]).ok();
    assert!(all.out.len() > 100_000 && all.json().as_array().unwrap().len() == 40, "a large answer comes whole");
    shell("alice", "access list --all --json | head -c 10").ok();
    // Asks for much, and reads nothing of it; and drips a byte at a time.
    let greedy = "held = []\nfor _ in range(3):\n    s = connect()\n    s.sendall(command({'List': {'mine': False, 'all': True, \
                  'states': [], 'requester': None, 'resource': None, 'since': None, 'limit': None}}))\n    \
                  s.shutdown(socket.SHUT_WR)\n    held.append(s)\ns = connect()\nprint('held', flush=True)\n\
                  for byte in b'access 1\\n' * 9:\n    try:\n        s.send(bytes([byte]))\n    except OSError:\n        break\n    \
                  time.sleep(0.1)\nprint(answers(s), flush=True)";
    let program = format!("{}{greedy}", crate::host::PRELUDE);
    let mut command = crate::host::as_user("carol", "/usr/bin/python3", &["-I", "-c", &program]);
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut line = [0; 5];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
    let begun = Instant::now();
    access("bob", &["request", "target:orders-db", "--reason", "x"]).ok();
    root(ACCESS, &["expire"]).ok();
    // Anyone held up by it waits until it is dropped, after 2 s.
    assert!(begun.elapsed() < Duration::from_millis(1900), "{:?}", begun.elapsed());
    let ended = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert!(said.contains("too long") || said.contains("in time"), "{said}");
    assert!(!host.refused("carol").is_empty());
}

#[test]
fn an_admin_no_more_reads_no_further_page() {
    let Some(host) = Host::new() else { return };
    let long = "long ".repeat(700);
    access("carol", &["request", "target:orders-db", "--reason", &long]).ok();
    access("carol", &["withdraw", "1"]).ok();
    // A log of more than a page. Nobody may file so many requests in a day.
    let more = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 600)
        INSERT INTO event SELECT last_seq + i, at, actor, os_user, action, request, hash,
            json_set(body, '$.seq', last_seq + i) FROM n, team, event WHERE seq = last_seq - 1 ORDER BY i;
        UPDATE team SET last_seq = last_seq + 600";
    let as_the_server =
        ["--reuid=access", "--regid=access", "--init-groups", "sqlite3", "/var/lib/access/access.db", more];
    root("setpriv", &as_the_server).ok();
    let id = host.request("bob", "role:admin");
    access("ana", &["approve", &id, "--duration", "2s"]).ok();
    // Reads the beginning, and the rest when the role has ended.
    let program = "s = connect(); s.sendall(command('AuditExport')); s.shutdown(socket.SHUT_WR); first = s.recv(100000)\n\
                   time.sleep(2.5)\nrest = answers(s)\nprint(len(first), len(rest), ascii(rest[-300:]))";
    python("bob", program).ok().says("only admins, auditors and the owner may read the audit log");
    // An admin who still is one reads all of it, however slowly.
    python("alice", &program.replace("2.5", "0.5")).ok().says("Done");
}

#[test]
fn a_client_that_slept_through_its_turn_takes_another() {
    let Some(_host) = Host::new() else { return };
    // Stopped between its connecting and its speaking, as far as a test can hit that; then woken after the deadline.
    for pause in ["0.001", "0.002", "0.003", "0.004"] {
        let line =
            format!("access check role:member & sleep {pause}; kill -STOP $!; sleep 2.3; kill -CONT $!; wait $!");
        shell("bob", &line).ok();
    }
}

#[test]
fn a_server_that_says_nothing_is_left() {
    let Some(mut host) = Host::new() else { return };
    host.stop_serving();
    let listen = "import socket, time, os\nos.path.exists('/run/access/access.sock') and os.remove('/run/access/access.sock')\n\
                  s = socket.socket(socket.AF_UNIX); s.bind('/run/access/access.sock'); s.listen()\n\
                  os.chmod('/run/access/access.sock', 0o666); time.sleep(60)";
    let mut silent = std::process::Command::new("/usr/bin/python3").args(["-I", "-c", listen]).spawn().unwrap();
    let served = || std::os::unix::net::UnixStream::connect(SOCKET).is_ok();
    crate::host::within(Duration::from_secs(5), served, "it listens");
    let begun = Instant::now();
    access("bob", &["check", "target:orders-db"]).fails(75, "nothing was done");
    assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
    silent.kill().unwrap();
    silent.wait().unwrap();
}

/// Root serves the socket by a program that is no server of ours: `serve(s)` has each connection. Ends with its input.
fn served_by(program: &str) -> std::process::Child {
    let listen = format!(
        "{}\n{program}\nimport threading\nos.path.exists('{SOCKET}') and os.remove('{SOCKET}')\n\
         l = socket.socket(socket.AF_UNIX); l.bind('{SOCKET}'); l.listen(QUEUE); os.chmod('{SOCKET}', 0o666)\n\
         def loop():\n    while True:\n        s = l.accept()[0]\n        \
             threading.Thread(target=serve, args=(s,), daemon=True).start()\n\
         if serve: threading.Thread(target=loop, daemon=True).start()\n\
         held = [socket.socket(socket.AF_UNIX) for _ in range(0 if serve else 2)]\n\
         for s in held: s.setblocking(False); s.connect_ex('{SOCKET}')\n\
         print('served', flush=True)\nsys.stdin.read()",
        crate::host::PRELUDE
    );
    let mut command = std::process::Command::new("/usr/bin/python3");
    // It complains of those who leave it.
    command.stderr(std::process::Stdio::null());
    command.args(["-I", "-c", &listen]).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut line = [0; 6];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
    child
}

#[test]
fn a_full_queue_at_the_socket_holds_nobody_for_ever() {
    let Some(mut host) = Host::new() else { return };
    host.stop_serving();
    let mut full = served_by("QUEUE = 0\nserve = None");
    let begun = Instant::now();
    root(ACCESS, &["serve"]).fails(5, "is already being served");
    root(ACCESS, &["doctor"]).exits(1).says("its queue is full");
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    access("bob", &["check", "target:orders-db"]).fails(75, "nothing was done");
    full.kill().unwrap();
    full.wait().unwrap();
}

#[test]
fn a_completion_waits_half_a_second_at_most() {
    let Some(mut host) = Host::new() else { return };
    let complete = |line: &str| {
        let begun = Instant::now();
        let ran = shell("bob", &format!("_ACCESS_COMPLETE=fish access -- access {line} ''")).ok();
        (ran, begun.elapsed())
    };
    complete("request").0.says("target:orders-db");
    let all = || {
        for line in ["request", "show", "check --user"] {
            // The best of three: other tests run beside this one.
            let tries = [0; 3].map(|_| complete(line));
            assert!(tries.iter().all(|(ran, _)| ran.err.is_empty()), "{tries:?}");
            let best = tries.iter().map(|(_, took)| *took).min().unwrap();
            assert!(best < Duration::from_millis(500), "{line}: {best:?}");
        }
    };
    root("kill", &["-STOP", &host.server_pid().unwrap().to_string()]).ok();
    all();
    host.stop_serving();
    // It greets and says nothing more; its queue is full.
    for server in
        ["QUEUE = 9\ndef serve(s):\n    s.sendall(b'access 1\\n')\n    time.sleep(20)", "QUEUE = 0\nserve = None"]
    {
        let mut server = served_by(server);
        all();
        server.kill().unwrap();
        server.wait().unwrap();
    }
}

#[test]
fn a_server_whose_answer_is_none_says_yes_to_nobody() {
    let Some(mut host) = Host::new() else { return };
    host.stop_serving();
    let view = r#"{"allowed": ALLOWED, "member": "bob", "resource": "target:orders-db", "because": [], "pending": None, "now": "2026-11-24T09:00:00Z"}"#;
    let send = |what: &str, allowed: &str| {
        format!("s.sendall(frame(json.dumps({{'{what}': {}}}).encode()))", view.replace("ALLOWED", allowed))
    };
    for (answer, codes) in [
        // Not the reply of a check; a yes that names no entitlement.
        (r#"s.sendall(frame(b'{"Done":{}}'))"#.to_owned(), &[74][..]),
        (r#"s.sendall(frame(b'{"Done":true}'))"#.to_owned(), &[74]),
        (send("Done", "True"), &[70]),
        // A row, of which a check has none, and rows without end.
        (format!("{}; {}", send("Row", "True"), send("Done", "False")), &[74]),
        (format!("while True: {}", send("Row", "True")), &[74]),
        ("while True: s.sendall(frame(b'\"SendFile\"'))".to_owned(), &[74]),
        // Too long, no JSON, half of one, nothing.
        ("s.sendall(struct.pack('>I', 4294967295))".to_owned(), &[74]),
        ("s.sendall(frame(b'{'))".to_owned(), &[74]),
        ("s.sendall(frame(b'{}')[:5]); s.shutdown(socket.SHUT_WR)".to_owned(), &[74]),
        ("s.shutdown(socket.SHUT_WR)".to_owned(), &[74]),
    ] {
        let serve =
            format!("def serve(s):\n    s.sendall(b'access 1\\n')\n    s.recv(65536)\n    {answer}\n    time.sleep(5)");
        let mut server = served_by(&format!("QUEUE = 9\n{serve}"));
        let begun = Instant::now();
        for login in ["bob", "root"] {
            let args = ["check", "--quiet", "--login=bob", "--", "target:orders-db"];
            let ran = if login == "root" { root(ACCESS, &args) } else { access(login, &args) };
            assert!(codes.contains(&ran.code.unwrap()), "{answer}: {ran:?}");
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "{answer}: {:?}", begun.elapsed());
        server.kill().unwrap();
        server.wait().unwrap();
    }
    // One that lets its greeting drip is left, as is one that says nothing.
    let drip = "QUEUE = 99\ndef serve(s):\n    for b in b'access 1\\n' * 9: s.sendall(bytes([b])); time.sleep(3)";
    let mut server = served_by(drip);
    let begun = Instant::now();
    access("bob", &["check", "target:orders-db"]).fails(75, "nothing was done");
    assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
    root(ACCESS, &["doctor"]).exits(1).says("it does not greet");
    server.kill().unwrap();
    server.wait().unwrap();
}

#[test]
fn what_a_server_says_acts_on_no_terminal() {
    let Some(mut host) = Host::new() else { return };
    host.stop_serving();
    let hostile = r"\u001b]0;owned\u0007\u202e";
    let failed = format!(r#"{{"Failed":{{"kind":"refused","message":"a{hostile}b","hints":["c{hostile}d"]}}}}"#);
    let warned = format!(r#"{{"Done":{{"no":false,"more":0,"count":0,"warnings":["e{hostile}f"]}}}}"#);
    let word = format!(r#"{{"Piece":{{"Word":{{"word":"g{hostile}h","help":null}}}}}}"#);
    for (answer, args) in [(failed, "list"), (warned.clone(), "list"), (word + "|" + &warned, "-- access who ''")] {
        let frames: String = answer.split('|').map(|part| format!("s.sendall(frame(b'{part}')); ")).collect();
        let serve = format!("def serve(s):\n    s.sendall(b'access 1\\n')\n    s.recv(65536)\n    {frames}s.close()");
        let mut server = served_by(&format!("QUEUE = 9\n{serve}"));
        let ran = shell("bob", &format!("_ACCESS_COMPLETE=fish access {args}"));
        // A tab stands between a word and what it means.
        let acts = |c: char| (c.is_control() && !"\n\t".contains(c)) || c == '\u{202e}';
        assert!(!ran.out.contains(acts) && !ran.err.contains(acts), "{ran:?}");
        assert!(args != "list" || ran.err.contains("\\u{1b}"), "{ran:?}");
        server.kill().unwrap();
        server.wait().unwrap();
    }
}

#[test]
fn a_users_fifth_connection_waits_for_a_place() {
    for_both(|| {
        let hold = "held = [connect() for _ in range(4)]\nfor s in held:\n    s.recv(9)\nprint('held', flush=True)\ntime.sleep(4)";
        let program = format!("{}{hold}", crate::host::PRELUDE);
        let mut command = crate::host::as_user("bob", "/usr/bin/python3", &["-I", "-c", &program]);
        let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
        let mut line = [0; 4];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
        python("bob", "s = connect(); print(s.recv(9))").ok().says("b''");
        let begun = Instant::now();
        access("alice", &["whoami"]).ok();
        assert!(begun.elapsed() < Duration::from_secs(1), "another's are not taken");
        // His own go on once the four are given up, which silence is after two seconds.
        access("bob", &["whoami"]).ok();
        assert!(begun.elapsed() > Duration::from_secs(1), "{:?}", begun.elapsed());
        child.kill().unwrap();
        child.wait().unwrap();
    });
}
