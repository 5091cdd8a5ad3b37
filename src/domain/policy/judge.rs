//! Judging a request: what a grant would open, which rules match that, and whose approval it takes.
//!
//! Everything that a grant would open needs its own approvers:
//!
//! 1. A grant opens its resource. A connection also opens its targets. A scope opens the connections and targets that it
//!    covers, or itself if it covers nothing. A feature or a role is one thing.
//! 2. Each rule with approvers that matches an opened thing makes one demand. A rule that names a scope adds a demand and
//!    replaces none.
//! 3. Opened things that no such rule matches are under the default demand, made once: an admin or the owner; for a
//!    feature, someone who also holds its role. A target whose connections are all opened too adds no default. Only a rule
//!    whose `resources` names a role takes the default of a role away.
//! 4. The demands of what was asked and of what would be granted add up, unless the granted terms are within those asked:
//!    they open nothing more, start no earlier and end no later. Then only the granted terms count.
//! 5. Deny rules, limits and tickets bind if they match what was asked or what would be granted.
//!
//! Nothing here decides; `decide` does, by what is said here.

use std::collections::{BTreeMap, BTreeSet};

use super::rule::{Match, Rule, RuleName};
use crate::domain::duration::{Length, spell};
use crate::domain::entitlement::{CatalogItem, Principal, grant_covers};
use crate::domain::name::Name;
use crate::domain::refusal::{Breach, Refusal};
use crate::domain::request::{End, Request, RequestId, Terms};
use crate::domain::resource::Resource;
use crate::domain::role::Role;
use crate::domain::team::{Assignee, Environment, Scope};
use crate::domain::text::{Text, Ticket};
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

/// The requester's other grants: their lengths count together with what is asked now.
#[derive(Debug, Clone, Default)]
pub struct Held {
    pub grants: Vec<HeldGrant>,
    /// The scopes that these grants are for.
    pub scopes: BTreeMap<Name, Scope>,
}

#[derive(Debug, Clone)]
pub struct HeldGrant {
    pub request: RequestId,
    pub resource: Resource,
    pub starts_at: Timestamp,
    /// When it ended or will end. None: permanent.
    pub ends_at: Option<Timestamp>,
}

/// How long somebody would have a thing, counted with their other grants of it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Counted {
    /// In seconds. None: permanent.
    seconds: Option<i64>,
    /// The requests whose grants were counted in.
    with: Vec<RequestId>,
}

impl Counted {
    fn is_longer_than(&self, length: Length) -> bool {
        self.seconds.is_none_or(|seconds| seconds > length.seconds())
    }
}

/// One thing that a grant would open.
struct OpenedItem<'c> {
    /// `kind:name`.
    text: String,
    resource: Resource,
    thing: &'c CatalogItem,
    environment: Option<Environment>,
    /// A target whose connections are all opened by the same grant: it needs no default demand of its own.
    follows_connections: bool,
}

/// What a grant would open.
struct Opened<'c> {
    case: Case<'c>,
    /// In the order of their texts.
    things: Vec<OpenedItem<'c>>,
    /// The scope asked for, when it opens other things. Rules can name it.
    scope: Option<Resource>,
}

/// How a rule matches what a grant would open.
struct Hit {
    /// The things that match, by their places in `Opened::things`.
    things: Vec<usize>,
    because: String,
    /// The longest time counted for any of them.
    counted: Counted,
}

impl<'c> Opened<'c> {
    fn by(case: Case<'c>) -> Opened<'c> {
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

    /// The things that a rule's `resources` names, by their places. All of them if it names none.
    fn named(&self, rule: &Rule) -> Vec<usize> {
        let patterns = &rule.matches.resources;
        if patterns.is_empty() {
            return (0..self.things.len()).collect();
        }
        let mut places = BTreeSet::new();
        for pattern in patterns {
            let beginning = pattern.beginning();
            let from = self.things.partition_point(|thing| thing.text < beginning);
            let near = self.things[from..].iter().zip(from..).take_while(|(it, _)| it.text.starts_with(&beginning));
            places.extend(near.filter(|(it, _)| pattern.matches(&it.resource)).map(|(_, place)| place));
        }
        places.into_iter().collect()
    }

    /// How the rule matches, if it does.
    fn hit(&self, rule: &Rule) -> Option<Hit> {
        let matches = &rule.matches;
        let permanent = self.case.terms.end.is_permanent();
        if matches.permanent.is_some_and(|asked| asked != permanent) {
            return None;
        }
        let requester = self.case.requester;
        let as_whom = if matches.requesters.is_empty() { None } else { Some(matches.whom(requester)?) };

        let cooldown = rule.cooldown.map_or(0, Length::seconds);
        let counts_length = rule.counts_length();
        let mut longest = Counted { seconds: Some(0), with: Vec::new() };
        let mut is_long_enough = |thing: Option<&CatalogItem>| {
            if !counts_length {
                return true;
            }
            let counted = self.counted(thing, cooldown);
            let enough = matches.longer_than.is_none_or(|least| counted.is_longer_than(least));
            if enough && longest.seconds.is_some() && counted.seconds.is_none_or(|it| Some(it) > longest.seconds) {
                longest = counted;
            }
            enough
        };
        let is_inside = |environment: Option<Environment>| {
            matches.environments.is_empty() || environment.is_some_and(|it| matches.environments.contains(&it))
        };
        // A scope is in the environments of everything that it covers.
        let scope = self.scope.as_ref().filter(|scope| matches.resources.iter().any(|pattern| pattern.matches(scope)));
        let scope = scope.filter(|_| self.things.iter().any(|it| is_inside(it.environment)) && is_long_enough(None));
        let mut things = self.named(rule);
        things.retain(|&place| {
            let OpenedItem { environment, thing, .. } = &self.things[place];
            is_inside(*environment) && is_long_enough(Some(thing))
        });
        if scope.is_none() && things.is_empty() {
            return None;
        }

        let mut because: Vec<String> = Vec::new();
        because.extend(matches.longer_than.map(|least| format!("it is for longer than {least}")));
        because.extend(matches.permanent.map(|it| if it { "it is permanent" } else { "it is time-bound" }.to_owned()));
        because.extend(as_whom.map(|as_whom| match as_whom {
            Assignee::Member(name) => format!("{name} asks"),
            Assignee::Group(_) | Assignee::Role(_) => format!("{} is in {as_whom}", requester.name),
        }));
        if !(matches.resources.is_empty() && matches.environments.is_empty()) {
            because.push(self.touched(scope, &things, !matches.environments.is_empty()));
        }
        if because.is_empty() {
            because.push("it matches every request".to_owned());
        }
        Some(Hit { things, because: because.join("; "), counted: longest })
    }

    /// Whether the rule counts a request for this: by resource, environment and requester. The length makes no difference, or
    /// nobody could count the short requests that make up a long one.
    fn is_counted_by(&self, rule: &Rule) -> bool {
        let matches = Match { longer_than: None, permanent: None, ..rule.matches.clone() };
        self.hit(&Rule { max_duration: None, matches, ..rule.clone() }).is_some()
    }

    /// `it is connection:prod-aws, in production`, or what it reaches.
    fn touched(&self, scope: Option<&Resource>, places: &[usize], with_environment: bool) -> String {
        let whole = &self.case.terms.resource;
        let things = || places.iter().map(|&place| &self.things[place]);
        let itself = things().find(|it| it.resource == *whole);
        let first = if scope.is_some() { itself } else { itself.or_else(|| things().next()) };
        let environment = match first {
            Some(thing) => thing.environment,
            None => self.things.iter().find_map(|it| it.environment),
        };
        let place = match environment.filter(|_| with_environment) {
            Some(Environment::Production) => ", in production",
            Some(Environment::NonProduction) => ", not in production",
            None => "",
        };
        match first {
            Some(thing) if thing.resource != *whole => format!("it reaches {}{place}", thing.resource),
            Some(_) | None => format!("it is {whole}{place}"),
        }
    }

    /// How long the requester would have this thing, counted with their other grants that open it too and that touch this
    /// one or lie nearer to it than `cooldown` seconds. `thing`: None for the scope asked for.
    ///
    /// Where other grants open it all the time anyway, this one adds nothing, and only its own length counts.
    fn counted(&self, thing: Option<&CatalogItem>, cooldown: i64) -> Counted {
        let Case { terms, held, now, .. } = self.case;
        let starts_at = terms.starts_at(now).unix();
        let Some(ends_at) = terms.ends_at(now).map(Timestamp::unix) else {
            return Counted { seconds: None, with: Vec::new() };
        };
        let own = Counted { seconds: Some(ends_at - starts_at), with: Vec::new() };
        let opens = |grant: &&HeldGrant| match thing {
            Some(thing) => grant_covers(&grant.resource, thing, |name| held.scopes.get(name)),
            None => self.scope.as_ref() == Some(&grant.resource),
        };
        let end = |grant: &HeldGrant| grant.ends_at.map_or(i64::MAX, Timestamp::unix);
        let mut others: Vec<&HeldGrant> = held.grants.iter().filter(opens).collect();
        if others.is_empty() {
            return own;
        }
        others.sort_by_key(|grant| grant.starts_at);
        let intervals = || others.iter().map(|grant| (grant.starts_at.unix(), end(grant)));
        if covered(intervals(), starts_at, ends_at) {
            return own;
        }
        let near = |(from, to): (i64, i64), grant: &HeldGrant| {
            let gap = (from - end(grant)).max(grant.starts_at.unix() - to);
            gap <= 0 || gap < cooldown
        };
        let mut span = (starts_at, ends_at);
        let mut with: Vec<&HeldGrant> = Vec::new();
        loop {
            let (joined, apart): (Vec<&HeldGrant>, Vec<&HeldGrant>) =
                others.iter().copied().partition(|grant| near(span, grant));
            if joined.is_empty() {
                break;
            }
            for grant in &joined {
                span = (span.0.min(grant.starts_at.unix()), span.1.max(end(grant)));
            }
            with.extend(joined);
            others = apart;
        }
        if with.iter().any(|grant| grant.ends_at.is_none()) {
            return Counted { seconds: None, with: with.iter().map(|grant| grant.request).collect() };
        }
        let mut intervals: Vec<(i64, i64)> = with.iter().map(|grant| (grant.starts_at.unix(), end(grant))).collect();
        intervals.push((starts_at, ends_at));
        let mut requests: Vec<RequestId> = with.iter().map(|grant| grant.request).collect();
        requests.sort();
        Counted { seconds: Some(measure(intervals)), with: requests }
    }

    /// Whether the rule reaches as far as an emergency would: the resource itself, and every environment that it is in. A
    /// rule that names a scope does not reach it while it covers nothing: nobody knows what it covers tomorrow.
    fn is_within_reach(&self, rule: &Rule, hit: &Hit) -> bool {
        let environments = &rule.matches.environments;
        let inside = |it: &OpenedItem<'_>| it.environment.is_some_and(|it| environments.contains(&it));
        let names = |resource: &Resource| rule.matches.resources.iter().any(|pattern| pattern.matches(resource));
        let itself = match &self.scope {
            Some(scope) => names(scope),
            None => hit.things.iter().any(|&place| {
                let it = &self.things[place];
                it.resource == self.case.terms.resource && takes_default(rule, it.thing)
            }),
        };
        (environments.is_empty() || self.things.iter().all(inside)) && (itself || self.is_whole(rule, hit))
    }

    /// Whether the rule matches everything that a grant would open: what it approves by itself goes no further.
    fn is_whole(&self, rule: &Rule, hit: &Hit) -> bool {
        let matched: BTreeSet<usize> = hit.things.iter().copied().collect();
        self.things
            .iter()
            .enumerate()
            .all(|(place, it)| matched.contains(&place) && takes_default(rule, it.thing) || it.follows_connections)
    }

    /// The demands of these terms alone.
    fn demands(&self, hits: &[(&Rule, Hit)]) -> Demands {
        let mut rules: Vec<Requirement> = Vec::new();
        let mut has_own = vec![false; self.things.len()];
        for (rule, hit) in hits.iter().filter(|(rule, _)| !rule.approvers.is_empty()) {
            rules.push(Requirement {
                rule: Some(rule.name.clone()),
                approvers: rule.approvers.clone(),
                approvals: rule.approvals,
            });
            for &place in &hit.things {
                has_own[place] |= takes_default(rule, self.things[place].thing);
            }
        }
        let without = self.things.iter().zip(&has_own).filter(|(it, has_own)| !**has_own && !it.follows_connections);
        let default = without.map(|(it, _)| default_role(it.thing)).max();
        Demands { rules, default }
    }

    /// Whether these terms open nothing more than the others, start no earlier and end no later.
    fn is_within(&self, other: &Opened<'_>) -> bool {
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

/// Whether the rule counts a request for this resource towards its `max_per_day`. `reach`: the resource, and after it
/// everything else that a grant of it lets its holder use.
pub fn is_counted(
    rule: &Rule,
    requester: &Principal,
    resource: &Resource,
    reach: &[CatalogItem],
    now: Timestamp,
) -> bool {
    let (held, end) = (Held::default(), End::Never);
    let terms = Terms { resource: resource.clone(), end, start: None };
    Opened::by(Case { requester, terms: &terms, reach, held: &held, now }).is_counted_by(rule)
}

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
fn gives(rule: &Rule, thing: &CatalogItem) -> bool {
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

/// Whether intervals, in the order of their starts, cover all from `from` to `to`.
fn covered(intervals: impl Iterator<Item = (i64, i64)>, from: i64, to: i64) -> bool {
    let mut reached = from;
    for (start, end) in intervals {
        if start <= reached {
            reached = reached.max(end);
        }
    }
    reached >= to
}

/// How many seconds lie in any of these intervals.
pub fn measure(mut intervals: Vec<(i64, i64)>) -> i64 {
    intervals.sort_unstable();
    let mut reached = i64::MIN;
    let mut sum = 0;
    for (start, end) in intervals {
        sum += (end - start.max(reached)).max(0);
        reached = reached.max(end);
    }
    sum
}

/// A number of approvals that a request takes, and of whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// The rule that demands it. None: the default demand.
    pub rule: Option<RuleName>,
    pub approvers: BTreeSet<Assignee>,
    pub approvals: u32,
}

/// How a `role:R` among the approvers counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoleBasis {
    /// By the role that somebody has now, granted or not.
    Effective,
    /// By the team file alone: nobody gives permanent access by a role that will end.
    Base,
    /// By the team file alone, and from admin up: else granted admins could keep one another in office.
    BaseAdmin,
}

impl RoleBasis {
    /// How roles count for a request, if these were its terms.
    pub fn of(request: &Request, terms: &Terms) -> RoleBasis {
        if request.is_about_a_role(terms) {
            RoleBasis::BaseAdmin
        } else if terms.end.is_permanent() {
            RoleBasis::Base
        } else {
            RoleBasis::Effective
        }
    }
}

impl Requirement {
    /// Whether this person is one of those whose approval is demanded.
    pub fn is_met_by(&self, person: &Principal, basis: RoleBasis, now: Timestamp) -> bool {
        !person.is_disabled()
            && self.approvers.iter().any(|approver| match (approver, basis) {
                (Assignee::Member(name), _) => *name == person.name,
                (Assignee::Group(group), _) => person.groups.contains(group),
                (Assignee::Role(least), RoleBasis::Effective) => person.effective_role(now) >= *least,
                (Assignee::Role(least), RoleBasis::Base) => person.member.role >= *least,
                (Assignee::Role(least), RoleBasis::BaseAdmin) => person.member.role >= (*least).max(Role::Admin),
            })
    }

    fn default(least: Role) -> Requirement {
        Requirement { rule: None, approvers: [Assignee::Role(least)].into(), approvals: 1 }
    }
}

/// What terms demand: by rules, and by default.
#[derive(Debug, Clone, Default)]
struct Demands {
    rules: Vec<Requirement>,
    /// The least role that meets the default demand, if there is one.
    default: Option<Role>,
}

impl Demands {
    fn requirements(&self) -> Vec<Requirement> {
        self.rules.iter().cloned().chain(self.default.map(Requirement::default)).collect()
    }

    fn and(&self, other: &Demands) -> Demands {
        let mut rules = self.rules.clone();
        rules.extend(other.rules.iter().filter(|it| !self.rules.contains(it)).cloned());
        Demands { rules, default: self.default.max(other.default) }
    }
}

/// A rule that matches, and why.
#[derive(Debug, Clone)]
pub struct Matched {
    pub rule: Rule,
    pub because: String,
    counted: Counted,
}

/// The rules that match a request, and what they amount to.
#[derive(Debug, Clone)]
#[must_use]
pub struct Judgement {
    pub matched: Vec<Matched>,
    demands: Demands,
    of_granted: Demands,
    is_narrower: bool,
    approved_by: Option<RuleName>,
    emergency_by: Option<RuleName>,
    limits_number: Vec<Rule>,
    limits_number_of_granted: Vec<Rule>,
    /// Where the terms are too long: a length that is not. It takes time to find, so it is looked for only where it is shown.
    pub fits: Option<Length>,
}

/// Judges the terms asked, and those that would be granted where they differ.
pub fn judge<'r>(
    rules: impl IntoIterator<Item = &'r Rule>,
    asked: Case<'_>,
    granted: Option<Case<'_>>,
    emergency: bool,
) -> Judgement {
    let rules: Vec<&Rule> = rules.into_iter().filter(|rule| rule.is_about(emergency)).collect();
    let hits = |opened: &Opened<'_>| -> Vec<(&Rule, Hit)> {
        rules.iter().filter_map(|&rule| Some((rule, opened.hit(rule)?))).collect()
    };
    let asked = Opened::by(asked);
    let granted = granted.map(Opened::by);
    let of_asked = hits(&asked);
    let of_granted = granted.as_ref().map(&hits);

    let demands_asked = asked.demands(&of_asked);
    let asked_of_nobody = demands_asked.rules.is_empty();
    let is_narrower = granted.as_ref().is_some_and(|granted| granted.is_within(&asked));
    let (demands, demands_granted) = match (&granted, &of_granted) {
        (Some(granted), Some(of_granted)) => {
            let alone = granted.demands(of_granted);
            (if is_narrower { alone.clone() } else { demands_asked.and(&alone) }, alone)
        }
        (None, _) | (_, None) => (demands_asked.clone(), demands_asked),
    };
    // Without anybody's approval a grant is always of the terms asked.
    let gives = |gives: fn(&Opened<'_>, &Rule, &Hit) -> bool| {
        of_asked.iter().find(|(rule, hit)| gives(&asked, rule, hit)).map(|(rule, _)| rule.name.clone())
    };
    let approved_by = match asked_of_nobody {
        true => gives(|opened, rule, hit| rule.auto_approve && opened.is_whole(rule, hit)),
        false => None,
    };
    let emergency_by = gives(|opened, rule, hit| rule.emergency && opened.is_within_reach(rule, hit));

    // Where a rule matches the granted terms, those are what it limits.
    let mut found: BTreeMap<&RuleName, (String, Counted)> = BTreeMap::new();
    let own = granted.as_ref().unwrap_or(&asked).own_length();
    for (rule, hit) in of_asked {
        let counted = if granted.is_some() { own.clone() } else { hit.counted };
        found.insert(&rule.name, (hit.because, counted));
    }
    for (rule, hit) in of_granted.into_iter().flatten() {
        let because = found.remove(&rule.name).map_or(hit.because, |(because, _)| because);
        found.insert(&rule.name, (because, hit.counted));
    }
    let matched = rules.iter().filter_map(|rule| {
        let (because, counted) = found.remove(&rule.name)?;
        Some(Matched { rule: (*rule).clone(), because, counted })
    });
    let matched = matched.collect();
    let (mut limits_number, mut limits_number_of_granted) = (Vec::new(), Vec::new());
    for rule in rules.iter().filter(|rule| rule.max_per_day.is_some()) {
        if asked.is_counted_by(rule) {
            limits_number.push((*rule).clone());
        } else if granted.as_ref().is_some_and(|granted| granted.is_counted_by(rule)) {
            limits_number_of_granted.push((*rule).clone());
        }
    }
    Judgement {
        matched,
        demands,
        of_granted: demands_granted,
        is_narrower,
        approved_by,
        emergency_by,
        limits_number,
        limits_number_of_granted,
        fits: None,
    }
}

/// The longest length that no rule's `max_duration` forbids in the place of the one that would be granted. None: it is
/// not the length that is forbidden, or every length is.
///
/// What counts together with a length never shrinks as the length grows, so halving finds it.
pub fn longest_allowed(rules: &[Rule], asked: Case<'_>, granted: Option<Case<'_>>, emergency: bool) -> Option<Length> {
    let limits: Vec<Rule> = rules.iter().filter(|rule| rule.max_duration.is_some()).cloned().collect();
    let case = granted.unwrap_or(asked);
    let is_allowed = |seconds: i64| {
        let length = Length::from_seconds(seconds).ok()?;
        let terms = Terms { end: End::After(length), ..case.terms.clone() };
        let judged = Case { terms: &terms, ..case };
        let judgement = match granted {
            Some(_) => judge(&limits, asked, Some(judged), emergency),
            None => judge(&limits, judged, None, emergency),
        };
        (!judgement.forbids_length(&terms)).then_some(length)
    };
    let own = case.terms.ends_at(case.now).map(|end| end.since(case.terms.starts_at(case.now)));
    let mut too_long = own.unwrap_or(Length::HOUR.seconds());
    let mut longest = is_allowed(too_long);
    if own.is_some() && longest.is_some() {
        return None;
    }
    while longest.map_or(0, Length::seconds) + 1 < too_long {
        let middle = too_long.midpoint(longest.map_or(0, Length::seconds));
        match is_allowed(middle) {
            Some(length) => longest = Some(length),
            None => too_long = middle,
        }
    }
    longest
}

impl Opened<'_> {
    fn own_length(&self) -> Counted {
        let Case { terms, now, .. } = self.case;
        let seconds = terms.ends_at(now).map(|end| end.since(terms.starts_at(now)));
        Counted { seconds, with: Vec::new() }
    }
}

impl Judgement {
    fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.matched.iter().map(|matched| &matched.rule)
    }

    /// Whether a rule forbids these terms for their length.
    pub fn forbids_length(&self, terms: &Terms) -> bool {
        self.matched.iter().any(|it| it.too_long().is_some() || terms.end.is_permanent() && !it.rule.allow_permanent)
    }

    /// Whether any rule forbids these terms. Tells all that they break.
    pub fn allows(&self, terms: &Terms, reason: &Text, ticket: Option<&Ticket>) -> Result<(), Refusal> {
        let denies = self.rules().filter_map(|rule| Some((rule, rule.deny.as_ref()?)));
        let denies =
            denies.map(|(rule, message)| Refusal::RuleDenies { rule: rule.name.clone(), message: message.clone() });
        let mut against: Vec<Refusal> = denies.collect();
        let mut broken = |rule: &Rule, what: Breach| {
            against.push(Refusal::RuleForbids { rule: rule.name.clone(), what });
        };
        let fits = self.fits;
        for matched in &self.matched {
            if terms.end.is_permanent() && !matched.rule.allow_permanent {
                broken(&matched.rule, Breach::Permanent { fits });
            }
            if let Some(most) = matched.too_long() {
                broken(&matched.rule, Breach::TooLong { most, together: matched.counted.words(), fits });
            }
        }
        for rule in self.rules() {
            if let Some(pattern) = &rule.ticket
                && !ticket.is_some_and(|ticket| pattern.matches(ticket))
            {
                broken(rule, Breach::NoTicket { pattern: pattern.clone() });
            }
            let has = reason.as_str().chars().count();
            if let Some(least) = rule.reason_min
                && has < least as usize
            {
                broken(rule, Breach::ShortReason { least, has });
            }
        }
        Refusal::unless_none(against)
    }

    /// Whose approvals it takes, each demand on its own. Empty only when the catalogue knows nothing that it would open.
    pub fn requirements(&self) -> Vec<Requirement> {
        self.demands.requirements()
    }

    /// The demands of the granted terms alone. Only somebody who meets one of them can propose these terms.
    pub fn requirements_of_granted(&self) -> Vec<Requirement> {
        self.of_granted.requirements()
    }

    /// Whether the granted terms are not those asked, open nothing more, start no earlier and end no later.
    pub fn is_narrower(&self) -> bool {
        self.is_narrower
    }

    /// The rule that approves it without anybody.
    pub fn approved_by_rule(&self) -> Option<&RuleName> {
        self.approved_by.as_ref()
    }

    /// The rule that allows emergency access.
    pub fn allowed_in_emergency(&self) -> Option<&RuleName> {
        self.emergency_by.as_ref()
    }

    /// The rules that limit how many requests for this its requester may file in a day.
    pub fn limits_number(&self) -> &[Rule] {
        &self.limits_number
    }

    /// The rules that limit how many requests there may be for what would be granted, besides those for what was asked.
    pub fn limits_number_of_granted(&self) -> &[Rule] {
        &self.limits_number_of_granted
    }

    pub fn lapse_after(&self) -> Option<Length> {
        self.rules().filter_map(|rule| rule.lapse_after).min()
    }

    pub fn remind_after(&self) -> Option<Length> {
        self.rules().filter_map(|rule| rule.remind_after).min()
    }

    /// Who is reminded besides those who may decide.
    pub fn escalate_to(&self) -> BTreeSet<Assignee> {
        self.rules().flat_map(|rule| rule.escalate_to.iter().cloned()).collect()
    }
}

impl Matched {
    /// The limit that the length goes beyond, if it does.
    fn too_long(&self) -> Option<Length> {
        self.rule.max_duration.filter(|most| self.counted.is_longer_than(*most))
    }
}

impl Counted {
    /// `, and this would be 3h with requests 4 and 5`; empty when nothing else was counted.
    fn words(&self) -> String {
        let requests: Vec<String> = self.with.iter().map(ToString::to_string).collect();
        let Some((last, others)) = requests.split_last() else { return String::new() };
        let length = self.seconds.map_or_else(|| "permanent".to_owned(), spell);
        match others {
            [] => format!(", and this would be {length} together with request {last}"),
            others => format!(", and this would be {length} together with requests {} and {last}", others.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::request::End;
    use crate::domain::role::Role;
    use crate::domain::team::{Connection, Covers, Login, Target, Team};
    use proptest::prelude::*;

    fn time(seconds: i64) -> Timestamp {
        Timestamp::from_unix(1_000_000 + seconds).unwrap()
    }

    fn length(seconds: i64) -> Length {
        Length::from_seconds(seconds).unwrap()
    }

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    /// Counts every second by itself.
    fn measured_slowly(intervals: &[(i64, i64)]) -> i64 {
        let inside = |second: &i64| intervals.iter().any(|(from, to)| (from..to).contains(&second));
        i64::try_from((0..60).filter(inside).count()).unwrap()
    }

    proptest! {
        #[test]
        fn overlapping_time_counts_once(intervals in prop::collection::vec((0..50_i64, 0..10_i64), 0..6)) {
            let intervals: Vec<(i64, i64)> = intervals.into_iter().map(|(from, long)| (from, from + long)).collect();
            prop_assert_eq!(measure(intervals.clone()), measured_slowly(&intervals));
        }

        #[test]
        fn time_is_covered_if_every_second_is(
            mut intervals in prop::collection::vec((0..50_i64, 1..10_i64), 0..6), from in 0..40_i64, long in 1..15_i64
        ) {
            intervals.sort_unstable();
            let intervals: Vec<(i64, i64)> = intervals.into_iter().map(|(from, long)| (from, from + long)).collect();
            let every = (from..from + long).all(|second| intervals.iter().any(|(a, b)| (*a..*b).contains(&second)));
            prop_assert_eq!(covered(intervals.iter().copied(), from, from + long), every);
        }
    }

    /// A team with so many targets, in a connection each, and a scope that covers all of them.
    fn wide(targets: usize) -> Team {
        let owner = name("olivia");
        let mut team = Team::of_one(name("acme"), owner.clone(), Login::from(&owner));
        let mut covered = BTreeSet::new();
        for number in 0..targets {
            let (target, connection) = (name(&format!("t{number}")), name(&format!("c{number}")));
            team.connections.insert(connection.clone(), Connection { environment: Environment::Production });
            team.targets.insert(target.clone(), Target { connections: [connection].into() });
            covered.insert(target);
        }
        let scope = Scope { covers: Covers::Targets(covered), assigned: BTreeSet::new() };
        team.scopes.insert(name("everything"), scope);
        team
    }

    #[test]
    fn a_wide_scope_takes_the_demand_of_each_rule_once_and_one_default() {
        let team = wide(5000);
        let requester = Principal::gone(name("bob"));
        let terms = Terms { resource: "scope:everything".parse().unwrap(), end: End::After(length(60)), start: None };
        let reach = team.reach(&terms.resource, None);
        assert_eq!(reach.len(), 5001);
        let rule = |text: &str| -> Rule { serde_json::from_str(text).unwrap() };
        let rules = [
            rule(r#"{"name":"one","approvers":["group:dba"],"match":{"resources":["target:t1*"]}}"#),
            rule(r#"{"name":"two","approvers":["group:web"],"match":{"resources":["target:t2","target:t20"]}}"#),
            rule(r#"{"name":"none","approvers":["group:ops"],"match":{"resources":["target:x*"]}}"#),
        ];
        let held = Held::default();
        let case = Case { requester: &requester, terms: &terms, reach: &reach, held: &held, now: time(0) };
        let requirements = judge(&rules, case, None, false).requirements();
        let by: Vec<Option<&str>> = requirements.iter().map(|it| it.rule.as_ref().map(RuleName::as_str)).collect();
        assert_eq!(by, [Some("one"), Some("two"), None]);
        assert_eq!(requirements[2].approvers, BTreeSet::from([Assignee::Role(Role::Admin)]));
    }

    #[test]
    fn terms_that_open_nothing_demand_nothing_and_are_within_none() {
        let requester = Principal::gone(name("bob"));
        let asked = Terms { resource: "target:t0".parse().unwrap(), end: End::Never, start: None };
        let gone = Terms { resource: "target:gone".parse().unwrap(), end: End::After(length(60)), start: None };
        let team = wide(1);
        let reach = team.reach(&asked.resource, None);
        let held = Held::default();
        let case = |terms, reach| Case { requester: &requester, terms, reach, held: &held, now: time(0) };
        let judgement = judge(&[], case(&asked, &reach), Some(case(&gone, &[])), false);
        assert!(judgement.requirements_of_granted().is_empty());
        assert_eq!(judgement.requirements().len(), 1);
    }
}
