//! Transports: email, Slack and webhooks. What is sent to whom and when is decided in `subscribers/`.
//!
//! Each route (email, Slack, each webhook) has a thread and a connection of its own, so that none waits for another.
//! After a fault of the whole route its thread leaves the rest for the next run. A thread that hangs is left behind at the
//! deadline and ends with the process.

mod email;
mod hello;
mod http;
mod proxy;
mod secret;
mod sendmail;
mod slack;
mod smtp;
mod webhook;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use crate::config;
use crate::config::Config;
use crate::domain::channel::{Address, Channel, Route};
use crate::domain::contact::Email;
use crate::domain::duration::Length;
use crate::domain::message::{Body, Message};
use crate::domain::name::Name;
use crate::domain::subscriber::{PATIENCE, Subscriber, Topic};
use crate::domain::text::visible;
use crate::error::{Failure, Kind};

/// The default limit of a whole run.
const DEADLINE: Duration = Duration::from_secs(60);
/// The default limit of one answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// What is being sent at the deadline gets this much longer.
const GRACE: Duration = Duration::from_millis(500);
/// Outcomes are returned in batches: this many, or those of this time.
const BATCH: usize = 64;
const BATCH_WAIT: Duration = Duration::from_millis(50);

/// Sends messages along one route.
trait Transport {
    /// Sends one message. Waits for one answer no longer than the timeout.
    fn send(&mut self, message: &Message, timeout: Duration) -> Outcome;
    /// Ends the connection.
    fn close(&mut self) {}
}

/// The result of sending one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver accepted it, with this answer.
    Sent { answer: String },
    /// A later attempt may succeed. `route_failed`: the fault concerns everything on this route.
    Failed { why: String, route_failed: bool, blame: Blame },
    /// No later attempt can succeed.
    Refused { why: String, blame: Blame },
    /// One of its notifications may be at fault: they are to be sent in smaller messages.
    Divide,
    /// The receiver asks to be left alone for this long.
    NotNow { seconds: u64, why: String },
    /// Skipped, because an earlier message to the same address, or the whole route, failed.
    NotTried { route_failed: bool },
}

/// Whether what people wrote can be why a message was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The receiver had read nothing of it.
    Elsewhere,
    /// It had read it. Then the connection broke, or the answer is about something else.
    Unclear,
    /// It had read it, and refused that.
    Content,
}

/// The longest answer of another machine that is kept, in characters.
const LONGEST_ANSWER: usize = 300;

impl Outcome {
    fn sent(answer: impl Into<String>) -> Outcome {
        Outcome::Sent { answer: shown(answer) }
    }

    pub fn failed(why: impl Into<String>) -> Outcome {
        Outcome::Failed { why: shown(why), route_failed: false, blame: Blame::Elsewhere }
    }

    pub fn refused(why: impl Into<String>) -> Outcome {
        Outcome::Refused { why: shown(why), blame: Blame::Elsewhere }
    }

    fn route_failed(why: impl Into<String>) -> Outcome {
        Outcome::Failed { why: shown(why), route_failed: true, blame: Blame::Elsewhere }
    }

    fn not_now(seconds: u64, why: impl Into<String>) -> Outcome {
        Outcome::NotNow { seconds, why: shown(why) }
    }

    /// The same, with this to blame.
    fn blaming(self, blame: Blame) -> Outcome {
        match self {
            Outcome::Failed { why, route_failed, .. } => Outcome::Failed { why, route_failed, blame },
            Outcome::Refused { why, .. } => Outcome::Refused { why, blame },
            Outcome::Sent { .. } | Outcome::Divide | Outcome::NotNow { .. } | Outcome::NotTried { .. } => self,
        }
    }

    /// Why it was not taken; None if it was, or was not offered.
    fn blame(&self) -> Option<Blame> {
        match self {
            Outcome::Failed { blame, .. } | Outcome::Refused { blame, .. } => Some(*blame),
            Outcome::Sent { .. } | Outcome::Divide | Outcome::NotNow { .. } | Outcome::NotTried { .. } => None,
        }
    }

    /// Whether the message may be alone at fault, and not its receiver. What follows it shows that.
    pub fn is_doubtful(&self, attempts: u32) -> bool {
        matches!(self, Outcome::Failed { blame: Blame::Unclear | Blame::Content, .. }) && attempts >= PATIENCE
    }

    /// Whether the rest of the route is left for the next run.
    fn stops_route(&self) -> bool {
        matches!(
            self,
            Outcome::Failed { route_failed: true, .. }
                | Outcome::NotNow { .. }
                | Outcome::NotTried { route_failed: true }
        )
    }
}

/// Makes another machine's answer safe to keep and show: one line, bounded, with nothing that acts on a terminal or is
/// invisible.
fn shown(text: impl Into<String>) -> String {
    let text = text.into();
    // Escaping only makes it longer, so what is cut here would be cut below.
    let start: String = text.chars().take(LONGEST_ANSWER).collect();
    visible(start.trim(), false).chars().take(LONGEST_ANSWER).collect()
}

/// Whether a subscriber can be reached from this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Availability {
    Ready,
    /// Configured, but not usable: a secret can't be read, for example.
    Broken,
    NotConfigured,
}

/// The transports of this machine, open for one run.
pub struct Transports {
    config: Config,
    routes: BTreeMap<Route, Result<Worker, Failure>>,
    results: Receiver<(u64, Outcome)>,
    report: Sender<(u64, Outcome)>,
    over: Arc<AtomicBool>,
    deadline: Instant,
    timeout: Duration,
}

/// The thread of a route starts with its first message.
enum Worker {
    Idle(Box<dyn Transport + Send>),
    Running(Sender<(u64, Message)>),
}

impl Transports {
    fn new(config: Config) -> Transports {
        let limits = config.deliver.as_ref();
        let seconds = |length: Option<Length>, default: Duration| {
            length.map_or(default, |length| Duration::from_secs(length.seconds().unsigned_abs()))
        };
        let deadline = seconds(limits.and_then(|limits| limits.deadline), DEADLINE);
        let timeout = seconds(limits.and_then(|limits| limits.timeout), TIMEOUT).min(deadline);
        let mut routes: BTreeMap<Route, Result<Worker, Failure>> = BTreeMap::new();
        let mut add = |route: Route, transport: Result<Box<dyn Transport + Send>, Failure>| {
            routes.insert(route, transport.map(Worker::Idle));
        };
        let mails_checkpoints = config.checkpoints.as_ref().is_some_and(|checkpoints| !checkpoints.mail.is_empty());
        if config.smtp.is_some() || config.sendmail.is_some() || mails_checkpoints {
            add(Route::Channel(Channel::Email), email::EmailTransport::new(&config).map(|email| Box::new(email) as _));
        }
        let proxies = proxy::Proxies::new(limits);
        let proxies = || proxies.as_ref().map_err(Clone::clone);
        if let Some(settings) = &config.slack {
            let slack = proxies().and_then(|proxies| slack::SlackTransport::new(settings, proxies));
            add(Route::Channel(Channel::Slack), slack.map(|slack| Box::new(slack) as _));
        }
        for settings in config.webhooks.iter().flatten() {
            let webhook = proxies().and_then(|proxies| webhook::WebhookTransport::new(settings, proxies));
            add(Route::Webhook(settings.name.clone()), webhook.map(|webhook| Box::new(webhook) as _));
        }
        let (report, results) = mpsc::channel();
        Transports {
            config,
            routes,
            results,
            report,
            over: Arc::new(AtomicBool::new(false)),
            deadline: Instant::now() + deadline,
            timeout,
        }
    }

    /// The transports that this machine's configuration names.
    pub fn configured() -> Result<Transports, Failure> {
        let config = config::transports()?;
        let mut names = HashSet::new();
        for webhook in config.webhooks.iter().flatten() {
            if !names.insert(&webhook.name) {
                return Err(Failure::new(Kind::Invalid, format!("two webhooks have the name {}", webhook.name)));
            }
        }
        Ok(Transports::new(config))
    }

    pub fn availability(&self, subscriber: &Subscriber) -> Availability {
        match self.routes.get(&subscriber.route()) {
            Some(_) if !self.covers(subscriber) => Availability::NotConfigured,
            Some(Ok(_)) => Availability::Ready,
            Some(Err(_)) => Availability::Broken,
            None => Availability::NotConfigured,
        }
    }

    /// Slack takes messages with a bot's token, or for single channels by their incoming webhooks. Email takes checkpoints for
    /// the mailboxes that the configuration names.
    fn covers(&self, subscriber: &Subscriber) -> bool {
        let slack = self.config.slack.as_ref();
        let has_bot = slack.is_none_or(|slack| {
            slack.token_file.is_some() || slack.token_credential.is_some() || slack.token_env.is_some()
        });
        match subscriber {
            Subscriber::SlackChannel(channel) => {
                has_bot || slack.is_some_and(|slack| slack.webhooks.contains_key(channel))
            }
            Subscriber::Members(Channel::Slack) => has_bot,
            Subscriber::Mailbox(address) => self.mailboxes().contains(address),
            Subscriber::Members(_) | Subscriber::Webhook(_) => true,
        }
    }

    /// The mailboxes that get checkpoints.
    pub fn mailboxes(&self) -> &[Email] {
        self.config.checkpoints.as_ref().map_or(&[], |checkpoints| &checkpoints.mail)
    }

    /// Why transports are broken.
    pub fn failures(&self) -> Vec<Failure> {
        self.routes.values().filter_map(|worker| worker.as_ref().err().cloned()).collect()
    }

    /// The webhooks, and what each subscribes to.
    pub fn webhooks(&self) -> Vec<(Name, BTreeSet<Topic>)> {
        let webhooks = self.config.webhooks.iter().flatten();
        webhooks.map(|webhook| (webhook.name.clone(), webhook.events.iter().copied().collect())).collect()
    }

    /// Queues a message on its route. `outcomes` reports it under this ticket.
    pub fn send(&mut self, ticket: u64, message: Message) {
        let not_tried = (ticket, Outcome::NotTried { route_failed: true });
        let Some(Ok(worker)) = self.routes.get_mut(&message.to.route()) else {
            let _ = self.report.send(not_tried);
            return;
        };
        if let Worker::Idle(_) = worker {
            let (sender, messages) = mpsc::channel();
            let Worker::Idle(transport) = std::mem::replace(worker, Worker::Running(sender)) else { return };
            let thread = RouteThread {
                transport,
                messages,
                report: self.report.clone(),
                over: Arc::clone(&self.over),
                deadline: self.deadline,
                timeout: self.timeout,
            };
            thread::spawn(move || thread.run());
        }
        if let Worker::Running(sender) = worker
            && sender.send((ticket, message)).is_err()
        {
            let _ = self.report.send(not_tried);
        }
    }

    /// Waits for outcomes, for so long at most. None: the deadline has passed.
    pub fn outcomes(&mut self, within: Duration) -> Option<Vec<(u64, Outcome)>> {
        let now = Instant::now();
        let patience = if self.is_over() {
            self.over.store(true, Ordering::SeqCst);
            (self.deadline + GRACE).saturating_duration_since(now)
        } else {
            self.deadline - now
        };
        let mut outcomes = Vec::new();
        match self.results.recv_timeout(patience.min(within)) {
            Ok(outcome) => outcomes.push(outcome),
            Err(RecvTimeoutError::Timeout) if patience > within => return Some(outcomes),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
        }
        let until = Instant::now() + BATCH_WAIT;
        while outcomes.len() < BATCH {
            match self.results.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(outcome) => outcomes.push(outcome),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        Some(outcomes)
    }

    /// Whether the deadline has passed.
    pub fn is_over(&self) -> bool {
        Instant::now() >= self.deadline
    }

    /// Lets each idle thread end its connection, and waits a moment for that.
    pub fn close(&mut self) {
        for worker in self.routes.values_mut() {
            if matches!(worker, Ok(Worker::Running(_))) {
                let (unused, _) = mpsc::channel();
                *worker = Ok(Worker::Running(unused));
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

struct RouteThread {
    transport: Box<dyn Transport + Send>,
    messages: Receiver<(u64, Message)>,
    report: Sender<(u64, Outcome)>,
    over: Arc<AtomicBool>,
    deadline: Instant,
    timeout: Duration,
}

impl RouteThread {
    fn run(mut self) {
        let mut route_failed = false;
        // After a failure nothing else goes to the same address in this run: messages arrive in order.
        let mut failed: Vec<Address> = Vec::new();
        // A webhook did not take a message again and again. It is offered those that follow.
        let mut doubtful = false;
        // How many it did not take since the last that it took.
        let mut in_a_row = 0;
        while let Ok((ticket, message)) = self.messages.recv() {
            // Nothing is begun right before the deadline: cut off there, it would count as a failed attempt.
            let no_time = self.left() < self.timeout / 4 || self.over.load(Ordering::SeqCst);
            let outcome = if route_failed || no_time || failed.contains(&message.to) {
                Outcome::NotTried { route_failed: route_failed || no_time }
            } else {
                let (to, attempts) = (message.to.clone(), message.attempts);
                // A run has time for many of them if they get less. Some have all the time that a slow receiver may need.
                let most = if in_a_row > 1 && in_a_row % 5 != 0 { self.timeout / 5 } else { self.timeout };
                let outcome = self.send(message, most);
                if matches!(to, Address::Webhook(_)) && outcome.is_doubtful(if doubtful { PATIENCE } else { attempts })
                {
                    doubtful = true;
                    in_a_row += 1;
                } else {
                    in_a_row = 0;
                    route_failed |= outcome.stops_route();
                    if matches!(outcome, Outcome::Failed { .. } | Outcome::NotNow { .. }) {
                        failed.push(to);
                    }
                }
                outcome
            };
            if self.report.send((ticket, outcome)).is_err() {
                break;
            }
        }
        self.transport.close();
    }

    /// What a receiver does not take with what people wrote is offered to it without.
    fn send(&mut self, mut message: Message, most: Duration) -> Outcome {
        let outcome = self.transport.send(&message, most.min(self.left()));
        let Some(blame @ (Blame::Unclear | Blame::Content)) = outcome.blame() else { return outcome };
        match message.body {
            Body::Notifications(only) if only.each.len() == 1 => {
                message.body = Body::Notifications(Box::new(only.without_words()));
                self.transport.send(&message, most.min(self.left()))
            }
            // A server that is down would have to refuse each part, so it is divided at once only if it was refused.
            Body::Notifications(_) if blame == Blame::Content || message.attempts >= PATIENCE => match outcome {
                // The first part is still tried in this run.
                _ if self.left() >= self.timeout / 2 => Outcome::Divide,
                Outcome::Refused { why, .. } => Outcome::failed(why).blaming(blame),
                failed => failed,
            },
            Body::Notifications(_) | Body::Checkpoint(_) | Body::Json(_) => outcome,
        }
    }

    /// The time until the end of the run.
    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_other_machines_are_bounded_and_visible() {
        let text = format!("550 \u{1b}[31m\u{202e}\u{200b}\n{}", "é".repeat(100_000));
        let Outcome::Failed { why, .. } = Outcome::failed(text) else { panic!("it failed") };
        assert!(
            why.starts_with("550 \\u{1b}[31m\\u{202e}\\u{200b} éé") && why.chars().count() == LONGEST_ANSWER,
            "{why}"
        );
    }
}
