//! Many Unix users at once at random commands, over the socket.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::histories;
use crate::host::{ACCESS, Host, access, root, user};

#[test]
fn of_32_processes_at_random_commands_each_sees_what_is_true() {
    let Some(host) = Host::new() else { return };
    // The owner has an account; useradd would take its time for the others.
    let first = user("ana").uid.as_raw() + 1_000_000;
    let mut accounts = std::fs::read_to_string("/etc/passwd").unwrap();
    for (name, uid) in histories::people().iter().zip(first..).skip(1) {
        writeln!(accounts, "{name}:x:{uid}:{uid}::/srv:/bin/sh").unwrap();
    }
    std::fs::write("/etc/passwd", accounts).unwrap();
    host.apply("ana", &histories::team()).ok();
    let program: Arc<histories::Program> = Arc::new(|login: &str, args: &[&str]| {
        let ran = if login == "root" { root(ACCESS, args) } else { access(login, args) };
        (ran.code.expect("no signal ended it"), ran.out, ran.err)
    });
    histories::hold(&program);
}
