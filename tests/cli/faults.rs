//! Delivery to servers that are absent, hang, lie or break off: nothing is lost, nothing is doubled that was answered, and
//! every run ends in time.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{TEAM, World, shows};
use crate::post::{Server, ask, configure, fresh, header, hurry, private, slack, smtp, webhook};

/// alice and erin have mail waiting, and nobody anything else.
fn two_mails() -> World {
    let world = fresh(&TEAM.replace("slack = \"U0ALICE\"", ""));
    world.request("alice", "target:orders-db", &["--for", "carol"]);
    world.rows("UPDATE outbox SET due_at = 0");
    world
}

fn counts(world: &World) -> (i64, i64) {
    let count = |clause: &str| world.rows(&format!("SELECT count(*) FROM outbox WHERE {clause}"))[0].parse().unwrap();
    (count("NOT dead"), count("dead"))
}

#[test]
fn a_mail_server_that_goes_wrong_at_any_step() {
    let steps = ["greeting", "ehlo", "mail", "rcpt", "data", "body", "taken"];
    std::thread::scope(|scope| {
        for step in steps {
            scope.spawn(move || {
                for fault in ["hang", "close", "drip", "nonsense", "421", "451", "550"] {
                    one_fault(step, fault);
                }
            });
        }
    });
}

fn one_fault(step: &str, fault: &str) {
    let world = two_mails();
    let broken = Server::broken_mail(&world, step, fault);
    configure(&world, &[smtp(broken.port), hurry("2s", "1s")].concat());
    let begun = Instant::now();
    let ran = world.run("root", &["deliver", "--json"]).exits(1);
    let took = begun.elapsed();
    let place = format!("{fault} at {step}: {ran:?}");
    assert!(took < Duration::from_secs(15), "{took:?}: {place}");
    let (waiting, dead) = counts(&world);
    assert_eq!(waiting + dead, 2, "{place}");
    // What is refused before the server knows of a recipient is about all messages: none is given up for it.
    assert_eq!(dead > 0, fault == "550" && !["greeting", "ehlo", "mail"].contains(&step), "{place}");
    let error = world.rows("SELECT error FROM outbox WHERE attempts > 0 LIMIT 1");
    assert!(!error.is_empty() && !error[0].is_empty(), "{place}");

    // The server is mended: everything comes, and what comes twice has the same id.
    let good = Server::mail(&world, &[]);
    configure(&world, &smtp(good.port));
    world.run("root", &["outbox", "retry"]).ok();
    world.pass("2m");
    shows(&world.json("root", &["deliver"]), &json!({ "failed": 0 }));
    assert_eq!(counts(&world), (0, 0), "{place}");
    let id = |mail: &Value| format!("Message-ID: {}", header(mail["data"].as_str().unwrap(), "Message-ID").unwrap());
    let came: BTreeSet<String> = good.got().iter().map(id).collect();
    assert_eq!((came.len(), good.got().len()), (2, 2), "{place}");
    for twice in broken.lines() {
        assert!(came.contains(&twice), "{place}: {twice} {came:?}");
    }
}

#[test]
fn a_mail_server_that_is_not_there() {
    let world = two_mails();
    for (host, port) in [("127.0.0.1", 1), ("no-such-host.invalid", 25)] {
        configure(
            &world,
            &format!(
                "[smtp]\nhost = \"{host}\"\nport = {port}\nencryption = \"none\"\nfrom = \"a@b.example\"\n{}",
                hurry("5s", "2s")
            ),
        );
        world.rows("UPDATE outbox SET due_at = 0");
        let ran = world.run("root", &["deliver", "--json"]).exits(1);
        shows(&ran.json(), &json!({ "delivered": 0, "failed": 1, "dead": 0 }));
    }
    // It is one way that is shut; what is decided stands all the same, and cron is content.
    let ran = world.run("root", &["expire"]).ok();
    assert_eq!(counts(&world), (2, 0), "{ran:?}");
}

/// A certificate of its own authority's, for this name. Gives the paths of authority, certificate and key.
pub fn certificate(world: &World, name: &str) -> [String; 3] {
    let path = |file: &str| world.folder().join(format!("{name}-{file}")).to_str().unwrap().to_owned();
    let (ca, ca_key, cert, key, request, extension) =
        (path("ca.pem"), path("ca.key"), path("cert.pem"), path("key.pem"), path("request"), path("ext"));
    fs::write(&extension, format!("subjectAltName={name}\nbasicConstraints=CA:FALSE\n")).unwrap();
    let openssl = |args: &[&str]| {
        let ran = Command::new("openssl").args(args).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    };
    let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let own = ["req", "-x509", "-days", "30", "-subj", "/CN=test authority", "-keyout", &ca_key, "-out", &ca];
    openssl(&[&own[..], &curve].concat());
    openssl(&[&["req", "-subj", "/CN=test", "-keyout", &key, "-out", &request][..], &curve].concat());
    openssl(&[
        "x509",
        "-req",
        "-days",
        "30",
        "-in",
        &request,
        "-CA",
        &ca,
        "-CAkey",
        &ca_key,
        "-CAcreateserial",
        "-extfile",
        &extension,
        "-out",
        &cert,
    ]);
    [ca, cert, key]
}

#[test]
fn mail_over_starttls_and_tls_with_an_authority_of_ones_own_and_a_password() {
    let world = two_mails();
    let [ca, cert, key] = certificate(&world, "IP:127.0.0.1");
    let [other_ca, other_cert, other_key] = certificate(&world, "DNS:other.example");
    let password = private(&world, "smtp-password", "correct horse\n");
    let config = |port: u16, encryption: &str, ca: &str, password: &str| {
        format!(
            "[smtp]\nhost = \"127.0.0.1\"\nport = {port}\nencryption = \"{encryption}\"\nca_file = \"{ca}\"\n\
             user = \"access\"\npassword_file = \"{password}\"\nfrom = \"access@acme.example\"\n{}",
            hurry("10s", "3s")
        )
    };
    let login = ["--login", "access", "correct horse"];
    let starttls = Server::mail(&world, &[&["--starttls", &cert, &key][..], &login].concat());
    let fails = |says: &str| {
        world.rows("UPDATE outbox SET due_at = 0, attempts = 0, dead = 0");
        let ran = world.run("root", &["deliver", "--json"]).exits(1);
        let error = world.rows("SELECT error FROM outbox WHERE attempts > 0")[0].clone();
        assert!(error.contains(says), "{says}: {error}");
        let shown = [ran.out, ran.err, error, world.run("root", &["outbox"]).out].concat();
        assert!(!shown.contains("correct horse"), "{shown}");
    };

    configure(&world, &config(starttls.port, "starttls", &other_ca, &password));
    fails("certificate");
    let wrong = private(&world, "wrong-password", "incorrect horse");
    configure(&world, &config(starttls.port, "starttls", &ca, &wrong));
    fails("535");
    let other = Server::mail(&world, &[&["--starttls", &other_cert, &other_key][..], &login].concat());
    configure(&world, &config(other.port, "starttls", &other_ca, &password));
    fails("certificate");
    let plain = Server::mail(&world, &[]);
    configure(&world, &config(plain.port, "starttls", &ca, &password));
    fails("STARTTLS");
    assert!(starttls.got().is_empty() && other.got().is_empty() && plain.got().is_empty());

    world.rows("UPDATE outbox SET due_at = 0, attempts = 0, dead = 0");
    configure(&world, &config(starttls.port, "starttls", &ca, &password));
    shows(&world.json("root", &["deliver"]), &json!({ "delivered": 2, "failed": 0 }));
    assert!(starttls.got().iter().all(|mail| mail["tls"] == true));

    let tls = Server::mail(&world, &["--tls", &cert, &key]);
    let text = config(tls.port, "tls", &ca, &password);
    let text: Vec<&str> =
        text.lines().filter(|line| !line.starts_with("user") && !line.starts_with("password")).collect();
    configure(&world, &text.join("\n"));
    world.request("alice", "target:billing-db", &["--for", "carol"]);
    shows(&world.json("root", &["deliver"]), &json!({ "delivered": 2, "failed": 0 }));
    assert_eq!(tls.got().len(), 2);

    // A password is not sent for all to read.
    configure(&world, &config(25, "none", &ca, &password).replace("127.0.0.1", "mail.example"));
    world.run("root", &["deliver"]).fails(65, "would show its password on the way");
}

#[test]
fn a_webhook_that_goes_wrong() {
    let world = fresh(TEAM);
    let web = Server::web(&world);
    let url = |path: &str| format!("http://127.0.0.1:{}{path}", web.port);
    let rules = json!({
        "/hang": { "fault": "hang" }, "/close": { "fault": "close" }, "/drip": { "fault": "drip" },
        "/half": { "fault": "half" }, "/500": { "status": 500 }, "/404": { "status": 404 },
        "/429": { "status": 429, "headers": { "Retry-After": "120" } },
        "/410": { "status": 410 },
        "/redirect": { "status": 307, "headers": { "Location": url("/elsewhere") } },
        "/redirect-get": { "status": 302, "headers": { "Location": url("/elsewhere") } },
    });
    fs::write(world.folder().join("web.rules"), rules.to_string()).unwrap();
    let names = ["hang", "close", "drip", "half", "500", "404", "429", "410", "redirect", "redirect-get", "good"];
    let hooks = names.map(|name| webhook(&world, name, &url(&format!("/{name}")), "\"request.submitted\""));
    configure(&world, &[hurry("6s", "2s"), hooks.concat()].concat());
    for name in names {
        world.rows(&format!("INSERT INTO subscriber SELECT 'webhook:{name}', last_seq FROM team"));
    }
    ask(&world, "bob", &["--reason", "one"]);
    ask(&world, "carol", &["--reason", "two"]);
    world.rows("DELETE FROM outbox");
    let begun = Instant::now();
    world.run("root", &["deliver"]).exits(1);
    assert!(begun.elapsed() < Duration::from_secs(11), "each waits for itself alone: {:?}", begun.elapsed());
    let rows = |name: &str| {
        let sql = format!("SELECT attempts, dead, error FROM outbox WHERE subscriber = 'webhook:{name}' ORDER BY id");
        world.rows(&sql)
    };
    assert!(rows("good").is_empty());
    for (name, first) in [
        ("hang", "1|0|no answer in time"),
        ("drip", "1|0|no answer in time"),
        ("500", "1|0|it answered 500"),
        ("404", "1|0|it answered 404"),
        ("410", "1|0|it answered 410: the receiver is gone; remove the webhook from config.toml, or change its url"),
        (
            "redirect",
            "1|0|it answered 307, a redirect to 127.0.0.1, which is not followed: change the address in config.toml",
        ),
        (
            "redirect-get",
            "1|0|it answered 302, a redirect to 127.0.0.1, which is not followed: change the address in config.toml",
        ),
        ("429", "0|0|it answered 429"),
    ] {
        assert_eq!(rows(name)[0], first, "{name}");
        assert_eq!(rows(name).len(), 2, "{name}");
    }
    for name in ["close", "half"] {
        assert!(rows(name)[0].starts_with("1|0|") && rows(name).len() == 2, "{:?}", rows(name));
    }
    assert!(web.bodies("/elsewhere").is_empty(), "no redirect is followed");
    assert_eq!(web.bodies("/good").len(), 2);
    // What comes again has the same id, and nothing goes before it.
    fs::write(world.folder().join("web.rules"), "{}").unwrap();
    let first = |path: &str| {
        let got = web.got().into_iter().filter(|request| request["path"] == path);
        got.map(|request| request["headers"]["webhook-id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let before = first("/500");
    world.pass("3m");
    world.run("root", &["deliver"]).ok();
    assert_eq!(first("/500").len(), 3);
    assert_eq!(first("/500")[..2], [before[0].clone(), before[0].clone()]);
    assert_eq!(web.bodies("/429").len(), 3);
}

#[test]
fn a_webhook_is_encrypted_unless_it_stays_here_or_is_allowed_by_name() {
    let world = fresh(TEAM);
    let hook = |url: &str, more: &str| {
        configure(&world, &[webhook(&world, "siem", url, "\"request.submitted\""), more.to_owned()].concat());
        world.run("root", &["deliver"])
    };
    hook("http://siem.example/in", "").fails(65, "http:// to siem.example would show all of it on the way");
    hook("http://127.0.0.1.evil.example/in", "").fails(65, "would show all of it");
    hook("ftp://siem.example/in", "").fails(65, "its url begins with https://");
    hook("https://siem.invalid/in", &hurry("3s", "1s")).ok();
    hook("http://siem.invalid/in", "allow_http = [\"siem.invalid\"]\n").ok();
    let secret = private(&world, "webhook-secret", "not a secret");
    configure(
        &world,
        &format!("[[webhooks]]\nname = \"x\"\nurl = \"https://x.invalid\"\nevents = []\nsecret_file = \"{secret}\"\n"),
    );
    let ran = world.run("root", &["deliver"]).fails(65, "its secret is not whsec_");
    assert!(!ran.err.contains("not a secret"));
    configure(&world, "[[webhooks]]\nname = \"x\"\nurl = \"https://x.invalid\"\nevents = [\"request.gone\"]\n");
    world.run("root", &["deliver"]).fails(65, "not a notification event");
}

#[test]
fn a_webhook_with_a_certificate_of_ones_own_authority() {
    let world = fresh(TEAM);
    let [ca, cert, key] = certificate(&world, "IP:127.0.0.1");
    let [other_ca, ..] = certificate(&world, "DNS:other.example");
    let web = Server::web_encrypted(&world, &cert, &key);
    let url = format!("https://127.0.0.1:{}/hook", web.port);
    ask(&world, "bob", &["--reason", "x"]);
    let config = |ca: &str| {
        let hook = webhook(&world, "siem", &url, "\"request.submitted\"");
        configure(&world, &format!("{hook}ca_file = \"{ca}\"\n{}", hurry("10s", "3s")));
    };
    config(&other_ca);
    world.run("root", &["deliver"]).exits(1);
    let error = world.rows("SELECT error FROM outbox WHERE subscriber = 'webhook:siem'");
    assert!(error[0].contains("certificate"), "{error:?}");
    config(&ca);
    world.pass("2m");
    shows(&world.json("root", &["deliver"]), &json!({ "delivered": 1, "failed": 0 }));
    assert_eq!(web.got().len(), 1);
}

#[test]
fn a_hundred_to_a_server_that_hangs_keep_nobody_else() {
    let world = fresh(TEAM);
    let (mail, web) = (Server::broken_mail(&world, "rcpt", "drip"), Server::web(&world));
    configure(&world, &[smtp(mail.port), slack(&world, web.port), hurry("3s", "2s")].concat());
    world.rows(
        "INSERT INTO notification (id, seq, member, kind)
             WITH RECURSIVE n(i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM n WHERE i < 199)
             SELECT i, 2, 'bob', 'access.started' FROM n;
         INSERT INTO outbox (notification, seq, topic, subscriber, due_at) SELECT id, seq, kind, 'email', 0 FROM notification WHERE id >= 100;
         INSERT INTO outbox (notification, seq, topic, subscriber, due_at) SELECT id, seq, kind, 'slack', 0 FROM notification WHERE id >= 100;",
    );
    let begun = Instant::now();
    let ran = world.run("root", &["deliver", "--json"]).exits(1);
    // Each by itself would take 200 s.
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    shows(&ran.json(), &json!({ "delivered": 100, "failed": 1, "dead": 0 }));
    assert_eq!(web.got().len(), 100);
    assert_eq!(counts(&world), (100, 0));
}

#[test]
fn nobody_who_asks_or_decides_waits_for_a_server() {
    let world = fresh(TEAM);
    let dead = Server::broken_mail(&world, "greeting", "hang");
    configure(&world, &[smtp(dead.port), hurry("20s", "15s")].concat());
    ask(&world, "bob", &["--reason", "x"]);
    let mut sending = world.command("root", &["deliver"]);
    let mut sending = sending.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    let id = ask(&world, "carol", &["--reason", "x"]);
    world.run("alice", &["approve", &id]).ok();
    assert_eq!(sending.try_wait().unwrap(), None, "it was being sent all the while");
    sending.kill().unwrap();
    sending.wait().unwrap();
}

#[test]
fn text_that_would_act_on_a_header_or_a_page_does_not() {
    let world = fresh(TEAM);
    let (mail, web) = (Server::mail(&world, &[]), Server::web(&world));
    let hook = webhook(&world, "siem", &format!("http://127.0.0.1:{}/hook", web.port), "\"request.submitted\"");
    configure(&world, &[smtp(mail.port), slack(&world, web.port), hook].concat());
    for reason in ["x\r\nBcc: eve@evil.example", "x\u{202e}y", "x\u{1b}[31m"] {
        let refused = world.run("bob", &["request", "target:orders-db", "--reason", reason]);
        refused.fails(2, "a character that is not allowed");
    }
    world.run("bob", &["request", "target:orders-db", "-r", "x", "--ticket", "OPS\nBcc: eve"]).exits(2);
    let hostile = [
        "x\nBcc: eve@evil.example\n\n.\nMAIL FROM:<eve@evil.example>",
        "<!channel> <!here> <@U0ALICE> <https://evil.example|click>",
        "=cmd|' /C calc'!A0",
        "<img src=x onerror=alert(1)>",
        "שלום עולם",
        "pay\u{200b}roll \u{feff}\u{e0041}",
        &"é".repeat(2048),
    ];
    for (reason, login) in hostile.iter().zip(["bob", "carol", "dave", "frank", "grace", "heidi", "ivan"]) {
        ask(&world, login, &["--reason", reason, "--ticket", "<!channel>"]);
    }
    shows(&world.json("root", &["deliver"]), &json!({ "failed": 0, "dead": 0 }));
    assert_eq!(counts(&world), (0, 0));
    assert_eq!(mail.got().len(), 3 * hostile.len());
    for mail in mail.got() {
        let data = mail["data"].as_str().unwrap();
        assert_eq!(mail["to"].as_array().unwrap().len(), 1, "{data}");
        assert_eq!(mail["from"], "access@acme.example");
        let headers = data.split("\r\n\r\n").next().unwrap();
        // (A boundary is made of random letters.)
        assert!(!headers.contains("eve@") && !headers.contains("Bcc:") && !headers.contains("<!"), "{headers}");
        assert!(headers.is_ascii(), "{headers}");
        assert!(!data.contains("<img src=3Dx") || !data.split("text/html").nth(1).unwrap().contains("<img"), "{data}");
    }
    for post in web.bodies("/api/chat.postMessage") {
        let text = post.to_string();
        assert!(!text.contains("<!") && !text.contains("<@") && !text.contains("<http"), "{text}");
        assert!(!text.contains(['\u{200b}', '\u{feff}', '\u{e0041}']), "{text}");
    }
    // In both parts of a mail and in Slack, what can't be seen is shown.
    let shown = "pay\\u{200b}roll \\u{feff}\\u{e0041}";
    let mails = mail.got();
    let mail = mails.iter().find(|mail| mail["data"].as_str().unwrap().contains("pay")).unwrap();
    let data = mail["data"].as_str().unwrap().replace("=\r\n", "").replace("=5C", "\\");
    assert_eq!(data.matches(shown).count(), 2, "{data}");
    assert!(web.bodies("/api/chat.postMessage").iter().any(|post| {
        post["blocks"][1]["fields"]
            .as_array()
            .unwrap()
            .iter()
            .any(|fact| fact["text"].as_str().unwrap().contains(shown))
    }));
    let reasons: Vec<Value> = web.bodies("/hook").iter().map(|body| body["data"]["facts"]["why"].clone()).collect();
    assert_eq!(reasons, hostile, "to a program it goes as it was written");
}

#[test]
fn a_server_that_is_down_for_days_costs_no_message() {
    let world = two_mails();
    let broken = Server::broken_mail(&world, "ehlo", "550");
    configure(&world, &[smtp(broken.port), hurry("5s", "2s")].concat());
    let mut failed = 0;
    for _ in 0..12 {
        world.run("root", &["deliver"]).exits(1);
        failed += 1;
        world.pass("13h");
    }
    assert_eq!((failed, counts(&world)), (12, (2, 0)), "for six and a half days");
    let good = Server::mail(&world, &[]);
    configure(&world, &smtp(good.port));
    world.pass("3h");
    shows(&world.json("root", &["deliver"]), &json!({ "delivered": 2, "failed": 0 }));

    // It is loud all the while, and what failed for a week is given up.
    let world = fresh(TEAM);
    let id = world.request("carol", "target:orders-db", &[]);
    world.rows("DELETE FROM outbox");
    world.run("alice", &["deny", &id]).ok();
    world.rows("DELETE FROM outbox WHERE notification NOT IN (SELECT id FROM notification WHERE member = 'carol')");
    configure(&world, &[smtp(1), hurry("5s", "2s")].concat());
    world.run("root", &["deliver"]).exits(1);
    world.run("root", &["doctor"]).ok().says("1 notification waits to be sent, and it failed before");
    world.rows("UPDATE outbox SET attempts = 5, due_at = 0");
    world.pass("8d");
    let ran = world.run("root", &["deliver", "--json"]).exits(1);
    shows(&ran.json(), &json!({ "failed": 1, "dead": 1 }));
}

#[test]
fn the_name_by_which_a_mail_server_is_greeted() {
    let world = two_mails();
    let server = Server::mail(&world, &[]);
    let greeted = |more: &str, who: &str| {
        configure(&world, &format!("{}{more}", smtp(server.port)));
        world.request("alice", "target:billing-db", &["--for", who]);
        world.run("root", &["deliver"]).ok();
        server.got().last().unwrap()["hello"].as_str().unwrap().to_owned()
    };
    assert_eq!(greeted("hello = \"access.acme.example\"\n", "carol"), "access.acme.example");
    assert_eq!(greeted("hello = \"[192.0.2.7]\"\n", "dave"), "[192.0.2.7]");
    // Unless told, by the full name of this host, or by the address from which it speaks.
    let name = greeted("", "frank");
    let host = nix::unistd::gethostname().unwrap().into_string().unwrap();
    let full = name.starts_with(&host) && name.contains('.');
    assert!(full || name == "[127.0.0.1]", "{name} on {host}");
    for wrong in ["two words", "a\\r\\nMAIL FROM:<x>", "-x", "[::1]", ""] {
        configure(&world, &format!("{}hello = \"{wrong}\"\n", smtp(server.port)));
        let ran = world.run("root", &["deliver"]).exits(65);
        assert!(ran.err.contains("hello in [smtp] is"), "{}", ran.err);
    }
}

#[test]
fn a_webhook_says_when_to_come_again_in_seconds_or_by_a_date() {
    let world = fresh(TEAM);
    let web = Server::web(&world);
    let url = format!("http://127.0.0.1:{}/hook", web.port);
    configure(&world, &webhook(&world, "siem", &url, "\"request.submitted\""));
    world.rows("INSERT INTO subscriber SELECT 'webhook:siem', last_seq FROM team");
    ask(&world, "bob", &["--reason", "x"]);
    world.rows("DELETE FROM outbox");
    let date = |after: i64| {
        let time = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_900_000_000);
        let at = time.duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap().as_secs().cast_signed() + after;
        let output = Command::new("date").args(["-u", "-d", &format!("@{at}"), "+%a, %d %b %Y %H:%M:%S GMT"]).output();
        String::from_utf8(output.unwrap().stdout).unwrap().trim().to_owned()
    };
    for (retry_after, wait) in [("1.5".to_owned(), 2), (date(300), 300), (date(-300), 1), ("30".to_owned(), 30)] {
        // The server's own clock counts for a date, whatever this machine's says.
        let headers = json!({ "Retry-After": retry_after, "Date": date(0) });
        fs::write(
            world.folder().join("web.rules"),
            json!({ "/hook": { "status": 503, "headers": headers } }).to_string(),
        )
        .unwrap();
        world.rows("UPDATE outbox SET due_at = 0");
        world.run("root", &["deliver"]).exits(1);
        let due = world.rows("SELECT due_at, attempts FROM outbox");
        assert_eq!(due, [format!("{}|0", world.now().unix() + wait)], "{retry_after}");
    }
}
