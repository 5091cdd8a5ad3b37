//! `access ssh`: access for sshd.

mod cert;
mod command;
mod keys;
pub mod words;

use anyhow::Result;
use clap::{Args, Subcommand};
use clap_complete::engine::ArgValueCandidates;

pub use command::{QUOTE_TWICE, not_over_ssh};

use super::Run;
use super::app::App;
use crate::completion;
use crate::domain::member::Login;
use crate::domain::resource::Resource;
use crate::service::Principals;

/// Let people log in with SSH while they have access, and give commands over it
#[derive(Debug, Args)]
pub struct SshArgs {
    #[command(subcommand)]
    verb: SshVerb,
}

#[derive(Debug, Subcommand)]
enum SshVerb {
    Principals(PrincipalsArgs),
    Cert(cert::CertArgs),
    Keys(keys::KeysArgs),
    Command(command::CommandArgs),
}

/// Print the certificate principals that may log in as this Unix user now (root and admins)
#[derive(Debug, Args)]
#[command(
    after_help = "For AuthorizedPrincipalsCommand of sshd, on a host that trusts the certificates of a CA. There is one line \
for each connection and target that the member may use now, such as bob:target:orders-db. With --for the lines are bob and \
bob:target:orders-db if the member may use that resource, and none otherwise.

Name with --for the resource that the host is. Without it, a certificate for any resource of the member would open the host.
Exit 0: there are principals; 1: there are none.

Example:
  access ssh principals --for target:orders-db -- bob"
)]
pub struct PrincipalsArgs {
    /// Only if the member may use this connection or target
    #[arg(long = "for", value_name = "RESOURCE", add = ArgValueCandidates::new(completion::resources))]
    pub resource: Option<Resource>,
    /// A Unix user name
    #[arg(value_name = "LOGIN")]
    pub login: Login,
}

impl Run for SshArgs {
    fn run(self, app: &mut App) -> Result<u8> {
        match self.verb {
            SshVerb::Principals(args) => args.run(app),
            SshVerb::Cert(args) => args.run(app),
            SshVerb::Keys(args) => args.run(app),
            SshVerb::Command(args) => args.run(),
        }
    }

    fn changes(&self) -> bool {
        // The certificate is on the record.
        matches!(self.verb, SshVerb::Cert(_))
    }
}

impl PrincipalsArgs {
    fn run(self, app: &mut App) -> Result<u8> {
        let PrincipalsArgs { resource, login } = self;
        // A certificate of this person opens the host that is named, and no other.
        let mut principals: Vec<String> = resource.iter().map(|_| login.to_string()).collect();
        let of_the_person = principals.len();
        let call = Principals { login: login.clone(), resource };
        app.backend()?.call(call, &mut |resource| {
            principals.push(format!("{login}:{resource}"));
            Ok(())
        })?;
        if principals.len() == of_the_person {
            principals.clear();
        }
        app.printer.object(&principals, |sheet| principals.iter().for_each(|principal| sheet.line(principal)))?;
        Ok(u8::from(principals.is_empty()))
    }
}
