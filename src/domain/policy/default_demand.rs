//! The default demand: what needs an approval although no rule demands one.

use super::rule::Rule;
use crate::domain::catalog::CatalogItem;
use crate::domain::role::Role;

/// Whether a rule that matches this thing can take the place of its default demand. A rule that names a scope replaces
/// none, even while the scope covers nothing: the scope may cover more tomorrow.
pub fn takes_default(rule: &Rule, thing: &CatalogItem) -> bool {
    match thing {
        CatalogItem::Scope { .. } => rule.matches.resources.is_empty(),
        CatalogItem::Role(_)
        | CatalogItem::Connection { .. }
        | CatalogItem::Target { .. }
        | CatalogItem::Feature { .. } => gives(rule, thing),
    }
}

/// Whether a rule that matches this thing can give it without anybody's approval. It has to name a role.
pub(super) fn gives(rule: &Rule, thing: &CatalogItem) -> bool {
    !matches!(thing, CatalogItem::Role(_)) || !rule.matches.resources.is_empty()
}

/// The least role of those who meet the default demand for this thing.
pub fn default_role(thing: &CatalogItem) -> Role {
    match thing {
        CatalogItem::Feature { role, .. } => (*role).max(Role::Admin),
        CatalogItem::Connection { .. }
        | CatalogItem::Target { .. }
        | CatalogItem::Scope { .. }
        | CatalogItem::Role(_) => Role::Admin,
    }
}
