//! What people type: names, resources, patterns, addresses and texts. No text acts on what shows it.

use access::domain::binding::ParameterValue;
use access::domain::catalog::Environment;
use access::domain::channel::{Channel, SlackChannel};
use access::domain::contact::{Email, SlackId, Timezone};
use access::domain::host::HostPower;
use access::domain::member::{Assignee, Login};
use access::domain::name::{Name, RuleName};
use access::domain::notification::NotificationKind;
use access::domain::policy::pattern::{Pattern, TicketPattern, is_like};
use access::domain::recertification::{ItemId, RecertificationId};
use access::domain::replica::NamedPosition;
use access::domain::resource::{Resource, ResourceOrName};
use access::domain::role::Role;
use access::domain::subscriber::Subscriber;
use access::domain::terms::RequestId;
use access::domain::text::{Text, Ticket, acts_or_hides, check_distinct, cut, is_hostile, shortened, visible};
use access::ui;
use regex_lite::Regex;

use super::reads_back;

pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    words(text);
    resources(text);
    addresses(text);
    texts(text);
    exits(text);
    let mut lines = text.lines();
    if let (Some(pattern), Some(subject)) = (lines.next(), lines.next()) {
        patterns(pattern, subject);
    }
}

fn words(text: &str) {
    let name = reads_back::<Name>(text);
    if name.is_some() {
        assert!(text.len() <= 63 && text.bytes().all(|b| b.is_ascii_graphic() && !b"/:\"'\\$`;&|<>*?~!#".contains(&b)));
        assert!(text.parse::<Login>().is_ok(), "each name is a possible login");
    }
    if let Some(login) = reads_back::<Login>(text) {
        assert!(!login.as_str().contains(|c: char| is_hostile(c) || c.is_whitespace() || ":/,".contains(c)));
        assert!(!login.as_str().starts_with('-'));
    }
    if let Some(value) = reads_back::<ParameterValue>(text) {
        assert!(!value.as_str().starts_with('-') && !value.as_str().contains(acts_or_hides));
    }
    if let Some(rule) = reads_back::<RuleName>(text) {
        assert!(!rule.as_str().contains(is_hostile));
    }
    reads_back::<Assignee>(text);
    reads_back::<Role>(text);
    reads_back::<Environment>(text);
    reads_back::<Channel>(text);
    reads_back::<HostPower>(text);
    reads_back::<NotificationKind>(text);
    reads_back::<RequestId>(text);
    reads_back::<RecertificationId>(text);
    reads_back::<ItemId>(text);
    reads_back::<NamedPosition>(text);
    reads_back::<Subscriber>(text);
    if check_distinct(text).is_ok() && !text.contains(is_hostile) {
        assert_eq!(visible(text, false), text, "what is distinct is shown as it is");
    }
}

fn resources(text: &str) {
    if let Some(resource) = reads_back::<Resource>(text) {
        assert_eq!(text.parse::<ResourceOrName>(), Ok(ResourceOrName::Resource(resource.clone())));
        let pattern: Pattern = text.parse().unwrap();
        assert!(pattern.matches(&resource) && pattern.names() == Some(resource));
    }
    if let Some(pattern) = reads_back::<Pattern>(text) {
        assert!(pattern.to_string().starts_with(&pattern.beginning()));
    }
}

fn patterns(pattern: &str, subject: &str) {
    if pattern.len() <= 63 && subject.len() <= 63 && pattern.bytes().all(|b| b.is_ascii_lowercase() || b == b'*') {
        let regex = Regex::new(&format!("^{}$", pattern.replace('*', "(?s:.*)"))).unwrap();
        assert_eq!(is_like(pattern, subject), regex.is_match(subject), "{pattern:?} {subject:?}");
    }
    if let (Some(pattern), Ok(ticket)) = (reads_back::<TicketPattern>(pattern), subject.parse::<Ticket>()) {
        let matches = pattern.matches(&ticket);
        let whole = Regex::new(&pattern.to_string()).unwrap();
        let found = whole.find_iter(ticket.as_str()).any(|found| found.as_str() == ticket.as_str());
        // An alternative that fits a part can be found first, so only one direction holds.
        assert!(matches || !found, "{pattern} finds all of {ticket}, and is said not to match");
    }
}

fn addresses(text: &str) {
    if let Some(email) = reads_back::<Email>(text) {
        let wire = email.on_the_wire();
        let acts = |c: char| c.is_control() || c.is_whitespace() || "<>,;:\"\\".contains(c);
        assert!(!wire.contains(acts), "{wire:?} acts on a header or on SMTP");
        assert_eq!(wire.matches('@').count(), 1, "{wire:?}");
    }
    if Email::check(text).is_ok() {
        let email: Email = text.parse().unwrap();
        assert!(email.on_the_wire().is_ascii(), "{email}");
    }
    reads_back::<SlackId>(text);
    reads_back::<SlackChannel>(text);
    if let Some(zone) = reads_back::<Timezone>(text) {
        assert!(!zone.as_str().contains("..") && !zone.as_str().starts_with('/'), "{zone} leaves the folder of zones");
    }
}

fn texts(text: &str) {
    if let Some(reason) = reads_back::<Text>(text) {
        assert_eq!(reason.as_str(), text, "a reason is kept as it was typed");
        assert!(text.len() <= 4096 && !text.contains(|c| is_hostile(c) && c != '\n'));
    }
    if let Some(ticket) = reads_back::<Ticket>(text) {
        assert!(!ticket.as_str().contains(is_hostile));
    }
    for most in [1, 2, 10, 80] {
        assert!(cut(text, most).chars().count() <= most + 1);
        let short = shortened(text, most);
        assert!(short.chars().count() <= most.max(2) + 1, "{most}: {short:?}");
    }
}

/// The escapes of each exit, read back as a reader does.
fn exits(text: &str) {
    assert!(!ui::line(text).contains(acts_or_hides), "{text:?} acts on a terminal");
    assert!(!ui::lines(text).contains(|c| acts_or_hides(c) && c != '\n'), "{text:?} acts on a terminal");
    let json = ui::json(&serde_json::to_string(text).unwrap()).into_owned();
    assert!(!json.contains(acts_or_hides));
    assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    let mut row = Vec::new();
    let cells = [text.to_owned(), "x".to_owned(), text.to_owned()];
    ui::csv::row(&mut row, &cells).unwrap();
    let row = String::from_utf8(row).unwrap();
    let read = csv(&row);
    assert_eq!(read.len(), 3, "{row:?}");
    for cell in [&read[0], &read[2]] {
        let shown = ui::lines(text);
        assert!(*cell == shown || *cell == format!("'{shown}"), "{cell:?}");
        assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']), "{cell:?}");
    }
    let mut html = ui::Html::default();
    html.text(text);
    let html = html.into_text();
    assert!(!html.contains(['<', '>', '"', '\'']), "{html:?}");
    assert!(html.split('&').skip(1).all(|rest| rest.split_once(';').is_some_and(|(name, _)| name.len() <= 5)));
}

/// A row as RFC 4180 has it.
fn csv(row: &str) -> Vec<String> {
    let (mut cells, mut cell, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = row.strip_suffix("\r\n").unwrap().chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.next_if_eq(&'"').is_some() => cell.push('"'),
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(std::mem::take(&mut cell)),
            '\r' | '\n' if !quoted => panic!("a row of {row:?} has two lines"),
            c => cell.push(c),
        }
    }
    assert!(!quoted, "{row:?}");
    cells.push(cell);
    cells
}
