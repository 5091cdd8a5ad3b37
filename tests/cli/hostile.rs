//! Delivery to servers that lie, and from configurations that are wrong: no secret is kept or shown, nothing counts as sent
//! that was not confirmed, nothing is lost, and nothing hangs.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::faults::certificate;
use crate::harness::{ACCESS, TEAM, World, shows};
use crate::post::{Server, ask, configure, fresh, hurry, private, slack, smtp, webhook};

const PASSWORD: &str = "correct-horse-battery";
/// That password in base64, and what AUTH PLAIN sends.
const ENCODED: [&str; 2] = ["Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5", "AGFjY2VzcwBjb3JyZWN0LWhvcnNlLWJhdHRlcnk="];

/// alice and erin have mail waiting, and nobody anything else.
fn two_mails() -> World {
    let world = fresh(&TEAM.replace("slack = \"U0ALICE\"", ""));
    world.request("alice", "target:orders-db", &["--for", "carol"]);
    world
}

fn again(world: &World) {
    world.rows("UPDATE outbox SET due_at = (SELECT max(at) FROM event), attempts = 0, dead = 0, error = NULL");
}

fn errors(world: &World) -> Vec<String> {
    world.rows("SELECT error FROM outbox WHERE error IS NOT NULL ORDER BY id")
}

fn counts(world: &World) -> (i64, i64) {
    let count = |clause: &str| world.rows(&format!("SELECT count(*) FROM outbox WHERE {clause}"))[0].parse().unwrap();
    (count("NOT dead"), count("dead"))
}

/// SMTP with a password, in plain text to this machine.
fn with_login(world: &World, port: u16) -> String {
    let password = private(world, "smtp-password", PASSWORD);
    format!("{}user = \"access\"\npassword_file = \"{password}\"\nallow_plain = true\n", smtp(port))
}

#[test]
fn a_password_that_a_mail_server_repeats_is_neither_kept_nor_shown() {
    for (mode, code) in [("echo-plain", "535"), ("echo-login", "535"), ("echo-later", "553"), ("echo-split", "550")] {
        let world = two_mails();
        let server = Server::hostile_mail(&world, mode, &[]);
        configure(&world, &[with_login(&world, server.port), hurry("5s", "2s")].concat());
        let ran = world.run("root", &["deliver"]).exits(1);
        let tested = world.run("alice", &["notify", "test"]).exits(1);
        let outbox = [&["outbox"][..], &["outbox", "--dead"], &["outbox", "--json"], &["outbox", "--dead", "--json"]];
        let mut shown: String = outbox.iter().map(|args| world.run("root", args).ok().out).collect();
        shown += &[ran.out, ran.err, tested.out.clone(), tested.err.clone()].concat();
        shown += &world.run("root", &["doctor"]).out;
        assert!(
            errors(&world)[0].contains(code) && tested.out.contains(code),
            "{mode}: {:?} {tested:?}",
            errors(&world)
        );
        let file = fs::read(world.db()).unwrap();
        let wal = fs::read(world.folder().join("access.db-wal")).unwrap_or_default();
        let kept = [shown.as_bytes(), &file, &wal].concat();
        let kept: String = String::from_utf8_lossy(&kept).split_whitespace().collect();
        for secret in [PASSWORD, ENCODED[0], ENCODED[1]] {
            assert!(!kept.contains(secret), "{mode}: {secret}: {:?}", errors(&world));
        }
        assert!(
            server.lines().iter().any(|line| line.contains(ENCODED[0]) || line.contains(ENCODED[1])),
            "it was sent"
        );
    }
}

#[test]
fn plain_text_from_before_starttls_is_not_read_after_it() {
    let world = two_mails();
    let [ca, cert, key] = certificate(&world, "IP:127.0.0.1");
    for mode in ["inject", "inject-part", "inject-late"] {
        let server = Server::hostile_mail(&world, mode, &[&cert, &key]);
        let text = smtp(server.port).replace("\"none\"", "\"starttls\"");
        configure(&world, &[text, format!("ca_file = \"{ca}\"\n"), hurry("5s", "2s")].concat());
        again(&world);
        let ran = world.run("root", &["deliver", "--json"]).exits(1);
        shows(&ran.json(), &json!({ "delivered": 0, "failed": 1, "dead": 0 }));
        assert_eq!(counts(&world), (2, 0), "{mode}");
        assert!(server.lines().contains(&"STARTTLS".to_owned()), "{mode}");
        assert!(!server.lines().iter().any(|line| line.contains("MAIL FROM")), "{mode}: {:?}", server.lines());
    }
}

#[test]
fn answers_that_come_ahead_of_their_commands_or_are_of_another_class_confirm_nothing() {
    for mode in ["ahead", "no-end"] {
        let world = two_mails();
        let server = Server::hostile_mail(&world, mode, &[]);
        configure(&world, &[smtp(server.port), hurry("5s", "2s")].concat());
        let ran = world.run("root", &["deliver", "--json"]).exits(1);
        shows(&ran.json(), &json!({ "delivered": 0, "failed": 1, "dead": 0 }));
        assert_eq!(counts(&world), (2, 0), "{mode}: {:?}", errors(&world));
    }
}

#[test]
fn a_mail_server_that_never_ends_its_answer_is_left() {
    for mode in ["endless", "long-line"] {
        let world = two_mails();
        let server = Server::hostile_mail(&world, mode, &[]);
        configure(&world, &[smtp(server.port), hurry("5s", "3s")].concat());
        world.run("root", &["deliver", "--json"]).exits(1);
        // By its length, not by the time.
        assert!(errors(&world)[0].contains("too long"), "{mode}: {:?}", errors(&world));
    }
}

#[test]
fn what_a_server_says_is_bounded_and_escaped() {
    let world = two_mails();
    let mail = Server::hostile_mail(&world, "rude", &[]);
    configure(&world, &[smtp(mail.port), hurry("5s", "2s")].concat());
    world.run("root", &["deliver"]).exits(1);
    let error = &errors(&world)[0];
    assert!(error.contains("550 5.1.1 \\u{1b}]0;x\\u{7}\\u{202e}\\u{200b}"), "{error}");
    assert!(error.chars().count() <= 300 && !error.contains(['\u{1b}', '\u{7}', '\u{202e}', '\u{200b}']), "{error}");
    let tested = world.run("alice", &["notify", "test"]).exits(1);
    assert!(tested.out.contains("550 5.1.1 \\u{1b}]0;x") && !tested.out.contains('\u{1b}'), "{tested:?}");
}

#[test]
fn a_wrong_password_or_sender_gives_up_no_mail() {
    let world = two_mails();
    let mail = Server::mail(&world, &["--login", "access", "another"]);
    configure(&world, &with_login(&world, mail.port));
    for _ in 0..3 {
        shows(&world.run("root", &["deliver", "--json"]).exits(1).json(), &json!({ "failed": 1, "dead": 0 }));
        world.rows("UPDATE outbox SET due_at = 0");
    }
    assert_eq!(counts(&world), (2, 0));
    // A relay that asks for a login says so of each recipient.
    configure(&world, &smtp(mail.port));
    shows(&world.run("root", &["deliver", "--json"]).exits(1).json(), &json!({ "dead": 0 }));
    let mail = Server::mail(&world, &["--login", "access", PASSWORD]);
    configure(&world, &with_login(&world, mail.port));
    again(&world);
    shows(&world.json("root", &["deliver"]), &json!({ "delivered": 2 }));
}

#[test]
fn no_answer_of_a_webhook_loses_its_backlog() {
    let world = fresh(TEAM);
    let (moved, real) = (Server::web(&world), Server::web(&world));
    let hook = |port: u16| {
        let url = format!("http://127.0.0.1:{port}/hook");
        configure(&world, &[webhook(&world, "siem", &url, "\"request.submitted\""), hurry("5s", "2s")].concat());
    };
    let secret = format!("http://user:{PASSWORD}@elsewhere.example:8443/{PASSWORD}\u{e9}");
    for (count, rule) in [
        json!({ "status": 301, "headers": { "Location": "https://elsewhere.example/hook/token" } }),
        json!({ "status": 302, "headers": { "Location": secret } }),
        json!({ "status": 307, "headers": { "Location": "/hook/token" } }),
        json!({ "status": 308, "headers": { "Location": format!("https://{}.example/", "a".repeat(5000)) } }),
        json!({ "status": 304 }),
        json!({ "status": 300 }),
        json!({ "status": 400, "body": PASSWORD }),
        json!({ "status": 401 }),
        json!({ "status": 403 }),
        json!({ "status": 404 }),
        json!({ "status": 410 }),
        json!({ "status": 413 }),
        json!({ "status": 429 }),
        json!({ "status": 500 }),
        json!({ "status": 503, "headers": { "Retry-After": "60" } }),
        json!({ "status": 511 }),
    ]
    .into_iter()
    .enumerate()
    {
        hook(moved.port);
        world.run("root", &["deliver"]);
        fs::write(world.folder().join("web.rules"), json!({ "/hook": rule }).to_string()).unwrap();
        let asked: Vec<String> = ["bob", "carol", "dave"].map(|login| ask(&world, login, &["--reason", "x"])).into();
        for _ in 0..2 {
            let ran = world.run("root", &["deliver", "--json"]).exits(1);
            shows(&ran.json(), &json!({ "delivered": 0, "dead": 0 }));
            world.rows("UPDATE outbox SET due_at = 0 WHERE subscriber GLOB 'webhook*'");
        }
        let error = errors(&world)[0].clone();
        let status = rule["status"].to_string();
        assert!(error.contains(&status) && error.chars().count() <= 300, "{error}");
        assert!(!error.contains("token") && !error.contains(PASSWORD), "{error}");
        assert_eq!(error.contains("a redirect"), (300..400).contains(&rule["status"].as_i64().unwrap()), "{error}");
        assert_eq!(error.contains("a redirect to elsewhere.example,"), count == 0, "{error}");
        // Once it is put right, all of it comes, in order.
        fs::write(world.folder().join("web.rules"), "{}").unwrap();
        hook(real.port);
        shows(&world.json("root", &["deliver"]), &json!({ "delivered": 3, "failed": 0 }));
        let came: Vec<Value> = real.bodies("/hook").iter().map(|body| body["data"]["request"].clone()).collect();
        let came: Vec<String> = came[came.len() - 3..].iter().map(Value::to_string).collect();
        assert_eq!(came, asked);
        for (login, id) in ["bob", "carol", "dave"].into_iter().zip(&asked) {
            world.run(login, &["withdraw", id]).ok();
        }
    }
}

#[test]
fn a_token_that_slack_or_a_proxy_sends_back_is_not_kept() {
    let world = fresh(TEAM);
    let web = Server::web(&world);
    configure(&world, &slack(&world, web.port));
    ask(&world, "bob", &["--reason", "x"]);
    for body in [
        "{\"ok\":false,\"error\":\"xoxb-secret-token\"}",
        "xoxb-secret-token",
        "{\"error\":\"invalid xoxb-secret-token\"}",
    ] {
        let rule = json!({ "/api/chat.postMessage": { "body": body } });
        fs::write(world.folder().join("web.rules"), rule.to_string()).unwrap();
        again(&world);
        let ran = world.run("root", &["deliver"]).exits(1);
        let tested = world.run("alice", &["notify", "test"]).exits(1);
        let shown = [errors(&world).concat(), ran.out, ran.err, tested.out, tested.err].concat();
        assert!(!shown.contains("secret-token") && !shown.contains("secrettoken"), "{shown}");
        assert_eq!(counts(&world).1, 0, "nothing is given up for it");
    }
}

#[test]
fn a_proxy_of_the_environment_sees_nothing_in_plain_text() {
    let world = fresh(TEAM);
    let (web, proxy) = (Server::web(&world), Server::web(&world));
    let url = format!("http://127.0.0.1:{}/hook", web.port);
    configure(&world, &[webhook(&world, "siem", &url, "\"request.submitted\""), slack(&world, web.port)].concat());
    ask(&world, "bob", &["--reason", "x"]);
    let mut deliver = world.command("root", &["deliver"]);
    for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "https_proxy", "HTTPS_PROXY"] {
        deliver.env(name, format!("http://127.0.0.1:{}", proxy.port));
    }
    assert!(deliver.output().unwrap().status.success());
    assert_eq!((web.got().len(), proxy.lines().len()), (2, 0));
}

#[test]
fn plain_text_goes_to_no_port_that_anybody_can_take() {
    let world = fresh(TEAM);
    ask(&world, "bob", &["--reason", "x"]);
    // Somebody listens where the service is down: they get nothing.
    let (squatter, mail) = (Server::web(&world), Server::mail(&world, &["--login", "access", PASSWORD]));
    let url = format!("http://127.0.0.1:{}/hook", squatter.port);
    let says = "any program that listens";
    let without = |text: String| text.replace("allow_plain = true\n", "");
    let hook = |url: &str| without(webhook(&world, "siem", url, "\"request.submitted\""));
    for url in [url.clone(), url.replace("127.0.0.1", "localhost"), "http://[::1]:8080/".to_owned()] {
        configure(&world, &hook(&url));
        let ran = world.run("root", &["deliver"]).fails(65, says);
        assert!(ran.err.contains("allow_plain = true"), "{}", ran.err);
    }
    configure(&world, &without(slack(&world, squatter.port)));
    world.run("root", &["deliver"]).fails(65, says);
    let address = private(&world, "address", &format!("{url}/secret-path"));
    configure(&world, &format!("[slack.webhooks]\n\"#ops\" = \"{address}\"\n"));
    let ran = world.run("root", &["deliver"]).fails(65, says);
    assert!(!ran.err.contains("secret-path"), "{}", ran.err);
    configure(&world, &without(with_login(&world, mail.port)));
    world.run("root", &["deliver"]).fails(65, says);
    assert!(squatter.got().is_empty() && mail.got().is_empty());

    // Without a password, or to a port that only root can take, or where it is allowed.
    configure(&world, &hook("http://127.0.0.1:1023/hook"));
    world.run("root", &["deliver"]).exits(1);
    configure(&world, &with_login(&world, mail.port));
    let ran = world.run("root", &["deliver", "--json"]);
    assert_eq!(mail.got().len(), 3, "{ran:?} {:?}", errors(&world));
}

/// Ends within a few seconds, or the test fails.
fn soon(mut command: Command) -> std::process::Output {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(10);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > until {
            child.kill().unwrap();
            panic!("it hangs: {command:?}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.wait_with_output().unwrap()
}

fn pipe(world: &World, name: &str) -> String {
    let path = world.folder().join(name);
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRUSR | nix::sys::stat::Mode::S_IWUSR).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_configured_file_that_is_no_file_or_has_no_end_keeps_nobody_waiting() {
    let world = two_mails();
    let pipe = pipe(&world, "pipe");
    let large = private(&world, "large", &"x".repeat(5 << 20));
    let token = private(&world, "token", "xoxb-secret-token");
    for file in [pipe.as_str(), "/dev/zero", "/", &large] {
        let hook = "[[webhooks]]\nname = \"x\"\nurl = \"https://x.invalid/\"\nevents = []\n";
        let mail = "[smtp]\nhost = \"127.0.0.1\"\nport = 1\nfrom = \"a@b.example\"\n";
        for config in [
            format!("{hook}secret_file = \"{file}\"\n"),
            format!("{mail}user = \"a\"\npassword_file = \"{file}\"\n"),
            format!("[slack]\ntoken_file = \"{file}\"\n"),
            format!("[slack.webhooks]\n\"#ops\" = \"{file}\"\n"),
        ] {
            configure(&world, &config);
            let ran = soon(world.command("root", &["deliver"]));
            let err = String::from_utf8_lossy(&ran.stderr);
            assert_eq!(ran.status.code(), Some(65), "{config}: {err}");
            assert!(
                err.contains("is not a regular file") || err.contains("is longer than 16384 bytes"),
                "{config}: {err}"
            );
        }
        // An authority is read when there is something to send.
        again(&world);
        configure(&world, &format!("{mail}encryption = \"tls\"\nca_file = \"{file}\"\n"));
        let ran = soon(world.command("root", &["deliver"]));
        let error = errors(&world).first().cloned().unwrap_or_else(|| panic!("{file}: {ran:?}"));
        // Everybody can write /dev/zero.
        let whys = ["is not a regular file", "is longer than", "can be written by others"];
        assert!(whys.iter().any(|why| error.contains(why)), "{file}: {error}");
    }
    // The value in place of its file's name is not shown.
    for (key, value) in
        [("token_file", "xoxb-secret-token"), ("token_file", "https://hooks.slack.example/secret-token")]
    {
        configure(&world, &format!("[slack]\n{key} = \"{value}\"\n"));
        let ran = world.run("root", &["deliver"]).fails(65, "a secret where the name of a file belongs");
        assert!(!ran.err.contains("secret-token"), "{}", ran.err);
    }
    configure(&world, &format!("[slack]\ntoken_file = \"{token}\"\n"));
    world.run("root", &["deliver"]).ok();

    // The configuration itself.
    let config = world.folder().join(".config/access/config.toml");
    for file in [pipe.as_str(), "/dev/zero", &large] {
        fs::remove_file(&config).unwrap();
        std::os::unix::fs::symlink(file, &config).unwrap();
        let ran = soon(world.command("root", &["deliver"]));
        let err = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(ran.status.code(), Some(65), "{file}: {err}");
        assert!(err.contains("is not a regular file") || err.contains("is longer than"), "{file}: {err}");
    }
}

#[test]
fn a_file_on_the_command_line_may_come_from_a_command_and_never_hangs() {
    let world = World::sample();
    let pipe = pipe(&world, "pipe");
    for args in [
        &["team", "apply", &pipe, "--yes"][..],
        &["audit", "verify", "--against", &pipe],
        &["doctor", "--against", &pipe],
        &["team", "apply", "/dev/zero", "--yes"],
        &["audit", "verify", "--against", "/dev/zero"],
    ] {
        let ran = soon(world.command("olivia", args));
        let err = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.code() == Some(65) && err.contains("is not a regular file"), "{args:?}: {err}");
    }
    let through = |script: &str| {
        let mut bash = world.command("olivia", &[]);
        bash.env("ACCESS", ACCESS);
        let mut shell = Command::new("bash");
        shell.args(["-c", script]).current_dir(world.folder()).env_clear();
        for (name, value) in bash.get_envs() {
            if let Some(value) = value {
                shell.env(name, value);
            }
        }
        let ran = soon(shell);
        assert!(ran.status.success(), "{script}: {}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).unwrap()
    };
    let file = world.run("olivia", &["team", "show"]).ok().out.replace("name = \"acme\"", "name = \"umbrella\"");
    fs::write(world.folder().join("new.toml"), file).unwrap();
    assert!(through("\"$ACCESS\" team apply --dry-run <(sleep 0.3; cat new.toml)").contains("acme → umbrella"));
    assert!(through("cat new.toml | \"$ACCESS\" team apply --dry-run -").contains("acme → umbrella"));
    assert!(through("cat new.toml | \"$ACCESS\" team apply --dry-run /dev/stdin").contains("acme → umbrella"));
    through("\"$ACCESS\" audit checkpoint > kept; \"$ACCESS\" audit verify --against <(sleep 0.3; cat kept)");
}
