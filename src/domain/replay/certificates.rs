//! Replays SSH certificates.

use std::collections::BTreeSet;

use super::{EntryContext, Fault, Model};
use crate::domain::catalog::grant_covers;
use crate::domain::certificate::{Certificate, IssuedCertificate, ssh_principal};
use crate::domain::grant::Grant;
use crate::domain::member::Assignee;
use crate::domain::policy::demand::RoleBasis;
use crate::domain::resource::Resource;
use crate::domain::role::Role;

impl Model {
    pub(super) fn certify(&mut self, context: EntryContext<'_>, certificate: Certificate) -> Result<(), Fault> {
        let checked = self.check_certificate(context, &certificate);
        let EntryContext { seq, at, os_user, .. } = context;
        self.certificates.issued.push(seq);
        self.certificates.since.push(IssuedCertificate { seq, at, os_user: os_user.into(), certificate });
        checked
    }

    /// It is recorded by root or an admin, for a grant that is live, to its member alone, and does not outlive the grant.
    fn check_certificate(&self, context: EntryContext<'_>, certificate: &Certificate) -> Result<(), Fault> {
        let Certificate { request: id, member, login, resource, principal, serial, from, until, .. } = certificate;
        let wrong = |why: &str| Err(format!("the certificate for the grant {id} {why}"));
        let grant = self.requests.get(id).and_then(|request| request.grant.as_ref());
        let Some(grant) = grant.filter(|grant| grant.is_live(context.at)) else {
            return wrong("is issued while that is not live");
        };
        if grant.member != *member || self.login_of(member) != Some(login) {
            wrong("is for another person")
        } else if serial != id || *principal != ssh_principal(login, resource) {
            wrong("has the serial number or the principal of another")
        } else if *from > context.at || *until <= context.at {
            wrong("is not valid when it is issued")
        } else if grant.ends_at.is_some_and(|end| *until > end) {
            wrong("outlives it")
        } else if !self.opens(grant, resource) {
            wrong("is for what that does not open")
        } else if !self.is_admin(context) {
            wrong("is issued by somebody who is neither root nor an admin")
        } else {
            Ok(())
        }
    }

    /// Whether a grant opens this by the team of the moment. What a role opens is not judged here.
    fn opens(&self, grant: &Grant, resource: &Resource) -> bool {
        let Some(team) = &self.team else { return false };
        let granted = &grant.terms.resource;
        let covers = |item| grant_covers(granted, &item, |name| team.scopes.get(name));
        team.item(resource).is_some_and(|item| matches!(granted, Resource::Role(_)) || covers(item))
    }

    /// Whether an admin acts, or nobody who is a member.
    pub(super) fn is_admin(&self, context: EntryContext<'_>) -> bool {
        let (Some(team), Some(actor)) = (&self.team, context.actor) else { return context.actor.is_none() };
        let admins = BTreeSet::from([Assignee::Role(Role::Admin)]);
        self.could_approve(team, actor, &admins, RoleBasis::Effective, context.at)
    }
}
