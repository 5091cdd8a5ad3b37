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
use crate::domain::text::Ticket;
use crate::protocol::{ListFilter, RequestKind};
use crate::service::{HasRequests, List};
use crate::time_input;
use crate::time_input::TypedTime;
use crate::ui::{csv, request};

/// List requests, newest first
#[derive(Debug, Args)]
#[command(after_help = "Without a filter, lists the open requests (pending, scheduled, active) that you may see.

Examples:
  access list
  access list --pending
  access list --mine --all
  access list --state expired,revoked --since '7d ago'
  access list --permanent
  access list --approver alice --granted-since 2026-07-01
  access list --all --csv > requests.csv
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
    /// Only permanent access, granted or asked for
    #[arg(long, group = "kind")]
    pub permanent: bool,
    /// Only emergencies, closed ones too
    #[arg(long, group = "kind")]
    pub emergency: bool,
    /// Only emergencies that still need a review
    #[arg(long, group = "kind")]
    pub unreviewed: bool,
    /// Only requests with this ticket, closed ones too
    #[arg(long, value_name = "TICKET")]
    pub ticket: Option<Ticket>,
    /// Only requests with this text in the reason, the ticket or a note, closed ones too
    #[arg(long, value_name = "TEXT")]
    pub search: Option<String>,
    /// Only requests that this member approved, closed ones too
    #[arg(long, value_name = "MEMBER", add = ArgValueCandidates::new(completion::members))]
    pub approver: Option<Name>,
    /// Only access that was granted since this time, closed requests too
    #[arg(long, value_name = "TIME", value_parser = time_input::parse_past)]
    pub granted_since: Option<TypedTime>,
    /// The requests as of this time in the past
    #[arg(long, value_name = "TIME", value_parser = time_input::parse_past)]
    pub at: Option<TypedTime>,
    /// Print comma-separated values, with a header and without a limit
    #[arg(long)]
    pub csv: bool,
    /// Include closed requests
    #[arg(long)]
    pub all: bool,
    /// Show at most this many; 0: no limit (default: 50 in a table, no limit in JSON)
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
}

impl Run for ListArgs {
    fn run(self, app: &mut App) -> Result<u8> {
        if self.csv {
            app.refuse_json("--csv")?;
        }
        let mut states = self.states;
        if self.pending {
            states.push(State::Pending);
        }
        let since = self.since.map(|since| app.resolve_since(since)).transpose()?;
        let at = app.look_back(self.at)?;
        let granted_since = self.granted_since.map(|since| app.resolve_since(since)).transpose()?;
        let kind = match (self.permanent, self.emergency, self.unreviewed) {
            (true, _, _) => Some(RequestKind::Permanent),
            (_, true, _) => Some(RequestKind::Emergency),
            (_, _, true) => Some(RequestKind::Unreviewed),
            (false, false, false) => None,
        };
        let looks_back = self.ticket.is_some()
            || self.search.is_some()
            || self.approver.is_some()
            || granted_since.is_some()
            || kind == Some(RequestKind::Emergency);
        let all = self.all || looks_back && states.is_empty();
        let open_only = !all && states.is_empty();
        let filter = ListFilter {
            mine: self.mine,
            all,
            states,
            requester: self.requester,
            resource: self.resource.map(|resource| app.resource(resource)).transpose()?,
            since,
            kind,
            ticket: self.ticket,
            search: self.search,
            approver: self.approver,
            granted_since,
            at,
            limit: if self.csv { self.limit.filter(|limit| *limit > 0) } else { app.limit(self.limit) },
        };
        let narrowed = ListFilter { mine: false, limit: None, ..filter.clone() } != ListFilter::default();
        if self.csv {
            app.csv(List { filter }, csv::REQUEST_HEADER, |printer, view| printer.csv_request(&view))?;
            app.mention_past(at);
            return Ok(0);
        }
        let (listed, count) = app.rows(List { filter: filter.clone() }, |list, view| {
            let now = list.now();
            list.row(&view, &request::COLUMNS, || request::row(&view, now))
        })?;
        app.warn_all(&listed.warnings);
        if count == 0 {
            let every = ListFilter { all: true, limit: Some(1), ..filter };
            let has_closed = open_only
                && match at {
                    Some(_) => app.finds(List { filter: every })?,
                    None => !app.printer.is_json() && app.backend()?.answer(HasRequests { filter: every })?,
                };
            app.printer.status(match (has_closed, open_only && !narrowed) {
                (true, _) => "No requests; `access list --all` shows the closed ones too",
                (false, true) => "No requests; `access request` asks for access",
                (false, false) => "No requests",
            });
        }
        app.mention_more(listed.more)?;
        app.mention_past(at);
        Ok(0)
    }
}
