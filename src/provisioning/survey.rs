//! The connectors of this machine, what is wrong with them, and which bindings they refuse.

use serde::Serialize;

use super::run::{desired, no_connector, refused_bindings};
use crate::backend::Backend;
use crate::config;
use crate::config::Connector;
use crate::domain::binding::{Binding, written};
use crate::domain::duration::spell;
use crate::domain::name::Name;
use crate::error::Failure;
use crate::identity;
use crate::protocol::{FindingView, Health};

/// A connector, as `connector list` shows it.
#[derive(Debug, Serialize)]
pub struct ConnectorView {
    pub name: Name,
    pub command: Vec<String>,
    pub r#where: String,
    pub timeout: String,
    /// The values that bindings may name.
    pub allow: Vec<String>,
    /// Why it can't be run.
    pub fault: Option<String>,
    /// The bindings that it refuses, and why.
    pub refused: Vec<String>,
}

pub fn named(name: &Name) -> Result<Connector, Failure> {
    let found = config::connectors()?.into_iter().find(|connector| connector.name == *name);
    found.ok_or_else(|| no_connector(name))
}

/// All connectors. Refused bindings are known only to those who may reconcile.
pub fn connectors(backend: Option<&Backend>) -> Result<Vec<ConnectorView>, Failure> {
    let configured = config::connectors()?;
    let refused = refused(backend, &configured);
    let view = |connector: &Connector| ConnectorView {
        name: connector.name.clone(),
        command: connector.command.clone(),
        r#where: connector.place.as_str().to_owned(),
        timeout: spell(i64::try_from(connector.timeout().as_secs()).unwrap_or(i64::MAX)),
        allow: connector.allowed(),
        fault: connector.program().err(),
        refused: refused.iter().filter(|(of, _)| *of == connector.name).map(|(_, why)| why.clone()).collect(),
    };
    let mut views: Vec<ConnectorView> = configured.iter().map(view).collect();
    // Bindings to connectors that are not configured.
    let is_known = |name: &Name| configured.iter().any(|connector| connector.name == *name);
    let unknown = refused.iter().filter(|(name, _)| !is_known(name));
    let mut names: Vec<&Name> = unknown.map(|(name, _)| name).collect();
    names.dedup();
    for name in names {
        views.push(ConnectorView {
            name: name.clone(),
            command: Vec::new(),
            r#where: String::new(),
            timeout: String::new(),
            allow: Vec::new(),
            fault: Some("it is not configured on this machine".to_owned()),
            refused: refused.iter().filter(|(of, _)| of == name).map(|(_, why)| why.clone()).collect(),
        });
    }
    Ok(views)
}

fn refused(backend: Option<&Backend>, configured: &[Connector]) -> Vec<(Name, String)> {
    // Others would be refused, and that is recorded.
    let may = backend.filter(|backend| matches!(backend, Backend::Own(_)) || identity::is_root());
    let bindings = may.and_then(|backend| desired(backend, None).ok()).map(|rows| rows.state.bindings);
    let mut refused: Vec<(Name, String)> =
        refused_bindings(configured, &bindings.unwrap_or_default()).into_iter().map(in_words).collect();
    refused.sort();
    refused
}

/// `target:orders-db role=postgres: the connector orders-pg does not allow role=postgres`.
fn in_words((binding, why): (Binding, String)) -> (Name, String) {
    let what = format!("{} {}", binding.resource, written(&binding.parameters));
    (binding.connector, format!("{}: {why}", what.trim_end()))
}

/// Which of these bindings this machine refuses, and why.
pub fn refusals(bindings: &[Binding]) -> Result<Vec<String>, Failure> {
    if bindings.is_empty() {
        return Ok(Vec::new());
    }
    let refused = refused_bindings(&config::connectors()?, bindings);
    Ok(refused.into_iter().map(|refused| format!("a binding is refused: {}", in_words(refused).1)).collect())
}

/// What `doctor` says of them. Nothing, if there are none.
pub fn findings(backend: Option<&Backend>) -> Vec<FindingView> {
    let finding = |health, found, mend| FindingView { what: "connectors".to_owned(), health, found, mend };
    let views = match connectors(backend) {
        Ok(views) => views,
        Err(failure) => return vec![finding(Health::Wrong, failure.message, failure.hints)],
    };
    let mut found = Vec::new();
    for view in &views {
        if let Some(fault) = &view.fault {
            found.push(finding(Health::Wrong, format!("{}: {fault}", view.name), Vec::new()));
        }
        for refused in &view.refused {
            let mend = vec!["correct the binding in the team file, or `allow` in config.toml".to_owned()];
            found.push(finding(Health::Wrong, format!("a binding is refused: {refused}"), mend));
        }
    }
    if found.is_empty() && !views.is_empty() {
        let names: Vec<&str> = views.iter().map(|view| view.name.as_str()).collect();
        found.push(finding(Health::Ok, names.join(", "), Vec::new()));
    }
    found
}
