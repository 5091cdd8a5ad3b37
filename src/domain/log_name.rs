//! The name of a log.

use super::audit::{Hash, hex};
use super::event::Event;
use super::team::change::Change;

/// The name of the log that begins with this entry, with this hash: the name of its first team, and the beginning of the hash.
/// It never changes. Two logs have the same one only if they began with the same text in the same second.
pub fn log_name(first: &Event, hash: &Hash) -> String {
    let team = match first {
        Event::TeamInitialized { changes } => changes.iter().find_map(|change| match change {
            Change::Team(diff) => diff.after().map(|header| header.name.to_string()),
            _ => None,
        }),
        _ => None,
    };
    format!("access/{}/{}", team.as_deref().unwrap_or("team"), &hex(hash)[..16])
}
