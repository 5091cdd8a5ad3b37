//! SSH certificates: issuing one for a grant, and those that have to be revoked.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::check::of_login;
use super::policy_context::PolicyContext;
use super::provisioning::{continues, position};
use super::request::item;
use super::{Call, Callers, Never, Problem, Rows, Service, member};
use crate::domain::certificate::{Certificate, is_backed, issue};
use crate::domain::duration::Length;
use crate::domain::event::{Draft, Event};
use crate::domain::member::Login;
use crate::domain::request::authorize;
use crate::domain::resource::Resource;
use crate::domain::ssh_key::KeyFingerprint;
use crate::domain::terms::RequestId;
use crate::domain::time::Timestamp;
use crate::error::Failure;
use crate::protocol::{Position, RevokedView};
use crate::store::{Error, Read};

/// Records a certificate for the grant of a member that lasts longest. The caller, who has the key of the CA, signs it then.
/// If the answer is lost, a certificate is on record that nobody has.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct IssueCertificate {
    pub login: Login,
    pub resource: Resource,
    pub key: KeyFingerprint,
    /// The longest that it lasts.
    pub longest: Length,
}

impl Call for IssueCertificate {
    const NAME: &'static str = "IssueCertificate";

    type Row = Never;
    type Reply = Certificate;

    fn is_about_another(&self) -> bool {
        true
    }

    fn carry_out(self, service: &Service<'_>, _: Rows<'_, Never>) -> Result<Certificate, Failure> {
        let IssueCertificate { login, resource, key, longest } = self;
        let issued = service.store.write(|write| -> Result<Certificate, Problem> {
            let now = service.now_to_write(write)?;
            let name = of_login(service, write, &login, now, authorize::needs_admin)?;
            // Root need not be a member.
            let me = if service.caller.root { None } else { Some(service.actor(write)?) };
            let lately = write.certified_since(&name, now.minus(Length::HOUR))?;
            let holder = member(write, &name)?;
            let certificate = issue(&holder, &item(write, &resource)?, &resource, key, longest, lately, now)?;
            let event = Event::CertificateIssued(certificate.clone());
            let draft = Draft { event, recipients: Vec::new() };
            write.record(&service.context(me.as_ref(), now), vec![draft])?;
            Ok(certificate)
        });
        issued.map_err(Problem::unrecorded)
    }
}

/// The serial numbers of certificates that have not ended, though their grants no longer give what they say.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RevokedCertificates {
    /// The last entry that the caller saw. None: it has seen nothing of this log.
    pub known: Option<Position>,
}

impl Call for RevokedCertificates {
    const NAME: &'static str = "RevokedCertificates";
    const CALLERS: Callers = Callers::Reconciler;
    type Row = Never;
    type Reply = RevokedView;

    fn carry_out(self, service: &Service<'_>, _: Rows<'_, Never>) -> Result<RevokedView, Failure> {
        let RevokedCertificates { known } = self;
        service.store.read(|read| {
            let now = service.now(read)?;
            let (position, continues) = (position(read)?, continues(read, known.as_ref())?);
            Ok(RevokedView { position, continues, serials: revoked(read, now)?.into_iter().collect() })
        })
    }
}

fn revoked(read: &Read<'_>, now: Timestamp) -> Result<BTreeSet<RequestId>, Error> {
    // The clock of a host that reads the list may be behind by this.
    let ended = now.minus(Length::HOUR);
    // Of those that say the same, the last to end.
    let mut each: BTreeMap<(RequestId, String), Certificate> = BTreeMap::new();
    for issued in read.certificates_after(ended)? {
        let certificate = issued.certificate;
        let key = (certificate.request, certificate.principal.clone());
        if each.get(&key).is_none_or(|other| other.until < certificate.until) {
            each.insert(key, certificate);
        }
    }
    let policy = PolicyContext::default();
    let mut revoked = BTreeSet::new();
    for ((id, _), certificate) in each {
        let grant = read.request(id)?.and_then(|request| request.grant);
        let holder = policy.principal(read, &certificate.member)?;
        let item = read.catalog_item(&certificate.resource)?;
        let backed = grant.is_some_and(|grant| is_backed(&certificate, &grant, holder.as_deref(), item.as_ref(), now));
        if !backed {
            revoked.insert(id);
        }
    }
    Ok(revoked)
}
