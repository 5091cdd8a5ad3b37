//! The loop of a shipped connector: reads operations, carries them out, writes an answer for each.

use std::io::{BufRead, Write};

use super::protocol::{ConnectorAnswer, Holder, Operation, Provision};
use crate::domain::binding::Parameters;
use crate::error::{Failure, Kind};

/// The system in which a connector gives and takes back access. To give what is there, or to take back what is not, is done.
pub trait System {
    /// Everyone who holds these parameters now, including those to whom access did not give them.
    fn list(&mut self, parameters: &[Parameters]) -> Result<Vec<Holder>, NotDone>;

    fn grant(&mut self, act: &Provision) -> Result<GrantEffect, NotDone>;

    /// Returns a note on what the act does not reach, if any.
    fn revoke(&mut self, act: &Provision) -> Result<Option<String>, NotDone>;
}

/// What a grant did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrantEffect {
    Given,
    /// It changed nothing: the login had it. If an earlier try of the same act can have given it, that is `Given`.
    WasThere,
}

/// Why an operation was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotDone {
    /// It may work later: the system does not answer, or is busy.
    Later(String),
    Failed(String),
}

impl NotDone {
    /// The same, but not final: an earlier try may have had its effect.
    pub fn later(self) -> NotDone {
        match self {
            NotDone::Later(why) | NotDone::Failed(why) => NotDone::Later(why),
        }
    }
}

impl From<GrantEffect> for ConnectorAnswer {
    fn from(effect: GrantEffect) -> ConnectorAnswer {
        ConnectorAnswer::Done { note: None, was_there: effect == GrantEffect::WasThere }
    }
}

impl From<NotDone> for ConnectorAnswer {
    fn from(problem: NotDone) -> ConnectorAnswer {
        match problem {
            NotDone::Later(why) => ConnectorAnswer::Later(why),
            NotDone::Failed(why) => ConnectorAnswer::Failed(why),
        }
    }
}

/// Serves until the end of the input.
pub fn serve(system: &mut dyn System, input: impl BufRead, mut output: impl Write) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::new(Kind::Io, format!("the connector's input or output: {error}"));
    for line in input.lines() {
        let line = line.map_err(failed)?;
        let answer = match serde_json::from_str(&line) {
            Ok(operation) => carry_out(system, &operation),
            Err(error) => ConnectorAnswer::Failed(format!("the operation is not valid: {error}")),
        };
        let answer = serde_json::to_string(&answer).map_err(|error| failed(error.into()))?;
        writeln!(output, "{answer}").and_then(|()| output.flush()).map_err(failed)?;
    }
    Ok(())
}

fn carry_out(system: &mut dyn System, operation: &Operation) -> ConnectorAnswer {
    let answer = match operation {
        Operation::List { parameters } => system.list(parameters).map(ConnectorAnswer::Holds),
        Operation::Grant(act) => system.grant(act).map(Into::into),
        Operation::Revoke(act) => system.revoke(act).map(|note| ConnectorAnswer::Done { note, was_there: false }),
    };
    answer.unwrap_or_else(Into::into)
}
