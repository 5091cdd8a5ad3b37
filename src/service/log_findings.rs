//! What `doctor` finds of the log that several hosts share: the engine, its replication, and this host's copy.

use super::doctor::{finding, ok};
use crate::domain::duration::brief;
use crate::domain::replica::{ContactAge, HostClocks};
use crate::domain::text::quantity;
use crate::domain::time::Timestamp;
use crate::error::Failure;
use crate::log::{LogUrl, PatroniSettings};
use crate::protocol::{FindingView, Health};
use crate::store::{EngineHealth, Error, KnownState, Store, UNEXPLAINED_FORK};
use crate::tls;

/// A copy up to this age, and a clock that is wrong by no more, are ok; in milliseconds.
const FRESH: i64 = 10_000;
/// A certificate that ends sooner is to be renewed: 30 days, in seconds.
const RENEW: i64 = 30 * 24 * 3600;

/// Nothing where the log is in this database alone, and is to be.
pub fn findings(store: &Store, clocks: &dyn Fn() -> Result<HostClocks, Failure>) -> Vec<FindingView> {
    let Some(known) = store.known() else {
        // No copy, though the configuration says how to reach a log.
        const MEND: [&str; 2] = [
            "on the first host: `access log move`",
            "on another host: move this database away, then `access log join`",
        ];
        let found = || "[log] is configured, and this database is not a copy of that log".to_owned();
        let is_configured = store.log_url().is_ok();
        return if is_configured { vec![finding("shared log", Health::Warning, found(), &MEND)] } else { Vec::new() };
    };
    let mut found = Vec::new();
    let clocks = match clocks() {
        Ok(clocks) => clocks,
        Err(failure) => return vec![wrong("shared log", failure)],
    };
    let url = store.log_url();
    let health = store.engine_health();
    match &health {
        Ok(health) => {
            found.push(engine(health, &known));
            found.push(replicas(health));
            found.push(clock(health, &clocks));
        }
        Err(error) => found.push(unreachable(error)),
    }
    match url {
        Ok(url) => {
            found.extend(patroni(&url));
            found.extend(certificate(&url, &clocks));
        }
        Err(failure) => found.push(wrong("shared log", failure)),
    }
    found.push(copy(&known, health.as_ref().ok(), &clocks));
    found.extend(pending(store).unwrap_or_else(|error| Some(wrong("pending", error.into()))));
    found
}

fn wrong(what: &str, failure: Failure) -> FindingView {
    FindingView { what: what.to_owned(), health: Health::Wrong, found: failure.message, mend: failure.hints }
}

fn engine(health: &EngineHealth, known: &KnownState) -> FindingView {
    let EngineHealth { settings, state, is_fork, is_closed } = health;
    if *is_fork {
        const MEND: [&str; 1] = [UNEXPLAINED_FORK];
        let found = format!("FORK: it does not have entry {} of this copy; its last is {}", known.seq, state.head.seq);
        return finding("shared log", Health::Wrong, found, &MEND);
    }
    if *is_closed {
        const MEND: [&str; 2] = [
            "move it back from that host, or end the move: `access log move` there",
            "until then nothing can be changed from here",
        ];
        let found = "closed: a host took it with `access log leave`, or a move into it has not ended".to_owned();
        return finding("shared log", Health::Wrong, found, &MEND);
    }
    ok(
        "shared log",
        format!(
            "PostgreSQL {}, epoch {}, entry {}; this host is {}",
            settings.version, state.epoch, state.head.seq, known.replica.host
        ),
    )
}

fn unreachable(error: &Error) -> FindingView {
    const MEND: [&str; 2] =
        ["see the server, the network, and [log] of the configuration", "until then nothing can be changed from here"];
    let message = match error {
        Error::Unreachable { message } | Error::Shared { message, .. } | Error::Io { message } => message.clone(),
        _ => "the copy can't be read".to_owned(),
    };
    finding("shared log", Health::Wrong, message, &MEND)
}

fn replicas(health: &EngineHealth) -> FindingView {
    let settings = &health.settings;
    if !settings.fsync {
        const MEND: [&str; 1] = ["set fsync = on, and restart the server"];
        return finding(
            "replicas",
            Health::Wrong,
            "the server does not wait for its disk (fsync = off)".to_owned(),
            &MEND,
        );
    }
    if settings.synchronous_standbys.is_empty() {
        const MEND: [&str; 1] =
            ["with Patroni: synchronous_mode: true and synchronous_mode_strict: true, with two standbys"];
        let found = "commits wait for no standby, so what was acknowledged can be lost with the server".to_owned();
        return finding("replicas", Health::Warning, found, &MEND);
    }
    if settings.standbys == 0 {
        const MEND: [&str; 1] = ["see the standbys: every change waits for one"];
        let found = "no standby is connected, so nothing can be changed".to_owned();
        return finding("replicas", Health::Warning, found, &MEND);
    }
    ok("replicas", format!("{}, and commits wait for one", quantity(settings.standbys, "standby", "standbys")))
}

/// Only where the configuration says where to ask.
fn patroni(url: &LogUrl) -> Option<FindingView> {
    const MEND: [&str; 1] = ["the page on several hosts (fleet.md) has the settings that matter"];
    let address = url.patroni.as_ref()?;
    let settings = match PatroniSettings::ask(address, url.ca_file.as_deref()) {
        Ok(settings) => settings,
        Err(why) => return Some(finding("patroni", Health::Warning, why, &["see `patroni` in [log]"])),
    };
    let version = &settings.version;
    let fault = if settings.is_old() {
        format!("Patroni {version} can lose entries that were acknowledged when a leader freezes; 3.0.3 does not")
    } else if !settings.is_synchronous {
        "synchronous_mode is off, so a failover can lose what was acknowledged".to_owned()
    } else if !settings.is_strict {
        "synchronous_mode_strict is off, so without a standby changes are acknowledged that only one disk has"
            .to_owned()
    } else {
        return Some(ok("patroni", format!("Patroni {version}, strictly synchronous")));
    };
    Some(finding("patroni", Health::Warning, fault, &MEND))
}

fn clock(health: &EngineHealth, clocks: &HostClocks) -> FindingView {
    let ahead = clocks.wall - health.state.now;
    if ahead.abs() <= FRESH {
        return ok("log clock", "this host's clock agrees with the shared log's");
    }
    let which = if ahead > 0 { "ahead of" } else { "behind" };
    let found = format!("this host's clock is {} {which} the shared log's, which counts", brief(ahead.abs() / 1000));
    finding("log clock", Health::Warning, found, &["set the clock of the host that is wrong, and run NTP on both"])
}

/// Only for a host that logs in with one.
fn certificate(url: &LogUrl, clocks: &HostClocks) -> Option<FindingView> {
    const MEND: [&str; 1] = ["give this host a new certificate: [log] names the file"];
    let path = url.certificate.as_ref()?;
    let end = match tls::certificate::ends_at(path) {
        Ok(end) => end,
        Err(failure) => return Some(wrong("log cert", failure)),
    };
    let left = end.parse::<Timestamp>().map_or(0, |end| end.unix() - clocks.wall / 1000);
    Some(if left <= 0 {
        finding("log cert", Health::Wrong, format!("{} ended at {end}", path.display()), &MEND)
    } else if left < RENEW {
        finding("log cert", Health::Warning, format!("{} ends in {}, at {end}", path.display(), brief(left)), &MEND)
    } else {
        ok("log cert", format!("{} ends at {end}", path.display()))
    })
}

fn copy(known: &KnownState, health: Option<&EngineHealth>, clocks: &HostClocks) -> FindingView {
    // Another finding says why the log can't be reached.
    let is_reachable = health.is_some_and(|health| !health.is_closed && !health.is_fork);
    let mend: &[&str] = if is_reachable {
        &["keep the copy fresh: systemctl enable --now access-follow.service, or `access follow`"]
    } else {
        &[]
    };
    let lag = health.map_or(0, |health| health.state.head.seq - known.seq).max(0);
    let behind = if lag == 0 { String::new() } else { format!(", {} behind", quantity(lag, "entry", "entries")) };
    match known.replica.contact.age(clocks) {
        ContactAge::Milliseconds(age) if age <= FRESH => ok("copy", format!("entry {}{behind}", known.seq)),
        ContactAge::Milliseconds(age) => {
            let found = format!("entry {}{behind}; last heard from the log {} ago", known.seq, brief(age / 1000));
            finding("copy", Health::Warning, found, mend)
        }
        ContactAge::BeforeBoot => {
            let found = format!("entry {}{behind}; not heard from the log since this host started", known.seq);
            finding("copy", Health::Warning, found, mend)
        }
    }
}

fn pending(store: &Store) -> Result<Option<FindingView>, Error> {
    const MEND: [&str; 1] = ["`access pending` asks the log what became of them"];
    let Some(pending) = store.read(|read| read.pending_entries())? else { return Ok(None) };
    let entries = quantity(pending.bodies.len(), "entry", "entries");
    Ok(Some(finding("pending", Health::Warning, format!("it is not known whether the log has {entries}"), &MEND)))
}
