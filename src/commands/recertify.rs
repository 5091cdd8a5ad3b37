//! `access recertify`: reviews of what people hold.

mod decide;

use anyhow::Result;
use clap::{Args, Subcommand};
use clap_complete::engine::ArgValueCandidates;
use decide::RecertifyDecideArgs;

use super::Run;
use super::app::App;
use crate::completion;
use crate::domain::Malformed;
use crate::domain::duration::Length;
use crate::domain::member::Assignee;
use crate::domain::name::Name;
use crate::domain::recertification::{ItemVerdict, RecertificationId, Selection};
use crate::domain::resource::ResourceOrName;
use crate::domain::text::Text;
use crate::prompt::cancelled;
use crate::service::{CancelRecertification, Recertifications, ShowRecertification, StartRecertification};
use crate::ui::recertification;

/// Review what people hold; what nobody keeps is taken away
#[derive(Debug, Args)]
#[command(
    after_help = "A recertification is a list of what people held when it was started: grants, roles above viewer, memberships of \
groups, and scopes that are assigned by name. Each item is for its reviewers to keep or revoke, and never for its holder. \
At the due time, `access expire` revokes the grants that nobody kept. What the team file gives is listed by `access recertify show`, \
with the lines to change; only `access team apply` changes the team.

Examples:
  access recertify start --permanent --due 14d
  access recertify keep
  access recertify show 1"
)]
pub struct RecertifyArgs {
    #[command(subcommand)]
    verb: RecertifyVerb,
}

#[derive(Debug, Subcommand)]
enum RecertifyVerb {
    Start(RecertifyStartArgs),
    List(RecertifyListArgs),
    Show(RecertifyShowArgs),
    /// Keep items: these, or one by one on a terminal
    Keep(RecertifyDecideArgs),
    /// Revoke items: these, or one by one on a terminal
    Revoke(RecertifyDecideArgs),
    Cancel(RecertifyCancelArgs),
}

/// Start a recertification of what people hold now (admins)
#[derive(Debug, Args)]
#[command(
    after_help = "Without a selection, it is about all that people hold, except grants that end before the due time. \
Reviewers are those who could approve each item today, or those that you name. Granted roles do not count. Nobody reviews \
their own access: if nobody else can review an item, nothing is started.

Examples:
  access recertify start --due 14d
  access recertify start --permanent --due 2w
  access recertify start --resource prod-aws --due 1w --reviewers erin
  access recertify start --group backend --due 30d --dry-run"
)]
pub struct RecertifyStartArgs {
    /// Only what gives this resource
    #[arg(long, value_name = "RESOURCE", conflicts_with_all = ["group", "permanent"], add = ArgValueCandidates::new(completion::resources_or_names))]
    resource: Option<ResourceOrName>,
    /// Only what the members of this group hold
    #[arg(long, value_name = "GROUP", conflicts_with = "permanent")]
    group: Option<Name>,
    /// Only grants without an end
    #[arg(long)]
    permanent: bool,
    /// How long reviewers have, from 1h to 365d
    #[arg(long, value_name = "LENGTH")]
    due: Length,
    /// Who reviews, separated by commas: MEMBER, group:NAME or role:NAME (default: those who could approve each item)
    #[arg(long, value_name = "WHO", value_delimiter = ',', value_parser = reviewer)]
    reviewers: Vec<Assignee>,
    /// Show the items and their reviewers, and start nothing
    #[arg(long)]
    dry_run: bool,
}

/// List recertifications with items for you or about you; all for admins
#[derive(Debug, Args)]
pub struct RecertifyListArgs {
    /// Include closed recertifications
    #[arg(long)]
    all: bool,
}

/// Show a recertification: its items, who decided, and what to change in the team file
#[derive(Debug, Args)]
pub struct RecertifyShowArgs {
    /// Number of the recertification
    #[arg(add = ArgValueCandidates::new(completion::recertifications))]
    id: RecertificationId,
}

/// End a recertification before it is due, so that nothing more comes of it (admins)
#[derive(Debug, Args)]
#[command(
    after_help = "What reviewers decided stays decided. What they did not decide on is left as it is: nothing is revoked. \
The reviewers, the owner, and who started it are notified.

Example:
  access recertify cancel 1 --reason 'Started with the wrong group'"
)]
pub struct RecertifyCancelArgs {
    /// Number of the recertification
    #[arg(add = ArgValueCandidates::new(completion::recertifications))]
    id: RecertificationId,
    /// Reason, which everybody sees who sees the recertification
    #[arg(short, long, value_name = "TEXT")]
    reason: Text,
}

/// A name alone is a member.
fn reviewer(text: &str) -> Result<Assignee, Malformed> {
    if text.contains(':') { text.parse() } else { Ok(Assignee::Member(text.parse()?)) }
}

impl Run for RecertifyArgs {
    fn run(self, app: &mut App) -> Result<u8> {
        match self.verb {
            RecertifyVerb::Start(args) => app.start_recertification(args),
            RecertifyVerb::List(args) => app.list_recertifications(args.all),
            RecertifyVerb::Show(args) => {
                let view = app.backend()?.answer(ShowRecertification { id: args.id })?;
                let now = app.printer.now();
                app.printer.object(&view, |sheet| recertification::whole(sheet, &view, now))?;
                Ok(0)
            }
            RecertifyVerb::Keep(args) => app.decide_items(ItemVerdict::Keep, &args),
            RecertifyVerb::Revoke(args) => app.decide_items(ItemVerdict::Revoke, &args),
            RecertifyVerb::Cancel(args) => app.cancel_recertification(args),
        }
    }

    fn changes(&self) -> bool {
        match &self.verb {
            RecertifyVerb::Start(args) => !args.dry_run,
            RecertifyVerb::Keep(_) | RecertifyVerb::Revoke(_) | RecertifyVerb::Cancel(_) => true,
            RecertifyVerb::List(_) | RecertifyVerb::Show(_) => false,
        }
    }
}

impl App {
    fn start_recertification(&mut self, args: RecertifyStartArgs) -> Result<u8> {
        let RecertifyStartArgs { resource, group, permanent, due, reviewers, dry_run } = args;
        let selection = match (resource, group) {
            (Some(resource), _) => Selection::Resource(self.resource(resource)?),
            (None, Some(group)) => Selection::Group(group),
            (None, None) if permanent => Selection::Permanent,
            (None, None) => Selection::All,
        };
        let reviewers = reviewers.into_iter().collect();
        let call = StartRecertification { selection, due_in: due, reviewers, dry_run };
        let now = self.printer.now();
        if let Some(prompt) = self.prompt.filter(|_| !dry_run) {
            let view = self.backend()?.answer(StartRecertification { dry_run: true, ..call.clone() })?;
            self.printer.preview(|sheet| recertification::whole(sheet, &view, now));
            if !prompt.confirm("Start it, and notify the reviewers?")? {
                return Err(cancelled().into());
            }
        }
        let view = self.backend()?.answer(call)?;
        self.printer.object(&view, |sheet| recertification::whole(sheet, &view, now))?;
        Ok(0)
    }

    fn cancel_recertification(&mut self, args: RecertifyCancelArgs) -> Result<u8> {
        let RecertifyCancelArgs { id, reason } = args;
        let now = self.printer.now();
        if let Some(prompt) = self.prompt {
            let view = self.backend()?.answer(ShowRecertification { id })?;
            self.printer.preview(|sheet| recertification::whole(sheet, &view, now));
            if !prompt.confirm(&format!("Cancel recertification {id}?"))? {
                return Err(cancelled().into());
            }
        }
        let view = self.backend()?.answer(CancelRecertification { id, reason })?;
        self.printer.object(&view, |sheet| recertification::whole(sheet, &view, now))?;
        Ok(0)
    }

    fn list_recertifications(&mut self, all: bool) -> Result<u8> {
        let ((), count) = self.rows(Recertifications { all }, |list, view| {
            let now = list.now();
            list.row(&view, &recertification::COLUMNS, || recertification::row(&view, now))
        })?;
        if count == 0 {
            self.printer.status(match all {
                true => "No recertifications",
                false => "No open recertifications; `access recertify list --all` shows the closed ones too",
            });
        }
        Ok(0)
    }
}
