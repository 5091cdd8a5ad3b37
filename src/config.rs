//! This machine's wiring: which database, and the ways by which notifications go out. Flags come before the environment,
//! and the environment before the files: `config.toml` in the user's own configuration folder, then
//! `/etc/access/config.toml`. What the first does not say is for the second to say, section by section.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use directories::ProjectDirs;
use serde::Deserialize;

use crate::domain::duration::Length;
use crate::domain::name::Name;
use crate::domain::outbox::News;
use crate::domain::preference::SlackChannel;
use crate::domain::team::Email;
use crate::error::{Failure, Kind};

const SYSTEM: &str = "/etc/access/config.toml";

/// What a file says: the database, and the ways out.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The path of the database file.
    database: Option<PathBuf>,
    /// The program of this host's own mail system, in place of `smtp`.
    pub sendmail: Option<PathBuf>,
    /// Whom emails come from.
    pub from: Option<Email>,
    pub smtp: Option<Smtp>,
    pub slack: Option<Slack>,
    pub webhooks: Option<Vec<Webhook>>,
    pub deliver: Option<Deliver>,
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
    /// Where Slack's methods are; another for a proxy.
    pub api: Option<String>,
    pub ca_file: Option<PathBuf>,
    /// The files that hold the addresses of incoming webhooks, by channel.
    #[serde(default)]
    pub webhooks: BTreeMap<SlackChannel, PathBuf>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    pub name: Name,
    pub url: String,
    /// What it is told of; `audit`: every entry of the log.
    pub events: Vec<News>,
    pub secret_file: Option<PathBuf>,
    pub secret_credential: Option<String>,
    pub secret_env: Option<String>,
    pub ca_file: Option<PathBuf>,
    /// Hosts that may be spoken to without encryption.
    #[serde(default)]
    pub allow_http: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deliver {
    /// How long a run may take.
    pub deadline: Option<Length>,
    /// How long the other side may take over one answer.
    pub timeout: Option<Length>,
}

fn folders() -> Result<ProjectDirs, Failure> {
    ProjectDirs::from("", "", "access").ok_or_else(|| {
        Failure::new(Kind::Failure, "no home folder is known for this user").hint("name the database with --db")
    })
}

/// The database to use where no flag or variable names one.
pub fn database() -> Result<PathBuf, Failure> {
    let folders = folders()?;
    let own = folders.config_dir().join("config.toml");
    for file in [own.as_path(), Path::new(SYSTEM)] {
        if let Some(database) = read(file)?.database {
            return Ok(database);
        }
    }
    Ok(folders.data_dir().join("access.db"))
}

/// The ways by which notifications go out.
pub fn wiring() -> Result<Config, Failure> {
    let own = match folders() {
        Ok(folders) => read(&folders.config_dir().join("config.toml"))?,
        Err(_) => Config::default(),
    };
    let system = read(Path::new(SYSTEM))?;
    // A machine sends its mail one way: whoever names one, means that.
    let (sendmail, smtp) = match (own.sendmail, own.smtp) {
        (None, None) => (system.sendmail, system.smtp),
        own => own,
    };
    Ok(Config {
        database: None,
        sendmail,
        smtp,
        from: own.from.or(system.from),
        slack: own.slack.or(system.slack),
        webhooks: own.webhooks.or(system.webhooks),
        deliver: own.deliver.or(system.deliver),
    })
}

fn read(path: &Path) -> Result<Config, Failure> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Config::default()),
        Err(error) => return Err(Failure::new(Kind::Invalid, format!("{} can't be read: {error}", path.display()))),
    };
    let config: Config = toml::from_str(&text).map_err(|error| {
        let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
        Failure::new(Kind::Invalid, format!("{}, line {line}: {}", path.display(), error.message())).hint(
            "its keys are: database, sendmail, from, and the sections [smtp], [slack], [[webhooks]] and [deliver]",
        )
    })?;
    match &config.database {
        Some(database) if database.is_relative() => {
            Err(Failure::new(Kind::Invalid, format!("{}: database is not an absolute path", path.display())))
        }
        Some(_) | None => Ok(config),
    }
}
