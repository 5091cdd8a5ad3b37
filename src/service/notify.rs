//! `notify`: the caller's notification settings: what applies and why, changing it, and a test.

use serde::{Deserialize, Serialize};

use super::{Call, Never, Problem, Rows, Service, TestRecipient, Warned};
use crate::domain::channel::Channel;
use crate::domain::event::{Draft, Event};
use crate::domain::member::Member;
use crate::domain::name::Name;
use crate::domain::notification::NotificationKind;
use crate::domain::preference::{How, Policy, PreferenceChange, Why};
use crate::domain::quota::PREFERENCES;
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
        let words =
            |zone| format!("this machine does not know the time zone {zone}; UTC is used for your daily digests");
        Ok(Warned { answer: view, warnings: unknown.map(words).into_iter().collect() })
    }
}

/// Changes how the caller is notified.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Prefer {
    pub change: PreferenceChange,
}

/// The settings after a change, and the events for which it changes something.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Preferred {
    pub settings: Warned<PreferenceView>,
    pub changed: Vec<NotificationKind>,
}

impl Call for Prefer {
    const NAME: &'static str = "Prefer";

    type Row = Never;
    type Reply = Preferred;

    fn carry_out(self, service: &Service<'_>, _: Rows<'_, Never>) -> Result<Preferred, Failure> {
        let Prefer { change } = self;
        let change = &change;
        let views = service.change(
            "notify",
            None,
            |read, me, now| {
                let from = read.preference(&me.name)?;
                let to = from.changed(change);
                let before = view(read, &me.name)?;
                let event = Event::PreferenceChanged { member: me.name.clone(), from: from.clone(), to: to.clone() };
                if from == to {
                    return Ok((Vec::new(), before));
                }
                let hour_ago = now.minus(PREFERENCES.within);
                PREFERENCES.allows(read.acts(me, Act::PreferenceChanged, hour_ago)?, now)?;
                Ok((vec![Draft { event, recipients: Vec::new() }], before))
            },
            |read, before, _| Ok(view(read, &before.member).map(|after| (before, after))),
        )?;
        let (before, after) = views.map_err(Problem::unrecorded)?;
        let pairs = before.events.iter().zip(&after.events);
        let changed = pairs.filter(|(before, after)| before.channels != after.channels);
        let changed = changed.map(|(_, after)| after.event).collect();
        Ok(Preferred { settings: Warned { warnings: warnings(change, &after), answer: after }, changed })
    }
}

/// Settings that have no effect, because something overrides them.
fn warnings(change: &PreferenceChange, view: &PreferenceView) -> Vec<String> {
    let named: Vec<NotificationKind> = match change {
        PreferenceChange::Set { event, .. } => event.iter().copied().collect(),
        PreferenceChange::Mute(events) => events.clone(),
        PreferenceChange::Unmute(_) | PreferenceChange::Reset => Vec::new(),
    };
    let of = |kind: &NotificationKind| view.events.iter().find(|event| event.event == *kind);
    let mandatory = named.iter().filter(|kind| of(kind).is_some_and(|event| event.mandatory));
    let mut warnings: Vec<String> =
        mandatory.map(|kind| format!("{kind} is mandatory, so you are notified anyway")).collect();
    if view.muted && matches!(change, PreferenceChange::Set { .. }) {
        warnings.push("everything is muted, so this has no effect until you run `access notify unmute`".to_owned());
    }
    warnings
}

fn view(read: &Read<'_>, name: &Name) -> Result<PreferenceView, Problem> {
    let (member, _) = read
        .member(name)?
        .ok_or_else(|| Refusal::from(LookupRefusal::NoSuchMember { name: name.clone(), nearest: None }))?;
    let (policy, preference) = (read.policy()?, read.preference(name)?);
    let how = |kind: NotificationKind, channel: Channel| {
        if member.addresses.get(channel).is_none() {
            let why = format!("the team file has no {} for you", channel.address_name());
            return HowView { how: How::Off.to_string(), why };
        }
        let plan = policy.plan(&preference, kind, channel);
        HowView { how: plan.how.to_string(), why: because(plan.why, kind) }
    };
    let address = |channel| member.addresses.get(channel).map(ToString::to_string);
    let events = NotificationKind::ALL.into_iter().map(|kind| EventPreferenceView {
        event: kind,
        in_app: true,
        channels: Channel::ALL.into_iter().map(|channel| (channel, how(kind, channel))).collect(),
        mandatory: policy.is_mandatory(kind),
    });
    Ok(PreferenceView {
        member: name.clone(),
        addresses: Channel::ALL.into_iter().map(|channel| (channel, address(channel))).collect(),
        timezone: zone(&member, &policy),
        muted: preference.muted,
        events: events.collect(),
        own: preference,
    })
}

fn because(why: Why, kind: NotificationKind) -> String {
    match why {
        Why::Mandatory if kind == NotificationKind::AccessEmergency => "emergencies always notify everybody".to_owned(),
        Why::Mandatory if kind.is_always_mandatory() => "access that stays always notifies the admins".to_owned(),
        Why::Mandatory
        | Why::Muted
        | Why::OwnOfEvent
        | Why::Own
        | Why::PolicyOfEvent
        | Why::Policy
        | Why::Default
        | Why::CanWait => why.to_string(),
    }
}

fn zone(member: &Member, policy: &Policy) -> String {
    let zone = member.timezone.as_ref().or(policy.timezone.as_ref());
    zone.map_or_else(|| "UTC".to_owned(), ToString::to_string)
}

/// Sends a test to the caller on each of their channels. The reply: whether one failed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NotifyTest {}

impl Call for NotifyTest {
    const NAME: &'static str = "NotifyTest";
    const SENDS: bool = true;
    type Row = TestView;
    type Reply = bool;

    fn carry_out(self, service: &Service<'_>, rows: Rows<'_, TestView>) -> Result<bool, Failure> {
        let recipient = service.ask("notify test", |read, me, now| {
            Ok(TestRecipient { team: read.team_name()?, name: me.name.clone(), member: me.member.clone(), now })
        })?;
        let mut tests = (service.outside.notify_test)(&recipient)?;
        tests.sort_by(|one, other| one.channel.cmp(&other.channel));
        if tests.iter().all(|test| test.ok.is_none()) {
            let failure = Failure::new(Kind::Failure, "only your inbox can be reached");
            return Err(tests
                .into_iter()
                .fold(failure, |failure, test| failure.hint(format!("{}: {}", test.channel, test.answer))));
        }
        let failed = tests.iter().any(|test| test.ok == Some(false));
        tests.into_iter().try_for_each(rows)?;
        Ok(failed)
    }
}
