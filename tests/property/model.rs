//! The promises, kept by hand: what has been asked and granted, who may do what about it, and what then happens.

use crate::recertify::Review;
use crate::team::{ADMIN, Basis, Case, DAY, Demand, EVER, HOUR, OWNER, PEOPLE, ROLES, Rule, Span, Team, role};
use access::error::Kind;

/// How it stands on the record; the clock may have gone on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Stands {
    Pending,
    Decided,
    Granted,
    Over,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Until {
    Never,
    After(i64),
    At(i64),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Terms {
    pub resource: &'static str,
    pub end: Until,
    pub start: Option<i64>,
}

#[derive(Debug, Clone)]
pub struct Asked {
    /// Its place among all, once it is on the record.
    pub place: Option<usize>,
    pub requester: &'static str,
    pub filer: &'static str,
    /// The logins of these two when it was filed, and whether each has left or has another login since.
    pub logins: [&'static str; 2],
    pub gone: [bool; 2],
    pub asked: Terms,
    /// What an approval now would be of, and once granted what is.
    pub table: Terms,
    pub reason: &'static str,
    pub ticket: Option<&'static str>,
    pub emergency: bool,
    pub reviewed: bool,
    /// Which it goes on from, by its place.
    pub extends: Option<usize>,
    pub filed: i64,
    pub lapses: i64,
    pub reminds: Option<i64>,
    /// Who approved what is on the table.
    pub votes: Vec<&'static str>,
    /// Whether somebody approved it too who left since.
    pub left: bool,
    pub stands: Stands,
    pub starts: i64,
    pub ends: i64,
    /// When it was revoked; EVER if never.
    pub cut: i64,
    /// Who may review it, if it is an emergency: fixed when it was taken.
    pub reviewers: Vec<&'static str>,
    pub begun: bool,
    pub warned: bool,
}

#[derive(Clone)]
pub struct Model {
    pub team: Team,
    pub requests: Vec<Asked>,
    pub last: i64,
    /// Whose refused attempts are on the record (as whom, by which login), and when. Nobody's: a clock was accepted.
    pub refused: Vec<((Option<&'static str>, &'static str), i64)>,
    /// How often somebody has said how they are to be told.
    pub preferred: usize,
    /// What each Unix user did and when, as far as it is limited how often they may. Changes of terms are by name.
    pub acts: Vec<(&'static str, Act, i64)>,
    pub reviews: Vec<Review>,
}

/// What is limited; the place is the request that it is about.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Act {
    Files(usize),
    Edits(usize),
    Applies,
    Prefers,
    /// Puts other terms on the table.
    Changes(usize),
}

/// An action, and the request it is about.
pub type Happened = (&'static str, Option<i64>);

impl Terms {
    /// A length counts from the start, or from the approval where that is later.
    pub fn starts(&self, now: i64) -> i64 {
        self.start.map_or(now, |start| start.max(now))
    }

    pub fn ends(&self, now: i64) -> i64 {
        match self.end {
            Until::Never => EVER,
            Until::After(length) => self.starts(now) + length,
            Until::At(instant) => instant,
        }
    }
}

impl Asked {
    pub fn pending(&self, now: i64) -> bool {
        self.stands == Stands::Pending && now < self.lapses
    }

    pub fn live(&self, now: i64) -> bool {
        self.stands == Stands::Granted && self.starts <= now && now < self.ends
    }

    /// Live, or to begin.
    pub fn given(&self, now: i64) -> bool {
        self.stands == Stands::Granted && now < self.ends
    }

    /// What was granted, as long as it lasted.
    fn span(&self) -> Span<'static> {
        Span { resource: self.table.resource, from: self.starts, to: self.ends.min(self.cut) }
    }

    pub fn owes_review(&self) -> bool {
        self.emergency && !self.reviewed
    }
}

impl Model {
    fn live<'m>(&'m self, who: &'m str, now: i64) -> impl Iterator<Item = &'m Asked> {
        self.requests.iter().filter(move |asked| asked.requester == who && asked.live(now))
    }

    /// Until when somebody holds this role or a higher one.
    fn role_until(&self, who: &str, least: usize, now: i64) -> Option<i64> {
        let granted = self
            .live(who, now)
            .filter_map(|asked| (role(asked.table.resource.strip_prefix("role:")?) >= least).then_some(asked.ends));
        granted.chain((self.team.base(who) >= least).then_some(EVER)).max()
    }

    /// The highest role that somebody has now.
    fn role_now(&self, who: &str, now: i64) -> usize {
        (0..=OWNER).rev().find(|least| self.role_until(who, *least, now).is_some()).unwrap()
    }

    pub fn is_admin(&self, who: &str, now: i64) -> bool {
        self.team.can_decide(who) && self.role_now(who, now) >= ADMIN
    }

    fn scope_until(&self, who: &str, scope: &str, now: i64) -> Option<i64> {
        let assigned = self.team.scopes.get(scope)?.iter().filter_map(|assignee| match assignee.split_once(':')? {
            ("group", _) => self.team.backend.contains(who).then_some(EVER),
            ("member", name) => (name == who).then_some(EVER),
            (_, name) => self.role_until(who, role(name), now),
        });
        let granted = self.live(who, now).filter(|asked| asked.table.resource.strip_prefix("scope:") == Some(scope));
        assigned.chain(granted.map(|asked| asked.ends)).max()
    }

    /// Until when somebody may use something. None: they may not.
    pub fn until(&self, who: &str, resource: &str, now: i64) -> Option<i64> {
        if !self.team.active(who) {
            return None;
        }
        let (kind, name) = resource.split_once(':').unwrap();
        let granted = self.live(who, now).filter(|asked| asked.table.resource == resource);
        let mut ways: Vec<Option<i64>> = granted.map(|asked| Some(asked.ends)).collect();
        match kind {
            "role" => ways.push(self.role_until(who, role(name), now)),
            "feature" => ways.push(self.role_until(who, self.team.features[name], now)),
            "scope" => ways.extend([self.role_until(who, ADMIN, now), self.scope_until(who, name, now)]),
            _ => {
                ways.push(self.role_until(who, ADMIN, now));
                let covering = self.team.scopes.keys().filter(|scope| self.team.covers(scope, resource));
                ways.extend(covering.map(|scope| self.scope_until(who, scope, now)));
                if kind == "target" {
                    for connection in &self.team.targets[name] {
                        let whole = self
                            .live(who, now)
                            .filter(|asked| asked.table.resource.strip_prefix("connection:") == Some(connection));
                        ways.extend(whole.map(|asked| Some(asked.ends)));
                    }
                }
            }
        }
        ways.into_iter().flatten().max()
    }

    // What the rules say

    /// What else the requester was granted at any time.
    fn others(&self, asked: &Asked) -> Vec<Span<'static>> {
        let others = self.requests.iter().filter(|other| other.place != asked.place && other.ends != 0);
        let theirs = others.filter(|other| other.logins[0] == asked.logins[0]);
        theirs.map(Asked::span).collect()
    }

    /// What the rules judge, were these terms granted now.
    pub fn case(&self, asked: &Asked, terms: &Terms, now: i64) -> Case<'static> {
        let span = |terms: &Terms| Span { resource: terms.resource, from: terms.starts(now), to: terms.ends(now) };
        Case {
            requester: asked.requester,
            emergency: asked.emergency,
            asked: span(&asked.asked),
            granted: span(terms),
            others: self.others(asked),
        }
    }

    pub fn forbidden(&self, asked: &Asked, terms: &Terms, now: i64) -> bool {
        self.team.forbidding(&self.case(asked, terms, now), asked.reason, asked.ticket).is_some()
    }

    /// What is asked where nobody says how long: so many seconds, or the longest that no limit forbids if that is less.
    pub fn default_length(&self, wish: &Asked, most: i64, now: i64) -> i64 {
        let known = self.team.members.contains_key(wish.requester) && self.team.has(wish.asked.resource);
        let allowed = |length: i64| {
            let asked = Terms { end: Until::After(length), ..wish.asked };
            let asked = Asked { asked, table: asked, ..wish.clone() };
            !self.team.is_too_long(&self.case(&asked, &asked.table, now))
        };
        if !known || allowed(most) {
            return most;
        }
        // No longer one is allowed where a shorter one is not.
        let (mut least, mut too_long) = (0, most);
        while too_long - least > 1 {
            let middle = (least + too_long) / 2;
            if allowed(middle) { least = middle } else { too_long = middle }
        }
        if least == 0 { most } else { least }
    }

    /// Whether a rule gives it without anybody's approval.
    pub fn free(&self, asked: &Asked, now: i64) -> bool {
        !self.team.giving(&self.case(asked, &asked.asked, now)).is_empty()
    }

    fn meets(&self, who: &str, demand: &Demand, case: &Case, now: i64) -> bool {
        self.team.is_one_of(demand.named, who, Basis::of(case), self.role_now(who, now))
    }

    fn login(&self, who: &str) -> &'static str {
        self.team.members.get(who).map_or("", |member| member.login)
    }

    /// Whether it is somebody's own: theirs by login, or by name unless that name is another's now. Of its requester, and
    /// of its filer.
    pub fn owns(&self, who: &str, asked: &Asked) -> [bool; 2] {
        let names = [asked.requester, asked.filer];
        [0, 1].map(|it| self.login(who) == asked.logins[it] || names[it] == who && !asked.gone[it])
    }

    /// Whether somebody who may act is surely another than those two: neither name nor login is theirs.
    fn is_another(&self, who: &str, asked: &Asked) -> bool {
        ![asked.requester, asked.filer].contains(&who)
            && !asked.logins.contains(&self.login(who))
            && self.team.active(who)
    }

    /// Nobody decides on what they asked for or filed; others do whose approval is demanded.
    pub fn may_decide(&self, who: &str, asked: &Asked, terms: &Terms, now: i64) -> bool {
        let case = self.case(asked, terms, now);
        let demands = self.team.demands(&case);
        self.is_another(who, asked) && demands.iter().any(|demand| self.meets(who, demand, &case, now))
    }

    /// New terms are put on the table by those who could give them, whatever was asked.
    pub fn may_propose(&self, who: &str, asked: &Asked, terms: &Terms, now: i64) -> bool {
        let case = self.case(asked, terms, now);
        *terms == asked.table || self.team.demands_alone(&case).iter().any(|demand| self.meets(who, demand, &case, now))
    }

    /// Other terms than a part of what was asked are put there by those who could decide on what is there.
    pub fn may_replace(&self, who: &str, asked: &Asked, terms: &Terms, now: i64) -> bool {
        let case = self.case(asked, terms, now);
        let there = self.team.demands(&self.case(asked, &asked.table, now));
        *terms == asked.table
            || self.team.is_part(&case) && *terms != asked.asked
            || self.is_another(who, asked) && there.iter().any(|demand| self.meets(who, demand, &case, now))
    }

    /// Whether a rule limits how many requests there may be for what would be granted, and did not count this one.
    pub fn grants_too_often(&self, asked: &Asked, terms: &Terms, now: i64) -> bool {
        let counting = |resource| self.team.counting(asked.requester, resource, asked.emergency);
        let before: Vec<&str> = counting(asked.asked.resource).into_iter().map(|rule| rule.name).collect();
        let mut more = counting(terms.resource).into_iter().filter(|rule| !before.contains(&rule.name));
        more.any(|rule| self.is_used_up(rule, asked.requester, false, now))
    }

    /// Whether somebody may review an emergency by the rules of this moment.
    fn could_review(&self, who: &str, asked: &Asked, now: i64) -> bool {
        // Once it was taken it stays as long as it was.
        let case = self.case(asked, &asked.table, if asked.ends == 0 { now } else { asked.starts });
        let demands = self.team.demands(&case);
        // What is not there any more demands nothing, and so nobody meets it.
        let all = || !demands.is_empty() && demands.iter().all(|demand| self.meets(who, demand, &case, now));
        self.is_another(who, asked) && self.team.can_decide(who) && (self.team.base(who) >= ADMIN || all())
    }

    /// Who that is was fixed when it was taken, unless none of them could by now.
    pub fn may_review(&self, who: &str, asked: &Asked, now: i64) -> bool {
        let is_left = asked.reviewers.iter().any(|who| self.could_review(who, asked, now));
        self.could_review(who, asked, now) && (!is_left || asked.reviewers.contains(&who))
    }

    /// Who is told besides those who may decide, when it is late.
    pub fn escalated(&self, asked: &Asked, now: i64) -> Vec<&'static str> {
        let rules = self.team.hold(&self.case(asked, &asked.table, now));
        let named: Vec<&str> = rules.into_iter().flat_map(|rule| rule.escalates.iter().copied()).collect();
        let members = self.team.members.keys().copied();
        members.filter(|who| self.team.is_one_of(&named, who, Basis::Now, self.role_now(who, now))).collect()
    }

    pub fn may_see(&self, who: &str, asked: &Asked, now: i64) -> bool {
        self.owns(who, asked).contains(&true)
            || self.is_admin(who, now)
            || self.team.is_auditor(who)
            || asked.owes_review()
            || self.may_decide(who, asked, &asked.table, now)
            || self.escalated(asked, now).contains(&who)
    }

    /// Whose approvals of these terms count: they were of these, and those who gave them may decide now.
    pub fn counting(&self, asked: &Asked, terms: &Terms, now: i64) -> Vec<&'static str> {
        let votes = asked.votes.iter().copied().filter(|_| *terms == asked.table);
        votes.filter(|who| self.may_decide(who, asked, terms, now)).collect()
    }

    /// For each demand: how many have met it, how many must, and who else could.
    pub fn standing(&self, asked: &Asked, now: i64) -> Vec<(Demand, usize, Vec<&'static str>)> {
        let terms = &asked.table;
        let case = self.case(asked, terms, now);
        let counting = self.counting(asked, terms, now);
        let each = self.team.demands(&case).into_iter().map(|demand| {
            let meets = |who: &&&'static str| self.meets(who, &demand, &case, now);
            let have = counting.iter().filter(meets).count();
            let others = self.team.members.keys().filter(|who| self.is_another(who, asked));
            let others = others.filter(meets).filter(|who| have < demand.approvals && !counting.contains(who));
            (demand, have, others.copied().collect())
        });
        each.collect()
    }

    pub fn complete(&self, asked: &Asked, now: i64) -> bool {
        self.standing(asked, now).into_iter().all(|(demand, have, _)| have >= demand.approvals)
    }

    /// What the terms themselves forbid.
    pub fn against_terms(&self, requester: &str, terms: &Terms, now: i64) -> Vec<Kind> {
        let mut against = Vec::new();
        if matches!(terms.end, Until::At(instant) if instant <= terms.starts(now)) {
            against.push(Kind::Usage);
        }
        if let Some(role) = terms.resource.strip_prefix("role:") {
            let role = ROLES.iter().position(|name| *name == role).unwrap();
            if role == OWNER {
                against.push(Kind::Refused);
            } else if role <= self.team.base(requester) {
                against.push(Kind::Conflict);
            }
        }
        against
    }

    /// How often a Unix user did such things within this time.
    fn lately(&self, who: &str, within: i64, now: i64, counts: impl Fn(Act) -> bool) -> usize {
        let times = |at: i64| (0..within).contains(&(now - at));
        self.acts.iter().filter(|(by, act, at)| *by == self.login(who) && counts(*act) && times(*at)).count()
    }

    pub fn applies_too_often(&self, who: &str, now: i64) -> bool {
        self.lately(who, HOUR, now, |act| act == Act::Applies) >= 60
    }

    pub fn prefers_too_often(&self, who: &str, now: i64) -> bool {
        self.lately(who, HOUR, now, |act| act == Act::Prefers) >= 30
    }

    pub fn changes_too_often(&self, who: &str, place: Option<usize>, now: i64) -> bool {
        let changes = self.acts.iter().filter(|(by, act, at)| {
            *by == who && place.is_some_and(|place| *act == Act::Changes(place)) && (0..HOUR).contains(&(now - at))
        });
        changes.count() >= 5
    }

    /// Whether somebody files or edits too much, were this filed or edited by them now.
    ///
    /// Requests and edits have a limit of their own each. An edit waits in the place of what it edits.
    pub fn files_too_often(&self, who: &str, wish: &Asked, is_edit: bool, now: i64) -> bool {
        let files = |act| if is_edit { matches!(act, Act::Edits(_)) } else { matches!(act, Act::Files(_)) };
        let login = self.login(who);
        let waits = self.requests.iter().filter(|other| other.pending(now) && other.logins[1] == login);
        let takes = |act| matches!(act, Act::Files(place) if self.requests[place].emergency);
        let owed = self.requests.iter().filter(|other| other.owes_review() && self.owns(who, other)[0]);
        self.lately(who, DAY, now, files) >= 50
            || !is_edit
                && !wish.emergency
                && !self.free(wish, now)
                && waits.filter(|other| other.place != wish.place).count() >= 20
            || wish.emergency && (owed.count() >= 3 || self.lately(who, HOUR, now, takes) >= 10)
            || self
                .team
                .counting(wish.requester, wish.asked.resource, wish.emergency)
                .into_iter()
                .any(|rule| self.is_used_up(rule, wish.requester, wish.emergency, now))
    }

    /// Whether there were as many requests of this member as the rule allows in a day, by whomever they were filed or edited.
    /// `only_own`: as many as this member filed.
    fn is_used_up(&self, rule: &Rule, requester: &str, only_own: bool, now: i64) -> bool {
        let counts = |place: usize, is_edit: bool| {
            let other = &self.requests[place];
            let granted = (!is_edit && other.ends != 0).then_some(other.table.resource);
            let matches = |resource: &str| self.team.counts(rule, requester, resource);
            other.logins[0] == self.login(requester)
                && (!only_own || other.logins[1] == other.logins[0])
                && (!rule.emergency || other.emergency)
                && (matches(other.asked.resource) || granted.is_some_and(matches))
        };
        let counted = self.acts.iter().filter(|(_, act, at)| match act {
            Act::Files(place) => (0..DAY).contains(&(now - at)) && counts(*place, false),
            Act::Edits(place) => (0..DAY).contains(&(now - at)) && counts(*place, true),
            Act::Applies | Act::Prefers | Act::Changes(_) => false,
        });
        rule.per_day.is_some_and(|most| counted.count() >= most)
    }

    // What happens

    pub fn file(&mut self, asked: Asked, now: i64) -> Vec<Happened> {
        let (lapses, reminds) = self.late(&asked, now);
        let free = self.free(&asked, now);
        let place = self.requests.len();
        let members = PEOPLE.into_iter().filter(|who| asked.emergency && self.could_review(who, &asked, now));
        let reviewers = members.collect();
        self.acts.push((asked.logins[1], Act::Files(place), now));
        self.requests.push(Asked { filed: now, lapses, reminds, place: Some(place), reviewers, ..asked });
        let mut happened = vec![("request.submitted", Some(place as i64 + 1))];
        if free {
            happened.push(self.grant(place, now));
        }
        happened
    }

    /// When it lapses if nobody decides, at its own end at the latest; and when people are reminded before that.
    fn late(&self, asked: &Asked, now: i64) -> (i64, Option<i64>) {
        let rules = self.team.hold(&self.case(asked, &asked.asked, now));
        let least = |of: fn(&Rule) -> Option<i64>| rules.iter().filter_map(|rule| of(rule)).min();
        let lapses = now + least(|rule| rule.lapses).unwrap_or(7 * 24 * HOUR);
        let lapses = if let Until::At(end) = asked.asked.end { lapses.min(end) } else { lapses };
        (lapses, least(|rule| rule.reminds).map(|after| now + after).filter(|at| *at < lapses))
    }

    /// It says something else, and nobody has approved that.
    pub fn edit(&mut self, place: usize, who: &'static str, wish: Asked, now: i64) -> Vec<Happened> {
        self.acts.push((self.login(who), Act::Edits(place), now));
        let (lapses, reminds) = self.late(&wish, now);
        let free = self.free(&wish, now);
        self.requests[place] = Asked { lapses, reminds, ..wish };
        let mut happened = vec![("request.edited", Some(place as i64 + 1))];
        if free {
            happened.push(self.grant(place, now));
        }
        happened
    }

    /// Somebody approves these terms, which is the end of it if it was all that it took.
    pub fn approve(&mut self, place: usize, who: &'static str, terms: Terms, now: i64) -> Vec<Happened> {
        let mut asked = self.requests[place].clone();
        if terms != asked.table {
            self.acts.push((who, Act::Changes(place), now));
        }
        asked.votes = self.counting(&asked, &terms, now);
        asked.votes.retain(|voter| *voter != who);
        asked.votes.push(who);
        asked.left = false;
        asked.table = terms;
        let complete = self.complete(&asked, now);
        self.requests[place] = asked;
        let mut happened = vec![("request.approved", Some(place as i64 + 1))];
        if complete {
            happened.push(self.grant(place, now));
        }
        happened
    }

    fn grant(&mut self, place: usize, now: i64) -> Happened {
        let asked = &mut self.requests[place];
        asked.starts = asked.table.starts(now);
        asked.ends = asked.table.ends(now);
        asked.begun = asked.starts <= now;
        asked.stands = Stands::Granted;
        (if asked.begun { "grant.started" } else { "grant.scheduled" }, Some(place as i64 + 1))
    }

    /// A grant ends early, and what goes on from it falls.
    pub fn revoke(&mut self, place: usize, now: i64) -> Vec<Happened> {
        self.requests[place].stands = Stands::Over;
        self.requests[place].cut = now;
        let mut happened = vec![("grant.revoked", Some(place as i64 + 1))];
        for next in place + 1..self.requests.len() {
            let asked = &self.requests[next];
            if asked.extends != Some(place) {
                continue;
            }
            if asked.pending(now) {
                self.requests[next].stands = Stands::Decided;
                happened.push(("request.withdrawn", Some(next as i64 + 1)));
            } else if asked.given(now) {
                happened.extend(self.revoke(next, now));
            }
        }
        happened
    }

    /// Whether the requester has the access at that moment by another grant of theirs.
    pub fn goes_on(&self, asked: &Asked, at: i64) -> bool {
        let beside = self.live(asked.requester, at).any(|other| other.place != asked.place);
        let there = self.team.has(asked.table.resource);
        beside && there && self.until(asked.requester, asked.table.resource, at).is_some()
    }

    /// Whether the end of a grant is so near that its member is told: an hour, or a quarter of a short grant's time.
    fn ends_soon(&self, asked: &Asked, now: i64) -> bool {
        let length = asked.ends - asked.starts;
        let near = if length > HOUR { HOUR } else { length / 4 };
        asked.ends - now <= near && !self.goes_on(asked, asked.ends)
    }

    /// What puts on the record what the clock has done.
    pub fn due(&mut self, now: i64) -> Vec<Happened> {
        let mut happened = Vec::new();
        let soon: Vec<bool> = self.requests.iter().map(|asked| self.ends_soon(asked, now)).collect();
        for ((asked, id), soon) in self.requests.iter_mut().zip(1..).zip(soon) {
            if asked.stands == Stands::Granted && !asked.begun && asked.starts <= now {
                asked.begun = true;
                happened.push(("grant.started", Some(id)));
            }
            if asked.stands == Stands::Granted && asked.ends <= now {
                asked.stands = Stands::Over;
                happened.push(("grant.expired", Some(id)));
            } else if asked.live(now) && !asked.warned && soon {
                asked.warned = true;
                happened.push(("grant.expiring", Some(id)));
            } else if asked.stands == Stands::Pending && asked.lapses <= now {
                asked.stands = Stands::Over;
                happened.push(("request.lapsed", Some(id)));
            } else if asked.pending(now) && asked.reminds.is_some_and(|at| at <= now) {
                asked.reminds = None;
                happened.push(("request.reminded", Some(id)));
            }
        }
        happened.extend(self.reviews_due(now));
        happened
    }

    /// A clock is accepted. What was over by the old time is recorded; what was made while the clock was ahead ends.
    pub fn accept(&mut self, clock: i64) -> Vec<Happened> {
        let last = self.last;
        self.refused.push(((None, ""), clock));
        let mut happened = Vec::new();
        let mut revoked = Vec::new();
        for place in 0..self.requests.len() {
            let asked = &mut self.requests[place];
            let id = Some(place as i64 + 1);
            let fell = asked.extends.is_some_and(|before| revoked.contains(&before));
            let late = asked.starts > clock && asked.table.start != Some(asked.starts);
            match asked.stands {
                Stands::Granted if asked.ends <= last => {
                    if !asked.begun {
                        asked.begun = true;
                        happened.push(("grant.started", id));
                    }
                    happened.push(("grant.expired", id));
                }
                Stands::Granted if asked.filed > clock || late || fell => {
                    revoked.push(place);
                    asked.cut = clock;
                    happened.push(("grant.revoked", id));
                }
                Stands::Pending if asked.lapses <= last => happened.push(("request.lapsed", id)),
                Stands::Pending if asked.filed > clock || fell => happened.push(("request.withdrawn", id)),
                Stands::Granted | Stands::Pending | Stands::Decided | Stands::Over => continue,
            }
            self.requests[place].stands = Stands::Over;
        }
        happened
    }

    /// Whether what is to begin later would be given by the team of today, for the time of its start, to the approvals
    /// that it got. It counts together with what is given already, and of what waits only with earlier requests.
    fn is_still_given(&self, place: usize, now: i64) -> bool {
        let asked = &self.requests[place];
        let mut case = self.case(asked, &asked.table, asked.starts);
        let counts = |other: &&Asked| {
            other.place != asked.place
                && other.ends != 0
                && other.logins[0] == asked.logins[0]
                && !(other.place > asked.place && other.starts > now)
        };
        case.others = self.requests.iter().filter(counts).map(Asked::span).collect();
        if self.team.forbidding(&case, asked.reason, asked.ticket).is_some() {
            return false;
        }
        if asked.table == asked.asked && !self.team.giving(&case).is_empty() {
            return true;
        }
        let able: Vec<&&str> = asked.votes.iter().filter(|who| self.is_another(who, asked)).collect();
        self.team
            .demands(&case)
            .iter()
            .all(|demand| able.iter().filter(|who| self.meets(who, demand, &case, now)).count() >= demand.approvals)
    }

    /// A team is applied. A member with another login is another person.
    pub fn team_becomes(&mut self, new: Team, now: i64) -> Vec<Happened> {
        let old = std::mem::replace(&mut self.team, new);
        let new = self.team.clone();
        // A file that changes nothing still ends what would not be given any more.
        let mut happened = if new == old { Vec::new() } else { vec![("team.applied", None)] };
        let left = |name: &str| {
            old.members.get(name).is_some_and(|was| new.members.get(name).is_none_or(|is| is.login != was.login))
        };
        let out = |name: &str| left(name) || old.active(name) && !new.active(name);
        let gone = |resource: &str| old.has(resource) && !new.has(resource);
        let items = self.reviews.iter_mut().flat_map(|review| &mut review.items);
        items.for_each(|item| item.gone |= left(item.who));
        let mut fallen = Vec::new();
        for place in 0..self.requests.len() {
            let asked = &mut self.requests[place];
            asked.left |= asked.votes.iter().any(|who| left(who));
            asked.votes.retain(|who| !left(who));
            asked.reviewers.retain(|who| !left(who));
            asked.gone[0] |= left(asked.requester);
            asked.gone[1] |= left(asked.filer);
            let fell = asked.extends.is_some_and(|before| fallen.contains(&before));
            let over = match asked.stands {
                Stands::Pending => asked.lapses <= now,
                Stands::Granted => asked.ends <= now,
                Stands::Decided | Stands::Over => continue,
            };
            let gone = gone(asked.table.resource) || asked.stands == Stands::Pending && gone(asked.asked.resource);
            let out = out(asked.requester);
            let action = match (asked.stands, over) {
                (Stands::Pending, false) if out || gone || fell || left(asked.filer) => "request.withdrawn",
                (Stands::Pending, true) if out => "request.lapsed",
                (Stands::Granted, false) if out || gone || fell => "grant.revoked",
                (Stands::Granted, true) if out => "grant.expired",
                // Approvals were of terms that did not reach as far.
                (Stands::Pending, false) if new.gains(&old, asked.table.resource) => {
                    asked.votes.clear();
                    (asked.left, asked.table) = (false, asked.asked);
                    happened.push(("approvals.voided", Some(place as i64 + 1)));
                    continue;
                }
                (Stands::Granted, false) if asked.starts > now && !self.is_still_given(place, now) => "grant.revoked",
                _ => continue,
            };
            let asked = &mut self.requests[place];
            if action == "grant.revoked" {
                fallen.push(place);
                asked.cut = now;
            }
            asked.stands = Stands::Over;
            happened.push((action, Some(place as i64 + 1)));
        }
        happened
    }
}
