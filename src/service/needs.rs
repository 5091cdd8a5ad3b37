//! The requirements of a request, which the form shows before it asks its questions.
//!
//! The code that files requests judges one for each length. The reason and the ticket are not written yet, so what the
//! rules demand of them is returned to the form instead. Nothing is filed, and a refusal is not recorded.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::policy_context::PolicyContext;
use super::request::{Prepared, item, requester, submit_as, unjudged};
use super::resources::about;
use super::{Call, Never, Problem, Rows, Service};
use crate::domain::duration::Length;
use crate::domain::name::Name;
use crate::domain::policy::judge::Judgement;
use crate::domain::policy::pattern::TicketPattern;
use crate::domain::principal::Principal;
use crate::domain::request::authorize;
use crate::domain::request::submit::Ask;
use crate::domain::resource::Resource;
use crate::domain::terms;
use crate::domain::terms::{RequestDetails, Terms};
use crate::domain::text::Text;
use crate::domain::time::Timestamp;
use crate::error::Failure;
use crate::protocol::{NeedView, NeedsView};
use crate::store::Read;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// The lengths that people ask for, in seconds.
const USUAL: [i64; 14] = [
    5 * MINUTE,
    15 * MINUTE,
    30 * MINUTE,
    HOUR,
    2 * HOUR,
    4 * HOUR,
    8 * HOUR,
    DAY,
    3 * DAY,
    7 * DAY,
    30 * DAY,
    90 * DAY,
    365 * DAY,
    3650 * DAY,
];

/// The requirements of a request. Files nothing.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Needs {
    pub resource: Resource,
    /// On behalf of this member.
    pub requester: Option<Name>,
    pub start: Option<Timestamp>,
    /// None: all usual lengths are tried.
    pub end: Option<terms::End>,
    pub emergency: bool,
}

impl Call for Needs {
    const NAME: &'static str = "Needs";

    type Row = Never;
    type Reply = NeedsView;

    fn carry_out(self, service: &Service<'_>, _: Rows<'_, Never>) -> Result<NeedsView, Failure> {
        let wanted = &self;
        let view = service.store.read(|read| -> Result<NeedsView, Problem> {
            let me = service.actor(read)?;
            authorize::may_act(&me)?;
            let now = service.now(read)?;
            let requester = requester(read, &me, wanted.requester.as_ref(), &wanted.resource, now)?;
            let item = item(read, &wanted.resource)?;
            let survey = Survey { read, policy: PolicyContext::default(), me: &me, requester: &requester, wanted, now };
            let (lengths, longest) = match wanted.end {
                Some(end) => (vec![survey.need(end)?], None),
                None => survey.lengths().map(|(lengths, longest)| (lengths, Some(longest)))?,
            };
            Ok(NeedsView { resource: wanted.resource.clone(), about: about(&read.team()?, &item), lengths, longest })
        });
        view.map_err(Problem::unrecorded)
    }
}

struct Survey<'s> {
    read: &'s Read<'s>,
    policy: PolicyContext,
    me: &'s Principal,
    requester: &'s Principal,
    wanted: &'s Needs,
    now: Timestamp,
}

impl Survey<'_> {
    fn ask(&self, end: terms::End) -> Ask {
        let Needs { resource, start, emergency, .. } = self.wanted;
        Ask {
            details: RequestDetails::new(Terms { resource: resource.clone(), end, start: *start }, no_reason_yet()),
            extends: None,
            emergency: *emergency,
            default_length: false,
        }
    }

    /// What a request that ends so takes, or why it would be refused whatever its reason and ticket are.
    fn need(&self, end: terms::End) -> Result<NeedView, Problem> {
        need(self.read, &self.policy, self.me, self.requester, &self.ask(end), self.now)
    }

    /// All lengths that can be asked for among the usual ones and those that rules name, and the longest there is.
    fn lengths(&self) -> Result<(Vec<NeedView>, terms::End), Problem> {
        let mut can: Vec<NeedView> = Vec::new();
        let mut refused: Option<Problem> = None;
        // The longest that can be asked for, and the shortest above it that can't.
        let mut longest: Option<i64> = None;
        let mut too_long: Option<i64> = None;
        for seconds in self.candidates()? {
            let Ok(length) = Length::from_seconds(seconds) else { continue };
            match self.need(terms::End::After(length)) {
                Ok(need) => {
                    can.push(need);
                    (longest, too_long) = (Some(seconds), None);
                }
                Err(Problem::Refusal(refusal)) => {
                    too_long = too_long.or(Some(seconds));
                    // An hour is the most common length, so its refusal is the most useful one.
                    if refused.is_none() || seconds == HOUR {
                        refused = Some(refusal.into());
                    }
                }
                Err(failure) => return Err(failure),
            }
        }
        match self.need(terms::End::Never) {
            Ok(need) => can.push(need),
            Err(Problem::Refusal(refusal)) => refused = refused.or(Some(refusal.into())),
            Err(failure) => return Err(failure),
        }
        if let (Some(from), Some(to)) = (longest, too_long)
            && let Some(need) = self.longest_between(from, to)?
        {
            let place = can.iter().position(|need| need.end == terms::End::Never).unwrap_or(can.len());
            can.insert(place, need);
        }
        match (can.last().map(|need| need.end), refused) {
            (Some(end), _) => Ok((can, end)),
            (None, Some(refused)) => Err(refused),
            (None, None) => Err(Failure::new(crate::error::Kind::Internal, "no length was tried").into()),
        }
    }

    /// In seconds, each once, the shortest first.
    fn candidates(&self) -> Result<BTreeSet<i64>, Problem> {
        let ask = self.ask(terms::End::After(Length::LONGEST));
        let request = unjudged(self.read.next_request()?, self.me, self.requester, &ask, self.now);
        let judged = self.policy.judge(self.read, &request, &request.details.asked, self.now)?;
        let rules = judged.judgement.matched.iter().map(|matched| &matched.rule);
        let named = rules.flat_map(|rule| {
            // A slightly longer request may need more.
            let above = rule.matches.longer_than.map(|least| least.seconds() + MINUTE);
            [rule.max_duration.map(Length::seconds), rule.matches.longer_than.map(Length::seconds), above]
        });
        Ok(named.flatten().chain(USUAL).collect())
    }

    /// The longest length between these that can be asked for, to the minute: other grants may count together with it.
    /// Whatever is shorter than a length that can be asked for can be asked for too, down to `from`.
    fn longest_between(&self, from: i64, to: i64) -> Result<Option<NeedView>, Problem> {
        let (mut below, mut above) = (from / MINUTE, (to + MINUTE - 1) / MINUTE);
        let mut best = None;
        while above - below > 1 {
            let middle = below + (above - below) / 2;
            let Ok(length) = Length::from_seconds(middle * MINUTE) else { break };
            match self.need(terms::End::After(length)) {
                Ok(need) => (below, best) = (middle, Some(need)),
                Err(Problem::Refusal(_)) => above = middle,
                Err(failure) => return Err(failure),
            }
        }
        Ok(best)
    }
}

/// The requirements of this request, or why it would be refused for any reason and ticket.
pub fn need(
    read: &Read<'_>,
    policy: &PolicyContext,
    me: &Principal,
    requester: &Principal,
    ask: &Ask,
    now: Timestamp,
) -> Result<NeedView, Problem> {
    let mut texts = Texts::default();
    let amend = |judgement: &mut Judgement| texts = Texts::taken_from(judgement);
    let Prepared { view, warnings, .. } = submit_as(read, policy, me, requester, ask, amend, now)?;
    Ok(NeedView {
        end: ask.details.asked.end,
        at_once: view.grant.is_some(),
        approvals: view.approvals,
        tickets: texts.tickets,
        reason_min: texts.reason_min,
        warnings,
    })
}

/// A placeholder for a reason that is not written yet.
pub fn no_reason_yet() -> Text {
    "-".parse().expect("a dash is a text")
}

/// What rules demand of the ticket and of the reason.
#[derive(Default)]
struct Texts {
    tickets: Vec<TicketPattern>,
    reason_min: Option<u32>,
}

impl Texts {
    /// Removes these demands from a judgement.
    fn taken_from(judgement: &mut Judgement) -> Texts {
        let mut texts = Texts::default();
        for matched in &mut judgement.matched {
            if let Some(pattern) = matched.rule.ticket.take()
                && !texts.tickets.contains(&pattern)
            {
                texts.tickets.push(pattern);
            }
            texts.reason_min = texts.reason_min.max(matched.rule.reason_min.take());
        }
        texts
    }
}
