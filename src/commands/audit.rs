//! `access audit`: reads, verifies and exports the log.

mod proof;
mod signature;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use clap_complete::engine::ArgValueCandidates;

use super::app::App;
use super::{Run, input};
use crate::completion;
use crate::domain::describe::in_log;
use crate::domain::name::Name;
use crate::domain::resource::ResourceOrName;
use crate::domain::terms::RequestId;
use crate::domain::text::quantity;
use crate::domain::time::Timestamp;
use crate::error::{Failure, Kind};
use crate::protocol::{AuditFilter, EntryView, VerifyView};
use crate::service::{Audit, AuditExport, AuditExportRaw, AuditVerify};
use crate::time_format::date_and_time;
use crate::time_input;
use crate::time_input::{Pick, TypedTime};
use crate::ui::{Column, Fit, Sheet, Shown, csv, line};

/// The audit log, newest first (admins and auditors)
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  access audit
  access audit --request 12
  access audit --resource connection:prod-aws
  access audit --member bob
  access audit --actor alice --action request.approved --since '30d ago'
  access audit export --format csv > audit.csv"
)]
pub struct AuditArgs {
    #[command(subcommand)]
    pub verb: Option<AuditVerb>,
    /// Only entries about this request
    #[arg(long, value_name = "ID", add = ArgValueCandidates::new(completion::requests))]
    pub request: Option<RequestId>,
    /// Only entries about this resource: requests for it, and its changes in the team
    #[arg(long, value_name = "RESOURCE", add = ArgValueCandidates::new(completion::resources_or_names))]
    pub resource: Option<ResourceOrName>,
    /// Only entries by this member, about their requests, or that change what names them in the team file
    #[arg(long, value_name = "MEMBER", add = ArgValueCandidates::new(completion::members))]
    pub member: Option<Name>,
    /// Only actions of this member
    #[arg(long, value_name = "MEMBER", add = ArgValueCandidates::new(completion::members))]
    pub actor: Option<Name>,
    /// Only this action, such as request.approved
    #[arg(long, value_name = "ACTION", value_parser = clap::builder::PossibleValuesParser::new(crate::domain::event::ACTIONS), hide_possible_values = true)]
    pub action: Option<String>,
    /// Only entries from this time on
    #[arg(long, value_name = "TIME", value_parser = time_input::parse_past)]
    pub since: Option<TypedTime>,
    /// Only entries up to this time
    #[arg(long, value_name = "TIME", value_parser = time_input::parse_past)]
    pub until: Option<TypedTime>,
    /// Show at most this many; 0: no limit (default: 50 in a table, no limit in JSON)
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
}

#[derive(Debug, Subcommand)]
pub enum AuditVerb {
    Verify(AuditVerifyArgs),
    Checkpoint(proof::CheckpointArgs),
    Prove(proof::ProveArgs),
    Key(proof::KeyArgs),
    Signature(signature::SignatureArgs),
    Witness(proof::WitnessArgs),
    Export(AuditExportArgs),
}

/// Prove that the log is complete and unaltered. Exit 1: it is not
#[derive(Debug, Args)]
#[command(after_help = "Hashes every entry again, replays the log, and compares the result with every table. \
With --against, also proves that the entries up to each checkpoint are unchanged.

Examples:
  access audit verify
  access audit verify --against checkpoints.jsonl")]
pub struct AuditVerifyArgs {
    /// File of checkpoints, one per line, or signed notes; - for standard input
    #[arg(long, value_name = "FILE")]
    pub against: Option<PathBuf>,
}

/// Write the log, oldest first
#[derive(Debug, Args)]
#[command(
    after_help = "Anyone can verify a raw export without this program: docs/log-format.md has 20 lines of Python.

Examples:
  access audit export --format jsonl
  access audit export --format csv --since 2026-07-01 --until 2026-09-30
  access audit export --format raw > log.jsonl"
)]
pub struct AuditExportArgs {
    #[arg(long, value_name = "FORMAT")]
    pub format: ExportFormat,
    /// Only entries from this time on (not raw)
    #[arg(long, value_name = "TIME", value_parser = time_input::parse_past)]
    pub since: Option<TypedTime>,
    /// Only entries up to this time (not raw)
    #[arg(long, value_name = "TIME", value_parser = time_input::parse_past)]
    pub until: Option<TypedTime>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// One JSON object per line
    Jsonl,
    /// Comma-separated values, with a header
    Csv,
    /// The stored text and its hash: one JSON object per line, with seq, body and hash
    Raw,
}

impl Run for AuditArgs {
    fn run(self, app: &mut App) -> Result<u8> {
        match self.verb {
            None => app.audit(self),
            Some(AuditVerb::Export(export)) => app.export(export),
            Some(AuditVerb::Verify(verify)) => {
                let against = input::read_checkpoints(verify.against.as_deref())?;
                let view = app.backend()?.answer(AuditVerify { against })?;
                app.printer.object(&view, |sheet| verified(sheet, &view))?;
                Ok(u8::from(!view.ok))
            }
            Some(AuditVerb::Checkpoint(checkpoint)) => checkpoint.run(app),
            Some(AuditVerb::Prove(prove)) => prove.run(app),
            Some(AuditVerb::Key(key)) => key.run(app),
            Some(AuditVerb::Signature(signature)) => signature.run(app),
            Some(AuditVerb::Witness(witness)) => witness.run(app),
        }
    }

    fn changes(&self) -> bool {
        match &self.verb {
            Some(AuditVerb::Key(key)) => key.rotate,
            // The witness remembers what it signed.
            Some(AuditVerb::Witness(witness)) => witness.file.is_some(),
            // They make the key if there is none.
            Some(AuditVerb::Checkpoint(_) | AuditVerb::Prove(_)) => true,
            Some(AuditVerb::Signature(signature)) => signature.to.is_some(),
            Some(AuditVerb::Verify(_) | AuditVerb::Export(_)) | None => false,
        }
    }
}

impl App {
    fn audit(&mut self, args: AuditArgs) -> Result<u8> {
        let (since, until) = self.between(args.since, args.until)?;
        let filter = AuditFilter {
            request: args.request,
            resource: args.resource.map(|resource| self.resource(resource)).transpose()?,
            member: args.member,
            actor: args.actor,
            action: args.action,
            since,
            until,
            limit: self.limit(args.limit),
        };
        let (listed, count) =
            self.rows(Audit { filter }, |list, view| list.row(&view, &ENTRIES, || entry_row(&view)))?;
        if count == 0 {
            self.printer.status("No entries");
        }
        self.mention_more(listed.more)?;
        Ok(0)
    }

    fn between(
        &mut self,
        since: Option<TypedTime>,
        until: Option<TypedTime>,
    ) -> Result<(Option<Timestamp>, Option<Timestamp>), Failure> {
        let since = since.map(|since| self.resolve_since(since)).transpose()?;
        let until = until.map(|until| self.resolve(until, Pick::UpTo)).transpose()?;
        match (since, until) {
            (Some(since), Some(until)) if until < since => {
                Err(Failure::new(Kind::Usage, "--until is before --since, so nothing can match"))
            }
            between => Ok(between),
        }
    }

    fn export(&mut self, args: AuditExportArgs) -> Result<u8> {
        let (since, until) = self.between(args.since, args.until)?;
        if args.format == ExportFormat::Raw && (since.is_some() || until.is_some()) {
            return Err(Failure::new(Kind::Usage, "a raw export is verified as a whole, so it takes no range")
                .hint("use --format jsonl or csv for a range")
                .into());
        }
        let export = AuditExport { since, until };
        match args.format {
            ExportFormat::Jsonl => self.lines(export, |printer, entry| printer.json_line(&entry))?,
            ExportFormat::Raw => self.lines(AuditExportRaw {}, |printer, entry| printer.json_line(&entry))?,
            ExportFormat::Csv => {
                self.csv(export, csv::ENTRY_HEADER, |printer, entry| printer.csv_entry(&entry))?;
            }
        }
        Ok(0)
    }
}

const ENTRIES: [Column; 5] = [
    Column("SEQ", Fit::Whole),
    Column("AT", Fit::Whole),
    Column("ACTOR", Fit::Whole),
    Column("ACTION", Fit::Whole),
    Column("WHAT", Fit::Wrap),
];

fn entry_row(view: &EntryView) -> Vec<Shown> {
    let actor = match &view.actor {
        Some(actor) => actor.to_string(),
        None => "-".to_owned(),
    };
    vec![
        view.seq.to_string().into(),
        date_and_time(view.at).into(),
        actor.into(),
        view.event.action().to_owned().into(),
        line(&in_log(&view.event, view.actor.as_ref(), view.requester.as_ref(), &date_and_time)).into_owned().into(),
    ]
}

fn verified(sheet: &mut Sheet, view: &VerifyView) {
    let held = match view.checkpoints {
        0 => String::new(),
        1 => ", and the log is unchanged since the checkpoint".to_owned(),
        many => format!(", and the log is unchanged since {many} checkpoints"),
    };
    let entries = quantity(view.entries, "entry", "entries");
    for fault in view.void.iter().chain(&view.faults) {
        match fault.seq {
            Some(seq) => sheet.line(&format!("entry {seq}: {}", fault.problem)),
            None => sheet.line(&fault.problem),
        }
    }
    if view.ok {
        let them = if view.entries == 1 { "it" } else { "them" };
        sheet.line(&format!("ok: {entries}, whole; the tables agree with {them}{held}"));
        sheet.line(&format!("head {}", view.head));
        return;
    }
    let faults = quantity(view.faults.len(), "fault", "faults");
    sheet.line(&format!("not ok: {faults} in {entries}"));
}
