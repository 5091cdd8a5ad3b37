//! `access list`: the requests that you may see.

use anyhow::Result;
use clap::Args;
use clap_complete::engine::ArgValueCandidates;

use super::Run;
use super::app::App;
use crate::completion;
use crate::domain::grant::State;
use crate::domain::name::Name;
use crate::domain::resource::ResourceOrName;
use crate::protocol::ListFilter;
use crate::service::List;
use crate::time_input;
use crate::time_input::TypedTime;
use crate::ui::request;

/// List requests, newest first
#[derive(Debug, Args)]
#[command(after_help = "Without a filter, lists the open requests (pending, scheduled, active) that you may see.

Examples:
  access list
  access list --pending
  access list --mine --all
  access list --state expired,revoked --since '7d ago'
  access list --json | jq '.[].id'")]
pub struct ListArgs {
    /// Only your requests
    #[arg(long)]
    pub mine: bool,
    /// Only pending requests
    #[arg(long, conflicts_with = "states")]
    pub pending: bool,
    /// Only requests in these states, separated by commas
    #[arg(long = "state", value_name = "STATE", value_delimiter = ',', add = ArgValueCandidates::new(completion::states))]
    pub states: Vec<State>,
    /// Only requests of this member
    #[arg(long, value_name = "MEMBER", add = ArgValueCandidates::new(completion::members))]
    pub requester: Option<Name>,
    /// Only requests for this resource
    #[arg(long, value_name = "RESOURCE", add = ArgValueCandidates::new(completion::resources_or_names))]
    pub resource: Option<ResourceOrName>,
    /// Only requests submitted since this time
    #[arg(long, value_name = "TIME", value_parser = time_input::parse_past)]
    pub since: Option<TypedTime>,
    /// Include closed requests
    #[arg(long)]
    pub all: bool,
    /// Show at most this many; 0: no limit (default: 50 in a table, no limit in JSON)
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
}

impl Run for ListArgs {
    fn run(self, app: &mut App) -> Result<u8> {
        let mut states = self.states;
        if self.pending {
            states.push(State::Pending);
        }
        let since = self.since.map(|since| app.resolve_since(since)).transpose()?;
        let open_only = !self.all && states.is_empty();
        let filter = ListFilter {
            mine: self.mine,
            all: self.all,
            states,
            requester: self.requester,
            resource: self.resource.map(|resource| app.resource(resource)).transpose()?,
            since,
            limit: app.limit(self.limit),
        };
        let (listed, count) = app.rows(List { filter }, |list, view| {
            let now = list.now();
            list.row(&view, &request::COLUMNS, || request::row(&view, now))
        })?;
        app.warn_all(&listed.warnings);
        if count == 0 {
            app.printer.status(if open_only {
                "No requests; `access list --all` shows the closed ones too"
            } else {
                "No requests"
            });
        }
        app.mention_more(listed.more)?;
        Ok(0)
    }
}
