//! Sessions that were opened with access.

use serde::{Deserialize, Serialize};

use crate::domain::member::Login;
use crate::domain::resource::Resource;
use crate::domain::session::{RecordedSession, SessionEnd, SessionProcesses};
use crate::domain::time::Timestamp;

/// A session, as `show` has it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SessionView {
    /// The entry that opened it.
    pub seq: i64,
    pub login: Login,
    pub resource: Resource,
    pub service: String,
    pub from: Option<String>,
    pub opened_at: Timestamp,
    /// None: it is open.
    pub closed_at: Option<Timestamp>,
    /// How it ended.
    pub how: Option<SessionEnd>,
    pub recording: Option<String>,
}

impl From<RecordedSession> for SessionView {
    fn from(session: RecordedSession) -> SessionView {
        let RecordedSession { seq, opened, at, closed } = session;
        SessionView {
            seq,
            login: opened.login,
            resource: opened.resource,
            service: opened.service,
            from: opened.from,
            opened_at: at,
            closed_at: closed.map(|(at, _)| at),
            how: closed.map(|(_, how)| how),
            recording: opened.recording,
        }
    }
}

/// A session that nobody closed, for the reconciler.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OpenSessionView {
    pub seq: i64,
    pub login: Login,
    pub resource: Resource,
    pub processes: SessionProcesses,
}

/// A session that is over.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OverSession {
    /// The entry that opened it. Another log, such as a restored one, may have another session there.
    pub seq: i64,
    pub processes: SessionProcesses,
    pub how: SessionEnd,
}

/// What to do about a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionVerdict {
    /// Its login has access, until this time. None: permanently.
    Live { until: Option<Timestamp> },
    /// Access is over, and nothing says that sessions end with it.
    Left,
    /// Access is over, and the session has to end.
    End,
}

/// What came of an attempt to record a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionRecord {
    /// The login has no access, so the session is not recorded.
    NoAccess,
    Recorded {
        seq: i64,
    },
    /// There were too many in the last hour.
    TooMany,
}
