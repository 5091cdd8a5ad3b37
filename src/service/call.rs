//! The calls of the service. Each has a type for its answer, and knows who may make it.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Service;
use crate::error::Failure;

/// Receives the rows of an answer as they arrive. A long answer is shown by another thread than the one that reads it.
pub type Rows<'s, R> = &'s mut (dyn FnMut(R) -> Result<(), Failure> + Send);

/// A call. Its arguments are its fields.
pub trait Call: Serialize + DeserializeOwned {
    /// Its name on a shared host's socket.
    const NAME: &'static str;
    const CALLERS: Callers = Callers::Members;
    /// Whether it sends notifications, so that root's configuration is needed.
    const SENDS: bool = false;

    /// The rows before the reply. `Never`: there are none.
    type Row: Serialize + DeserializeOwned + Send;
    type Reply: Serialize + DeserializeOwned;

    fn carry_out(self, service: &Service<'_>, rows: Rows<'_, Self::Row>) -> Result<Self::Reply, Failure>;

    /// Whether root, who is not a member of a shared host, may make it there: only if it asks about another user.
    fn is_about_another(&self) -> bool {
        false
    }

    /// A file that belongs to it. It is sent separately, after the service has agreed to read it (`may_send_file`).
    fn file(&mut self) -> Option<&mut String> {
        None
    }

    fn may_send_file(_: &Service<'_>) -> Result<(), Failure> {
        Ok(())
    }
}

/// Who may make a call on a shared host. (Anyone may, on a database file of their own.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Callers {
    /// Members, over the socket. The service decides what each may do.
    Members,
    /// Members over the socket, and root on the file.
    MembersAndRoot,
    /// Members over the socket, and root and the user who owns the file on the file.
    MembersAndKeepers,
    /// Root and the user who owns the file, on the file.
    Keepers,
    /// Root over the socket. Root stays root, because connectors need it.
    Reconciler,
}

/// No value: a call without rows.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub enum Never {}

/// An answer with warnings.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Warned<T> {
    pub answer: T,
    pub warnings: Vec<String>,
}

/// How a list ended.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Listed {
    /// The number of rows above the limit. More than `COUNTED`: at least that many.
    pub more: u64,
    pub warnings: Vec<String>,
}
