//! The tables compared row by row with what the log says they should be.

use super::MOST_FAULTS;
use crate::domain::certificate::IssuedCertificate;
use crate::domain::grant::Grant;
use crate::domain::provisioning::Provisioning;
use crate::domain::recertification::{Recertification, RecertificationItem};
use crate::domain::replay::{Model, Notified, Released};
use crate::domain::request::{Decision, Request};
use crate::domain::session::RecordedSession;
use crate::protocol::FaultView;
use crate::store::{Between, EachRow, Error, Projection, Read, RowKey};

/// The tables that are compared row by row.
pub struct Tables<'r, 'c> {
    read: &'r Read<'c>,
    pub faults: Vec<FaultView>,
    /// What is to be compared next.
    requests: Vec<Request>,
    notifications: Vec<Notified>,
    provisioning: Vec<Provisioning>,
    certificates: Vec<IssuedCertificate>,
    sessions: Vec<RecordedSession>,
    recertifications: Vec<Recertification>,
    /// How many rows were compared, by table.
    compared: [u64; Projection::ALL.len()],
}

/// The number of requests or notifications that are compared at once, since many are adjacent in their tables.
const COMPARED: usize = 4096;
/// Rows that lie no further apart than this are read in one go.
const GAP: i64 = 4;

impl<'r, 'c> Tables<'r, 'c> {
    pub fn new(read: &'r Read<'c>) -> Tables<'r, 'c> {
        Tables {
            read,
            faults: Vec::new(),
            requests: Vec::new(),
            notifications: Vec::new(),
            provisioning: Vec::new(),
            certificates: Vec::new(),
            sessions: Vec::new(),
            recertifications: Vec::new(),
            compared: [0; Projection::ALL.len()],
        }
    }

    pub fn row(&mut self, problem: String) {
        if self.faults.len() < MOST_FAULTS {
            self.faults.push(FaultView { seq: None, problem });
        }
    }

    pub fn take(&mut self, released: Released) -> Result<(), Error> {
        self.requests.extend(released.requests);
        self.notifications.extend(released.notifications);
        self.provisioning.extend(released.provisioning);
        self.certificates.extend(released.certificates);
        self.sessions.extend(released.sessions);
        self.recertifications.extend(released.recertifications);
        if self.requests.len() >= COMPARED {
            self.compare_requests()?;
        }
        if self.notifications.len() >= COMPARED {
            self.compare_notifications()?;
        }
        if self.provisioning.len() >= COMPARED {
            self.compare_provisioning()?;
        }
        if self.certificates.len() >= COMPARED {
            self.compare_certificates()?;
        }
        if self.sessions.len() >= COMPARED {
            self.compare_sessions()?;
        }
        Ok(())
    }

    /// Compares what is left, and looks for rows that nothing was compared with.
    pub fn end(&mut self, model: &mut Model) -> Result<(), Error> {
        let released = model.release();
        let Released { requests, notifications, provisioning, certificates, sessions, recertifications } = released;
        self.certificates.extend(certificates);
        self.compare_certificates()?;
        self.provisioning.extend(provisioning);
        self.provisioning.extend(model.take_open_provisioning());
        self.compare_provisioning()?;
        self.sessions.extend(sessions);
        self.sessions.extend(model.take_open_sessions());
        self.compare_sessions()?;
        self.recertifications.extend(recertifications);
        self.recertifications.extend(model.take_open_recertifications());
        self.compare_recertifications()?;
        self.requests.extend(requests);
        self.notifications.extend(notifications);
        self.compare_requests()?;
        while let Some((_, request)) = model.requests.pop_first() {
            self.requests.push(request);
            if self.requests.len() >= COMPARED {
                self.compare_requests()?;
            }
        }
        self.compare_requests()?;
        self.compare_notifications()?;
        for table in Projection::ALL {
            if self.read.count_rows(table)? == self.compared[table as usize] {
                continue;
            }
            let known = |number| match table {
                Projection::Notification => model.has_notified(number),
                Projection::Provisioning => model.has_provisioned(number),
                Projection::Certificate => model.has_issued(number),
                Projection::Session => model.has_opened_session(number),
                Projection::Recertification | Projection::RecertificationItem => model.has_recertified(number),
                Projection::Request | Projection::Decision | Projection::Grant => model.has_filed(number),
            };
            let read = self.read;
            read.each_key(table, |key| {
                if !known(key.0) {
                    self.row(unexplained(table, key));
                }
            })?;
        }
        Ok(())
    }

    pub fn compare_requests(&mut self) -> Result<(), Error> {
        let mut requests = std::mem::take(&mut self.requests);
        requests.sort_unstable_by_key(|request| request.id);
        let numbers: Vec<i64> = requests.iter().map(|request| request.id.get()).collect();
        let mut decisions: Vec<(RowKey, Decision)> = Vec::new();
        let mut grants: Vec<(RowKey, Grant)> = Vec::new();
        for request in &mut requests {
            let id = request.id.get();
            decisions.extend(std::mem::take(&mut request.decisions).into_iter().map(|it| ((id, it.seq), it)));
            grants.extend(request.grant.take().map(|grant| ((id, id), grant)));
        }
        // A forged log may file them in any order.
        decisions.sort_by_key(|(key, _)| *key);
        let requests = requests.into_iter().map(|request| ((request.id.get(), request.id.get()), request));
        let read = self.read;
        self.compare(Projection::Request, &numbers, requests, |numbers, each| read.requests_between(numbers, each))?;
        self.compare(Projection::Decision, &numbers, decisions, |numbers, each| read.decisions_between(numbers, each))?;
        self.compare(Projection::Grant, &numbers, grants, |numbers, each| read.grants_between(numbers, each))
    }

    pub fn compare_notifications(&mut self) -> Result<(), Error> {
        let mut notifications = std::mem::take(&mut self.notifications);
        notifications.sort_by_key(|(id, _)| *id);
        let numbers: Vec<i64> = notifications.iter().map(|(id, _)| *id).collect();
        let notifications = notifications.into_iter().map(|(id, recipients)| ((id, id), recipients));
        let read = self.read;
        self.compare(Projection::Notification, &numbers, notifications, |numbers, each| {
            read.notifications_between(numbers, each)
        })
    }

    pub fn compare_provisioning(&mut self) -> Result<(), Error> {
        let mut provisioning = std::mem::take(&mut self.provisioning);
        provisioning.sort_by_key(|row| row.seq);
        let numbers: Vec<i64> = provisioning.iter().map(|row| row.seq).collect();
        let provisioning = provisioning.into_iter().map(|row| ((row.seq, row.seq), row));
        let read = self.read;
        self.compare(Projection::Provisioning, &numbers, provisioning, |numbers, each| {
            read.provisioning_between(numbers, each)
        })
    }

    pub fn compare_certificates(&mut self) -> Result<(), Error> {
        let mut certificates = std::mem::take(&mut self.certificates);
        certificates.sort_by_key(|issued| issued.seq);
        let numbers: Vec<i64> = certificates.iter().map(|issued| issued.seq).collect();
        let certificates = certificates.into_iter().map(|issued| ((issued.seq, issued.seq), issued));
        let read = self.read;
        self.compare(Projection::Certificate, &numbers, certificates, |numbers, each| {
            read.certificates_between(numbers, each)
        })
    }

    fn compare_sessions(&mut self) -> Result<(), Error> {
        let mut sessions = std::mem::take(&mut self.sessions);
        sessions.sort_by_key(|row| row.seq);
        let numbers: Vec<i64> = sessions.iter().map(|row| row.seq).collect();
        let sessions = sessions.into_iter().map(|row| ((row.seq, row.seq), row));
        let read = self.read;
        self.compare(Projection::Session, &numbers, sessions, |numbers, each| read.sessions_between(numbers, each))
    }

    fn compare_recertifications(&mut self) -> Result<(), Error> {
        let mut recertifications = std::mem::take(&mut self.recertifications);
        recertifications.sort_by_key(|it| it.id);
        let numbers: Vec<i64> = recertifications.iter().map(|it| it.id.get()).collect();
        let mut items: Vec<(RowKey, RecertificationItem)> = Vec::new();
        for it in &mut recertifications {
            let id = it.id.get();
            items.extend((1..).map(|number| (id, number)).zip(std::mem::take(&mut it.items)));
        }
        let recertifications = recertifications.into_iter().map(|it| ((it.id.get(), it.id.get()), it));
        let read = self.read;
        self.compare(Projection::Recertification, &numbers, recertifications, |numbers, each| {
            read.recertifications_between(numbers, each)
        })?;
        self.compare(Projection::RecertificationItem, &numbers, items, |numbers, each| {
            read.items_between(numbers, each)
        })
    }

    /// Compares the rows of these numbers with what the log says they should be; both are in the order of their keys.
    pub fn compare<T: PartialEq>(
        &mut self,
        table: Projection,
        numbers: &[i64],
        expected: impl IntoIterator<Item = (RowKey, T)>,
        read: impl Fn(Between, EachRow<'_, T>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut expected = expected.into_iter().peekable();
        let missing = |key: RowKey| format!("{} is on the record and not in its table", named(table, key));
        for near in numbers.chunk_by(|a, b| b - a <= GAP) {
            let (Some(&first), Some(&last)) = (near.first(), near.last()) else { continue };
            let mut rest = near;
            read(Between(first, last), &mut |key, row| {
                while let [next, after @ ..] = rest
                    && *next < key.0
                {
                    rest = after;
                }
                if rest.first() != Some(&key.0) {
                    // A row in between, which is compared another time.
                    return;
                }
                self.compared[table as usize] += 1;
                while let Some((absent, _)) = expected.next_if(|(next, _)| *next < key) {
                    self.row(missing(absent));
                }
                match (expected.next_if(|(next, _)| *next == key), row) {
                    (_, Err(why)) => self.row(format!("{} can't be read: {why}", named(table, key))),
                    (None, Ok(_)) => self.row(unexplained(table, key)),
                    (Some((_, recorded)), Ok(row)) if row != recorded => {
                        self.row(format!("{} is not as it was recorded", named(table, key)));
                    }
                    (Some(_), Ok(_)) => {}
                }
            })?;
        }
        for (absent, _) in expected {
            self.row(missing(absent));
        }
        Ok(())
    }
}

fn unexplained(table: Projection, key: RowKey) -> String {
    format!("{} is in its table, and no entry explains it", named(table, key))
}

fn named(table: Projection, (number, seq): RowKey) -> String {
    match table {
        Projection::Request => format!("request {number}"),
        Projection::Decision => format!("the decision of entry {seq}"),
        Projection::Grant => format!("grant {number}"),
        Projection::Notification => format!("notification {number}"),
        Projection::Provisioning => format!("what the connector of entry {number} did"),
        Projection::Certificate => format!("the certificate of entry {number}"),
        Projection::Session => format!("the session of entry {number}"),
        Projection::Recertification => format!("recertification {number}"),
        Projection::RecertificationItem => format!("item {number}.{seq}"),
    }
}
