//! The form and the queue of a terminal, over the socket.

use crate::host::{Host, TEAM, access, python};

/// Runs `access` at a terminal: waits for words, then presses keys.
const TERMINAL: &str = r#"
import pty, select

def terminal(args, steps):
    pid, tty = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm"
        os.execv("/usr/bin/access", ["access"] + args)
    shown, steps = b"", list(steps)
    end = time.time() + 60
    while time.time() < end:
        if steps and steps[0][0].encode() in shown:
            shown = shown[shown.index(steps[0][0].encode()):]
            # The question is there a moment before its keys are read.
            time.sleep(0.3)
            os.write(tty, steps.pop(0)[1].encode())
        if not select.select([tty], [], [], 0.2)[0]:
            continue
        try:
            more = os.read(tty, 65536)
        except OSError:
            break
        if not more:
            break
        shown += more
        sys.stdout.write(more.decode(errors="replace"))
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    print("[exit %d, left %d]" % (code, len(steps)))
"#;

fn at_terminal(login: &str, args: &str, steps: &str) -> crate::host::Ran {
    python(login, &format!("{TERMINAL}\nterminal({args}, {steps})"))
}

const STRICT: &str = r#"
[[rules]]
name = "strict"
match = { environments = ["production"] }
approvers = ["role:admin"]
max_duration = "2h"
ticket = "OPS-[0-9]+"
"#;

#[test]
fn the_form_and_the_queue_go_through_the_socket() {
    let Some(host) = Host::new() else { return };
    host.apply("ana", &format!("{TEAM}{STRICT}")).ok();
    let steps = r#"[("need?", "orders-db\r"), ("at most 2h", ""), ("how long?", "\r"), ("Why?", "stuck orders\r"),
        ("Which ticket?", "OPS-12\r"), ("File this request?", "\r")]"#;
    at_terminal("bob", r#"["request"]"#, steps).says("[exit 0, left 0]").says("waiting on alice, ana");
    let request = access("bob", &["show", "1", "--json"]).ok().json();
    assert_eq!((&request["duration"], &request["ticket"]), (&"1h".into(), &"OPS-12".into()));

    access("bob", &["request", "orders-db", "--reason", "x"]).fails(5, "pending already");
    access("carol", &["request", "orders", "--reason", "x"]).fails(4, "no resource with the name orders");

    // Up to the first choice, which is to approve.
    let steps = r#"[("Request 1 (1 of 1)", "\x1b[H\r")]"#;
    at_terminal("alice", r#"["approve"]"#, steps).says("[exit 0, left 0]").says("Request 1 approved");
    at_terminal("alice", r#"["approve"]"#, "[]").says("No requests wait for you").says("[exit 0, left 0]");
}

#[test]
fn who_is_no_member_learns_nothing_from_what_a_form_asks() {
    let Some(host) = Host::new() else { return };
    host.apply("ana", &TEAM.replace("[members.bob]\n", "[members.bob]\ndisabled = true\n")).ok();
    let needs = |resource: &str| {
        format!(
            r#"{{"Needs": {{"resource": "{resource}", "requester": None, "start": None, "end": None, "emergency": False}}}}"#
        )
    };
    for login in ["mallory", "bob"] {
        let says = if login == "bob" { "bob is disabled" } else { "not a member" };
        let answer = |command: &str| python(login, &format!("print(say(command({command})))")).ok().says(says).out;
        assert_eq!(answer(&needs("target:orders-db")), answer(&needs("target:no-such")));
        assert_eq!(answer(r#"{"Find": {"name": "orders-db"}}"#), answer(r#"{"Find": {"name": "no-such"}}"#));
        answer(r#""Queue""#);
    }
    // A member who names another one learns no more than a request for that one would tell.
    for other in ["alice", "nobody"] {
        let command = needs("target:orders-db").replace("\"requester\": None", &format!("\"requester\": \"{other}\""));
        python("carol", &format!("print(say(command({command})))")).ok().says("only admins and the owner may file");
    }
}
