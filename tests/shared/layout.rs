//! `init --shared` and `doctor`: what is laid out, and each thing that can be wrong with it.

use std::fs;

use crate::host::{ACCESS, CONFIG, DATABASE, Host, SOCKET, Start, access, root, user};

#[test]
fn root_lays_out_a_shared_host() {
    let Some(mut host) = Host::bare() else { return };
    access("bob", &["init", "--shared", "--owner", "bob"]).fails(3, "only root can set up");
    root(ACCESS, &["init", "--shared"]).fails(2, "--owner");
    root(ACCESS, &["init", "--shared", "--owner", "zoe"]).fails(2, "no Unix user zoe");
    root(ACCESS, &["init", "--shared", "--owner", "zoe", "--login", "root"]).fails(2, "is not a person's user");
    root(ACCESS, &["init", "--shared", "--owner", "zoe", "--login", "nobody"]).fails(2, "is not a person's user");
    assert!(!fs::exists("/etc/access").unwrap(), "nothing was laid out half-way");
    let laid = root(ACCESS, &["init", "--shared", "--owner", "zoe", "--login", "ana", "--sample", "--json"]).ok();
    assert_eq!(laid.json()["database"], DATABASE);
    let access_user = user("access");
    assert_eq!(access_user.shell.to_str(), Some("/usr/sbin/nologin"));
    root(ACCESS, &["init", "--shared", "--owner", "zoe", "--login", "ana"]).fails(5, "already exists");
    root(ACCESS, &["doctor"]).exits(1).says("WRONG    socket");
    host.serve(Start::Listener);
    access("ana", &["whoami"]).ok().says("zoe");
    access("bob", &["whoami"]).ok();
    root(ACCESS, &["doctor"]).ok();
    // The same listener twice would take each other's socket.
    root("timeout", &["5", ACCESS, "serve"]).fails(5, "is already being served");
}

#[test]
fn a_config_that_is_there_is_not_written_over() {
    let Some(_host) = Host::bare() else { return };
    fs::create_dir("/etc/access").unwrap();
    fs::write(CONFIG, "database = \"/var/lib/access/access.db\"\n").unwrap();
    root(ACCESS, &["init", "--shared", "--owner", "ana"]).fails(5, "names no socket");
    fs::write(CONFIG, "socket = \"/run/elsewhere/sock\"\ndatabase = \"/var/lib/elsewhere/a.db\"\n").unwrap();
    root(ACCESS, &["init", "--shared", "--owner", "ana"]).ok();
    assert!(fs::exists("/var/lib/elsewhere/a.db").unwrap());
}

#[test]
fn a_database_of_ones_own_moves_to_a_shared_host() {
    let Some(mut host) = Host::bare() else { return };
    access("ana", &["init", "--team", "acme"]).ok();
    host.apply("ana", crate::host::TEAM).ok();
    access("ana", &["--as", "bob", "request", "target:orders-db", "--reason", "x"]).ok();
    access("ana", &["backup", "/home/ana/old.db"]).ok();
    root(ACCESS, &["init", "--shared", "--owner", "ana"]).ok();
    for beside in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(format!("{DATABASE}{beside}"));
    }
    root("install", &["-o", "access", "-g", "access", "-m", "600", "/home/ana/old.db", DATABASE]).ok();
    host.serve(Start::Listener);
    access("alice", &["approve", "1"]).ok();
    access("bob", &["check", "target:orders-db"]).ok();
    access("ana", &["audit", "verify"]).ok();
    root(ACCESS, &["doctor"]).ok();
}

#[test]
fn a_group_alone_may_connect() {
    let Some(_host) = Host::bare() else { return };
    root(ACCESS, &["init", "--shared", "--owner", "ana"]).ok();
    root("groupadd", &["engineers"]).ok();
    root("usermod", &["-aG", "engineers", "ana"]).ok();
    root("timeout", &["5", ACCESS, "serve", "--group", "nobodies"]).fails(2, "there is no Unix group");
    root("chmod", &["640", DATABASE]).ok();
    root("timeout", &["5", ACCESS, "serve"]).fails(65, "can be read or written by others");
    root("chmod", &["600", DATABASE]).ok();
    assert!(!fs::exists(SOCKET).unwrap(), "no dead socket is left behind");
    let given = "python3 -c 'import socket, os; s = socket.socket(socket.AF_UNIX); s.bind(\"/run/own\"); s.listen(); \
                 os.dup2(s.fileno(), 0); os.execv(\"/usr/bin/access\", [\"access\", \"serve\", \"--group\", \"engineers\"])'";
    root("timeout", &["5", "sh", "-c", given]).fails(2, "a socket that access creates itself");
    let mut serving = std::process::Command::new(ACCESS).args(["serve", "--group", "engineers"]).spawn().unwrap();
    let mode = || fs::metadata(SOCKET).is_ok_and(|found| std::os::unix::fs::MetadataExt::mode(&found) & 0o777 == 0o660);
    crate::host::within(std::time::Duration::from_secs(5), mode, "served for a group");
    access("ana", &["whoami"]).fails(69, "only members of its group may connect");
    let gid = root("sh", &["-c", "getent group engineers | cut -d: -f3"]).ok().out;
    let uid = user("ana").uid.to_string();
    let member = ["--reuid", &uid, "--regid", gid.trim(), "--clear-groups", ACCESS, "whoami"];
    root("setpriv", &member).ok().says("ana");
    serving.kill().unwrap();
    serving.wait().unwrap();
}

#[test]
fn doctor_names_each_thing_that_is_wrong_and_its_mend() {
    for (spoil, says) in [
        ("chmod 755 /var/lib/access", "chmod 0700 /var/lib/access"),
        ("chown bob /var/lib/access", "chown access:access /var/lib/access"),
        ("chmod 640 /var/lib/access/access.db", "chmod 0600 /var/lib/access/access.db"),
        (
            "touch /var/lib/access/access.db.lock; chmod 644 /var/lib/access/access.db.lock",
            "chmod 0600 /var/lib/access/access.db.lock",
        ),
        ("chown bob /var/lib/access/access.db.places", "chown access:access /var/lib/access/access.db.places"),
        ("chmod 775 /etc/access", "chmod 0755 /etc/access"),
        ("chown bob /etc/access", "chown root:root /etc/access"),
        ("chmod 640 /etc/access/config.toml", "chmod 0644 /etc/access/config.toml"),
        (
            "echo secret > /etc/access/smtp.secret; chmod 644 /etc/access/smtp.secret",
            "chmod 0640 /etc/access/smtp.secret",
        ),
        ("echo secret > /etc/access/s; chmod 640 /etc/access/s", "chown root:access /etc/access/s"),
        ("chmod 777 /run/access", "chmod 0755 /run/access"),
        ("chmod 600 /run/access/access.sock", "chmod 0666 /run/access/access.sock"),
        ("rm /run/access/access.sock", "setsid access serve </dev/null"),
        ("usermod --shell /bin/sh access", "usermod --shell /usr/sbin/nologin access"),
        (
            "cp /usr/bin/access /usr/bin/own && umount -l /usr/bin/access && mv /usr/bin/own /usr/bin/access && chmod 4755 /usr/bin/access",
            "chmod 0755 /usr/bin/access",
        ),
    ] {
        // On a machine of its own each: what is spoilt stays so.
        let tried = move || {
            let Some(_host) = Host::new() else { return };
            root("sh", &["-c", spoil]).ok();
            let ran = root(ACCESS, &["doctor"]);
            assert!(ran.code == Some(1) && ran.out.contains(says), "{spoil}\n{ran:?}");
        };
        std::thread::spawn(tried).join().unwrap();
    }
}
