//! `access ssh command`: carries out the command that a member gives over SSH. sshd starts it, by the line that `access ssh keys`
//! prints, and has verified the key.
//!
//! The member's words are parsed like a command line. What is not on the list below is refused.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;

use super::super::audit::AuditVerb;
use super::super::run_line::run_line;
use super::super::{Cli, Verb};
use super::words::words;
use crate::domain::name::Name;
use crate::domain::ssh_key::KeyFingerprint;
use crate::error::{Failure, Kind};
use crate::server;
use crate::server::OverSsh;
use crate::time_zone;

/// What the member typed, from sshd.
const ORIGINAL: &str = "SSH_ORIGINAL_COMMAND";
/// The longest command, in bytes: as much as a shared host's server accepts.
const LONGEST: usize = 64 << 10;

/// Carry out a command that a member gives over SSH (started by sshd)
#[derive(Debug, Args)]
#[command(
    after_help = "sshd runs this with the line that `access ssh keys` prints, as the user who owns the database. It carries out \
the command in SSH_ORIGINAL_COMMAND for this member, while the key is one of theirs."
)]
pub struct CommandArgs {
    /// The fingerprint of the key that sshd has verified
    #[arg(long, value_name = "FINGERPRINT")]
    pub key: KeyFingerprint,
    /// The member who has the key
    #[arg(value_name = "MEMBER")]
    pub member: Name,
}

impl CommandArgs {
    pub fn run(self) -> Result<u8> {
        // Nothing that the member's client sent is left in the environment.
        server::clear_environment_but(&[ORIGINAL])?;
        let (over_ssh, member) = OverSsh::begin(self.member, self.key)?;
        if let Some(zone) = &member.timezone {
            time_zone::set_local(zone);
        }
        let mut line = vec![OsString::from("access")];
        line.extend(words_of_the_member()?);
        Ok(run_line(&line, Some(over_ssh)))
    }
}

fn words_of_the_member() -> Result<impl Iterator<Item = OsString>, Failure> {
    let usage = |why: String| Failure::new(Kind::Usage, why).hint(QUOTE_TWICE);
    let given = std::env::var_os(ORIGINAL).unwrap_or_default();
    if given.len() > LONGEST {
        return Err(usage(format!("the command is longer than {} KiB", LONGEST >> 10)));
    }
    let given = given.into_string().map_err(|_| usage("the command is not UTF-8 text".to_owned()))?;
    Ok(words(&given).map_err(|why| usage(why.to_string()))?.into_iter().map(OsString::from))
}

pub const QUOTE_TWICE: &str = "ssh joins its words with spaces, so put the whole command into quotes: \
ssh access@HOST 'request NAME --reason \"two words\"'";

/// A file would be one of the host's.
fn is_file(path: impl AsRef<Path>) -> bool {
    path.as_ref() != Path::new("-")
}

fn audit_not_over_ssh(verb: &AuditVerb) -> Option<&'static str> {
    let is_number = |old: &&PathBuf| old.to_str().is_some_and(|old| old.parse::<u64>().is_ok());
    let refused = match verb {
        AuditVerb::Export(_) | AuditVerb::Key(_) => false,
        AuditVerb::Verify(verify) => verify.against.as_ref().is_some_and(is_file),
        AuditVerb::Checkpoint(checkpoint) => checkpoint.to.is_some(),
        AuditVerb::Prove(prove) => {
            let earlier = prove.consistency.as_ref().filter(|old| !is_number(old));
            [prove.checkpoint.as_ref(), earlier].into_iter().flatten().any(is_file)
        }
        AuditVerb::Signature(signature) => return signature.to.as_ref().map(|_| "--to (leave it out, or use --json)"),
        // It signs with a key of the host's user.
        AuditVerb::Witness(_) => return Some("`access audit witness`"),
    };
    refused.then_some("a file of checkpoints other than - (standard input)")
}

/// What in a command can't be used over SSH. None: all can.
pub fn not_over_ssh(cli: &Cli) -> Option<&'static str> {
    if cli.global.db.is_some() {
        return Some("--db");
    }
    if cli.global.acting_as.is_some() {
        return Some("--as");
    }
    match &cli.verb {
        Verb::Resources(_)
        | Verb::Extend(_)
        | Verb::Edit(_)
        | Verb::List(_)
        | Verb::Show(_)
        | Verb::Deny(_)
        | Verb::Review(_)
        | Verb::Withdraw(_)
        | Verb::Revoke(_)
        | Verb::Recertify(_)
        | Verb::Check(_)
        | Verb::Who(_)
        | Verb::Inbox(_)
        | Verb::Notify(_)
        | Verb::Outbox(_)
        | Verb::Version(_)
        | Verb::Help(_) => None,
        // A file would be one of the host's.
        Verb::Approve(args) => {
            args.signature.as_ref().is_some_and(is_file).then_some("a signature other than - (standard input)")
        }
        // A process that waits would not notice that the client is gone.
        Verb::Request(args) => args.wait.then_some("--wait"),
        Verb::Whoami(args) => args.watch.then_some("--watch"),
        // A file would be one of the host's.
        Verb::Team(args) => match args.file() {
            Some(file) => is_file(file).then_some("a team file other than - (standard input)"),
            None => None,
        },
        Verb::Report(args) if args.csv.is_some() => Some("--csv"),
        Verb::Report(args) => {
            args.html.as_ref().is_some_and(is_file).then_some("a file other than - (standard output)")
        }
        Verb::Audit(args) => args.verb.as_ref().and_then(audit_not_over_ssh),
        Verb::Init(_) => Some("`access init`"),
        Verb::Run(_) => Some("`access run`"),
        Verb::Expire(_) => Some("`access expire`"),
        Verb::Deliver(_) => Some("`access deliver`"),
        Verb::Reconcile(_) => Some("`access reconcile`"),
        Verb::Connector(_) => Some("`access connector`"),
        Verb::Log(_) => Some("`access log`"),
        Verb::Follow(_) => Some("`access follow`"),
        Verb::Pending(_) => Some("`access pending`"),
        Verb::Backup(_) => Some("`access backup`"),
        Verb::Doctor(_) => Some("`access doctor`"),
        Verb::Serve(_) => Some("`access serve`"),
        Verb::Ssh(_) => Some("`access ssh`"),
        Verb::Session(_) => Some("`access session`"),
        Verb::Completions(_) => Some("`access completions`"),
        Verb::Man(_) => Some("`access man`"),
    }
}
