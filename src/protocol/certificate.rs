//! SSH certificates.

use serde::{Deserialize, Serialize};

use super::Position;
use crate::domain::certificate::{Certificate, IssuedCertificate};
use crate::domain::resource::Resource;
use crate::domain::ssh_key::KeyFingerprint;
use crate::domain::terms::RequestId;
use crate::domain::time::Timestamp;

/// A certificate of a request (`show`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateView {
    pub serial: RequestId,
    pub principal: String,
    pub resource: Resource,
    /// The fingerprint of the key.
    pub key: KeyFingerprint,
    pub from: Timestamp,
    pub until: Timestamp,
    pub issued_at: Timestamp,
    /// The Unix user who had it signed.
    pub issued_by: String,
}

impl From<IssuedCertificate> for CertificateView {
    fn from(issued: IssuedCertificate) -> CertificateView {
        let Certificate { serial, principal, resource, key, from, until, .. } = issued.certificate;
        let (issued_at, issued_by) = (issued.at, issued.os_user.into());
        CertificateView { serial, principal, resource, key, from, until, issued_at, issued_by }
    }
}

/// What a list of revoked certificates should have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokedView {
    pub position: Position,
    /// Whether this log has the entry that the caller saw last.
    pub continues: bool,
    /// In order.
    pub serials: Vec<RequestId>,
}
