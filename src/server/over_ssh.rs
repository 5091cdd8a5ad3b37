//! A command that a member gives over SSH. sshd has verified the member's key and runs this program, by a forced command, as the
//! user who owns the database. Nobody else can open the file, so nobody else can act as a member in this way.

use std::fs::File;
use std::thread;
use std::time::Duration;

use nix::unistd::geteuid;

use super::{USER, connection, open, outside_of_members, process};
use crate::config;
use crate::config::Shared;
use crate::domain::audit::{GENESIS, link};
use crate::domain::member::Member;
use crate::domain::name::Name;
use crate::domain::ssh_key::KeyFingerprint;
use crate::error::{Failure, Kind};
use crate::identity;
use crate::protocol::AsOfLast;
use crate::service::{self, ActingAs, Call, Caller, Callers, Rows, Service};
use crate::store::{self, Store};

/// The longest that a command may take: an hour.
const COMMAND_WITHIN: Duration = Duration::from_secs(3600);

pub struct OverSsh {
    pub shared: Shared,
    store: Store,
    caller: Caller,
    as_of: AsOfLast,
    /// Holds the lock that is the member's place. It is released when it is closed.
    _place: File,
}

impl OverSsh {
    /// `member`, `key`: from the line that sshd was given for the key.
    pub fn begin(member: Name, key: KeyFingerprint) -> Result<(OverSsh, Member), Failure> {
        identity::refuse_setid()?;
        let shared = config::shared()?.ok_or_else(connection::no_shared_host)?;
        if process::owner(&shared.database)?.uid != geteuid() {
            return Err(Failure::new(Kind::Refused, "sshd starts this, as the user who owns the database")
                .hint(format!("give commands as the user {USER}: ssh {USER}@HOST whoami")));
        }
        process::harden()?;
        end_in_time();
        let place = store::open_private(&connection::beside(&shared.database))?;
        if !connection::take_place(&place, first_place(&member), connection::PLACES) {
            let message = format!("{member} has {} commands at once already; nothing was done", connection::PLACES);
            return Err(Failure::new(Kind::Busy, message).hint("try again"));
        }
        let caller = Caller { login: identity::login()?, root: false, acting_as: ActingAs::KeyHolder(member, key) };
        let store = open(&shared.database)?;
        let over_ssh = OverSsh { shared, store, caller, as_of: AsOfLast::default(), _place: place };
        let member = over_ssh.serve(service::key_holder)?;
        Ok((over_ssh, member))
    }

    /// Keeps what the last answer knew here.
    #[must_use]
    pub fn noting(self, as_of: AsOfLast) -> OverSsh {
        OverSsh { as_of, ..self }
    }

    fn serve<T>(&self, work: impl FnOnce(&Service<'_>) -> T) -> T {
        let outside = outside_of_members();
        work(&Service { store: &self.store, caller: &self.caller, clock: &identity::clock_of, outside: &outside })
    }

    /// Makes a call as the server does for a connection.
    pub fn call<C: Call>(&self, call: C, rows: Rows<'_, C::Row>) -> Result<C::Reply, Failure> {
        match C::CALLERS {
            Callers::Members | Callers::MembersAndRoot | Callers::MembersAndKeepers => {}
            Callers::Keepers | Callers::Reconciler => return Err(self.refuse(C::NAME)),
        }
        let reply = self.serve(|service| call.carry_out(service, rows))?;
        self.as_of.set(service::as_of(&self.store, &identity::clocks)?);
        Ok(reply)
    }

    /// Refuses what is not for use over SSH, on the record.
    pub fn refuse(&self, what: &str) -> Failure {
        self.serve(|service| service::refuse_over_ssh(service, what))
    }
}

/// Where the places of a member begin, above all others. Members who share some share their number.
fn first_place(member: &Name) -> i64 {
    let digest = link(&GENESIS, member.as_str().as_bytes());
    let number = digest.iter().take(5).fold(0, |number, byte| number << 8 | i64::from(*byte));
    connection::PLACES_OF_KEY_HOLDERS + number * i64::from(connection::PLACES)
}

/// Ends the process if its client neither reads on nor goes away. What is not committed is rolled back.
fn end_in_time() {
    let ends = thread::Builder::new().stack_size(64 << 10).spawn(|| {
        thread::sleep(COMMAND_WITHIN);
        std::process::exit(Kind::Busy.exit_code().into());
    });
    // Without it, the command runs as it would in a shell.
    drop(ends);
}
