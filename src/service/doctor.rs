//! `doctor`: what is wrong with this installation, and what to do about it. Needs no member: whoever owns the file may.
//! (The file's place, owner and modes were looked at when it was opened.)

use serde::{Deserialize, Serialize};

use super::deliver::{Availability, Post};
use super::policy_context::PolicyContext;
use super::quota::NAMED;
use super::rejudge::few;
use super::{Call, Callers, Rows, Service, expire, review, verify};
use crate::domain::duration::spell;
use crate::domain::notification::Channel;
use crate::domain::outbox::Outlet;
use crate::domain::request::emergency;
use crate::domain::time::Timestamp;
use crate::error::Failure;
use crate::protocol::{Checkpoint, FindingView, Health};
use crate::store::{Error, Read, Store, Waiting};

/// `expire` is late when it last ran this long ago: a quarter of an hour.
const LATE: i64 = 15 * 60;
/// So many requests, and people of each, are named.
const MOST_NAMED: usize = 5;

/// Looks for what is wrong with this installation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Doctor {
    /// Checkpoints kept elsewhere.
    pub against: Vec<Checkpoint>,
}

impl Call for Doctor {
    const NAME: &'static str = "Doctor";
    const CALLERS: Callers = Callers::Keepers;
    const SENDS: bool = true;
    type Row = FindingView;
    type Reply = bool;

    fn carry_out(self, service: &Service<'_>, rows: Rows<'_, FindingView>) -> Result<bool, Failure> {
        let Doctor { against } = self;
        let (open, against) = (service.outside.post, against.as_slice());
        let (sqlite, schema) = service.store.versions();
        let path = service.store.path().display();
        let clock = (service.clock)()?;
        let post = open();
        let findings = service.store.read(|read| -> Result<Vec<FindingView>, Error> {
            let mut findings = vec![
                file(service.store, &path.to_string())?,
                ok("version", format!("SQLite {sqlite}, version {schema} of the schema")),
                structure(read),
                record(read, against),
                the_clock(read, clock).unwrap_or_else(|error| unreadable("clock", error)),
                expiry(read, clock).unwrap_or_else(|error| unreadable("expire", error)),
                reviews(read, clock).unwrap_or_else(|error| unreadable("reviews", error)),
                outbox(read, post.as_deref().ok()).unwrap_or_else(|error| unreadable("outbox", error)),
                ways_out(&post),
            ];
            findings.extend(upgrade(read, clock).unwrap_or_else(|error| Some(unreadable("upgrade", error))));
            Ok(findings)
        })?;
        let no = findings.iter().any(|finding| finding.health == Health::Wrong);
        for finding in findings {
            rows(finding)?;
        }
        Ok(no)
    }
}

fn finding(what: &str, health: Health, found: String, mend: &[&str]) -> FindingView {
    FindingView { what: what.to_owned(), health, found, mend: mend.iter().map(|&mend| mend.to_owned()).collect() }
}

fn ok(what: &str, found: impl Into<String>) -> FindingView {
    finding(what, Health::Ok, found.into(), &[])
}

/// One thing that can't be read hides nothing else that was found.
fn unreadable(what: &str, error: Error) -> FindingView {
    finding(what, Health::Wrong, Failure::from(error).message, &["see what is said of structure and record"])
}

fn file(store: &Store, path: &str) -> Result<FindingView, Error> {
    Ok(match store.unknown_file_system()? {
        None => ok("file", format!("{path}, its owner's alone, on a local disk")),
        Some(number) => {
            const MEND: [&str; 1] = [
                "if other machines can reach it, move the database to a disk of this one (ext4, XFS, Btrfs, ZFS, F2FS …)",
            ];
            let found = format!("{path}, its owner's alone, on a file system that access does not know ({number})");
            finding("file", Health::Warning, found, &MEND)
        }
    })
}

fn structure(read: &Read<'_>) -> FindingView {
    const MEND: [&str; 2] =
        ["keep this file for examination", "restore the newest backup, then look with `access doctor --against FILE`"];
    match read.structural_faults() {
        Ok(faults) if faults.is_empty() => ok("structure", "the schema, every page, index and reference is sound"),
        Ok(faults) => finding("structure", Health::Wrong, faults.join("; "), &MEND),
        Err(error) => finding("structure", Health::Wrong, Failure::from(error).message, &MEND),
    }
}

fn record(read: &Read<'_>, against: &[Checkpoint]) -> FindingView {
    const MEND: [&str; 3] = [
        "`access audit verify` names every fault",
        "if an old copy was restored: decisions since are lost, and what was revoked since lives again; revoke it (`access list --state active`)",
        "else find out who could write the file, and keep it for examination",
    ];
    match verify::prove(read, against) {
        Ok(proof) if proof.ok => match against.len() {
            0 => ok("record", format!("{} entries, whole, and the tables agree with them", proof.entries)),
            kept => ok("record", format!("{} entries, whole, and as they were at {kept} checkpoints", proof.entries)),
        },
        Ok(proof) => {
            let first = proof.faults.first().map(|fault| match fault.seq {
                Some(seq) => format!("entry {seq}: {}", fault.problem),
                None => fault.problem.clone(),
            });
            let found = format!("{} faults; the first: {}", proof.faults.len(), first.unwrap_or_default());
            finding("record", Health::Wrong, found, &MEND)
        }
        Err(error) => finding("record", Health::Wrong, Failure::from(error).message, &MEND),
    }
}

fn the_clock(read: &Read<'_>, clock: Timestamp) -> Result<FindingView, Error> {
    let last = read.last_time()?;
    let behind = last.since(clock);
    Ok(if behind > super::CLOCK_SLACK {
        finding(
            "clock",
            Health::Wrong,
            format!("it says {clock}, {} before the last recorded time, {last}; nothing can be changed", spell(behind)),
            &[
                "set the clock right",
                "or, if it is right now and was wrong before: `access doctor --accept-clock` (owner)",
            ],
        )
    } else {
        ok("clock", format!("{clock}, not behind the record"))
    })
}

fn expiry(read: &Read<'_>, clock: Timestamp) -> Result<FindingView, Error> {
    const MEND: [&str; 2] = [
        "a line for crontab(5), as the owner of the file: * * * * *  access expire",
        "access ended on time all the same; nobody was told",
    ];
    let bound = read.time_bound_grants()?;
    Ok(match read.expire_ran_at()? {
        Some(ran) if clock.since(ran) <= LATE || bound == 0 => ok("expire", format!("last ran at {ran}")),
        Some(ran) => {
            let found = format!("last ran {} ago, and {bound} grants have an end", spell(clock.since(ran)));
            finding("expire", Health::Warning, found, &MEND)
        }
        None if bound == 0 => ok("expire", "never ran, and no grant has an end"),
        None => finding("expire", Health::Warning, format!("never ran, and {bound} grants have an end"), &MEND),
    })
}

fn reviews(read: &Read<'_>, clock: Timestamp) -> Result<FindingView, Error> {
    const MEND: [&str; 1] = ["one of the people named runs `access review ID --note '…'`"];
    let ids = read.reviews_owed()?;
    let named = review::owed(read, &PolicyContext::default(), &ids[..ids.len().min(NAMED)], clock)?;
    let found = match ids.len() {
        0 => return Ok(ok("reviews", "no emergency needs a review")),
        1 => format!("1 emergency needs a review: {}", emergency::reviews_owed(&named)),
        many if many > named.len() => {
            let more = many - named.len();
            format!("{many} emergencies need a review: {} and {more} more", emergency::reviews_owed(&named))
        }
        many => format!("{many} emergencies need a review: {}", emergency::reviews_owed(&named)),
    };
    Ok(finding("reviews", Health::Warning, found, &MEND))
}

/// Requests that an older version filed, and that other people decide on by the rules of this version.
fn upgrade(read: &Read<'_>, clock: Timestamp) -> Result<Option<FindingView>, Error> {
    const MEND: [&str; 2] =
        ["`access expire` notifies them, once", "`access show ID` says on whose approval a request waits"];
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

/// `post`: the ways out; None where they can't be opened, which `ways_out` reports.
fn outbox(read: &Read<'_>, post: Option<&dyn Post>) -> Result<FindingView, Error> {
    let Waiting { waiting, failing, dead } = read.outbox_waiting()?;
    let mut without: Vec<(Outlet, u64)> = Vec::new();
    if let Some(post) = post {
        without = read.outbox_waiting_by_outlet()?;
        without.retain(|(outlet, _)| post.service(outlet) == Availability::None);
    }
    let mut found = Vec::new();
    let mut mend = Vec::new();
    if dead > 0 {
        found.push(format!("{dead} notifications are given up, and {waiting} wait to be sent"));
        mend.push("`access outbox --dead` says which and why");
        mend.push("when the cause is fixed: `access outbox retry`; to drop them: `access outbox discard`");
    } else if failing > 0 {
        found.push(format!("{waiting} notifications wait to be sent, and {failing} of them failed before"));
        mend.push("`access outbox` says which and why");
    }
    if !without.is_empty() {
        let count: u64 = without.iter().map(|(_, count)| count).sum();
        let each: Vec<String> = without.iter().map(|(outlet, count)| format!("{outlet}: {count}")).collect();
        found.push(format!(
            "{count} notifications wait, and config.toml names no way to send them ({})",
            each.join(", ")
        ));
        mend.push(
            "name a way in config.toml: [smtp] or sendmail for email, [slack] for Slack, [[webhooks]] for a webhook",
        );
        mend.push("or leave it: after a week they are dropped, and the inboxes keep what they tell");
    }
    Ok(match found.as_slice() {
        [] => ok("outbox", format!("{waiting} notifications wait to be sent")),
        found => finding("outbox", Health::Warning, found.join("; "), &mend),
    })
}

/// The ways by which notifications go out: opened, and not tried.
fn ways_out(post: &Result<Box<dyn Post>, Failure>) -> FindingView {
    let wrong = |failures: Vec<Failure>| {
        let found: Vec<String> = failures.iter().map(|failure| failure.message.clone()).collect();
        let mend: Vec<&str> = failures.iter().flat_map(|failure| &failure.hints).map(String::as_str).collect();
        finding("delivery", Health::Wrong, found.join("; "), &mend)
    };
    let post = match post {
        Ok(post) => post,
        Err(failure) => return wrong(vec![failure.clone()]),
    };
    let broken = post.broken();
    if !broken.is_empty() {
        return wrong(broken);
    }
    let there =
        Channel::ALL.into_iter().filter(|&channel| post.service(&Outlet::Member(channel)) != Availability::None);
    let mut ways: Vec<String> = there.map(|channel| channel.as_str().to_owned()).collect();
    ways.extend(post.hooks().into_iter().map(|hook| format!("webhook {}", hook.name)));
    match ways.as_slice() {
        [] => ok("delivery", "config.toml names no way out, so people look into their inbox"),
        ways => ok("delivery", format!("by {}", ways.join(", "))),
    }
}
