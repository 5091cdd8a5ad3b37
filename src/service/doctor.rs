//! `doctor`: finds problems with this installation, and says how to fix them. The file's owner may run it without being
//! a member. (The file's place, owner and modes were checked when it was opened.)

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::policy_context::PolicyContext;
use super::provisioning::unconfirmed;
use super::quota::NAMED;
use super::rejudge::few;
use super::{Call, Callers, Rows, Service, expire, log_findings, review, verify};
use crate::domain::contact::Timezone;
use crate::domain::duration::{brief, spell};
use crate::domain::provisioning::{Provisioning, held_still, not_taken_back};
use crate::domain::recertification::overdue;
use crate::domain::request::emergency;
use crate::domain::text::quantity;
use crate::domain::time::{CLOCK_SLACK, Timestamp};
use crate::error::Failure;
use crate::protocol::{FindingView, Health, KeptCheckpoint, UnconfirmedView};
use crate::store::{Error, Read, Store};

/// `expire` is late when it last ran this long ago: a quarter of an hour.
const LATE: i64 = 15 * 60;
/// The most requests, and members for each, that are named.
const MOST_NAMED: usize = 5;

/// Finds problems with this installation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Doctor {
    /// Checkpoints kept elsewhere.
    pub against: Vec<KeptCheckpoint>,
}

impl Call for Doctor {
    const NAME: &'static str = "Doctor";
    const CALLERS: Callers = Callers::Keepers;
    const SENDS: bool = true;
    type Row = FindingView;
    type Reply = bool;

    fn carry_out(self, service: &Service<'_>, rows: Rows<'_, FindingView>) -> Result<bool, Failure> {
        let (sqlite, schema) = service.store.versions();
        let path = service.store.path().display();
        let clock = service.store.read(|read| (service.clock)(read.replica()?.as_ref()))?;
        let mut findings = service.store.read(|read| -> Result<Vec<FindingView>, Error> {
            let mut findings = vec![
                file(service.store, &path.to_string())?,
                ok("version", format!("SQLite {sqlite}, version {schema} of the schema")),
                structure(read),
                record(read, &self.against),
                the_clock(read, clock).unwrap_or_else(|error| unreadable("clock", error)),
                expiry(read, clock).unwrap_or_else(|error| unreadable("expire", error)),
                reviews(read, clock).unwrap_or_else(|error| unreadable("reviews", error)),
            ];
            findings.extend(
                recertifications(read, clock).unwrap_or_else(|error| Some(unreadable("recertifications", error))),
            );
            findings.extend(revokes(read, clock).unwrap_or_else(|error| vec![unreadable("revokes", error)]));
            findings.extend((service.outside.delivery_findings)(read));
            let zones = time_zones(read, service.outside.knows_zone)
                .unwrap_or_else(|error| Some(unreadable("time zones", error)));
            findings.extend(zones);
            findings.extend(upgrade(read, clock).unwrap_or_else(|error| Some(unreadable("upgrade", error))));
            Ok(findings)
        })?;
        findings.extend(log_findings::findings(service.store, service.outside.clocks));
        let wrong = findings.iter().any(|finding| finding.health == Health::Wrong);
        findings.into_iter().try_for_each(rows)?;
        Ok(wrong)
    }
}

pub fn finding(what: &str, health: Health, found: String, mend: &[&str]) -> FindingView {
    FindingView { what: what.to_owned(), health, found, mend: mend.iter().map(|&mend| mend.to_owned()).collect() }
}

pub fn ok(what: &str, found: impl Into<String>) -> FindingView {
    finding(what, Health::Ok, found.into(), &[])
}

/// A check that fails is a finding of its own, so that the others still run.
pub fn unreadable(what: &str, error: Error) -> FindingView {
    finding(what, Health::Wrong, Failure::from(error).message, &["see the findings on structure and record"])
}

fn file(store: &Store, path: &str) -> Result<FindingView, Error> {
    Ok(match store.unknown_file_system()? {
        None => ok("file", format!("{path}, accessible only to its owner, on a local disk")),
        Some(number) => {
            const MEND: [&str; 1] =
                ["if other machines can reach it, move the database to a local disk (ext4, XFS, Btrfs, ZFS, F2FS …)"];
            let found = format!("{path}, accessible only to its owner, on an unknown file system ({number})");
            finding("file", Health::Warning, found, &MEND)
        }
    })
}

fn structure(read: &Read<'_>) -> FindingView {
    const MEND: [&str; 2] =
        ["keep this file for examination", "restore the newest backup, then run `access doctor --against FILE`"];
    match read.structural_faults() {
        Ok(faults) if faults.is_empty() => ok("structure", "the schema, every page, index and reference is sound"),
        Ok(faults) => finding("structure", Health::Wrong, faults.join("; "), &MEND),
        Err(error) => finding("structure", Health::Wrong, Failure::from(error).message, &MEND),
    }
}

fn record(read: &Read<'_>, against: &[KeptCheckpoint]) -> FindingView {
    let verify = if against.is_empty() { "access audit verify" } else { "access audit verify --against FILE" };
    let verify = format!("`{verify}`, as an admin, an auditor or the owner, lists every fault");
    let mend = [
        verify.as_str(),
        "if an old copy was restored, later decisions are lost, and access revoked since is active again: revoke it (`access list --state active`)",
        "otherwise find out who could write to the file, and keep it for examination",
    ];
    match verify::prove(read, against) {
        Ok(proof) if proof.ok => {
            let entries = quantity(proof.entries, "entry", "entries");
            let held = match against.len() {
                0 => "the tables agree with the log".to_owned(),
                kept => format!("unchanged since {}", quantity(kept, "checkpoint", "checkpoints")),
            };
            ok("record", format!("{entries}, whole, and {held}"))
        }
        Ok(proof) => {
            let first = proof.faults.first().map(|fault| match fault.seq {
                Some(seq) => format!("entry {seq}: {}", fault.problem),
                None => fault.problem.clone(),
            });
            let faults = quantity(proof.faults.len(), "fault", "faults");
            let found = format!("{faults}; the first: {}", first.unwrap_or_default());
            finding("record", Health::Wrong, found, &mend)
        }
        Err(error) => finding("record", Health::Wrong, Failure::from(error).message, &mend),
    }
}

fn the_clock(read: &Read<'_>, clock: Timestamp) -> Result<FindingView, Error> {
    let last = read.last_time()?;
    let behind = last.since(clock);
    Ok(if behind > CLOCK_SLACK {
        finding(
            "clock",
            Health::Wrong,
            format!("{clock} is {} before the last recorded time, {last}; nothing can be changed", spell(behind)),
            &[
                "set the clock right",
                "or, if it was wrong before and is right now: `access doctor --accept-clock`, as the owner or root",
            ],
        )
    } else {
        ok("clock", format!("{clock}, not behind the record"))
    })
}

fn expiry(read: &Read<'_>, clock: Timestamp) -> Result<FindingView, Error> {
    const MEND: [&str; 3] = [
        "on a shared host: systemctl enable --now access-expire.timer",
        "elsewhere, a line for crontab(5), as the owner of the file: * * * * *  access expire",
        "access ends on time all the same, but nobody is notified",
    ];
    let bound = read.time_bound_grants()?;
    let bound_grants = || quantity(bound, "grant has an end", "grants have an end");
    Ok(match read.expire_ran_at()? {
        Some(ran) if clock.since(ran) <= LATE || bound == 0 => ok("expire", format!("last ran at {ran}")),
        Some(ran) => {
            let found = format!("last ran {} ago, and {}", brief(clock.since(ran)), bound_grants());
            finding("expire", Health::Warning, found, &MEND)
        }
        None if bound == 0 => ok("expire", "never ran, and no grant has an end"),
        None => finding("expire", Health::Warning, format!("never ran, and {}", bound_grants()), &MEND),
    })
}

fn reviews(read: &Read<'_>, clock: Timestamp) -> Result<FindingView, Error> {
    const MEND: [&str; 1] = ["one of the members named must run `access review ID --note '…'`"];
    let ids = read.reviews_owed()?;
    let named = review::owed(read, &PolicyContext::default(), &ids[..ids.len().min(NAMED)], clock)?;
    if ids.is_empty() {
        return Ok(ok("reviews", "no emergency needs a review"));
    }
    let need = quantity(ids.len(), "emergency needs a review", "emergencies need a review");
    let more = match ids.len() - named.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let found = format!("{need}: {}{more}", emergency::reviews_owed(&named));
    Ok(finding("reviews", Health::Warning, found, &MEND))
}

/// Those that `expire` should have closed.
fn recertifications(read: &Read<'_>, clock: Timestamp) -> Result<Option<FindingView>, Error> {
    const MEND: [&str; 1] =
        ["`access expire` closes them, and revokes the grants that nobody kept: run it every minute"];
    let found = overdue(&read.overdue_recertifications(clock)?);
    Ok(found.map(|found| finding("recertifications", Health::Warning, found, &MEND)))
}

/// Access that should be over and was not taken back. Nothing where no connector gives anything.
fn revokes(read: &Read<'_>, clock: Timestamp) -> Result<Vec<FindingView>, Error> {
    const START: [&str; 2] =
        ["on a shared host: systemctl enable --now access-reconcile.service", "elsewhere: access reconcile --fix"];
    const MEND: [&str; 2] = [
        "take it back in the system by hand, or repair what keeps the connector from it",
        "`access audit --action provisioning.failed` has all of them",
    ];
    if !read.has_provisioning()? {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    if let Some(UnconfirmedView { grants, since }) = unconfirmed(read, clock)? {
        found.push(finding("revokes", Health::Wrong, not_taken_back(grants, since), &START));
    }
    let failed = read.failed_revokes()?;
    let said = |failed: &Provisioning| held_still(&failed.holding, failed.request, failed.error.as_deref());
    let mut each: Vec<String> = failed.iter().take(NAMED).map(said).collect();
    each.extend((failed.len() > NAMED).then(|| format!("and {} more", failed.len() - NAMED)));
    if !each.is_empty() {
        found.push(finding("revokes", Health::Wrong, each.join("; "), &MEND));
    }
    if found.is_empty() {
        found.push(ok("revokes", "all access that is over was taken back, or is about to be"));
    }
    Ok(found)
}

/// Requests from an older version that need other approvers in this version.
fn upgrade(read: &Read<'_>, clock: Timestamp) -> Result<Option<FindingView>, Error> {
    const MEND: [&str; 2] =
        ["`access expire` notifies the new approvers, once", "`access show ID` shows whose approval a request needs"];
    let now = clock.max(read.last_time()?);
    let policy = PolicyContext::default();
    let mut changed: Vec<String> = Vec::new();
    for request in read.pending_of_format_1(now, true, usize::MAX)? {
        let names = expire::not_notified(read, &policy, &request, now)?;
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let needs = || format!("request {} now also needs {}", request.id, few(&names, MOST_NAMED));
        changed.extend((!names.is_empty()).then(needs));
    }
    let found = || format!("filed before an upgrade: {}", few(&changed, MOST_NAMED));
    Ok((!changed.is_empty()).then(|| finding("upgrade", Health::Warning, found(), &MEND)))
}

/// Time zones that this machine does not know. Digests and the times in messages use UTC instead.
fn time_zones(read: &Read<'_>, knows_zone: &dyn Fn(&Timezone) -> bool) -> Result<Option<FindingView>, Error> {
    const MEND: [&str; 2] = [
        "install the time zone database (the package tzdata)",
        "or correct the names in the team file: they are those of the IANA database, such as Europe/Paris",
    ];
    let team = read.team()?;
    let mut users: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let default = team.notifications.timezone.as_ref().map(|zone| (zone, "the team".to_owned()));
    let members = team.members.iter().filter_map(|(name, member)| Some((member.timezone.as_ref()?, name.to_string())));
    for (zone, user) in default.into_iter().chain(members) {
        users.entry(zone.as_str()).or_default().push(user);
    }
    let unknown = users.into_iter().filter(|(zone, _)| zone.parse().is_ok_and(|zone| !knows_zone(&zone)));
    let unknown: Vec<String> = unknown.map(|(zone, users)| format!("{zone} ({})", few(&users, MOST_NAMED))).collect();
    let found = || format!("this machine does not know {}; UTC is used instead", few(&unknown, MOST_NAMED));
    Ok((!unknown.is_empty()).then(|| finding("time zones", Health::Warning, found(), &MEND)))
}
