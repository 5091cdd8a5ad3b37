//! All calls that the socket accepts, by name.

use super::connection::{Peer, Sent, not_of_this_version};
use crate::error::Failure;
use crate::service::{self, Call as _};

/// Carries out the call with this name.
macro_rules! calls {
    ($($call:ident),* $(,)?) => {
        pub fn serve(connection: &Peer<'_>, sent: Sent<'_>) -> Result<(), Failure> {
            $(if sent.name == service::$call::NAME {
                return connection.serve_call::<service::$call>(sent);
            })*
            Err(connection.refuse(not_of_this_version()))
        }
    };
}

calls! {
    AcceptClock,
    Approve,
    Audit,
    AuditCheckpoint,
    AuditExport,
    AuditExportRaw,
    AuditVerify,
    Backup,
    Check,
    Complete,
    Deliver,
    Deny,
    DesiredAccess,
    Doctor,
    EditRequest,
    Expire,
    Extend,
    Find,
    Inbox,
    List,
    MarkRead,
    Needs,
    NeedsToExtend,
    NotifyTest,
    Outbox,
    OutboxDiscard,
    OutboxRetry,
    Prefer,
    Preferences,
    Principals,
    Queue,
    RecordProvisioning,
    ReplaceOwner,
    Resources,
    ReviewEmergency,
    Revoke,
    RevokeMember,
    Show,
    SubmitRequest,
    TeamApply,
    TeamShow,
    Unread,
    Who,
    Whoami,
    Withdraw,
}
