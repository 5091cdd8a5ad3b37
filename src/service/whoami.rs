//! `whoami`: the caller's profile.

use super::{Call, Sink};
use crate::command::{COUNTED, End, ProfileView, Reply, RequestView};
use crate::domain::grant::State;
use crate::error::Failure;

pub fn whoami(call: &Call<'_>, sink: Sink<'_>) -> Result<End, Failure> {
    let profile = call.ask("whoami", |read, me, now| {
        let granted = read.requests_granted_to(&me.name)?;
        let unread = read.unread(&me.name)?;
        let live = granted.into_iter().filter(|request| request.state(now) == State::Active);
        Ok(ProfileView {
            role: me.member.role,
            effective_role: me.effective_role(now),
            groups: me.groups.iter().cloned().collect(),
            scopes: me.scopes_held(now),
            grants: live.map(|request| RequestView::at(request, &[], now)).collect(),
            unread: unread.min(COUNTED),
            more_unread: unread > COUNTED,
            member: me.name.clone(),
            now,
        })
    })?;
    sink(Reply::Profile(Box::new(profile)))?;
    Ok(End::default())
}
