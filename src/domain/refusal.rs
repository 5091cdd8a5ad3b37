//! Why a command can't be carried out, and what to do instead.

use super::duration::{self, Length};
use std::fmt;

use super::Malformed;
use super::entitlement::Way;
use super::grant::State;
use super::name::Name;
use super::policy::pattern::TicketPattern;
use super::policy::rule::RuleName;
use super::request::emergency;
use super::resource::Resource;
use super::role::Role;
use super::terms::RequestId;
use super::text::Text;
use super::time::Timestamp;

/// What sort of no it is; each is an exit code of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// What was given can't be meant.
    Usage,
    /// You may not, or a rule forbids it. Recorded.
    Refused,
    /// No such thing, or none that you may know of.
    NotFound,
    /// Already decided, already yours, changed since you looked.
    Conflict,
}

/// What a request breaks of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Breach {
    /// `fits`: a length that no rule forbids.
    Permanent {
        fits: Option<Length>,
    },
    /// `together`: what else was counted, in words.
    TooLong {
        most: Length,
        together: String,
        fits: Option<Length>,
    },
    NoTicket {
        pattern: TicketPattern,
    },
    ShortReason {
        least: u32,
        has: usize,
    },
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Breach::Permanent { .. } => f.write_str("no permanent access"),
            Breach::TooLong { most, together, .. } => write!(f, "at most {most}{together}"),
            Breach::NoTicket { pattern } => write!(f, "it needs a ticket like {pattern}"),
            Breach::ShortReason { least, has } => {
                write!(f, "it needs a reason of at least {least} characters, and this has {has}")
            }
        }
    }
}

impl Breach {
    /// The flag that would pass.
    fn hint(&self) -> Option<String> {
        match self {
            Breach::Permanent { fits } | Breach::TooLong { fits, .. } => {
                fits.map(|length| format!("this length is allowed: `--duration {length}`"))
            }
            Breach::NoTicket { .. } => {
                Some("give the ticket with --ticket, which `access request` and `access edit` take".to_owned())
            }
            Breach::ShortReason { .. } => {
                Some("give a longer reason with --reason, which `access request` and `access edit` take".to_owned())
            }
        }
    }
}

const RULES: &str = "`access team show` has the rules; `access request … --dry-run` tells which of them match";

/// A message names at most so many things that are wrong.
const NAMED: usize = 10;

/// `Several`: two or more that hold at once, none of them `Several` itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    Several { all: Vec<Refusal> },
    NoMember { login: String },
    NoSuchMember { name: Name, nearest: Option<String> },
    Disabled { member: Name },
    NeedsAdmin { to: &'static str },
    NeedsOwner { to: &'static str },
    NeedsRoot { to: &'static str },
    NeedsKeeper { command: &'static str },
    OwnerIsThere { owner: Name, login: String },
    NoAccount { member: Name, login: String },
    NoSuchResource { resource: Resource, nearest: Vec<String> },
    NoResourceNamed { name: Name, nearest: Vec<String> },
    SeveralNamed { name: Name, choices: Vec<Resource> },
    NoSuchRequest { id: RequestId },
    NoSuchNotification { id: i64 },
    RoleOwner,
    RoleNotAbove { asked: Role, own: Role },
    AlreadyHeld { member: Name, resource: Resource, way: Box<Way>, now: Timestamp },
    AlreadyPending { first: RequestId, resource: Resource },
    EndPassed { until: Timestamp },
    EndTooFar { until: Timestamp },
    StartPassed { start: Timestamp },
    StartTooFar { start: Timestamp },
    EndBeforeStart { until: Timestamp, start: Timestamp },
    HiddenInTicket { why: Malformed },
    RuleDenies { rule: RuleName, message: Text },
    RuleForbids { rule: RuleName, what: Breach },
    NoEmergency { resource: Resource },
    EmergencyForGood,
    EmergencyLater,
    EmergencyForAnother,
    NotExtendable { id: RequestId, state: State },
    NothingToExtend { id: RequestId },
    AlreadyExtended { id: RequestId, by: RequestId },
    NeedsOwnGrant { id: RequestId },
    NeedsApprover { id: RequestId, approvers: Vec<String> },
    AlreadyVoted { id: RequestId },
    NotOwed { id: RequestId },
    AlreadyReviewed { id: RequestId, by: Name },
    OwnRequest { id: RequestId },
    FiledRequest { id: RequestId, requester: Name },
    NeedsApproverOfTerms { id: RequestId, resource: Resource, approvers: Vec<String> },
    NeedsReviewer { id: RequestId, reviewers: Vec<String> },
    NeedsBaseRole { id: RequestId, what: &'static str },
    NothingDemanded { resource: Resource },
    MayBeOwn { id: RequestId },
    NeedsOwnRequest { id: RequestId },
    AlreadyDecided { id: RequestId, state: State, by: Option<Name> },
    NotPending { id: RequestId, state: State },
    NeedsOwnToEdit { id: RequestId },
    NotEditable { id: RequestId, state: State },
    NothingToEdit { id: RequestId },
    ExtensionStart { id: RequestId, before: RequestId },
    NotLive { id: RequestId, state: State },
    Changed { what: String },
    Unseen { id: RequestId, seq: i64 },
    ClockNotBack,
    OwnerAlready { member: Name },
    NotQueued { id: i64 },
    TooOften { done: &'static str, most: usize, within: Length, next: Timestamp },
    TooManyPending { most: u64 },
    TooManyByRule { rule: RuleName, most: u32, requester: Name, next: Timestamp },
    ReviewsOwed { owed: Vec<(RequestId, Vec<Name>)> },
}

impl Refusal {
    /// This and what else is wrong, as one refusal.
    #[must_use]
    pub fn and(self, others: impl IntoIterator<Item = Refusal>) -> Refusal {
        let mut all = self.each();
        all.extend(others.into_iter().flat_map(Refusal::each));
        if all.len() == 1 { all.remove(0) } else { Refusal::Several { all } }
    }

    fn each(self) -> Vec<Refusal> {
        match self {
            Refusal::Several { all } => all,
            one => vec![one],
        }
    }

    /// Refuses with all of these, if there are any.
    pub fn unless_none(refusals: Vec<Refusal>) -> Result<(), Refusal> {
        let mut refusals = refusals.into_iter();
        refusals.next().map_or(Ok(()), |first| Err(first.and(refusals)))
    }

    pub fn sort(&self) -> RefusalKind {
        match self {
            Refusal::Several { all } => all.first().map_or(RefusalKind::Refused, Refusal::sort),
            Refusal::EndPassed { .. }
            | Refusal::EndTooFar { .. }
            | Refusal::StartPassed { .. }
            | Refusal::StartTooFar { .. }
            | Refusal::EndBeforeStart { .. }
            | Refusal::HiddenInTicket { .. }
            | Refusal::SeveralNamed { .. }
            | Refusal::EmergencyForGood
            | Refusal::EmergencyLater
            | Refusal::ExtensionStart { .. } => RefusalKind::Usage,
            Refusal::NoMember { .. }
            | Refusal::Disabled { .. }
            | Refusal::NeedsAdmin { .. }
            | Refusal::NeedsOwner { .. }
            | Refusal::NeedsRoot { .. }
            | Refusal::NeedsKeeper { .. }
            | Refusal::OwnerIsThere { .. }
            | Refusal::NoAccount { .. }
            | Refusal::RoleOwner
            | Refusal::OwnRequest { .. }
            | Refusal::FiledRequest { .. }
            | Refusal::NeedsBaseRole { .. }
            | Refusal::NeedsApproverOfTerms { .. }
            | Refusal::NeedsReviewer { .. }
            | Refusal::NothingDemanded { .. }
            | Refusal::MayBeOwn { .. }
            | Refusal::NeedsApprover { .. }
            | Refusal::NeedsOwnGrant { .. }
            | Refusal::RuleDenies { .. }
            | Refusal::RuleForbids { .. }
            | Refusal::NoEmergency { .. }
            | Refusal::EmergencyForAnother
            | Refusal::NeedsOwnRequest { .. }
            | Refusal::NeedsOwnToEdit { .. }
            | Refusal::TooOften { .. }
            | Refusal::TooManyPending { .. }
            | Refusal::TooManyByRule { .. }
            | Refusal::ReviewsOwed { .. } => RefusalKind::Refused,
            Refusal::NoSuchMember { .. }
            | Refusal::NoSuchResource { .. }
            | Refusal::NoResourceNamed { .. }
            | Refusal::NoSuchRequest { .. }
            | Refusal::NoSuchNotification { .. }
            | Refusal::NotQueued { .. } => RefusalKind::NotFound,
            Refusal::RoleNotAbove { .. }
            | Refusal::AlreadyHeld { .. }
            | Refusal::AlreadyPending { .. }
            | Refusal::AlreadyDecided { .. }
            | Refusal::NotPending { .. }
            | Refusal::NotEditable { .. }
            | Refusal::NothingToEdit { .. }
            | Refusal::NotLive { .. }
            | Refusal::NotExtendable { .. }
            | Refusal::NothingToExtend { .. }
            | Refusal::AlreadyExtended { .. }
            | Refusal::AlreadyVoted { .. }
            | Refusal::NotOwed { .. }
            | Refusal::AlreadyReviewed { .. }
            | Refusal::Changed { .. }
            | Refusal::Unseen { .. }
            | Refusal::OwnerAlready { .. }
            | Refusal::ClockNotBack => RefusalKind::Conflict,
        }
    }

    /// Whether a member who may act is refused for who they are, and not by rules or limits.
    pub fn is_about_the_caller(&self) -> bool {
        matches!(self, Refusal::NeedsAdmin { .. } | Refusal::NeedsOwner { .. } | Refusal::NeedsRoot { .. })
    }

    /// What happened, in a sentence.
    pub fn message(&self) -> String {
        match self {
            Refusal::NoMember { login } => format!("the Unix user {login} is not a member of this team"),
            Refusal::NoSuchMember { name, .. } => format!("there is no member {name}"),
            Refusal::Disabled { member } => format!("{member} is disabled, and may do nothing here"),
            Refusal::NeedsAdmin { to } => format!("only admins and the owner may {to}"),
            Refusal::NeedsOwner { to } => format!("only the owner may {to}"),
            Refusal::NeedsRoot { to } => format!("only root may {to}"),
            Refusal::NeedsKeeper { command } => {
                format!("`access {command}` is for root and for the user who owns the database file")
            }
            Refusal::OwnerIsThere { owner, login } => {
                format!("{owner} is the owner, and has an account on this machine: {login}")
            }
            Refusal::NoAccount { member, login } => {
                format!("{member} can't become the owner: the login {login} is no person's account on this machine")
            }
            Refusal::NoSuchResource { resource, .. } => format!("there is no {resource}"),
            Refusal::NoResourceNamed { name, .. } => format!("there is no resource with the name {name}"),
            Refusal::SeveralNamed { name, choices } => {
                let choices: Vec<String> = choices.iter().map(ToString::to_string).collect();
                format!("{name} is the name of several resources: {}", choices.join(", "))
            }
            Refusal::Several { all } => {
                let mut said: Vec<String> = all.iter().take(NAMED).map(Refusal::message).collect();
                said.extend((all.len() > NAMED).then(|| format!("and {} more", all.len() - NAMED)));
                said.join("; ")
            }
            Refusal::NoSuchRequest { id } => format!("there is no request {id}"),
            Refusal::NoSuchNotification { id } => format!("there is no notification {id} for you"),
            Refusal::RoleOwner => "nobody can ask to be the owner".to_owned(),
            Refusal::RoleNotAbove { asked, own } => {
                format!("role:{asked} gives nothing that role:{own} does not have already")
            }
            Refusal::AlreadyHeld { member, resource, way, now } => match way.until {
                Some(until) => format!(
                    "{member} has {resource} already, through {way}, for another {}",
                    duration::spell(until.since(*now))
                ),
                None => format!("{member} has {resource} already, through {way}, for good"),
            },
            Refusal::AlreadyPending { first, resource } => {
                format!("request {first} for {resource} is pending already")
            }
            Refusal::HiddenInTicket { why } => format!("the ticket can't be taken: {why}"),
            Refusal::EndPassed { until } => format!("the end asked for, {until}, has passed"),
            Refusal::EndTooFar { until } => format!("the end asked for, {until}, is more than ten years away"),
            Refusal::StartPassed { start } => format!("the start asked for, {start}, has passed"),
            Refusal::StartTooFar { start } => format!("the start asked for, {start}, is more than a year away"),
            Refusal::EndBeforeStart { until, start } => {
                format!("the end asked for, {until}, is not after the start, {start}")
            }
            Refusal::RuleDenies { rule, message } => format!("{message} (rule {:?})", rule.as_str()),
            Refusal::RuleForbids { rule, what } => format!("the rule {:?} says: {what}", rule.as_str()),
            Refusal::NoEmergency { resource } => format!("no rule allows emergency access to {resource}"),
            Refusal::EmergencyForGood => "emergency access is never for good".to_owned(),
            Refusal::EmergencyLater => "emergency access starts at once".to_owned(),
            Refusal::EmergencyForAnother => "nobody takes emergency access for another".to_owned(),
            Refusal::NotExtendable { id, state } => format!("request {id} is {state}, so there is nothing to extend"),
            Refusal::NothingToExtend { id } => {
                format!("the grant of request {id} is for good; there is nothing to extend")
            }
            Refusal::AlreadyExtended { id, by } => format!("request {by} extends the grant of request {id} already"),
            Refusal::NeedsOwnGrant { id } => format!("only its requester may extend the grant of request {id}"),
            Refusal::NeedsApprover { id, approvers } => {
                format!("request {id} is for others to decide on: {}", approvers.join(", "))
            }
            Refusal::AlreadyVoted { id } => format!("you have approved request {id} already, on these terms"),
            Refusal::NotOwed { id } => format!("request {id} is no emergency, so it owes no review"),
            Refusal::AlreadyReviewed { id, by } => format!("{by} has reviewed request {id} already"),
            Refusal::OwnRequest { id } => format!("request {id} is your own, and nobody decides on their own request"),
            Refusal::FiledRequest { id, requester } => {
                format!("you filed request {id} for {requester}, and nobody decides on a request they filed")
            }
            Refusal::NeedsBaseRole { id, what } => format!(
                "request {id} is for {what}; a role that was granted to you does not count there, only your role in the team file"
            ),
            Refusal::NeedsApproverOfTerms { id, resource, approvers } => format!(
                "you may decide on request {id}, but {resource} on these terms is for others to give: {}",
                approvers.join(", ")
            ),
            Refusal::NeedsReviewer { id, reviewers } => {
                format!("request {id} is for others to review: {}", reviewers.join(", "))
            }
            Refusal::NothingDemanded { resource } => {
                format!("no approval is demanded for {resource}, so nobody can grant it")
            }
            Refusal::MayBeOwn { id } => format!(
                "request {id} can't be told from your own: it was filed by or for an earlier member with your name"
            ),
            Refusal::NeedsOwnRequest { id } => {
                format!("only its requester, or who filed it, may withdraw request {id}")
            }
            Refusal::AlreadyDecided { id, state, by } => match by {
                Some(by) => format!("request {id} is {state} already, decided by {by}"),
                None => format!("request {id} is {state} already"),
            },
            Refusal::NotPending { id, state } => format!("request {id} is {state}, so there is nothing to withdraw"),
            Refusal::NeedsOwnToEdit { id } => format!("only its requester, or who filed it, may edit request {id}"),
            Refusal::NotEditable { id, state } => {
                format!("request {id} is {state}; only a pending request can be edited")
            }
            Refusal::NothingToEdit { id } => format!("request {id} says all of this already; nothing was changed"),
            Refusal::ExtensionStart { id, before } => {
                format!("request {id} extends request {before} and starts when that ends; its start can't be edited")
            }
            Refusal::NotLive { id, state } => format!("request {id} is {state}, so there is nothing to revoke"),
            Refusal::Changed { what } => format!("{what} has changed since it was shown; nothing was done"),
            Refusal::Unseen { id, .. } => {
                format!(
                    "request {id} has changed since it was filed, so say which version you approve; nothing was done"
                )
            }
            Refusal::ClockNotBack => {
                "the clock is not behind the last recorded time; there is nothing to accept".to_owned()
            }
            Refusal::OwnerAlready { member } => format!("{member} is the owner already"),
            Refusal::NotQueued { id } => format!("there is no {id} in the outbox; nothing was done"),
            Refusal::TooOften { done, most, within, next } => {
                let within = duration::spell(within.seconds());
                format!("you have {done} {most} times within {within}; the next is possible at {next}")
            }
            Refusal::TooManyPending { most } => {
                format!("{most} requests that you filed are pending; you can't file another one")
            }
            Refusal::TooManyByRule { rule, most, requester, next } => format!(
                "the rule {:?} says: at most {most} request{} in {}; the next is possible for {requester} at {next}",
                rule.as_str(),
                if *most == 1 { "" } else { "s" },
                Length::DAY
            ),
            Refusal::ReviewsOwed { owed } => format!(
                "{} of your emergencies need a review before you can take another one: {}",
                owed.len(),
                emergency::owed(owed)
            ),
        }
    }

    /// What to do instead.
    pub fn hints(&self) -> Vec<String> {
        let one = |hint: &str| vec![hint.to_owned()];
        match self {
            Refusal::NoMember { login } => vec![format!(
                "the owner can add a member with login = \"{login}\" to the team file and run `access team apply`"
            )],
            Refusal::NoSuchMember { nearest, .. } => {
                nearest.iter().map(|near| format!("did you mean {near}?")).collect()
            }
            Refusal::Disabled { .. } => one("ask the owner"),
            Refusal::NeedsAdmin { .. } => one("ask for the role with `access request role:admin --reason …`"),
            Refusal::NeedsOwner { .. } => one("`access team show` names the owner"),
            Refusal::NeedsKeeper { .. } => one("leave --as out, or ask the person who looks after this machine"),
            Refusal::NeedsRoot { .. } => {
                one("the owner hands over by applying a team file; root is for when there is none")
            }
            Refusal::OwnerIsThere { .. } => vec![
                "the owner hands over by applying a team file".to_owned(),
                "if they have left, remove their account first".to_owned(),
            ],
            Refusal::NoAccount { login, .. } => vec![
                format!("create the account {login} first, or the next user with that name would own the team"),
                "or, if the login is wrong, have it corrected in the team file".to_owned(),
            ],
            Refusal::SeveralNamed { .. } => one("name one of them in full, with its kind"),
            Refusal::NoSuchResource { nearest, .. } | Refusal::NoResourceNamed { nearest, .. } => {
                let mut hints: Vec<String> = Vec::new();
                if !nearest.is_empty() {
                    hints.push(format!("did you mean {}?", nearest.join(" or ")));
                }
                hints.push("`access resources` lists what can be asked for".to_owned());
                hints
            }
            Refusal::Several { all } => {
                let mut hints: Vec<String> = Vec::new();
                for hint in all.iter().take(NAMED).flat_map(Refusal::hints) {
                    if !hints.contains(&hint) {
                        hints.push(hint);
                    }
                }
                hints.sort_by_key(|hint| hint == RULES);
                hints
            }
            Refusal::NoSuchRequest { .. } => one("`access list --all` shows the requests that you may see"),
            Refusal::NoSuchNotification { .. } => one("`access inbox --all` lists yours"),
            Refusal::RoleOwner => one("the owner hands ownership over by applying a team file that names another"),
            Refusal::RoleNotAbove { .. } => one("`access whoami` shows your role"),
            Refusal::AlreadyHeld { .. } => one("`access whoami` shows what you have; ask for longer with --duration"),
            Refusal::AlreadyPending { first, .. } => vec![
                format!("see it with `access show {first}`"),
                format!("or change it with `access edit {first}`"),
                format!("or take it back with `access withdraw {first}`"),
            ],
            Refusal::HiddenInTicket { .. } => one("type it with --ticket; pasted text may hold what can't be seen"),
            Refusal::EndPassed { .. } => one("give another end with --duration or --until"),
            Refusal::EndTooFar { .. } => one("ask for `--duration permanent`, or an earlier end"),
            Refusal::StartPassed { .. } => one("leave --start out to start as soon as it is approved"),
            Refusal::StartTooFar { .. } => one("ask again when it is nearer"),
            Refusal::EndBeforeStart { .. } => one("give a later --until, or an earlier --start"),
            Refusal::RuleDenies { .. } => one(RULES),
            Refusal::RuleForbids { what, .. } => what.hint().into_iter().chain([RULES.to_owned()]).collect(),
            Refusal::NoEmergency { .. } => one("ask without --emergency; whoever may decide is told at once"),
            Refusal::EmergencyLater => one("leave --start out, or --emergency"),
            Refusal::EmergencyForAnother => one("whoever needs it takes it themselves"),
            Refusal::EmergencyForGood => one("say how long with --duration or --until"),
            Refusal::NotExtendable { .. } => one("ask anew with `access request`"),
            Refusal::NothingToExtend { .. } => Vec::new(),
            Refusal::AlreadyExtended { by, .. } => vec![
                format!("extend that one once it is approved: `access extend {by}`"),
                format!("or, while it is pending, take it back: `access withdraw {by}`"),
            ],
            Refusal::NeedsOwnGrant { .. } => one("file one on their behalf with `access request … --for`"),
            Refusal::NotOwed { id } | Refusal::AlreadyReviewed { id, .. } => {
                vec![format!("see it with `access show {id}`")]
            }
            Refusal::OwnRequest { id }
            | Refusal::FiledRequest { id, .. }
            | Refusal::MayBeOwn { id }
            | Refusal::NeedsApprover { id, .. }
            | Refusal::AlreadyVoted { id } => {
                vec![format!("`access show {id}` names who may decide")]
            }
            Refusal::NeedsBaseRole { id, .. } | Refusal::NeedsReviewer { id, .. } => {
                vec![format!("`access show {id}` names who may decide")]
            }
            Refusal::NeedsApproverOfTerms { id, .. } => {
                vec![format!("approve it as it is, or deny it: `access deny {id}`")]
            }
            Refusal::NothingDemanded { .. } => one("the owner can name approvers in the team file"),
            Refusal::NeedsOwnRequest { id } => vec![format!("`access deny {id}` decides on it")],
            Refusal::AlreadyDecided { id, .. } => vec![format!("`access show {id}` tells how")],
            Refusal::NotPending { id, state } if state.is_open() => {
                vec![format!("end the grant with `access revoke {id}`")]
            }
            Refusal::NotLive { id, state } if state.is_open() => {
                vec![format!("`access deny {id}` decides it; its requester can `access withdraw {id}`")]
            }
            Refusal::NeedsOwnToEdit { id } => vec![
                format!("if you may decide on it, approve other terms: `access approve {id} --duration …`"),
                format!("or `access deny {id} --reason …`"),
            ],
            Refusal::NotEditable { id, state } if state.is_open() => {
                vec![format!("ask for more time with `access extend {id}`, or anew with `access request`")]
            }
            Refusal::NotEditable { .. } => one("ask anew with `access request`"),
            Refusal::NothingToEdit { id } => vec![format!("see it with `access show {id}`")],
            Refusal::ExtensionStart { .. } => one("leave --start and --no-start out"),
            Refusal::NotPending { .. } | Refusal::NotLive { .. } => Vec::new(),
            Refusal::Changed { .. } => one("look again, and decide on what stands there now"),
            Refusal::Unseen { id, seq } => vec![
                format!("look at it with `access show {id}`, then `access approve {id} --seen {seq}`"),
                format!("on a terminal, without --yes, `access approve {id}` shows it first"),
            ],
            Refusal::ClockNotBack | Refusal::OwnerAlready { .. } => Vec::new(),
            Refusal::NotQueued { .. } => one("`access outbox` and `access outbox --dead` list what there is"),
            Refusal::TooOften { .. } => Vec::new(),
            Refusal::TooManyPending { .. } => {
                one("`access list --mine` shows them; withdraw what is no longer needed with `access withdraw ID`")
            }
            Refusal::TooManyByRule { .. } => one("`access team show` has the rules"),
            Refusal::ReviewsOwed { owed } => {
                let id = owed.first().map_or_else(|| "ID".to_owned(), |(id, _)| id.to_string());
                vec![
                    format!("ask one of the people named to run `access review {id} --note '…'`"),
                    "somebody else who is on call can take emergency access meanwhile".to_owned(),
                ]
            }
        }
    }
}
