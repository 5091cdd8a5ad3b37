//! Stored entries of the log, a line each: they are read, described, and replayed.

use access::domain::audit::{GENESIS, link};
use access::domain::describe::{briefly, in_log, words};
use access::domain::event::{Entry, Event};
use access::domain::replay::{Model, history};

/// So many entries are replayed between two releases.
const BATCH: usize = 7;

pub fn check(data: &[u8]) {
    let entries: Vec<Entry> = data.split(|byte| *byte == b'\n').filter_map(read).collect();
    assert!(replay(&entries) <= data.len(), "more is kept than was read");
}

/// Returns how many notifications it found.
pub fn replay(entries: &[Entry]) -> usize {
    let (mut whole, mut released) = (Model::default(), Model::default());
    let mut faulty = false;
    let mut hash = GENESIS;
    for (number, entry) in entries.iter().enumerate() {
        hash = link(&hash, &serde_json::to_vec(entry).unwrap());
        let faults = [&mut whole, &mut released].map(|model| !model.take(entry.clone(), hash).is_empty());
        assert!(faulty || faults[0] == faults[1], "the first fault is found with and without what was released");
        faulty |= faults[0];
        if !faulty {
            is_nobodys_own(entry);
        }
        if number % BATCH == 0 {
            released.release();
        }
    }
    assert!(whole.requests.len() <= entries.len());
    assert_eq!(whole.team, released.team);
    let _ = history::team(entries.to_vec());
    let _ = history::request(entries.to_vec());
    whole.notifications.len()
}

pub fn read(line: &[u8]) -> Option<Entry> {
    let entry: Entry = serde_json::from_slice(line).ok()?;
    let printed = serde_json::to_string(&entry).unwrap();
    let again: Entry = serde_json::from_str(&printed).unwrap_or_else(|why| panic!("{why}: {printed}"));
    assert_eq!(again, entry);
    let value = serde_json::to_value(&entry.event).unwrap();
    assert_eq!(value["action"], entry.event.action());
    let actor = entry.actor.as_ref();
    assert!(!briefly(&entry.event, actor).is_empty() && !words(&entry.event, actor, None).is_empty());
    in_log(&entry.event, actor, None, &|time| time.to_string());
    Some(entry)
}

/// In a log without a fault, nobody approved their own grant.
fn is_nobodys_own(entry: &Entry) {
    if let Event::GrantStarted(granted) | Event::GrantScheduled(granted) = &entry.event {
        let own = granted.approved_by.contains(&granted.member);
        let met = granted.demands.iter().any(|demand| demand.by.contains(&granted.member));
        assert!(!own && !met, "{} approved their own grant", granted.member);
        // What was scheduled was approved before it begins.
        let begins = granted.start.is_some() && matches!(entry.event, Event::GrantStarted(_));
        assert!(begins || granted.by_rule.is_some() || !granted.approved_by.is_empty(), "nobody approved it");
    }
}
