//! `access session`: PAM reports the sessions that people open and close.

use std::ffi::{OsStr, OsString};

use anyhow::Result;
use clap::{Args, Subcommand};
use clap_complete::engine::ArgValueCandidates;
use nix::sys::resource::{RLIM_INFINITY, Resource as Limit, setrlimit};

use super::Run;
use super::app::App;
use crate::completion;
use crate::domain::member::Login;
use crate::domain::resource::Resource;
use crate::protocol::SessionRecord;
use crate::provisioning::{ReportedSession, close_session, open_session};

/// Record the sessions that people open with their access (for PAM)
#[derive(Debug, Args)]
#[command(
    after_help = "PAM runs this as root, by the recipe pam-session. The process above it opens or closes the session. \
`access show` lists the sessions of a request. `access reconcile --fix` ends those whose access is over, if a binding or a rule \
of the resource has end_sessions = true."
)]
pub struct SessionArgs {
    #[command(subcommand)]
    verb: SessionVerb,
}

#[derive(Debug, Subcommand)]
enum SessionVerb {
    Opened(SessionOpenedArgs),
    Closed(SessionClosedArgs),
}

/// Record that a login opened a session. Nothing is recorded if it has no access (root)
#[derive(Debug, Args)]
#[command(after_help = "Of one member, 60 sessions in an hour are recorded. More than that are ended as well.

Example:
  access session opened --for target:orders-db --service sshd --login=bob")]
pub struct SessionOpenedArgs {
    /// The resource that this host, or the command, is
    #[arg(long = "for", value_name = "RESOURCE", add = ArgValueCandidates::new(completion::resources))]
    pub resource: Resource,
    /// The Unix user who has the access
    #[arg(long, value_name = "LOGIN")]
    pub login: Login,
    /// The PAM service, such as sshd
    #[arg(long, value_name = "NAME")]
    pub service: OsString,
    /// The other host, or the terminal
    #[arg(long, value_name = "WHERE", default_value = "", hide_default_value = true)]
    pub from: OsString,
    /// It is a part of another session of the same user, as with su and sudo
    #[arg(long)]
    pub inside: bool,
    /// Where its recording is; {login}, {request} and {pid} are replaced
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub recording: String,
}

/// Record that the session is closed (root)
#[derive(Debug, Args)]
pub struct SessionClosedArgs {}

impl Run for SessionArgs {
    fn run(self, app: &mut App) -> Result<u8> {
        lift_limits();
        let backend = app.backend.get()?;
        match self.verb {
            SessionVerb::Opened(args) => {
                let SessionOpenedArgs { resource, login, service, from, inside, recording } = args;
                // A session must be recorded even if a name is not valid UTF-8.
                let text = |text: &OsStr| text.to_string_lossy().into_owned();
                let (service, from) = (text(&service), text(&from));
                let reported = ReportedSession { login, resource, service, from, recording, inside };
                let record = open_session(backend, reported)?;
                if record == SessionRecord::TooMany {
                    app.printer.warn("too many sessions of this member in the last hour: this one is not recorded");
                }
                let text = match record {
                    SessionRecord::NoAccess => "No access, so nothing is recorded".to_owned(),
                    SessionRecord::Recorded { seq } => format!("Recorded as entry {seq}"),
                    SessionRecord::TooMany => "Not recorded".to_owned(),
                };
                app.printer.object(&record, |sheet| sheet.line(&text))?;
            }
            SessionVerb::Closed(SessionClosedArgs {}) => {
                let count = close_session(backend)?;
                app.printer.object(&count, |sheet| sheet.line(&format!("Closed: {count}")))?;
            }
        }
        Ok(0)
    }

    fn changes(&self) -> bool {
        true
    }
}

/// su and sudo run this with the limits of the caller, with which it could not write the journal. Only root may lift them.
fn lift_limits() {
    for limit in [Limit::RLIMIT_FSIZE, Limit::RLIMIT_CPU, Limit::RLIMIT_DATA, Limit::RLIMIT_AS] {
        let _ = setrlimit(limit, RLIM_INFINITY, RLIM_INFINITY);
    }
}
