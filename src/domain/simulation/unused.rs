//! Parts of a team file that have no effect, often because a name is mistyped: patterns that match nothing, groups
//! that nobody is in, scopes that cover nothing.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::catalog::CatalogItem;
use crate::domain::member::Assignee;
use crate::domain::name::Name;
use crate::domain::policy::pattern::Pattern;
use crate::domain::resource::Resource;
use crate::domain::team::Team;
use crate::domain::text::nearest;

/// So many patterns are compared with all names of their kind to say which one was meant.
const MOST_COMPARED: usize = 50;

pub fn warnings(team: &Team) -> Vec<String> {
    let resources: Vec<Resource> = team.resources().collect();
    let items: Vec<CatalogItem> = resources.iter().filter_map(|resource| team.item(resource)).collect();
    let mut compared = 0;
    let mut warnings = Vec::new();
    for rule in &team.rules {
        let unmatched = |pattern: &&Pattern| !resources.iter().any(|resource| pattern.matches(resource));
        let unmatched: Vec<&Pattern> = rule.matches.resources.iter().filter(unmatched).collect();
        for pattern in &unmatched {
            compared += 1;
            let near = if compared <= MOST_COMPARED { nearest_to(pattern, &resources) } else { None };
            let near = near.map(|near| format!("; the nearest name is {near}")).unwrap_or_default();
            warnings
                .push(format!("rule {:?}: {pattern} matches nothing that is in the file{near}", rule.name.as_str()));
        }
        // Rules that approve nothing have a warning of their own.
        if unmatched.is_empty() && !rule.auto_approve && !items.iter().any(|item| rule.matches.names(item)) {
            let why = "its resources and environments match nothing that is in the file together";
            warnings.push(format!("rule {:?} has no effect: {why}", rule.name.as_str()));
        }
    }
    warnings.extend(nobody(team));
    warnings.extend(team.scopes.iter().filter_map(|(name, scope)| {
        let covers = items.iter().any(|item| scope.covers.covers(item));
        (!covers).then(|| format!("scope {name} covers nothing that is in the file"))
    }));
    warnings
}

fn nearest_to(pattern: &Pattern, resources: &[Resource]) -> Option<String> {
    let of_kind = resources.iter().filter(|resource| resource.kind() == pattern.kind());
    let near = nearest(&pattern.letters(), of_kind.map(Resource::name))?;
    Some(format!("{}:{near}", pattern.kind()))
}

/// People who are named somewhere, and are nobody: once for each, with the places.
fn nobody(team: &Team) -> Vec<String> {
    let mut places: BTreeMap<(&Assignee, bool), Vec<String>> = BTreeMap::new();
    for rule in &team.rules {
        let keys: [(&str, &BTreeSet<Assignee>); 3] = [
            ("approvers", &rule.approvers),
            ("escalate_to", &rule.escalate_to),
            ("requesters", &rule.matches.requesters),
        ];
        for (key, named) in keys {
            for assignee in named {
                let place = format!("rule {:?} ({key})", rule.name.as_str());
                let exactly = key == "requesters" && matches!(assignee, Assignee::Role(_));
                places.entry((assignee, exactly)).or_default().push(place);
            }
        }
    }
    for (name, scope) in &team.scopes {
        for assignee in &scope.assigned {
            places.entry((assignee, false)).or_default().push(format!("scope {name}"));
        }
    }
    let nobody = places.into_iter().filter(|((assignee, exactly), _)| !is_anybody(team, assignee, *exactly));
    nobody.map(|((assignee, _), places)| warning(assignee, &places)).collect()
}

/// Whether any member who is not disabled is named so. `exactly`: a role is that role alone, not those above it too.
fn is_anybody(team: &Team, assignee: &Assignee, exactly: bool) -> bool {
    let able = |name: &&Name| team.members.get(*name).is_some_and(|member| !member.disabled);
    match assignee {
        Assignee::Member(name) => able(&name),
        Assignee::Group(group) => {
            team.groups.get(group).is_some_and(|group| group.members.iter().any(|name| able(&name)))
        }
        Assignee::Role(role) => team
            .members
            .values()
            .any(|member| !member.disabled && if exactly { member.role == *role } else { member.role >= *role }),
    }
}

fn warning(assignee: &Assignee, places: &[String]) -> String {
    let more = places.len().saturating_sub(3);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let places = places.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
    let what = match assignee {
        Assignee::Member(_) => "is disabled",
        Assignee::Group(_) => "has no member who can act",
        Assignee::Role(_) => "is nobody's role",
    };
    format!("{assignee} {what}, and is named by {places}{more}")
}
