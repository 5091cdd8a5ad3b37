//! `notify`: how the caller is told of what, and why; changing that; and trying it out.

use crate::domain::quota::{self, PREFERENCES};
use sha2::{Digest as _, Sha256};

use serde::{Deserialize, Serialize};

use super::deliver::{Availability, address};
use super::{Call, Never, Problem, Rows, Service, Warned};
use crate::domain::event::{Draft, Event};
use crate::domain::letter::Letter;
use crate::domain::member::Member;
use crate::domain::name::Name;
use crate::domain::notification::{Channel, NotificationKind};
use crate::domain::outbox::{Content, Outcome, Outlet, Parcel};
use crate::domain::preference::{How, Policy, PreferenceChange, Why};
use crate::domain::refusal::{LookupRefusal, Refusal};
use crate::error::{Failure, Kind};
use crate::protocol::{EventPreferenceView, HowView, PreferenceView, TestView};
use crate::store::{Act, Read};

/// How the caller is notified of what.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Preferences {}

impl Call for Preferences {
    const NAME: &'static str = "Preferences";

    type Row = Never;
    type Reply = Warned<PreferenceView>;

    fn carry_out(self, service: &Service<'_>, _: Rows<'_, Never>) -> Result<Warned<PreferenceView>, Failure> {
        let outside = service.outside;
        let (view, zone) =
            service.ask("notify", |read, me, _| Ok((view(read, &me.name)?, me.member.timezone.clone())))?;
        let unknown = zone.filter(|zone| !(outside.knows_zone)(zone));
        let words = |zone| format!("this machine knows no time zone {zone}; UTC is used for your daily digests");
        Ok(Warned { answer: view, warnings: unknown.map(words).into_iter().collect() })
    }
}

/// Changes how the caller is notified.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Prefer {
    pub change: PreferenceChange,
}

impl Call for Prefer {
    const NAME: &'static str = "Prefer";

    type Row = Never;
    type Reply = Warned<PreferenceView>;

    fn carry_out(self, service: &Service<'_>, _: Rows<'_, Never>) -> Result<Warned<PreferenceView>, Failure> {
        let Prefer { change } = self;
        let change = &change;
        let view = service.change(
            "notify",
            None,
            |read, me, now| {
                let from = read.preference(&me.name)?;
                let to = from.changed(change);
                let member = me.name.clone();
                let event = Event::PreferenceChanged { member: member.clone(), from: from.clone(), to: to.clone() };
                if from == to {
                    return Ok((Vec::new(), member));
                }
                let hour_ago = quota::since(now, PREFERENCES.within);
                PREFERENCES.allows(read.acts(me, Act::PreferenceChanged, hour_ago)?, now)?;
                Ok((vec![Draft { event, told: Vec::new() }], member))
            },
            |read, member, _| Ok(view(read, &member)),
        )?;
        let view = view.map_err(Problem::unrecorded)?;
        Ok(Warned { warnings: warnings(change, &view), answer: view })
    }
}

/// What was said and has no effect, because of something stronger.
fn warnings(change: &PreferenceChange, view: &PreferenceView) -> Vec<String> {
    let named: Vec<NotificationKind> = match change {
        PreferenceChange::Set { event, .. } => event.iter().copied().collect(),
        PreferenceChange::Mute(events) => events.clone(),
        PreferenceChange::Unmute(_) | PreferenceChange::Reset => Vec::new(),
    };
    let of = |notice: &NotificationKind| view.events.iter().find(|event| event.event == *notice);
    let mandatory = named.iter().filter(|notice| of(notice).is_some_and(|event| event.mandatory));
    let mut warnings: Vec<String> =
        mandatory.map(|notice| format!("{notice} is mandatory, so you are told of it all the same")).collect();
    if view.muted && matches!(change, PreferenceChange::Set { .. }) {
        warnings.push("everything is muted, so this has no effect until `access notify unmute`".to_owned());
    }
    warnings
}

fn view(read: &Read<'_>, name: &Name) -> Result<PreferenceView, Problem> {
    let (member, _) = read
        .member(name)?
        .ok_or_else(|| Refusal::from(LookupRefusal::NoSuchMember { name: name.clone(), nearest: None }))?;
    let (policy, preference) = (read.policy()?, read.preference(name)?);
    let how = |notice: NotificationKind, channel: Channel| {
        if address(&member, channel).is_none() {
            let why = format!("the team file has no {} of yours", whereabouts(channel));
            return HowView { how: How::Off.to_string(), why };
        }
        let plan = policy.plan(&preference, notice, channel);
        HowView { how: plan.how.to_string(), why: because(plan.why, notice) }
    };
    let events = NotificationKind::ALL.into_iter().map(|notice| EventPreferenceView {
        event: notice,
        in_app: true,
        email: how(notice, Channel::Email),
        slack: how(notice, Channel::Slack),
        mandatory: policy.is_mandatory(notice),
    });
    Ok(PreferenceView {
        member: name.clone(),
        email: member.email.as_ref().map(ToString::to_string),
        slack: member.slack.as_ref().map(ToString::to_string),
        timezone: zone(&member, &policy),
        muted: preference.muted,
        events: events.collect(),
        own: preference,
    })
}

fn because(why: Why, notice: NotificationKind) -> String {
    match why {
        Why::Mandatory if notice == NotificationKind::AccessEmergency => "emergencies are told to everybody".to_owned(),
        Why::Mandatory
        | Why::Muted
        | Why::OwnOfEvent
        | Why::Own
        | Why::PolicyOfEvent
        | Why::Policy
        | Why::Unsaid
        | Why::CanWait => why.to_string(),
    }
}

fn whereabouts(channel: Channel) -> &'static str {
    match channel {
        Channel::Email => "email address",
        Channel::Slack => "Slack id",
    }
}

fn zone(member: &Member, policy: &Policy) -> String {
    let zone = member.timezone.as_ref().or(policy.timezone.as_ref());
    zone.map_or_else(|| "UTC".to_owned(), ToString::to_string)
}

/// Sends a test to the caller on every channel, at once, and says what came of each. Nothing is queued or recorded.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NotifyTest {}

impl Call for NotifyTest {
    const NAME: &'static str = "NotifyTest";
    const SENDS: bool = true;
    type Row = TestView;
    type Reply = bool;

    fn carry_out(self, service: &Service<'_>, rows: Rows<'_, TestView>) -> Result<bool, Failure> {
        let open = service.outside.post;
        let (name, member, team, now) = service
            .ask("notify test", |read, me, now| Ok((me.name.clone(), me.member.clone(), read.team_name()?, now)))?;
        let mut post = open()?;
        let digest: String = Sha256::digest(format!("{team} {name} {now} {}", std::process::id()))
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let mut waiting = Vec::new();
        let mut tests = Vec::new();
        for (ticket, channel) in (0..).zip(Channel::ALL) {
            let unsent = |answer: String, ok| TestView { channel: channel.as_str().to_owned(), to: None, ok, answer };
            let Some(address) = address(&member, channel) else {
                tests.push(unsent(format!("the team file has no {} of yours", whereabouts(channel)), None));
                continue;
            };
            match post.service(&Outlet::Member(channel)) {
                Availability::Open => {}
                Availability::Broken => {
                    let why = post.broken().into_iter().map(|failure| failure.message).collect::<Vec<_>>().join("; ");
                    tests.push(unsent(why, Some(false)));
                    continue;
                }
                Availability::None => {
                    tests.push(unsent("config.toml names no way to send it".to_owned(), None));
                    continue;
                }
            }
            let to = match channel {
                Channel::Email => member.email.as_ref().map(ToString::to_string),
                Channel::Slack => member.slack.as_ref().map(ToString::to_string),
            };
            let token = format!("{}.test", &digest[..32]);
            let when = post.write_time(member.timezone.as_ref(), now);
            let letter = Letter::test(team.clone(), &name, token, (now, when));
            post.hand(ticket, Parcel { to: address, content: Content::Letter(Box::new(letter)), now });
            waiting
                .push((ticket, TestView { channel: channel.as_str().to_owned(), to, ok: None, answer: String::new() }));
        }
        while !waiting.is_empty() {
            let outcomes = post.outcomes();
            if outcomes.is_empty() {
                break;
            }
            for (ticket, outcome) in outcomes {
                let Some(place) = waiting.iter().position(|(waits, _)| *waits == ticket) else { continue };
                let (_, mut test) = waiting.remove(place);
                (test.ok, test.answer) = match outcome {
                    Outcome::Sent { answer } => (Some(true), answer),
                    Outcome::Failed { why, .. } | Outcome::Refused { why } | Outcome::NotNow { why, .. } => {
                        (Some(false), why)
                    }
                    Outcome::NotTried { .. } => (Some(false), "it was not tried".to_owned()),
                };
                tests.push(test);
            }
        }
        tests.extend(waiting.into_iter().map(|(_, test)| TestView {
            ok: Some(false),
            answer: "no answer in time".to_owned(),
            ..test
        }));
        post.close();
        tests.sort_by(|one, other| one.channel.cmp(&other.channel));
        let no = tests.iter().any(|test| test.ok == Some(false));
        if tests.iter().all(|test| test.ok.is_none()) {
            let told = Failure::new(Kind::Failure, "there is no way to reach you but the inbox");
            return Err(tests
                .into_iter()
                .fold(told, |told, test| told.hint(format!("{}: {}", test.channel, test.answer))));
        }
        for test in tests {
            rows(test)?;
        }
        Ok(no)
    }
}
