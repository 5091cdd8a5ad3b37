//! `access audit checkpoint`, `prove` and `key`: what proves the log to others.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::checkpoints;
use crate::commands::app::App;
use crate::commands::input;
use crate::domain::note::NoteKey;
use crate::error::{Failure, Kind};
use crate::protocol::{EarlierLog, KeyView};
use crate::service::{AuditCheckpoint, AuditConsistency, AuditProve, CheckpointKeys, RotateCheckpointKey};
use crate::time_format::date_and_time;
use crate::ui::{Column, Fit, Shown};
use crate::witness::Witness;

/// Print a signed checkpoint of the log, to keep outside the database
#[derive(Debug, Args)]
#[command(
    after_help = "Anyone who can write to the database could rewrite the whole log. A checkpoint that they can't change \
(in a mail, on paper, in git) reveals that. It is one line of JSON. With --note it is the signed note alone, in the form of \
C2SP's tlog-checkpoint, which other tools verify with the key that `access audit key` prints. The first checkpoint makes the \
key, in the file access.db.key beside the database.

Examples:
  access audit checkpoint >> checkpoints.jsonl
  access audit checkpoint --to /srv/access-checkpoints/acme"
)]
pub struct CheckpointArgs {
    /// Print the signed note alone
    #[arg(long)]
    pub note: bool,
    /// Write the signed note to this file, in place of an earlier one of the same log
    #[arg(long, value_name = "FILE", conflicts_with = "note")]
    pub to: Option<PathBuf>,
}

impl CheckpointArgs {
    pub(super) fn run(self, app: &mut App) -> Result<u8> {
        let checkpoint = app.backend()?.answer(AuditCheckpoint {})?;
        if checkpoint.note.is_none() && (self.note || self.to.is_some()) {
            return Err(Failure::new(
                Kind::Unavailable,
                "this host signs nothing: the shared log does not take its key",
            )
            .hint("run the command on a host that decides, or without --note and --to")
            .into());
        }
        if let (Some(file), Some(note)) = (&self.to, &checkpoint.note) {
            checkpoints::keep(app.backend()?, file, note)?;
            app.printer.status(&format!("Kept a checkpoint of {} entries", checkpoint.seq));
            return Ok(0);
        }
        match &checkpoint.note {
            Some(note) if self.note => app.printer.raw(note.as_bytes())?,
            // One line to keep, the same for people and programs.
            _ => app.printer.json_line(&checkpoint)?,
        }
        Ok(0)
    }
}

/// Prove that an entry is in the log, or that an earlier log is the beginning of it
#[derive(Debug, Args)]
#[command(
    after_help = "The proof of an entry is in the form of C2SP's tlog-proof, with the entry as its extra data. With \
--checkpoint it leads to a checkpoint that you kept, with the signatures of witnesses. Otherwise it leads to a new one. The proof \
of an earlier log is in the form in which C2SP's tlog-witness takes it. docs/log-format.md says how to verify both, and \
examples/verify_proof.py does.

Exit 1: the log is not the one of the checkpoint.

Examples:
  access audit prove 12 > 12.tlog-proof
  access audit prove 12 --checkpoint cosigned > 12.tlog-proof
  access audit prove --consistency checkpoint"
)]
pub struct ProveArgs {
    /// Number of the entry
    #[arg(value_name = "ENTRY", required_unless_present = "consistency", conflicts_with = "consistency")]
    pub entry: Option<u32>,
    /// Prove the entry by this signed note; - for standard input
    #[arg(long, value_name = "FILE", requires = "entry")]
    pub checkpoint: Option<PathBuf>,
    /// Prove that the log of this signed note is the beginning of this one. A number of entries, or a file; - for standard input
    #[arg(long, value_name = "OLD")]
    pub consistency: Option<PathBuf>,
}

impl ProveArgs {
    pub(super) fn run(self, app: &mut App) -> Result<u8> {
        if let Some(old) = self.consistency {
            let old = match old.to_str().and_then(|old| old.parse().ok()) {
                Some(size) => EarlierLog::Size(size),
                None => EarlierLog::Checkpoint(input::read_note(&old)?),
            };
            let view = app.backend()?.answer(AuditConsistency { old })?;
            return print(app, &view, &view.proof);
        }
        let checkpoint = self.checkpoint.map(|path| input::read_note(&path)).transpose()?;
        let seq = self.entry.unwrap_or_default().into();
        let view = app.backend()?.answer(AuditProve { seq, checkpoint })?;
        print(app, &view, &view.proof)
    }
}

fn print(app: &mut App, view: &impl serde::Serialize, proof: &str) -> Result<u8> {
    if app.printer.is_json() {
        app.printer.json_line(view)?;
    } else {
        app.printer.raw(proof.as_bytes())?;
    }
    Ok(0)
}

/// Print the keys that sign checkpoints
#[derive(Debug, Args)]
#[command(
    after_help = "Give a key to those who verify checkpoints, in a way that nobody who writes the database can change. \
Each host that writes the log has its own. Backups do not have the private key, which is in the file access.db.key beside the \
database: keep a copy of it. If it is lost, or somebody else has had it, the owner replaces it with --rotate. The log says so, \
and checkpoints of the old key stay valid.

Examples:
  access audit key
  access audit key --rotate"
)]
pub struct KeyArgs {
    /// Replace the key of this host (owner)
    #[arg(long)]
    pub rotate: bool,
}

const KEYS: [Column; 5] = [
    Column("ENTRY", Fit::Whole),
    Column("ADDED", Fit::Whole),
    Column("HOST", Fit::Whole),
    Column("REPLACED BY", Fit::Whole),
    Column("KEY", Fit::Whole),
];

impl KeyArgs {
    pub(super) fn run(self, app: &mut App) -> Result<u8> {
        if self.rotate {
            let view = app.backend()?.answer(RotateCheckpointKey {})?;
            app.printer.object(&view, |sheet| sheet.line(&view.key))?;
            return Ok(0);
        }
        let (_, count) = app.rows(CheckpointKeys {}, |list, view| list.row(&view, &KEYS, || key_row(&view)))?;
        if count == 0 {
            app.printer.status("No keys yet: the first checkpoint makes one");
        }
        Ok(0)
    }
}

fn key_row(view: &KeyView) -> Vec<Shown> {
    let replaced = view.replaced_by.map_or_else(|| "-".to_owned(), |seq| format!("entry {seq}"));
    vec![
        view.seq.to_string().into(),
        date_and_time(view.at).into(),
        view.host.clone().unwrap_or_else(|| "-".to_owned()).into(),
        replaced.into(),
        view.key.clone().into(),
    ]
}

/// Sign a checkpoint of a log of others, if it continues the one that you signed last
#[derive(Debug, Args)]
#[command(
    after_help = "Run this where the log is not written. It needs no database. The first time, FILE is a checkpoint. Later it is what \
`access audit prove --consistency OLD` prints, where OLD is the checkpoint that you signed last, or its number of entries. \
Your signature, a cosignature of C2SP's tlog-cosignature, is printed: put it at the end of the checkpoint. Without FILE \
the key of this witness is printed, for those who verify.

Exit 1: the log was rewritten or cut off since, and nothing is signed.

Examples:
  access audit witness checkpoint --log \"$KEY\" >> checkpoint
  access audit witness proof"
)]
pub struct WitnessArgs {
    /// File to sign; - for standard input
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// A key of the log, as `access audit key` prints it. Remembered
    #[arg(long, value_name = "KEY", requires = "file")]
    pub log: Vec<NoteKey>,
    /// The name of a new witness (default: access-witness/HOST)
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
}

impl WitnessArgs {
    pub(super) fn run(self, app: &mut App) -> Result<u8> {
        let request = self.file.map(|path| input::read_text(&path)).transpose()?;
        let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
        let name = self.name.unwrap_or_else(|| format!("access-witness/{}", host.as_deref().unwrap_or("host")));
        let witness = Witness::open(&name)?;
        let Some(request) = request else {
            let key = witness.key().to_string();
            app.printer.object(&key, |sheet| sheet.line(&key))?;
            return Ok(0);
        };
        let signature = witness.cosign(&request, &self.log, app.clock)?.to_string();
        if app.printer.is_json() {
            app.printer.json_line(&signature)?;
        } else {
            app.printer.raw(format!("{signature}\n").as_bytes())?;
        }
        Ok(0)
    }
}
