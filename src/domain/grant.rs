//! The grant that an approved request gives, and the state of both.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Malformed;
use super::name::{Name, RuleName};
use super::terms::{RequestId, Terms};
use super::time::Timestamp;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    pub request: RequestId,
    pub member: Name,
    pub terms: Terms,
    /// Whether the terms granted differ from those asked.
    pub modified: bool,
    pub starts_at: Timestamp,
    /// None: permanent.
    pub ends_at: Option<Timestamp>,
    /// The rule that granted it, where no person did.
    pub by_rule: Option<RuleName>,
    /// Who may review it, if it is an emergency. None: not recorded then (log format 1).
    pub reviewers: Option<Vec<Name>>,
    /// Whether its beginning is on the record; the clock is what begins it.
    pub begun: bool,
    /// Whether its member was warned that it ends soon.
    pub warned: bool,
    /// Set once its end is on the record.
    pub ended: Option<Ended>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// When access ended, which may be before that was recorded.
    pub at: Timestamp,
    pub how: EndedHow,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndedHow {
    Expired,
    /// Who revoked it. None: root, who need not be a member.
    Revoked {
        by: Option<Name>,
    },
}

impl Grant {
    /// Expiry is a function of the time: a grant past its end is over, whether or not anything has recorded it.
    pub fn state(&self, now: Timestamp) -> State {
        match &self.ended {
            Some(Ended { how: EndedHow::Expired, .. }) => State::Expired,
            Some(Ended { how: EndedHow::Revoked { .. }, .. }) => State::Revoked,
            None if self.ends_at.is_some_and(|end| end <= now) => State::Expired,
            None if self.starts_at > now => State::Scheduled,
            None => State::Active,
        }
    }

    pub fn is_live(&self, now: Timestamp) -> bool {
        self.state(now) == State::Active
    }

    /// When access ended, by the clock or by a revoke; None while it has not.
    pub fn ended_at(&self, now: Timestamp) -> Option<Timestamp> {
        match &self.ended {
            Some(ended) => Some(ended.at),
            None => self.ends_at.filter(|&end| end <= now),
        }
    }
}

/// The state of a request, or of its grant once it has one, at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Pending,
    Scheduled,
    Active,
    Denied,
    Withdrawn,
    Lapsed,
    Expired,
    Revoked,
}

impl State {
    pub const ALL: [State; 8] = [
        State::Pending,
        State::Scheduled,
        State::Active,
        State::Denied,
        State::Withdrawn,
        State::Lapsed,
        State::Expired,
        State::Revoked,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            State::Pending => "pending",
            State::Scheduled => "scheduled",
            State::Active => "active",
            State::Denied => "denied",
            State::Withdrawn => "withdrawn",
            State::Lapsed => "lapsed",
            State::Expired => "expired",
            State::Revoked => "revoked",
        }
    }

    /// Whether something may still happen: pending, scheduled or active.
    pub fn is_open(self) -> bool {
        match self {
            State::Pending | State::Scheduled | State::Active => true,
            State::Denied | State::Withdrawn | State::Lapsed | State::Expired | State::Revoked => false,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for State {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<State, Malformed> {
        let names = State::ALL.map(State::as_str).join(", ");
        State::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| Malformed::new(format!("a state is one of {names}")))
    }
}

#[cfg(test)]
pub mod examples {
    use super::*;
    use crate::domain::terms::End;

    pub fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix(1_000_000 + seconds).unwrap()
    }

    /// A grant to bob, who asked for this start and end.
    pub fn grant(number: i64, from: i64, to: i64) -> Grant {
        let terms = Terms { resource: "role:admin".parse().unwrap(), end: End::At(at(to)), start: Some(at(from)) };
        Grant {
            request: number.try_into().unwrap(),
            member: "bob".parse().unwrap(),
            terms,
            modified: false,
            starts_at: at(from),
            ends_at: Some(at(to)),
            by_rule: None,
            reviewers: None,
            begun: false,
            warned: false,
            ended: None,
        }
    }

    pub fn revoked(grant: Grant) -> Grant {
        Grant { ended: Some(Ended { at: grant.starts_at, how: EndedHow::Revoked { by: None } }), ..grant }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_reads_back_as_it_is_written() {
        for state in State::ALL {
            assert_eq!(state.to_string().parse(), Ok(state));
        }
        assert_eq!(State::Active.as_str(), "active");
        assert!("".parse::<State>().is_err());
    }
}
