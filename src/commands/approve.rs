//! `access approve`: grants a request, as asked or with changes.

mod queue;
mod sign;

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use clap_complete::engine::ArgValueCandidates;

use super::Run;
use super::app::App;
use super::each::{decidable, distinct, each, seen};
use crate::completion;
use crate::domain::duration::Duration;
use crate::domain::grant::State;
use crate::domain::name::Name;
use crate::domain::resource::{Resource, ResourceOrName};
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
    after_help = "You cannot approve a request that you filed or that is for you. If rules demand several approvals, each approval \
is for exactly the proposed terms; changing the terms voids the earlier approvals. \
If a request has changed since it was filed (an edit, other terms by another approver, a scope that covers more), \
you need --seen whenever it is not shown to you first (with --yes, or in a pipe). \
If a rule demands signatures, the terms are shown, and signed with an SSH key that the team file has in your ssh_keys: one of \
your agent, a key in ~/.ssh, or `signing_key` in your config.toml. \
On a terminal, without an ID, you are asked about each request that waits for you.

Examples:
  access approve
  access approve 12
  access approve 12 --duration 1h --note 'Enough for the fix'
  access approve 12 --scope orders-read
  access approve 12 13 14 --yes
  access approve 12 --seen 345 --yes
  access approve 12 --print-terms > terms
  ssh-keygen -Y sign -n access-approval -f ~/.ssh/id_ed25519 terms
  access approve 12 --signature terms.sig"
)]
pub struct ApproveArgs {
    /// Request numbers
    #[arg(value_name = "ID", allow_negative_numbers = true, add = ArgValueCandidates::new(completion::decidable))]
    pub ids: Vec<RequestId>,
    /// Grant access for this long instead
    #[arg(short, long, value_name = "LENGTH", conflicts_with = "until", add = ArgValueCandidates::new(completion::durations))]
    pub duration: Option<Duration>,
    /// Grant access until this time instead
    #[arg(short, long, value_name = "TIME", value_parser = time_input::parse_future)]
    pub until: Option<TypedTime>,
    /// Grant this scope instead
    #[arg(short, long, value_name = "NAME", conflicts_with = "resource", add = ArgValueCandidates::new(completion::scopes))]
    pub scope: Option<Name>,
    /// Grant this resource instead
    #[arg(long, value_name = "RESOURCE", add = ArgValueCandidates::new(completion::resources))]
    pub resource: Option<ResourceOrName>,
    /// Note for the requester
    #[arg(short, long, value_name = "TEXT")]
    pub note: Option<Text>,
    /// Approve only if the request has not changed since this log entry (`last_seq` in `access show --json`)
    #[arg(long, value_name = "SEQ", value_parser = clap::value_parser!(i64).range(1..))]
    pub seen: Option<i64>,
    /// Print the text that an approval signs, and approve nothing
    #[arg(long, conflicts_with_all = ["signature", "seen"])]
    pub print_terms: bool,
    /// Approve with this signature of that text, made elsewhere; - for standard input
    #[arg(long, value_name = "FILE")]
    pub signature: Option<PathBuf>,
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
        let for_one = [
            ("--seen", self.seen.is_some()),
            ("--signature", self.signature.is_some()),
            ("--print-terms", self.print_terms),
        ];
        if let Some((flag, _)) = for_one.into_iter().find(|(_, given)| *given && distinct(&self.ids).len() > 1) {
            let message = format!("{flag} is for one request");
            return Err(Failure::new(Kind::Usage, message).hint("approve them one by one").into());
        }
        let resource = self.resource.map(|named| app.resource_in_full(named)).transpose()?;
        let given = Modification { resource: resource.or(self.scope.map(Resource::Scope)), end };
        let ask = |prompt: &Prompt, view: &RequestView| {
            if given == Modification::default() {
                return prompt.approval(view);
            }
            let yes = prompt.confirm(&format!("Approve request {} with these changes?", view.id))?;
            Ok(yes.then(|| given.clone()))
        };
        if self.print_terms {
            return app.print_terms(self.ids[0], given, self.note);
        }
        let signature = self.signature.map(|file| sign::read(&file)).transpose()?;
        // Other terms may be theirs to approve where those on the table are not.
        let worth_asking =
            |view: &RequestView| decidable(view) || given != Modification::default() && view.state == State::Pending;
        each(app, &self.ids, seen, worth_asking, ask, |app, id, chosen, read| {
            let shown = read.as_ref().filter(|read| read.is_confirmed).map(|read| &read.view);
            let seen = read.as_ref().and_then(|read| read.seen.clone());
            let approve = Approve {
                id,
                modification: chosen.unwrap_or_else(|| given.clone()),
                note: self.note.clone(),
                // --seen names an earlier state than the one just shown, so it is the stricter check.
                seen: self.seen.map(|seq| Seen(seq.to_string())).or(seen),
                signature: signature.clone(),
            };
            app.approve(approve, shown)
        })
    }

    fn changes(&self) -> bool {
        true
    }
}
