//! `access who`: everyone who has access to something now.

use anyhow::Result;
use clap::Args;
use clap_complete::engine::ArgValueCandidates;

use super::Run;
use super::app::App;
use crate::completion;
use crate::domain::entitlement::Via;
use crate::domain::resource::ResourceOrName;
use crate::domain::time::Timestamp;
use crate::protocol::HolderView;
use crate::service::Who;
use crate::time_format::in_full;
use crate::ui::{Column, Fit, Shown};

/// List everyone who can use a resource now, how, and until when
#[derive(Debug, Args)]
pub struct WhoArgs {
    #[arg(add = ArgValueCandidates::new(completion::resources_or_names))]
    pub resource: ResourceOrName,
}

impl Run for WhoArgs {
    fn run(self, app: &mut App) -> Result<u8> {
        let resource = app.resource(self.resource)?;
        let (_, count) = app.rows(Who { resource }, |list, view| {
            let now = list.now();
            list.row(&view, &HOLDERS, || holder_row(&view, now))
        })?;
        if count == 0 {
            app.printer.status("Nobody can use it now");
        }
        Ok(0)
    }
}

const HOLDERS: [Column; 4] = [
    Column("MEMBER", Fit::Whole),
    Column("THROUGH", Fit::Shorten),
    Column("REQUEST", Fit::Whole),
    Column("UNTIL", Fit::Whole),
];

fn holder_row(view: &HolderView, now: Timestamp) -> Vec<Shown> {
    let entitlement = &view.entitlement;
    vec![
        view.member.to_string().into(),
        match entitlement.via {
            Via::Grant => format!("grant of {}", entitlement.name),
            Via::Role | Via::Scope | Via::Feature => format!("{}:{}", entitlement.via.as_str(), entitlement.name),
        }
        .into(),
        entitlement.request.map(|id| id.to_string()).unwrap_or_default().into(),
        entitlement.until.map_or_else(String::new, |until| in_full(until, now)).into(),
    ]
}
