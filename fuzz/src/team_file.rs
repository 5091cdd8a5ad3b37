//! The team file.

use access::domain::team::Team;
use access::domain::team::team_file::{parse, write};

pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match parse(text) {
        Ok(team) => {
            let written = write(&team);
            let again = parse(&written).unwrap_or_else(|mistakes| panic!("{mistakes}\n{written}"));
            assert_eq!(again, team, "{written}");
            assert_eq!(write(&again), written, "it is written in one way");
            assert!(team.owner().is_some_and(|(_, owner)| !owner.disabled), "a team has an owner");
            through_the_log(&team);
        }
        Err(mistakes) => {
            assert!((1..=100).contains(&mistakes.first.len()), "{mistakes}");
            let lines = text.split('\n').count();
            for mistake in &mistakes.first {
                assert!((1..=lines).contains(&mistake.line), "{mistake} is in a file of {lines} lines");
            }
        }
    }
}

/// A team is the same after it was recorded, and after the record was read.
fn through_the_log(team: &Team) {
    let changes = serde_json::to_string(&team.as_changes()).unwrap();
    let changes: Vec<access::domain::team::change::Change> = serde_json::from_str(&changes).unwrap();
    assert_eq!(changes, team.as_changes());
    let mut replayed = None;
    for change in &changes {
        Team::apply(&mut replayed, change).unwrap();
    }
    assert_eq!(replayed.as_ref(), Some(team));
    assert_eq!(team.changes_to(team), []);
}
