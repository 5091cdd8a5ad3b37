//! What a grant would open.

use std::collections::BTreeSet;

use super::other_grants::Held;
use crate::domain::catalog::{CatalogItem, Environment};
use crate::domain::name::Name;
use crate::domain::principal::Principal;
use crate::domain::resource::Resource;
use crate::domain::terms::Terms;
use crate::domain::time::Timestamp;

/// Terms, and everything that judging them takes.
#[derive(Debug, Clone, Copy)]
pub struct Case<'c> {
    pub requester: &'c Principal,
    pub terms: &'c Terms,
    /// The resource, and after it everything else that a grant of it lets its holder use.
    pub reach: &'c [CatalogItem],
    pub held: &'c Held,
    /// When the grant would be given.
    pub now: Timestamp,
}

/// One thing that a grant would open.
pub(super) struct OpenedItem<'c> {
    /// `kind:name`.
    pub(super) text: String,
    pub(super) resource: Resource,
    pub(super) thing: &'c CatalogItem,
    pub(super) environment: Option<Environment>,
    /// A target whose connections are all opened by the same grant: it needs no default demand of its own.
    pub(super) follows_connections: bool,
}

/// What a grant would open.
pub(super) struct Opened<'c> {
    pub(super) case: Case<'c>,
    /// In the order of their texts.
    pub(super) things: Vec<OpenedItem<'c>>,
    /// The scope asked for, when it opens other things. Rules can name it.
    pub(super) scope: Option<Resource>,
}

impl<'c> Opened<'c> {
    pub(super) fn by(case: Case<'c>) -> Opened<'c> {
        let (scope, opened) = match case.reach {
            [scope @ CatalogItem::Scope { .. }, covered @ ..] if !covered.is_empty() => {
                (Some(scope.resource()), covered)
            }
            reach => (None, reach),
        };
        let connections: BTreeSet<&Name> = opened
            .iter()
            .filter_map(|thing| match thing {
                CatalogItem::Connection { name, .. } => Some(name),
                CatalogItem::Target { .. }
                | CatalogItem::Feature { .. }
                | CatalogItem::Scope { .. }
                | CatalogItem::Role(_) => None,
            })
            .collect();
        let follows = |thing: &CatalogItem| match thing {
            CatalogItem::Target { connections: of, .. } => {
                !of.is_empty() && of.keys().all(|name| connections.contains(name))
            }
            CatalogItem::Connection { .. }
            | CatalogItem::Feature { .. }
            | CatalogItem::Scope { .. }
            | CatalogItem::Role(_) => false,
        };
        let mut things: Vec<OpenedItem<'c>> = opened
            .iter()
            .map(|thing| {
                let resource = thing.resource();
                OpenedItem {
                    text: resource.to_string(),
                    resource,
                    thing,
                    environment: thing.environment(),
                    follows_connections: follows(thing),
                }
            })
            .collect();
        things.sort_by(|a, b| a.text.cmp(&b.text));
        Opened { case, things, scope }
    }

    /// Whether these terms open nothing more than the others, start no earlier and end no later.
    pub(super) fn is_within(&self, other: &Opened<'_>) -> bool {
        let (mine, theirs) = (&self.case, &other.case);
        let earlier = mine.terms.starts_at(mine.now) < theirs.terms.starts_at(theirs.now);
        let later = match (mine.terms.ends_at(mine.now), theirs.terms.ends_at(theirs.now)) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(mine), Some(theirs)) => mine > theirs,
        };
        let opened: BTreeSet<&str> = other.things.iter().map(|it| it.text.as_str()).collect();
        !self.things.is_empty() && !earlier && !later && self.things.iter().all(|it| opened.contains(it.text.as_str()))
    }
}
