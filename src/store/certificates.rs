//! The SSH certificates that were issued.

use rusqlite::{Row, params};

use super::project::one;
use super::read::{Read, agree};
use super::{Error, Write, row};
use crate::domain::certificate::{Certificate, IssuedCertificate, ssh_principal};
use crate::domain::event::Entry;
use crate::domain::member::Login;
use crate::domain::name::Name;
use crate::domain::resource::Resource;
use crate::domain::terms::RequestId;
use crate::domain::time::Timestamp;

/// The columns of a row, in the order in which `certificate` reads them.
pub(super) const CERTIFICATE: &str =
    "c.seq, c.request, c.member, c.login, c.resource, c.key, c.valid_from, c.valid_until, c.issued_at, c.os_user";

pub(super) fn certificate(row: &Row<'_>, column: usize) -> Result<IssuedCertificate, Error> {
    let request = RequestId::try_from(row.get::<_, i64>(column + 1)?).map_err(Error::damaged)?;
    let (login, resource): (Login, Resource) = (row::parsed(row, column + 3)?, row::parsed(row, column + 4)?);
    let certificate = Certificate {
        request,
        member: row::parsed(row, column + 2)?,
        principal: ssh_principal(&login, &resource),
        login,
        resource,
        serial: request,
        key: row::parsed(row, column + 5)?,
        from: row::time(row, column + 6)?,
        until: row::time(row, column + 7)?,
    };
    let os_user: String = row.get(column + 9)?;
    Ok(IssuedCertificate {
        seq: row.get(column)?,
        at: row::time(row, column + 8)?,
        os_user: os_user.into(),
        certificate,
    })
}

impl Read<'_> {
    /// The certificates of a request, in the order in which they were issued.
    pub fn certificates_of(&self, request: RequestId) -> Result<Vec<IssuedCertificate>, Error> {
        let issued = self.certificates_where("i.request = ?1 ORDER BY c.seq", [request.get()])?;
        agree(issued.iter().all(|issued| issued.certificate.request == request), "certificate_by_request")?;
        Ok(issued)
    }

    /// The certificates that end after this time, in the order in which they were issued.
    pub fn certificates_after(&self, end: Timestamp) -> Result<Vec<IssuedCertificate>, Error> {
        let issued = self.certificates_where("i.valid_until > ?1 ORDER BY c.seq", [end.unix()])?;
        agree(issued.iter().all(|issued| issued.certificate.until > end), "certificate_by_end")?;
        Ok(issued)
    }

    /// When this member got certificates after a time.
    pub fn certified_since(&self, member: &Name, since: Timestamp) -> Result<Vec<Timestamp>, Error> {
        let clause = "i.member = ?1 AND i.issued_at > ?2 ORDER BY c.seq";
        let issued = self.certificates_where(clause, params![member.as_str(), since.unix()])?;
        agree(issued.iter().all(|issued| issued.certificate.member == *member), "certificate_by_member")?;
        Ok(issued.into_iter().map(|issued| issued.at).collect())
    }

    fn certificates_where(&self, clause: &str, params: impl rusqlite::Params) -> Result<Vec<IssuedCertificate>, Error> {
        let sql =
            format!("SELECT {CERTIFICATE} FROM certificate i CROSS JOIN certificate c ON c.seq = i.seq WHERE {clause}");
        self.rows(&sql, params, |row| certificate(row, 0))
    }
}

impl Write<'_> {
    pub(super) fn put_certificate(&self, entry: &Entry, certificate: &Certificate) -> Result<(), Error> {
        let Certificate { request, member, login, resource, key, from, until, .. } = certificate;
        let sql = "INSERT INTO certificate
                 (seq, request, member, login, resource, key, valid_from, valid_until, issued_at, os_user)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
        let values = params![
            entry.seq,
            request.get(),
            member.as_str(),
            login.as_str(),
            resource.to_string(),
            key.as_str(),
            from.unix(),
            until.unix(),
            entry.at.unix(),
            entry.os_user.as_str()
        ];
        one(self, sql, values)
    }
}
