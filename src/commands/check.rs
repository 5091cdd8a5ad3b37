//! `access check`: whether you have access to something now. Exit 0 means yes, and nothing else.

use anyhow::Result;
use clap::Args;
use clap_complete::engine::ArgValueCandidates;

use super::Run;
use super::app::App;
use crate::completion;
use crate::domain::duration::brief;
use crate::domain::entitlement::{Entitlement, Via, longest};
use crate::domain::member::Login;
use crate::domain::name::Name;
use crate::domain::replica::NamedPosition;
use crate::domain::resource::ResourceOrName;
use crate::error::{Failure, Kind};
use crate::protocol::{CheckView, Freshness};
use crate::service::Check;
use crate::time_format::date_and_time;
use crate::time_input;
use crate::time_input::TypedTime;

/// Check whether you have access now. Exit 0: yes; 1: no
#[derive(Debug, Args)]
#[command(after_help = "The end time is compared with the clock, so the answer does not depend on cron.
With a log that several hosts share, this host answers from its copy, until that is too old. --json has its age.

Examples:
  access check target:orders-db
  access check --quiet target:orders-db && psql orders
  access check connection:prod-aws --user bob
  access check connection:prod-aws --user bob --at '2026-03-01 12:00'
  access check connection:prod-aws --at-least acme@12345
  access check connection:prod-aws --login \"$PAM_USER\"")]
pub struct CheckArgs {
    #[arg(add = ArgValueCandidates::new(completion::resources))]
    pub resource: ResourceOrName,
    /// Another member (admins and auditors)
    #[arg(long, value_name = "MEMBER", add = ArgValueCandidates::new(completion::members))]
    pub user: Option<Name>,
    /// The member of this Unix user name (root, admins and auditors): for PAM, sudo and hooks
    #[arg(long, value_name = "LOGIN", conflicts_with = "user")]
    pub login: Option<Login>,
    /// Ask the shared log first. Exit 69: it can't be reached
    #[arg(long, conflicts_with = "at_least")]
    pub fresh: bool,
    /// Wait until this host knows this entry of the shared log, such as acme@12345, for at most 10 seconds
    #[arg(long, value_name = "POSITION")]
    pub at_least: Option<NamedPosition>,
    /// Whether they had access at this time in the past
    #[arg(long, value_name = "TIME", value_parser = time_input::parse_past, conflicts_with_all = ["login", "fresh", "at_least"])]
    pub at: Option<TypedTime>,
}

impl Run for CheckArgs {
    fn run(self, app: &mut App) -> Result<u8> {
        let CheckArgs { resource, user, login, fresh, at_least, at } = self;
        let at = app.look_back(at)?;
        let resource = app.resource_in_full(resource)?;
        let freshness = if fresh { Some(Freshness::Asked) } else { at_least.map(Freshness::AtLeast) };
        let view = app.backend()?.answer(Check { resource, user, login, freshness, at })?;
        // Exit code 0 opens gates, so the parts of the answer have to agree, and be about the time that was asked about.
        if view.allowed == view.because.is_empty() || view.at != at {
            return Err(Failure::new(Kind::Internal, "the answer contradicts itself").into());
        }
        let quiet = app.printer.is_quiet();
        app.printer.object(&view, |sheet| {
            if !quiet {
                sheet.line(&answer(&view));
            }
        })?;
        Ok(u8::from(!view.allowed))
    }
}

fn answer(view: &CheckView) -> String {
    let (member, resource) = (&view.member, &view.resource);
    if let Some(at) = view.at {
        let at = date_and_time(at);
        return match (longest(&view.because), view.pending) {
            (Some(best), _) => {
                format!("yes, at {at}: {member} could use {resource}, through {}", describe(best, view))
            }
            (None, Some(pending)) => {
                format!("no, at {at}: {member} could not use {resource}; request {pending} was pending")
            }
            (None, None) => format!("no, at {at}: {member} could not use {resource}"),
        };
    }
    match (longest(&view.because), view.pending) {
        (Some(best), _) => format!("yes: {member} may use {resource}, through {}", describe(best, view)),
        (None, Some(pending)) => format!("no: {member} may not use {resource} yet; request {pending} is pending"),
        (None, None) => {
            format!("no: {member} may not use {resource}; ask with `access request {resource}`")
        }
    }
}

/// `role:admin`, `scope:kubernetes`, `the team file`, `request 12 (target:orders-db)`, with the time left.
fn describe(entitlement: &Entitlement, view: &CheckView) -> String {
    let way = entitlement.way_to(&view.resource);
    let how = match (entitlement.via, entitlement.request) {
        (Via::Grant, _) => format!("{way} ({})", entitlement.name),
        (Via::Role | Via::Scope | Via::Feature, Some(request)) => format!("{way} (request {request})"),
        (Via::Role | Via::Scope | Via::Feature, None) => way,
    };
    match entitlement.until {
        Some(until) => format!("{how}, {} left", brief(until.since(view.now))),
        None => how,
    }
}
