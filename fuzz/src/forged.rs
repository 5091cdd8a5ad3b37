//! Logs that nobody wrote: the entries of real ones, changed and put together as the bytes say. What comes out has the shape of a log,
//! so it gets further than bytes do.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use access::domain::event::Entry;
use serde_json::Value;

use super::entries;

const LOGS: [&str; 8] = [
    include_str!("../seeds/entries/log-v1.jsonl"),
    include_str!("../seeds/entries/log-v1-rules.jsonl"),
    include_str!("../seeds/entries/log-v2-checkpoints.jsonl"),
    include_str!("../seeds/entries/log-v2-connectors.jsonl"),
    include_str!("../seeds/entries/log-v2-edits.jsonl"),
    include_str!("../seeds/entries/log-v2-recertifications.jsonl"),
    include_str!("../seeds/entries/log-v2-sessions.jsonl"),
    include_str!("../seeds/entries/log-v2-team.jsonl"),
];
/// The most changes of one log.
const CHANGES: usize = 24;

/// The entries of all logs, and the values that each key has anywhere in them.
struct Material {
    logs: Vec<Vec<Value>>,
    all: Vec<Value>,
    values: BTreeMap<String, Vec<Value>>,
}

static MATERIAL: LazyLock<Material> = LazyLock::new(|| {
    let lines = |log: &&str| log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let logs: Vec<Vec<Value>> = LOGS.iter().map(lines).collect();
    let all = logs.concat();
    let mut values: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for entry in &all {
        for place in places(entry) {
            let known = values.entry(key(&place).to_owned()).or_default();
            let value = entry.pointer(&place).unwrap();
            if !known.contains(value) {
                known.push(value.clone());
            }
        }
    }
    Material { logs, all, values }
});

/// The names of all fields in the logs.
pub fn field_names() -> Vec<&'static str> {
    MATERIAL.values.keys().map(String::as_str).collect()
}

/// The pointers to all values inside of a value.
fn places(value: &Value) -> Vec<String> {
    let below = |step: String, value: &Value| {
        let further = places(value).into_iter().map(|rest| format!("/{step}{rest}"));
        [format!("/{step}")].into_iter().chain(further).collect::<Vec<String>>()
    };
    match value {
        Value::Object(fields) => fields.iter().flat_map(|(key, value)| below(key.replace('/', "~1"), value)).collect(),
        Value::Array(items) => items.iter().enumerate().flat_map(|(at, item)| below(at.to_string(), item)).collect(),
        _ => Vec::new(),
    }
}

/// The last key of a place that is a name.
fn key(place: &str) -> &str {
    place.rsplit('/').find(|step| step.parse::<usize>().is_err()).unwrap_or_default()
}

struct Choices<'b>(&'b [u8]);

impl Choices<'_> {
    fn next(&mut self) -> usize {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        usize::from(*first)
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        let wide = if all.len() > 256 { self.next() * 256 } else { 0 };
        &all[(wide + self.next()) % all.len()]
    }
}

pub fn check(data: &[u8]) {
    let mut choices = Choices(data);
    let material = &*MATERIAL;
    let log = choices.of(&material.logs);
    let mut entries: Vec<Value> = log[..1 + choices.next() % log.len()].to_vec();
    for _ in 0..CHANGES {
        if choices.0.is_empty() {
            break;
        }
        change(&mut entries, material, &mut choices);
    }
    number(&mut entries);
    let entries: Vec<Entry> = entries.iter().filter_map(|entry| entries::read(entry.to_string().as_bytes())).collect();
    entries::replay(&entries);
}

fn change(entries: &mut Vec<Value>, material: &Material, choices: &mut Choices<'_>) {
    let how = choices.next();
    // The last ones are those that changes are about.
    let at = entries.len() - 1 - choices.next() % entries.len();
    match how % 8 {
        0 => drop(entries.remove(at)),
        1 => entries.insert(at, choices.of(&material.all).clone()),
        2 | 3 => entries.push(choices.of(&material.all).clone()),
        _ => {
            let place = choices.of(&places(&entries[at])).clone();
            let value = entries[at].pointer_mut(&place).unwrap();
            match (how % 8, &mut *value) {
                (4, Value::Array(items)) if !items.is_empty() => {
                    let item = choices.of(items).clone();
                    items.push(item);
                }
                (4, Value::Number(number)) => {
                    *value = number.as_i64().unwrap_or(0).saturating_add(choices.next() as i64 - 3).into()
                }
                (5, _) => *value = Value::Null,
                _ => *value = choices.of(&material.values[key(&place)]).clone(),
            }
        }
    }
    if entries.is_empty() {
        entries.push(material.all[0].clone());
    }
}

/// Numbers them in their order, and lets no time go back, which replay refuses first.
fn number(entries: &mut [Value]) {
    let mut latest = String::new();
    for (seq, entry) in (1..).zip(entries) {
        entry["seq"] = seq.into();
        let at = entry["at"].as_str().unwrap_or_default();
        if at < latest.as_str() {
            entry["at"] = latest.as_str().into();
        } else {
            latest = at.to_owned();
        }
    }
}
