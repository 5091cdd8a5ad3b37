//! `access resources`: what can be requested, and what you have.

use anyhow::Result;
use clap::Args;

use super::Run;
use super::app::App;
use crate::domain::duration::brief;
use crate::domain::resource::ResourceKind;
use crate::domain::time::Timestamp;
use crate::protocol::ResourceView;
use crate::service::Resources;
use crate::time_input;
use crate::time_input::TypedTime;
use crate::ui::{Color, Column, Fit, Shown, line};

/// List the resources that can be requested, and your access to each
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  access resources
  access resources target
  access resources --mine")]
pub struct ResourcesArgs {
    /// Only this kind: connection, target, feature, scope or role
    pub kind: Option<ResourceKind>,
    /// Only what you have
    #[arg(long)]
    pub mine: bool,
    /// As of this time in the past
    #[arg(long, value_name = "TIME", value_parser = time_input::parse_past)]
    pub at: Option<TypedTime>,
}

impl Run for ResourcesArgs {
    fn run(self, app: &mut App) -> Result<u8> {
        let at = app.look_back(self.at)?;
        let call = Resources { kind: self.kind, mine: self.mine, at, covering: None };
        let (_, count) = app.rows(call, |list, view| {
            let now = list.now();
            list.row(&view, &RESOURCES, || resource_row(&view, now))
        })?;
        if count == 0 {
            let nothing = if self.mine { "You have access to no such resources" } else { "No such resources" };
            app.printer.status(nothing);
        }
        app.mention_past(at);
        Ok(0)
    }
}

const RESOURCES: [Column; 3] =
    [Column("RESOURCE", Fit::Whole), Column("YOU", Fit::Whole), Column("ABOUT", Fit::Shorten)];

fn resource_row(view: &ResourceView, now: Timestamp) -> Vec<Shown> {
    let resource = view.resource.to_string();
    // That a feature or a role gives itself would say nothing.
    let via = view.via.iter().find(|via| **via != resource).map(|via| {
        let more = if view.via.len() > 1 { ", …" } else { "" };
        format!(" ({}{more})", via.replacen("grant:", "request ", 1))
    });
    let via = via.unwrap_or_default();
    let (held, color) = match (view.held, view.until, view.pending) {
        (true, Some(until), _) => (format!("{} left{via}", brief(until.since(now))), Some(Color::Green)),
        (true, None, _) => (format!("yes{via}"), Some(Color::Green)),
        (false, _, Some(pending)) => (format!("asked: request {pending}"), Some(Color::Yellow)),
        (false, _, None) => ("-".to_owned(), None),
    };
    vec![resource.into(), Shown(held, color), line(&view.about).into_owned().into()]
}
