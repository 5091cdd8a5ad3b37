//! The outbox to the world. What is sent, to whom and when, the ledger says; here it is carried there.
//!
//! Each route (email, Slack, each webhook) has a thread and a connection of its own, so that none waits for another.
//! A thread that meets a fault of its route leaves the rest for another run. A thread that hangs is left behind at the
//! deadline, and ends with the process.

mod email;
mod hello;
mod http;
mod proxy;
mod secret;
mod sendmail;
mod slack;
mod smtp;
mod webhook;
mod zone;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use crate::config::{self, Config};
use crate::domain::contact::Timezone;
use crate::domain::notification::Channel;
use crate::domain::outbox::{Address, News, Outcome, Outlet, Parcel, Route};
use crate::domain::text::visible;
use crate::domain::time::Timestamp;
use crate::error::{Failure, Kind};
use crate::service::{Availability, Hook, Post};

/// A run takes no longer, unless the configuration says otherwise.
const DEADLINE: Duration = Duration::from_secs(60);
/// One answer of the other side takes no longer, unless the configuration says otherwise.
const TIMEOUT: Duration = Duration::from_secs(10);
/// What is under way at the deadline has so long to end.
const GRACE: Duration = Duration::from_millis(500);
/// Outcomes are handed on together: so many, or those of so long.
const TOGETHER: usize = 64;
const SHORTLY: Duration = Duration::from_millis(50);

/// Something that carries parcels along one route.
trait Carrier {
    /// Waits for one answer no longer than this.
    fn carry(&mut self, parcel: &Parcel, timeout: Duration) -> Carried;
    /// Says goodbye.
    fn close(&mut self) {}
}

/// What came of one parcel, and whether it says something about all that goes the same way.
struct Carried {
    outcome: Outcome,
    route_failed: bool,
}

/// What is kept of what another machine says has at most so many characters.
const LONGEST_WORDS: usize = 300;

impl Carried {
    /// All that is kept or shown of an attempt goes through here: on one line, bounded, with nothing in it that acts on a
    /// terminal or can't be seen.
    fn of(outcome: fn(String) -> Outcome, words: impl Into<String>) -> Carried {
        let words = words.into();
        // Escapes make it longer, never shorter: what is cut off here would be cut off below.
        let begin: String = words.chars().take(LONGEST_WORDS).collect();
        let shown: String = visible(begin.trim(), false).chars().take(LONGEST_WORDS).collect();
        Carried { outcome: outcome(shown), route_failed: false }
    }

    fn sent(answer: impl Into<String>) -> Carried {
        Carried::of(|answer| Outcome::Sent { answer }, answer)
    }

    fn failed(why: impl Into<String>) -> Carried {
        Carried::of(|why| Outcome::Failed { why, route_failed: false }, why)
    }

    fn refused(why: impl Into<String>) -> Carried {
        Carried::of(|why| Outcome::Refused { why }, why)
    }

    fn route_failed(why: impl Into<String>) -> Carried {
        let carried = Carried::of(|why| Outcome::Failed { why, route_failed: true }, why);
        Carried { route_failed: true, ..carried }
    }

    fn not_now(seconds: u64, why: impl Into<String>) -> Carried {
        let mut carried = Carried::route_failed(why);
        if let Outcome::Failed { why, .. } = carried.outcome {
            carried.outcome = Outcome::NotNow { seconds, why };
        }
        carried
    }
}

/// The ways out of this machine, open for one run.
pub struct Mail {
    config: Config,
    routes: BTreeMap<Route, Result<Way, Failure>>,
    zones: zone::Zones,
    results: Receiver<(u64, Outcome)>,
    report: Sender<(u64, Outcome)>,
    over: Arc<AtomicBool>,
    deadline: Instant,
    timeout: Duration,
}

/// A route: not yet taken, or with a thread on it.
enum Way {
    Untaken(Box<dyn Carrier + Send>),
    Taken(Sender<(u64, Parcel)>),
}

impl Mail {
    pub fn new(config: Config) -> Mail {
        let told = config.deliver.as_ref();
        let seconds = |length: Option<crate::domain::duration::Length>, unless: Duration| {
            length.map_or(unless, |length| Duration::from_secs(length.seconds().unsigned_abs()))
        };
        let deadline = seconds(told.and_then(|told| told.deadline), DEADLINE);
        let timeout = seconds(told.and_then(|told| told.timeout), TIMEOUT).min(deadline);
        let mut routes: BTreeMap<Route, Result<Way, Failure>> = BTreeMap::new();
        let mut add = |route: Route, carrier: Result<Box<dyn Carrier + Send>, Failure>| {
            routes.insert(route, carrier.map(Way::Untaken));
        };
        if config.smtp.is_some() || config.sendmail.is_some() {
            add(Route::Email, email::Email::new(&config).map(|carrier| Box::new(carrier) as _));
        }
        let proxies = proxy::Proxies::new(told);
        let proxies = || proxies.as_ref().map_err(Clone::clone);
        if let Some(wiring) = &config.slack {
            let carrier = proxies().and_then(|proxies| slack::Slack::new(wiring, proxies));
            add(Route::Slack, carrier.map(|carrier| Box::new(carrier) as _));
        }
        for wiring in config.webhooks.iter().flatten() {
            let carrier = proxies().and_then(|proxies| webhook::Webhook::new(wiring, proxies));
            let carrier = carrier.map(|carrier| Box::new(carrier) as _);
            add(Route::Webhook(wiring.name.clone()), carrier);
        }
        let (report, results) = mpsc::channel();
        Mail {
            config,
            routes,
            zones: zone::Zones::default(),
            results,
            report,
            over: Arc::new(AtomicBool::new(false)),
            deadline: Instant::now() + deadline,
            timeout,
        }
    }

    /// The ways that this machine's configuration names.
    pub fn configured() -> Result<Mail, Failure> {
        let config = config::wiring()?;
        let mut names = HashSet::new();
        for webhook in config.webhooks.iter().flatten() {
            if !names.insert(&webhook.name) {
                return Err(Failure::new(Kind::Invalid, format!("two webhooks are called {}", webhook.name)));
            }
        }
        Ok(Mail::new(config))
    }

    fn slack_takes(&self, outlet: &Outlet) -> bool {
        let Some(slack) = &self.config.slack else { return false };
        let bot = slack.token_file.is_some() || slack.token_credential.is_some() || slack.token_env.is_some();
        match outlet {
            Outlet::Channel(channel) => bot || slack.webhooks.contains_key(channel),
            Outlet::Member(Channel::Slack) => bot,
            Outlet::Member(Channel::Email) | Outlet::Webhook(_) => false,
        }
    }
}

impl Post for Mail {
    fn service(&self, outlet: &Outlet) -> Availability {
        let route = outlet.route();
        match self.routes.get(&route) {
            None => Availability::None,
            Some(_) if route == Route::Slack && !self.slack_takes(outlet) => Availability::None,
            Some(Ok(_)) => Availability::Open,
            Some(Err(_)) => Availability::Broken,
        }
    }

    fn broken(&self) -> Vec<Failure> {
        self.routes.values().filter_map(|way| way.as_ref().err().cloned()).collect()
    }

    fn hooks(&self) -> Vec<Hook> {
        let hook = |hook: &config::Webhook| Hook {
            name: hook.name.clone(),
            events: hook.events.iter().copied().collect::<std::collections::BTreeSet<News>>(),
        };
        self.config.webhooks.iter().flatten().map(hook).collect()
    }

    fn offset(&self, zone: &Timezone, moment: i64) -> i64 {
        self.zones.offset(zone, moment)
    }

    fn write_time(&self, zone: Option<&Timezone>, time: Timestamp) -> String {
        self.zones.write(zone, time)
    }

    fn hand(&mut self, ticket: u64, parcel: Parcel) {
        let route = parcel.to.route();
        let Some(Ok(way)) = self.routes.get_mut(&route) else {
            let _ = self.report.send((ticket, Outcome::NotTried { route_failed: true }));
            return;
        };
        if let Way::Untaken(_) = way {
            let (sender, parcels) = mpsc::channel();
            let Way::Untaken(carrier) = std::mem::replace(way, Way::Taken(sender)) else { return };
            let worker = Worker {
                carrier,
                parcels,
                report: self.report.clone(),
                over: Arc::clone(&self.over),
                deadline: self.deadline,
                timeout: self.timeout,
            };
            thread::spawn(move || worker.work());
        }
        if let Way::Taken(sender) = way
            && sender.send((ticket, parcel)).is_err()
        {
            let _ = self.report.send((ticket, Outcome::NotTried { route_failed: true }));
        }
    }

    fn outcomes(&mut self) -> Vec<(u64, Outcome)> {
        let now = Instant::now();
        let patience = if self.is_over() {
            self.over.store(true, Ordering::SeqCst);
            (self.deadline + GRACE).saturating_duration_since(now)
        } else {
            self.deadline - now
        };
        let mut outcomes = Vec::new();
        match self.results.recv_timeout(patience) {
            Ok(outcome) => outcomes.push(outcome),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return outcomes,
        }
        let until = Instant::now() + SHORTLY;
        while outcomes.len() < TOGETHER {
            match self.results.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(outcome) => outcomes.push(outcome),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        outcomes
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.deadline
    }

    fn close(&mut self) {
        // Each thread that is idle says goodbye to its server, which takes no time; none is waited for longer.
        for way in self.routes.values_mut() {
            if matches!(way, Ok(Way::Taken(_))) {
                let (unused, _) = mpsc::channel();
                *way = Ok(Way::Taken(unused));
            }
        }
        let (unused, _) = mpsc::channel();
        self.report = unused;
        let until = Instant::now() + GRACE;
        loop {
            match self.results.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}

/// The thread on one route.
struct Worker {
    carrier: Box<dyn Carrier + Send>,
    parcels: Receiver<(u64, Parcel)>,
    report: Sender<(u64, Outcome)>,
    over: Arc<AtomicBool>,
    deadline: Instant,
    timeout: Duration,
}

impl Worker {
    fn work(mut self) {
        let mut route_failed = false;
        // Whoever missed one gets nothing after it either, in this run: in order.
        let mut missed: HashSet<Address> = HashSet::new();
        for (ticket, parcel) in &self.parcels {
            let left = self.deadline.saturating_duration_since(Instant::now());
            // What is begun is given some time: who is cut off at the deadline counts as having failed.
            let no_time = left < self.timeout / 4 || self.over.load(Ordering::SeqCst);
            let route_over = route_failed || no_time;
            let outcome = if route_over || missed.contains(&parcel.to) {
                Outcome::NotTried { route_failed: route_over }
            } else {
                let carried = self.carrier.carry(&parcel, self.timeout.min(left));
                route_failed |= carried.route_failed;
                carried.outcome
            };
            let done = matches!(outcome, Outcome::Sent { .. } | Outcome::Refused { .. });
            if !done {
                missed.insert(parcel.to);
            }
            if self.report.send((ticket, outcome)).is_err() {
                break;
            }
        }
        self.carrier.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_other_machines_say_is_bounded_and_visible() {
        let carried = Carried::failed(format!("550 \u{1b}[31m\u{202e}\u{200b}\n{}", "é".repeat(100_000)));
        let Outcome::Failed { why, .. } = carried.outcome else { panic!("it failed") };
        assert!(
            why.starts_with("550 \\u{1b}[31m\\u{202e}\\u{200b} éé") && why.chars().count() == LONGEST_WORDS,
            "{why}"
        );
    }
}
