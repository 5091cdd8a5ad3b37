//! A list that hosts store outside the shared log, in as many values as it needs. The first value says how many follow.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Error;
use super::shared::problem;
use crate::log::Engine;

/// The most bytes in a value: the database takes 64 KiB, and writes JSON with spaces.
const PART: usize = 40_000;
const MOST_PARTS: usize = 64;

/// What a key has: something about the whole list, and its rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SideList<H, R> {
    #[serde(flatten)]
    pub about: H,
    /// How many more values have the rest of the rows.
    #[serde(default, skip_serializing_if = "is_none")]
    parts: usize,
    pub rows: Vec<R>,
}

/// A list and its version.
type Versioned<H, R> = (i64, SideList<H, R>);

/// A further value with rows, of this version of the first.
#[derive(Debug, Serialize, Deserialize)]
struct SidePart<R> {
    of: i64,
    rows: Vec<R>,
}

impl<H: Default, R> Default for SideList<H, R> {
    fn default() -> SideList<H, R> {
        SideList { about: H::default(), parts: 0, rows: Vec::new() }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_none(parts: &usize) -> bool {
    *parts == 0
}

fn part_key(key: &str, part: usize) -> String {
    format!("{key}/{part}")
}

impl<H, R> SideList<H, R>
where
    H: Clone + Serialize + DeserializeOwned,
    R: Clone + Serialize + DeserializeOwned,
{
    pub fn new(about: H, rows: Vec<R>) -> SideList<H, R> {
        SideList { about, parts: 0, rows }
    }

    /// What a host stored last, and its version. None: nothing yet.
    pub fn fetch(engine: &mut Engine, key: &str) -> Result<Option<Versioned<H, R>>, Error> {
        const TRIES: usize = 5;
        for _ in 0..TRIES {
            let first = engine.side_get(&[key.to_owned()]).map_err(problem)?;
            let Some((version, value)) = first.into_iter().find_map(|side| Some((side.version, side.value?))) else {
                return Ok(None);
            };
            let mut list: SideList<H, R> = parsed(&value)?;
            let keys: Vec<String> = (1..=list.parts.min(MOST_PARTS)).map(|part| part_key(key, part)).collect();
            let parts = if keys.is_empty() { Vec::new() } else { engine.side_get(&keys).map_err(problem)? };
            let parts = parts.iter().map(|side| parsed(side.value.as_deref().unwrap_or_default()));
            let parts = parts.collect::<Result<Vec<SidePart<R>>, Error>>()?;
            // Else it changed meanwhile.
            if parts.iter().all(|part| part.of == version) {
                list.rows.extend(parts.into_iter().flat_map(|part| part.rows));
                list.parts = 0;
                return Ok(Some((version, list)));
            }
        }
        Err(Error::Busy)
    }

    /// Replaces what has this version. Returns the new one. None: another host was first.
    /// `too_long`: what to do about a list that is too long.
    pub fn set(&self, engine: &mut Engine, key: &str, version: i64, too_long: &str) -> Result<Option<i64>, Error> {
        let (first, further) = self.values(key, version + 1, too_long)?;
        engine.side_set(key, version, &first, &further).map_err(problem)
    }

    /// The first value, and the further ones with their keys. `version`: the one that the first gets.
    pub fn values(&self, key: &str, version: i64, too_long: &str) -> Result<(String, Vec<(String, String)>), Error> {
        let mut parts: Vec<Vec<R>> = vec![Vec::new()];
        let mut room = PART;
        for row in &self.rows {
            let size = text(row)?.len();
            if size > room {
                parts.push(Vec::new());
                room = PART;
            }
            room = room.saturating_sub(size);
            parts.last_mut().expect("there is one").push(row.clone());
        }
        if parts.len() > MOST_PARTS {
            let message = format!("{key} has become longer than what hosts that share a log can tell each other");
            return Err(Error::Shared { message, hint: too_long.to_owned() });
        }
        let mut parts = parts.into_iter();
        let rows = parts.next().unwrap_or_default();
        let first = text(&SideList { about: self.about.clone(), parts: parts.len(), rows })?;
        let further = parts.enumerate().map(|(at, rows)| {
            let value = text(&SidePart { of: version, rows })?;
            Ok((part_key(key, at + 1), value))
        });
        Ok((first, further.collect::<Result<_, Error>>()?))
    }
}

fn text(value: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::Internal { message: format!("JSON: {error}") })
}

pub fn parsed<'v, T: Deserialize<'v>>(text: &'v str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(unreadable)
}

pub fn unreadable(why: impl std::fmt::Display) -> Error {
    Error::Shared {
        message: format!("what the hosts tell each other beside the log can't be read: {why}"),
        hint: "if another host has a newer version of access, install it here too".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "in a test, panicking is failing")]

    use super::*;

    #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
    struct About {
        through: i64,
    }

    #[test]
    fn each_value_is_small_enough_and_together_they_are_the_whole() {
        let rows = |count: i64| (0..count).map(|id| format!("{id} {}", "x".repeat(190))).collect();
        let list: SideList<About, String> = SideList::new(About { through: 7 }, rows(5000));
        let (first, further) = list.values("delivery", 4, "drop some").unwrap();
        let mut whole: SideList<About, String> = parsed(&first).unwrap();
        assert_eq!((whole.parts, whole.about.through), (further.len(), 7));
        for (at, (key, part)) in further.iter().enumerate() {
            assert_eq!(*key, format!("delivery/{}", at + 1));
            assert!(part.len() < 50_000);
            let part: SidePart<String> = parsed(part).unwrap();
            assert_eq!(part.of, 4);
            whole.rows.extend(part.rows);
        }
        assert_eq!(whole.rows, list.rows);
        let more: SideList<About, String> = SideList::new(About::default(), rows(50_000));
        assert!(
            matches!(more.values("delivery", 1, "drop some"), Err(Error::Shared { hint, .. }) if hint == "drop some")
        );
    }
}
