//! What `doctor` says of delivery.

use crate::deliver::{Availability, Transports};
use crate::domain::channel::Channel;
use crate::domain::subscriber::Subscriber;
use crate::domain::text::quantity;
use crate::error::Failure;
use crate::protocol::{FindingView, Health};
use crate::service::{finding, ok, unreadable};
use crate::store::{Error, Read, Waiting};

/// The findings on the outbox and on the transports, which are opened but not tried.
pub fn findings(read: &Read<'_>, transports: &Result<Transports, Failure>) -> Vec<FindingView> {
    let outbox = outbox(read, transports.as_ref().ok()).unwrap_or_else(|error| unreadable("outbox", error));
    vec![outbox, delivery(transports)]
}

fn outbox(read: &Read<'_>, transports: Option<&Transports>) -> Result<FindingView, Error> {
    let Waiting { waiting, failing, dead } = read.outbox_waiting()?;
    let mut without: Vec<(Subscriber, u64)> = Vec::new();
    if let Some(transports) = transports {
        without = read.outbox_waiting_by_subscriber()?;
        without.retain(|(subscriber, _)| transports.availability(subscriber) == Availability::NotConfigured);
    }
    let wait = |count| quantity(count, "notification waits", "notifications wait");
    let mut found = Vec::new();
    let mut mend = Vec::new();
    if dead > 0 {
        let dead = quantity(dead, "notification was given up", "notifications were given up");
        found.push(format!("{dead}, and {} to be sent", quantity(waiting, "waits", "wait")));
        mend.push("`access outbox --dead` shows which and why");
        mend.push("when the cause is fixed: `access outbox retry`; to drop them: `access outbox discard`");
    } else if failing > 0 {
        let failing = if waiting == 1 { "it".to_owned() } else { format!("{failing} of them") };
        found.push(format!("{} to be sent, and {failing} failed before", wait(waiting)));
        mend.push("`access outbox` shows which and why");
    }
    if !without.is_empty() {
        let count: u64 = without.iter().map(|(_, count)| count).sum();
        let each: Vec<String> = without.iter().map(|(subscriber, count)| format!("{subscriber}: {count}")).collect();
        found.push(format!(
            "{}, and config.toml does not configure how to send {} ({})",
            wait(count),
            if count == 1 { "it" } else { "them" },
            each.join(", ")
        ));
        mend.push(
            "configure it in config.toml: [smtp] or sendmail for email (and `mail` in [checkpoints] for a mailbox), [slack] for Slack, [[webhooks]] for a webhook",
        );
        mend.push("or leave it: they are dropped after a week, and stay in the inboxes");
    }
    Ok(match found.as_slice() {
        [] => ok("outbox", format!("{} to be sent", wait(waiting))),
        found => finding("outbox", Health::Warning, found.join("; "), &mend),
    })
}

fn delivery(transports: &Result<Transports, Failure>) -> FindingView {
    let wrong = |failures: Vec<Failure>| {
        let found: Vec<String> = failures.iter().map(|failure| failure.message.clone()).collect();
        let mend: Vec<&str> = failures.iter().flat_map(|failure| &failure.hints).map(String::as_str).collect();
        finding("delivery", Health::Wrong, found.join("; "), &mend)
    };
    let transports = match transports {
        Ok(transports) => transports,
        Err(failure) => return wrong(vec![failure.clone()]),
    };
    let failures = transports.failures();
    if !failures.is_empty() {
        return wrong(failures);
    }
    let is_configured =
        |channel: &Channel| transports.availability(&Subscriber::Members(*channel)) != Availability::NotConfigured;
    let channels = Channel::ALL.into_iter().filter(is_configured).map(|channel| channel.as_str().to_owned());
    let webhooks = transports.webhooks().into_iter().map(|(name, _)| format!("webhook {name}"));
    let mailboxes = transports.mailboxes().iter().map(|address| format!("checkpoints to {address}"));
    let ways: Vec<String> = channels.chain(mailboxes).chain(webhooks).collect();
    match ways.as_slice() {
        [] => ok("delivery", "config.toml configures no channel, so members have to look into their inbox"),
        ways => ok("delivery", format!("by {}", ways.join(", "))),
    }
}
