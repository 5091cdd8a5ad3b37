//! Recertifications by the model: what is reviewed, by whom, and what ends because nobody kept it.

use access::error::Kind;

use crate::ADMIN;

use crate::model::{Happened, Model, Stands};
use crate::team::{Basis, EVER, VIEWER};

/// Who may be named as reviewers. The last is sometimes a group without members.
pub const REVIEWERS: [&[&str]; 4] =
    [&["role:admin"], &["role:member"], &["member:cy", "role:admin"], &["group:backend", "member:ana"]];

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Holds {
    /// The place of its request.
    Grant(usize),
    Role(usize),
    Backend,
    Scope(&'static str),
}

#[derive(Debug, Clone)]
pub struct Reviewed {
    pub who: &'static str,
    login: &'static str,
    pub holds: Holds,
    /// Whether they have left, or have another login, since.
    pub gone: bool,
    pub decided: bool,
}

#[derive(Debug, Clone)]
pub struct Review {
    named: &'static [&'static str],
    pub due: i64,
    pub reminds: Option<i64>,
    pub closed: bool,
    pub items: Vec<Reviewed>,
}

impl Model {
    /// What everybody holds that lasts beyond the due time: all of it, or only what has no end.
    fn holdings(&self, permanent: bool, due: i64, now: i64) -> Vec<Reviewed> {
        let mut all = Vec::new();
        for (&who, member) in self.team.members.iter().filter(|(_, member)| !member.disabled) {
            let item = |holds| Reviewed { who, login: member.login, holds, gone: false, decided: false };
            let lasts = |ends: i64| if permanent { ends == EVER } else { ends > due };
            for (place, asked) in self.requests.iter().enumerate() {
                if asked.requester == who && asked.stands == Stands::Granted && asked.ends > now && lasts(asked.ends) {
                    all.push(item(Holds::Grant(place)));
                }
            }
            if permanent {
                continue;
            }
            all.extend((member.role > VIEWER).then(|| item(Holds::Role(member.role))));
            all.extend(self.team.backend.contains(who).then(|| item(Holds::Backend)));
            let by_name = |assigned: &&str| assigned.strip_prefix("member:") == Some(who);
            let scopes = self.team.scopes.iter().filter(|(_, assigned)| assigned.iter().any(by_name));
            all.extend(scopes.map(|(scope, _)| item(Holds::Scope(scope))));
        }
        all
    }

    /// Another person than the one who holds it, and than those who asked for it, and one of those who are named.
    fn may_recertify(&self, who: &str, named: &[&str], item: &Reviewed) -> bool {
        let login = self.team.members.get(who).map_or("", |member| member.login);
        let (is_asker, is_role) = match item.holds {
            Holds::Grant(place) => {
                let asked = &self.requests[place];
                let own = [asked.requester, asked.filer].contains(&who) || asked.logins.contains(&login);
                (own, asked.table.resource.starts_with("role:"))
            }
            Holds::Role(_) => (false, true),
            Holds::Backend | Holds::Scope(_) => (false, false),
        };
        let basis = if is_role { Basis::Roles } else { Basis::File };
        who != item.who && login != item.login && !is_asker && self.team.is_one_of(named, who, basis, VIEWER)
    }

    fn still_holds(&self, item: &Reviewed, now: i64) -> bool {
        let by_name = |assigned: &&str| assigned.strip_prefix("member:") == Some(item.who);
        match item.holds {
            Holds::Grant(place) => self.requests[place].given(now),
            _ if item.gone || !self.team.active(item.who) => false,
            Holds::Role(role) => self.team.base(item.who) >= role,
            Holds::Backend => self.team.backend.contains(item.who),
            Holds::Scope(scope) => self.team.scopes.get(scope).is_some_and(|assigned| assigned.iter().any(by_name)),
        }
    }

    /// What speaks against starting one.
    pub fn against_review(
        &self,
        who: &str,
        named: &'static [&'static str],
        permanent: bool,
        length: i64,
        now: i64,
    ) -> Vec<Kind> {
        if !self.is_admin(who, now) || self.team.base(who) < ADMIN {
            return vec![Kind::Refused];
        }
        let there = |named: &&str| match named.split_once(':').unwrap() {
            ("member", name) => self.team.members.contains_key(name),
            ("group", _) => !self.team.backend.is_empty(),
            _ => true,
        };
        if !named.iter().all(there) {
            return vec![Kind::NotFound];
        }
        let items = self.holdings(permanent, now + length, now);
        let reviewed = |item: &Reviewed| self.team.members.keys().any(|who| self.may_recertify(who, named, item));
        if items.is_empty() {
            vec![Kind::NotFound]
        } else if !items.iter().all(reviewed) {
            vec![Kind::Refused]
        } else {
            Vec::new()
        }
    }

    pub fn review(&mut self, named: &'static [&'static str], permanent: bool, length: i64, now: i64) -> Vec<Happened> {
        let items = self.holdings(permanent, now + length, now);
        let reminds = Some(now + length - length / 4);
        self.reviews.push(Review { named, due: now + length, reminds, closed: false, items });
        vec![("recertification.started", None)]
    }

    /// The item of the last one that a number picks; one beyond the end is not there.
    pub fn item(&self, number: usize) -> Option<(usize, usize)> {
        let last = self.reviews.last()?;
        let place = number % (last.items.len() + 1);
        (place < last.items.len()).then_some((self.reviews.len() - 1, place))
    }

    pub fn against_item(&self, who: &str, item: Option<(usize, usize)>, now: i64) -> Vec<Kind> {
        let Some((review, place)) = item else { return vec![Kind::NotFound] };
        let review = &self.reviews[review];
        let item = &review.items[place];
        let login = self.team.members.get(who).map_or("", |member| member.login);
        let own = login == item.login || who == item.who && !item.gone;
        let may = self.may_recertify(who, review.named, item);
        if !may && !own && !self.is_admin(who, now) && !self.team.is_auditor(who) {
            vec![Kind::NotFound]
        } else if !may {
            vec![Kind::Refused]
        } else if review.closed || now >= review.due || item.decided || !self.still_holds(item, now) {
            vec![Kind::Conflict]
        } else {
            Vec::new()
        }
    }

    pub fn decide_item(&mut self, (review, place): (usize, usize), keeps: bool, now: i64) -> Vec<Happened> {
        let item = &mut self.reviews[review].items[place];
        item.decided = true;
        let Holds::Grant(request) = item.holds else { return vec![("recertification.decided", None)] };
        let mut happened = vec![("recertification.decided", Some(request as i64 + 1))];
        if !keeps {
            happened.extend(self.revoke(request, now));
        }
        happened
    }

    /// What speaks against ending the last one before it is due.
    pub fn against_cancelling(&self, who: &str, now: i64) -> Vec<Kind> {
        match self.reviews.last() {
            _ if !self.is_admin(who, now) => vec![Kind::Refused],
            None => vec![Kind::NotFound],
            Some(review) if review.closed || now >= review.due => vec![Kind::Conflict],
            Some(_) => Vec::new(),
        }
    }

    pub fn cancel_review(&mut self) -> Vec<Happened> {
        self.reviews.last_mut().unwrap().closed = true;
        vec![("recertification.cancelled", None)]
    }

    /// Those that are due end what nobody kept.
    pub fn reviews_due(&mut self, now: i64) -> Vec<Happened> {
        let mut happened = Vec::new();
        for place in 0..self.reviews.len() {
            let review = &mut self.reviews[place];
            if review.closed {
                continue;
            }
            if now < review.due {
                if review.reminds.is_some_and(|at| at <= now) {
                    review.reminds = None;
                    happened.push(("recertification.reminded", None));
                }
                continue;
            }
            review.closed = true;
            happened.push(("recertification.closed", None));
            let left = review.items.clone().into_iter().filter(|item| !item.decided);
            for item in left {
                if let Holds::Grant(request) = item.holds
                    && self.requests[request].given(now)
                {
                    happened.extend(self.revoke(request, now));
                }
            }
        }
        happened
    }
}
