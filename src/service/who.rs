//! `who`: everyone who can use something now.

use super::request::thing;
use super::{Call, Sink};
use crate::command::{End, HolderView, Reply};
use crate::domain::request::authorize;
use crate::domain::resource::Resource;
use crate::error::Failure;

pub fn who(call: &Call<'_>, resource: &Resource, sink: Sink<'_>) -> Result<End, Failure> {
    let holders = call.ask("who", |read, me, now| {
        authorize::needs_admin(me, "see who has access to something", now)?;
        let thing = thing(read, resource)?;
        let mut holders = Vec::new();
        for name in read.member_names()? {
            let ways = read.person(&name)?.map(|person| person.entitlements(&thing, now)).unwrap_or_default();
            holders.extend(ways.into_iter().map(|way| HolderView { member: name.clone(), way }));
        }
        Ok(holders)
    })?;
    for holder in holders {
        sink(Reply::Holder(holder))?;
    }
    Ok(End::default())
}
