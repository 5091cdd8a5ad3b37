//! Accounts that change while a shell of theirs is open: what counts is the next command.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use crate::host::{ACCESS, Host, TEAM, access, as_user, home, root, user};

/// A shell that stays open.
struct Shell {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Shell {
    fn open(login: &str) -> Shell {
        let mut command = as_user(login, "/bin/sh", &[]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let (to, from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Shell { child, to, from }
    }

    /// The exit code of a line.
    fn run(&mut self, line: &str) -> String {
        writeln!(self.to, "{line} >/dev/null 2>&1; echo $?").unwrap();
        let mut answer = String::new();
        self.from.read_line(&mut answer).unwrap();
        answer.trim().to_owned()
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_member_who_is_disabled_or_removed_is_refused_at_the_next_command() {
    let Some(host) = Host::new() else { return };
    let mut shell = Shell::open("bob");
    assert_eq!(shell.run("access whoami"), "0");
    host.apply("ana", &TEAM.replace("[members.bob]\n", "[members.bob]\ndisabled = true\n")).ok();
    assert_eq!(shell.run("access whoami"), "3");
    assert_eq!(shell.run("access request target:orders-db --reason x"), "3");
    assert_eq!(shell.run("access check target:orders-db"), "1", "a disabled member holds nothing");
    host.apply("ana", &TEAM.replace("[members.bob]\nrole = \"member\"\n", "")).ok();
    assert_eq!(shell.run("access whoami"), "3");
    assert_eq!(shell.run("access check target:orders-db"), "3");
    assert!(host.refused("bob").iter().any(|why| why.contains("not a member")), "{:?}", host.refused("bob"));
    host.apply("ana", TEAM).ok();
    assert_eq!(shell.run("access whoami"), "0");
}

#[test]
fn a_deleted_account_is_refused_at_the_next_command() {
    let Some(host) = Host::new() else { return };
    let mut shell = Shell::open("bob");
    let uid = user("bob").uid;
    assert_eq!(shell.run("access whoami"), "0");
    root("userdel", &["--force", "bob"]).exits(0);
    assert_eq!(shell.run("access whoami"), "3");
    let why = host.refused(&format!("#{uid}"));
    assert!(why.iter().any(|why| why.contains("has no user name for the user ID")), "{why:?}");
    // The name comes back, as somebody else.
    root("useradd", &["--uid", &(uid.as_raw() + 5).to_string(), "--no-create-home", "bob"]).ok();
    assert_eq!(shell.run("access whoami"), "3", "the old number is nobody");
    // And as two: the second has the member's name, and not the number that the name leads to.
    root("sh", &["-c", &format!("echo 'bob:x:{uid}:{uid}::/:/bin/sh' >> /etc/passwd")]).ok();
    assert_eq!(shell.run("access whoami"), "3", "one name of two numbers is nobody's");
    access("bob", &["whoami"]).ok();
}

#[test]
fn root_replaces_the_owner_once_their_account_is_gone() {
    let Some(_host) = Host::new() else { return };
    let replace = ["team", "replace-owner", "alice", "--yes"];
    for login in ["alice", "bob", "mallory"] {
        access(login, &replace).fails(3, "only root");
    }
    root(ACCESS, &replace).fails(3, "ana is the owner, and has an account");
    root("userdel", &["--force", "ana"]).ok();
    access("alice", &replace).fails(3, "only root");
    root(ACCESS, &replace).ok();
    access("alice", &["team", "show"]).ok();
    let file = home("alice").join("team.toml");
    let swapped = TEAM.replace("\"admin\"", "\"owner\"").replacen("\"owner\"", "\"viewer\"\ndisabled = true", 1);
    std::fs::write(&file, swapped).unwrap();
    access("alice", &["team", "apply", file.to_str().unwrap(), "--yes"]).ok().says("Nothing changes");
    // The next account of that name is nobody's.
    root("useradd", &["--create-home", "ana"]).ok();
    access("ana", &["whoami"]).fails(3, "ana is disabled");
    let log = access("alice", &["audit", "--json", "--action", "team.applied"]).ok().json();
    assert_eq!((&log[0]["os_user"], &log[0]["actor"]), (&"root".into(), &serde_json::Value::Null), "{log:#}");
    access("alice", &["audit", "verify"]).ok();
}

#[test]
fn nobody_becomes_the_owner_without_an_account() {
    let Some(host) = Host::new() else { return };
    // wim is a member whose account is not there (yet, or any more); toor's login is root's; door's is the system user's.
    // Nobody can connect as the other two: over's is the overflow user's, and twin's is a second name of carol's number.
    let more = "[members.wim]\nrole = \"admin\"\n[members.toor]\nrole = \"admin\"\nlogin = \"root\"\n\
                [members.door]\nrole = \"admin\"\nlogin = \"access\"\n\
                [members.over]\nrole = \"admin\"\nlogin = \"nobody\"\n[members.twin]\nrole = \"admin\"\n";
    let number = root("id", &["--user", "carol"]).ok().out;
    root("useradd", &["--non-unique", "--uid", number.trim(), "twin"]).ok();
    let team = TEAM.to_owned() + more;
    host.apply("ana", &team).ok();
    let head = || access("alice", &["audit", "checkpoint"]).ok().json()["head"].to_string();
    let teams = || access("alice", &["audit", "--json", "--action", "team.applied"]).ok().json();
    let before = teams();
    // The owner hands over by a team file.
    for next in ["wim", "toor", "door", "over", "twin"] {
        let handed = team.replace("[members.ana]\nrole = \"owner\"", "[members.ana]\nrole = \"admin\"");
        let handed = handed
            .replace(&format!("[members.{next}]\nrole = \"admin\""), &format!("[members.{next}]\nrole = \"owner\""));
        host.apply("ana", &handed).fails(3, &format!("{next} can't become the owner")).fails(3, "create the account");
        let file = home("ana").join("team.toml");
        access("ana", &["team", "apply", file.to_str().unwrap(), "--dry-run"]).fails(3, "not a person's account");
    }
    // Or keeps the name, and hands it to another login.
    host.apply("ana", &team.replace("[members.ana]\n", "[members.ana]\nlogin = \"later\"\n"))
        .fails(3, "the login later");
    assert_eq!(teams(), before);
    // Root replaces one whose account is gone; the same holds.
    root("userdel", &["--force", "ana"]).ok();
    let replace = |to: &str| root(ACCESS, &["team", "replace-owner", to, "--yes"]);
    replace("wim").fails(3, "wim can't become the owner").fails(3, "create the account wim first");
    for next in ["toor", "door", "over", "twin"] {
        replace(next).fails(3, "not a person's account");
    }
    assert_eq!(teams(), before);
    let since = head();
    // Who is given the name afterwards is an admin, as the team file says, and no owner.
    root("useradd", &["--create-home", "wim"]).ok();
    access("wim", &["team", "apply", home("alice").to_str().unwrap(), "--yes"]).not_done();
    access("wim", &["team", "show"]).ok();
    assert_eq!(head(), since);
    replace("wim").ok();
    let file = home("wim").join("team.toml");
    std::fs::write(&file, access("wim", &["team", "show"]).ok().out).unwrap();
    access("wim", &["team", "apply", file.to_str().unwrap(), "--yes"]).ok();
    access("wim", &["audit", "verify"]).ok();
}

#[test]
fn a_renamed_account_is_another() {
    let Some(_host) = Host::new() else { return };
    let mut shell = Shell::open("bob");
    assert_eq!(shell.run("access whoami"), "0");
    root("sed", &["-i", "s/^bob:/robert:/", "/etc/passwd"]).ok();
    assert_eq!(shell.run("access whoami"), "3");
}

#[test]
fn a_renamed_member_does_not_review_their_own_emergency() {
    let Some(host) = Host::new() else { return };
    let rules = "[[rules]]\nname = \"members\"\napprovers = [\"role:member\"]\n\
                 [[rules]]\nname = \"glass\"\nemergency = true\n";
    let team = format!("{TEAM}{rules}");
    host.apply("ana", &team).ok();
    let ask = ["request", "target:orders-db", "--reason", "x", "--duration", "1h", "--emergency"];
    access("bob", &ask).ok();
    let review = ["review", "1", "--note", "x"];
    host.apply("ana", &team.replace("[members.bob]", "[members.robert]\nlogin = \"bob\"")).ok();
    access("bob", &review).fails(3, "nobody decides on their own request");
    // The same name with another Unix user is no other person either.
    host.apply("ana", &team.replace("[members.bob]", "[members.bob]\nlogin = \"mallory\"")).ok();
    access("mallory", &review).fails(3, "an earlier member with your name");
    access("carol", &review).ok();
    access("ana", &["audit", "verify"]).ok();
}

#[test]
fn a_new_member_with_a_former_members_name_sees_none_of_their_requests() {
    let Some(host) = Host::new() else { return };
    let id = host.request("bob", "target:orders-db");
    access("alice", &["deny", &id]).ok();
    host.apply("ana", &TEAM.replace("[members.bob]", "[members.bob]\nlogin = \"mallory\"")).ok();
    assert_eq!(access("mallory", &["whoami", "--json"]).ok().json()["member"], "bob");
    access("mallory", &["show", &id]).fails(4, "there is no request");
    assert_eq!(access("mallory", &["list", "--all", "--json"]).ok().json(), serde_json::json!([]));
    host.apply("ana", &TEAM.replace("[members.bob]", "[members.robert]\nlogin = \"bob\"")).ok();
    access("bob", &["show", &id]).ok();
}

#[test]
fn a_number_larger_than_most_is_still_the_users_own() {
    let Some(host) = Host::new() else { return };
    for uid in ["2147483648", "4294967293"] {
        root("sed", &["-i", &format!("s/^mallory:x:[0-9]*:/mallory:x:{uid}:/"), "/etc/passwd"]).ok();
        let ids = ["--reuid", uid, "--regid", "12345", "--clear-groups", crate::host::ACCESS];
        for args in [&["whoami"][..], &["approve", "1"], &["expire"], &["check", "target:orders-db", "--user", "bob"]] {
            root("setpriv", &[&ids[..], args].concat()).exits(3);
        }
    }
    assert!(!host.refused("mallory").is_empty());
}

#[test]
fn a_stranger_is_refused_and_the_log_is_not_flooded() {
    let Some(host) = Host::new() else { return };
    for _ in 0..30 {
        access("mallory", &["list"]).fails(3, "not a member");
    }
    for _ in 0..30 {
        crate::host::python("mallory", "say(b'garbage!!')").ok();
    }
    assert_eq!(host.refused("mallory").len(), 20, "up to 20 an hour each");
    let entries = access("ana", &["audit", "verify", "--json"]).ok().json()["entries"].as_u64().unwrap();
    assert!(entries < 30, "{entries}");
}
