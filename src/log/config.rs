//! `[log]` in the configuration file: how this host reaches the shared log.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use serde::Deserialize;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

use crate::error::{Failure, Kind};
use crate::tls;
use crate::tls::ClientCertificate;

/// How this host reaches the shared log, and shows who it is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogConfig {
    /// `postgresql://HOST_ROLE@SERVER,SERVER/DATABASE`, without a password.
    pub url: String,
    pub password_file: Option<PathBuf>,
    /// This host's certificate (PEM), for a role that logs in with one.
    pub certificate: Option<PathBuf>,
    /// The key of the certificate.
    pub key: Option<PathBuf>,
    /// The certificates to trust. None: the system's.
    pub ca_file: Option<PathBuf>,
    /// Allows a connection that is not encrypted.
    #[serde(default)]
    pub allow_plain: bool,
    /// Where `doctor` asks Patroni how it is set, such as `http://db1:8008`.
    pub patroni: Option<String>,
}

/// Where to connect, and how.
#[derive(Clone)]
pub struct LogUrl {
    /// One for each server, as one that hangs must not keep the others from being tried.
    pub servers: Vec<Config>,
    /// None: sockets of this machine, or a plain connection.
    pub tls: Option<Arc<ClientConfig>>,
    /// This host's certificate.
    pub certificate: Option<PathBuf>,
    pub ca_file: Option<PathBuf>,
    pub patroni: Option<String>,
}

impl LogConfig {
    pub fn resolve(&self) -> Result<LogUrl, Failure> {
        let invalid = |why: String| Failure::new(Kind::Invalid, why);
        // The error does not repeat the URL.
        let mut config: Config =
            self.url.parse().map_err(|error| invalid(format!("the URL of the log is not valid: {error}")))?;
        if config.get_password().is_some() {
            return Err(invalid("the URL of the log has a password".to_owned())
                .hint("write it to a file of mode 0600, and name that with password_file"));
        }
        if config.get_hosts().is_empty() || config.get_dbname().is_none() {
            return Err(invalid("the URL of the log names no server or no database".to_owned())
                .hint("such as postgresql://bastion1@db1,db2/access")
                .hint("or, for a socket of this machine, postgresql://bastion1@%2Frun%2Fpostgresql/access"));
        }
        if let Some(file) = &self.password_file {
            config.password(tls::secret(file)?);
        }
        let own = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => Some(ClientCertificate { certificate, key }),
            (None, None) => None,
            _ => return Err(invalid("[log] needs both certificate and key, or neither".to_owned())),
        };
        let is_local = config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_)));
        let tls = if is_local || self.allow_plain {
            config.ssl_mode(SslMode::Disable);
            None
        } else {
            config.ssl_mode(SslMode::Require);
            Some(tls::client_config(self.ca_file.as_deref(), own)?)
        };
        let LogConfig { certificate, ca_file, patroni, .. } = self.clone();
        Ok(LogUrl { servers: each_server(&config), tls, certificate, ca_file, patroni })
    }
}

fn each_server(all: &Config) -> Vec<Config> {
    let ports = all.get_ports();
    let of = |(number, host): (usize, &Host)| {
        let mut one = Config::new();
        match host {
            Host::Tcp(name) => one.host(name.as_str()),
            Host::Unix(path) => one.host_path(path),
        };
        if let Some(address) = all.get_hostaddrs().get(number) {
            one.hostaddr(*address);
        }
        if let Some(port) = ports.get(number).or(ports.first()) {
            one.port(*port);
        }
        if let Some(user) = all.get_user() {
            one.user(user);
        }
        if let Some(password) = all.get_password() {
            one.password(password);
        }
        one.dbname(all.get_dbname().unwrap_or_default())
            .ssl_mode(all.get_ssl_mode())
            .channel_binding(all.get_channel_binding())
            .application_name("access")
            // A session whose host has gone leaves the queue of those who wait for their turn.
            .options("-c client_connection_check_interval=1000")
            .connect_timeout(Duration::from_secs(3))
            .tcp_user_timeout(Duration::from_secs(4))
            .target_session_attrs(TargetSessionAttrs::ReadWrite);
        one
    };
    all.get_hosts().iter().enumerate().map(of).collect()
}
