//! What a shared host's door asks of the ledger before, and instead of, a command.

use super::{Call, Caller, Clock, REFUSALS_AN_HOUR, team};
use crate::domain::event::{Draft, Event};
use crate::domain::member::Login;
use crate::domain::time::Timestamp;
use crate::error::Failure;
use crate::store::{Context, Error, Read, Store};

/// Whether a team file is worth reading from this caller.
pub fn may_apply_team(store: &Store, caller: &Caller, clock: Clock<'_>) -> Result<(), Failure> {
    team::may_apply(&Call { store, caller, clock })
}

/// Whether this is the login of a member who may do something here.
pub fn is_member(store: &Store, login: &Login) -> Result<bool, Failure> {
    Ok(store.read(|read| -> Result<bool, Error> {
        let Some(name) = read.member_of_login(login)? else { return Ok(false) };
        Ok(read.member(&name)?.is_some_and(|(member, _)| !member.disabled))
    })?)
}

/// Records that a user was refused at the door, up to so many times an hour.
pub fn record_refused(store: &Store, login: &Login, clock: Clock<'_>, why: &str) -> Result<(), Failure> {
    let os_user = login.to_string();
    let caller = Caller { login: login.clone(), root: false, acting_as: None };
    let call = Call { store, caller: &caller, clock };
    let enough = |read: &Read<'_>, now: Timestamp| -> Result<bool, Error> {
        let hour_ago = Timestamp::from_unix((now.unix() - 3600).max(0)).expect("an hour before a time is a time");
        Ok(read.refusals_since(None, &os_user, hour_ago)? >= REFUSALS_AN_HOUR)
    };
    // Asked first without the write lock: whoever knocks on and on holds up nobody.
    if store.read(|read| -> Result<bool, Failure> { Ok(enough(read, call.now(read)?)?) })? {
        return Ok(());
    }
    store.write(|write| {
        let now = call.now_to_write(write)?;
        if enough(write, now)? {
            return Ok(());
        }
        let event = Event::AttemptRefused { command: "serve".to_owned(), request: None, why: why.to_owned() };
        let context = Context { now, actor: None, os_user: os_user.clone() };
        Ok(write.record(&context, vec![Draft { event, recipients: Vec::new() }])?)
    })
}
