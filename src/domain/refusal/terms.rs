//! Refusals because of what is asked: its times, its resource, or that it is not an emergency.

use super::kind::RefusalKind;
use crate::domain::Malformed;
use crate::domain::duration;
use crate::domain::entitlement::Entitlement;
use crate::domain::name::Name;
use crate::domain::resource::Resource;
use crate::domain::role::Role;
use crate::domain::terms::RequestId;
use crate::domain::time::Timestamp;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TermsRefusal {
    RoleOwner,
    RoleNotAbove { asked: Role, own: Role },
    AlreadyHeld { member: Name, filer: Name, resource: Resource, way: Box<Entitlement>, now: Timestamp },
    AlreadyPending { first: RequestId, resource: Resource },
    EndPassed { until: Timestamp },
    EndTooFar { until: Timestamp },
    StartPassed { start: Timestamp },
    StartTooFar { start: Timestamp },
    EndBeforeStart { until: Timestamp, start: Timestamp },
    HiddenInTicket { why: Malformed },
    NoEmergency { resource: Resource },
    PermanentEmergency,
    EmergencyLater,
    EmergencyForAnother,
    NothingDemanded { resource: Resource },
}

impl TermsRefusal {
    pub fn kind(&self) -> RefusalKind {
        match self {
            TermsRefusal::EndPassed { .. }
            | TermsRefusal::EndTooFar { .. }
            | TermsRefusal::StartPassed { .. }
            | TermsRefusal::StartTooFar { .. }
            | TermsRefusal::EndBeforeStart { .. }
            | TermsRefusal::HiddenInTicket { .. }
            | TermsRefusal::PermanentEmergency
            | TermsRefusal::EmergencyLater => RefusalKind::Usage,
            TermsRefusal::RoleOwner
            | TermsRefusal::NoEmergency { .. }
            | TermsRefusal::EmergencyForAnother
            | TermsRefusal::NothingDemanded { .. } => RefusalKind::Refused,
            TermsRefusal::RoleNotAbove { .. }
            | TermsRefusal::AlreadyHeld { .. }
            | TermsRefusal::AlreadyPending { .. } => RefusalKind::Conflict,
        }
    }

    pub fn message(&self) -> String {
        match self {
            TermsRefusal::RoleOwner => "nobody can ask to be the owner".to_owned(),
            TermsRefusal::RoleNotAbove { asked, own } => {
                format!("role:{asked} gives nothing that role:{own} does not have already")
            }
            TermsRefusal::AlreadyHeld { member, resource, way, now, .. } => match way.until {
                Some(until) => format!(
                    "{member} has {resource} already, through {}, for another {}",
                    way.way_to(resource),
                    duration::brief(until.since(*now))
                ),
                None => format!("{member} has {resource} already, through {}, permanently", way.way_to(resource)),
            },
            TermsRefusal::AlreadyPending { first, resource } => {
                format!("request {first} for {resource} is pending already")
            }
            TermsRefusal::HiddenInTicket { why } => format!("the ticket can't be taken: {why}"),
            TermsRefusal::EndPassed { until } => format!("the end asked for, {until}, has passed"),
            TermsRefusal::EndTooFar { until } => format!("the end asked for, {until}, is more than ten years away"),
            TermsRefusal::StartPassed { start } => format!("the start asked for, {start}, has passed"),
            TermsRefusal::StartTooFar { start } => format!("the start asked for, {start}, is more than a year away"),
            TermsRefusal::EndBeforeStart { until, start } => {
                format!("the end asked for, {until}, is not after the start, {start}")
            }
            TermsRefusal::NoEmergency { resource } => format!("no rule allows emergency access to {resource}"),
            TermsRefusal::PermanentEmergency => "emergency access can't be permanent".to_owned(),
            TermsRefusal::EmergencyLater => "emergency access starts at once".to_owned(),
            TermsRefusal::EmergencyForAnother => "you can take emergency access only for yourself".to_owned(),
            TermsRefusal::NothingDemanded { resource } => {
                format!("no approval is demanded for {resource}, so nobody can grant it")
            }
        }
    }

    pub fn hints(&self) -> Vec<String> {
        let one = |hint: &str| vec![hint.to_owned()];
        match self {
            TermsRefusal::RoleOwner => one("the owner hands ownership over by applying a team file that names another"),
            TermsRefusal::AlreadyHeld { member, filer, way, .. } => {
                let shows = match member == filer {
                    true => "`access whoami` shows what you have".to_owned(),
                    false => format!("`access who --user {member}` shows what they have"),
                };
                vec![if way.until.is_some() { format!("{shows}; ask for longer with --duration") } else { shows }]
            }
            TermsRefusal::AlreadyPending { first, .. } => vec![
                format!("see it with `access show {first}`"),
                format!("or change it with `access edit {first}`"),
                format!("or take it back with `access withdraw {first}`"),
            ],
            TermsRefusal::HiddenInTicket { .. } => {
                one("type it with --ticket; pasted text may hold what can't be seen")
            }
            TermsRefusal::EndPassed { .. } => one("give another end with --duration or --until"),
            TermsRefusal::EndTooFar { .. } => one("ask for `--duration permanent`, or an earlier end"),
            TermsRefusal::StartPassed { .. } => one("leave --start out to start as soon as it is approved"),
            TermsRefusal::StartTooFar { .. } => one("ask again when it is nearer"),
            TermsRefusal::EndBeforeStart { .. } => one("give a later --until, or an earlier --start"),
            TermsRefusal::NoEmergency { .. } => {
                one("ask without --emergency; those who may decide are notified at once")
            }
            TermsRefusal::PermanentEmergency => one("say how long with --duration or --until"),
            TermsRefusal::EmergencyLater => one("leave --start out, or --emergency"),
            TermsRefusal::EmergencyForAnother => one("the person who needs it can take it"),
            TermsRefusal::RoleNotAbove { .. } => Vec::new(),
            TermsRefusal::NothingDemanded { .. } => one("the owner can name approvers in the team file"),
        }
    }
}
