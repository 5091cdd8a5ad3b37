//! Slack: `chat.postMessage` with a bot's token to members and channels, and incoming webhooks for channels.
//!
//! What people wrote stands in plain-text elements and is escaped besides, so that none of it is a mention or a link.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::http::{Answer, Client, check_url};
use super::secret::{Place, Secret};
use super::{Carried, Carrier};
use crate::config;
use crate::domain::letter::{Letter, Piece};
use crate::domain::outbox::{Address, Content, Outcome, Parcel};
use crate::domain::preference::SlackChannel;
use crate::error::Failure;

const API: &str = "https://slack.com/api";

pub struct Slack {
    api: String,
    token: Option<Secret>,
    webhooks: BTreeMap<SlackChannel, Secret>,
    client: Client,
}

impl Slack {
    pub fn new(wiring: &config::Slack) -> Result<Slack, Failure> {
        let api = wiring.api.as_deref().unwrap_or(API).trim_end_matches('/').to_owned();
        check_url("slack", &api, &[])?;
        let token = Secret::load(Place {
            what: "token",
            file: wiring.token_file.as_deref(),
            credential: wiring.token_credential.as_deref(),
            env: wiring.token_env.as_deref(),
        })?;
        let mut webhooks = BTreeMap::new();
        let mut encrypted = token.is_some() && api.starts_with("https:");
        for (channel, file) in &wiring.webhooks {
            let url = Secret::in_file(file)?;
            check_url(&format!("the Slack webhook of {channel}"), url.reveal(), &[])?;
            encrypted |= url.reveal().starts_with("https:");
            webhooks.insert(channel.clone(), url);
        }
        let client = Client::new(encrypted, wiring.ca_file.as_deref());
        Ok(Slack { api, token, webhooks, client })
    }

    fn post(&self, token: &Secret, channel: &str, letter: &Letter, timeout: Duration) -> Result<Answer, String> {
        let mut message = message(letter);
        message["channel"] = json!(channel);
        // The same at every attempt: whoever looks can tell a message that came twice.
        message["client_msg_id"] = json!(uuid(&letter.token));
        let payload = json!({ "id": letter.token });
        message["metadata"] = json!({ "event_type": "access_notification", "event_payload": payload });
        let authorization = format!("Bearer {}", token.reveal());
        let url = format!("{}/chat.postMessage", self.api);
        self.client.post(&url, &[("authorization", &authorization)], &message.to_string(), timeout)
    }
}

impl Carrier for Slack {
    fn carry(&mut self, parcel: &Parcel, timeout: Duration) -> Carried {
        let Content::Letter(letter) = &parcel.content else { return Carried::refused("Slack takes letters only") };
        let (channel, webhook) = match &parcel.to {
            Address::Slack(id) => (id.as_str(), None),
            Address::Channel(channel) => (channel.as_str(), self.webhooks.get(channel)),
            Address::Email(_) | Address::Webhook(_) => return Carried::refused("that is no address on Slack"),
        };
        let (answer, by_method) = match (webhook, &self.token) {
            (Some(url), _) => (self.client.post(url.reveal(), &[], &message(letter).to_string(), timeout), false),
            (None, Some(token)) => (self.post(token, channel, letter, timeout), true),
            (None, None) => return Carried::refused("there is no token for Slack"),
        };
        match answer {
            Ok(answer) => judge(&answer, by_method),
            Err(why) => Carried::route_failed(why),
        }
    }
}

/// What an answer of Slack's means. https://docs.slack.dev/reference/methods/chat.postMessage
fn judge(answer: &Answer, by_method: bool) -> Carried {
    let status = format!("Slack answered {}", answer.status);
    match answer.status {
        429 => {
            let seconds = answer.retry_after.unwrap_or(60);
            return Carried { outcome: Outcome::NotNow { seconds, why: status }, route_failed: true };
        }
        200 if !by_method => return Carried::sent(status),
        200 => {}
        // Of an incoming webhook: gone, or the channel archived. https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
        400 | 403 | 404 | 410 if !by_method => return Carried::refused(status),
        300..=399 => return Carried::refused(format!("{status}, which sends elsewhere, and that is not followed")),
        _ => return Carried::route_failed(status),
    }
    let said: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    if said["ok"] == json!(true) {
        return Carried::sent("Slack answered ok");
    }
    // Their codes are words such as invalid_auth; nothing else is repeated.
    let code: String = said["error"].as_str().unwrap_or("nothing of sense").chars().take(60).collect();
    let code = code.replace(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ' '), "");
    let why = format!("Slack answered {code}");
    match code.as_str() {
        "internal_error"
        | "fatal_error"
        | "service_unavailable"
        | "request_timeout"
        | "team_added_to_org"
        | "nothing of sense" => Carried::route_failed(why),
        "ratelimited" | "rate_limited" => {
            let seconds = answer.retry_after.unwrap_or(60);
            Carried { outcome: Outcome::NotNow { seconds, why }, route_failed: true }
        }
        _ => Carried::refused(why),
    }
}

/// `&`, `<` and `>` are all that Slack's text gives a meaning that matters.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Escaped, and no longer than an element may be.
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

/// The text that stands where blocks can't, and the blocks.
fn message(letter: &Letter) -> Value {
    // At most 50 blocks make a message; a digest of more says how many there are.
    const PIECES: usize = 15;
    let mut blocks = Vec::new();
    if letter.pieces.len() > 1 {
        blocks.push(section(&format!("*{}*", escaped(&letter.subject))));
    }
    for piece in letter.pieces.iter().take(PIECES) {
        blocks.extend(piece_blocks(piece, &letter.team.to_string()));
    }
    if let Some(more @ 1..) = letter.pieces.len().checked_sub(PIECES) {
        blocks.push(section(&format!("… and {more} more: `access inbox`")));
    }
    json!({
        "text": escaped(&letter.subject),
        "blocks": blocks,
        "mrkdwn": false,
        "parse": "none",
        "link_names": false,
        "unfurl_links": false,
        "unfurl_media": false,
    })
}

/// Our own words only: in these, marks mean something.
fn section(markdown: &str) -> Value {
    json!({ "type": "section", "text": { "type": "mrkdwn", "text": markdown, "verbatim": true } })
}

fn plain(text: &str, most: usize) -> Value {
    json!({ "type": "plain_text", "text": fitting(text, most), "emoji": false })
}

fn piece_blocks(piece: &Piece, team: &str) -> Vec<Value> {
    let mut blocks = vec![section(&format!("*{}* · {}", escaped(&piece.headline), escaped(team)))];
    let facts: Vec<Value> = piece.facts.iter().map(|(label, fact)| plain(&format!("{label}: {fact}"), 1900)).collect();
    if facts.is_empty() {
        blocks.push(json!({ "type": "section", "text": plain(&piece.text, 2900) }));
    } else {
        blocks.push(json!({ "type": "section", "text": plain(&piece.text, 2900), "fields": facts }));
    }
    let commands: Vec<String> = piece.commands.iter().map(|command| format!("`{}`", escaped(command))).collect();
    if !commands.is_empty() {
        blocks.push(section(&commands.join("\n")));
    }
    blocks
}

/// The token, in the shape of a UUID.
fn uuid(token: &str) -> String {
    let digits: String = token.chars().filter(char::is_ascii_hexdigit).chain("0".chars().cycle()).take(32).collect();
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
        let judged =
            |status, body: &str| judge(&Answer { status, retry_after: Some(7), body: body.to_owned() }, true).outcome;
        assert!(matches!(judged(200, r#"{"ok":true}"#), Outcome::Sent { .. }));
        assert!(matches!(judged(200, r#"{"ok":false,"error":"invalid_auth"}"#), Outcome::Refused { .. }));
        assert!(matches!(judged(200, r#"{"ok":false,"error":"internal_error"}"#), Outcome::Failed { .. }));
        assert!(matches!(judged(200, "<html>"), Outcome::Failed { .. }));
        assert!(matches!(judged(429, ""), Outcome::NotNow { seconds: 7, .. }));
        assert!(matches!(judged(502, ""), Outcome::Failed { .. }));
    }
}
