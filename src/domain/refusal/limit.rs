//! Refusals because something was done too often.

use super::kind::RefusalKind;
use crate::domain::duration::{self, Length};
use crate::domain::name::{Name, RuleName};
use crate::domain::terms::RequestId;
use crate::domain::text::quantity;
use crate::domain::time::Timestamp;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LimitRefusal {
    TooOften {
        done: &'static str,
        most: usize,
        within: Length,
        next: Timestamp,
    },
    TooManyPending {
        most: u64,
    },
    TooManyByRule {
        rule: RuleName,
        most: u32,
        requester: Name,
        next: Timestamp,
    },
    TooManyCertificates {
        member: Name,
        most: usize,
        next: Timestamp,
    },
    /// `owed`: which, and who can review each. `first`: one of them.
    ReviewsOwed {
        count: usize,
        first: RequestId,
        owed: String,
    },
}

impl LimitRefusal {
    pub fn kind(&self) -> RefusalKind {
        RefusalKind::Refused
    }

    pub fn message(&self) -> String {
        match self {
            LimitRefusal::TooOften { done, most, within, next } => {
                let within = duration::spell(within.seconds());
                format!("you have {done} {most} times within {within}; the next is possible at {next}")
            }
            LimitRefusal::TooManyPending { most } => {
                format!("{most} requests that you filed are pending; you can't file another one")
            }
            LimitRefusal::TooManyByRule { rule, most, requester, next } => format!(
                "the rule {:?} says: at most {} in {}; the next is possible for {requester} at {next}",
                rule.as_str(),
                quantity(*most, "request", "requests"),
                Length::DAY
            ),
            LimitRefusal::TooManyCertificates { member, most, next } => {
                format!("{member} got {most} certificates within {}; the next is possible at {next}", Length::HOUR)
            }
            LimitRefusal::ReviewsOwed { count, owed, .. } => {
                format!("{count} of your emergencies need a review before you can take another one: {owed}")
            }
        }
    }

    pub fn hints(&self) -> Vec<String> {
        match self {
            LimitRefusal::TooOften { .. } => Vec::new(),
            LimitRefusal::TooManyCertificates { .. } => {
                vec!["use the certificate again that you have: `access ssh cert` takes it after the key".to_owned()]
            }
            LimitRefusal::TooManyPending { .. } => vec![
                "`access list --mine` shows them; withdraw what is no longer needed with `access withdraw ID`"
                    .to_owned(),
            ],
            LimitRefusal::TooManyByRule { .. } => vec!["`access team show` has the rules".to_owned()],
            LimitRefusal::ReviewsOwed { first, .. } => vec![
                format!("ask one of the people named to run `access review {first} --note '…'`"),
                "somebody else who is on call can take emergency access meanwhile".to_owned(),
            ],
        }
    }
}
