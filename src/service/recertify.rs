//! `recertify`: reviews of what people hold. What nobody keeps until the due time is revoked by `expire`.

mod cancel;

use std::collections::BTreeSet;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::policy_context::PolicyContext;
use super::request::{item, unjudged};
use super::revoke::following;
use super::{Call, Never, Problem, Rows, Service, member};
use crate::domain::duration::Length;
use crate::domain::event::{Draft, Event};
use crate::domain::member::Assignee;
use crate::domain::name::Name;
use crate::domain::principal::Principal;
use crate::domain::recertification::{
    Held, ItemId, ItemToReview, ItemVerdict, Recertification, RecertificationId, RecertificationItem, Selection,
};
use crate::domain::refusal::{RecertifyRefusal, Refusal};
use crate::domain::request::recertify::{
    ItemCase, Start, close, decide, holdings, may_start, remind, reviewers, start,
};
use crate::domain::request::submit::Ask;
use crate::domain::request::{Request, authorize};
use crate::domain::resource::Resource;
use crate::domain::role::Role;
use crate::domain::terms::{End, RequestDetails, RequestId, Terms};
use crate::domain::text::Text;
use crate::domain::time::Timestamp;
use crate::error::Failure;
use crate::protocol::{ItemCounts, ItemView, RecertificationView};
use crate::store::{Error, Read};

pub use cancel::CancelRecertification;

/// Starts a recertification.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StartRecertification {
    pub selection: Selection,
    pub due_in: Length,
    /// Empty: those who could approve each item.
    pub reviewers: BTreeSet<Assignee>,
    pub dry_run: bool,
}

impl Call for StartRecertification {
    const NAME: &'static str = "StartRecertification";

    type Row = Never;
    type Reply = RecertificationView;

    fn carry_out(self, service: &Service<'_>, _: Rows<'_, Never>) -> Result<RecertificationView, Failure> {
        let name = "recertify start";
        if self.dry_run {
            return service.try_out(name, None, |read, me, now| {
                let (_, recertification) = self.prepare(read, me, now)?;
                Ok(Loaded::of(read, &PolicyContext::default(), recertification, None)?.view(me, true, now))
            });
        }
        service.change(
            name,
            None,
            |read, me, now| {
                let (draft, recertification) = self.prepare(read, me, now)?;
                Ok((vec![draft], (recertification.id, me.clone())))
            },
            |read, (id, me), now| {
                let missing = || Error::Internal { message: format!("recertification {id} is missing") };
                let recertification = read.recertification(id)?.ok_or_else(missing)?;
                Ok(Loaded::of(read, &PolicyContext::default(), recertification, None)?.view(&me, true, now))
            },
        )
    }
}

impl StartRecertification {
    fn prepare(&self, read: &Read<'_>, me: &Principal, now: Timestamp) -> Result<(Draft, Recertification), Problem> {
        // Checked before the answer reveals what there is.
        may_start(me, now)?;
        self.check_names(read)?;
        let policy = PolicyContext::default();
        let about = match &self.selection {
            Selection::Resource(resource) => Some(item(read, resource)?),
            Selection::All | Selection::Permanent | Selection::Group(_) => None,
        };
        let mut people: Vec<Rc<Principal>> = Vec::new();
        for name in read.member_names()? {
            people.extend(policy.principal(read, &name)?);
        }
        let due = now.plus(self.due_in);
        let (mut items, mut requests) = (Vec::new(), Vec::new());
        for principal in &people {
            for held in holdings(principal, &self.selection, about.as_ref(), due, now) {
                let request = held.request().map(|id| granted(read, id)).transpose()?;
                let reviewers = match self.reviewers.is_empty() {
                    true => approvers(read, &policy, principal, &held, request.as_ref(), now)?,
                    false => self.reviewers.clone(),
                };
                let (member, login) = (principal.name.clone(), principal.member.login.clone());
                items.push(ItemToReview { member, login, held, reviewers });
                requests.extend(request);
            }
        }
        let people: Vec<&Principal> = people.iter().map(AsRef::as_ref).collect();
        let (id, selection) = (read.next_recertification()?, self.selection.clone());
        let what =
            Start { id, selection, due_in: self.due_in, items: items.clone(), requests: &requests, people: &people };
        let draft = start(what, me, now)?;
        let recertification = Recertification {
            id,
            // It is not in the log yet.
            seq: i64::MAX,
            started_at: now,
            by: me.name.clone(),
            selection: self.selection.clone(),
            due,
            remind_at: None,
            closed_at: None,
            cancelled: None,
            items: items.into_iter().map(|item| RecertificationItem { item, outcome: None }).collect(),
        };
        Ok((draft, recertification))
    }

    fn check_names(&self, read: &Read<'_>) -> Result<(), Problem> {
        let of_selection = match &self.selection {
            Selection::Group(group) => Some(Assignee::Group(group.clone())),
            Selection::All | Selection::Permanent | Selection::Resource(_) => None,
        };
        for named in self.reviewers.iter().chain(&of_selection) {
            match named {
                Assignee::Member(name) => drop(member(read, name)?),
                Assignee::Group(name) if read.group_members(name)?.is_empty() => {
                    return Err(Refusal::from(RecertifyRefusal::NoSuchGroup { name: name.clone() }).into());
                }
                Assignee::Group(_) | Assignee::Role(_) => {}
            }
        }
        Ok(())
    }
}

fn granted(read: &Read<'_>, id: RequestId) -> Result<Request, Error> {
    read.request(id)?.ok_or_else(|| Error::Internal { message: format!("request {id} is missing") })
}

/// Those whose approval it would take to give this today.
fn approvers(
    read: &Read<'_>,
    policy: &PolicyContext,
    holder: &Principal,
    held: &Held,
    request: Option<&Request>,
    now: Timestamp,
) -> Result<BTreeSet<Assignee>, Problem> {
    let asked = |resource| -> Result<Request, Problem> {
        let terms = Terms { resource, end: End::Never, start: None };
        let reason: Text = "recertification".parse().map_err(|why| Error::Internal { message: format!("{why}") })?;
        let details = RequestDetails::new(terms, reason);
        let ask = Ask { details, extends: None, emergency: false, default_length: false };
        Ok(unjudged(read.next_request()?, holder, holder, &ask, now))
    };
    let request = match (held, request) {
        (Held::Grant { .. }, Some(request)) => Request { emergency: false, ..request.clone() },
        (Held::Role(role), _) => asked(Resource::Role(*role))?,
        (Held::Scope(scope), _) => asked(Resource::Scope(scope.clone()))?,
        (Held::Group(_) | Held::Grant { .. }, _) => return Ok(reviewers(&[])),
    };
    let terms = request.grant.as_ref().map_or(&request.details.asked, |grant| &grant.terms).clone();
    Ok(reviewers(&policy.judge(read, &request, &terms, now)?.judgement.requirements()))
}

/// A recertification with what its items rest on.
struct Loaded {
    recertification: Recertification,
    items: Vec<LoadedItem>,
}

struct LoadedItem {
    id: ItemId,
    item: RecertificationItem,
    request: Option<Request>,
    following: Vec<Request>,
    holder: Option<Rc<Principal>>,
}

impl LoadedItem {
    fn case<'c>(&'c self, recertification: &'c Recertification) -> ItemCase<'c> {
        let LoadedItem { id, item, request, following, holder } = self;
        let (request, holder) = (request.as_ref(), holder.as_deref());
        ItemCase { recertification, id: *id, item, request, following, holder }
    }
}

impl Loaded {
    /// `only`: this item and no other.
    fn of(
        read: &Read<'_>,
        policy: &PolicyContext,
        recertification: Recertification,
        only: Option<ItemId>,
    ) -> Result<Loaded, Error> {
        let mut items = Vec::new();
        for (id, item) in recertification.numbered().filter(|(id, _)| only.is_none_or(|only| only == *id)) {
            let request = item.item.held.request();
            items.push(LoadedItem {
                id,
                item: item.clone(),
                request: request.map(|id| granted(read, id)).transpose()?,
                following: request.map(|id| following(read, id)).transpose()?.unwrap_or_default(),
                holder: policy.principal(read, &item.item.member)?,
            });
        }
        Ok(Loaded { recertification, items })
    }

    /// The recertification of an item, with that item alone.
    fn one(read: &Read<'_>, id: ItemId) -> Result<Option<Loaded>, Error> {
        let recertification = read.recertification(id.recertification)?;
        let policy = PolicyContext::default();
        recertification.map(|it| Loaded::of(read, &policy, it, Some(id))).transpose()
    }

    fn cases(&self) -> Vec<ItemCase<'_>> {
        self.items.iter().map(|loaded| loaded.case(&self.recertification)).collect()
    }

    /// As this member may see it: auditors and admins see all items, others those that they may review, and their own.
    fn view(&self, me: &Principal, with_items: bool, now: Timestamp) -> RecertificationView {
        let Recertification { id, selection, by, started_at, due, closed_at, cancelled, .. } =
            self.recertification.clone();
        let mut counts = ItemCounts::default();
        let mut items = Vec::new();
        let mut waiting_for_you = 0;
        for case in self.cases().iter().filter(|case| may_see(me, case, now)) {
            let view = item_view(case, me, now);
            counts.add(view.state);
            waiting_for_you += u64::from(view.may_decide);
            if with_items {
                items.push(view);
            }
        }
        RecertificationView { id, selection, by, started_at, due, closed_at, cancelled, counts, waiting_for_you, items }
    }

    /// Those who may decide on an item that waits.
    fn may_still_decide(
        &self,
        read: &Read<'_>,
        policy: &PolicyContext,
        now: Timestamp,
    ) -> Result<BTreeSet<Name>, Error> {
        let mut cases = self.cases();
        cases.retain(|case| case.still_waits(now).is_ok());
        let mut names = BTreeSet::new();
        for name in read.member_names()? {
            let Some(principal) = policy.principal(read, &name)? else { continue };
            if cases.iter().any(|case| case.may_review(&principal, now).is_ok()) {
                names.insert(name);
            }
        }
        Ok(names)
    }

    fn is_visible(&self, me: &Principal, now: Timestamp) -> bool {
        self.cases().iter().any(|case| may_see(me, case, now))
    }
}

fn may_see(me: &Principal, case: &ItemCase<'_>, now: Timestamp) -> bool {
    let ItemToReview { member, login, .. } = &case.item.item;
    authorize::needs_auditor(me, "see all items", now).is_ok()
        || case.may_review(me, now).is_ok()
        || me.was(member, Some(login), case.recertification.seq)
}

fn item_view(case: &ItemCase<'_>, me: &Principal, now: Timestamp) -> ItemView {
    let is_closed = case.recertification.closed_at.is_some();
    let may_decide = case.may_review(me, now).is_ok() && case.still_waits(now).is_ok();
    ItemView { may_decide, ..ItemView::of(case.id, case.item, is_closed, case.is_held(now)) }
}

/// The recertifications that the caller may see, newest first.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Recertifications {
    /// Those that are closed too.
    pub all: bool,
}

impl Call for Recertifications {
    const NAME: &'static str = "Recertifications";

    type Row = RecertificationView;
    type Reply = ();

    fn carry_out(self, service: &Service<'_>, rows: Rows<'_, RecertificationView>) -> Result<(), Failure> {
        let views = service.ask("recertify list", |read, me, now| Ok(visible(read, me, self.all, now)?))?;
        views.into_iter().try_for_each(rows)
    }
}

/// Those that the caller may see, newest first.
fn visible(read: &Read<'_>, me: &Principal, all: bool, now: Timestamp) -> Result<Vec<RecertificationView>, Error> {
    let policy = PolicyContext::default();
    let found = match all {
        true => read.all_recertifications()?,
        false => read.open_recertifications()?.into_iter().rev().collect(),
    };
    let mut views = Vec::new();
    for recertification in found {
        let loaded = Loaded::of(read, &policy, recertification, None)?;
        if loaded.is_visible(me, now) {
            views.push(loaded.view(me, false, now));
        }
    }
    Ok(views)
}

/// One recertification with its items.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ShowRecertification {
    pub id: RecertificationId,
}

impl Call for ShowRecertification {
    const NAME: &'static str = "ShowRecertification";

    type Row = Never;
    type Reply = RecertificationView;

    fn carry_out(self, service: &Service<'_>, _: Rows<'_, Never>) -> Result<RecertificationView, Failure> {
        let ShowRecertification { id } = self;
        service.ask("recertify show", |read, me, now| {
            let no_such = || Refusal::from(RecertifyRefusal::NoSuchRecertification { id });
            let recertification = read.recertification(id)?.ok_or_else(no_such)?;
            let loaded = Loaded::of(read, &PolicyContext::default(), recertification, None)?;
            if !loaded.is_visible(me, now) {
                return Err(no_such().into());
            }
            Ok(loaded.view(me, true, now))
        })
    }
}

/// Keeps or revokes one item.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DecideItem {
    pub id: ItemId,
    pub verdict: ItemVerdict,
    pub reason: Option<Text>,
}

impl Call for DecideItem {
    const NAME: &'static str = "DecideItem";

    type Row = Never;
    type Reply = ItemView;

    fn carry_out(self, service: &Service<'_>, _: Rows<'_, Never>) -> Result<ItemView, Failure> {
        let DecideItem { id, verdict, reason } = self;
        let command = match verdict {
            ItemVerdict::Keep => "recertify keep",
            ItemVerdict::Revoke => "recertify revoke",
        };
        let no_such = || Refusal::from(RecertifyRefusal::NoSuchItem { id });
        service.change(
            command,
            None,
            |read, me, now| {
                let loaded = Loaded::one(read, id)?.ok_or_else(no_such)?;
                let case = loaded.cases().pop().filter(|case| may_see(me, case, now)).ok_or_else(no_such)?;
                Ok((decide(&case, me, verdict, reason, now)?, me.clone()))
            },
            |read, me, now| {
                let missing = || Error::Internal { message: format!("item {id} is missing") };
                let loaded = Loaded::one(read, id)?.ok_or_else(missing)?;
                let view = loaded.cases().pop().map(|case| item_view(&case, &me, now));
                view.ok_or_else(missing)
            },
        )
    }
}

/// What `expire` does about recertifications.
#[derive(Default)]
pub struct Tended {
    pub drafts: Vec<Draft>,
    pub closed: u64,
    /// The grants that nobody kept.
    pub revoked: u64,
    pub reminded: u64,
}

/// Closes what is due, and reminds reviewers.
pub fn tend(read: &Read<'_>, policy: &PolicyContext, now: Timestamp) -> Result<Tended, Error> {
    let mut tended = Tended::default();
    let mut ended = BTreeSet::new();
    for recertification in read.recertifications_to_tend(now)? {
        let loaded = Loaded::of(read, policy, recertification, None)?;
        let cases = loaded.cases();
        if loaded.recertification.due <= now {
            let owner = read.holders_of_role(Role::Owner)?.pop();
            let drafts = close(&loaded.recertification, &cases, &mut ended, owner.as_ref(), now);
            let is_revoked = |draft: &&Draft| matches!(draft.event, Event::GrantRevoked { .. });
            tended.closed += 1;
            tended.revoked += drafts.iter().filter(is_revoked).count() as u64;
            tended.drafts.extend(drafts);
        } else {
            let names = loaded.may_still_decide(read, policy, now)?;
            tended.reminded += 1;
            tended.drafts.extend(remind(&loaded.recertification, &names, now));
        }
    }
    Ok(tended)
}

/// The numbers of the recertifications that the caller may see, with what each is about.
pub fn named(read: &Read<'_>, me: &Principal, now: Timestamp) -> Result<Vec<(String, Option<String>)>, Error> {
    let views = visible(read, me, true, now)?;
    Ok(views.into_iter().map(|view| (view.id.to_string(), Some(view.selection.to_string()))).collect())
}

/// The items that the caller may decide on now, with what each is about.
pub fn decidable(read: &Read<'_>, me: &Principal, now: Timestamp) -> Result<Vec<(String, Option<String>)>, Error> {
    let mut found = Vec::new();
    for recertification in read.open_recertifications()? {
        let loaded = Loaded::of(read, &PolicyContext::default(), recertification, None)?;
        for case in loaded.cases() {
            if case.may_review(me, now).is_ok() && case.still_waits(now).is_ok() {
                let ItemToReview { member, held, .. } = &case.item.item;
                found.push((case.id.to_string(), Some(format!("{held} of {member}"))));
            }
        }
    }
    Ok(found)
}
