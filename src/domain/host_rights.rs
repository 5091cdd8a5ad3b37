//! Which entries each host may append to a shared log.

use super::event::{Because, Entry, Event};
use super::host::{HostPower, Hosts};
use super::name::Name;
use super::team::change::Change;

impl HostPower {
    /// Whether a host with this power may append the entry. The database has the same list (`access.may_ask` in
    /// `log/postgres.sql`), which explains it.
    pub fn may_append(self, entry: &Entry) -> bool {
        let Entry { actor, event, .. } = entry;
        let is_own = |by: &Name| actor.as_ref() == Some(by);
        match (self, event) {
            (HostPower::Decide, _) => true,
            (HostPower::Read, _) => false,
            (HostPower::Ask, Event::RequestSubmitted(submission)) => is_own(&submission.filed_by),
            (HostPower::Ask, Event::RequestEdited(revision)) => is_own(&revision.by),
            (HostPower::Ask, Event::RequestWithdrawn { by, because, .. } | Event::GrantRevoked { by, because, .. }) => {
                let decided = matches!(because, Because::ClockAccepted(_) | Because::NotKept(_));
                by.as_ref().is_some_and(is_own) && !decided
            }
            (HostPower::Ask, Event::PreferenceChanged { member, .. }) => is_own(member),
            (HostPower::Ask, Event::AttemptRefused { .. }) => entry.recipients.is_empty(),
            (
                HostPower::Ask,
                Event::TeamInitialized { .. }
                | Event::TeamApplied { .. }
                | Event::RequestApproved(_)
                | Event::RequestDenied { .. }
                | Event::RequestLapsed { .. }
                | Event::RequestReminded { .. }
                | Event::RequestRejudged { .. }
                | Event::ApprovalsVoided { .. }
                | Event::RequestReviewed { .. }
                | Event::GrantScheduled(_)
                | Event::GrantStarted(_)
                | Event::GrantExpiring { .. }
                | Event::GrantExpired { .. }
                | Event::ClockAccepted { .. }
                | Event::GrantProvisioned(_)
                | Event::GrantDeprovisioned(_)
                | Event::ProvisioningFailed(_)
                | Event::DriftFound(_)
                | Event::DriftResolved(_)
                | Event::DriftOmitted(_)
                | Event::CertificateIssued(_)
                | Event::SessionOpened(_)
                | Event::SessionClosed(_)
                | Event::CheckpointKeyAdded { .. }
                | Event::CheckpointTaken { .. }
                | Event::RecertificationStarted(_)
                | Event::RecertificationDecided(_)
                | Event::RecertificationReminded { .. }
                | Event::RecertificationClosed(_)
                | Event::RecertificationCancelled { .. }
                | Event::Void,
            ) => false,
        }
    }
}

/// Whether the host that an entry names may append it, where the team file names any hosts.
pub fn may_append(hosts: &Hosts, entry: &Entry) -> bool {
    let Some(host) = entry.host.as_deref().filter(|_| !hosts.is_empty()) else { return true };
    let host = host.parse::<Name>().ok().and_then(|name| hosts.get(&name));
    host.is_some_and(|host| host.may.may_append(entry))
}

/// Whether the entry changes which hosts there are, or what they may. What its host appends in the same call is still
/// judged by what it could do before, as removing its own host may have consequences.
pub fn changes_hosts(entry: &Entry) -> bool {
    match &entry.event {
        Event::TeamInitialized { changes } | Event::TeamApplied { changes } => {
            changes.iter().any(|change| matches!(change, Change::Host(..)))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::host::TeamHost;
    use crate::domain::notification::{NotificationKind, Recipient};

    const SQL: &str = include_str!("../log/postgres.sql");

    fn entry(actor: &str, event: &str) -> Entry {
        let text = format!(
            r#"{{"v":3,"seq":1,"host":"desk","nonce":"1","at":"2026-12-01T09:00:00Z","actor":"{actor}","os_user":"u","event":{event}}}"#
        );
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    #[test]
    fn the_database_has_the_same_list() {
        let list = SQL.split("access.may_ask").nth(1).unwrap().split("END, false").next().unwrap();
        let of_sql: Vec<&str> = list.lines().map(str::trim).filter_map(|line| line.strip_prefix("WHEN ")).collect();
        let field = |action: &str, field: &str| format!("'{action}' THEN detail->>'{field}' = actor");
        let details = r#""asked":{"resource":"target:orders-db","end":{"after":"1h"}},"reason":"deploy""#;
        let listed = [
            (
                field("request.submitted", "filed_by"),
                format!(
                    r#"{{"action":"request.submitted","detail":{{"request":1,"requester":"ann","filed_by":"bob",{details},"lapses_at":"2026-12-02T09:00:00Z"}}}}"#
                ),
            ),
            (
                field("request.edited", "by"),
                format!(
                    r#"{{"action":"request.edited","detail":{{"request":1,"by":"bob","from":{{{details}}},"to":{{{details}}},"lapses_at":"2026-12-02T09:00:00Z"}}}}"#
                ),
            ),
            (
                field("request.withdrawn", "by") + " AND NOT decided",
                r#"{"action":"request.withdrawn","detail":{"request":1,"by":"bob","because":"asked"}}"#.to_owned(),
            ),
            (
                field("grant.revoked", "by") + " AND NOT decided",
                r#"{"action":"grant.revoked","detail":{"request":1,"resource":"target:x","by":"bob","because":"asked"}}"#.to_owned(),
            ),
            (
                field("preference.changed", "member"),
                r#"{"action":"preference.changed","detail":{"member":"bob","from":{},"to":{}}}"#.to_owned(),
            ),
        ];
        for (_, event) in &listed {
            assert!(HostPower::Ask.may_append(&entry("bob", event)), "{event}");
            assert!(!HostPower::Ask.may_append(&entry("ann", event)), "{event}");
            assert!(!HostPower::Read.may_append(&entry("bob", event)), "{event}");
        }
        let refused = r#"{"action":"attempt.refused","detail":{"command":"approve","why":"no"}}"#;
        assert!(HostPower::Ask.may_append(&entry("bob", refused)));
        let told = [Recipient("ann".parse().unwrap(), NotificationKind::RequestSubmitted)];
        let told = Entry { recipients: told.into(), first_notification: Some(1), ..entry("bob", refused) };
        assert!(!HostPower::Ask.may_append(&told));
        for (event, because) in
            [(&listed[2].1, r#"{"clock_accepted":"2026-11-01T00:00:00Z"}"#), (&listed[3].1, r#"{"not_kept":"1.1"}"#)]
        {
            let decided = event.replace(r#""asked""#, because);
            assert!(!HostPower::Ask.may_append(&entry("bob", &decided)), "{decided}");
            assert!(HostPower::Decide.may_append(&entry("bob", &decided)), "{decided}");
        }
        let ours = listed
            .map(|(condition, _)| condition)
            .into_iter()
            .chain(["'attempt.refused' THEN NOT p_entry ? 'told'".to_owned()]);
        assert_eq!(of_sql, ours.collect::<Vec<_>>());
        let approved = r#"{"action":"request.denied","detail":{"request":1,"by":"bob"}}"#;
        assert!(!HostPower::Ask.may_append(&entry("bob", approved)));
        assert!(HostPower::Decide.may_append(&entry("bob", approved)));
    }

    #[test]
    fn hosts_count_once_the_team_file_names_any() {
        let refused = entry("bob", r#"{"action":"attempt.refused","detail":{"command":"approve","why":"no"}}"#);
        let hosts = |name: &str| Hosts::from([(name.parse().unwrap(), TeamHost { may: HostPower::Decide })]);
        assert!(may_append(&Hosts::new(), &refused));
        assert!(may_append(&hosts("desk"), &refused));
        assert!(!may_append(&hosts("other"), &refused));
        // Recorded while the log was in a file.
        assert!(may_append(&hosts("other"), &Entry { host: None, ..refused }));
    }

    #[test]
    fn the_hosts_change_with_the_table_of_hosts_alone() {
        let applied = |change: &str| {
            changes_hosts(&entry("bob", &format!(r#"{{"action":"team.applied","detail":{{"changes":[{change}]}}}}"#)))
        };
        let host = r#"{"change":"add","what":"host:desk","from":null,"to":{"may":"read"}}"#;
        let member = r#"{"change":"add","what":"member:zoe","from":null,"to":{"login":"zoe","role":"viewer"}}"#;
        assert!(applied(host) && applied(&format!("{member},{host}")));
        assert!(!applied(member) && !applied(""));
        let event = r#"{"action":"attempt.refused","detail":{"command":"approve","why":"no"}}"#;
        assert!(!changes_hosts(&entry("bob", event)));
    }
}
