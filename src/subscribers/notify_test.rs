//! The messages of `notify test`: one on each channel of a member, at once. Nothing is queued or recorded.

use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::zones::Zones;
use crate::deliver::{Availability, Outcome, Transports};
use crate::domain::channel::Channel;
use crate::domain::message::{Body, Message, Notifications};
use crate::domain::subscriber::Subscriber;
use crate::protocol::TestView;
use crate::service::TestRecipient;

/// Sends the test, and returns what came of it on each channel.
pub fn notify_test(transports: &mut Transports, recipient: &TestRecipient) -> Vec<TestView> {
    let mut tests: Vec<TestView> =
        (0..).zip(Channel::ALL).map(|(ticket, channel)| start(transports, recipient, ticket, channel)).collect();
    while tests.iter().any(|test| test.ok.is_none() && test.to.is_some()) {
        let Some(outcomes) = transports.outcomes(Duration::MAX) else { break };
        for (ticket, outcome) in outcomes {
            let Some(test) = usize::try_from(ticket).ok().and_then(|place| tests.get_mut(place)) else { continue };
            (test.ok, test.answer) = match outcome {
                Outcome::Sent { answer } => (Some(true), answer),
                Outcome::Failed { why, .. } | Outcome::Refused { why, .. } | Outcome::NotNow { why, .. } => {
                    (Some(false), why)
                }
                Outcome::NotTried { .. } | Outcome::Divide => (Some(false), "it was not tried".to_owned()),
            };
        }
    }
    transports.close();
    for test in tests.iter_mut().filter(|test| test.ok.is_none() && test.to.is_some()) {
        (test.ok, test.answer) = (Some(false), "no answer in time".to_owned());
    }
    tests
}

/// Hands the message for a channel to its transport, if there is one: then the result has a `to`, and an outcome follows.
fn start(transports: &mut Transports, recipient: &TestRecipient, ticket: u64, channel: Channel) -> TestView {
    let TestRecipient { team, name, member, now } = recipient;
    let view = |to, ok, answer| TestView { channel: channel.as_str().to_owned(), to, ok, answer };
    let Some(to) = member.addresses.get(channel).cloned() else {
        return view(None, None, format!("the team file has no {} for you", channel.address_name()));
    };
    match transports.availability(&Subscriber::Members(channel)) {
        Availability::Ready => {}
        Availability::Broken => {
            let why: Vec<String> = transports.failures().into_iter().map(|failure| failure.message).collect();
            return view(None, Some(false), why.join("; "));
        }
        Availability::NotConfigured => return view(None, None, format!("config.toml does not configure {channel}")),
    }
    let unique = Sha256::digest(format!("{team} {name} {now} {}", std::process::id()));
    let id: String = unique.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let when = Zones::default().write(member.timezone.as_ref(), *now);
    let shown = to.to_string();
    let body = Body::Notifications(Box::new(Notifications::test(team.clone(), name, *now, when)));
    transports.send(ticket, Message { id: format!("{id}.test"), to, body, sent_at: *now, attempts: 0 });
    view(Some(shown), None, String::new())
}
