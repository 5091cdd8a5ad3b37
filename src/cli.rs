//! The whole command line, as types: what can be typed, and the help that goes with it. No logic.

use std::path::PathBuf;

use clap::{Args, Command, CommandFactory as _, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};

use crate::completion;
use crate::domain::duration::{Duration, Length};
use crate::domain::grant::State;
use crate::domain::member::Login;
use crate::domain::name::Name;
use crate::domain::notification::NotificationKind;
use crate::domain::preference::TimeOfDay;
use crate::domain::resource::{Kind, Resource, ResourceOrName};
use crate::domain::terms::RequestId;
use crate::domain::text::{Text, Ticket};
use crate::time_input::{self, TypedTime};

/// Ask for elevated access, decide on it, and have it taken back on time.
///
/// Engineers ask, admins decide, cron takes back what has lapsed, and every act is in an audit log.
#[derive(Debug, Parser)]
#[command(
    name = "access",
    version,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    infer_subcommands = false,
    max_term_width = 100,
    after_help = "Start with `access init --sample`, then `access whoami` and `access resources`."
)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// Use this database file [env: ACCESS_DB]
    #[arg(long, global = true, value_name = "PATH", overrides_with = "db")]
    pub db: Option<PathBuf>,
    /// Act as this member (who you are is recorded too) [env: ACCESS_AS]
    #[arg(long = "as", global = true, value_name = "MEMBER", overrides_with = "acting_as", add = ArgValueCandidates::new(completion::members))]
    pub acting_as: Option<Name>,
    /// When to use colours
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        hide_default_value = true,
        hide_possible_values = false,
        overrides_with = "color"
    )]
    pub color: ColorWhen,
    /// Ask nothing; answer yes
    #[arg(short, long, global = true)]
    pub yes: bool,
    /// Print results, warnings and errors only
    #[arg(short, long, global = true)]
    pub quiet: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColorWhen {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    Init(Init),
    #[command(subcommand)]
    Team(Team),
    Resources(Resources),
    Request(Box<Request>),
    Extend(Extend),
    Edit(Edit),
    List(List),
    Show(Show),
    Approve(Approve),
    Deny(Deny),
    Review(Review),
    Withdraw(Withdraw),
    Revoke(Revoke),
    Whoami(Whoami),
    Check(Check),
    Who(Who),
    Inbox(Inbox),
    Notify(Notify),
    Expire(Expire),
    Deliver(Deliver),
    Outbox(Outbox),
    Audit(Audit),
    Backup(Backup),
    Doctor(Doctor),
    Serve(Serve),
    Completions(Completions),
    Man(Man),
    Version(Version),
    Help(Help),
}

impl Verb {
    /// The command line with this verb alone, if it is one that is run often: to build all twenty was a sixth of what a
    /// `check` does, and a quarter of the memory it touches. Only a line that parses is parsed so (see `main`): help and
    /// errors know all verbs.
    pub fn alone(word: &str) -> Option<Command> {
        let augment = match word {
            "approve" => Approve::augment_args,
            "check" => Check::augment_args,
            "deny" => Deny::augment_args,
            "edit" => Edit::augment_args,
            "expire" => Expire::augment_args,
            "extend" => Extend::augment_args,
            "inbox" => Inbox::augment_args,
            "list" => List::augment_args,
            "request" => Request::augment_args,
            "resources" => Resources::augment_args,
            "review" => Review::augment_args,
            "revoke" => Revoke::augment_args,
            "show" => Show::augment_args,
            "who" => Who::augment_args,
            "whoami" => Whoami::augment_args,
            "withdraw" => Withdraw::augment_args,
            _ => return None,
        };
        Some(Global::augment_args(Command::new("access")).subcommand(augment(Command::new(word.to_owned()))))
    }
}

/// Create the database, with you as its owner
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  access init                          a team of one: you
  access init --sample                 a small sample team, to try out
  access init --owner ana --team acme  as member ana of the team acme

As root, for a host that many share (see docs/security.md):
  access init --shared --owner ana --team acme")]
pub struct Init {
    /// Your name as a member (your Unix user name unless said)
    #[arg(long, value_name = "NAME")]
    pub owner: Option<Name>,
    /// The team's name
    #[arg(long, value_name = "NAME")]
    pub team: Option<Name>,
    /// Load a small sample team
    #[arg(long)]
    pub sample: bool,
    /// Lay out a shared host: the system user, the folders, the config and the database (root)
    #[arg(long, requires = "owner")]
    pub shared: bool,
    /// The owner's Unix user name on a shared host (the owner's name unless said)
    #[arg(long, value_name = "LOGIN", requires = "shared")]
    pub login: Option<Login>,
}

/// Show the team, or apply a team file
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  access team show > team.toml             write it down, then edit it
  access team apply team.toml --dry-run    see what would change
  access team apply team.toml              see it, confirm, and apply")]
pub enum Team {
    Apply(TeamApply),
    Show(TeamShow),
    ReplaceOwner(ReplaceOwner),
}

/// Apply a team file: show what changes and what follows from that, ask, and record it
#[derive(Debug, Args)]
#[command(after_help = "Only the owner applies a team file, and all admins are told.

Scheduled access that the file's rules would no longer give ends; active access that they would no longer give is listed, \
and stays without --revoke-unmatched.

Examples:
  access team apply team.toml
  access team apply team.toml --dry-run
  access team apply team.toml --dry-run --against 90d
  access team apply team.toml --revoke-unmatched
  git show HEAD:team.toml | access team apply - --yes")]
pub struct TeamApply {
    /// The team file; - for standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Show what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Show too which requests, of so long ago and since, its rules would have decided otherwise
    #[arg(long, value_name = "LENGTH", requires = "dry_run")]
    pub against: Option<Length>,
    /// Also end active access that the file's rules would no longer give
    #[arg(long)]
    pub revoke_unmatched: bool,
}

/// Print the team, as a team file that applies back unchanged
#[derive(Debug, Args)]
pub struct TeamShow {}

/// Make another member the owner, once the owner's account is gone (root)
#[derive(Debug, Args)]
#[command(
    after_help = "An owner who is there hands over by applying a team file. This is for when nobody can: root names a member in \
their place, which is recorded as root's, and all admins are told.

The old owner is disabled. Their pending requests are withdrawn, their access ends, and scheduled access that rests on their
approval ends too.

Examples:
  access team replace-owner alice --dry-run
  access team replace-owner alice"
)]
pub struct ReplaceOwner {
    /// The member who becomes the owner
    #[arg(value_name = "MEMBER")]
    pub to: Name,
    /// Show what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// What can be asked for, and whether you have it
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  access resources
  access resources target
  access resources --mine")]
pub struct Resources {
    /// Only this kind: connection, target, feature, scope or role
    pub kind: Option<Kind>,
    /// Only what you have
    #[arg(long)]
    pub mine: bool,
}

/// Ask for access
#[derive(Debug, Args)]
#[command(
    after_help = "Without a RESOURCE, on a terminal, a form asks for everything. Without a reason it asks for what is missing.

Examples:
  access request
  access request orders-db
  access request target:orders-db --reason 'OPS-12: stuck orders' -d 4h
  access request connection:prod-aws -r 'Release 4.2' -u 17:00 -t REL-42
  access request connection:prod-aws -r Upgrade --start 20:00 -d 4h
  access request target:orders-db -r 'Orders are down' --emergency
  access request role:admin --reason 'On call' --duration 1w --wait
  access request scope:kubernetes -r 'New here' -d permanent --for dave"
)]
pub struct Request {
    /// What you ask for: kind:name, or the name alone if only one kind has it (see `access resources`)
    #[arg(add = ArgValueCandidates::new(completion::resources))]
    pub resource: Option<ResourceOrName>,
    /// Why you need it
    #[arg(short, long, value_name = "TEXT")]
    pub reason: Option<Text>,
    /// How long: permanent, or a length such as 1h, 90m, 2d12h, 1w (1h, or the limit that a rule sets below that)
    #[arg(short, long, value_name = "LENGTH", conflicts_with = "until", add = ArgValueCandidates::new(completion::durations))]
    pub duration: Option<Duration>,
    /// Until when: 17:00, 5pm, "tomorrow 09:00", "2026-12-01 17:00", or "in 3h"
    #[arg(short, long, value_name = "TIME", value_parser = time_input::parse_future)]
    pub until: Option<TypedTime>,
    /// Not before then (as soon as it is approved unless said)
    #[arg(long, value_name = "TIME", value_parser = time_input::parse_future)]
    pub start: Option<TypedTime>,
    /// The ticket that this belongs to
    #[arg(short, long, value_name = "REF")]
    pub ticket: Option<Ticket>,
    /// Take it at once, where a rule allows that: all approvers are told, and one has to review it afterwards
    #[arg(long, conflicts_with_all = ["start", "requester"])]
    pub emergency: bool,
    /// Ask on behalf of another member (admins)
    #[arg(long = "for", value_name = "MEMBER", add = ArgValueCandidates::new(completion::members))]
    pub requester: Option<Name>,
    /// Wait until it is decided; exit 1 when it is not granted
    #[arg(short, long, conflicts_with = "dry_run")]
    pub wait: bool,
    /// Wait no longer than this
    #[arg(long, value_name = "LENGTH", requires = "wait")]
    pub timeout: Option<Length>,
    /// Say what would happen, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Ask for more of a grant you have, from when it ends
#[derive(Debug, Args)]
#[command(
    after_help = "A new request, under the same rules. Once it is approved there is no gap, and no double grant. \
It falls with the grant that it goes on from, if that is revoked before its time.

Examples:
  access extend 12 --reason 'The migration takes longer'
  access extend 12 --duration 2h --reason 'Nearly done'"
)]
pub struct Extend {
    /// The number of the request that gave it
    #[arg(allow_negative_numbers = true, add = ArgValueCandidates::new(completion::extendable))]
    pub id: RequestId,
    /// How much longer (as long again, or what the rules leave of that)
    #[arg(short, long, value_name = "LENGTH", add = ArgValueCandidates::new(completion::durations))]
    pub duration: Option<Length>,
    /// Why you need it
    #[arg(short, long, value_name = "TEXT")]
    pub reason: Option<Text>,
    /// The ticket that this belongs to (as before unless said)
    #[arg(short, long, value_name = "REF")]
    pub ticket: Option<Ticket>,
}

/// Change your own pending request
#[derive(Debug, Args)]
#[command(
    after_help = "For a request that you made or filed. What you leave out stays as it is; what it is for can't be changed. \
It is judged by the rules as if you asked now. Every approval that it has is void, whatever you change, and \
those who may decide are told. It lapses as if it were filed now.

Examples:
  access edit 12 --ticket OPS-12
  access edit 12 --duration 2h --reason 'Two hours are enough'
  access edit 12 --until 17:00 --dry-run
  access edit 12 --no-start --no-ticket"
)]
#[command(group = clap::ArgGroup::new("change").required(true).multiple(true)
    .args(["reason", "ticket", "no_ticket", "duration", "until", "start", "no_start"]))]
pub struct Edit {
    /// The request's number
    #[arg(allow_negative_numbers = true, add = ArgValueCandidates::new(completion::withdrawable))]
    pub id: RequestId,
    /// Why you need it
    #[arg(short, long, value_name = "TEXT")]
    pub reason: Option<Text>,
    /// How long: 90m, 4h, 2d, 1w, permanent
    #[arg(short, long, value_name = "LENGTH", conflicts_with = "until", add = ArgValueCandidates::new(completion::durations))]
    pub duration: Option<Duration>,
    /// Until when: 17:00, 5pm, "tomorrow 09:00", "2026-12-01 17:00", or "in 3h"
    #[arg(short, long, value_name = "TIME", value_parser = time_input::parse_future)]
    pub until: Option<TypedTime>,
    /// Not before then
    #[arg(long, value_name = "TIME", value_parser = time_input::parse_future)]
    pub start: Option<TypedTime>,
    /// Start as soon as it is approved
    #[arg(long, conflicts_with = "start")]
    pub no_start: bool,
    /// The ticket that this belongs to
    #[arg(short, long, value_name = "REF")]
    pub ticket: Option<Ticket>,
    /// Without a ticket
    #[arg(long, conflicts_with = "ticket")]
    pub no_ticket: bool,
    /// Say what would happen, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Requests, newest first
#[derive(Debug, Args)]
#[command(after_help = "Without a filter: the open ones (pending, scheduled, active) that you may see.

Examples:
  access list
  access list --pending
  access list --mine --all
  access list --state expired,revoked --since '7d ago'
  access list --json | jq '.[].id'")]
pub struct List {
    /// Only yours
    #[arg(long)]
    pub mine: bool,
    /// Only those that wait for a decision
    #[arg(long, conflicts_with = "states")]
    pub pending: bool,
    /// Only those in these states, separated by commas
    #[arg(long = "state", value_name = "STATE", value_delimiter = ',', add = ArgValueCandidates::new(completion::states))]
    pub states: Vec<State>,
    /// Only those of this member
    #[arg(long, value_name = "MEMBER", add = ArgValueCandidates::new(completion::members))]
    pub requester: Option<Name>,
    /// Only those for this
    #[arg(long, value_name = "RESOURCE", add = ArgValueCandidates::new(completion::resources))]
    pub resource: Option<ResourceOrName>,
    /// Only those submitted then or later
    #[arg(long, value_name = "TIME", value_parser = time_input::parse_past)]
    pub since: Option<TypedTime>,
    /// The closed ones too
    #[arg(long)]
    pub all: bool,
    /// At most so many; 0: no limit (50 in a table unless said, no limit in JSON)
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
}

/// One request, whole
#[derive(Debug, Args)]
pub struct Show {
    /// The request's number
    #[arg(allow_negative_numbers = true, add = ArgValueCandidates::new(completion::requests))]
    pub id: RequestId,
}

/// Approve requests, as asked or with changes
#[derive(Debug, Args)]
#[command(
    after_help = "Nobody approves their own request, nor one they filed for another. Where rules demand several approvals, \
each is for exactly the terms that are on the table; changing them voids the earlier ones. \
A request that has changed since it was filed (edited, other terms by another approver, a scope that reaches more) \
needs --seen wherever it is not shown first (with --yes, in a pipe). \
Without an ID, on a terminal: each request that waits for you, in turn.

Examples:
  access approve
  access approve 12
  access approve 12 --duration 1h --note 'Enough for the fix'
  access approve 12 --scope orders-read
  access approve 12 13 14 --yes
  access approve 12 --seen 345 --yes"
)]
pub struct Approve {
    /// The requests' numbers
    #[arg(value_name = "ID", allow_negative_numbers = true, add = ArgValueCandidates::new(completion::decidable))]
    pub ids: Vec<RequestId>,
    /// Grant this long instead
    #[arg(short, long, value_name = "LENGTH", conflicts_with = "until", add = ArgValueCandidates::new(completion::durations))]
    pub duration: Option<Duration>,
    /// Grant until then instead
    #[arg(short, long, value_name = "TIME", value_parser = time_input::parse_future)]
    pub until: Option<TypedTime>,
    /// Grant this scope instead
    #[arg(short, long, value_name = "NAME", conflicts_with = "resource", add = ArgValueCandidates::new(completion::scopes))]
    pub scope: Option<Name>,
    /// Grant this resource instead
    #[arg(long, value_name = "RESOURCE", add = ArgValueCandidates::new(completion::resources))]
    pub resource: Option<Resource>,
    /// A word to the requester
    #[arg(short, long, value_name = "TEXT")]
    pub note: Option<Text>,
    /// Only if nothing happened to the request since this entry of the log (`last_seq` of `access show --json`)
    #[arg(long, value_name = "SEQ", value_parser = clap::value_parser!(i64).range(1..))]
    pub seen: Option<i64>,
}

/// Deny requests
#[derive(Debug, Args)]
#[command(after_help = "Example:
  access deny 12 --reason 'Use the read replica: target:orders-db-staging'")]
pub struct Deny {
    /// The requests' numbers
    #[arg(required = true, value_name = "ID", allow_negative_numbers = true, add = ArgValueCandidates::new(completion::decidable))]
    pub ids: Vec<RequestId>,
    /// Why, which the requester is told
    #[arg(short, long, value_name = "TEXT")]
    pub reason: Option<Text>,
}

/// Close the review that an emergency owes
#[derive(Debug, Args)]
#[command(after_help = "Whoever may approve such a request may close its review, but not its requester.

Example:
  access review 12 --note 'Went through it with bob; all in order'")]
pub struct Review {
    /// The request's number
    #[arg(allow_negative_numbers = true, add = ArgValueCandidates::new(completion::reviewable))]
    pub id: RequestId,
    /// What you found
    #[arg(short, long, value_name = "TEXT")]
    pub note: Option<Text>,
}

/// Take back your own pending request
#[derive(Debug, Args)]
pub struct Withdraw {
    /// The request's number
    #[arg(required = true, value_name = "ID", allow_negative_numbers = true, add = ArgValueCandidates::new(completion::withdrawable))]
    pub ids: Vec<RequestId>,
}

/// End access now, before its time
#[derive(Debug, Args)]
#[command(
    after_help = "Admins may end anybody's access, and you your own. The requests that extend a grant end with it; the
answer lists them, and on a terminal they are listed before you confirm.
With --member, all grants of a member end at once, or none. Access that the team file gives stays.

Examples:
  access revoke 12
  access revoke 12 --reason 'The incident is over'
  access revoke --member bob --reason 'Laptop stolen'"
)]
pub struct Revoke {
    /// The numbers of the requests that gave it
    #[arg(required_unless_present = "member", value_name = "ID", allow_negative_numbers = true, add = ArgValueCandidates::new(completion::revocable))]
    pub ids: Vec<RequestId>,
    /// Everything that was granted to this member
    #[arg(long, value_name = "MEMBER", conflicts_with = "ids", add = ArgValueCandidates::new(completion::members))]
    pub member: Option<Name>,
    /// Why, which the member is told
    #[arg(short, long, value_name = "TEXT")]
    pub reason: Option<Text>,
}

/// Your role, scopes and live access, with the time left of each
#[derive(Debug, Args)]
pub struct Whoami {
    /// Redraw each second until Ctrl-C
    #[arg(short, long, conflicts_with = "json")]
    pub watch: bool,
}

/// May you use this now? Exit 0: yes; 1: no
#[derive(Debug, Args)]
#[command(after_help = "Goes by the clock, whether or not cron ran.

Examples:
  access check target:orders-db
  access check --quiet target:orders-db && psql orders
  access check connection:prod-aws --user bob
  access check connection:prod-aws --login \"$PAM_USER\"")]
pub struct Check {
    #[arg(add = ArgValueCandidates::new(completion::resources))]
    pub resource: Resource,
    /// Another member (admins)
    #[arg(long, value_name = "MEMBER", add = ArgValueCandidates::new(completion::members))]
    pub user: Option<Name>,
    /// The member of this Unix user name (root and admins): for PAM, sudo and hooks
    #[arg(long, value_name = "LOGIN", conflicts_with = "user")]
    pub login: Option<Login>,
}

/// Everyone who can use this now, how, and until when
#[derive(Debug, Args)]
pub struct Who {
    #[arg(add = ArgValueCandidates::new(completion::resources))]
    pub resource: ResourceOrName,
}

/// Your notifications
#[derive(Debug, Args)]
#[command(after_help = "Looking marks nothing as read.

Examples:
  access inbox
  access inbox --all
  access inbox --mark-read
  access inbox --mark-read 7 8")]
pub struct Inbox {
    /// The read ones too
    #[arg(long)]
    pub all: bool,
    /// Mark these as read, or all of them
    #[arg(long, value_name = "ID", num_args = 0.., conflicts_with = "all", value_parser = clap::value_parser!(i64).range(1..))]
    pub mark_read: Option<Vec<i64>>,
    /// Show at most this many; 0: no limit (default: 50 in a table, no limit in JSON)
    #[arg(long, value_name = "N", conflicts_with = "mark_read")]
    pub limit: Option<u64>,
}

/// Record what has lapsed, and tell people (for cron, every minute)
#[derive(Debug, Args)]
#[command(
    after_help = "Access ends by the clock whether or not this runs; this puts it on the record, and then sends what \
is to be told (see `access deliver`). Silent when there is nothing to say; runs that overlap do no harm.

A line for crontab(5):
  * * * * *  access expire --quiet"
)]
pub struct Expire {
    /// Say what is due, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Send no notifications: `access deliver` does
    #[arg(long)]
    pub no_deliver: bool,
}

/// How you are told of what; change it; try it out
#[derive(Debug, Args)]
#[command(after_help = "Your inbox always has everything; this is about email and Slack.

Examples:
  access notify             what happens with each event, and why
  access notify test        send yourself one on every channel
  access notify set request.submitted --slack off
  access notify set all --digest daily --at 08:30
  access notify mute request.withdrawn")]
pub struct Notify {
    #[command(subcommand)]
    pub verb: Option<NotifyVerb>,
}

#[derive(Debug, Subcommand)]
pub enum NotifyVerb {
    Show(NotifyShow),
    Set(NotifySet),
    Mute(NotifyMute),
    Unmute(NotifyUnmute),
    Reset(NotifyReset),
    Test(NotifyTest),
}

/// What happens with each event, and why
#[derive(Debug, Args)]
pub struct NotifyShow {}

/// Say how you want to be told of an event, or of all
#[derive(Debug, Args)]
#[command(
    after_help = "What you say of one event goes before what you say of all. What the team file calls mandatory \
reaches you whatever you say.

Examples:
  access notify set request.submitted --email off
  access notify set all --digest hourly
  access notify set access.expiring --digest realtime"
)]
pub struct NotifySet {
    /// An event such as request.submitted, or all
    #[arg(value_name = "EVENT", add = ArgValueCandidates::new(completion::events_or_all))]
    pub event: EventOrAll,
    /// By email or not
    #[arg(long, value_name = "ON", required_unless_present_any = ["slack", "digest"])]
    pub email: Option<OnOff>,
    /// By Slack or not
    #[arg(long, value_name = "ON")]
    pub slack: Option<OnOff>,
    /// At once, or together with others
    #[arg(long, value_name = "WHEN")]
    pub digest: Option<DigestWhen>,
    /// The time of day for a daily digest, in your time zone (09:00 unless said)
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
pub struct NotifyMute {
    /// The events; none: everything
    #[arg(value_name = "EVENT", add = ArgValueCandidates::new(completion::events))]
    pub events: Vec<NotificationKind>,
}

/// Undo a mute: of these events, or of everything
#[derive(Debug, Args)]
pub struct NotifyUnmute {
    /// The events; none: everything
    #[arg(value_name = "EVENT", add = ArgValueCandidates::new(completion::events))]
    pub events: Vec<NotificationKind>,
}

/// Forget all that you said
#[derive(Debug, Args)]
pub struct NotifyReset {}

/// Send yourself one on every channel, and say what the servers answered. Exit 1: one failed
#[derive(Debug, Args)]
pub struct NotifyTest {}

/// Send what is due by email, Slack and webhooks
#[derive(Debug, Args)]
#[command(
    after_help = "`access expire` does this too. One process sends at a time; a run ends after a minute whatever the other \
side does. What failed is tried again after 1, 5 and 30 minutes, 2 and 12 hours, and then given up: \
see `access outbox`.

Examples:
  access deliver
  access deliver --watch     as a service, in place of cron"
)]
pub struct Deliver {
    /// Keep going: look again every few seconds
    #[arg(long)]
    pub watch: bool,
}

/// What waits to be sent, what failed, and why
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  access outbox
  access outbox --dead
  access outbox retry        all that were given up
  access outbox retry 7 8
  access outbox discard      all that were given up: they are never sent
  access outbox discard 7"
)]
pub struct Outbox {
    #[command(subcommand)]
    pub verb: Option<OutboxVerb>,
    /// What was given up
    #[arg(long)]
    pub dead: bool,
}

#[derive(Debug, Subcommand)]
pub enum OutboxVerb {
    Retry(OutboxRetry),
    Discard(OutboxDiscard),
}

/// Try again at once what failed: these, or all that were given up
#[derive(Debug, Args)]
pub struct OutboxRetry {
    /// Their numbers in the outbox
    #[arg(value_name = "ID", value_parser = clap::value_parser!(i64).range(1..))]
    pub ids: Vec<i64>,
}

/// Delete messages so that they are never sent: these, or all that were given up. Inboxes keep what they tell
#[derive(Debug, Args)]
pub struct OutboxDiscard {
    /// Their numbers in the outbox
    #[arg(value_name = "ID", value_parser = clap::value_parser!(i64).range(1..))]
    pub ids: Vec<i64>,
}

/// The audit log, newest first (admins)
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  access audit
  access audit --request 12
  access audit --actor alice --action request.approved --since '30d ago'
  access audit export --format csv > audit.csv"
)]
pub struct Audit {
    #[command(subcommand)]
    pub verb: Option<AuditVerb>,
    /// Only entries about this request
    #[arg(long, value_name = "ID", add = ArgValueCandidates::new(completion::requests))]
    pub request: Option<RequestId>,
    /// Only what this member did
    #[arg(long, value_name = "MEMBER", add = ArgValueCandidates::new(completion::members))]
    pub actor: Option<Name>,
    /// Only this action, such as request.approved
    #[arg(long, value_name = "ACTION", value_parser = clap::builder::PossibleValuesParser::new(crate::domain::event::ACTIONS), hide_possible_values = true)]
    pub action: Option<String>,
    /// Only then or later
    #[arg(long, value_name = "TIME", value_parser = time_input::parse_past)]
    pub since: Option<TypedTime>,
    /// Only then or before
    #[arg(long, value_name = "TIME", value_parser = time_input::parse_past)]
    pub until: Option<TypedTime>,
    /// At most so many; 0: no limit (50 in a table unless said, no limit in JSON)
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
}

#[derive(Debug, Subcommand)]
pub enum AuditVerb {
    Verify(AuditVerify),
    Checkpoint(AuditCheckpoint),
    Export(AuditExport),
}

/// Prove that the record is whole. Exit 1: a fault was found
#[derive(Debug, Args)]
#[command(
    after_help = "Hashes every entry again, works out what the entries amount to, and holds that against every table. \
With --against, also proves that what was recorded at those checkpoints still stands, unchanged.

Examples:
  access audit verify
  access audit verify --against checkpoints.jsonl"
)]
pub struct AuditVerify {
    /// Checkpoints kept elsewhere, one a line; - for standard input
    #[arg(long, value_name = "FILE")]
    pub against: Option<PathBuf>,
}

/// Print a line to keep elsewhere: what the log is now
#[derive(Debug, Args)]
#[command(
    after_help = "Anyone who can write the database could rewrite all of its log. A checkpoint that they can't reach \
(mailed, printed, in git) shows it.

Example:
  access audit checkpoint >> checkpoints.jsonl"
)]
pub struct AuditCheckpoint {}

/// Write the whole log, oldest first
#[derive(Debug, Args)]
#[command(
    after_help = "Anyone can verify a raw export without this program: docs/log-format.md has 20 lines of Python.

Examples:
  access audit export --format jsonl
  access audit export --format raw > log.jsonl"
)]
pub struct AuditExport {
    #[arg(long, value_name = "FORMAT")]
    pub format: ExportFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// One JSON object a line
    Jsonl,
    /// Comma-separated values, with a header
    Csv,
    /// What is stored and hashed: one JSON object a line, with seq, body and hash
    Raw,
}

/// Write a proven copy of the database, while it is in use
#[derive(Debug, Args)]
#[command(
    after_help = "The copy is one file. Never copy a database in use by other means: what was written last is in \
access.db-wal and access.db-shm beside it. They, and access.db.lock, belong to the file that they lie beside: \
copy none of them by hand.

To restore one: see that nobody uses the database, move the damaged file away with its -wal and -shm, copy the \
backup to its place (mode 0600), and run `access doctor --against` with your checkpoints: decisions made since \
are lost, and what was revoked since lives again until you revoke it.

Example:
  access backup /var/backups/access-$(date +%F).db"
)]
pub struct Backup {
    /// The new file
    #[arg(value_name = "FILE")]
    pub to: PathBuf,
}

/// What is wrong with this installation, and what to do. Exit 1: something is
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  access doctor
  access doctor --against checkpoints.jsonl   after a restore
  access doctor --accept-clock                the clock ran ahead before")]
pub struct Doctor {
    /// Checkpoints kept elsewhere, one a line; - for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "accept_clock")]
    pub against: Option<PathBuf>,
    /// The clock was wrong before and is right now: go on from it (owner)
    #[arg(long)]
    pub accept_clock: bool,
}

/// A shared host's door (started by the system)
#[derive(Debug, Args)]
#[command(
    after_help = "Each connection is a process of its own that serves one command, as the user who owns the database. \
Under systemd use the units of packaging/systemd; elsewhere start this as root at boot: it gives root up.

Examples:
  access serve
  access serve --group engineers   nobody else may connect"
)]
pub struct Serve {
    /// Serve the one connection on standard input
    #[arg(long)]
    pub connection: bool,
    /// The Unix group whose members may connect (everybody unless said)
    #[arg(long, value_name = "GROUP", conflicts_with = "connection")]
    pub group: Option<String>,
}

/// Print the completion script of a shell
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  echo 'source <(access completions bash)' >> ~/.bashrc
  access completions zsh > ~/.zfunc/_access
  access completions fish > ~/.config/fish/completions/access.fish")]
pub struct Completions {
    pub shell: Shell,
}

/// Write the manual pages into a folder
#[derive(Debug, Args)]
#[command(after_help = "Example:
  access man ~/.local/share/man/man1")]
pub struct Man {
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
}

/// Print the version
#[derive(Debug, Args)]
pub struct Version {}

/// Print the help of a command
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  access help
  access help request
  access help team apply")]
pub struct Help {
    /// The command
    #[arg(value_name = "COMMAND", add = ArgValueCandidates::new(commands))]
    pub words: Vec<String>,
}

fn commands() -> Vec<CompletionCandidate> {
    let offer = |command: &Command| CompletionCandidate::new(command.get_name()).help(command.get_about().cloned());
    Cli::command().get_subcommands().map(offer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verb_alone_is_what_it_is_among_all() {
        let all = Cli::command();
        let mut alone = 0;
        for verb in all.get_subcommands() {
            let Some(command) = Verb::alone(verb.get_name()) else { continue };
            let only = command.find_subcommand(verb.get_name()).expect("it has the verb");
            let placed = |command: &Command| format!("{:?}", command.clone().display_order(0));
            assert_eq!(placed(only), placed(verb));
            for global in command.get_arguments() {
                let same = all.get_arguments().find(|arg| arg.get_id() == global.get_id());
                assert_eq!(format!("{:?}", Some(global)), format!("{same:?}"));
            }
            alone += 1;
        }
        assert_eq!(alone, 16);
    }
}
