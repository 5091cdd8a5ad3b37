//! The reconciler: carries what the log says to the systems that enforce it, and takes it back.
//!
//! It compares states and handles no events. For each system, one at a time: what should be there (live grants now), what is
//! there (the connector's `list`), and what the journal knows (what access gave, and what was there before). What access gave
//! and is no longer due is taken back; what it did not give is never touched. A run that is killed anywhere leaves an intent
//! in the journal, and the next run ends in the same state.
//!
//! | file | what it has |
//! | --- | --- |
//! | `plan.rs` | the decisions: pure |
//! | `system.rs` | a run for one system |
//! | `listing.rs` | what a system has |
//! | `lease.rs` | the journal, and which host runs a connector that several have |
//! | `record.rs` | what the log records of a system |
//! | `run.rs` | a run for all of them, each on a thread |
//! | `program.rs`, `answers.rs` | running a connector's program, and reading what it says |
//! | `krl.rs`, `ssh_keygen.rs` | the list of revoked SSH certificates |
//! | `lock.rs` | one run at a time for each system; processes that are left over |
//! | `sessions.rs`, `process_table.rs` | the sessions of this host, and their processes |
//! | `start.rs` | a run after a command that changed who has access |
//! | `survey.rs` | `connector list`, and what `doctor` finds |
//! | `trial.rs` | `connector test` |
//! | `watch.rs` | `reconcile --watch` |
//! | `view.rs` | what is reported |

pub mod answers;
mod krl;
mod lease;
mod listing;
mod lock;
mod plan;
#[cfg(test)]
mod plan_test;
mod process_table;
mod program;
mod record;
mod run;
mod sessions;
mod ssh_keygen;
mod start;
mod survey;
mod system;
mod trial;
mod view;
mod watch;

pub use krl::{krl_fault, krl_finding, write_krl};
pub use run::{Reconciliation, no_connector, reconcile};
pub use sessions::{ReportedSession, close_session, open_session};
pub use ssh_keygen::{fingerprint, finish, ssh_keygen};
pub use start::{has_systems, in_background, in_foreground, run_command};
pub use survey::{ConnectorView, connectors, findings, named, warnings};
pub use trial::{TrialStep, try_out};
pub use view::{ReconcileState, ReconcileView};
pub use watch::{Watched, watch};
