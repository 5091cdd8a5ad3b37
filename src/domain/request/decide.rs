//! The rules. Each function takes what has been loaded, who asks and the time, and gives the events that follow,
//! or the refusal. It is called inside the transaction that will record them.

use std::collections::{BTreeMap, BTreeSet};

use super::{Decision, Edit, Edited, End, Grant, Recorded, Request, RequestId, Said, State, Terms, Verdict};
use crate::domain::duration::Length;
use crate::domain::entitlement::{CatalogItem, Principal, longest};
use crate::domain::event::{Because, Draft, Event, Granted, MetDemand};
use crate::domain::name::Name;
use crate::domain::notification::{NotificationKind, Recipient};
use crate::domain::policy::judge::{Judgement, Requirement, RoleBasis};
use crate::domain::policy::rule::RuleName;
use crate::domain::refusal::Refusal;
use crate::domain::resource::Resource;
use crate::domain::role::Role;
use crate::domain::team::{Assignee, Change, Team};
use crate::domain::text::{Text, Ticket, check_distinct};
use crate::domain::time::Timestamp;

/// A pending request that nobody decides on lapses after this: seven days.
const LAPSES_AFTER: Length = Length::WEEK;
/// Access may be asked to start within a year of 365 days.
const LATEST_START: Length = Length::YEAR;
/// The member is told that a grant ends when this much is left: one hour. Of a grant that is no longer than that, when a
/// quarter of its time is left.
pub const WARN_WITHIN: Length = Length::HOUR;

fn draft(event: Event, told: Vec<Recipient>) -> Draft {
    Draft { event, told }
}

/// What somebody asks for.
#[derive(Debug, Clone)]
pub struct Ask {
    pub terms: Terms,
    pub reason: Text,
    pub ticket: Option<Ticket>,
    pub extends: Option<RequestId>,
    pub emergency: bool,
    /// Whether the length is the default, because nobody said how long. It is no longer than the rules allow.
    pub default_length: bool,
}

/// What has been loaded for a request that is being filed.
pub struct Filing<'f> {
    pub id: RequestId,
    pub filer: &'f Principal,
    pub requester: &'f Principal,
    pub thing: &'f CatalogItem,
    /// A request of the same requester for the same thing that is on the record as pending.
    pub pending: Option<&'f Request>,
    /// The request that an edit changes. None: a new one is filed.
    pub edits: Option<&'f Request>,
    pub judgement: &'f Judgement,
    /// All admins and the owner, and everyone else whom a rule names.
    pub told: &'f [Name],
    /// Everyone who might review it, if it is an emergency.
    pub people: &'f [&'f Principal],
    /// Those who were asked to decide before an edit.
    pub asked: &'f [Name],
}

/// Whether this person may take part at all.
pub fn may_act(person: &Principal) -> Result<(), Refusal> {
    if person.is_disabled() { Err(Refusal::Disabled { member: person.name.clone() }) } else { Ok(()) }
}

/// Whether this person is an admin or the owner now, by base role or by a live grant.
pub fn needs_admin(person: &Principal, to: &'static str, now: Timestamp) -> Result<(), Refusal> {
    may_act(person)?;
    if person.effective_role(now) >= Role::Admin { Ok(()) } else { Err(Refusal::NeedsAdmin { to }) }
}

/// Whether this person is the owner, by the team file: no grant makes one.
pub fn needs_owner(person: &Principal, to: &'static str) -> Result<(), Refusal> {
    may_act(person)?;
    if person.member.role == Role::Owner { Ok(()) } else { Err(Refusal::NeedsOwner { to }) }
}

/// Who has an account on this machine: the owner there is, and the member who is to take their place.
pub struct Accounts {
    pub owner: bool,
    pub successor: bool,
}

/// The team with another owner, in the place of one whose account is gone. It is for root, who could take any account and
/// should not have to. The old owner is disabled: the next Unix user with that name is another person.
pub fn replace_owner(team: &Team, to: &Name, by_root: bool, accounts: &Accounts) -> Result<Team, Refusal> {
    if !by_root {
        return Err(Refusal::NeedsRoot { to: "replace the owner" });
    }
    let mut new = team.clone();
    for (name, member) in &mut new.members {
        if member.role == Role::Owner {
            if name == to {
                return Err(Refusal::OwnerAlready { member: to.clone() });
            }
            if accounts.owner {
                return Err(Refusal::OwnerIsThere { owner: name.clone(), login: member.login.to_string() });
            }
            member.role = Role::Viewer;
            member.disabled = true;
        }
    }
    match new.members.get_mut(to) {
        None => Err(Refusal::NoSuchMember { name: to.clone(), nearest: None }),
        Some(member) if member.disabled => Err(Refusal::Disabled { member: to.clone() }),
        // The next user with that login would be the owner.
        Some(member) if !accounts.successor => {
            Err(Refusal::NoAccount { member: to.clone(), login: member.login.to_string() })
        }
        Some(member) => {
            member.role = Role::Owner;
            Ok(new)
        }
    }
}

/// Why these terms can't be granted at all, by somebody who approves them now.
fn wrong_terms(terms: &Terms, requester: &Principal, now: Timestamp) -> Vec<Refusal> {
    let start = terms.starts_at(now);
    let end = terms.end.until().and_then(|until| match until {
        _ if until <= now => Some(Refusal::EndPassed { until }),
        _ if until <= start => Some(Refusal::EndBeforeStart { until, start }),
        _ if until > now.plus(Length::LONGEST) => Some(Refusal::EndTooFar { until }),
        _ => None,
    });
    let role = match terms.resource {
        Resource::Role(Role::Owner) => Some(Refusal::RoleOwner),
        Resource::Role(asked) if asked <= requester.member.role => {
            Some(Refusal::RoleNotAbove { asked, own: requester.member.role })
        }
        Resource::Role(_)
        | Resource::Connection(_)
        | Resource::Target(_)
        | Resource::Feature(_)
        | Resource::Scope(_) => None,
    };
    end.into_iter().chain(role).collect()
}

/// Why access can't be asked to start then.
fn wrong_start(ask: &Ask, now: Timestamp) -> Option<Refusal> {
    match ask.terms.start {
        // An extension starts when the grant before it ends, whenever that is.
        Some(start) if ask.extends.is_none() && start <= now => Some(Refusal::StartPassed { start }),
        Some(start) if ask.extends.is_none() && start > now.plus(LATEST_START) => Some(Refusal::StartTooFar { start }),
        Some(_) | None => None,
    }
}

/// What is wrong with a request whatever it is for. `edits`: the request that it changes, if it does.
pub fn wrong_by_itself(ask: &Ask, requester: &Principal, edits: Option<&Request>, now: Timestamp) -> Vec<Refusal> {
    let mut wrong = wrong_terms(&ask.terms, requester, now);
    // A start that an edit leaves as it is may have passed: an approval would still be possible.
    if edits.is_none_or(|before| before.asked.start != ask.terms.start) {
        wrong.extend(wrong_start(ask, now));
    }
    let hidden = ask.ticket.as_ref().and_then(|ticket| check_distinct(ticket.as_str()).err());
    wrong.extend(hidden.map(|why| Refusal::HiddenInTicket { why }));
    wrong
}

/// When a request for these terms that is submitted or edited now can no longer be decided: after the usual time, or at
/// the end that is asked for, whichever is earlier.
pub fn lapses_at(terms: &Terms, judgement: &Judgement, now: Timestamp) -> Timestamp {
    let usual = now.plus(judgement.lapse_after().unwrap_or(LAPSES_AFTER));
    terms.end.until().map_or(usual, |end| end.min(usual))
}

/// When those who may still decide on a request that is submitted or edited now are told again. None: never, or it
/// would have lapsed by then.
pub fn remind_at(terms: &Terms, judgement: &Judgement, now: Timestamp) -> Option<Timestamp> {
    let due = judgement.remind_after().map(|length| now.plus(length));
    due.filter(|&due| due < lapses_at(terms, judgement, now))
}

/// Whether this may be asked for, by the terms themselves and by the rules. Gives the rule that grants it at once, if
/// there is one. Holds for new requests and for edits alike.
fn may_ask<'f>(ask: &Ask, filing: &Filing<'f>, now: Timestamp) -> Result<Option<&'f RuleName>, Refusal> {
    let Filing { filer, requester, judgement, .. } = filing;
    if filer.name != requester.name {
        needs_admin(filer, "file a request for somebody else", now)?;
    }
    may_act(filer)?;
    may_act(requester)?;
    let mut wrong = wrong_by_itself(ask, requester, filing.edits, now);
    let ends_at = ask.terms.ends_at(now);
    if let Some(way) = longest(&requester.ways(filing.thing, now))
        && way.until.is_none_or(|until| ends_at.is_some_and(|end| end <= until))
    {
        wrong.push(Refusal::AlreadyHeld {
            member: requester.name.clone(),
            resource: ask.terms.resource.clone(),
            way: Box::new(way.clone()),
            now,
        });
    }
    // An emergency does not wait behind what waits.
    let open = filing.pending.filter(|request| request.state(now) == State::Pending && !ask.emergency);
    let resource = || ask.terms.resource.clone();
    wrong.extend(open.map(|first| Refusal::AlreadyPending { first: first.id, resource: resource() }));
    if ask.emergency {
        wrong.extend(may_be_emergency(ask, filing).err());
    }
    wrong.extend(judgement.allows(&ask.terms, &ask.reason, ask.ticket.as_ref()).err());
    if judgement.requirements().is_empty() {
        wrong.push(Refusal::NothingDemanded { resource: resource() });
    }
    let by_rule = match ask.emergency {
        true => judgement.allowed_in_emergency(),
        false => judgement.approved_by_rule(),
    };
    if ask.emergency && by_rule.is_none() {
        wrong.push(Refusal::NoEmergency { resource: resource() });
    }
    Refusal::unless_none(wrong).map(|()| by_rule)
}

/// Files a request; one that a rule approves, or an emergency, is granted with it.
pub fn submit(ask: &Ask, filing: &Filing<'_>, now: Timestamp) -> Result<Vec<Draft>, Refusal> {
    let Filing { filer, requester, judgement, .. } = filing;
    let by_rule = may_ask(ask, filing, now)?;
    let submitted = Event::RequestSubmitted {
        request: filing.id,
        requester: requester.name.clone(),
        filed_by: filer.name.clone(),
        requester_login: Some(requester.member.login.clone()),
        filer_login: Some(filer.member.login.clone()),
        asked: ask.terms.clone(),
        reason: ask.reason.clone(),
        ticket: ask.ticket.clone(),
        lapses_at: lapses_at(&ask.terms, judgement, now),
        remind_at: remind_at(&ask.terms, judgement, now),
        extends: ask.extends,
        emergency: ask.emergency,
    };
    let others = || filing.told.iter().filter(|name| **name != requester.name && **name != filer.name);
    let Some(rule) = by_rule else {
        return Ok(vec![draft(submitted, NotificationKind::RequestSubmitted.to_all(others()))]);
    };
    let told = match ask.emergency {
        true => NotificationKind::AccessEmergency.to_all(others()),
        // What a rule approves waits on nobody, so nobody but its requester is told.
        false => vec![NotificationKind::RequestApproved.to(&requester.name)],
    };
    let reviewers = ask.emergency.then(|| {
        let may_review = |person: &&&Principal| {
            !person.is_disabled() && person.name != requester.name && could_review(person, judgement, &ask.terms, now)
        };
        filing.people.iter().filter(may_review).map(|person| person.name.clone()).collect()
    });
    let granted = Granted { reviewers, ..granted(filing.id, &requester.name, &ask.terms, false, Some(rule), now) };
    Ok(vec![draft(submitted, Vec::new()), draft(begins(granted, now), told)])
}

/// Whether this person may change this request now, and what it would say then.
pub fn edited(request: &Request, edit: &Edit, person: &Principal, now: Timestamp) -> Result<Said, Refusal> {
    may_act(person)?;
    if !request.belongs_to(person) {
        return Err(Refusal::NeedsOwnToEdit { id: request.id });
    }
    let state = request.state(now);
    if state != State::Pending {
        return Err(Refusal::NotEditable { id: request.id, state });
    }
    if let (Some(before), Some(_)) = (request.extends, &edit.start) {
        return Err(Refusal::ExtensionStart { id: request.id, before });
    }
    let said = Said {
        asked: Terms {
            resource: request.asked.resource.clone(),
            end: edit.end.unwrap_or(request.asked.end),
            start: Edited::apply(edit.start.as_ref(), request.asked.start.as_ref()),
        },
        reason: edit.reason.clone().unwrap_or_else(|| request.reason.clone()),
        ticket: Edited::apply(edit.ticket.as_ref(), request.ticket.as_ref()),
    };
    if said == request.said() { Err(Refusal::NothingToEdit { id: request.id }) } else { Ok(said) }
}

/// Changes a pending request to what `edited` gave. It is judged as if it were filed now, and all approvals that it has
/// are void, whatever changed: nobody has approved what it says now. `filing.told`: those who may decide on it then.
/// `filing.people`: all who gave an approval or might.
pub fn edit(request: &Request, to: Said, filing: &Filing<'_>, now: Timestamp) -> Result<Vec<Draft>, Refusal> {
    let ask = Ask {
        terms: to.asked.clone(),
        reason: to.reason.clone(),
        ticket: to.ticket.clone(),
        extends: request.extends,
        emergency: request.emergency,
        default_length: false,
    };
    let by_rule = may_ask(&ask, filing, now)?;
    let editor = &filing.filer.name;
    let voids: BTreeSet<&Name> = request.approvals().map(|decision| &decision.by).collect();
    let lost =
        request.approvals().filter(|decision| is_by_one_of(decision, filing.people)).map(|decision| &decision.by);
    // What a rule grants waits on nobody.
    let waiting = filing.told.iter().filter(|_| by_rule.is_none());
    let told: BTreeSet<&Name> = waiting.chain(lost).chain([&request.requester, &request.filed_by]).collect();
    let told: Vec<&Name> = told.into_iter().filter(|name| *name != editor).collect();
    let no_more_asked: Vec<Recipient> = decided(filing.asked, editor, &told);
    let event = Event::RequestEdited {
        request: request.id,
        by: editor.clone(),
        from: request.said(),
        lapses_at: lapses_at(&to.asked, filing.judgement, now),
        remind_at: remind_at(&to.asked, filing.judgement, now),
        to,
        voids: voids.into_iter().cloned().collect(),
    };
    let mut drafts = vec![draft(event, NotificationKind::RequestChanged.to_all(told))];
    if let Some(rule) = by_rule {
        let granted = granted(request.id, &request.requester, &ask.terms, false, Some(rule), now);
        let mut told = vec![NotificationKind::RequestApproved.to(&request.requester)];
        told.extend(no_more_asked);
        drafts.push(draft(begins(granted, now), told));
    }
    Ok(drafts)
}

/// Emergency access is taken by whoever needs it, at once, and ends.
fn may_be_emergency(ask: &Ask, filing: &Filing<'_>) -> Result<(), Refusal> {
    if filing.filer.name != filing.requester.name {
        return Err(Refusal::EmergencyForAnother);
    }
    match (ask.terms.end, ask.terms.start) {
        (End::Never, _) => Err(Refusal::EmergencyForGood),
        (End::After(_) | End::At(_), Some(_)) => Err(Refusal::EmergencyLater),
        (End::After(_) | End::At(_), None) => Ok(()),
    }
}

fn granted(
    request: RequestId,
    member: &Name,
    terms: &Terms,
    modified: bool,
    by_rule: Option<&RuleName>,
    now: Timestamp,
) -> Granted {
    Granted {
        request,
        member: member.clone(),
        resource: terms.resource.clone(),
        end: terms.end,
        start: terms.start,
        starts_at: terms.starts_at(now),
        ends_at: terms.ends_at(now),
        modified,
        approved_by: Vec::new(),
        by_rule: by_rule.cloned(),
        demands: Vec::new(),
        reviewers: None,
    }
}

fn begins(granted: Granted, now: Timestamp) -> Event {
    if granted.starts_at > now { Event::GrantScheduled(granted) } else { Event::GrantStarted(granted) }
}

/// Whether a request is another person's. Somebody is the same person if the name or the Unix user is the same: neither a
/// new name nor the name of somebody else gets around this, and no role, no rule and no second vote does.
fn is_anothers(request: &Request, person: &Principal) -> Result<(), Refusal> {
    may_act(person)?;
    let (name, login) = (&person.name, &person.member.login);
    let may_be_own = request.may_be_requested_by(name, login) || request.may_be_filed_by(name, login);
    match may_be_own {
        false => Ok(()),
        true if request.is_requested_by(person) => Err(Refusal::OwnRequest { id: request.id }),
        true if request.belongs_to(person) => {
            Err(Refusal::FiledRequest { id: request.id, requester: request.requester.clone() })
        }
        true => Err(Refusal::MayBeOwn { id: request.id }),
    }
}

/// Whether this person may decide on this request, were these the terms. This is the one place that says so.
pub fn may_decide(
    person: &Principal,
    request: &Request,
    terms: &Terms,
    requirements: &[Requirement],
    now: Timestamp,
) -> Result<(), Refusal> {
    is_anothers(request, person)?;
    let basis = RoleBasis::of(request, terms);
    if requirements.iter().any(|requirement| requirement.is_met_by(person, basis, now)) {
        return Ok(());
    }
    let by_granted_role = requirements.iter().any(|it| it.is_met_by(person, RoleBasis::Effective, now));
    match (requirements, basis) {
        (_, RoleBasis::BaseAdmin) if by_granted_role => Err(Refusal::NeedsBaseRole { id: request.id, what: "a role" }),
        (_, RoleBasis::Base) if by_granted_role => {
            Err(Refusal::NeedsBaseRole { id: request.id, what: "permanent access" })
        }
        ([only], _) if is_default(only, Role::Admin) => Err(Refusal::NeedsAdmin { to: "decide on a request" }),
        ([only], _) if is_default(only, Role::Owner) => Err(Refusal::NeedsOwner { to: "decide on this request" }),
        (several, _) => Err(Refusal::NeedsApprover { id: request.id, approvers: named(several) }),
    }
}

/// Whether this person may put these terms in the place of those on the table, as far as those go: someone who could not
/// decide on the request as it is can't make it one that they can. `case`: of the terms on the table.
pub fn may_change(case: &Case<'_>, person: &Principal, terms: &Terms, now: Timestamp) -> Result<(), Refusal> {
    may_decide(person, case.request, terms, &case.judgement.requirements(), now)
}

fn is_default(requirement: &Requirement, least: Role) -> bool {
    requirement.rule.is_none() && requirement.approvers == BTreeSet::from([Assignee::Role(least)])
}

/// Everybody whom the requirements name, each once.
fn named(requirements: &[Requirement]) -> Vec<String> {
    let all: BTreeSet<&Assignee> = requirements.iter().flat_map(|it| &it.approvers).collect();
    all.into_iter().map(ToString::to_string).collect()
}

/// Whether this person may put these terms in the place of those on the table: they have to meet a demand of the new terms
/// themselves. So nobody parks terms there that they could not give, for the next approval to grant.
fn may_propose(case: &Case<'_>, person: &Principal, now: Timestamp) -> Result<(), Refusal> {
    let Case { request, terms, judgement, .. } = case;
    if **terms == *request.on_the_table() {
        return Ok(());
    }
    let requirements = judgement.requirements_of_granted();
    let basis = RoleBasis::of(request, terms);
    if requirements.iter().any(|requirement| requirement.is_met_by(person, basis, now)) {
        return Ok(());
    }
    let resource = terms.resource.clone();
    Err(Refusal::NeedsApproverOfTerms { id: request.id, resource, approvers: named(&requirements) })
}

/// Whether this person could review an emergency on these terms: a base admin, the owner, or someone who meets all of its
/// demands.
pub fn could_review(person: &Principal, judgement: &Judgement, terms: &Terms, now: Timestamp) -> bool {
    let requirements = judgement.requirements();
    let basis = match terms.resource {
        Resource::Role(_) => RoleBasis::BaseAdmin,
        Resource::Connection(_) | Resource::Target(_) | Resource::Feature(_) | Resource::Scope(_) => {
            RoleBasis::Effective
        }
    };
    person.member.role >= Role::Admin
        || !requirements.is_empty() && requirements.iter().all(|it| it.is_met_by(person, basis, now))
}

/// Who can review an emergency now: of those who were fixed when it was taken, those who could review it by today's rules too;
/// and if there is none, anybody who could. A member who came after it was filed is another person than the one who had
/// that name then.
pub fn reviewers<'c>(case: &Case<'c>, now: Timestamp) -> Vec<&'c Principal> {
    let Case { request, judgement, .. } = case;
    let able = |person: &&&Principal| {
        is_anothers(request, person).is_ok() && could_review(person, judgement, &request.asked, now)
    };
    let able: Vec<&Principal> = case.people.iter().filter(able).copied().collect();
    let reviewers = request.grant.as_ref().and_then(|grant| grant.reviewers.as_ref());
    let is_fixed = |person: &&Principal| {
        person.since < request.seq && reviewers.is_some_and(|reviewers| reviewers.contains(&person.name))
    };
    let fixed: Vec<&Principal> = able.iter().copied().filter(is_fixed).collect();
    if fixed.is_empty() { able } else { fixed }
}

/// Whether this person may review this emergency.
pub fn may_review(case: &Case<'_>, person: &Principal, now: Timestamp) -> Result<(), Refusal> {
    is_anothers(case.request, person)?;
    let able = reviewers(case, now);
    if able.iter().any(|other| other.name == person.name) {
        return Ok(());
    }
    let mut named: Vec<String> = able.iter().map(|person| person.name.to_string()).collect();
    if named.is_empty() {
        named.push("role:admin".to_owned());
    }
    Err(Refusal::NeedsReviewer { id: case.request.id, reviewers: named })
}

/// How far a request has come with one of the demands on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    pub rule: Option<RuleName>,
    pub need: u32,
    /// Whose approvals count, in the order they were given.
    pub have: Vec<Name>,
    /// Who may still give one.
    pub waiting_on: Vec<Name>,
}

impl Tally {
    pub fn is_met(&self) -> bool {
        self.have.len() >= self.need as usize
    }
}

/// Where a request stands with each demand, were these the terms. `people`: all who gave an approval or might.
///
/// An approval counts for exactly the terms it was of, and only while whoever gave it may still decide: one person's
/// may count towards several demands, and never twice towards one.
pub fn standing(
    request: &Request,
    terms: &Terms,
    requirements: &[Requirement],
    people: &[&Principal],
    now: Timestamp,
) -> Vec<Tally> {
    let basis = RoleBasis::of(request, terms);
    let able: Vec<&&Principal> =
        people.iter().filter(|person| may_decide(person, request, terms, requirements, now).is_ok()).collect();
    let mut given: Vec<&Principal> = Vec::new();
    for decision in &request.decisions {
        let counts =
            decision.verdict == Verdict::Approve && decision.counts && request.decided_terms(decision) == terms;
        let giver = able.iter().find(|person| person.name == decision.by && person.since < decision.seq);
        if let Some(giver) = giver.filter(|_| counts)
            && given.iter().all(|person| person.name != giver.name)
        {
            given.push(giver);
        }
    }
    let standing = |requirement: &Requirement| {
        let have: Vec<Name> = given
            .iter()
            .filter(|person| requirement.is_met_by(person, basis, now))
            .map(|person| person.name.clone())
            .collect();
        let met = have.len() >= requirement.approvals as usize;
        let may_still =
            |person: &&&&Principal| !met && requirement.is_met_by(person, basis, now) && !have.contains(&person.name);
        let waiting_on = able.iter().filter(may_still).map(|person| person.name.clone()).collect();
        Tally { rule: requirement.rule.clone(), need: requirement.approvals, have, waiting_on }
    };
    requirements.iter().map(standing).collect()
}

/// Whether one of these people made a decision: members who have left are not among them, and somebody else with the name of one
/// now is another person.
fn is_by_one_of(decision: &Decision, people: &[&Principal]) -> bool {
    people.iter().any(|person| person.name == decision.by && person.since < decision.seq)
}

/// Everybody on whom any of the demands waits.
pub fn waits_on(standing: &[Tally]) -> Vec<Name> {
    let all: BTreeSet<&Name> = standing.iter().flat_map(|standing| &standing.waiting_on).collect();
    all.into_iter().cloned().collect()
}

/// Whether somebody may see a request: its requester, its filer, those who may decide on it or are told when it is late,
/// admins; and everybody, while an emergency owes its review.
///
/// `judgement`: None when it has not been looked for, which settles it only for those whom no rule has to name.
pub fn may_see(person: &Principal, request: &Request, judgement: Option<&Judgement>, now: Timestamp) -> bool {
    let is_named = |judgement: &Judgement| {
        let told = Requirement { rule: None, approvers: judgement.escalate_to(), approvals: 1 };
        may_decide(person, request, request.on_the_table(), &judgement.requirements(), now).is_ok()
            || told.is_met_by(person, RoleBasis::Effective, now)
    };
    !person.is_disabled()
        && (request.belongs_to(person)
            || person.effective_role(now) >= Role::Admin
            || request.owes_review()
            || judgement.is_some_and(is_named))
}

/// Whether there is still something to decide.
fn still_pending(request: &Request, now: Timestamp) -> Result<(), Refusal> {
    let state = request.state(now);
    if state == State::Pending {
        return Ok(());
    }
    let by = request.decisions.last().map(|decision| decision.by.clone());
    Err(Refusal::AlreadyDecided { id: request.id, state, by })
}

/// What has been loaded for a request that is being decided on.
pub struct Case<'c> {
    pub request: &'c Request,
    pub requester: &'c Principal,
    /// What would be granted: the terms on the table, or those that an approver puts there now.
    pub terms: &'c Terms,
    /// By the rules as they are now, for the terms asked and these.
    pub judgement: &'c Judgement,
    /// All who gave an approval or might.
    pub people: &'c [&'c Principal],
}

/// Tells those who were asked that it is decided: not who decided, and nobody who is told of the same act otherwise.
fn decided(asked: &[Name], by: &Name, told: &[&Name]) -> Vec<Recipient> {
    NotificationKind::RequestDecided.to_all(asked.iter().filter(|name| *name != by && !told.contains(name)))
}

/// Approves these terms; access is granted with the last approval that it takes. `asked`: those who were asked to decide.
pub fn approve(
    case: &Case<'_>,
    approver: &Principal,
    note: Option<Text>,
    asked: &[Name],
    now: Timestamp,
) -> Result<Vec<Draft>, Refusal> {
    let Case { request, requester, terms, judgement, .. } = case;
    let requirements = judgement.requirements();
    may_decide(approver, request, terms, &requirements, now)?;
    still_pending(request, now)?;
    may_act(requester)?;
    may_propose(case, approver, now)?;
    if judgement.requirements_of_granted().is_empty() {
        return Err(Refusal::NothingDemanded { resource: terms.resource.clone() });
    }
    let mut wrong = wrong_terms(terms, requester, now);
    wrong.extend(judgement.allows(terms, &request.reason, request.ticket.as_ref()).err());
    Refusal::unless_none(wrong)?;
    let stood = standing(request, terms, &requirements, case.people, now);
    let counted = |standing: &[Tally]| -> BTreeSet<Name> { standing.iter().flat_map(|it| it.have.clone()).collect() };
    let given = counted(&stood);
    // Where a demand was relaxed since, what was given may be enough now: then whoever gave it can say so again.
    let enough = stood.iter().all(Tally::is_met);
    if given.contains(&approver.name) && !enough {
        return Err(Refusal::AlreadyVoted { id: request.id });
    }
    let modified = **terms != request.asked;
    let earlier = request.decisions.iter().filter(|decision| decision.verdict == Verdict::Approve && decision.counts);
    let voided: Vec<&Decision> =
        earlier.filter(|decision| !given.contains(&decision.by) || decision.by == approver.name).collect();
    let voids: BTreeSet<Name> = voided.iter().map(|decision| decision.by.clone()).collect();

    // As it stands with this approval.
    let mut after = (*request).clone();
    after
        .decisions
        .iter_mut()
        .filter(|decision| voids.contains(&decision.by))
        .for_each(|decision| decision.counts = false);
    after.decisions.push(Decision {
        seq: i64::MAX,
        by: approver.name.clone(),
        at: now,
        verdict: Verdict::Approve,
        note: note.clone(),
        terms: modified.then(|| (*terms).clone()),
        counts: true,
    });
    let stands = standing(&after, terms, &requirements, case.people, now);
    let complete = stands.iter().all(Tally::is_met);

    let mut told: Vec<Recipient> = Vec::new();
    if complete {
        told.push(NotificationKind::RequestApproved.to(&request.requester));
    }
    if *terms != request.on_the_table() {
        let lost = voided
            .iter()
            .filter(|decision| request.decided_terms(decision) != *terms && is_by_one_of(decision, case.people))
            .map(|decision| &decision.by);
        let waiting = if complete { Vec::new() } else { waits_on(&stands) };
        let all: BTreeSet<&Name> = lost.chain(&waiting).filter(|name| **name != approver.name).collect();
        told.extend(NotificationKind::RequestChanged.to_all(all));
    }
    if complete {
        let names: Vec<Name> = told.iter().map(|Recipient(name, _)| name.clone()).collect();
        told.extend(decided(asked, &approver.name, &names.iter().collect::<Vec<_>>()));
    }
    let approved = Event::RequestApproved {
        request: request.id,
        by: approver.name.clone(),
        asked: modified.then(|| request.asked.clone()),
        terms: (*terms).clone(),
        note,
        voids: voids.into_iter().collect(),
    };
    let mut drafts = vec![draft(approved, told)];
    if complete {
        let counts = counted(&stands);
        let mut approved_by: Vec<Name> = Vec::new();
        for decision in after.decisions.iter().filter(|decision| counts.contains(&decision.by) && decision.counts) {
            if !approved_by.contains(&decision.by) {
                approved_by.push(decision.by.clone());
            }
        }
        let demands = stands
            .iter()
            .map(|it| MetDemand { rule: it.rule.clone(), approvals: it.need, by: it.have.clone() })
            .collect();
        let granted = granted(request.id, &request.requester, terms, modified, None, now);
        let granted = Granted { approved_by, demands, ..granted };
        drafts.push(draft(begins(granted, now), Vec::new()));
    }
    Ok(drafts)
}

/// `asked`: those who were asked to decide.
pub fn deny(
    case: &Case<'_>,
    approver: &Principal,
    reason: Option<Text>,
    asked: &[Name],
    now: Timestamp,
) -> Result<Vec<Draft>, Refusal> {
    let request = case.request;
    may_decide(approver, request, case.terms, &case.judgement.requirements(), now)?;
    still_pending(request, now)?;
    let denied = Event::RequestDenied { request: request.id, by: approver.name.clone(), reason };
    let mut told = vec![NotificationKind::RequestDenied.to(&request.requester)];
    told.extend(decided(asked, &approver.name, &[&request.requester]));
    Ok(vec![draft(denied, told)])
}

/// Closes the review that an emergency owes.
pub fn review(case: &Case<'_>, reviewer: &Principal, note: Text, now: Timestamp) -> Result<Vec<Draft>, Refusal> {
    let request = case.request;
    if !request.emergency {
        return Err(Refusal::NotOwed { id: request.id });
    }
    may_review(case, reviewer, now)?;
    if let Some(review) = &request.review {
        return Err(Refusal::AlreadyReviewed { id: request.id, by: review.by.clone() });
    }
    Ok(vec![draft(Event::RequestReviewed { request: request.id, by: reviewer.name.clone(), note }, Vec::new())])
}

/// Whether this person may ask for more of this grant, and what that would be, on the terms granted before: it starts
/// when that one ends. `end`: None for as long again.
pub fn extended(request: &Request, person: &Principal, end: Option<Length>, now: Timestamp) -> Result<Terms, Refusal> {
    may_act(person)?;
    if !request.is_requested_by(person) {
        return Err(Refusal::NeedsOwnGrant { id: request.id });
    }
    let state = request.state(now);
    let live = request.grant.as_ref().filter(|_| matches!(state, State::Active | State::Scheduled));
    let Some(grant) = live else { return Err(Refusal::NotExtendable { id: request.id, state }) };
    let Some(ends_at) = grant.ends_at else { return Err(Refusal::NothingToExtend { id: request.id }) };
    let before = Length::from_seconds(ends_at.since(grant.starts_at)).unwrap_or(Length::HOUR);
    let end = End::After(end.unwrap_or(before));
    Ok(Terms { resource: grant.terms.resource.clone(), end, start: Some(ends_at) })
}

/// `asked`: those who were asked to decide on it.
pub fn withdraw(request: &Request, person: &Principal, asked: &[Name], now: Timestamp) -> Result<Vec<Draft>, Refusal> {
    may_act(person)?;
    if !request.belongs_to(person) {
        // Whoever may see it may deny it, which is the act that says what it is.
        return Err(Refusal::NeedsOwnRequest { id: request.id });
    }
    let state = request.state(now);
    if state != State::Pending {
        return Err(Refusal::NotPending { id: request.id, state });
    }
    let withdrawn =
        Event::RequestWithdrawn { request: request.id, by: Some(person.name.clone()), because: Because::Asked };
    // Whoever it was filed for should know as well.
    let requester = Some(&request.requester).filter(|requester| **requester != person.name);
    let told = asked.iter().filter(|name| **name != person.name).chain(requester);
    Ok(vec![draft(withdrawn, NotificationKind::RequestWithdrawn.to_all(told))])
}

/// Ends a grant now. Admins may end anyone's, a requester their own. `following`: the requests that go on from it, and
/// those that go on from them, which fall with it.
pub fn revoke(
    request: &Request,
    following: &[Request],
    person: &Principal,
    reason: Option<Text>,
    now: Timestamp,
) -> Result<Vec<Draft>, Refusal> {
    may_act(person)?;
    if !request.is_requested_by(person) {
        needs_admin(person, "revoke somebody else's access", now)?;
    }
    let state = request.state(now);
    let live = request.grant.as_ref().filter(|_| matches!(state, State::Active | State::Scheduled));
    let Some(grant) = live else { return Err(Refusal::NotLive { id: request.id, state }) };
    let told =
        |event: NotificationKind| if person.name == grant.member { vec![] } else { vec![event.to(&grant.member)] };
    let mut drafts =
        vec![draft(revoked(grant, Some(&person.name), Because::Asked, reason), told(NotificationKind::AccessRevoked))];
    for next in following {
        let because = Because::Fell(next.extends.unwrap_or(request.id));
        match (next.state(now), &next.grant) {
            (State::Pending, _) => {
                let event = Event::RequestWithdrawn { request: next.id, by: Some(person.name.clone()), because };
                drafts.push(draft(event, told(NotificationKind::RequestWithdrawn)));
            }
            (State::Scheduled | State::Active, Some(grant)) => {
                drafts.push(draft(
                    revoked(grant, Some(&person.name), because, None),
                    told(NotificationKind::AccessRevoked),
                ));
            }
            (
                State::Scheduled
                | State::Active
                | State::Denied
                | State::Withdrawn
                | State::Lapsed
                | State::Expired
                | State::Revoked,
                _,
            ) => {}
        }
    }
    Ok(drafts)
}

/// `by`: None for root.
fn revoked(grant: &Grant, by: Option<&Name>, because: Because, reason: Option<Text>) -> Event {
    Event::GrantRevoked {
        request: grant.request,
        resource: grant.terms.resource.clone(),
        by: by.cloned(),
        because,
        reason,
    }
}

fn untold(draft: Draft) -> Draft {
    Draft { told: Vec::new(), ..draft }
}

/// Records that a grant has ended by the clock. None: it has not. `goes_on`: its member has the access still, by another
/// grant, and is told of that one's end.
pub fn expire(grant: &Grant, goes_on: bool, now: Timestamp) -> Option<Draft> {
    let ended_at = grant.ends_at.filter(|&end| end <= now && grant.ended.is_none())?;
    let expired = Event::GrantExpired { request: grant.request, resource: grant.terms.resource.clone(), ended_at };
    let told = if goes_on { Vec::new() } else { vec![NotificationKind::AccessExpired.to(&grant.member)] };
    Some(draft(expired, told))
}

/// Records that a scheduled grant has begun by the clock. None: it has not, or that is on the record.
pub fn begin(grant: &Grant, now: Timestamp) -> Option<Draft> {
    let due = grant.starts_at <= now && !grant.begun && grant.ended.is_none();
    let begun = Granted {
        starts_at: grant.starts_at,
        ends_at: grant.ends_at,
        ..granted(grant.request, &grant.member, &grant.terms, grant.modified, grant.by_rule.as_ref(), now)
    };
    due.then(|| draft(Event::GrantStarted(begun), vec![NotificationKind::AccessStarted.to(&grant.member)]))
}

/// Tells those who may still decide again, once, and with them those to whom it escalates. None: it is not time.
pub fn remind(request: &Request, whom: &[Name], now: Timestamp) -> Option<Draft> {
    let due = request.reminds().is_some_and(|at| at <= now) && request.state(now) == State::Pending;
    let event = Event::RequestReminded { request: request.id };
    due.then(|| draft(event, NotificationKind::RequestReminder.to_all(whom)))
}

/// Records, once, that a request of an older version is judged by the rules of this one. `whom`: those who may decide on
/// it and were not notified.
pub fn rejudge(request: &Request, whom: &[Name]) -> Draft {
    draft(Event::RequestRejudged { request: request.id }, NotificationKind::RequestSubmitted.to_all(whom))
}

/// Warns, once, that a grant ends soon. None: it does not, or its member was told. (Of one after which access goes on by
/// another grant, nothing is to be told.)
pub fn warn(grant: &Grant, now: Timestamp) -> Option<Draft> {
    let soon = |&end: &Timestamp| {
        let length = end.since(grant.starts_at);
        let lead = if length <= WARN_WITHIN.seconds() { length / 4 } else { WARN_WITHIN.seconds() };
        end.since(now) <= lead
    };
    let ends_at = grant.ends_at.filter(soon).filter(|_| grant.is_live(now) && !grant.warned)?;
    let expiring = Event::GrantExpiring { request: grant.request, resource: grant.terms.resource.clone(), ends_at };
    Some(draft(expiring, vec![NotificationKind::AccessExpiring.to(&grant.member)]))
}

/// Records that a request lapsed undecided. None: it has not.
pub fn lapse(request: &Request, now: Timestamp) -> Option<Draft> {
    let lapsed = request.recorded == Recorded::Pending && request.state(now) == State::Lapsed;
    let event = Event::RequestLapsed { request: request.id, lapsed_at: request.lapses() };
    lapsed.then(|| draft(event, vec![NotificationKind::RequestLapsed.to(&request.requester)]))
}

/// What judging an open request again, by the new team, comes to.
#[derive(Debug, Default)]
pub struct Anew {
    /// Why its grant ends. None: it stays.
    pub ends: Option<String>,
    /// Whose approvals no longer count, and what a grant would gain. Empty: nothing.
    pub voids: Vec<Name>,
    pub gained: String,
    /// Who is notified of that.
    pub told: Vec<Name>,
}

/// What follows for open requests and live grants when the team changes: whatever rests on something that is gone
/// goes with it, so that a name which comes back brings nothing back.
///
/// `open`: every request on the record as pending or with a grant that has not ended. `asked`: who was told of a request when it was filed.
/// `by`: who changes the team; None for root, who replaces an owner. `judge`: judges one of them again, given the grants
/// that end before it, unless it goes anyway.
pub fn follow<E>(
    changes: &[Change],
    open: &[Request],
    asked: &BTreeMap<RequestId, Vec<Name>>,
    remains: impl Fn(&Name) -> bool,
    (by, now): (Option<&Name>, Timestamp),
    mut judge: impl FnMut(&Request, &BTreeSet<RequestId>) -> Result<Anew, E>,
) -> Result<Vec<Draft>, E> {
    let mut drafts = Vec::new();
    let mut fallen: BTreeSet<RequestId> = BTreeSet::new();
    let all_shut_out: BTreeSet<&Name> = changes.iter().filter_map(Change::shuts_out).collect();
    let all_departed: BTreeSet<&Name> = changes.iter().filter_map(Change::departs).collect();
    let all_gone: BTreeSet<Resource> = changes.iter().filter_map(Change::removes).collect();
    for request in open {
        let shut_out = all_shut_out.contains(&request.requester);
        let filer_departs = all_departed.contains(&request.filed_by);
        let gone = |resource: &Resource| all_gone.contains(resource);
        // A request comes after the one that it goes on from.
        let fell = request.extends.filter(|before| fallen.contains(before));
        let because = |resource: &Resource| match (shut_out, gone(resource)) {
            (true, _) => Some(Because::MemberGone),
            (false, true) => Some(Because::Gone(resource.clone())),
            (false, false) => fell.map(Because::Fell),
        };
        let mut told: Vec<Recipient> = Vec::new();
        match (request.state(now), &request.grant) {
            (State::Pending, _) => {
                // Whoever filed it may come back by another name, and must not decide on it.
                // Approvals of what an approver put on the table rest on that too.
                let because = because(&request.asked.resource).or_else(|| because(&request.on_the_table().resource));
                let because = because.or_else(|| filer_departs.then_some(Because::FilerGone));
                if let Some(because) = because {
                    told.extend(
                        NotificationKind::RequestWithdrawn.to_all(asked.get(&request.id).into_iter().flatten()),
                    );
                    told.push(NotificationKind::RequestWithdrawn.to(&request.requester));
                    told.retain(|Recipient(member, _)| remains(member));
                    let event = Event::RequestWithdrawn { request: request.id, by: by.cloned(), because };
                    drafts.push(draft(event, told));
                    continue;
                }
                let Anew { voids, gained, told, .. } = judge(request, &fallen)?;
                if !gained.is_empty() {
                    let event = Event::ApprovalsVoided { request: request.id, voids, gained };
                    drafts.push(draft(event, NotificationKind::RequestChanged.to_all(&told)));
                }
            }
            (State::Active | State::Scheduled, Some(grant)) => {
                let because = match because(&grant.terms.resource) {
                    Some(because) => Some(because),
                    None => judge(request, &fallen)?.ends.map(Because::NoLongerGiven),
                };
                if let Some(because) = because {
                    fallen.insert(request.id);
                    told.push(NotificationKind::AccessRevoked.to(&grant.member));
                    told.retain(|Recipient(member, _)| remains(member));
                    drafts.push(draft(revoked(grant, by, because, None), told));
                }
            }
            // The clock was first, and nobody has recorded it: now, or it would be told to whoever bears the name next.
            (State::Expired, Some(grant)) if shut_out => drafts.extend(expire(grant, true, now)),
            (State::Lapsed, None) if shut_out => drafts.extend(lapse(request, now).map(untold)),
            (
                State::Active
                | State::Scheduled
                | State::Denied
                | State::Withdrawn
                | State::Lapsed
                | State::Expired
                | State::Revoked,
                _,
            ) => {}
        }
    }
    Ok(drafts)
}
