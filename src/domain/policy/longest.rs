//! A length that is allowed, for who asks for one that is too long.

use super::judge::{Judgement, judge};
use super::opened::Proposal;
use super::rule::Rule;
use crate::domain::duration::Length;
use crate::domain::terms::{End, Terms};

/// The longest length that no rule's `max_duration` forbids in the place of the one that would be granted. None: it is
/// not the length that is forbidden, or every length is.
///
/// What counts together with a length never shrinks as the length grows. So each rule forbids all that is longer than its limits, halving
/// finds the longest that none forbids, and a rule that does not forbid a length forbids no shorter one. Judging takes time where much is
/// opened, and this is done while others wait.
pub fn longest_allowed(
    rules: &[Rule],
    asked: Proposal<'_>,
    granted: Option<Proposal<'_>>,
    emergency: bool,
) -> Option<Length> {
    let case = granted.unwrap_or(asked);
    let judged = |rules: &[Rule], length: Length| {
        let terms = Terms { end: End::After(length), ..case.terms.clone() };
        let judged = Proposal { terms: &terms, ..case };
        match granted {
            Some(_) => judge(rules, asked, Some(judged), emergency),
            None => judge(rules, judged, None, emergency),
        }
    };
    let limits: Vec<Rule> = rules.iter().filter(|rule| rule.max_duration.is_some()).cloned().collect();
    let own = case.terms.ends_at(case.now).map(|end| end.since(case.terms.starts_at(case.now)));
    let most = Length::from_seconds(own.unwrap_or(Length::HOUR.seconds()).min(Length::LONGEST.seconds())).ok()?;
    let judgement = judged(&limits, most);
    let forbidding = |judgement: &Judgement| -> Vec<Rule> {
        judgement.matched.iter().filter(|it| it.too_long().is_some()).map(|it| it.rule.clone()).collect()
    };
    let mut limits = forbidding(&judgement);
    let Some(least) = limits.iter().filter_map(|rule| rule.max_duration.max(rule.matches.longer_than)).min() else {
        return own.is_none().then_some(most);
    };
    // Without other grants, the first try is the last.
    let (mut longest, mut too_long) = (None, most.seconds().min(least.seconds() + 1));
    let mut next = least.seconds().min(too_long - 1);
    while let Ok(length) = Length::from_seconds(next) {
        let judgement = judged(&limits, length);
        let forbidding = forbidding(&judgement);
        if forbidding.is_empty() {
            longest = Some(length);
        } else {
            (limits, too_long) = (forbidding, length.seconds());
        }
        let shortest = longest.map_or(0, Length::seconds);
        if shortest + 1 >= too_long {
            break;
        }
        next = too_long.midpoint(shortest);
    }
    longest
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::option;

    use super::*;
    use crate::domain::catalog::{Connection, Environment, Target};
    use crate::domain::member::Login;
    use crate::domain::name::Name;
    use crate::domain::policy::other_grants::{OtherGrant, OtherGrants};
    use crate::domain::principal::Principal;
    use crate::domain::team::Team;
    use crate::domain::time::Timestamp;

    fn time(seconds: i64) -> Timestamp {
        Timestamp::from_unix(1_000_000 + seconds).unwrap()
    }

    fn length(seconds: i64) -> Length {
        Length::from_seconds(seconds).unwrap()
    }

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn team() -> Team {
        let owner = name("olivia");
        let mut team = Team::of_one(name("acme"), owner.clone(), Login::from(&owner));
        team.connections.insert(name("c0"), Connection { environment: Environment::Production, offline_for: None });
        team.targets.insert(name("t0"), Target { connections: [name("c0")].into(), offline_for: None });
        team
    }

    proptest::proptest! {
        #[test]
        fn what_is_found_is_the_longest_that_is_allowed(
            limits in vec((1..5000_i64, 1..3000_i64, 1..9000_i64), 1..5),
            grants in vec((0..8000_i64, 1..4000_i64), 0..4),
            own in option::of(1..6000_i64),
        ) {
            let (requester, team) = (Principal::gone(name("bob")), team());
            let rule = |(number, limits): (usize, &(i64, i64, i64))| -> Rule {
                let [most, cooldown, least] = [limits.0, limits.1, limits.2].map(|seconds| format!("{seconds}s"));
                serde_json::from_value(serde_json::json!({
                    "name": format!("r{number}"), "max_duration": most, "cooldown": cooldown, "match": { "longer_than": least }
                }))
                .unwrap()
            };
            let rules: Vec<Rule> = limits.iter().enumerate().map(rule).collect();
            let grants = grants.iter().zip(1..).map(|((from, long), request)| OtherGrant {
                request: i64::try_into(request).unwrap(),
                resource: "target:t0".parse().unwrap(),
                starts_at: time(*from),
                ends_at: Some(time(from + long)),
            });
            let held = OtherGrants { grants: grants.collect(), ..OtherGrants::default() };
            let terms = |end| Terms { resource: "target:t0".parse().unwrap(), end, start: Some(time(4000)) };
            let reach = team.reach(&terms(End::Never).resource, None);
            let of = |terms: &Terms| {
                let case = Proposal { requester: &requester, terms, reach: &reach, held: &held, now: time(0) };
                (longest_allowed(&rules, case, None, false), !judge(&rules, case, None, false).forbids_length(terms))
            };
            let is_allowed = |seconds| of(&terms(End::After(length(seconds)))).1;
            match of(&terms(own.map_or(End::Never, |own| End::After(length(own))))).0.map(Length::seconds) {
                Some(found) => assert!(is_allowed(found) && (found >= own.unwrap_or(3600) || !is_allowed(found + 1))),
                None => assert!(own.is_some_and(is_allowed) || !is_allowed(1)),
            }
        }
    }
}
