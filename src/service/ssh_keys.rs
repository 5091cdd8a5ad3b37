//! Members who give commands over SSH: who has a key, and what is refused to them.

use serde::{Deserialize, Serialize};

use super::{Call, Callers, Never, Problem, Rows, Service};
use crate::domain::member::Member;
use crate::domain::name::Name;
use crate::domain::refusal::{CallerRefusal, Refusal};
use crate::domain::ssh_key::SshKey;
use crate::error::Failure;

/// The member who has an SSH key, for sshd. Records nothing: anyone can offer sshd any number of keys.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HolderOfKey {
    /// The key in Base64.
    pub blob: String,
}

impl Call for HolderOfKey {
    const NAME: &'static str = "HolderOfKey";
    const CALLERS: Callers = Callers::Keepers;
    type Row = Never;
    type Reply = Option<(Name, SshKey)>;

    fn carry_out(self, service: &Service<'_>, _: Rows<'_, Never>) -> Result<Self::Reply, Failure> {
        Ok(service.store.read(|read| read.member_of_ssh_key(&self.blob))?)
    }
}

/// The member who has the caller's key, if they may act. A refusal is recorded.
pub fn key_holder(service: &Service<'_>) -> Result<Member, Failure> {
    service.ask("ssh", |_, me, _| Ok(me.member.clone()))
}

/// Refuses a command that is not for use over SSH, on the record.
pub fn refuse_over_ssh(service: &Service<'_>, what: &str) -> Failure {
    let refusal = Refusal::from(CallerRefusal::NotOverSsh { what: what.to_owned() });
    service.refused("ssh", None, Problem::from(refusal))
}
