//! The gates of docs/recipes.md: installed as it says, used, and attacked by people who point everything they can elsewhere.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use crate::host::{ACCESS, CONFIG, Host, Ran, TEAM, access, as_user, root, run, shell};

/// In front of a command: each points it at a file, a member, a home or a config of bob's own making.
const ELSEWHERE: [&str; 8] = [
    "ACCESS_DB=/home/bob/own/access.db",
    "ACCESS_AS=alice",
    "ACCESS_AS=boss ACCESS_DB=/home/bob/own/access.db",
    "HOME=/home/bob/own XDG_CONFIG_HOME=/home/bob/own XDG_DATA_HOME=/home/bob/own",
    "PATH=/home/bob/own:$PATH ENV=/home/bob/own/rc BASH_ENV=/home/bob/own/rc",
    "ACCESS_TEST_USER=alice ACCESS_TEST_CONFIG=/home/bob/own/access/config.toml",
    "SUDO_USER=alice SUDO_UID=0 PAM_USER=alice PAM_RUSER=alice USER=alice LOGNAME=alice",
    "LD_PRELOAD=/home/bob/own/none.so",
];

/// A host with the gates' helpers, and bob with a database of his own in which he has everything.
fn host() -> Option<Host> {
    let host = Host::new()?;
    let more = "[targets.orders-api]\nconnections = [\"prod\"]\n";
    host.apply("ana", &(TEAM.to_owned() + more)).ok();
    let recipes = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/recipes");
    root("install", &["-d", "/usr/local/lib/access"]).ok();
    for name in ["access-may", "pam-check", "prompt.bash"] {
        install(&recipes.join(name), &format!("/usr/local/lib/access/{name}"));
    }
    root("mv", &[CONFIG, "/etc/access/hidden"]).ok();
    shell("bob", "mkdir -m 700 ~/own && access --db ~/own/access.db init --owner boss").ok();
    let own = "[team]\nname = \"own\"\n[members.boss]\nrole = \"owner\"\nlogin = \"bob\"\n[members.alice]\nrole = \"admin\"\n\
               [connections.prod]\nenvironment = \"production\"\n[targets.orders-db]\nconnections = [\"prod\"]\n\
               [targets.orders-api]\nconnections = [\"prod\"]\n";
    fs::write("/home/bob/own/team.toml", own).unwrap();
    shell("bob", "access --db ~/own/access.db team apply ~/own/team.toml --yes").ok();
    shell("bob", "access --db ~/own/access.db check target:orders-db").ok();
    shell("bob", "mkdir ~/own/access; echo 'database = \"/home/bob/own/access.db\"' | tee ~/own/access/config.toml")
        .ok();
    shell(
        "bob",
        "printf '#!/bin/sh\\nexit 0\\n' | tee ~/own/access-may ~/own/env ~/own/rc ~/own/setpriv; cd ~/own; chmod +x access-may env rc setpriv",
    )
    .ok();
    root("mv", &["/etc/access/hidden", CONFIG]).ok();
    fs::write("/root/none.c", "int none;\n").unwrap();
    root("cc", &["-shared", "-fPIC", "-o", "/home/bob/own/none.so", "/root/none.c"]).ok();
    Some(host)
}

pub fn install(from: &Path, to: &str) {
    root("install", &["-m", "755", from.to_str().unwrap(), to]).ok();
}

pub fn recipe(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/recipes").join(name)
}

fn append(path: &str, text: &str) {
    let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o440)).unwrap();
}

/// The lines of docs/recipes.md that hold these words and are to be copied.
pub fn documented(word: &str) -> String {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/recipes.md")).unwrap();
    let lines: Vec<&str> = page.lines().filter(|line| line.contains(word) && !line.contains('`')).collect();
    assert!(!lines.is_empty(), "docs/recipes.md says nothing of {word}");
    lines.join("\n") + "\n"
}

fn grant(host: &Host, login: &str, resource: &str, length: &str) -> String {
    let id = host.request(login, resource);
    access("alice", &["approve", &id, "--duration", length]).ok();
    id
}

/// Refused as things are, from wherever the caller points; let in with a grant; refused once it is taken back.
fn gate(host: &Host, resource: &str, through: &dyn Fn(&str) -> Ran, inside: &str) {
    through("").not_done().not(inside);
    for elsewhere in ELSEWHERE {
        through(elsewhere).not_done().not(inside);
    }
    let id = grant(host, "bob", resource, "1h");
    through("").ok().says(inside);
    access("alice", &["revoke", &id]).ok();
    through("").not_done().not(inside);
}

#[test]
fn a_login_by_pam() {
    let Some(host) = host() else { return };
    fs::write("/etc/pam.d/gate", "auth required pam_permit.so\n".to_owned() + &documented("pam-check user")).unwrap();
    let login = |login: &str| root("pamtester", &["gate", login, "authenticate", "acct_mgmt"]);
    login("bob").not_done();
    login("mallory").not_done();
    // A member's name that is another's login opens nothing: mallory the member is carol.
    let id = grant(&host, "carol", "connection:prod", "1h");
    login("mallory").not_done();
    login("carol").ok();
    access("alice", &["revoke", &id]).ok();
    login("carol").not_done();
    login("root").ok();
    let mut host = host;
    host.stop_serving();
    login("alice").not_done();
}

#[test]
fn becoming_another_by_su() {
    let Some(host) = host() else { return };
    root("useradd", &["--system", "--shell", "/bin/sh", "orders"]).ok();
    install(&recipe("pam-session"), "/usr/local/lib/access/pam-session");
    let lines = documented("user != orders") + &documented("caller target:orders-db");
    fs::write(
        "/etc/pam.d/su",
        "auth sufficient pam_permit.so\n".to_owned()
            + &lines
            + "account required pam_permit.so\nsession required pam_permit.so\n",
    )
    .unwrap();
    let become_orders = |before: &str| shell("bob", &format!("{before} su orders -c 'id -un'"));
    gate(&host, "target:orders-db", &become_orders, "orders");
    shell("bob", "su carol -c 'id -un'").ok().says("carol");
    let ruser = ["-I", "ruser=bob", "su", "orders", "acct_mgmt"];
    root("pamtester", &ruser).not_done();
}

#[test]
fn a_command_by_sudo() {
    let Some(host) = host() else { return };
    root("useradd", &["--system", "--shell", "/bin/sh", "orders"]).ok();
    install(&recipe("orders-psql"), "/usr/local/sbin/orders-psql");
    fs::write("/usr/bin/psql", "#!/bin/sh\necho \"psql as $(id -un) for $1\"\n").unwrap();
    root("chmod", &["755", "/usr/bin/psql"]).ok();
    people();
    append("/etc/sudoers.d/orders", &documented("/usr/local/sbin/orders-psql"));
    root("visudo", &["--check"]).ok();
    let psql = |before: &str| shell("bob", &format!("{before} sudo -n orders-psql bob"));
    gate(&host, "target:orders-db", &psql, "psql as orders for bob");
    grant(&host, "bob", "target:orders-db", "1h");
    shell("bob", "sudo -n /usr/local/lib/access/access-may alice target:orders-db").not_done();
    shell("bob", "sudo -n -u orders id").not_done();
    shell("bob", "sudo -n SUDO_USER=alice orders-psql x").not_done();
}

/// The group engineers, and sudo as it comes.
fn people() {
    root("groupadd", &["engineers"]).ok();
    for login in ["bob", "carol"] {
        root("usermod", &["--append", "--groups", "engineers", login]).ok();
    }
    fs::create_dir_all("/run/sudo").unwrap();
}

/// A change, pushed by bob.
fn pushes(before: &str) -> Ran {
    let push = "cd ~/clone && date >> file && git add file && git commit -qm x && git push origin HEAD:main 2>&1";
    run(&mut as_user("bob", "/bin/sh", &["-c", &format!("export {before} GIT_AUTHOR_NAME=bob; {push}")]), before.into())
}

#[test]
fn a_push_by_a_git_hook() {
    let Some(host) = host() else { return };
    people();
    root("useradd", &["--system", "--shell", "/usr/sbin/nologin", "--home-dir", "/srv/git", "git"]).ok();
    root("git", &["init", "-q", "--bare", "/srv/git/orders.git"]).ok();
    root("chown", &["-R", "git:git", "/srv/git"]).ok();
    root("chmod", &["700", "/srv/git"]).ok();
    install(&recipe("pre-receive"), "/srv/git/orders.git/hooks/pre-receive");
    append("/etc/sudoers.d/git", &documented("ALL=(git)"));
    append("/etc/sudoers.d/git", &documented("git ALL=(root)"));
    root("visudo", &["--check"]).ok();
    shell("bob", "cd; git init -q clone; cd clone && git config user.email b@x && git config user.name bob && git remote add origin /srv/git/orders.git")
        .ok();
    for line in documented("git config remote.origin").lines() {
        shell("bob", &format!("cd ~/clone && {line}")).ok();
    }
    gate(&host, "target:orders-api", &pushes, "[new branch]");
    shell("bob", "ls /srv/git/orders.git").not_done();
    shell("bob", "sudo -n -u git git -C /srv/git/orders.git update-ref refs/heads/x HEAD").not_done();
    shell("bob", "sudo -n -u git /usr/bin/git-receive-pack /srv/git").not_done();
}

#[test]
fn a_countdown_in_the_prompt() {
    let Some(host) = host() else { return };
    let prompt = |before: &str| {
        let line = format!(
            "export {before} X=; source /usr/local/lib/access/prompt.bash; _access_left; echo \"<$ACCESS_LEFT>\""
        );
        run(&mut as_user("bob", "/bin/bash", &["--norc", "-c", &line]), before.to_owned()).ok()
    };
    prompt("").says("<>");
    grant(&host, "bob", "target:orders-api", "1h30m45s");
    grant(&host, "bob", "connection:prod", "permanent");
    prompt("").says("<[target:orders-api 1h30m] >");
    for elsewhere in &ELSEWHERE[..3] {
        prompt(elsewhere).says("<>");
    }
    access("bob", &["whoami"]).ok();
    root(ACCESS, &["doctor"]).ok();
}

/// What somebody may put where a gate expects a name: options, nothing, blanks, line breaks, patterns, and more of a line.
const VALUES: [&str; 28] = [
    "",
    " ",
    "\n",
    "-",
    "--",
    "---",
    "-h",
    "--help",
    "-V",
    "--version",
    "--json",
    "--login=bob",
    "--user=bob",
    "--login",
    "help",
    "version",
    "-h x",
    "help check",
    "bob --help",
    "bob\n",
    "\nbob",
    " bob",
    "*",
    "b?b",
    "[b]ob",
    "$(echo bob)",
    "`echo bob`",
    "bob;true",
];

#[test]
fn no_value_opens_a_gate_but_the_right_one() {
    let Some(host) = host() else { return };
    root("useradd", &["--system", "--shell", "/bin/sh", "orders"]).ok();
    install(&recipe("orders-psql"), "/usr/local/sbin/orders-psql");
    install(&recipe("pre-receive"), "/usr/local/lib/access/pre-receive");
    fs::write("/usr/bin/psql", "#!/bin/sh\nprintf '<%s>' psql \"$@\"\n").unwrap();
    root("chmod", &["755", "/usr/bin/psql"]).ok();
    people();
    for resource in ["target:orders-db", "target:orders-api"] {
        grant(&host, "bob", resource, "1h");
    }
    let may = "/usr/local/lib/access/access-may";
    let pam = "/usr/local/lib/access/pam-check";
    let (psql, push) = ("/usr/local/sbin/orders-psql", "/usr/local/lib/access/pre-receive");
    root(may, &["bob", "target:orders-db"]).ok();
    root("env", &["PAM_USER=bob", pam, "user", "target:orders-db"]).ok();
    root("env", &["PAM_RUSER=bob", pam, "caller", "target:orders-db"]).ok();
    root("env", &["SUDO_USER=bob", psql, "x"]).ok().says("<psql><x>");
    root("env", &["SUDO_USER=bob", push]).ok();
    for value in VALUES {
        root(may, &[value, "target:orders-db"]).not_done();
        root(may, &["bob", value]).not_done();
        root(may, &["bob", value, "target:orders-db"]).not_done();
        root(may, &[value, "bob", "target:orders-db"]).not_done();
        root(may, &["bob", "target:orders-db", value]).not_done();
        root(may, &[value]).not_done();
        for (role, variable) in [("user", "PAM_USER"), ("caller", "PAM_RUSER")] {
            root("env", &[&format!("{variable}={value}"), pam, role, "target:orders-db"]).not_done();
            root("env", &[&format!("{variable}=bob"), pam, role, value]).not_done();
            root("env", &[&format!("{variable}=bob"), pam, value, "target:orders-db"]).not_done();
            root("env", &[&format!("{variable}=bob"), pam, role, "target:orders-db", value]).not_done();
        }
        root("env", &[&format!("SUDO_USER={value}"), psql, "x"]).not_done().not("psql");
        root("env", &[&format!("SUDO_USER={value}"), push]).not_done();
        // Once let in, what follows is psql's, each word as it is.
        root("env", &["SUDO_USER=bob", psql, value, "y"]).ok().says(&format!("<psql><{value}><y>"));
    }
    // A completion's variable opens none, even where a gate forgets to clear the environment.
    for variable in ["COMPLETE=bash", "_ACCESS_COMPLETE=bash"] {
        root("env", &[variable, may, "carol", "target:orders-db"]).exits(1);
        root("env", &[variable, ACCESS, "check", "--quiet", "--login=carol", "--", "target:orders-db"]).exits(1);
    }
    // And no closed pipe.
    for line in ["access-may carol target:orders-db", "access-may nobody target:orders-db", "access-may bob --help"] {
        let line = format!("set -o pipefail; /usr/local/lib/access/{line} | true");
        root("/bin/bash", &["-c", &line]).not_done();
    }
}

#[test]
fn every_recipe_passes_values_so_that_none_is_an_option() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<_> =
        fs::read_dir(repository.join("packaging/recipes")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.extend(["docs/recipes.md", "README.md"].map(|page| repository.join(page)));
    let mut calls = 0;
    for file in files {
        for line in fs::read_to_string(&file)
            .unwrap()
            .lines()
            .filter(|line| line.contains("access check") && line.contains('$'))
        {
            assert!(line.contains(" -- \"$"), "{}: {line}", file.display());
            assert!(!line.contains("--login ") && !line.contains("--user "), "{}: {line}", file.display());
            calls += 1;
        }
    }
    assert!(calls >= 2, "{calls}");
}
