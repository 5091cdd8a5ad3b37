//! `access notify`: how you are notified.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use anyhow::Result;
use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use clap_complete::engine::ArgValueCandidates;

use super::Run;
use super::app::App;
use crate::completion;
use crate::domain::channel::Channel;
use crate::domain::notification::NotificationKind;
use crate::domain::preference;
use crate::domain::preference::{Digest, PreferenceChange, TimeOfDay};
use crate::domain::text::quantity;
use crate::error::{Failure, Kind};
use crate::protocol::{EventPreferenceView, PreferenceView, TestView};
use crate::service::{NotifyTest, Prefer, Preferences, Preferred, Warned};
use crate::ui::{Column, Fit, Sheet, Shown, line, table};

/// Show, change and test how you are notified
#[derive(Debug, Args)]
#[command(after_help = "Your inbox always gets every notification. These settings are for email and Slack.

Examples:
  access notify             what happens with each event, and why
  access notify test        send yourself a test on every channel
  access notify set request.submitted --slack off
  access notify set all --digest daily --at 08:30
  access notify mute request.withdrawn")]
pub struct NotifyArgs {
    #[command(subcommand)]
    pub verb: Option<NotifyVerb>,
}

#[derive(Debug, Subcommand)]
pub enum NotifyVerb {
    Show(NotifyShowArgs),
    Set(NotifySetArgs),
    Mute(NotifyMuteArgs),
    Unmute(NotifyUnmuteArgs),
    Reset(NotifyResetArgs),
    Test(NotifyTestArgs),
}

/// Show how you are notified of each event, and why
#[derive(Debug, Args)]
pub struct NotifyShowArgs {}

/// Choose how you are notified of one event or all events
#[derive(Debug, Args)]
#[command(
    group(ArgGroup::new("what").required(true).multiple(true)),
    after_help = "A setting for one event overrides the setting for all events. Events that the team file makes mandatory \
always reach you.

Examples:
  access notify set request.submitted --email off
  access notify set all --digest hourly
  access notify set access.expiring --digest realtime"
)]
pub struct NotifySetArgs {
    /// An event such as request.submitted, or all
    #[arg(value_name = "EVENT", add = ArgValueCandidates::new(completion::events_or_all))]
    pub event: EventOrAll,
    /// Notify by email
    #[arg(long, value_name = "ON", group = "what")]
    pub email: Option<OnOff>,
    /// Notify by Slack
    #[arg(long, value_name = "ON", group = "what")]
    pub slack: Option<OnOff>,
    /// Send at once, or collect into a digest
    #[arg(long, value_name = "WHEN", group = "what")]
    pub digest: Option<DigestWhen>,
    /// The time of day for a daily digest, in your time zone (default: 09:00)
    #[arg(long, value_name = "TIME", requires = "digest")]
    pub at: Option<TimeOfDay>,
}

#[derive(Debug, Clone, Copy)]
pub struct EventOrAll(pub Option<NotificationKind>);

impl std::str::FromStr for EventOrAll {
    type Err = crate::domain::Malformed;
    fn from_str(text: &str) -> Result<EventOrAll, crate::domain::Malformed> {
        if text == "all" { Ok(EventOrAll(None)) } else { text.parse().map(|event| EventOrAll(Some(event))) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnOff {
    On,
    Off,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DigestWhen {
    /// At once
    Realtime,
    /// At the end of the hour
    Hourly,
    /// Once a day
    Daily,
}

/// No email or Slack for these events, or for everything that can be muted
#[derive(Debug, Args)]
pub struct NotifyMuteArgs {
    /// Events (default: all)
    #[arg(value_name = "EVENT", add = ArgValueCandidates::new(completion::events))]
    pub events: Vec<NotificationKind>,
}

/// Undo a mute of these events, or of all events
#[derive(Debug, Args)]
pub struct NotifyUnmuteArgs {
    /// Events (default: all)
    #[arg(value_name = "EVENT", add = ArgValueCandidates::new(completion::events))]
    pub events: Vec<NotificationKind>,
}

/// Reset your settings to the team's
#[derive(Debug, Args)]
pub struct NotifyResetArgs {}

/// Send yourself a test on every channel, and show the servers' answers. Exit 1: one failed
#[derive(Debug, Args)]
pub struct NotifyTestArgs {}

impl Run for NotifyArgs {
    fn run(self, app: &mut App) -> Result<u8> {
        let change = match self.verb {
            None | Some(NotifyVerb::Show(_)) => {
                let preferences = app.backend()?.answer(Preferences {})?;
                return app.print_preferences(&preferences);
            }
            Some(NotifyVerb::Test(_)) => return app.test_channels(),
            Some(NotifyVerb::Set(set)) => PreferenceChange::Set { event: set.event.0, choice: choice(&set)? },
            Some(NotifyVerb::Mute(mute)) => PreferenceChange::Mute(mute.events),
            Some(NotifyVerb::Unmute(unmute)) => PreferenceChange::Unmute(unmute.events),
            Some(NotifyVerb::Reset(_)) => PreferenceChange::Reset,
        };
        let preferred = app.backend()?.answer(Prefer { change })?;
        app.print_preferred(&preferred)
    }

    fn changes(&self) -> bool {
        !matches!(self.verb, None | Some(NotifyVerb::Show(_)))
    }
}

impl App {
    fn print_preferences(&mut self, view: &Warned<PreferenceView>) -> Result<u8> {
        self.printer.painted_object(&view.answer, |sheet, color| preferences(sheet, &view.answer, color))?;
        self.warn_all(&view.warnings);
        Ok(0)
    }

    /// Only what changes: the whole table is longer than a terminal.
    fn print_preferred(&mut self, view: &Preferred) -> Result<u8> {
        let Preferred { settings, changed } = view;
        self.printer.painted_object(&settings.answer, |sheet, color| saved(sheet, &settings.answer, changed, color))?;
        self.warn_all(&settings.warnings);
        Ok(0)
    }

    fn test_channels(&mut self) -> Result<u8> {
        let (failed, _) =
            self.rows_to_the_end(NotifyTest {}, |list, view| list.item(&view, |sheet| tested(sheet, &view)))?;
        Ok(u8::from(failed))
    }
}

fn choice(set: &NotifySetArgs) -> Result<preference::Choice, Failure> {
    let on = |given: Option<OnOff>| given.map(|given| given == OnOff::On);
    let digest = match (set.digest, set.at) {
        (Some(DigestWhen::Daily), at) => Some(Digest::Daily(at.unwrap_or(TimeOfDay::NINE))),
        (Some(_), Some(_)) => return Err(Failure::new(Kind::Usage, "--at is for --digest daily")),
        (Some(DigestWhen::Hourly), None) => Some(Digest::Hourly),
        (Some(DigestWhen::Realtime), None) => Some(Digest::RealTime),
        (None, _) => None,
    };
    let channels = [(Channel::Email, on(set.email)), (Channel::Slack, on(set.slack))];
    let channels = channels.into_iter().filter_map(|(channel, on)| Some((channel, on?))).collect();
    Ok(preference::Choice { channels, digest })
}

/// The event, a column for each channel, and why.
static EVENTS: LazyLock<Vec<Column>> = LazyLock::new(|| {
    let channels = Channel::ALL.into_iter().map(|channel| Column(channel.heading(), Fit::Whole));
    [Column("EVENT", Fit::Whole)].into_iter().chain(channels).chain([Column("WHY", Fit::Wrap)]).collect()
});

fn preferences(sheet: &mut Sheet, view: &PreferenceView, color: bool) {
    sheet.field("member", view.member.as_str());
    for (channel, address) in &view.addresses {
        match address {
            Some(address) => sheet.field(channel.as_str(), &line(address)),
            None => no_address(sheet, *channel),
        }
    }
    sheet.field("time zone", &line(&view.timezone));
    muted(sheet, view);
    sheet.blank();
    sheet.line("Your inbox gets every notification. In addition:");
    sheet.blank();
    events(sheet, view, |_| true, color);
}

fn saved(sheet: &mut Sheet, view: &PreferenceView, changed: &[NotificationKind], color: bool) {
    if changed.is_empty() {
        sheet.line("Saved; no event changes");
    } else {
        sheet.line(&format!("Saved; {}:", quantity(changed.len(), "event changes", "events change")));
    }
    for (channel, _) in view.addresses.iter().filter(|(_, address)| address.is_none()) {
        no_address(sheet, *channel);
    }
    muted(sheet, view);
    if !changed.is_empty() {
        events(sheet, view, |event| changed.contains(&event), color);
    }
}

fn no_address(sheet: &mut Sheet, channel: Channel) {
    sheet.field(channel.as_str(), &format!("none: the team file has no {} for you", channel.address_name()));
}

fn muted(sheet: &mut Sheet, view: &PreferenceView) {
    if view.muted {
        sheet.field("muted", "everything except mandatory events: `access notify unmute`");
    }
}

fn events(sheet: &mut Sheet, view: &PreferenceView, shown: impl Fn(NotificationKind) -> bool, color: bool) {
    let events = view.events.iter().filter(|event| shown(event.event));
    let rows: Vec<Vec<Shown>> = events.map(|event| event_row(event, &view.addresses)).collect();
    let table = table(&EVENTS, &rows, sheet.width(), color);
    sheet.push(&table);
}

/// A channel without an address has its reason above the table.
fn event_row(view: &EventPreferenceView, addresses: &BTreeMap<Channel, Option<String>>) -> Vec<Shown> {
    let reached = || view.channels.iter().filter(|(channel, _)| addresses.get(channel).is_none_or(Option::is_some));
    let mut whys = reached().map(|(_, setting)| &setting.why);
    let first = whys.next().cloned().unwrap_or_default();
    let why = if whys.all(|why| *why == first) {
        first
    } else {
        let each: Vec<String> = reached().map(|(channel, setting)| format!("{channel}: {}", setting.why)).collect();
        each.join("; ")
    };
    let channels = view.channels.values().map(|setting| setting.how.clone().into());
    [view.event.to_string().into()].into_iter().chain(channels).chain([line(&why).into_owned().into()]).collect()
}

fn tested(sheet: &mut Sheet, view: &TestView) {
    let mark = match view.ok {
        Some(true) => "ok",
        Some(false) => "FAILED",
        None => "-",
    };
    let to = view.to.as_ref().map(|to| format!("{}: ", line(to))).unwrap_or_default();
    let lead = format!("{mark:<7} {:<6} ", view.channel);
    sheet.item(&lead, lead.len(), &format!("{to}{}", line(&view.answer)));
}
