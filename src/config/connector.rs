//! `[[connectors]]`: the programs that give and take back access in other systems.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{AccessFlags, access};
use serde::Deserialize;

use super::trusted::{trusted, trusted_argument};
use crate::domain::binding::{ON_HOST, Parameters};
use crate::domain::duration::Length;
use crate::domain::name::Name;
use crate::domain::policy::pattern::is_like;
use crate::error::{Failure, Kind};

/// The name under which `reconcile` has the sessions of this host. No connector can have it.
pub const SESSIONS: &str = "sessions";
/// How long one run of a program may take by default.
const TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Connector {
    pub name: Name,
    /// The program and its arguments. No shell reads them.
    pub command: Vec<String>,
    timeout: Option<Length>,
    #[serde(default, rename = "where")]
    pub place: ConnectorPlace,
    /// The values that a binding may name, by parameter. `*` stands for any characters. An empty value: a binding may leave
    /// the parameter out.
    #[serde(default)]
    allow: BTreeMap<Name, Vec<String>>,
}

/// Which of several hosts with one log run it. On one host it makes no difference.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConnectorPlace {
    /// For what each host has of its own, such as Unix groups.
    #[default]
    EveryHost,
    /// One host at a time, for what hosts share, such as a database server.
    Leased,
}

impl ConnectorPlace {
    pub fn as_str(self) -> &'static str {
        match self {
            ConnectorPlace::EveryHost => "every-host",
            ConnectorPlace::Leased => "leased",
        }
    }
}

impl Connector {
    pub fn timeout(&self) -> Duration {
        let seconds = self.timeout.and_then(|length| u64::try_from(length.seconds()).ok());
        seconds.map_or(TIMEOUT, Duration::from_secs)
    }

    /// The path of the program, without links. Fails, with the reason, if it can't be run, or if another user could decide
    /// what it does: it, or a file among its arguments, such as a script or settings.
    pub fn program(&self) -> Result<PathBuf, String> {
        let named = self.command.first().ok_or("the command is empty")?;
        let program = trusted(Path::new(named))?;
        if !program.is_file() || access(&program, AccessFlags::X_OK).is_err() {
            return Err(format!("{named} is not an executable file"));
        }
        self.command[1..].iter().flat_map(|argument| paths(argument)).try_for_each(|path| trusted_argument(&path))?;
        Ok(program)
    }

    /// Why a binding must not have these parameters, if it must not. One that leaves out a key could mean everything.
    pub fn refusal(&self, parameters: &Parameters) -> Option<String> {
        let refused = parameters.iter().find_map(|(key, value)| {
            if key.as_str() == ON_HOST {
                return Some(format!("no binding can have the parameter {ON_HOST}, which means a host"));
            }
            let Some(allowed) = self.allow.get(key) else {
                return Some(format!("the connector {} allows no parameter {key}", self.name));
            };
            let is_allowed = allowed.iter().any(|pattern| is_like(pattern, value.as_str()));
            (!is_allowed).then(|| format!("the connector {} does not allow {key}={value}", self.name))
        });
        refused.or_else(|| {
            let may_lack = |values: &[String]| values.iter().any(String::is_empty);
            let mut keys = self.allow.iter();
            let (missing, _) = keys.find(|(key, values)| !parameters.contains_key(*key) && !may_lack(values))?;
            Some(format!("the connector {} does not allow a binding without {missing}", self.name))
        })
    }

    /// The values that it allows, as `role=orders_*`.
    pub fn allowed(&self) -> Vec<String> {
        let of_key = |(key, values): (&Name, &Vec<String>)| {
            values.iter().map(|value| format!("{key}={value}")).collect::<Vec<_>>()
        };
        self.allow.iter().flat_map(of_key).collect()
    }
}

/// The paths that an argument may mean: `/x`, `--y=/x`, and `x/z`, because the program runs in `/`.
fn paths(argument: &str) -> impl Iterator<Item = PathBuf> {
    let values = argument.match_indices('=').map(|(at, _)| &argument[at + 1..]);
    [argument].into_iter().chain(values).filter(|path| path.contains('/')).map(|path| Path::new("/").join(path))
}

/// Checks what the types do not say.
pub(super) fn check(path: &Path, connectors: &[Connector]) -> Result<(), Failure> {
    let wrong = |connector: &Connector, why: &str| {
        Failure::new(Kind::Invalid, format!("{}: the connector {} {why}", path.display(), connector.name))
    };
    let mut names = BTreeSet::new();
    for connector in connectors {
        if connector.name.as_str() == SESSIONS {
            return Err(wrong(connector, "has a name that means the sessions of this host"));
        }
        if !names.insert(&connector.name) {
            return Err(wrong(connector, "is there twice"));
        }
        match connector.command.first() {
            None => return Err(wrong(connector, "has an empty command")),
            Some(program) if !program.starts_with('/') => {
                return Err(wrong(connector, "has a command that does not begin with an absolute path"));
            }
            Some(_) => {}
        }
        if connector.command.iter().any(|word| word.contains('\0')) {
            return Err(wrong(connector, "has a command with a NUL character"));
        }
        if connector.timeout().as_secs() == 0 {
            return Err(wrong(connector, "has a timeout of 0"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connector(text: &str) -> Connector {
        toml::from_str(text).unwrap()
    }

    fn parameters(pairs: &[(&str, &str)]) -> Parameters {
        pairs.iter().map(|(key, value)| (key.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn only_values_that_are_listed_are_allowed() {
        let pg = connector(
            r#"name = "pg"
               command = ["/bin/true"]
               allow = { role = ["orders_*", "*_ro", "a*b*c"], database = ["orders", ""] }"#,
        );
        for value in ["orders_", "orders_rw", "x_ro", "abc", "aXbYc", "abbc"] {
            assert_eq!(pg.refusal(&parameters(&[("role", value)])), None, "{value}");
        }
        for value in ["postgres", "xorders_rw", "orders", "_r", "ab", "acb", "a", "c"] {
            assert!(pg.refusal(&parameters(&[("role", value)])).is_some(), "{value}");
        }
        assert_eq!(pg.refusal(&parameters(&[("role", "orders_rw"), ("database", "orders")])), None);
        let why = pg.refusal(&parameters(&[("role", "orders_rw"), ("group", "sudo")])).unwrap();
        assert_eq!(why, "the connector pg allows no parameter group");
        let why = pg.refusal(&parameters(&[("role", "postgres")])).unwrap();
        assert_eq!(why, "the connector pg does not allow role=postgres");
    }

    #[test]
    fn a_parameter_is_left_out_only_if_that_is_allowed() {
        let pg = connector(
            r#"name = "pg"
               command = ["/bin/true"]
               allow = { database = ["orders", "*"], role = ["orders_*"], site = ["", "north"] }"#,
        );
        let whole = [("role", "orders_rw"), ("database", "orders")];
        assert_eq!(pg.refusal(&parameters(&whole)), None);
        let why = pg.refusal(&parameters(&whole[..1])).unwrap();
        assert_eq!(why, "the connector pg does not allow a binding without database");
        assert!(pg.refusal(&parameters(&whole[1..])).unwrap().ends_with("without role"));
        assert!(pg.refusal(&parameters(&[])).is_some());
        assert!(pg.refusal(&parameters(&[whole[0], whole[1], ("site", "south")])).is_some());
    }

    #[test]
    fn the_defaults() {
        let own = connector("name = \"own\"\ncommand = [\"/bin/true\"]");
        assert_eq!((own.timeout().as_secs(), own.place), (60, ConnectorPlace::EveryHost));
        assert!(own.refusal(&parameters(&[("group", "docker")])).is_some(), "nothing is allowed by default");
        assert_eq!(own.refusal(&parameters(&[])), None);
    }
}
