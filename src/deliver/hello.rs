//! The name of this host for EHLO (RFC 5321 4.1.1.1): its full name, if it has one.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;

use crate::config;

const HOSTS: &str = "/etc/hosts";
/// A longer file of hosts is ignored: 1 MiB.
const LONGEST_HOSTS: u64 = 1 << 20;

/// The host name, and the full name if there is one.
pub fn names() -> (String, Option<String>) {
    let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    let host = host.filter(|name| is_domain(name)).unwrap_or_else(|| "localhost".to_owned());
    let hosts = config::read_regular(Path::new(HOSTS), LONGEST_HOSTS).and_then(|file| file.text(Path::new(HOSTS)));
    let full = full_name(&host, &hosts.unwrap_or_default());
    (host, full)
}

/// Whether EHLO takes this: a host name, or an address in brackets.
pub fn is_name(text: &str) -> bool {
    is_domain(text) || is_address_literal(text)
}

/// The host name itself if it has a dot, else the full name from `/etc/hosts`, if there is one.
fn full_name(host: &str, hosts: &str) -> Option<String> {
    let is_full = |name: &&str| name.contains('.') && !name.starts_with("localhost") && is_domain(name);
    if let Some(name) = Some(host).filter(is_full) {
        return Some(name.to_owned());
    }
    if host == "localhost" {
        return None;
    }
    let names = hosts.lines().map(|line| line.split('#').next().unwrap_or_default().split_whitespace().skip(1));
    let mut ours = names.filter(|names| names.clone().any(|name| name == host));
    ours.find_map(|mut names| {
        names.find(|name| is_full(name) && name.strip_prefix(host).is_some_and(|rest| rest.starts_with('.')))
    })
    .map(str::to_owned)
}

/// Whether this is a host name.
fn is_domain(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

fn is_address_literal(text: &str) -> bool {
    let Some(address) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) else { return false };
    match address.strip_prefix("IPv6:") {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => address.parse::<Ipv4Addr>().is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_full_name_of_a_host() {
        let hosts = "127.0.0.1 localhost localhost.localdomain\n# 10.0.0.1 web.commented.example web\n\
                     127.0.1.1\tweb1.acme.example web1 # ours\n10.0.0.2 other.example db2\n10.0.0.3 db2 db2.acme.example\n";
        for (host, full) in [
            ("mail.acme.example", Some("mail.acme.example")),
            ("web1", Some("web1.acme.example")),
            ("web", None),
            ("db2", Some("db2.acme.example")),
            ("localhost", None),
            ("localhost.localdomain", None),
            ("", None),
        ] {
            assert_eq!(full_name(host, hosts).as_deref(), full, "{host}");
        }
    }

    #[test]
    fn names_for_the_greeting() {
        for name in ["mail.acme.example", "a", "1.2.3.4", "x-1.y"] {
            assert!(is_domain(name), "{name}");
        }
        for name in ["", "-a", "a-.b", "a..b", "a b", "a\r\nMAIL FROM:<x>", "[127.0.0.1]", "münchen.example", ".", "a."]
        {
            assert!(!is_domain(name), "{name}");
        }
        assert!(is_address_literal("[127.0.0.1]") && is_address_literal("[IPv6:::1]"));
        for text in ["127.0.0.1", "[::1]", "[IPv6:127.0.0.1]", "[256.1.1.1]", "[]", "[127.0.0.1]\r\n"] {
            assert!(!is_address_literal(text), "{text}");
        }
    }
}
