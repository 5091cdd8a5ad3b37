//! Sessions that people open with their access, such as a login with SSH. PAM reports them.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::catalog::CatalogItem;
use super::member::Login;
use super::name::Name;
use super::policy::rule::Rule;
use super::principal::Principal;
use super::resource::Resource;
use super::terms::RequestId;
use super::text::visible;
use super::time::Timestamp;

/// The most sessions of one member that are recorded in an hour.
pub const SESSIONS_AN_HOUR: u64 = 60;
/// The most characters of what another program says about a session.
const LONGEST: usize = 255;

/// A session that was opened. A part of events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenedSession {
    /// None: baseline access.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestId>,
    pub member: Name,
    pub login: Login,
    pub resource: Resource,
    /// The name of the PAM service, such as sshd.
    pub service: String,
    /// The other host, or the terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    #[serde(flatten)]
    pub processes: SessionProcesses,
    /// Where its recording is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording: Option<String>,
    /// Whether more sessions of this member within the hour are not recorded.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub last_in_hour: bool,
}

/// How the processes of a session are found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SessionProcesses {
    /// The process that opened it. Its descendants belong to the session.
    pub pid: i32,
    /// When that process was started, in ticks since the boot.
    pub started: u64,
    /// The ID of the boot.
    pub boot: SmolStr,
    /// The number of the kernel's audit session, if this session has one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit_session: Option<u32>,
    /// Its cgroup, if logind made one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
}

/// The end of a session. A part of events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosedSession {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestId>,
    /// The entry that opened it.
    pub session: i64,
    pub how: SessionEnd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionEnd {
    /// The user closed it.
    Closed,
    /// The reconciler ended it, because the access had ended.
    Ended,
    /// Its process was no longer there.
    Gone,
    /// The host was restarted.
    Restarted,
}

/// A session as the record has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedSession {
    /// The entry that opened it.
    pub seq: i64,
    pub opened: OpenedSession,
    pub at: Timestamp,
    pub closed: Option<(Timestamp, SessionEnd)>,
}

impl SessionEnd {
    pub const ALL: [SessionEnd; 4] = [SessionEnd::Closed, SessionEnd::Ended, SessionEnd::Gone, SessionEnd::Restarted];

    pub fn as_str(self) -> &'static str {
        match self {
            SessionEnd::Closed => "closed",
            SessionEnd::Ended => "ended",
            SessionEnd::Gone => "gone",
            SessionEnd::Restarted => "restarted",
        }
    }

    pub fn in_words(self) -> &'static str {
        match self {
            SessionEnd::Closed => "closed",
            SessionEnd::Ended => "ended with the access",
            SessionEnd::Gone => "over: its process is gone",
            SessionEnd::Restarted => "over: the host was restarted",
        }
    }
}

/// Text from outside on one line, which cannot act on a terminal.
pub fn bounded(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let short: String = line.chars().take(LONGEST).collect();
    visible(&short, false).chars().take(LONGEST).collect()
}

impl Rule {
    /// Whether it says that sessions end with access to this resource. `item`: None if the team no longer has the resource,
    /// and `person`: None if the team no longer has the member. Then what is unknown matches.
    pub fn ends_session(&self, resource: &Resource, item: Option<&CatalogItem>, person: Option<&Principal>) -> bool {
        let patterns = &self.matches.resources;
        let is_about_resource = match item {
            Some(item) => self.matches.names(item),
            None => patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(resource)),
        };
        self.end_sessions && is_about_resource && person.is_none_or(|person| self.matches.is_about(person))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::role::Role;

    #[test]
    fn text_from_outside_is_short_and_does_nothing() {
        assert_eq!(bounded("10.0.0.1"), "10.0.0.1");
        assert_eq!(bounded("a\n\tb  c"), "a b c");
        assert_eq!(bounded(" \n"), "");
        let hostile = bounded(&"\u{1b}[2J\u{202e}".repeat(1 << 18));
        assert!(hostile.len() <= LONGEST && !hostile.contains(char::is_control), "{hostile:?}");
    }

    /// What the team no longer has is unknown: a rule that could be about it ends the session.
    #[test]
    fn a_rule_ends_sessions_with_what_it_is_about_and_with_what_is_unknown() {
        let web = || -> Resource { "feature:web".parse().unwrap() };
        let item = CatalogItem::Feature { name: "web".parse().unwrap(), role: Role::Admin };
        let bob = Principal::gone("bob".parse().unwrap());
        for (matches, known, gone) in [
            ("{}", true, true),
            (r#"{"resources":["feature:w*"]}"#, true, true),
            (r#"{"resources":["feature:x","feature:web"]}"#, true, true),
            (r#"{"resources":["feature:x"]}"#, false, false),
            (r#"{"environments":["production"]}"#, false, true),
            (r#"{"requesters":["member:bob"]}"#, true, true),
            (r#"{"requesters":["member:carol"]}"#, false, true),
            (r#"{"resources":["feature:x"],"requesters":["member:bob"]}"#, false, false),
        ] {
            let rule = |ends: bool| -> Rule {
                serde_json::from_str(&format!(r#"{{"name":"it","end_sessions":{ends},"match":{matches}}}"#)).unwrap()
            };
            assert_eq!(rule(true).ends_session(&web(), Some(&item), Some(&bob)), known, "{matches}");
            assert_eq!(rule(true).ends_session(&web(), None, None), gone, "{matches}, which is gone");
            assert!(!rule(false).ends_session(&web(), Some(&item), Some(&bob)), "{matches}");
        }
    }
}
