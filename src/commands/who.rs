//! `access who`: everyone who has access to something, and everything that a member has access to.

use anyhow::Result;
use clap::Args;
use clap_complete::engine::ArgValueCandidates;

use super::Run;
use super::app::App;
use crate::completion;
use crate::domain::entitlement::Via;
use crate::domain::name::Name;
use crate::domain::resource::ResourceOrName;
use crate::domain::time::Timestamp;
use crate::error::{Failure, Kind};
use crate::protocol::HolderView;
use crate::service::{Holdings, Who};
use crate::time_format::in_full;
use crate::time_input;
use crate::time_input::TypedTime;
use crate::ui::{Column, Fit, Shown};

/// List everyone who can use a resource, how, and until when (admins and auditors)
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  access who connection:prod-aws
  access who connection:prod-aws --at '2026-03-01 12:00'
  access who --user bob")]
pub struct WhoArgs {
    #[arg(required_unless_present = "user", conflicts_with = "user", add = ArgValueCandidates::new(completion::resources_or_names))]
    pub resource: Option<ResourceOrName>,
    /// List everything that this member can use instead
    #[arg(long, value_name = "MEMBER", add = ArgValueCandidates::new(completion::members))]
    pub user: Option<Name>,
    /// As of this time in the past
    #[arg(long, value_name = "TIME", value_parser = time_input::parse_past)]
    pub at: Option<TypedTime>,
}

impl Run for WhoArgs {
    fn run(self, app: &mut App) -> Result<u8> {
        let at = app.look_back(self.at)?;
        let (count, nothing) = match (self.resource, self.user) {
            (Some(resource), _) => {
                let resource = app.resource(resource.clone()).map_err(|failure| match resource {
                    ResourceOrName::Name(name) if failure.kind == Kind::NotFound => {
                        failure.hint(format!("to name a member: `access who --user {name}`"))
                    }
                    ResourceOrName::Name(_) | ResourceOrName::Resource(_) => failure,
                })?;
                let (_, count) = app.rows(Who { resource, at }, |list, view| {
                    let now = list.now();
                    list.row(&view, &HOLDERS, || row(view.member.to_string(), &view, now))
                })?;
                (count, if at.is_some() { "Nobody could use it" } else { "Nobody can use it now" })
            }
            (None, user) => {
                let member =
                    user.ok_or_else(|| Failure::new(Kind::Usage, "name a resource, or a member with --user"))?;
                let (_, count) = app.rows(Holdings { member, at }, |list, view| {
                    let now = list.now();
                    list.row(&view, &HOLDINGS, || row(view.resource.to_string(), &view, now))
                })?;
                (count, if at.is_some() { "They could use nothing" } else { "They can use nothing now" })
            }
        };
        if count == 0 {
            app.printer.status(nothing);
        }
        app.mention_past(at);
        Ok(0)
    }
}

const HOLDERS: [Column; 4] = [
    Column("MEMBER", Fit::Whole),
    Column("THROUGH", Fit::Shorten),
    Column("REQUEST", Fit::Whole),
    Column("UNTIL", Fit::Whole),
];

const HOLDINGS: [Column; 4] = [
    Column("RESOURCE", Fit::Whole),
    Column("THROUGH", Fit::Shorten),
    Column("REQUEST", Fit::Whole),
    Column("UNTIL", Fit::Whole),
];

fn row(first: String, view: &HolderView, now: Timestamp) -> Vec<Shown> {
    let entitlement = &view.entitlement;
    vec![
        first.into(),
        match entitlement.via {
            Via::Grant => format!("grant of {}", entitlement.name),
            Via::Role | Via::Scope | Via::Feature => entitlement.way_to(&view.resource),
        }
        .into(),
        entitlement.request.map(|id| id.to_string()).unwrap_or_default().into(),
        entitlement.until.map_or_else(String::new, |until| in_full(until, now)).into(),
    ]
}
