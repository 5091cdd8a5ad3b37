//! The kinds of refusal.

/// What kind of refusal it is. Each has an exit code of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// The input can't be meant like this.
    Usage,
    /// You may not, or a rule forbids it. Recorded.
    Refused,
    /// It does not exist, or you may not know of it.
    NotFound,
    /// Already decided, already yours, changed since you looked.
    Conflict,
}
