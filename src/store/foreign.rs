//! What other hosts append to a shared log. The database checks who appends and when, but not what an entry says. So each host
//! checks whatever could stop it, and whatever `audit verify` would find wrong with an entry of a host that only asks. What
//! fails is void (see `judge.rs`).
//!
//! Each check is also one of `domain::replay`. What a host does that may decide is
//! for `audit verify` to show.

use std::collections::BTreeSet;

use super::log::RARE;
use super::{Error, Write};
use crate::domain::event::{Entry, Event, Submission};
use crate::domain::name::Name;
use crate::domain::replay::requests::revision_fault;
use crate::domain::request::{Recorded, Request};
use crate::domain::ssh_key::SSH_KEY;
use crate::domain::team::change::Change;
use crate::domain::terms::RequestId;
use crate::domain::time::Timestamp;

impl Write<'_> {
    /// Fails if no honest host appends this entry next.
    pub(super) fn check_foreign(&self, entry: &Entry) -> Result<(), Error> {
        let fault = match self.notification_fault(entry)? {
            None => match self.actor_fault(entry)? {
                None => self.event_fault(entry)?,
                fault => fault,
            },
            fault => fault,
        };
        fault.map_or(Ok(()), |why| Err(dishonest(entry, &why)))
    }

    /// The same for what only shows once the entry has been applied.
    pub(super) fn check_recipients(&self, entry: &Entry) -> Result<(), Error> {
        for recipient in &entry.recipients {
            if self.member_now(&recipient.0)?.is_none() {
                return Err(dishonest(entry, &format!("it notifies {}, who is not a member", recipient.0)));
            }
        }
        Ok(())
    }

    fn notification_fault(&self, entry: &Entry) -> Result<Option<String>, Error> {
        let Some(first) = entry.first_notification else {
            return Ok((!entry.recipients.is_empty()).then(|| "its notifications have no numbers".to_owned()));
        };
        let next = self.next_notification()?;
        let is_next = first == next && !entry.recipients.is_empty();
        Ok((!is_next).then(|| format!("its first notification is {first}, where {next} comes next")))
    }

    fn actor_fault(&self, entry: &Entry) -> Result<Option<String>, Error> {
        let is_refused = matches!(entry.event, Event::AttemptRefused { .. });
        let key = entry.os_user.strip_prefix(SSH_KEY);
        let Some(actor) = &entry.actor else {
            return Ok((key.is_some() && !is_refused).then(|| "it came with an SSH key, and is by nobody".to_owned()));
        };
        let member = self.member_now(actor)?;
        let acts = is_refused || member.as_ref().is_some_and(|member| !member.disabled);
        let has_key = key.is_none_or(|key| {
            let keys = member.iter().flat_map(|member| &member.ssh_keys);
            keys.into_iter().any(|its| its.fingerprint().as_str() == key)
        });
        if acts && has_key || entry.event.follows_team() && self.has_changed_team(actor)? {
            return Ok(None);
        }
        Ok(Some(format!("{actor} acts, who is no member that could")))
    }

    /// Whether this member changed the team, and the log goes on with what follows from it.
    fn has_changed_team(&self, actor: &Name) -> Result<bool, Error> {
        let sql = format!(
            "SELECT seq FROM event WHERE action = 'team.applied' AND {RARE} AND actor = ?1
                 AND seq = (SELECT max(seq) FROM event WHERE action = 'team.applied' AND {RARE})"
        );
        let Some(changed) = self.one(&sql, [actor.as_str()], |row| Ok(row.get::<_, i64>(0)?))? else {
            return Ok(false);
        };
        let mut seq = self.place().seq;
        while seq > changed {
            let before = self.entry(seq)?;
            if !before.event.follows_team() && before.event != Event::Void {
                return Ok(false);
            }
            seq -= 1;
        }
        Ok(true)
    }

    fn event_fault(&self, entry: &Entry) -> Result<Option<String>, Error> {
        match &entry.event {
            Event::TeamInitialized { changes } | Event::TeamApplied { changes } => {
                let mut changed = BTreeSet::new();
                let twice = changes.iter().map(Change::what).find(|what| !changed.insert(what.clone()));
                Ok(twice.map(|what| format!("it changes {what} twice")))
            }
            Event::RequestSubmitted(submission) => self.submission_fault(entry, submission),
            Event::RecertificationStarted(started) => {
                let (id, next) = (started.recertification, self.next_recertification()?);
                Ok((id != next).then(|| format!("it starts recertification {id}, where {next} comes next")))
            }
            Event::RequestEdited(revision) => {
                let request = self.request(revision.request)?.filter(|request| is_pending(request, entry.at));
                let Some(mut request) = request else { return Ok(Some(not_pending(revision.request))) };
                Ok(revision_fault(&mut request, entry.actor.as_ref(), entry.at, revision))
            }
            Event::RequestWithdrawn { request: id, by, .. } => {
                let pending = self.request(*id)?.is_some_and(|request| is_pending(&request, entry.at));
                Ok(if pending { by_another(entry, by.as_ref()) } else { Some(not_pending(*id)) })
            }
            Event::GrantRevoked { request: id, resource, by, .. } => {
                let grant = self.request(*id)?.and_then(|request| request.grant);
                let is_open = grant.is_some_and(|grant| {
                    let over = grant.ended.is_some() || grant.ends_at.is_some_and(|end| end <= entry.at);
                    !over && grant.terms.resource == *resource
                });
                Ok(if is_open { by_another(entry, by.as_ref()) } else { Some(format!("there is no such grant {id}")) })
            }
            Event::PreferenceChanged { member, from, .. } => {
                let is_so = entry.actor.as_ref() == Some(member) && self.preference(member)? == *from;
                Ok((!is_so).then(|| format!("the preferences of {member} were not as it says")))
            }
            _ => Ok(None),
        }
    }

    fn submission_fault(&self, entry: &Entry, submission: &Submission) -> Result<Option<String>, Error> {
        let Submission { request: id, requester, filed_by, requester_login, filer_login, extends, .. } = submission;
        let next = self.request_comes_next()?;
        if *id != next {
            return Ok(Some(format!("it files request {id}, where {next} comes next")));
        }
        for (name, login) in [(requester, requester_login), (filed_by, filer_login)] {
            let its = self.member_now(name)?;
            if its.is_none() || its.map(|member| member.login.clone()) != *login {
                return Ok(Some(format!("it names {name}, who is not a member with that Unix user")));
            }
        }
        if submission.lapses_at <= entry.at {
            return Ok(Some(format!("request {id} has lapsed when it is filed")));
        }
        if let Some(before) = extends {
            let before = self.request(*before)?;
            if before.is_none_or(|before| before.requester != *requester || before.grant.is_none()) {
                return Ok(Some(format!("request {id} extends no grant of its requester")));
            }
        }
        Ok(by_another(entry, Some(filed_by)))
    }
}

fn is_pending(request: &Request, at: Timestamp) -> bool {
    request.recorded == Recorded::Pending && request.lapses_at > at
}

fn not_pending(id: RequestId) -> String {
    format!("request {id} is not pending")
}

fn by_another(entry: &Entry, by: Option<&Name>) -> Option<String> {
    (entry.actor.as_ref() != by).then(|| "it is by another member than it says".to_owned())
}

fn dishonest(entry: &Entry, why: &str) -> Error {
    Error::Internal { message: format!("entry {} of the shared log: {why}", entry.seq) }
}
