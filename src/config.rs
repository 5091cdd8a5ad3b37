//! This machine's wiring: which database. Flags come before the environment, and the environment before the files:
//! `/etc/access/config.toml`, then `config.toml` in the user's own configuration folder, which may say otherwise.

use std::fs;
use std::path::{Path, PathBuf};

use directories::ProjectDirs;
use serde::Deserialize;

use crate::error::{Failure, Kind};

const SYSTEM: &str = "/etc/access/config.toml";

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The path of the database file.
    database: Option<PathBuf>,
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

fn read(path: &Path) -> Result<Config, Failure> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Config::default()),
        Err(error) => return Err(Failure::new(Kind::Invalid, format!("{} can't be read: {error}", path.display()))),
    };
    let config: Config = toml::from_str(&text).map_err(|error| {
        let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
        Failure::new(Kind::Invalid, format!("{}, line {line}: {}", path.display(), error.message()))
            .hint("its keys are: database")
    })?;
    match &config.database {
        Some(database) if database.is_relative() => {
            Err(Failure::new(Kind::Invalid, format!("{}: database is not an absolute path", path.display())))
        }
        Some(_) | None => Ok(config),
    }
}
