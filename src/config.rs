//! Configuration: the database or the shared host's socket, and how notifications are sent.
//!
//! Command-line options override environment variables, which override `config.toml` in the user's configuration folder, which
//! overrides `/etc/access/config.toml`, section by section. If the file in `/etc` names a socket, everything else is ignored.

mod connector;
mod trusted;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use directories::{BaseDirs, ProjectDirs};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use serde::Deserialize;

use crate::domain::channel::SlackChannel;
use crate::domain::contact::Email;
use crate::domain::duration::Length;
use crate::domain::name::Name;
use crate::domain::subscriber::Topic;
use crate::domain::text::shortened;
use crate::error::{Failure, Kind};
use crate::log::LogConfig;

pub use connector::{Connector, ConnectorPlace, SESSIONS};
pub use trusted::{trusted, trusted_argument};

pub const SYSTEM: &str = "/etc/access/config.toml";
/// The user's home folder, in a path.
const HOME: &str = "~";
/// The default database of a shared host.
pub const SHARED_DATABASE: &str = "/var/lib/access/access.db";
pub const SHARED_SOCKET: &str = "/run/access/access.sock";
/// The environment variables for `--db` and `--as`.
const DATABASE: &str = "ACCESS_DB";
const MEMBER: &str = "ACCESS_AS";

/// A configuration file.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The path of the database file.
    database: Option<PathBuf>,
    /// The shared host's socket, which only the file in `/etc` may name.
    socket: Option<PathBuf>,
    /// The `sendmail` program of this host's mail system, in place of `smtp`.
    pub sendmail: Option<PathBuf>,
    /// The SSH key with which this user signs approvals.
    signing_key: Option<PathBuf>,
    /// The sender of emails.
    pub from: Option<Email>,
    pub smtp: Option<Smtp>,
    pub slack: Option<Slack>,
    pub webhooks: Option<Vec<Webhook>>,
    pub connectors: Option<Vec<Connector>>,
    pub ssh: Option<Ssh>,
    pub deliver: Option<DeliverConfig>,
    pub checkpoints: Option<Checkpoints>,
    /// The log that several hosts share.
    pub log: Option<LogConfig>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Smtp {
    pub host: String,
    pub port: Option<u16>,
    #[serde(default)]
    pub encryption: Encryption,
    pub user: Option<String>,
    pub password_file: Option<PathBuf>,
    pub password_credential: Option<String>,
    pub password_env: Option<String>,
    pub from: Option<Email>,
    pub ca_file: Option<PathBuf>,
    /// The name of this machine for EHLO.
    pub hello: Option<String>,
    /// Allows the password in plain text to any port of this machine.
    #[serde(default)]
    pub allow_plain: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encryption {
    #[default]
    StartTls,
    Tls,
    None,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slack {
    pub token_file: Option<PathBuf>,
    pub token_credential: Option<String>,
    pub token_env: Option<String>,
    /// The base URL of Slack's API.
    pub api: Option<String>,
    pub ca_file: Option<PathBuf>,
    /// Allows `http://` to any port of this machine.
    #[serde(default)]
    pub allow_plain: bool,
    /// The files with the URLs of incoming webhooks, by channel.
    #[serde(default)]
    pub webhooks: BTreeMap<SlackChannel, PathBuf>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    pub name: Name,
    pub url: String,
    /// What it subscribes to. `audit`: every entry of the log.
    pub events: Vec<Topic>,
    pub secret_file: Option<PathBuf>,
    pub secret_credential: Option<String>,
    pub secret_env: Option<String>,
    pub ca_file: Option<PathBuf>,
    /// Hosts for which `http://` is allowed.
    #[serde(default)]
    pub allow_http: Vec<String>,
    /// Allows `http://` to any port of this machine.
    #[serde(default)]
    pub allow_plain: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeliverConfig {
    /// The limit of a whole run.
    pub deadline: Option<Length>,
    /// The limit of one answer.
    pub timeout: Option<Length>,
    /// The proxy for encrypted requests to Slack and webhooks. `none`: no proxy, not even one from the environment.
    pub proxy: Option<String>,
}

/// Where the list of revoked SSH certificates is written for sshd.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ssh {
    /// The KRL.
    pub krl: PathBuf,
    /// The public key of the CA whose certificates it is about.
    pub ca: PathBuf,
}

/// How often `expire` takes a checkpoint of the log.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoints {
    pub every: Length,
    /// The file that has the last one.
    pub file: Option<PathBuf>,
    /// The mailboxes that each is sent to.
    #[serde(default)]
    pub mail: Vec<Email>,
}

/// A shared host, as the file in `/etc` declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    pub socket: PathBuf,
    pub database: PathBuf,
}

/// The system's configuration file, which only root can write.
pub fn system() -> PathBuf {
    #[cfg(feature = "test-overrides")]
    if let Some(path) = std::env::var_os("ACCESS_TEST_CONFIG") {
        return path.into();
    }
    SYSTEM.into()
}

/// The shared host that this machine is, if it is one.
pub fn shared() -> Result<Option<Shared>, Failure> {
    let Config { database, socket, .. } = read_system(&system())?;
    let database = database.unwrap_or_else(|| SHARED_DATABASE.into());
    Ok(socket.map(|socket| Shared { socket, database }))
}

/// The name of an environment variable for the database or the member, if one is set. On a shared host both are refused.
pub fn variable_set() -> Option<&'static str> {
    [DATABASE, MEMBER].into_iter().find(|name| std::env::var_os(name).is_some())
}

/// The database from the environment.
pub fn database_by_variable() -> Result<Option<PathBuf>, Failure> {
    let named = variable(DATABASE, "set it to the path of a database file, or unset it")?;
    Ok(named.map(PathBuf::from))
}

/// The member from the environment.
pub fn member_by_variable() -> Result<Option<Name>, Failure> {
    let hint = "set it to a member's name, or unset it";
    let Some(value) = variable(MEMBER, hint)? else { return Ok(None) };
    let value = value.to_string_lossy();
    let member = value.parse().map_err(|why| {
        Failure::new(Kind::Usage, format!("the environment variable {MEMBER} is {:?}: {why}", shortened(&value, 200)))
            .hint(hint)
    })?;
    Ok(Some(member))
}

/// The value of an environment variable. An empty one is an error, since it was probably meant to have a value.
fn variable(name: &str, hint: &str) -> Result<Option<OsString>, Failure> {
    match std::env::var_os(name) {
        Some(value) if value.is_empty() => {
            Err(Failure::new(Kind::Usage, format!("the environment variable {name} is set, but empty")).hint(hint))
        }
        value => Ok(value),
    }
}

fn folders() -> Result<ProjectDirs, Failure> {
    ProjectDirs::from("", "", "access")
        .ok_or_else(|| Failure::new(Kind::Failure, "this user has no home folder").hint("name the database with --db"))
}

/// The database if neither an option nor the environment names one, on a machine that is not a shared host.
pub fn database() -> Result<PathBuf, Failure> {
    let folders = folders()?;
    let own = folders.config_dir().join("config.toml");
    let own_config = read_own(&own)?;
    if own_config.socket.is_some() {
        let message = format!("{}: only {SYSTEM} can name a socket", own.display());
        return Err(Failure::new(Kind::Invalid, message));
    }
    match own_config.database {
        Some(database) => Ok(database),
        None => Ok(read_system(&system())?.database.unwrap_or_else(|| folders.data_dir().join("access.db"))),
    }
}

/// The file of the SSH key with which this user signs approvals, if their own file names one: it is theirs to choose on a shared
/// host too.
pub fn signing_key() -> Result<Option<PathBuf>, Failure> {
    let Ok(folders) = folders() else { return Ok(None) };
    let key = read_own(&folders.config_dir().join("config.toml"))?.signing_key;
    Ok(key.map(|key| match (key.strip_prefix(HOME), home()) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => key,
    }))
}

pub fn home() -> Option<PathBuf> {
    BaseDirs::new().map(|folders| folders.home_dir().to_owned())
}

/// How notifications are sent.
pub fn transports() -> Result<Config, Failure> {
    let system = read_system(&system())?;
    if system.socket.is_some() {
        return Ok(system);
    }
    let own = match folders() {
        Ok(folders) => {
            let path = folders.config_dir().join("config.toml");
            let own = read_own(&path)?;
            // It names programs, servers and secrets.
            let delivers = own.sendmail.is_some()
                || own.smtp.is_some()
                || own.slack.is_some()
                || own.webhooks.is_some()
                || own.deliver.is_some()
                || own.checkpoints.is_some();
            if delivers {
                only_ours("delivery", &path)?;
            }
            own
        }
        Err(_) => Config::default(),
    };
    // One of the two replaces the other: a machine sends its mail one way.
    let (sendmail, smtp) = match (own.sendmail, own.smtp) {
        (None, None) => (system.sendmail, system.smtp),
        own => own,
    };
    Ok(Config {
        database: None,
        socket: None,
        signing_key: None,
        sendmail,
        smtp,
        from: own.from.or(system.from),
        slack: own.slack.or(system.slack),
        webhooks: own.webhooks.or(system.webhooks),
        connectors: None,
        ssh: None,
        deliver: own.deliver.or(system.deliver),
        checkpoints: own.checkpoints.or(system.checkpoints),
        log: None,
    })
}

/// How this host reaches the log that several hosts share. On a shared host only the machine's file counts.
pub fn log() -> Result<LogConfig, Failure> {
    let found = enforcing("[log]", |config| config.log)?.ok_or_else(|| {
        Failure::new(Kind::Unavailable, "the configuration does not say how to reach the shared log")
            .hint("add [log] with its url to /etc/access/config.toml")
    })?;
    if let (Some(ca_file), false) = (&found.ca_file, found.allow_plain) {
        trusted_certificates(ca_file)?;
    }
    Ok(found)
}

/// Whether the configuration has a section about the shared log, also one that can't be used.
pub fn names_log() -> bool {
    let system = read_system(&system()).unwrap_or_default();
    let own = if system.socket.is_some() { None } else { folders().ok() };
    let own = own.and_then(|folders| read_own(&folders.config_dir().join("config.toml")).ok());
    own.and_then(|own| own.log).or(system.log).is_some()
}

/// Fails if somebody else can change which certificates are trusted.
pub fn trusted_certificates(ca_file: &Path) -> Result<(), Failure> {
    trusted(ca_file).map(|_| ()).map_err(|why| {
        Failure::new(Kind::Invalid, format!("{}: its certificates are not trusted: {why}", ca_file.display()))
            .hint("make sure that only you, or root, can change it")
    })
}

/// The programs that give and take back access. On a shared host only the machine's file counts.
pub fn connectors() -> Result<Vec<Connector>, Failure> {
    Ok(enforcing("the connectors", |config| config.connectors)?.unwrap_or_default())
}

/// Where the list of revoked SSH certificates is written. On a shared host only the machine's file counts.
pub fn ssh() -> Result<Option<Ssh>, Failure> {
    enforcing("[ssh]", |config| config.ssh)
}

/// How often checkpoints are taken. On a shared host only the machine's file counts.
pub fn checkpoints() -> Result<Option<Checkpoints>, Failure> {
    enforcing("[checkpoints]", |config| config.checkpoints)
}

/// A section about other systems: the user's, from a file that nobody else can change, or else the machine's.
fn enforcing<T>(what: &str, section: impl Fn(Config) -> Option<T>) -> Result<Option<T>, Failure> {
    let path = system();
    let system = read_system(&path)?;
    let folders = if system.socket.is_some() { None } else { folders().ok() };
    if let Some(folders) = folders {
        let path = folders.config_dir().join("config.toml");
        if let Some(own) = section(read_own(&path)?) {
            only_ours(what, &path)?;
            return Ok(Some(own));
        }
    }
    Ok(section(system))
}

/// Fails if somebody else could have written what this user's file says.
fn only_ours(what: &str, path: &Path) -> Result<(), Failure> {
    trusted(path).map(|_| ()).map_err(|why| {
        Failure::new(Kind::Invalid, format!("{what} in {} cannot be used: {why}", path.display()))
            .hint("make sure that the file and its folders are yours, and that only you can change them")
    })
}

/// The folder for what this user's commands keep between runs, outside the database.
pub fn state_folder() -> Result<PathBuf, Failure> {
    let folders = folders()?;
    Ok(folders.state_dir().unwrap_or_else(|| folders.data_dir()).to_owned())
}

/// The content of a regular file, with its metadata at the time when it was opened.
pub struct RegularFile {
    pub metadata: Metadata,
    pub content: Vec<u8>,
}

impl RegularFile {
    pub fn text(self, path: &Path) -> Result<String, Failure> {
        let message = |_| Failure::new(Kind::Invalid, format!("{} is not valid UTF-8", path.display()));
        String::from_utf8(self.content).map_err(message)
    }
}

/// Reads a configuration file, or one that it names: a regular file of at most `longest` bytes. Checks the file that was opened, and
/// never blocks on a pipe.
pub fn read_regular(path: &Path, longest: u64) -> Result<RegularFile, Failure> {
    match open(path, OFlag::O_NONBLOCK) {
        Ok(file) => read(path, file, longest),
        Err(error) => Err(unreadable(path, &error)),
    }
}

fn open(path: &Path, flags: OFlag) -> std::io::Result<File> {
    OpenOptions::new().read(true).custom_flags((flags | OFlag::O_NOCTTY).bits()).open(path)
}

fn read(path: &Path, file: File, longest: u64) -> Result<RegularFile, Failure> {
    let shown = path.display();
    let metadata = file.metadata().map_err(|error| unreadable(path, &error))?;
    if !metadata.is_file() {
        return Err(Failure::new(Kind::Invalid, format!("{shown} is not a regular file")));
    }
    let mut content = Vec::new();
    file.take(longest + 1).read_to_end(&mut content).map_err(|error| unreadable(path, &error))?;
    if content.len() as u64 > longest {
        return Err(Failure::new(Kind::Invalid, format!("{shown} is longer than {longest} bytes")));
    }
    Ok(RegularFile { metadata, content })
}

/// The most bytes of a configuration file: 1 MiB.
const LONGEST: u64 = 1 << 20;

fn read_own(path: &Path) -> Result<Config, Failure> {
    match open(path, OFlag::O_NONBLOCK) {
        Ok(file) => parse(path, &read(path, file, LONGEST)?.text(path)?),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Config::default()),
        Err(error) => Err(unreadable(path, &error)),
    }
}

fn read_system(path: &Path) -> Result<Config, Failure> {
    let file = match open(path, OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Config::default()),
        Err(error) if error.raw_os_error() == Some(Errno::ELOOP as i32) => {
            let shown = path.display();
            return Err(Failure::new(Kind::Invalid, format!("{shown} is a link, which is not followed"))
                .hint(format!("to=$(readlink -f {shown}) && rm {shown} && cp \"$to\" {shown}")));
        }
        Err(error) => return Err(unreadable(path, &error)),
    };
    let file = read(path, file, LONGEST)?;
    let (shown, found) = (path.display(), &file.metadata);
    if found.uid() != 0 || found.mode() & 0o022 != 0 {
        let message = format!(
            "{shown} can be written by others than root (owner {}, mode {:04o})",
            found.uid(),
            found.mode() & 0o7777
        );
        return Err(Failure::new(Kind::Invalid, message).hint(format!("chown root:root {shown} && chmod 0644 {shown}")));
    }
    let text = file.text(path)?;
    parse(path, &text)
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Kind::Invalid, format!("{} can't be read: {error}", path.display()))
}

/// `path`: what messages call the file.
pub fn parse(path: &Path, text: &str) -> Result<Config, Failure> {
    let config: Config = toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
        Failure::new(Kind::Invalid, format!("{}, line {line}: {}", path.display(), error.message()))
            .hint("the keys are database, socket, sendmail, from and signing_key, and the sections [smtp], [slack], [[webhooks]], [[connectors]], [ssh], [deliver], [checkpoints] and [log]")
    })?;
    connector::check(path, config.connectors.as_deref().unwrap_or_default())?;
    let (krl, ca) = config.ssh.as_ref().map(|ssh| (&ssh.krl, &ssh.ca)).unzip();
    let file = config.checkpoints.as_ref().and_then(|checkpoints| checkpoints.file.as_ref());
    for address in config.checkpoints.iter().flat_map(|checkpoints| &checkpoints.mail) {
        Email::check(address.as_str())
            .map_err(|why| Failure::new(Kind::Invalid, format!("{}: mail = [\"{address}\"]: {why}", path.display())))?;
    }
    let key = config.signing_key.as_ref().filter(|key| !key.starts_with(HOME));
    let paths = [
        ("database", config.database.as_ref()),
        ("socket", config.socket.as_ref()),
        ("sendmail", config.sendmail.as_ref()),
        ("krl", krl),
        ("ca", ca),
        ("file", file),
        ("signing_key", key),
    ];
    for (key, value) in paths {
        if value.is_some_and(|value| value.is_relative()) {
            return Err(Failure::new(Kind::Invalid, format!("{}: {key} is not an absolute path", path.display())));
        }
    }
    Ok(config)
}
