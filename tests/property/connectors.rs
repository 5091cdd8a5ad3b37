//! What connectors should give, by the model, and a reconciler that sometimes fails.

use std::collections::{BTreeMap, BTreeSet};

use access::domain::provisioning::{Drift, ProvisioningOutcome};
use access::error::Kind;
use access::protocol::{DesiredView, DriftView, OutcomeView, RecordedState};
use access::service::{DesiredAccess, IssueCertificate, RecordProvisioning, RevokedCertificates};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::{Checked, Run};
use crate::model::{Asked, Happened, Model};
use crate::team::{ADMIN, EVER, RESOURCES, role};

/// A login, what it holds, the requests that give it, and until when.
type Held = (String, String, Vec<i64>, i64);

impl Model {
    /// Whether a live grant by itself opens something to its member, and not the team file for the same reason.
    fn gives(&self, asked: &Asked, resource: &str) -> bool {
        let (who, granted, team) = (asked.requester, asked.table.resource, &self.team);
        let (kind, name) = resource.split_once(':').unwrap();
        let level = granted.strip_prefix("role:").map(role);
        let raises = |least: usize| level.is_some_and(|level| level >= least) && team.base(who) < least;
        let raises_to_scope = |scope: &str| {
            let by_file = |assignee: &&str| match assignee.split_once(':').unwrap() {
                ("group", _) => team.backend.contains(who),
                ("member", name) => name == who,
                (_, least) => team.base(who) >= role(least),
            };
            let by_role = |assignee: &&str| assignee.strip_prefix("role:").is_some_and(|least| raises(role(least)));
            !team.scopes[scope].iter().any(by_file) && team.scopes[scope].iter().any(by_role)
        };
        let inside = match kind {
            "role" => level.is_some_and(|level| level >= role(name)),
            "feature" => raises(team.features[name]),
            "scope" => raises(ADMIN) || raises_to_scope(name),
            _ => {
                let mut covering = team.scopes.keys().filter(|scope| team.covers(scope, resource));
                let whole = granted.strip_prefix("connection:");
                raises(ADMIN)
                    || covering.any(|scope| raises_to_scope(scope))
                    || granted.strip_prefix("scope:").is_some_and(|scope| team.covers(scope, resource))
                    || kind == "target" && whole.is_some_and(|whole| team.targets[name].contains(whole))
            }
        };
        granted == resource || inside
    }

    /// When the last live grant ends that gives something to a login.
    fn live_end(&self, login: &str, resource: &str, now: i64) -> i64 {
        let (who, _) = self.team.members.iter().find(|(_, member)| member.login == login).unwrap();
        let theirs = self.requests.iter().filter(|asked| asked.requester == *who && asked.live(now));
        theirs.filter(|asked| self.gives(asked, resource)).map(|asked| asked.ends).max().unwrap()
    }

    /// The end of access, where grants that begin later go on from it without a gap.
    fn end_with_those_that_follow(&self, who: &str, resource: &str, until: i64, now: i64) -> i64 {
        let later = self.requests.iter().filter(|asked| asked.requester == who && asked.given(now));
        let later: Vec<&Asked> = later.filter(|asked| asked.starts > now && self.gives(asked, resource)).collect();
        let mut until = until;
        while let Some(next) = later.iter().find(|asked| asked.starts <= until && asked.ends > until) {
            until = next.ends;
        }
        until
    }

    /// Every resource is bound; features also for those who have them by their role.
    fn held(&self, now: i64) -> Vec<Held> {
        let mut held = Vec::new();
        for (who, member) in self.team.members.iter().filter(|(_, member)| !member.disabled) {
            for resource in RESOURCES.into_iter().filter(|it| self.team.has(it) && *it != "role:owner") {
                let theirs =
                    self.requests.iter().zip(1..).filter(|(asked, _)| asked.requester == *who && asked.live(now));
                let given: Vec<(&Asked, i64)> = theirs.filter(|(asked, _)| self.gives(asked, resource)).collect();
                let requests: Vec<i64> = given.iter().map(|(_, id)| *id).collect();
                let until = given.iter().map(|(asked, _)| asked.ends).max();
                let until = until.map(|until| self.end_with_those_that_follow(who, resource, until, now));
                if let Some(until) = until {
                    held.push((member.login.to_owned(), format!("what={resource}"), requests.clone(), until));
                }
                if let Some(feature) = resource.strip_prefix("feature:") {
                    let by_role = (member.role >= self.team.features[feature]).then_some(EVER);
                    let until = by_role.into_iter().chain(until).max();
                    held.extend(
                        until.map(|until| (member.login.to_owned(), format!("base={resource}"), requests, until)),
                    );
                }
            }
        }
        held.sort();
        held
    }
}

impl Run<'_> {
    /// One of those who hold something by a grant gets a certificate for it. The list of revoked certificates has those whose
    /// grants no longer give what they say.
    fn certify(&mut self, rows: &[DesiredView], number: usize) -> Checked {
        let now = self.now();
        let what = |row: &DesiredView| {
            let what = access::domain::binding::written(&row.holding.parameters);
            what.strip_prefix("what=").map(str::to_owned)
        };
        let revoked = self.answer("root", RevokedCertificates { known: None });
        let revoked = revoked.map_err(|kind| TestCaseError::fail(format!("what is revoked gave {kind:?}")))?.serials;
        for certificate in self.certificates.iter().filter(|certificate| certificate.until.unix() > now) {
            let gives = |row: &DesiredView| {
                row.holding.login == certificate.login
                    && what(row) == Some(certificate.resource.to_string())
                    && row.requests.contains(&certificate.request)
            };
            let backed = rows.iter().any(gives);
            let on_it = revoked.contains(&certificate.serial);
            // One that is not backed revokes others of its request.
            prop_assert!(backed || on_it, "the certificate {certificate:?} is not on the list");
            let all = self.certificates.iter().filter(|other| other.serial == certificate.serial);
            let alone = all.count() == 1;
            prop_assert!(!backed || !on_it || !alone, "the certificate {certificate:?} is on the list");
        }
        let by_grant: Vec<&DesiredView> =
            rows.iter().filter(|row| !row.requests.is_empty() && what(row).is_some()).collect();
        let Some(row) = (!by_grant.is_empty()).then(|| by_grant[number % by_grant.len()]) else { return Ok(()) };
        let resource = what(row).unwrap().parse().unwrap();
        let key = "SHA256:KIH+LzaoZhmZrFQvBG95c/RYldddvcc9rBen8sqTLLU".parse().unwrap();
        let issue =
            IssueCertificate { login: row.holding.login.clone(), resource, key, longest: "1h".parse().unwrap() };
        let issued = self.answer("root", issue);
        // So many within an hour.
        if issued == Err(Kind::Refused) && self.certificates.len() >= 60 {
            return Ok(());
        }
        let issued = issued.map_err(|kind| TestCaseError::fail(format!("a certificate gave {kind:?}")))?;
        prop_assert!(row.requests.contains(&issued.request), "{issued:?} is not for {row:?}");
        let end = self.model.live_end(row.holding.login.as_str(), &issued.resource.to_string(), now);
        prop_assert_eq!(issued.until.unix(), end.min(now + 3600));
        self.model.last = now;
        let request = issued.request.get();
        self.certificates.push(issued);
        self.recorded(vec![("certificate.issued", Some(request))])
    }

    /// The program and the model agree on what everybody should hold. Then a reconciler gives and takes it.
    pub fn reconcile(&mut self, number: usize) -> Checked {
        let asked = self.list("root", DesiredAccess { known: self.position.clone() });
        let (state, rows) = asked.map_err(|kind| TestCaseError::fail(format!("what is desired gave {kind:?}")))?;
        prop_assert!(state.continues, "the log does not continue");
        let now = self.now();
        let mut desired = Vec::new();
        for row in &rows {
            let what = access::domain::binding::written(&row.holding.parameters);
            let requests = row.requests.iter().map(|id| id.get()).collect();
            let until = row.until.map_or(EVER, |until| until.unix());
            desired.push((row.holding.login.to_string(), what, requests, until));
        }
        desired.sort();
        prop_assert_eq!(desired, self.model.held(now), "at {}", super::time(now));
        if self.is_clock_wrong() {
            return Ok(());
        }

        self.certify(&rows, number)?;
        let mut wanted = BTreeSet::new();
        for row in &rows {
            wanted.extend(row.requests.iter().map(|id| (row.holding.clone(), Some(*id))));
            wanted.extend(row.requests.is_empty().then(|| (row.holding.clone(), None)));
        }
        let recorded: BTreeMap<_, _> =
            state.recorded.into_iter().map(|row| ((row.holding, row.request), row.state)).collect();
        let (mut outcomes, mut expected): (Vec<OutcomeView>, Vec<Happened>) = (Vec::new(), Vec::new());
        for (holding, request) in wanted.iter().chain(recorded.keys().filter(|key| !wanted.contains(key))) {
            let key = (holding.clone(), *request);
            let fails = (number + outcomes.len()).is_multiple_of(4);
            let why = "it is down".to_owned();
            let (outcome, action) = match (wanted.contains(&key), recorded.get(&key)) {
                (true, Some(RecordedState::Granted)) => continue,
                (true, None) if fails => (ProvisioningOutcome::GrantFailed { why }, "provisioning.failed"),
                (true, _) => (ProvisioningOutcome::Granted, "grant.provisioned"),
                (false, Some(RecordedState::Granted)) if fails => {
                    (ProvisioningOutcome::RevokeFailed { why }, "provisioning.failed")
                }
                (false, _) => (ProvisioningOutcome::Revoked { still_held: false, note: None }, "grant.deprovisioned"),
            };
            expected.push((action, request.map(|id| id.get())));
            outcomes.push(OutcomeView { holding: holding.clone(), request: *request, outcome });
        }
        let mallory = serde_json::json!({ "connector": "sys", "login": "mallory", "parameters": {} });
        let drift = DriftView { drift: Drift::Unexplained, holding: serde_json::from_value(mallory).unwrap() };
        let is_there = number.is_multiple_of(2);
        match (state.drift.is_empty(), is_there) {
            (true, true) => expected.push(("drift.found", None)),
            (false, false) => expected.push(("drift.resolved", None)),
            (true, false) | (false, true) => {}
        }
        if !expected.is_empty() {
            self.model.last = now;
        }
        let drift = if is_there { vec![drift] } else { Vec::new() };
        let recorded = self.answer(
            "root",
            RecordProvisioning { outcomes, drift, looked_at: vec!["sys".parse().unwrap()], host: None },
        );
        self.position = Some(recorded.map_err(|kind| TestCaseError::fail(format!("recording gave {kind:?}")))?);
        self.recorded(expected)
    }
}
