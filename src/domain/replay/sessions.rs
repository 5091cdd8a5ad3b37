//! Replays the sessions that people opened with their access.

use super::provisioning::by_nobody;
use super::{EntryContext, Fault, Model};
use crate::domain::session::{ClosedSession, OpenedSession, RecordedSession};

impl Model {
    pub(super) fn open_session(&mut self, context: EntryContext<'_>, opened: OpenedSession) -> Result<(), Fault> {
        let checked = self.check_session(context, &opened);
        let EntryContext { seq, at, .. } = context;
        self.sessions.begun.push(seq);
        self.sessions.open.insert(seq, RecordedSession { seq, opened, at, closed: None });
        checked
    }

    pub(super) fn close_session(&mut self, context: EntryContext<'_>, closed: &ClosedSession) -> Result<(), Fault> {
        let ClosedSession { request, session, how } = closed;
        let Some(mut row) = self.sessions.open.remove(session) else {
            return Err(format!("the session of entry {session} is closed, which was not open"));
        };
        row.closed = Some((context.at, *how));
        let is_same = row.opened.request == *request;
        self.sessions.closed.push(row);
        if !is_same {
            return Err(format!("the session of entry {session} is closed as one of another request"));
        }
        by_nobody(context)
    }

    /// It is recorded by root, of the member with this login, and under a grant that is live.
    fn check_session(&self, context: EntryContext<'_>, opened: &OpenedSession) -> Result<(), Fault> {
        by_nobody(context)?;
        let OpenedSession { request, member, login, .. } = opened;
        if self.login_of(member) != Some(login) {
            return Err(format!("{login}, who opens a session, is not the Unix user that {member} has"));
        }
        let Some(id) = request else { return Ok(()) };
        let grant = self.requests.get(id).and_then(|request| request.grant.as_ref());
        match grant.filter(|grant| grant.is_live(context.at)) {
            None => Err(format!("{member} opens a session under grant {id}, which is not live")),
            Some(grant) if grant.member != *member => {
                Err(format!("{member} opens a session under grant {id}, which is of another member"))
            }
            Some(_) => Ok(()),
        }
    }
}
