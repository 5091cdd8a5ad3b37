//! Why a command can't be carried out, and what to do instead.

mod caller;
mod kind;
mod lifecycle;
mod limit;
mod lookup;
mod recertify;
mod terms;
mod vote;

pub use caller::CallerRefusal;
pub use kind::RefusalKind;
pub use lifecycle::LifecycleRefusal;
pub use limit::LimitRefusal;
pub use lookup::LookupRefusal;
pub use recertify::RecertifyRefusal;
pub use terms::TermsRefusal;
pub use vote::VoteRefusal;

use super::policy::violation::{RULES_HINT, Violation};
use super::terms::RequestId;

/// The most faults that one message names.
const NAMED: usize = 10;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Two or more that hold at once, none of them `Several` itself.
    Several {
        all: Vec<Refusal>,
    },
    Caller(CallerRefusal),
    Lookup(LookupRefusal),
    Terms(TermsRefusal),
    Rule(Violation),
    Limit(LimitRefusal),
    Vote(VoteRefusal),
    Lifecycle(LifecycleRefusal),
    Recertify(RecertifyRefusal),
    /// Something has changed since it was shown.
    Changed {
        what: String,
    },
    /// The same of a request, with the last that happened, in words.
    RequestChanged {
        id: RequestId,
        last: Option<String>,
    },
    ClockNotBack,
}

impl From<CallerRefusal> for Refusal {
    fn from(refusal: CallerRefusal) -> Refusal {
        Refusal::Caller(refusal)
    }
}

impl From<LookupRefusal> for Refusal {
    fn from(refusal: LookupRefusal) -> Refusal {
        Refusal::Lookup(refusal)
    }
}

impl From<TermsRefusal> for Refusal {
    fn from(refusal: TermsRefusal) -> Refusal {
        Refusal::Terms(refusal)
    }
}

impl From<Violation> for Refusal {
    fn from(violation: Violation) -> Refusal {
        Refusal::Rule(violation)
    }
}

impl From<LimitRefusal> for Refusal {
    fn from(refusal: LimitRefusal) -> Refusal {
        Refusal::Limit(refusal)
    }
}

impl From<VoteRefusal> for Refusal {
    fn from(refusal: VoteRefusal) -> Refusal {
        Refusal::Vote(refusal)
    }
}

impl From<LifecycleRefusal> for Refusal {
    fn from(refusal: LifecycleRefusal) -> Refusal {
        Refusal::Lifecycle(refusal)
    }
}

impl From<RecertifyRefusal> for Refusal {
    fn from(refusal: RecertifyRefusal) -> Refusal {
        Refusal::Recertify(refusal)
    }
}

impl Refusal {
    /// This and what else is wrong, as one refusal.
    #[must_use]
    pub fn and(self, others: impl IntoIterator<Item = Refusal>) -> Refusal {
        let mut all = self.each();
        all.extend(others.into_iter().flat_map(Refusal::each));
        if all.len() == 1 { all.remove(0) } else { Refusal::Several { all } }
    }

    fn each(self) -> Vec<Refusal> {
        match self {
            Refusal::Several { all } => all,
            one => vec![one],
        }
    }

    /// Refuses with all of these, if there are any.
    pub fn refuse_if_any(refusals: impl IntoIterator<Item = impl Into<Refusal>>) -> Result<(), Refusal> {
        let mut refusals = refusals.into_iter().map(Into::into);
        refusals.next().map_or(Ok(()), |first| Err(first.and(refusals)))
    }

    pub fn kind(&self) -> RefusalKind {
        match self {
            Refusal::Several { all } => all.first().map_or(RefusalKind::Refused, Refusal::kind),
            Refusal::Caller(refusal) => refusal.kind(),
            Refusal::Lookup(refusal) => refusal.kind(),
            Refusal::Terms(refusal) => refusal.kind(),
            Refusal::Rule(_) => RefusalKind::Refused,
            Refusal::Limit(refusal) => refusal.kind(),
            Refusal::Vote(refusal) => refusal.kind(),
            Refusal::Lifecycle(refusal) => refusal.kind(),
            Refusal::Recertify(refusal) => refusal.kind(),
            Refusal::Changed { .. } | Refusal::RequestChanged { .. } | Refusal::ClockNotBack => RefusalKind::Conflict,
        }
    }

    /// Whether a member who may act is refused for who they are, and not by rules or limits.
    pub fn is_about_the_caller(&self) -> bool {
        matches!(
            self,
            Refusal::Caller(
                CallerRefusal::NeedsAdmin { .. } | CallerRefusal::NeedsOwner { .. } | CallerRefusal::NeedsRoot { .. }
            )
        )
    }

    /// What happened, in a sentence.
    pub fn message(&self) -> String {
        match self {
            Refusal::Several { all } => {
                let mut messages: Vec<String> = all.iter().take(NAMED).map(Refusal::message).collect();
                messages.extend((all.len() > NAMED).then(|| format!("and {} more", all.len() - NAMED)));
                messages.join("; ")
            }
            Refusal::Caller(refusal) => refusal.message(),
            Refusal::Lookup(refusal) => refusal.message(),
            Refusal::Terms(refusal) => refusal.message(),
            Refusal::Rule(violation) => violation.message(),
            Refusal::Limit(refusal) => refusal.message(),
            Refusal::Vote(refusal) => refusal.message(),
            Refusal::Lifecycle(refusal) => refusal.message(),
            Refusal::Recertify(refusal) => refusal.message(),
            Refusal::Changed { what } => format!("{what} has changed since it was shown; nothing was done"),
            Refusal::RequestChanged { id, last } => {
                let last = last.as_ref().map_or_else(String::new, |last| format!(" ({last})"));
                format!("request {id} has changed since it was shown{last}; nothing was done")
            }
            Refusal::ClockNotBack => {
                "the clock is not behind the last recorded time; there is nothing to accept".to_owned()
            }
        }
    }

    /// What to do instead.
    pub fn hints(&self) -> Vec<String> {
        match self {
            Refusal::Several { all } => {
                let mut hints: Vec<String> = Vec::new();
                for hint in all.iter().take(NAMED).flat_map(Refusal::hints) {
                    if !hints.contains(&hint) {
                        hints.push(hint);
                    }
                }
                hints.sort_by_key(|hint| hint == RULES_HINT);
                hints
            }
            Refusal::Caller(refusal) => refusal.hints(),
            Refusal::Lookup(refusal) => refusal.hints(),
            Refusal::Terms(refusal) => refusal.hints(),
            Refusal::Rule(violation) => violation.hints(),
            Refusal::Limit(refusal) => refusal.hints(),
            Refusal::Vote(refusal) => refusal.hints(),
            Refusal::Lifecycle(refusal) => refusal.hints(),
            Refusal::Recertify(refusal) => refusal.hints(),
            Refusal::Changed { .. } => vec!["look at it again before you decide".to_owned()],
            Refusal::RequestChanged { id, .. } => {
                vec![format!(
                    "look at it again with `access show {id}`; with --json its `last_seq` is the number for --seen"
                )]
            }
            Refusal::ClockNotBack => Vec::new(),
        }
    }
}
