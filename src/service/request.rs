//! `request`: files a request for access.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::policy_context::{Judged, PolicyContext};
use super::{Call, Never, Problem, Rows, Service, Warned, member, quota, view};
use crate::domain;
use crate::domain::catalog::CatalogItem;
use crate::domain::event::{Draft, Event, Granted};
use crate::domain::member::Assignee;
use crate::domain::name::Name;
use crate::domain::policy::judge::Judgement;
use crate::domain::principal::Principal;
use crate::domain::refusal::{LookupRefusal, Refusal};
use crate::domain::request::emergency::{Emergency, TOGETHER};
use crate::domain::request::submit::{Ask, Filing};
use crate::domain::request::vote::Tally;
use crate::domain::request::{Recorded, Request, authorize, submit, vote};
use crate::domain::resource::Resource;
use crate::domain::role::Role;
use crate::domain::terms::{RequestDetails, RequestId};
use crate::domain::text::{nearest, quantity};
use crate::domain::time::Timestamp;
use crate::error::Failure;
use crate::protocol::RequestView;
use crate::store::Read;

/// Asks for access.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SubmitRequest {
    pub details: RequestDetails,
    /// On behalf of this member.
    pub requester: Option<Name>,
    pub emergency: bool,
    /// Whether the length is the default because none was given. A rule may shorten it then.
    #[serde(default)]
    pub default_length: bool,
    pub dry_run: bool,
}

impl Call for SubmitRequest {
    const NAME: &'static str = "SubmitRequest";

    type Row = Never;
    type Reply = Warned<RequestView>;

    fn carry_out(self, service: &Service<'_>, _: Rows<'_, Never>) -> Result<Warned<RequestView>, Failure> {
        let ask = self;
        let (view, warnings) = if ask.dry_run {
            service.try_out("request", None, |read, me, now| {
                let Prepared { view, warnings, .. } = prepare(read, &PolicyContext::default(), me, &ask, now)?;
                Ok((view, warnings))
            })?
        } else {
            service.change(
                "request",
                None,
                |read, me, now| {
                    let policy = PolicyContext::default();
                    let Prepared { drafts, warnings, view } = prepare(read, &policy, me, &ask, now)?;
                    Ok((drafts, (view, warnings)))
                },
                |_, answer, _| Ok(answer),
            )?
        };
        Ok(Warned { answer: view, warnings })
    }
}

/// A request that may be filed.
pub struct Prepared {
    pub drafts: Vec<Draft>,
    pub warnings: Vec<String>,
    /// As it would be shown once it is filed.
    pub view: RequestView,
}

fn prepare(
    read: &Read<'_>,
    policy: &PolicyContext,
    me: &Principal,
    ask: &SubmitRequest,
    now: Timestamp,
) -> Result<Prepared, Problem> {
    let requester = requester(read, me, ask.requester.as_ref(), &ask.details.asked.resource, now)?;
    let asked = Ask {
        details: ask.details.clone(),
        extends: None,
        emergency: ask.emergency,
        default_length: ask.default_length,
    };
    submit(read, policy, me, &requester, &asked, now)
}

/// For whom a request is filed. `resource`: what it is for, so that both unknown names are reported at once.
pub fn requester(
    read: &Read<'_>,
    me: &Principal,
    named: Option<&Name>,
    resource: &Resource,
    now: Timestamp,
) -> Result<Principal, Problem> {
    match named {
        Some(name) if *name != me.name => {
            // Checked before the answer reveals anything about that member or the resource.
            authorize::needs_admin(me, "file a request for somebody else", now)?;
            match (member(read, name), item(read, resource)) {
                (Err(Problem::Refusal(unknown)), Err(Problem::Refusal(other))) => Err(unknown.and([other]).into()),
                (found, _) => found,
            }
        }
        Some(_) | None => Ok(me.clone()),
    }
}

/// A request before it is judged.
pub fn unjudged(id: RequestId, me: &Principal, requester: &Principal, ask: &Ask, now: Timestamp) -> Request {
    Request {
        id,
        // It is not in the log yet.
        seq: i64::MAX,
        requester: requester.name.clone(),
        requester_login: Some(requester.member.login.clone()),
        filed_by: me.name.clone(),
        filer_login: Some(me.member.login.clone()),
        details: ask.details.clone(),
        submitted_at: now,
        lapses_at: now,
        remind_at: None,
        extends: ask.extends,
        emergency: ask.emergency,
        review: None,
        recorded: Recorded::Pending,
        decisions: Vec::new(),
        grant: None,
    }
}

/// Files a request, or refuses it.
pub fn submit(
    read: &Read<'_>,
    policy: &PolicyContext,
    me: &Principal,
    requester: &Principal,
    ask: &Ask,
    now: Timestamp,
) -> Result<Prepared, Problem> {
    submit_as(read, policy, me, requester, ask, |_| {}, now)
}

/// The same, judged as `amend` changes the judgement.
pub fn submit_as(
    read: &Read<'_>,
    policy: &PolicyContext,
    me: &Principal,
    requester: &Principal,
    ask: &Ask,
    amend: impl FnOnce(&mut Judgement),
    now: Timestamp,
) -> Result<Prepared, Problem> {
    let resource = &ask.details.asked.resource;
    let item = item(read, resource).map_err(|problem| match problem {
        Problem::Refusal(unknown) => unknown.and(submit::wrong_by_itself(ask, requester, None, now)).into(),
        Problem::Failure(_) => problem,
    })?;
    let pending = read.pending_request(&requester.name, resource, now)?;
    let mut request = unjudged(read.next_request()?, me, requester, ask, now);
    let mut judged = judged(read, policy, &mut request, ask.default_length, now)?;
    amend(&mut judged.judgement);
    let ask = Ask { details: request.details.clone(), ..ask.clone() };

    let admins = policy.people_named(read, &[Assignee::Role(Role::Admin)].into())?;
    let mut recipients: BTreeSet<Name> = admins
        .iter()
        .filter(|principal| authorize::needs_admin(principal, "", now).is_ok())
        .map(|it| it.name.clone())
        .collect();
    let tallies = judged.tally(&request, &request.details.asked, now);
    recipients.extend(vote::waits_on(&tallies));
    let recipients: Vec<Name> = recipients.into_iter().collect();
    let people = judged.people();
    let filing = Filing {
        id: request.id,
        filer: me,
        requester,
        item: &item,
        pending: pending.as_ref(),
        edits: None,
        judgement: &judged.judgement,
        notify: &recipients,
        people: &people,
        asked: &[],
    };
    let drafts = submit::submit(&ask, &filing, now)?;
    quota::may_file(read, policy, me, &request, &judged, now)?;
    let granted = granted(&drafts);
    let mut warnings = if granted.is_some() { Vec::new() } else { tallies.iter().filter_map(out_of_reach).collect() };
    let mut emergency = None;
    if let Some(granted) = granted {
        request.recorded = Recorded::Approved;
        let reviewers = granted.reviewers.clone();
        request.grant = Some(granted.into());
        if let Some(reviewers) = reviewers {
            if reviewers.is_empty() {
                warnings.push("nobody can review this emergency: you are the only active admin or owner".to_owned());
            }
            let day_ago = now.minus(TOGETHER);
            let mut grants = read.emergencies(&request, day_ago)?;
            grants.extend(request.grant.clone());
            emergency = Some(Emergency::of(&request, reviewers, &grants));
        }
    }
    // A granted request waits on nobody.
    let tallies = if request.grant.is_some() { Vec::new() } else { tallies };
    let rules = view::matched(&judged.judgement);
    drop(judged);
    let view = view::with_emergency(RequestView { rules, ..RequestView::at(request, &tallies, now) }, emergency);
    Ok(Prepared { drafts, warnings, view })
}

/// Judges a request that is to be filed. A default length is shortened to what the rules allow.
fn judged(
    read: &Read<'_>,
    policy: &PolicyContext,
    request: &mut Request,
    default_length: bool,
    now: Timestamp,
) -> Result<Judged, Problem> {
    let mut judged = policy.judge_and_fit(read, request, &request.details.asked, now)?;
    if let Some(fits) = judged.judgement.fits.filter(|_| default_length) {
        request.details.asked.end = domain::terms::End::After(fits);
        judged = policy.judge(read, request, &request.details.asked, now)?;
    }
    request.lapses_at = submit::lapses_at(&request.details.asked, &judged.judgement, now);
    request.remind_at = submit::remind_at(&request.details.asked, &judged.judgement, now);
    Ok(judged)
}

/// The grant that is among these events, if there is one.
pub fn granted(drafts: &[Draft]) -> Option<Granted> {
    drafts.iter().find_map(|draft| match &draft.event {
        Event::GrantStarted(granted) | Event::GrantScheduled(granted) => Some(granted.clone()),
        _ => None,
    })
}

/// A warning for a demand that cannot be met, because too few members can approve.
pub fn out_of_reach(tally: &Tally) -> Option<String> {
    let able = tally.waiting_on.len() + tally.have.len();
    (able < tally.need as usize).then(|| match (&tally.rule, able) {
        (Some(rule), able) => format!(
            "nobody can grant this: rule {:?} needs {}, but only {able} can be given",
            rule.as_str(),
            quantity(tally.need, "approval", "approvals")
        ),
        (None, _) => "nobody can decide on this request: the team has no admin except those who filed it".to_owned(),
    })
}

/// A resource of the catalogue, or a refusal that suggests similar names.
pub fn item(read: &Read<'_>, resource: &Resource) -> Result<CatalogItem, Problem> {
    if let Some(item) = read.catalog_item(resource)? {
        return Ok(item);
    }
    let names: Vec<String> = read.resource_names()?.iter().map(ToString::to_string).collect();
    let asked = resource.to_string();
    let mut likely: Vec<String> = Vec::new();
    // The same name of another kind, then the most similar of this kind, then of any kind.
    likely.extend(names.iter().filter(|name| name.split_once(':').is_some_and(|(_, n)| n == resource.name())).cloned());
    let kind = format!("{}:", resource.kind());
    let of_kind = names.iter().filter_map(|name| name.strip_prefix(&kind));
    likely.extend(nearest(resource.name(), of_kind).map(|near| format!("{kind}{near}")));
    if likely.is_empty() {
        likely.extend(nearest(&asked, names.iter().map(String::as_str)));
    }
    likely.dedup();
    Err(Refusal::from(LookupRefusal::NoSuchResource { resource: resource.clone(), nearest: likely }).into())
}
