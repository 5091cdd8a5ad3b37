//! What a shared host's server asks the service before a call, or instead of one.

use super::{Clock, REFUSALS_AN_HOUR, now, now_to_write};
use crate::domain::event::{Draft, Event};
use crate::domain::member::Login;
use crate::domain::time::Timestamp;
use crate::error::Failure;
use crate::store::{Context, Error, Read, Store};

/// Whether this is the login of a member who is not disabled.
pub fn is_member(store: &Store, login: &Login) -> Result<bool, Failure> {
    Ok(store.read(|read| -> Result<bool, Error> {
        let Some(name) = read.member_of_login(login)? else { return Ok(false) };
        Ok(read.member(&name)?.is_some_and(|(member, _)| !member.disabled))
    })?)
}

/// Records that the server refused a user, up to a limit per hour.
pub fn record_refused(store: &Store, login: &Login, clock: Clock<'_>, why: &str) -> Result<(), Failure> {
    let os_user = login.to_string();
    let enough = |read: &Read<'_>, now: Timestamp| -> Result<bool, Error> {
        let hour_ago = Timestamp::from_unix((now.unix() - 3600).max(0)).expect("an hour before a time is a time");
        Ok(read.refusals_since(None, &os_user, hour_ago)? >= REFUSALS_AN_HOUR)
    };
    // Checked without the write lock first, so that a flood of attempts blocks nobody.
    if store.read(|read| -> Result<bool, Failure> { Ok(enough(read, now(read, clock)?)?) })? {
        return Ok(());
    }
    store.write(|write| {
        let now = now_to_write(write, clock)?;
        if enough(write, now)? {
            return Ok(());
        }
        let event = Event::AttemptRefused { command: "serve".to_owned(), request: None, why: why.to_owned() };
        let context = Context { now, actor: None, os_user: os_user.clone() };
        Ok(write.record(&context, vec![Draft { event, recipients: Vec::new() }])?)
    })
}
