//! The sessions that people open with their access: PAM reports them, and the reconciler ends them.

use serde::{Deserialize, Serialize};

use super::policy_context::PolicyContext;
use super::shared_log::recorded_elsewhere;
use super::{Call, Callers, Never, Rows, Service};
use crate::domain::binding::Binding;
use crate::domain::entitlement::longest;
use crate::domain::event::{Draft, Event};
use crate::domain::member::Login;
use crate::domain::policy::rule::Rule;
use crate::domain::resource::Resource;
use crate::domain::session::{ClosedSession, OpenedSession, SESSIONS_AN_HOUR, SessionProcesses, bounded};
use crate::domain::time::Timestamp;
use crate::error::Failure;
use crate::protocol::{OpenSessionView, OverSession, SessionRecord, SessionVerdict};
use crate::store::{Error, Read, Write};

/// Records that a login opened a session, if it has access to the resource.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OpenSession {
    pub login: Login,
    pub resource: Resource,
    pub service: String,
    pub from: String,
    pub processes: SessionProcesses,
    /// Where its recording is, with {login}, {request} and {pid}. Empty: nowhere.
    pub recording: String,
}

impl Call for OpenSession {
    const NAME: &'static str = "OpenSession";
    const CALLERS: Callers = Callers::Reconciler;
    type Row = Never;
    type Reply = SessionRecord;

    fn carry_out(self, service: &Service<'_>, _: Rows<'_, Never>) -> Result<SessionRecord, Failure> {
        service.store.write(|write| {
            let now = service.now_to_write(write)?;
            let Some(mut opened) = self.opened(write, now)? else { return Ok(SessionRecord::NoAccess) };
            let hour_ago = Timestamp::from_unix((now.unix() - 3600).max(0)).unwrap_or(now);
            let before = write.sessions_since(&opened.member, hour_ago)?;
            if before >= SESSIONS_AN_HOUR {
                return Ok(SessionRecord::TooMany);
            }
            opened.last_in_hour = before + 1 == SESSIONS_AN_HOUR;
            let event = Event::SessionOpened(opened);
            write.record(&service.context(None, now), vec![Draft { event, recipients: Vec::new() }])?;
            Ok(SessionRecord::Recorded { seq: write.head()?.seq })
        })
    }
}

impl OpenSession {
    /// The session as it is recorded. None: the login has no access.
    fn opened(self, write: &Write<'_>, now: Timestamp) -> Result<Option<OpenedSession>, Error> {
        let OpenSession { login, resource, service, from, processes, recording } = self;
        let Some(member) = write.member_of_login(&login)? else { return Ok(None) };
        let (Some(principal), Some(item)) = (write.principal(&member)?, write.catalog_item(&resource)?) else {
            return Ok(None);
        };
        let ways = principal.entitlements(&item, now);
        let Some(longest) = longest(&ways) else { return Ok(None) };
        // Without the grant the access would be the same.
        let is_baseline = ways.iter().any(|way| way.request.is_none());
        let request = longest.request.filter(|_| !is_baseline);
        let text = |text: String| Some(bounded(&text)).filter(|text| !text.is_empty());
        let number = request.map_or_else(|| "none".to_owned(), |request| request.to_string());
        let recording = recording
            .replace("{login}", login.as_str())
            .replace("{request}", &number)
            .replace("{pid}", &processes.pid.to_string());
        Ok(Some(OpenedSession {
            request,
            member,
            login,
            resource,
            service: text(service).unwrap_or_else(|| "unknown".to_owned()),
            from: text(from),
            processes,
            recording: text(recording),
            last_in_hour: false,
        }))
    }
}

/// The sessions on record that nobody closed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OpenSessions {}

impl Call for OpenSessions {
    const NAME: &'static str = "OpenSessions";
    const CALLERS: Callers = Callers::Reconciler;
    type Row = OpenSessionView;
    type Reply = ();

    fn carry_out(self, service: &Service<'_>, rows: Rows<'_, OpenSessionView>) -> Result<(), Failure> {
        for session in service.store.read(|read| read.open_sessions())? {
            let OpenedSession { login, resource, processes, .. } = session.opened;
            rows(OpenSessionView { seq: session.seq, login, resource, processes })?;
        }
        Ok(())
    }
}

/// Whether these sessions may go on: a verdict for each.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JudgeSessions {
    pub sessions: Vec<(Login, Resource)>,
}

impl Call for JudgeSessions {
    const NAME: &'static str = "JudgeSessions";
    const CALLERS: Callers = Callers::Reconciler;
    type Row = Never;
    type Reply = Vec<SessionVerdict>;

    fn carry_out(self, service: &Service<'_>, _: Rows<'_, Never>) -> Result<Vec<SessionVerdict>, Failure> {
        service.store.read(|read| {
            let now = service.now(read)?;
            let policy = PolicyContext::default();
            let team = Says { bindings: read.bindings()?, rules: read.rules()? };
            let verdict = |(login, resource): &(Login, Resource)| team.verdict(read, &policy, login, resource, now);
            Ok(self.sessions.iter().map(verdict).collect::<Result<_, Error>>()?)
        })
    }
}

/// What the team says of the ends of sessions.
struct Says {
    bindings: Vec<Binding>,
    rules: Vec<Rule>,
}

impl Says {
    fn verdict(
        &self,
        read: &Read<'_>,
        policy: &PolicyContext,
        login: &Login,
        resource: &Resource,
        now: Timestamp,
    ) -> Result<SessionVerdict, Error> {
        let item = read.catalog_item(resource)?;
        let person = match read.member_of_login(login)? {
            Some(member) => policy.principal(read, &member)?,
            None => None,
        };
        if let (Some(item), Some(person)) = (&item, &person)
            && let Some(longest) = longest(&person.entitlements(item, now))
        {
            return Ok(SessionVerdict::Live { until: longest.until });
        }
        let by_binding = self.bindings.iter().any(|binding| binding.end_sessions && binding.resource == *resource);
        let ends =
            by_binding || self.rules.iter().any(|rule| rule.ends_session(resource, item.as_ref(), person.as_deref()));
        Ok(if ends { SessionVerdict::End } else { SessionVerdict::Left })
    }
}

/// Records how sessions ended. One that is not open on the record is left out: the database may have been restored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CloseSessions {
    pub sessions: Vec<OverSession>,
}

impl Call for CloseSessions {
    const NAME: &'static str = "CloseSessions";
    const CALLERS: Callers = Callers::Reconciler;
    type Row = Never;
    type Reply = ();

    fn carry_out(self, service: &Service<'_>, _: Rows<'_, Never>) -> Result<(), Failure> {
        service
            .store
            .write(|write| {
                let now = service.now_to_write(write)?;
                for OverSession { seq: session, processes, how } in self.sessions {
                    let open = write.open_session(session)?.filter(|open| open.opened.processes == processes);
                    let Some(open) = open else { continue };
                    let event = Event::SessionClosed(ClosedSession { request: open.opened.request, session, how });
                    write.record(&service.context(None, now), vec![Draft { event, recipients: Vec::new() }])?;
                }
                Ok(())
            })
            .map_err(recorded_elsewhere)
    }
}
