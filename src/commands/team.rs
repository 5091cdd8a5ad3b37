//! `access team`: shows the team, applies a team file, replaces the owner.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, Subcommand};

use super::app::App;
use super::{Run, input};
use crate::domain::binding::{Binding, in_connector};
use crate::domain::duration::Length;
use crate::domain::name::Name;
use crate::domain::team::change::{Change, Diff};
use crate::domain::team::difference::{Difference, FieldChange};
use crate::domain::team::team_file;
use crate::domain::text::quantity;
use crate::error::{Failure, Kind};
use crate::prompt::cancelled;
use crate::protocol::{AgainstView, Follows, PlanView, Seen};
use crate::provisioning;
use crate::service::{Call, ReplaceOwner, TeamApply, TeamShow, Warned};
use crate::time_format::date_and_time;
use crate::time_input;
use crate::time_input::TypedTime;
use crate::ui::{Sheet, line};

/// Show the team, or apply a team file
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  access team show > team.toml             write it down, then edit it
  access team apply team.toml --dry-run    see what would change
  access team apply team.toml              see it, confirm, and apply")]
pub struct TeamArgs {
    #[command(subcommand)]
    verb: TeamVerb,
}

#[derive(Debug, Subcommand)]
enum TeamVerb {
    Apply(TeamApplyArgs),
    Show(TeamShowArgs),
    ReplaceOwner(ReplaceOwnerArgs),
}

/// Apply a team file: shows the changes and their effects, and asks first
#[derive(Debug, Args)]
#[command(after_help = "Only the owner applies a team file, and all admins are notified.

Scheduled access that the file's rules would no longer give ends; active access that they would no longer give is listed, \
and stays without --revoke-unmatched.

Examples:
  access team apply team.toml
  access team apply team.toml --dry-run
  access team apply team.toml --dry-run --against 90d
  access team apply team.toml --revoke-unmatched
  git show HEAD:team.toml | access team apply - --yes")]
pub struct TeamApplyArgs {
    /// The team file; - for standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Show what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Also list the requests of this last period that the new rules would have decided otherwise
    #[arg(long, value_name = "LENGTH", requires = "dry_run")]
    pub against: Option<Length>,
    /// Also end active access that the file's rules would no longer give
    #[arg(long)]
    pub revoke_unmatched: bool,
}

/// Print the team, as a team file that applies back unchanged
#[derive(Debug, Args)]
pub struct TeamShowArgs {
    /// The team as of this time in the past (admins and auditors)
    #[arg(long, value_name = "TIME", value_parser = time_input::parse_past)]
    pub at: Option<TypedTime>,
}

/// Make another member the owner, once the owner's account is gone (root)
#[derive(Debug, Args)]
#[command(
    after_help = "An owner with an account hands over by applying a team file. If the owner's account is gone, root makes another \
member the owner with this command. The log records that root did it, and all admins are notified.

The old owner is disabled. Their pending requests are withdrawn, their access ends, and scheduled access that needs \
their approval ends too.

Examples:
  access team replace-owner alice --dry-run
  access team replace-owner alice"
)]
pub struct ReplaceOwnerArgs {
    /// The member who becomes the owner
    #[arg(value_name = "MEMBER")]
    pub to: Name,
    /// Show what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

impl TeamArgs {
    /// The file that it reads.
    pub fn file(&self) -> Option<&Path> {
        match &self.verb {
            TeamVerb::Apply(args) => Some(&args.file),
            TeamVerb::Show(_) | TeamVerb::ReplaceOwner(_) => None,
        }
    }
}

impl Run for TeamArgs {
    fn run(self, app: &mut App) -> Result<u8> {
        match self.verb {
            TeamVerb::Show(show) => {
                let at = app.look_back(show.at)?;
                let team = app.backend()?.answer(TeamShow { at })?;
                app.printer.object(&team, |sheet| sheet.push(&team_file::write(&team)))?;
                app.mention_past(at);
                Ok(0)
            }
            TeamVerb::Apply(args) => {
                let TeamApplyArgs { file, dry_run, against, revoke_unmatched } = args;
                let text = input::read_text(&file)?;
                let call = |dry_run, seen| TeamApply { text: text.clone(), dry_run, seen, against, revoke_unmatched };
                app.change_team(dry_run, call, "Apply this?")
            }
            TeamVerb::ReplaceOwner(args) => {
                let ReplaceOwnerArgs { to, dry_run } = args;
                let call = |dry_run, seen| ReplaceOwner { to: to.clone(), dry_run, seen };
                app.change_team(dry_run, call, &format!("Make {to} the owner, who controls the team file?"))
            }
        }
    }

    fn changes(&self) -> bool {
        match &self.verb {
            TeamVerb::Show(_) => false,
            TeamVerb::Apply(args) => !args.dry_run,
            TeamVerb::ReplaceOwner(args) => !args.dry_run,
        }
    }
}

impl App {
    /// Shows what a change of the team does, and asks unless `--yes` was given. `call` gets whether it is a dry run, and the
    /// plan that was shown.
    fn change_team<C: Call<Reply = Warned<PlanView>>>(
        &mut self,
        dry_run: bool,
        call: impl Fn(bool, Option<Seen>) -> C,
        question: &str,
    ) -> Result<u8> {
        if dry_run || self.yes {
            let planned = self.plan(call(dry_run, None))?;
            return self.print_plan(&planned);
        }
        let planned = self.plan(call(true, None))?;
        if !planned.answer.does_anything() {
            return self.print_plan(&planned);
        }
        let Some(prompt) = &self.prompt else {
            let why = "a change of the team needs your confirmation, and nobody can be asked";
            return Err(Failure::new(Kind::Usage, why)
                .hint("preview it with --dry-run, then apply it with --yes")
                .into());
        };
        self.printer.preview(|sheet| plan(sheet, &planned.answer));
        for warning in &planned.warnings {
            self.printer.warn(warning);
        }
        if !prompt.confirm(question)? {
            return Err(cancelled().into());
        }
        let applied = self.plan(call(false, planned.answer.seen))?;
        self.access_changed = true;
        if self.printer.is_json() {
            return self.print_plan(&applied);
        }
        // What it does was shown already.
        self.printer.print("Applied.")?;
        Ok(0)
    }

    /// Makes the call, and adds what the service can't know: which new bindings the configuration of this machine refuses.
    fn plan(&self, call: impl Call<Reply = Warned<PlanView>>) -> Result<Warned<PlanView>, Failure> {
        let mut planned = self.backend()?.answer(call)?;
        let bindings = planned.answer.changes.iter().filter_map(|change| match change {
            Change::Binding(diff) => diff.after().cloned(),
            _ => None,
        });
        let warnings = provisioning::warnings(&bindings.collect::<Vec<_>>(), self.as_of().is_some());
        planned.warnings.extend(warnings.unwrap_or_else(|failure| vec![failure.message]));
        Ok(planned)
    }

    fn print_plan(&mut self, planned: &Warned<PlanView>) -> Result<u8> {
        self.access_changed |= planned.answer.applied;
        self.printer.object(&planned.answer, |sheet| plan(sheet, &planned.answer))?;
        self.warn_all(&planned.warnings);
        Ok(0)
    }
}

fn plan(sheet: &mut Sheet, view: &PlanView) {
    sheet.line(match (view.changes.is_empty(), view.applied) {
        (true, _) => "Nothing changes.",
        (false, true) => "Applied:",
        (false, false) => "Would change:",
    });
    for change in &view.changes {
        let (mark, words) = changed(change);
        sheet.item(&format!("  {mark} "), 6, &words);
    }
    if !view.follows.is_empty() {
        sheet.line(if view.applied { "Effects:" } else { "Effects would be:" });
    }
    for follow in &view.follows {
        let (id, member, resource) = (follow.request, &follow.member, &follow.resource);
        let because = line(&follow.because);
        let words = match follow.follows {
            Follows::Withdrawn => format!("request {id} withdrawn: {member} asked for {resource}; {because}"),
            Follows::Revoked => format!("grant {id} revoked: {member} has {resource}; {because}"),
            Follows::Widened => {
                format!("grant {id} widened: {member} has {resource}, which now also covers {because}")
            }
            Follows::Voided => format!(
                "request {id} reaches more, so approvals of it are void: {member} asked for {resource}, which now also covers {because}"
            ),
            Follows::Unmatched => format!("grant {id} unmatched: {member} has and keeps {resource}; {because}"),
        };
        sheet.item("  ", 4, &words);
    }
    if view.follows.iter().any(|follow| follow.follows == Follows::Unmatched) {
        sheet.item("  ", 4, "(unmatched: the team no longer gives it; `team apply --revoke-unmatched` ends it)");
    }
    if let Some(against) = &view.against {
        judged_past(sheet, against);
    }
}

fn judged_past(sheet: &mut Sheet, view: &AgainstView) {
    let (all, otherwise) = (view.requests, view.otherwise.len() + view.more);
    let stop = if view.otherwise.is_empty() { "." } else { ":" };
    let since = date_and_time(view.since);
    let all = quantity(all, "request", "requests");
    sheet.line(&format!("Of {all} since {since}, {otherwise} would have been decided otherwise{stop}"));
    for past in &view.otherwise {
        let (id, resource, requester) = (past.request, &past.resource, &past.requester);
        let words = format!("request {id} ({resource} for {requester}), {}: {}", past.was, line(&past.would));
        sheet.item("  ", 4, &words);
    }
    if view.more > 0 {
        sheet.item("  ", 4, &format!("and {} more", view.more));
    }
}

/// `+`, `~` or `-`, and `member:zoe (role: member)`, `member:bob (role: member → admin)`, `scope:x`.
fn changed(change: &Change) -> (char, String) {
    let what = match change {
        Change::RuleOrder(_) => "the order of the rules".to_owned(),
        Change::Binding(diff) => return bound(diff),
        Change::Team(_)
        | Change::Member(..)
        | Change::Group(..)
        | Change::Connection(..)
        | Change::Target(..)
        | Change::Feature(..)
        | Change::Scope(..)
        | Change::Host(..)
        | Change::Rule(..)
        | Change::Notifications(_) => line(&change.what()).into_owned(),
    };
    match Difference::of(change) {
        Difference::Added(fields) => {
            let fields: Vec<String> = fields.iter().map(|(key, value)| format!("{key}: {value}")).collect();
            ('+', format!("{what} ({})", line(&fields.join("; "))))
        }
        Difference::Removed => ('-', what),
        Difference::Changed(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|(key, change)| format!("{key}: {}", field_changed(change))).collect();
            ('~', format!("{what} ({})", line(&fields.join("; "))))
        }
    }
}

/// `target:orders-db gives role=orders_rw in orders-pg (end_sessions: true)`.
fn bound(diff: &Diff<Binding>) -> (char, String) {
    let Binding { resource, connector, parameters, baseline, end_sessions } = diff.either();
    let what = format!("{resource} gives {}", in_connector(parameters, connector));
    let flag = |key: &str, from: Option<bool>, to: bool| match from {
        Some(from) if from != to => Some(format!("{key}: {from} → {to}")),
        None if to => Some(format!("{key}: true")),
        Some(_) | None => None,
    };
    let from = match diff {
        Diff::Change { from, .. } => Some(from),
        Diff::Add { .. } | Diff::Remove { .. } => None,
    };
    let flags = [
        flag("baseline", from.map(|from| from.baseline), *baseline),
        flag("end_sessions", from.map(|from| from.end_sessions), *end_sessions),
    ];
    let flags: Vec<String> = flags.into_iter().flatten().collect();
    let words = if flags.is_empty() { what } else { format!("{what} ({})", flags.join("; ")) };
    let mark = match diff {
        Diff::Add { .. } => '+',
        Diff::Change { .. } => '~',
        Diff::Remove { .. } => '-',
    };
    (mark, line(&words).into_owned())
}

/// `a → b`; for lists, only the items added and removed.
fn field_changed(change: &FieldChange) -> String {
    match change {
        FieldChange::Value { from, to } => format!("{from} → {to}"),
        FieldChange::List { added, removed } => {
            let added = added.iter().map(|item| format!("+{item}"));
            let removed = removed.iter().map(|item| format!("-{item}"));
            added.chain(removed).collect::<Vec<_>>().join(" ")
        }
    }
}
