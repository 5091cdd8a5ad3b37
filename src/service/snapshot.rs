//! The team and its people: now, or at a moment of the past.
//!
//! The past is what the log said at that moment. Who may look at it is decided by what the caller is today.

use std::collections::BTreeMap;

use super::request::item as item_now;
use super::{Problem, member};
use crate::domain::catalog::CatalogItem;
use crate::domain::grant::{Grant, State};
use crate::domain::name::Name;
use crate::domain::principal::Principal;
use crate::domain::refusal::{LookupRefusal, Refusal};
use crate::domain::replay::history::{self, PastTeam};
use crate::domain::request::Request;
use crate::domain::resource::Resource;
use crate::domain::team::Team;
use crate::domain::terms::RequestId;
use crate::domain::text::nearest;
use crate::domain::time::Timestamp;
use crate::protocol::ListFilter;
use crate::store::{Error, Moment, Page, Read};

pub enum TeamSnapshot {
    Current(Timestamp),
    Past(Box<PastState>),
}

pub struct PastState {
    moment: Moment,
    team: PastTeam,
}

impl TeamSnapshot {
    /// `at`: None for now.
    pub fn of(read: &Read<'_>, at: Option<Timestamp>, now: Timestamp) -> Result<TeamSnapshot, Problem> {
        let Some(at) = at else { return Ok(TeamSnapshot::Current(now)) };
        moment(read, at, now)?;
        let past = PastState::of(read, at)?.ok_or_else(|| Error::damaged("the audit log is empty"))?;
        Ok(TeamSnapshot::Past(Box::new(past)))
    }

    /// The time at which everything is judged.
    pub fn now(&self) -> Timestamp {
        match self {
            TeamSnapshot::Current(now) => *now,
            TeamSnapshot::Past(past) => past.moment.at,
        }
    }

    pub fn team(&self, read: &Read<'_>) -> Result<Team, Error> {
        match self {
            TeamSnapshot::Current(_) => read.team(),
            TeamSnapshot::Past(past) => Ok(past.team.team.clone()),
        }
    }

    pub fn item(&self, read: &Read<'_>, resource: &Resource) -> Result<CatalogItem, Problem> {
        let past = match self {
            TeamSnapshot::Current(_) => return item_now(read, resource),
            TeamSnapshot::Past(past) => past,
        };
        past.team.team.item(resource).ok_or_else(|| {
            let at = past.moment.at;
            Refusal::from(LookupRefusal::NoSuchResourceThen { resource: resource.clone(), at }).into()
        })
    }

    pub fn member(&self, read: &Read<'_>, name: &Name) -> Result<Principal, Problem> {
        match self {
            TeamSnapshot::Current(_) => member(read, name),
            TeamSnapshot::Past(past) => past.principal(read, name)?.ok_or_else(|| past.no_such_member(name)),
        }
    }

    /// The caller, as they were.
    pub fn caller(&self, read: &Read<'_>, me: &Principal) -> Result<Principal, Problem> {
        match self {
            TeamSnapshot::Current(_) => Ok(me.clone()),
            TeamSnapshot::Past(past) => {
                let name = past.team.same_person(me, past.moment.last);
                self.member(read, name.ok_or_else(|| past.no_such_member(&me.name))?)
            }
        }
    }

    /// Calls `each` with every member, in the order of their names.
    pub fn each_member(&self, read: &Read<'_>, mut each: impl FnMut(Principal)) -> Result<(), Problem> {
        match self {
            TeamSnapshot::Current(_) => {
                for name in read.member_names()? {
                    read.principal(&name)?.into_iter().for_each(&mut each);
                }
            }
            TeamSnapshot::Past(past) => {
                let mut grants: BTreeMap<Name, Vec<Grant>> = BTreeMap::new();
                for grant in read.grants_live_at(past.moment, None)? {
                    grants.entry(grant.member.clone()).or_default().push(grant);
                }
                for name in past.team.team.members.keys() {
                    let grants = grants.remove(name).unwrap_or_default();
                    past.team.principal(name, grants).into_iter().for_each(&mut each);
                }
            }
        }
        Ok(())
    }

    /// The pending requests of a member, by resource.
    pub fn pending(&self, read: &Read<'_>, name: &Name) -> Result<BTreeMap<Resource, RequestId>, Error> {
        let past = match self {
            TeamSnapshot::Current(now) => return Ok(read.pending_resources(name, *now)?.into_iter().collect()),
            TeamSnapshot::Past(past) => past,
        };
        let filter =
            ListFilter { requester: Some(name.clone()), states: vec![State::Pending], ..ListFilter::default() };
        let (mut pending, mut before) = (BTreeMap::new(), i64::MAX);
        loop {
            let Page { rows, last } = read.requests_of_past(&filter, None, before, past.moment)?;
            before = rows.last().map_or(before, |request| request.id.get());
            for today in rows {
                let request = request_then(read, today, past.moment)?;
                let waits = request.filter(|request| request.state(past.moment.at) == State::Pending);
                pending.extend(waits.map(|request| (request.details.asked.resource, request.id)));
            }
            if last {
                return Ok(pending);
            }
        }
    }

    /// The active requests that were granted to a member, who is of this moment.
    pub fn active(&self, read: &Read<'_>, holder: &Principal) -> Result<Vec<Request>, Error> {
        let mut active = match self {
            TeamSnapshot::Current(_) => read.requests_granted_to(&holder.name)?,
            TeamSnapshot::Past(past) => {
                let ends = |request: &Request| request.grant.as_ref().and_then(|grant| grant.ends_at);
                let mut active = Vec::new();
                for grant in &holder.grants {
                    if let Some(today) = read.request(grant.request)? {
                        active.extend(request_then(read, today, past.moment)?);
                    }
                }
                active.sort_by_key(|request| (ends(request).is_none(), ends(request), request.id));
                active
            }
        };
        active.retain(|request| request.state(self.now()) == State::Active);
        Ok(active)
    }
}

impl PastState {
    /// What the log said at this moment. None: it begins later.
    pub fn of(read: &Read<'_>, at: Timestamp) -> Result<Option<PastState>, Error> {
        let Some(moment) = read.moment(at)? else { return Ok(None) };
        let team = history::team(read.team_entries(moment)?).ok_or_else(|| Error::damaged("the team is missing"))?;
        Ok(Some(PastState { moment, team }))
    }

    pub fn team(&self) -> &PastTeam {
        &self.team
    }

    /// A member, if there was one by this name.
    pub fn principal(&self, read: &Read<'_>, name: &Name) -> Result<Option<Principal>, Error> {
        Ok(self.team.principal(name, read.grants_live_at(self.moment, Some(name))?))
    }

    fn no_such_member(&self, name: &Name) -> Problem {
        let nearest = nearest(name.as_str(), self.team.team.members.keys().map(Name::as_str));
        Refusal::from(LookupRefusal::NoSuchMemberThen { name: name.clone(), at: self.moment.at, nearest }).into()
    }
}

/// The moment, if it is in the past and the log reaches back to it.
pub fn moment(read: &Read<'_>, at: Timestamp, now: Timestamp) -> Result<Moment, Problem> {
    if at > now {
        return Err(Refusal::from(LookupRefusal::InTheFuture { at }).into());
    }
    match read.moment(at)? {
        Some(moment) => Ok(moment),
        None => Err(Refusal::from(LookupRefusal::BeforeTheLog { at, begins: read.entry(1)?.at }).into()),
    }
}

/// A request as it was. None: it was not filed yet. `today`: the same request as it is today.
pub fn request_then(read: &Read<'_>, today: Request, moment: Moment) -> Result<Option<Request>, Error> {
    let then = history::request(read.entries_changing(today.id, moment)?);
    // Entries of format 1 do not name the Unix users, which the tables have.
    let Request { requester_login, filer_login, .. } = today;
    Ok(then.map(|then| Request { requester_login, filer_login, ..then }))
}
