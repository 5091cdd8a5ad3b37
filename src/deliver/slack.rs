//! Slack: `chat.postMessage` with a bot's token to members and channels, and incoming webhooks for channels.
//!
//! What people wrote goes into plain-text elements and is escaped as well, so that it can't be a mention or a link.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::http::{HttpAnswer, HttpClient, HttpFault, Plain, check_url};
use super::proxy::Proxies;
use super::secret::{Secret, SecretSource};
use super::{Blame, Outcome, Transport};
use crate::config;
use crate::domain::channel::{Address, SlackChannel};
use crate::domain::message::{Body, Message, Notification, Notifications};
use crate::domain::text::{indented, visible};
use crate::error::Failure;

const API: &str = "https://slack.com/api";

pub struct SlackTransport {
    api: String,
    token: Option<Secret>,
    webhooks: BTreeMap<SlackChannel, Secret>,
    client: HttpClient,
}

impl SlackTransport {
    pub fn new(settings: &config::Slack, proxies: &Proxies) -> Result<SlackTransport, Failure> {
        let api = settings.api.as_deref().unwrap_or(API).trim_end_matches('/').to_owned();
        let plain = Plain { hosts: &[], allow_plain: settings.allow_plain };
        check_url("slack", &api, plain)?;
        let token = Secret::load(SecretSource {
            what: "token",
            file: settings.token_file.as_deref(),
            credential: settings.token_credential.as_deref(),
            env: settings.token_env.as_deref(),
        })?;
        let mut webhooks = BTreeMap::new();
        let mut encrypted = token.is_some() && api.starts_with("https:");
        for (channel, file) in &settings.webhooks {
            let url = Secret::in_file(file)?;
            check_url(&format!("the Slack webhook of {channel}"), url.reveal(), plain)?;
            encrypted |= url.reveal().starts_with("https:");
            webhooks.insert(channel.clone(), url);
        }
        let client = HttpClient::new(encrypted, settings.ca_file.as_deref(), proxies, &[]);
        Ok(SlackTransport { api, token, webhooks, client })
    }

    fn post(
        &self,
        token: &Secret,
        channel: &str,
        id: &str,
        notifications: &Notifications,
        timeout: Duration,
    ) -> Result<HttpAnswer, HttpFault> {
        let mut message = payload(notifications);
        message["channel"] = json!(channel);
        // The same at every attempt, so that a message that arrived twice can be recognized.
        message["client_msg_id"] = json!(uuid(id));
        let payload = json!({ "id": id });
        message["metadata"] = json!({ "event_type": "access_notification", "event_payload": payload });
        let authorization = format!("Bearer {}", token.reveal());
        let url = format!("{}/chat.postMessage", self.api);
        self.client.post(&url, &[("authorization", &authorization)], &message.to_string(), timeout)
    }
}

impl Transport for SlackTransport {
    fn send(&mut self, message: &Message, timeout: Duration) -> Outcome {
        let Body::Notifications(notifications) = &message.body else {
            return Outcome::refused("this is not a Slack message");
        };
        let (channel, webhook) = match &message.to {
            Address::Slack(id) => (id.as_str(), None),
            Address::SlackChannel(channel) => (channel.as_str(), self.webhooks.get(channel)),
            _ => return Outcome::refused("this is not a Slack address"),
        };
        let (answer, by_method) = match (webhook, &self.token) {
            (Some(url), _) => {
                (self.client.post(url.reveal(), &[], &payload(notifications).to_string(), timeout), false)
            }
            (None, Some(token)) => (self.post(token, channel, &message.id, notifications, timeout), true),
            (None, None) => return Outcome::refused("config.toml has no token for Slack"),
        };
        match answer {
            Ok(answer) => judge(&answer, by_method),
            Err(fault) => fault.outcome(),
        }
    }
}

/// Slack's codes for a fault of the receiver. No later attempt can succeed.
/// https://docs.slack.dev/reference/methods/chat.postMessage
const ABOUT_THE_RECEIVER: [&str; 5] =
    ["user_not_found", "user_disabled", "users_not_found", "cannot_dm_bot", "messages_tab_disabled"];

/// Slack's codes for a fault of this message. No later attempt with it can succeed.
const ABOUT_THE_MESSAGE: [&str; 7] = [
    "msg_too_long",
    "msg_blocks_too_long",
    "no_text",
    "invalid_blocks",
    "invalid_blocks_format",
    "invalid_arguments",
    "metadata_too_large",
];

/// Slack's codes for a fault of a channel: somebody has to invite the bot, or name another channel.
const ABOUT_THE_CHANNEL: [&str; 10] = [
    "channel_not_found",
    "not_in_channel",
    "is_archived",
    "channel_is_archived",
    "posting_to_general_channel_denied",
    "restricted_action",
    "restricted_action_non_threadable_channel",
    "restricted_action_read_only_channel",
    "restricted_action_thread_locked",
    "restricted_action_thread_only_channel",
];

/// The outcome of an answer. A wrong token or a missing channel can be fixed, so no message is given up at once.
fn judge(answer: &HttpAnswer, by_method: bool) -> Outcome {
    let status = answer.describe("Slack");
    match answer.status {
        429 => return Outcome::not_now(answer.retry_after.unwrap_or(60), status),
        200 if !by_method => return Outcome::sent(status),
        200 => {}
        // Of one channel's incoming webhook. https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
        400..=499 if !by_method => return Outcome::failed(status).blaming(Blame::Unclear),
        _ => return Outcome::route_failed(status).blaming(Blame::Unclear),
    }
    let reply: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    if reply["ok"] == json!(true) {
        return Outcome::sent("Slack answered ok");
    }
    // Codes are words such as invalid_auth. Anything else is not repeated: it could be the token.
    let code = reply["error"].as_str().unwrap_or_default();
    let is_code = (1..=60).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    if !is_code {
        return Outcome::route_failed("Slack's answer is not one of its codes").blaming(Blame::Unclear);
    }
    let why = format!("Slack answered {code}");
    match code {
        "ratelimited" | "rate_limited" => Outcome::not_now(answer.retry_after.unwrap_or(60), why),
        _ if ABOUT_THE_RECEIVER.contains(&code) => Outcome::refused(why),
        _ if ABOUT_THE_MESSAGE.contains(&code) => Outcome::refused(why).blaming(Blame::Content),
        _ if ABOUT_THE_CHANNEL.contains(&code) => Outcome::failed(why),
        _ => Outcome::route_failed(why).blaming(Blame::Unclear),
    }
}

/// Escapes Slack's special characters `&`, `<` and `>`. Invisible characters become visible: `\u{200b}`.
fn escaped(text: &str) -> String {
    visible(text, true).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Escaped, and cut to this length.
fn fitting(text: &str, most: usize) -> String {
    let mut fitting = String::new();
    for c in text.chars() {
        let c = escaped(c.encode_utf8(&mut [0; 4]));
        if fitting.len() + c.len() > most {
            return fitting + "…";
        }
        fitting += &c;
    }
    fitting
}

/// The blocks, and the text for where blocks can't be shown.
fn payload(notifications: &Notifications) -> Value {
    // Slack takes at most 50 blocks, so a longer digest only counts the rest.
    const MOST: usize = 15;
    let mut blocks = Vec::new();
    if notifications.each.len() > 1 {
        blocks.push(section(&format!("*{}*", escaped(&notifications.subject))));
    }
    for notification in notifications.each.iter().take(MOST) {
        blocks.extend(notification_blocks(notification, &notifications.team.to_string()));
    }
    if let Some(more @ 1..) = notifications.each.len().checked_sub(MOST) {
        blocks.push(section(&format!("… and {more} more: `access inbox`")));
    }
    json!({
        "text": escaped(&notifications.subject),
        "blocks": blocks,
        "mrkdwn": false,
        "parse": "none",
        "link_names": false,
        "unfurl_links": false,
        "unfurl_media": false,
    })
}

/// Markdown: for our own text only.
fn section(markdown: &str) -> Value {
    json!({ "type": "section", "text": { "type": "mrkdwn", "text": markdown, "verbatim": true } })
}

fn plain(text: &str, most: usize) -> Value {
    json!({ "type": "plain_text", "text": fitting(&indented(text, 4), most), "emoji": false })
}

fn notification_blocks(notification: &Notification, team: &str) -> Vec<Value> {
    let mut blocks = vec![section(&format!("*{}* · {}", escaped(&notification.headline), escaped(team)))];
    // Slack takes at most 10 fields in a section.
    let facts: Vec<Value> =
        notification.facts.iter().take(10).map(|(label, fact)| plain(&format!("{label}: {fact}"), 1900)).collect();
    if facts.is_empty() {
        blocks.push(json!({ "type": "section", "text": plain(&notification.text, 2900) }));
    } else {
        blocks.push(json!({ "type": "section", "text": plain(&notification.text, 2900), "fields": facts }));
    }
    let commands: Vec<String> = notification.commands.iter().map(|command| format!("`{}`", escaped(command))).collect();
    if !commands.is_empty() {
        blocks.push(section(&commands.join("\n")));
    }
    blocks
}

/// A UUID that no message with another id has.
fn uuid(id: &str) -> String {
    let digits: String = Sha256::digest(id).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_is_a_mention() {
        assert_eq!(escaped("<!channel> & <@U1>"), "&lt;!channel&gt; &amp; &lt;@U1&gt;");
        assert_eq!(fitting("<<", 5), "&lt;…", "an escape is not cut in two");
    }

    #[test]
    fn what_slack_answers() {
        let judged = |status, body: &str, by_method| {
            judge(&HttpAnswer { status, retry_after: Some(7), elsewhere: None, body: body.to_owned() }, by_method)
        };
        let by_method = |status, body: &str| judged(status, body, true);
        assert!(matches!(by_method(200, r#"{"ok":true}"#), Outcome::Sent { .. }));
        assert!(matches!(by_method(200, r#"{"ok":false,"error":"user_not_found"}"#), Outcome::Refused { .. }));
        assert!(matches!(by_method(200, r#"{"ok":false,"error":"internal_error"}"#), Outcome::Failed { .. }));
        assert!(matches!(by_method(200, "<html>"), Outcome::Failed { .. }));
        assert!(matches!(by_method(429, ""), Outcome::NotNow { seconds: 7, .. }));
        assert!(matches!(by_method(502, ""), Outcome::Failed { .. }));
        // What somebody can put right loses no message, and what is wrong with one channel stops no other.
        for (code, route_failed) in [
            ("invalid_auth", true),
            ("token_revoked", true),
            ("not_in_channel", false),
            ("restricted_action_thread_only_channel", false),
        ] {
            let outcome = judged(200, &format!(r#"{{"ok":false,"error":"{code}"}}"#), true);
            assert!(matches!(outcome, Outcome::Failed { route_failed: found, .. } if found == route_failed), "{code}");
        }
        for status in [400, 403, 404, 410] {
            let outcome = judged(status, "no_service", false);
            assert!(matches!(outcome, Outcome::Failed { route_failed: false, .. }), "{status}");
        }
        let outcome = judged(200, r#"{"ok":false,"error":"xoxb-1234-secret"}"#, true);
        assert!(matches!(&outcome, Outcome::Failed { why, .. } if !why.contains("secret")));
    }
}
