//! `access approve`: granting what was asked, as it is or with changes.

mod queue;

use anyhow::Result;
use clap::Args;
use clap_complete::engine::ArgValueCandidates;

use super::Run;
use super::app::App;
use super::each::{decidable, each, seen};
use crate::completion;
use crate::domain::duration::Duration;
use crate::domain::name::Name;
use crate::domain::resource::Resource;
use crate::domain::terms::{End, Modification, RequestId};
use crate::domain::text::Text;
use crate::error::{Failure, Kind};
use crate::prompt::Prompt;
use crate::protocol::{RequestView, Seen};
use crate::service::Approve;
use crate::time_input;
use crate::time_input::{Pick, TypedTime};

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
pub struct ApproveArgs {
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

impl Run for ApproveArgs {
    fn run(self, app: &mut App) -> Result<u8> {
        if self.ids.is_empty() {
            return app.walk(&self);
        }
        let end = match (self.duration, self.until) {
            (Some(duration), _) => Some(duration.into()),
            (None, Some(until)) => Some(End::At(app.resolve(until, Pick::Next)?)),
            (None, None) => None,
        };
        if self.seen.is_some() && self.ids.len() > 1 {
            return Err(Failure::new(Kind::Usage, "--seen is for one request").hint("approve them one by one").into());
        }
        let given = Modification { resource: self.resource.or(self.scope.map(Resource::Scope)), end };
        let ask = |prompt: &Prompt, view: &RequestView| {
            if given == Modification::default() {
                return prompt.approval(view);
            }
            let yes = prompt.confirm(&format!("Approve request {} with these changes?", view.id))?;
            Ok(yes.then(|| given.clone()))
        };
        each(app, &self.ids, seen, decidable, ask, |id, chosen, seen| Approve {
            id,
            modification: chosen.unwrap_or_else(|| given.clone()),
            note: self.note.clone(),
            // You looked at that version before you typed this, so it is stricter than what was shown now.
            seen: self.seen.map(|seq| Seen(seq.to_string())).or(seen),
        })
    }

    fn changes(&self) -> bool {
        true
    }
}
