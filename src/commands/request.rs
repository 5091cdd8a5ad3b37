//! `access request`: files a request for access.

mod form;
mod summary;
mod wait;

pub use wait::deadline;

use anyhow::Result;
use clap::Args;
use clap_complete::engine::ArgValueCandidates;

use super::Run;
use super::app::App;
use crate::completion;
use crate::domain::duration::{Duration, Length};
use crate::domain::grant::State;
use crate::domain::name::Name;
use crate::domain::resource::ResourceOrName;
use crate::domain::terms::{End, RequestDetails, Terms};
use crate::domain::text::{Text, Ticket};
use crate::error::{Failure, Kind};
use crate::protocol::RequestView;
use crate::service::{SubmitRequest, Warned};
use crate::time_input;
use crate::time_input::{Pick, TypedTime};
use crate::ui::request;

/// Ask for access
#[derive(Debug, Args)]
#[command(
    after_help = "On a terminal, a form asks for everything if you leave out RESOURCE, and for the missing parts if you leave out --reason.

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
pub struct RequestArgs {
    /// Resource: kind:name, or only the name if it is unambiguous (see `access resources`)
    #[arg(add = ArgValueCandidates::new(completion::resources_or_names))]
    pub resource: Option<ResourceOrName>,
    /// Why you need it
    #[arg(short, long, value_name = "TEXT")]
    pub reason: Option<Text>,
    /// How long: permanent, or a length such as 1h, 90m, 2d12h, 1w (default: 1h, or less if a rule says so)
    #[arg(short, long, value_name = "LENGTH", conflicts_with = "until", add = ArgValueCandidates::new(completion::durations))]
    pub duration: Option<Duration>,
    /// Until when: 17:00, 5pm, "tomorrow 09:00", "2026-12-01 17:00", or "in 3h"
    #[arg(short, long, value_name = "TIME", value_parser = time_input::parse_future)]
    pub until: Option<TypedTime>,
    /// Start at this time (default: as soon as it is approved)
    #[arg(long, value_name = "TIME", value_parser = time_input::parse_future)]
    pub start: Option<TypedTime>,
    /// Ticket reference
    #[arg(short, long, value_name = "REF")]
    pub ticket: Option<Ticket>,
    /// Take emergency access now, if a rule allows it: all approvers are notified, and one reviews it afterwards
    #[arg(long, conflicts_with_all = ["start", "requester"])]
    pub emergency: bool,
    /// Request access for another member (admins)
    #[arg(long = "for", value_name = "MEMBER", add = ArgValueCandidates::new(completion::members))]
    pub requester: Option<Name>,
    /// Wait for the decision, and for connectors to give the access; exit 1 if it is not granted
    #[arg(short, long, conflicts_with = "dry_run")]
    pub wait: bool,
    /// Wait no longer than this
    #[arg(long, value_name = "LENGTH", requires = "wait")]
    pub timeout: Option<Length>,
    /// Show what would happen, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

impl Run for RequestArgs {
    fn run(self, app: &mut App) -> Result<u8> {
        let Warned { answer: view, warnings } = match (&self.resource, &self.reason, app.prompt) {
            (Some(_), Some(_), _) | (_, _, None) => {
                let submit = app.asked_for(&self)?;
                app.submit(submit)?
            }
            (_, _, Some(prompt)) => app.submit_by_form(prompt, &self)?,
        };
        if self.wait {
            app.warn_all(&warnings);
            return app.wait(view, self.timeout);
        }
        app.print_submitted(&view, &warnings, self.dry_run)?;
        Ok(0)
    }

    fn changes(&self) -> bool {
        !self.dry_run
    }
}

impl App {
    pub(super) fn submit(&mut self, submit: SubmitRequest) -> Result<Warned<RequestView>, Failure> {
        let dry_run = submit.dry_run;
        let submitted = self.backend()?.answer(submit)?;
        self.access_changed |= !dry_run && submitted.answer.state == State::Active;
        Ok(submitted)
    }

    /// A request that was filed or changed, or would be.
    pub(super) fn print_submitted(
        &mut self,
        view: &RequestView,
        warnings: &[String],
        dry_run: bool,
    ) -> Result<(), Failure> {
        let now = self.printer.now();
        self.access_changed |= !dry_run && matches!(view.state, State::Active | State::Revoked);
        self.printer.object(view, |sheet| match dry_run {
            true => request::would_submit(sheet, view, now),
            false => request::outcomes(sheet, view, now),
        })?;
        self.warn_all(warnings);
        Ok(())
    }

    /// What the line says, where nobody can be asked for the rest.
    pub(super) fn asked_for(&mut self, args: &RequestArgs) -> Result<SubmitRequest> {
        let missing = |flag: &str| {
            let in_full = args.resource.is_none() && args.reason.is_none();
            let (flags, it) = if in_full { ("RESOURCE and --reason are", "them") } else { (flag, "it") };
            Failure::new(Kind::Usage, format!("{flags} missing, and nobody can be asked for {it}"))
                .hint("access request RESOURCE --reason TEXT")
                .hint("`access resources` lists what you can request")
        };
        let resource = args.resource.clone().ok_or_else(|| missing("RESOURCE is"))?;
        let reason = args.reason.clone().ok_or_else(|| missing("--reason is"))?;
        let end = match (args.duration, args.until) {
            (Some(duration), _) => duration.into(),
            (None, Some(until)) => End::At(self.resolve(until, Pick::Next)?),
            (None, None) => Duration::For(Length::HOUR).into(),
        };
        let start = args.start.map(|start| self.resolve(start, Pick::Next)).transpose()?;
        let asked = Terms { resource: self.resource(resource)?, end, start };
        let default_length = args.duration.is_none() && args.until.is_none();
        Ok(SubmitRequest { default_length, ..args.submit(asked, reason, args.ticket.clone()) })
    }
}

impl RequestArgs {
    /// The call, with the answers to what the form may ask for.
    fn submit(&self, asked: Terms, reason: Text, ticket: Option<Ticket>) -> SubmitRequest {
        SubmitRequest {
            details: RequestDetails { asked, reason, ticket },
            requester: self.requester.clone(),
            emergency: self.emergency,
            default_length: false,
            dry_run: self.dry_run,
        }
    }
}
