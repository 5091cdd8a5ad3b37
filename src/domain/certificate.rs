//! SSH certificates for grants.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::catalog::CatalogItem;
use super::duration::Length;
use super::entitlement::{Entitlement, longest};
use super::grant::{Ended, EndedHow, Grant};
use super::member::Login;
use super::name::Name;
use super::principal::Principal;
use super::quota;
use super::refusal::{LifecycleRefusal, LimitRefusal, Refusal};
use super::resource::Resource;
use super::ssh_key::KeyFingerprint;
use super::terms::RequestId;
use super::time::Timestamp;

/// How much the clock of a host may be behind ours, in seconds.
const SLACK: i64 = 60;

/// What a certificate says. A part of events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    pub request: RequestId,
    pub member: Name,
    /// The Unix user of the member.
    pub login: Login,
    pub resource: Resource,
    /// `bob:target:orders-db`
    pub principal: String,
    /// That of the request, so that revoking it ends all certificates of the request and no others.
    pub serial: RequestId,
    pub key: KeyFingerprint,
    pub from: Timestamp,
    pub until: Timestamp,
}

/// A certificate on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedCertificate {
    /// The entry that records it.
    pub seq: i64,
    pub at: Timestamp,
    /// The Unix user who had it signed.
    pub os_user: SmolStr,
    pub certificate: Certificate,
}

/// The only principal of a certificate.
pub fn ssh_principal(login: &Login, resource: &Resource) -> String {
    format!("{login}:{resource}")
}

/// The certificate that a member gets for a resource: for the grant that lasts longest, and never for longer.
/// `issued`: when the member got the certificates of the last hour.
pub fn issue(
    member: &Principal,
    item: &CatalogItem,
    resource: &Resource,
    key: KeyFingerprint,
    longest_validity: Length,
    issued: Vec<Timestamp>,
    now: Timestamp,
) -> Result<Certificate, Refusal> {
    let granted: Vec<Entitlement> =
        member.entitlements(item, now).into_iter().filter(|way| way.request.is_some()).collect();
    let Some((request, end)) = longest(&granted).and_then(|way| Some((way.request?, way.until))) else {
        let (member, resource) = (member.name.clone(), resource.clone());
        return Err(LifecycleRefusal::NoGrant { member, resource }.into());
    };
    if let Some(next) = quota::next(issued, quota::CERTIFICATES, Length::HOUR, now) {
        let (member, most) = (member.name.clone(), quota::CERTIFICATES);
        return Err(LimitRefusal::TooManyCertificates { member, most, next }.into());
    }
    // A longer grant gets another one.
    let most = now.plus(longest_validity.min(Length::HALF_DAY));
    let login = member.member.login.clone();
    Ok(Certificate {
        request,
        member: member.name.clone(),
        principal: ssh_principal(&login, resource),
        login,
        resource: resource.clone(),
        serial: request,
        key,
        from: Timestamp::from_unix(now.unix() - SLACK).unwrap_or(now),
        until: end.map_or(most, |end| end.min(most)),
    })
}

/// Whether the grant of a certificate gives what the certificate says: now, or in the last second of one that has ended.
/// `member`, `item`: as they are now, if they still are.
pub fn is_backed(
    certificate: &Certificate,
    grant: &Grant,
    member: Option<&Principal>,
    item: Option<&CatalogItem>,
    now: Timestamp,
) -> bool {
    let (Some(member), Some(item)) = (member, item) else { return false };
    let has_ended = certificate.until <= now;
    let at = if has_ended { Timestamp::from_unix(certificate.until.unix() - 1).unwrap_or(now) } else { now };
    // A grant that expired did so after this certificate had ended. If it has not, the clock was set back.
    let expired = has_ended && matches!(grant.ended, Some(Ended { how: EndedHow::Expired, .. }));
    let grant = if expired { Grant { ended: None, ..grant.clone() } } else { grant.clone() };
    let gives = |way: &Entitlement| way.request == Some(grant.request);
    member.member.login == certificate.login && member.with_only(&grant).entitlements(item, at).iter().any(gives)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_that_of_openssh_and_nothing_else() {
        let digest = "KIH+LzaoZhmZrFQvBG95c/RYldddvcc9rBen8sqTLLU";
        assert!(format!("SHA256:{digest}").parse::<KeyFingerprint>().is_ok());
        for text in [
            digest.to_owned(),
            "SHA256:".to_owned(),
            format!("SHA256:{digest}="),
            format!("SHA256:{digest} x"),
            format!("MD5:{digest}"),
            format!("SHA256:{}\n", &digest[1..]),
        ] {
            assert!(text.parse::<KeyFingerprint>().is_err(), "{text:?}");
        }
    }
}
