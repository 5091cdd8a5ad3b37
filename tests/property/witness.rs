//! What the audit log says by itself: every grant in it was nobody's own doing, and against no rule that held then.
//! Of the rest it knows only the team as it was applied.

use std::collections::{BTreeMap, BTreeSet};

use access::domain::event::{Approval, Because, Entry, Event, Granted, MetDemand, Revision, Submission};
use access::domain::name::Name;
use access::domain::provisioning::{Deprovisioned, Failed, ProvisionedAccess, ProvisioningOperation};
use access::domain::recertification::{ItemDecision, ItemToReview, ItemVerdict, StartedRecertification};
use access::domain::team::change::{Change, Diff};
use access::domain::terms::Terms;
use access::domain::time::Timestamp;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use crate::team::{ADMIN, Basis, Case, Demand, EVER, OWNER, Span, Team, VIEWER, role};

type Checked = Result<(), TestCaseError>;

#[derive(Default)]
pub struct Witness {
    requests: BTreeMap<i64, Record>,
    /// The entry that brought each member, or another person by that name.
    pub since: BTreeMap<String, i64>,
    /// What connectors gave or failed to give, for which request, and whether they have it now.
    given: BTreeMap<(i64, String), bool>,
    /// The entries of the sessions that are open, and their requests.
    sessions: BTreeMap<i64, i64>,
    reviews: Vec<Review>,
}

struct Review {
    started: StartedRecertification,
    /// By the number of the item. Nobody: it was not kept.
    decided: BTreeMap<u32, (ItemVerdict, Option<Name>)>,
    reminded: bool,
    closed: bool,
}

impl Review {
    fn item(&self, number: u32) -> &ItemToReview {
        &self.started.items[number as usize - 1]
    }
}

struct Record {
    requester: String,
    filer: String,
    /// The logins that these two had then.
    logins: [String; 2],
    asked: Terms,
    reason: String,
    ticket: Option<String>,
    emergency: bool,
    extends: Option<i64>,
    lapses: i64,
    reminded: bool,
    closed: bool,
    votes: Vec<Vote>,
    grant: Option<Granted>,
    /// What is granted.
    resource: String,
    /// When it ended, and whether before its time.
    ended: Option<(i64, bool)>,
}

struct Vote {
    seq: i64,
    by: String,
    terms: Terms,
}

fn unix(time: Option<Timestamp>) -> i64 {
    time.map_or(EVER, Timestamp::unix)
}

impl Witness {
    /// Takes one entry in. `team`: as it is after it.
    pub fn take(&mut self, entry: &Entry, team: &Team) -> Checked {
        let at = entry.at.unix();
        let id = entry.event.request().map_or(0, |id| id.get());
        match &entry.event {
            Event::TeamInitialized { changes } | Event::TeamApplied { changes } => {
                for change in changes {
                    let Change::Member(name, diff) = change else { continue };
                    match diff {
                        Diff::Change { from, to } if from.login == to.login => {}
                        _ => drop(self.since.insert(name.to_string(), entry.seq)),
                    }
                }
            }
            Event::RequestSubmitted(Submission {
                requester,
                filed_by,
                requester_login,
                filer_login,
                details,
                lapses_at,
                extends,
                emergency,
                ..
            }) => {
                let login = |name: &str| team.members[name].login.to_owned();
                prop_assert!(!self.requests.contains_key(&id), "request {id} is filed twice");
                for (name, said) in [(requester, requester_login), (filed_by, filer_login)] {
                    let said = said.as_ref().map(|login| login.as_str());
                    prop_assert_eq!(said, Some(team.members[name.as_str()].login), "request {} misnames {}", id, name);
                }
                let record = Record {
                    requester: requester.to_string(),
                    filer: filed_by.to_string(),
                    logins: [login(requester.as_str()), login(filed_by.as_str())],
                    asked: details.asked.clone(),
                    reason: details.reason.as_str().to_owned(),
                    ticket: details.ticket.as_ref().map(|ticket| ticket.as_str().to_owned()),
                    emergency: *emergency,
                    extends: extends.map(|before| before.get()),
                    lapses: lapses_at.unix(),
                    reminded: false,
                    closed: false,
                    votes: Vec::new(),
                    grant: None,
                    resource: String::new(),
                    ended: None,
                };
                self.requests.insert(id, record);
            }
            Event::RequestEdited(Revision { by, from, to, lapses_at, .. }) => {
                let record = self.request(id)?;
                let own = [record.requester.as_str(), record.filer.as_str()].contains(&by.as_str());
                prop_assert!(own && entry.actor.as_ref() == Some(by), "{by} edits request {id}");
                prop_assert!(
                    !record.closed && record.grant.is_none() && at < record.lapses,
                    "request {id} is edited, which was over"
                );
                let stood = (&record.asked, record.reason.as_str(), record.ticket.as_deref());
                let before = (&from.asked, from.reason.as_str(), from.ticket.as_ref().map(|ticket| ticket.as_str()));
                prop_assert_eq!(stood, before, "the edit of request {} misstates what it said", id);
                prop_assert_eq!(&from.asked.resource, &to.asked.resource, "request {} is for something else now", id);
                record.asked = to.asked.clone();
                record.reason = to.reason.as_str().to_owned();
                record.ticket = to.ticket.as_ref().map(|ticket| ticket.as_str().to_owned());
                record.lapses = lapses_at.unix();
                record.reminded = false;
                // Nobody has approved what it says now.
                record.votes.clear();
            }
            Event::RequestApproved(Approval { by, terms, .. }) => {
                let vote = Vote { seq: entry.seq, by: by.to_string(), terms: terms.clone() };
                prop_assert!(entry.actor.as_ref() == Some(by), "another than {by} approves request {id}");
                self.request(id)?.votes.push(vote);
            }
            Event::RequestDenied { .. } | Event::RequestWithdrawn { .. } | Event::RequestLapsed { .. } => {
                self.request(id)?.closed = true;
            }
            Event::RequestReminded { .. } => {
                let again = std::mem::replace(&mut self.request(id)?.reminded, true);
                prop_assert!(!again, "people are reminded of request {id} twice");
            }
            Event::RequestReviewed { by, .. } => {
                let record = self.request(id)?;
                let login = team.members[by.as_str()].login;
                let their_own = [&record.requester, &record.filer].contains(&&by.to_string())
                    || record.logins.iter().any(|other| other == login);
                prop_assert!(record.emergency && !their_own, "{by} reviews request {id}");
            }
            Event::GrantScheduled(granted) | Event::GrantStarted(granted) => {
                match self.request(id)?.grant.clone() {
                    None => self.granted(id, granted, at, team)?,
                    Some(before) => {
                        let same = (&before.resource, before.starts_at, before.ends_at)
                            == (&granted.resource, granted.starts_at, granted.ends_at);
                        prop_assert!(same && before.starts_at.unix() <= at, "grant {id} begins otherwise than given");
                    }
                }
                let record = self.request(id)?;
                record.grant = Some(granted.clone());
                record.resource = granted.resource.to_string();
            }
            Event::GrantExpired { .. } => self.request(id)?.ended = Some((at, false)),
            Event::GrantRevoked { because, by, .. } => {
                self.request(id)?.ended = Some((at, true));
                if let Because::Fell(before) = because {
                    let falls = self.request(before.get())?.ended.is_some_and(|(_, early)| early);
                    prop_assert!(falls, "grant {id} falls, and what it goes on from did not");
                }
                if let Because::NotKept(item) = because {
                    let review = &self.reviews[item.recertification.get() as usize - 1];
                    let is_of_it = review.item(item.number).held.request().map(|id| id.get()) == Some(id);
                    let decided = review.decided.get(&item.number);
                    let says_so = decided == Some(&(ItemVerdict::Revoke, by.clone()));
                    prop_assert!(is_of_it && says_so, "grant {id} ends for a review that does not say so");
                }
            }
            Event::RequestRejudged { .. } => prop_assert!(false, "request {id} was filed by this version"),
            Event::ApprovalsVoided { voids, .. } => {
                let votes = &mut self.request(id)?.votes;
                let given = |vote: &Vote| voids.iter().any(|name| vote.by == name.as_str());
                let are_there = voids.iter().all(|name| votes.iter().any(|vote| vote.by == name.as_str()));
                prop_assert!(are_there, "no approval of request {id} is there to void");
                votes.retain(|vote| !given(vote));
            }
            Event::GrantExpiring { .. }
            | Event::AttemptRefused { .. }
            | Event::ClockAccepted { .. }
            | Event::PreferenceChanged { .. }
            | Event::DriftFound(_)
            | Event::DriftResolved(_)
            | Event::CheckpointKeyAdded { .. }
            | Event::CheckpointTaken { .. } => {}
            Event::RecertificationStarted(started) => {
                prop_assert!(entry.actor.as_ref() == Some(&started.by), "another than {} starts a review", started.by);
                prop_assert_eq!(started.recertification.get() as usize, self.reviews.len() + 1);
                prop_assert!(at < started.due.unix(), "a review is over when it starts");
                let review =
                    Review { started: started.clone(), decided: BTreeMap::new(), reminded: false, closed: false };
                self.reviews.push(review);
            }
            Event::RecertificationDecided(decision) => {
                self.check_review(decision, entry, team)?;
                let review = &mut self.reviews[decision.item.recertification.get() as usize - 1];
                let before = review.decided.insert(decision.item.number, (decision.verdict, Some(decision.by.clone())));
                prop_assert!(before.is_none(), "item {} is decided twice", decision.item);
            }
            Event::RecertificationReminded { recertification } => {
                let review = &mut self.reviews[recertification.get() as usize - 1];
                let again = std::mem::replace(&mut review.reminded, true);
                prop_assert!(!again && !review.closed, "people are reminded of a review twice, or too late");
            }
            Event::RecertificationClosed(closed) => {
                let review = &mut self.reviews[closed.recertification.get() as usize - 1];
                let again = std::mem::replace(&mut review.closed, true);
                let is_due = review.started.due.unix() <= at;
                prop_assert!(entry.actor.is_none() && !again && is_due, "a review is closed when it should not be");
                for number in &closed.not_kept {
                    let before = review.decided.insert(*number, (ItemVerdict::Revoke, None));
                    prop_assert!(before.is_none(), "item {number} was decided, and is not kept");
                }
            }
            Event::RecertificationCancelled { recertification, cancellation } => {
                let review = &mut self.reviews[recertification.get() as usize - 1];
                let again = std::mem::replace(&mut review.closed, true);
                let is_due = review.started.due.unix() <= at;
                let is_own = entry.actor.as_ref() == Some(&cancellation.by);
                prop_assert!(is_own && !again && !is_due, "a review is cancelled when it should not be");
            }
            Event::Void => prop_assert!(false, "no program records it"),
            Event::DriftOmitted(omitted) => prop_assert!(omitted.count > 0, "nothing is left out"),
            Event::CertificateIssued(certificate) => {
                let record = self.request(id)?;
                let grant = record.grant.clone();
                let ends = grant.as_ref().map_or(0, |granted| unix(granted.ends_at));
                let live = record.ended.is_none() && grant.is_some_and(|granted| granted.starts_at.unix() <= at);
                let (from, until) = (certificate.from.unix(), certificate.until.unix());
                prop_assert!(live && at < ends, "a certificate for grant {id}, which is not live");
                prop_assert!(from <= at && at < until && until <= ends, "a certificate outlives grant {id}");
                prop_assert_eq!(certificate.member.as_str(), record.requester.as_str());
                prop_assert_eq!(certificate.login.as_str(), team.members[certificate.member.as_str()].login);
                prop_assert_eq!(certificate.serial.get(), id);
            }
            Event::SessionOpened(opened) => {
                prop_assert!(entry.actor.is_none(), "{:?} records a session", entry.actor);
                if opened.request.is_some() {
                    let record = self.request(id)?;
                    let grant = record.grant.as_ref().filter(|_| record.ended.is_none());
                    let is_live = |grant: &&Granted| grant.starts_at.unix() <= at && at < unix(grant.ends_at);
                    let member = grant.filter(is_live).map(|grant| &grant.member);
                    prop_assert!(member == Some(&opened.member), "a session of {} under grant {id}", opened.member);
                }
                self.sessions.insert(entry.seq, id);
            }
            Event::SessionClosed(closed) => {
                prop_assert!(entry.actor.is_none(), "{:?} records the end of a session", entry.actor);
                let opened = self.sessions.remove(&closed.session);
                prop_assert!(opened == Some(id), "the session of entry {} is not open", closed.session);
            }
            Event::GrantProvisioned(provision) => {
                self.check_provision(entry, provision)?;
                let before = self.given.insert((id, provision.holding.to_string()), true);
                prop_assert!(before != Some(true), "{} is given twice for request {id}", provision.holding);
            }
            Event::ProvisioningFailed(Failed { provision, operation, .. }) => {
                self.check_provision(entry, provision)?;
                let has = *operation == ProvisioningOperation::Revoke;
                let before = self.given.insert((id, provision.holding.to_string()), false);
                prop_assert!(!has || before.is_some(), "{} is to be taken back, and was not given", provision.holding);
            }
            Event::GrantDeprovisioned(Deprovisioned { provision, .. }) => {
                self.check_provision(entry, provision)?;
                let before = self.given.remove(&(id, provision.holding.to_string()));
                prop_assert!(before.is_some(), "{} is taken back, and was not given", provision.holding);
            }
        }
        Ok(())
    }

    /// Once all is taken in that happened together: nothing goes on from what ended early.
    pub fn rest(&self, now: i64) -> Checked {
        for (id, record) in &self.requests {
            let before = record.extends.and_then(|before| self.requests.get(&before));
            let fell = before.is_some_and(|before| before.ended.is_some_and(|(_, early)| early));
            let open = match &record.grant {
                Some(granted) => record.ended.is_none() && unix(granted.ends_at) > now,
                None => !record.closed && record.lapses > now,
            };
            prop_assert!(!(fell && open), "request {id} goes on from what was revoked");
        }
        Ok(())
    }

    /// Another person than the one who holds it and those who asked for it, one of the reviewers, and in time.
    fn check_review(&self, decision: &ItemDecision, entry: &Entry, team: &Team) -> Checked {
        let ItemDecision { item, member, held, by, .. } = decision;
        let review = &self.reviews[item.recertification.get() as usize - 1];
        let said = review.item(item.number);
        prop_assert!((&said.member, &said.held) == (member, held), "the decision on {item} misstates it");
        prop_assert!(entry.actor.as_ref() == Some(by), "another than {by} reviews {item}");
        let login = team.members[by.as_str()].login;
        let asked = held.request().and_then(|id| self.requests.get(&id.get()));
        let asked_by = |it: &Record| {
            [&it.requester, &it.filer].contains(&&by.to_string()) || it.logins.iter().any(|other| other == login)
        };
        let own = by == member || login == said.login.as_str() || asked.is_some_and(asked_by);
        let named: Vec<String> = said.reviewers.iter().map(ToString::to_string).collect();
        let named: Vec<&str> = named.iter().map(String::as_str).collect();
        let basis = if held.is_about_a_role() { Basis::Roles } else { Basis::File };
        let may = team.is_one_of(&named, by.as_str(), basis, VIEWER);
        prop_assert!(!own && may, "{by} reviews {item} of {member}, which is for {named:?}");
        let in_time = !review.closed && entry.at < review.started.due;
        prop_assert!(in_time, "{item} is decided when the review is over");
        Ok(())
    }

    /// Nobody records it, and it is for the member of a grant.
    fn check_provision(&mut self, entry: &Entry, provision: &ProvisionedAccess) -> Checked {
        prop_assert!(entry.actor.is_none(), "{:?} records what connectors do", entry.actor);
        let Some(id) = provision.request else { return Ok(()) };
        let member = self.request(id.get())?.grant.as_ref().map(|grant| grant.member.clone());
        prop_assert!(member.is_some() && member == provision.member, "{} is not of request {id}", provision.holding);
        Ok(())
    }

    fn request(&mut self, id: i64) -> Result<&mut Record, TestCaseError> {
        self.requests.get_mut(&id).ok_or_else(|| TestCaseError::fail(format!("there is no request {id}")))
    }

    /// The highest role that somebody has then.
    fn role_at(&self, who: &str, at: i64, team: &Team) -> usize {
        let granted = self.requests.values().filter(|it| it.requester == who && it.ended.is_none());
        let live =
            granted.filter_map(|it| it.grant.as_ref()).filter(|it| it.starts_at.unix() <= at && at < unix(it.ends_at));
        let roles = live.filter_map(|it| it.resource.to_string().strip_prefix("role:").map(role));
        roles.chain([team.base(who)]).max().unwrap_or(OWNER)
    }

    fn granted(&self, id: i64, granted: &Granted, at: i64, team: &Team) -> Checked {
        let record = &self.requests[&id];
        let terms = Terms { resource: granted.resource.clone(), end: granted.end, start: granted.start };
        prop_assert!(!record.closed && at < record.lapses, "request {id} is granted, which was over");
        prop_assert!(granted.member.as_str() == record.requester, "request {id} is granted to another");

        // Its length counts from the approval, or from a later start.
        let starts = terms.start.map_or(at, |start| start.unix().max(at));
        prop_assert_eq!(granted.starts_at.unix(), starts, "grant {} starts when it should not", id);
        let ends = granted.end.instant(granted.starts_at);
        prop_assert!(granted.ends_at == ends && unix(ends) > starts, "grant {id} ends when it should not");
        if let Some(before) = record.extends {
            let end = unix(self.requests[&before].grant.as_ref().and_then(|grant| grant.ends_at));
            prop_assert_eq!(starts, end.max(at), "grant {} leaves a gap, or doubles {}", id, before);
        }

        // What the rules say of what was asked and what is granted.
        let (asked, given) = (record.asked.resource.to_string(), terms.resource.to_string());
        prop_assert!(team.has(&given), "{given} is granted by request {id}, and there is no such thing");
        let case = self.case(id, &asked, &given, &terms, at);
        if let Some(rule) = team.forbidding(&case, &record.reason, record.ticket.as_deref()) {
            return Err(TestCaseError::fail(format!("request {id} is granted, which {rule} forbids")));
        }
        if let Some(name) = &granted.by_rule {
            let gives = team.giving(&case).contains(&name.as_str());
            let unasked = record.votes.is_empty() && granted.approved_by.is_empty() && terms == record.asked;
            prop_assert!(gives && unasked, "request {id} is granted by {}, which does not give it", name.as_str());
            prop_assert!(!record.emergency || granted.ends_at.is_some(), "emergency {id} is permanent");
            prop_assert!(granted.demands.is_empty(), "request {id} is granted by a rule, and met demands");
            if record.emergency {
                // Another member who is a base admin or meets every demand.
                let (basis, demands) = (Basis::of(&case), team.demands(&case));
                let is_reviewer = |name: &str, login: &str| {
                    let role = self.role_at(name, at, team);
                    let meets = |demand: &Demand| team.is_one_of(demand.named, name, basis, role);
                    let own = [&record.requester, &record.filer].iter().any(|it| *it == name);
                    team.can_decide(name)
                        && !own
                        && !record.logins.iter().any(|other| other == login)
                        && (team.base(name) >= ADMIN || !demands.is_empty() && demands.iter().all(meets))
                };
                let members = team.members.iter().filter(|(name, member)| is_reviewer(name, member.login));
                let expected: BTreeSet<&str> = members.map(|(name, _)| *name).collect();
                let named = granted.reviewers.iter().flatten().map(|name| name.as_str());
                prop_assert_eq!(named.collect::<BTreeSet<_>>(), expected, "who reviews emergency {}", id);
            }
            return Ok(());
        }
        prop_assert!(!record.emergency, "emergency {id} waited");

        // Those who approved exactly this, since it was last put on the table, and are who they were then.
        let last = record.votes.iter().rev().take_while(|vote| vote.terms == terms);
        let stand = last.filter(|vote| self.since.get(&vote.by).is_some_and(|since| *since < vote.seq));
        let stand: BTreeSet<&str> = stand.map(|vote| vote.by.as_str()).collect();
        let others = stand.into_iter().filter(|who| {
            let own = *who == record.requester || *who == record.filer;
            let login = team.members.get(who).map(|member| member.login);
            !own && login.is_some_and(|login| !record.logins.iter().any(|other| other == login))
        });
        let others: Vec<&str> = others.collect();
        for who in &granted.approved_by {
            prop_assert!(others.contains(&who.as_str()), "{who} counts as an approver of request {id}");
        }
        let basis = Basis::of(&case);
        let demands = team.demands(&case);
        for demand in &demands {
            let meets = |who: &&str| team.is_one_of(demand.named, who, basis, self.role_at(who, at, team));
            let counted = |who: &&str| granted.approved_by.iter().any(|name| name.as_str() == *who);
            let by: BTreeSet<&str> = others.iter().copied().filter(meets).filter(counted).collect();
            prop_assert!(by.len() >= demand.approvals, "request {id} is granted, and {demand:?} wants more");
            let same = |met: &&MetDemand| {
                met.rule.as_ref().map(|name| name.as_str()) == demand.rule
                    && met.approvals as usize == demand.approvals
                    && met.by.iter().map(|name| name.as_str()).collect::<BTreeSet<_>>() == by
            };
            prop_assert!(granted.demands.iter().any(|met| same(&met)), "{demand:?} by {by:?}: {granted:?}");
        }
        prop_assert_eq!(granted.demands.len(), demands.len(), "{:?}: {:?}", demands, granted);
        prop_assert!(granted.reviewers.is_none(), "request {id} was approved, and names reviewers");
        Ok(())
    }

    /// What the rules judge, were these terms granted at this time.
    fn case<'a>(&'a self, id: i64, asked: &'a str, given: &'a str, terms: &Terms, at: i64) -> Case<'a> {
        let record = &self.requests[&id];
        let span = |resource, terms: &Terms| {
            let from = terms.start.map_or(at, |start| start.unix().max(at));
            Span { resource, from, to: unix(terms.end.instant(Timestamp::from_unix(from).unwrap())) }
        };
        let same_person = |other: &Record| other.logins[0] == record.logins[0];
        let others =
            self.requests.iter().filter(|(other, it)| **other != id && same_person(it)).filter_map(|(_, it)| {
                let granted = it.grant.as_ref()?;
                let cut = it.ended.filter(|(_, early)| *early).map_or(EVER, |(at, _)| at);
                let resource = it.resource.as_str();
                Some(Span { resource, from: granted.starts_at.unix(), to: unix(granted.ends_at).min(cut) })
            });
        Case {
            requester: &record.requester,
            emergency: record.emergency,
            asked: span(asked, &record.asked),
            granted: span(given, terms),
            others: others.collect(),
        }
    }
}
