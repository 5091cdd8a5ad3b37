//! Proxies: what goes through one, and what never does. The proxy is a real one that records what it is shown.

use serde_json::json;

use crate::faults::certificate;
use crate::harness::{Ran, TEAM, World, shows};
use crate::post::{Server, ask, configure, fresh, hurry, slack, webhook};

fn deliver(world: &World, environment: &[(&str, &str)]) -> Ran {
    let mut command = world.command("root", &["deliver", "--json"]);
    let output = command.envs(environment.iter().copied()).output().unwrap();
    Ran {
        line: format!("deliver with {environment:?}"),
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Every variable that any program takes a proxy from.
fn everywhere(url: &str) -> Vec<(&'static str, &str)> {
    ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"]
        .map(|name| (name, url))
        .to_vec()
}

#[test]
fn nothing_for_this_machine_or_for_a_host_that_is_spoken_to_in_plain_text_goes_through_a_proxy() {
    let world = fresh(TEAM);
    let web = Server::web(&world);
    let proxy = Server::proxy(&world, web.port);
    let url = format!("http://127.0.0.1:{}", proxy.port);
    let proxied = format!("proxy = \"{url}\"\n");
    let hook = |name: &str, url: &str, more: &str| webhook(&world, name, url, "\"request.submitted\"") + more + "\n";
    let hooks = [
        hook("here", &format!("http://127.0.0.1:{}/hook", web.port), ""),
        hook("name", &format!("http://LocalHost:{}/hook", web.port), ""),
        // Encrypted, to ports where nothing is encrypted: they fail, and the proxy must not hear of them.
        hook("safe", &format!("https://127.0.0.1:{}/hook", web.port), ""),
        hook("six", "https://[::1]:1/hook", ""),
        hook("plain", "http://siem.invalid/hook", "allow_http = [\"siem.invalid\"]"),
        hook("both", "https://siem.invalid/hook", "allow_http = [\"siem.invalid\"]"),
    ];
    for configured in [false, true] {
        let all = [slack(&world, web.port), hooks.concat(), hurry("8s", "3s")].concat();
        configure(&world, &format!("{all}{}", if configured { &proxied } else { "" }));
        ask(&world, if configured { "carol" } else { "bob" }, &["--reason", "x"]);
        world.rows("UPDATE outbox SET due_at = 0, attempts = 0");
        deliver(&world, &everywhere(&url)).exits(1);
        assert_eq!(proxy.lines(), Vec::<String>::new());
    }
    assert_eq!(web.bodies("/api/chat.postMessage").len(), 2, "Slack's token went to where it belongs");
    assert!(web.bodies("/hook").len() >= 4, "{:?}", web.got());
}

/// A webhook on another machine, which only the proxy can find.
fn elsewhere(world: &World) -> (Server, Server, String) {
    let [ca, cert, key] = certificate(world, "DNS:siem.acme.example");
    let web = Server::web_encrypted(world, &cert, &key);
    let proxy = Server::proxy(world, web.port);
    let hook = webhook(world, "siem", "https://siem.acme.example/hook", "\"request.submitted\"");
    let config = format!("{hook}ca_file = \"{ca}\"\n{}", hurry("10s", "3s"));
    ask(world, "bob", &["--reason", "the reason"]);
    world.rows("DELETE FROM outbox");
    (web, proxy, config)
}

#[test]
fn an_encrypted_message_goes_through_the_proxy_that_the_configuration_or_the_environment_names() {
    for (configured, name) in
        [(true, ""), (false, "HTTPS_PROXY"), (false, "https_proxy"), (false, "ALL_PROXY"), (false, "all_proxy")]
    {
        let world = fresh(TEAM);
        let (web, proxy, config) = elsewhere(&world);
        let url = format!("http://user:pass%20word@127.0.0.1:{}", proxy.port);
        let mut environment = vec![(name, url.as_str())];
        if configured {
            // The configuration goes before the environment.
            configure(&world, &format!("{config}proxy = \"http://127.0.0.1:{}\"\n", proxy.port));
            environment = everywhere("http://127.0.0.1:1");
        } else {
            configure(&world, &config);
        }
        shows(&deliver(&world, &environment).ok().json(), &json!({ "delivered": 1, "failed": 0 }));
        assert_eq!(web.bodies("/hook").len(), 1, "{name}");
        let got = proxy.got();
        assert_eq!(got[0]["line"], "CONNECT siem.acme.example:443 HTTP/1.1", "{name}");
        let seen = got[0]["text"].as_str().unwrap();
        assert_eq!(got.len(), 1, "{name}: it sees where it goes, and nothing else");
        assert!(!seen.contains("reason") && !seen.contains("whsec") && !seen.contains("webhook-signature"), "{seen}");
        assert_eq!(seen.to_lowercase().contains("proxy-authorization: basic"), !configured, "{seen}");
    }
}

#[test]
fn a_proxy_is_left_out_where_the_configuration_or_no_proxy_says_so() {
    let world = fresh(TEAM);
    let (web, proxy, config) = elsewhere(&world);
    let url = format!("http://127.0.0.1:{}", proxy.port);
    let deliver = |more: &str, environment: &[(&str, &str)]| {
        configure(&world, &format!("{config}{more}"));
        world.rows("UPDATE outbox SET due_at = 0, attempts = 0");
        deliver(&world, environment).exits(1)
    };
    deliver("proxy = \"none\"\n", &everywhere(&url));
    for none in ["siem.acme.example", "other.example, .acme.example", "acme.example", "*.Acme.Example", "*"] {
        for name in ["NO_PROXY", "no_proxy"] {
            let mut environment = everywhere(&url);
            environment.push((name, none));
            deliver("", &environment);
        }
        deliver(&format!("proxy = \"{url}\"\n"), &[("NO_PROXY", none)]);
    }
    // HTTP_PROXY is for http://, which goes through no proxy here.
    deliver("", &[("HTTP_PROXY", &url), ("http_proxy", &url)]);
    assert_eq!((proxy.lines().len(), web.got().len()), (0, 0));
    // Others are no reason to leave it out.
    configure(&world, &config);
    world.rows("UPDATE outbox SET due_at = 0, attempts = 0");
    let mut environment = everywhere(&url);
    environment.push(("NO_PROXY", "xacme.example,siem.acme.example.org, ,siem"));
    crate::proxy::deliver(&world, &environment).ok();
    assert_eq!((proxy.lines().len(), web.got().len()), (1, 1));
}

#[test]
fn a_proxy_that_is_none_or_that_refuses_is_named_and_its_password_is_not() {
    let world = fresh(TEAM);
    let (_web, _proxy, config) = elsewhere(&world);
    for wrong in
        ["socks5://u:hunter2@127.0.0.1:1", "http://u:hunter2@", "ftp://u:hunter2@x.example/", "http://[hunter2"]
    {
        configure(&world, &config);
        let ran = deliver(&world, &[("HTTPS_PROXY", wrong)]).exits(65);
        assert!(ran.err.contains("HTTPS_PROXY is not a proxy URL"), "{}", ran.err);
        assert!(!ran.err.contains("hunter2"), "{}", ran.err);
        configure(&world, &format!("{config}proxy = \"{wrong}\"\n"));
        let ran = deliver(&world, &[]).exits(65);
        assert!(ran.err.contains("proxy") && !ran.err.contains("hunter2"), "{}", ran.err);
    }
    // Everybody can read the configuration.
    configure(&world, &format!("{config}proxy = \"http://u:hunter2@127.0.0.1:1\"\n"));
    let ran = deliver(&world, &[]).exits(65);
    assert!(ran.err.contains("a password does not belong in config.toml"), "{}", ran.err);
    assert!(!ran.err.contains("hunter2"), "{}", ran.err);
    // An empty variable names none.
    configure(&world, &config);
    deliver(&world, &[("HTTPS_PROXY", ""), ("ALL_PROXY", "http://u:hunter2@127.0.0.1:1")]).exits(1);
    let error = world.rows("SELECT error FROM outbox WHERE attempts > 0");
    assert!(!error[0].contains("hunter2") && !error[0].is_empty(), "{error:?}");
}
