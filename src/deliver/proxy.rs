//! The proxy for encrypted requests. Plain `http://` never uses one, since the proxy could read it. Neither do requests to
//! this machine, or to hosts in `allow_http`, which are on your own network.

use ureq::http::Uri;

use super::http::is_loopback;
use crate::config::DeliverConfig;
use crate::error::{Failure, Kind};

/// The environment variables for the proxy; the first that is not empty counts. `HTTP_PROXY` is for `http://`.
const NAMED_BY: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
/// The environment variables for hosts without a proxy.
const EXCEPT: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// The proxy of this machine.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    proxy: Option<ureq::Proxy>,
    /// Hosts without a proxy: lower case, without a leading dot or star. `*`: all.
    except: Vec<String>,
}

impl Proxies {
    /// The configuration overrides the environment. `none` turns the proxy off.
    pub fn new(settings: Option<&DeliverConfig>) -> Result<Proxies, Failure> {
        let named = |names: &[&str]| {
            let set = |name: &&str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
            names.iter().find_map(|name| Some(((*name).to_owned(), set(name)?)))
        };
        let except = named(&EXCEPT).map_or_else(Vec::new, |(_, hosts)| exceptions(&hosts));
        let proxy = match settings.and_then(|settings| settings.proxy.as_deref()) {
            Some("none") => None,
            Some(url) => {
                let proxy = parse("proxy in [deliver]", url)?;
                if proxy.username().is_some() || proxy.password().is_some() {
                    let message = "proxy in [deliver] has a password, and a password does not belong in config.toml";
                    return Err(Failure::new(Kind::Invalid, message).hint(
                        "set HTTPS_PROXY for the process that sends (cron or the unit), in a file that only root reads",
                    ));
                }
                Some(proxy)
            }
            None => named(&NAMED_BY).map(|(name, url)| parse(&name, &url)).transpose()?,
        };
        Ok(Proxies { proxy, except })
    }

    /// The proxy for this URL. `direct`: more hosts without a proxy.
    pub fn toward(&self, url: &str, direct: &[String]) -> Option<ureq::Proxy> {
        let uri: Uri = url.parse().ok()?;
        let host = uri.host()?;
        let is_direct = uri.scheme_str() != Some("https")
            || is_loopback(host)
            || direct.iter().any(|name| name.eq_ignore_ascii_case(host))
            || self.excepts(host);
        if is_direct { None } else { self.proxy.clone() }
    }

    /// A name covers its subdomains.
    fn excepts(&self, host: &str) -> bool {
        let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        self.except.iter().any(|name| {
            name == "*" || host == *name || host.strip_suffix(name.as_str()).is_some_and(|rest| rest.ends_with('.'))
        })
    }
}

fn exceptions(hosts: &str) -> Vec<String> {
    let name = |entry: &str| {
        let entry = entry.trim().to_ascii_lowercase();
        let name = entry.strip_prefix("*.").or_else(|| entry.strip_prefix('.')).unwrap_or(&entry).to_owned();
        (!name.is_empty()).then_some(name)
    };
    hosts.split(',').filter_map(name).collect()
}

/// The error does not repeat the value, which can contain a password.
fn parse(what: &str, url: &str) -> Result<ureq::Proxy, Failure> {
    let url = url.trim();
    let by_http = url.split_once("://").is_none_or(|(scheme, _)| ["http", "https"].contains(&scheme));
    let wrong = || {
        Failure::new(Kind::Invalid, format!("{what} is not a proxy URL"))
            .hint("write http://proxy.example:3128, or in config.toml \"none\"")
    };
    ureq::Proxy::new(url).ok().filter(|proxy| by_http && !proxy.host().is_empty()).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_no_proxy_leads_to() {
        let settings =
            DeliverConfig { deadline: None, timeout: None, proxy: Some("http://proxy.example:3128".to_owned()) };
        let mut proxies = Proxies::new(Some(&settings)).unwrap();
        proxies.except = exceptions("acme.example, .corp.example,*.lan,10.0.0.1");
        let direct = ["siem.internal".to_owned()];
        for url in ["https://slack.com/api", "https://xacme.example/", "https://example/", "https://10.0.0.10/"] {
            assert!(proxies.toward(url, &direct).is_some(), "{url}");
        }
        for url in [
            "http://slack.com/api",
            "https://localhost/",
            "https://127.8.9.1:8443/",
            "https://[::1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://SIEM.internal/",
            "https://acme.example/",
            "https://a.b.Acme.example/",
            "https://x.corp.example/",
            "https://printer.lan/",
            "https://10.0.0.1/",
        ] {
            assert!(proxies.toward(url, &direct).is_none(), "{url}");
        }
    }
}
