//! The connectors of this machine, what is wrong with them, and which bindings they refuse.

use std::collections::BTreeSet;

use serde::Serialize;

use super::run::{desired, no_connector};
use super::system::restored;
use crate::backend::Backend;
use crate::config;
use crate::config::Connector;
use crate::domain::binding::{Binding, written};
use crate::domain::duration::spell;
use crate::domain::name::Name;
use crate::error::Failure;
use crate::identity;
use crate::protocol::{FindingView, Health};
use crate::store::Journal;

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
    Ok(survey(backend)?.views)
}

struct ConnectorSurvey {
    views: Vec<ConnectorView>,
    /// Bindings name them, and only other hosts that share the log can have them.
    elsewhere: Vec<Name>,
}

fn survey(backend: Option<&Backend>) -> Result<ConnectorSurvey, Failure> {
    let configured = config::connectors()?;
    // Others would be refused, and that is recorded.
    let may = backend.filter(|backend| matches!(backend, Backend::Own(_)) || identity::is_root());
    let state = may.and_then(|backend| desired(backend, None).ok()).map(|rows| rows.state);
    let (bindings, host) = state.map_or((Vec::new(), None), |state| (state.bindings, state.host));
    let mut refused: Vec<(Name, String)> = refused(&configured, &bindings).map(in_words).collect();
    refused.sort();
    let of = |name: &Name| refused.iter().filter(|(of, _)| of == name).map(|(_, why)| why.clone()).collect();
    let view = |connector: &Connector| ConnectorView {
        name: connector.name.clone(),
        command: connector.command.clone(),
        r#where: connector.place.as_str().to_owned(),
        timeout: spell(i64::try_from(connector.timeout().as_secs()).unwrap_or(i64::MAX)),
        allow: connector.allowed(),
        fault: connector.program().err(),
        refused: of(&connector.name),
    };
    let mut views: Vec<ConnectorView> = configured.iter().map(view).collect();
    let mut elsewhere = Vec::new();
    for name in unconfigured(&configured, &bindings) {
        let (fault, refused) = match host {
            Some(_) => {
                elsewhere.push(name.clone());
                ("it is not configured on this host; another host must have it", Vec::new())
            }
            None => ("it is not configured on this machine", of(&name)),
        };
        views.push(ConnectorView {
            name,
            command: Vec::new(),
            r#where: String::new(),
            timeout: String::new(),
            allow: Vec::new(),
            fault: Some(fault.to_owned()),
            refused,
        });
    }
    Ok(ConnectorSurvey { views, elsewhere })
}

/// The bindings that the configuration of this machine does not allow, and why.
fn refused<'b>(configured: &'b [Connector], bindings: &'b [Binding]) -> impl Iterator<Item = (&'b Binding, String)> {
    let refusal = |binding: &Binding| match configured.iter().find(|connector| connector.name == binding.connector) {
        Some(connector) => connector.refusal(&binding.parameters),
        None => Some(format!("no connector {} is configured on this machine", binding.connector)),
    };
    bindings.iter().filter_map(move |binding| Some((binding, refusal(binding)?)))
}

/// The connectors that only bindings name.
fn unconfigured(configured: &[Connector], bindings: &[Binding]) -> BTreeSet<Name> {
    let is_configured = |name: &Name| configured.iter().any(|connector| connector.name == *name);
    bindings.iter().map(|binding| binding.connector.clone()).filter(|name| !is_configured(name)).collect()
}

/// `target:orders-db role=postgres: the connector orders-pg does not allow role=postgres`.
fn in_words((binding, why): (&Binding, String)) -> (Name, String) {
    let what = format!("{} {}", binding.resource, written(&binding.parameters));
    (binding.connector.clone(), format!("{}: {why}", what.trim_end()))
}

/// What to warn of before these bindings are applied. `is_shared`: other hosts share the log, and may have the connectors
/// that this one lacks.
pub fn warnings(bindings: &[Binding], is_shared: bool) -> Result<Vec<String>, Failure> {
    if bindings.is_empty() {
        return Ok(Vec::new());
    }
    let configured = config::connectors()?;
    let missing = if is_shared { unconfigured(&configured, bindings) } else { BTreeSet::new() };
    let refused = refused(&configured, bindings).filter(|(binding, _)| !missing.contains(&binding.connector));
    let refused = refused.map(|refused| format!("a binding is refused: {}", in_words(refused).1));
    let elsewhere = missing
        .iter()
        .map(|name| format!("no connector {name} is configured on this host; make sure that another host has it"));
    Ok(refused.chain(elsewhere).collect())
}

/// What `doctor` says of them. Nothing, if there are none.
pub fn findings(backend: Option<&Backend>) -> Vec<FindingView> {
    let finding = |health, found, mend| FindingView { what: "connectors".to_owned(), health, found, mend };
    let ConnectorSurvey { views, elsewhere } = match survey(backend) {
        Ok(survey) => survey,
        Err(failure) => return vec![finding(Health::Wrong, failure.message, failure.hints)],
    };
    let mut found = Vec::new();
    let (left, ours): (Vec<&ConnectorView>, _) = views.iter().partition(|view| elsewhere.contains(&view.name));
    for view in &ours {
        if let Some(fault) = &view.fault {
            found.push(finding(Health::Wrong, format!("{}: {fault}", view.name), Vec::new()));
        }
        for refused in &view.refused {
            let mend = vec!["correct the binding in the team file, or `allow` in config.toml".to_owned()];
            found.push(finding(Health::Wrong, format!("a binding is refused: {refused}"), mend));
        }
    }
    let listed = |views: &[&ConnectorView]| views.iter().map(|view| view.name.as_str()).collect::<Vec<_>>().join(", ");
    let stopped = if views.is_empty() { None } else { backend.and_then(stopped) };
    found.extend(stopped.map(|why| finding(Health::Wrong, why.message, why.hints)));
    if found.is_empty() && !ours.is_empty() {
        found.push(finding(Health::Ok, listed(&ours), Vec::new()));
    }
    if !left.is_empty() {
        found.push(finding(
            Health::Ok,
            format!("not on this host, so left to the others: {}", listed(&left)),
            Vec::new(),
        ));
    }
    found
}

/// Why nothing is given or taken back by any connector, such as after a restore. None: it is, or the journal belongs to another user.
fn stopped(backend: &Backend) -> Option<Failure> {
    let journal = backend.journal().ok()?;
    let looked = || -> Result<Option<Failure>, Failure> {
        // Opening a journal would create it.
        let known = if journal.exists() { Journal::open(&journal)?.position()? } else { None };
        let continues = desired(backend, known.clone())?.state.continues;
        Ok((!continues).then(|| restored(known.as_ref())))
    };
    looked().unwrap_or_else(Some)
}
