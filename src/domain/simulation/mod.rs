//! What a team file would do before it is applied, and how the log's requests were judged at the time.

mod auditors;
pub mod historical;
pub mod past;
pub mod unused;
