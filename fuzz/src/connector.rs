//! What a connector prints. The first byte says how it ended, the second which operations it was given.

use access::connectors::protocol::{ConnectorAnswer, Operation, Provision};
use access::domain::text::acts_or_hides;
use access::provisioning::answers::{ProgramEnd, answers};

fn act() -> Provision {
    Provision {
        login: "bob".parse().unwrap(),
        parameters: [("role".parse().unwrap(), "rw".parse().unwrap())].into(),
        request: None,
        until: None,
        end_sessions: false,
        key: "k".to_owned(),
    }
}

fn operations(which: u8) -> Vec<Operation> {
    let list = || Operation::List { parameters: Vec::new() };
    match which % 5 {
        0 => vec![list()],
        1 => vec![Operation::Grant(act())],
        2 => vec![list(), Operation::Grant(act()), Operation::Revoke(act())],
        3 => vec![Operation::Revoke(act()), list(), list()],
        _ => Vec::new(),
    }
}

pub fn check(data: &[u8]) {
    let Some(([how, which], output)) = data.split_first_chunk() else { return };
    let ended = match how % 4 {
        0 => ProgramEnd::Exited(0),
        1 => ProgramEnd::Exited(75),
        2 => ProgramEnd::Exited(1),
        _ => ProgramEnd::Killed(9),
    };
    let operations = operations(*which);
    let answers = answers(&operations, output, &ended, "");
    assert_eq!(answers.len(), operations.len(), "an answer to each");
    for (operation, answer) in operations.iter().zip(&answers) {
        let said = match (operation, answer) {
            (_, Err(why)) => Some(why),
            (Operation::List { .. }, Ok(ConnectorAnswer::Done { .. })) => panic!("a list was answered by `done`"),
            (Operation::Grant(_) | Operation::Revoke(_), Ok(ConnectorAnswer::Holds(_))) => {
                panic!("an act was answered by a list")
            }
            (_, Ok(ConnectorAnswer::Done { note, .. })) => note.as_ref(),
            (_, Ok(ConnectorAnswer::Later(why) | ConnectorAnswer::Failed(why))) => Some(why),
            (_, Ok(ConnectorAnswer::Holds(holders))) => {
                assert!(holders.len() <= output.len(), "more holders than were printed");
                None
            }
        };
        if let Some(said) = said {
            assert!(said.chars().count() <= 600, "{} characters are kept", said.chars().count());
            assert!(!said.contains(acts_or_hides), "{said:?} is shown to people");
        }
        // A program that was killed and said nothing has done nothing that is known.
        if output.is_empty() && matches!(ended, ProgramEnd::Killed(_)) {
            assert!(answer.is_err());
        }
    }
}
