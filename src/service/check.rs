//! `check`: may this member use this now? Never writes.

use super::request::thing;
use super::{Call, Problem, Sink, member};
use crate::command::{CheckView, End, Reply};
use crate::domain::member::Login;
use crate::domain::name::Name;
use crate::domain::refusal::{CallerRefusal, Refusal};
use crate::domain::request::authorize;
use crate::domain::resource::Resource;
use crate::domain::time::Timestamp;
use crate::error::Failure;
use crate::store::Read;

pub fn check(
    call: &Call<'_>,
    resource: Resource,
    user: Option<Name>,
    login: Option<&Login>,
    sink: Sink<'_>,
) -> Result<End, Failure> {
    let checked = call.store.read(|read| {
        let now = call.now(read)?;
        let user = match login {
            Some(login) => Some(of_login(call, read, login, now)?),
            None => user,
        };
        let (person, own) = match user {
            // Root looks after the machine, and need not be a member.
            Some(name) if call.caller.root => (member(read, &name)?, false),
            Some(name) => {
                let me = call.actor(read)?;
                if name == me.name {
                    (me, true)
                } else {
                    authorize::needs_admin(&me, "check somebody else's access", now)?;
                    (member(read, &name)?, false)
                }
            }
            None => (call.actor(read)?, true),
        };
        // A disabled member holds nothing, and does not learn what exists.
        let disabled = own && person.is_disabled();
        let because = if disabled { Vec::new() } else { person.entitlements(&thing(read, &resource)?, now) };
        let may_wait = because.is_empty() && !disabled;
        let pending = if may_wait { read.pending_request(&person.name, &resource, now)? } else { None };
        Ok(CheckView {
            allowed: !because.is_empty(),
            member: person.name,
            resource,
            because,
            pending: pending.map(|request| request.id),
            now,
        })
    });
    let view = checked.map_err(Problem::unrecorded)?;
    let no = !view.allowed;
    sink(Reply::Check(view))?;
    Ok(End { no, ..End::default() })
}

/// The member of a Unix user name. Only for those who may ask about others: nobody else learns who is whom.
fn of_login(call: &Call<'_>, read: &Read<'_>, login: &Login, now: Timestamp) -> Result<Name, Problem> {
    if !call.caller.root {
        authorize::needs_admin(&call.actor(read)?, "check access by a Unix user name", now)?;
    }
    Ok(read
        .member_of_login(login)?
        .ok_or_else(|| Refusal::from(CallerRefusal::NoMember { login: login.to_string() }))?)
}
