//! `revoke --wait`: which hosts of a shared log do not know a change yet.

use serde::{Deserialize, Serialize};

use super::shared_log::{offline_for, unanswered};
use super::{Call, Never, Problem, Rows, Service};
use crate::domain::terms::RequestId;
use crate::domain::time::Timestamp;
use crate::error::Failure;
use crate::log::HostState;
use crate::protocol::HostBehindView;

/// How much later than the database noted it a host may have had its last contact, in milliseconds: a contact is noted once
/// a second, and its answer may take 4 seconds.
const SLACK: i64 = 5_000;

/// The hosts that do not know this entry yet, and may still allow what it revokes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HostsBehind {
    pub seq: i64,
    /// What was revoked.
    pub requests: Vec<RequestId>,
}

impl Call for HostsBehind {
    const NAME: &'static str = "HostsBehind";

    type Row = Never;
    type Reply = Vec<HostBehindView>;

    fn carry_out(self, service: &Service<'_>, _: Rows<'_, Never>) -> Result<Vec<HostBehindView>, Failure> {
        let HostsBehind { seq, requests } = self;
        let limit = service.ask("revoke", |read, _, _| -> Result<Option<i64>, Problem> {
            if read.replica()?.is_none() {
                return Ok(None);
            }
            let mut limit = 0;
            for id in requests {
                let granted = read.request(id)?.and_then(|request| request.grant);
                let Some(grant) = granted else { continue };
                if let Some(item) = read.catalog_item(&grant.terms.resource)? {
                    limit = limit.max(offline_for(read, &item)?);
                }
            }
            Ok(Some(limit))
        })?;
        let Some(limit) = limit else { return Ok(Vec::new()) };
        let (contacted, hosts) = service.store.engine_state().map_err(unanswered)?;
        let now = contacted.state().now;
        Ok(hosts.iter().filter_map(|host| behind(host, seq, limit, now)).collect())
    }
}

fn behind(host: &HostState, seq: i64, limit: i64, now: i64) -> Option<HostBehindView> {
    // A host that never made contact has no copy.
    let (seen_seq, seen_at) = (host.seen_seq?, host.seen_at?);
    let denies_by = seen_at + limit + SLACK;
    if host.retired || seen_seq >= seq || denies_by < now {
        return None;
    }
    // Rounded up.
    let denies_by = Timestamp::from_unix((denies_by + 999) / 1000).ok()?;
    Some(HostBehindView { host: host.host.clone(), denies_by })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_behind_while_it_may_still_allow_what_it_does_not_know() {
        let host = |seen_seq, seen_at, retired| HostState {
            host: "h".to_owned(),
            may: "decide".to_owned(),
            seen_seq,
            seen_at,
            format: Some(3),
            retired,
        };
        let (now, limit) = (1_800_000_000_000, 300_000);
        let recently = Some(now - 1_000);
        let denies = |host| behind(&host, 7, limit, now).map(|view| view.denies_by.unix());
        assert_eq!(denies(host(Some(6), recently, false)), Some((now - 1_000 + limit + SLACK) / 1000));
        assert_eq!(denies(host(Some(7), recently, false)), None);
        assert_eq!(denies(host(Some(6), recently, true)), None, "retired");
        assert_eq!(denies(host(None, None, false)), None, "it has no copy");
        assert_eq!(denies(host(Some(6), Some(now - limit - SLACK - 1), false)), None, "it denies already");
        assert!(denies(host(Some(6), Some(now - limit - SLACK), false)).is_some());
    }
}
