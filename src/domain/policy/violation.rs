//! What a request breaks of the rules that match it.

use std::fmt;

use super::pattern::TicketPattern;
use crate::domain::duration::Length;
use crate::domain::name::RuleName;
use crate::domain::text::{Text, quantity};

/// A rule, and what a request breaks of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub rule: RuleName,
    pub breach: Breach,
}

impl Violation {
    pub fn message(&self) -> String {
        let rule = self.rule.as_str();
        match &self.breach {
            Breach::Denied { message } => format!("{message} (rule {rule:?})"),
            breach @ (Breach::Permanent { .. }
            | Breach::TooLong { .. }
            | Breach::NoTicket { .. }
            | Breach::ShortReason { .. }) => format!("the rule {rule:?} says: {breach}"),
        }
    }

    pub fn hints(&self) -> Vec<String> {
        self.breach.hint().into_iter().chain([RULES_HINT.to_owned()]).collect()
    }
}

/// What a request breaks of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Breach {
    /// The rule denies every request that it matches, with this message.
    Denied {
        message: Text,
    },
    /// `fits`: a length that no rule forbids.
    Permanent {
        fits: Option<Length>,
    },
    /// `together`: what else was counted, in words.
    TooLong {
        most: Length,
        together: String,
        fits: Option<Length>,
    },
    NoTicket {
        pattern: TicketPattern,
    },
    ShortReason {
        least: u32,
        has: usize,
    },
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Breach::Denied { message } => write!(f, "{message}"),
            Breach::Permanent { .. } => f.write_str("no permanent access"),
            Breach::TooLong { most, together, .. } => write!(f, "at most {most}{together}"),
            Breach::NoTicket { pattern } => write!(f, "it needs a ticket like {pattern}"),
            Breach::ShortReason { least, has } => {
                let least = quantity(*least, "character", "characters");
                write!(f, "it needs a reason of at least {least}, and this has {has}")
            }
        }
    }
}

impl Breach {
    /// The flag that would pass.
    fn hint(&self) -> Option<String> {
        match self {
            Breach::Denied { .. } => None,
            Breach::Permanent { fits } | Breach::TooLong { fits, .. } => {
                fits.map(|length| format!("this length is allowed: `--duration {length}`"))
            }
            Breach::NoTicket { .. } => {
                Some("give the ticket with --ticket, which `access request` and `access edit` take".to_owned())
            }
            Breach::ShortReason { .. } => {
                Some("give a longer reason with --reason, which `access request` and `access edit` take".to_owned())
            }
        }
    }
}

/// The hint that every violation ends with.
pub const RULES_HINT: &str = "`access team show` has the rules; `access request … --dry-run` shows which of them match";
