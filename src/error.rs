//! Failures as people and scripts see them: what happened, what to do next, and the exit code.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::refusal::{Refusal, RefusalKind};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Failure,
    Usage,
    Refused,
    NotFound,
    Conflict,
    Invalid,
    Unavailable,
    Internal,
    Io,
    Busy,
    /// Ctrl-C at a prompt.
    Interrupted,
}

impl Kind {
    /// The exit codes above 5 are those of BSD's sysexits.h.
    pub const fn exit_code(self) -> u8 {
        match self {
            Kind::Failure => 1,
            Kind::Usage => 2,
            Kind::Refused => 3,
            Kind::NotFound => 4,
            Kind::Conflict => 5,
            Kind::Invalid => 65,
            Kind::Unavailable => 69,
            Kind::Internal => 70,
            Kind::Io => 74,
            Kind::Busy => 75,
            Kind::Interrupted => 130,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub kind: Kind,
    pub message: String,
    pub hints: Vec<String>,
}

impl Failure {
    pub fn new(kind: Kind, message: impl Into<String>) -> Failure {
        Failure { kind, message: message.into(), hints: Vec::new() }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hints.push(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        let kind = match refusal.kind() {
            RefusalKind::Usage => Kind::Usage,
            RefusalKind::Refused => Kind::Refused,
            RefusalKind::NotFound => Kind::NotFound,
            RefusalKind::Conflict => Kind::Conflict,
        };
        Failure { kind, message: refusal.message(), hints: refusal.hints() }
    }
}
