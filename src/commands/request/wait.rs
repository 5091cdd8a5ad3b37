//! Waiting for a decision, and for connectors.

use std::thread::sleep;
use std::time::{Duration as Wait, Instant};

use anyhow::Result;

use super::super::app::App;
use super::super::outage::Outage;
use crate::domain::duration::Length;
use crate::domain::grant::State;
use crate::domain::name::Name;
use crate::domain::terms::RequestId;
use crate::domain::text::joined;
use crate::error::{Failure, Kind};
use crate::identity;
use crate::protocol::{ProvisioningState, ProvisioningView, RequestView};
use crate::ui::request;

/// The pause between two checks of the request.
const POLL: Wait = Wait::from_millis(500);
/// How long connectors have to give access before nobody waits for them any more, in seconds from its start.
const GIVING: i64 = 30;

/// When a timeout that begins now is over.
pub fn deadline(timeout: Option<Length>) -> Option<Instant> {
    timeout.map(|length| Instant::now() + Wait::from_secs(length.seconds().unsigned_abs()))
}

impl App {
    /// Waits for a decision and prints it. Exit 0: granted; 1: not.
    pub(super) fn wait(&mut self, filed: RequestView, timeout: Option<Length>) -> Result<u8> {
        let deadline = deadline(timeout);
        let decided = self.decided(filed, deadline)?;
        let view = self.given(decided, deadline);
        let granted = match view.state {
            State::Active | State::Scheduled => true,
            State::Pending | State::Denied | State::Withdrawn | State::Lapsed | State::Expired | State::Revoked => {
                false
            }
        };
        let now = self.printer.now();
        self.printer.object(&view, |sheet| request::outcomes(sheet, &view, now))?;
        Ok(u8::from(!granted))
    }

    /// Waits until the connectors have given the access of a request, and warns of those that have not.
    pub(in crate::commands) fn given(&mut self, mut view: RequestView, until: Option<Instant>) -> RequestView {
        self.start_reconciler();
        let began = view.grant.as_ref().map_or(self.clock, |grant| grant.starts_at);
        let left = (GIVING - self.printer.now().since(began)).clamp(0, GIVING).unsigned_abs();
        let longest = Instant::now() + Wait::from_secs(left);
        let deadline = until.map_or(longest, |until| until.min(longest));
        let mut is_said = false;
        while let Some(connector) = giving(&view)
            && Instant::now() < deadline
        {
            if !is_said {
                self.printer.status(&format!("Waiting for the connector {connector} to give the access"));
                is_said = true;
            }
            sleep(POLL);
            // What comes next notices an outage too.
            let Ok(now) = self.look_at(view.id) else { break };
            view = RequestView { timeline: Vec::new(), ..now };
        }
        for one in provisioning(&view) {
            let said = match (one.state, &one.error) {
                (ProvisioningState::Failed, Some(why)) => format!("could not give the access: {why}"),
                (ProvisioningState::Failed, None) => "could not give the access".to_owned(),
                (ProvisioningState::Granting, _) => "has not given the access yet".to_owned(),
                (ProvisioningState::Granted | ProvisioningState::Revoking | ProvisioningState::Revoked, _) => continue,
            };
            self.printer.warn(&format!("the connector {} {said}", one.connector));
        }
        view
    }

    /// Waits until a request is decided, or is still pending after the deadline.
    pub(in crate::commands) fn decided(
        &mut self,
        filed: RequestView,
        deadline: Option<Instant>,
    ) -> Result<RequestView, Failure> {
        let id = filed.id;
        let who = &filed.approvals.waiting_on;
        self.printer.status(&format!(
            "Request {id} waits on {}; Ctrl-C stops the waiting, not the request",
            if who.is_empty() { "nobody".to_owned() } else { joined(who) }
        ));
        let mut outage = Outage::default();
        loop {
            self.printer.set_now(identity::clock()?);
            let looked = self.look_at(id);
            let out_of_time = deadline.is_some_and(|deadline| Instant::now() >= deadline);
            let mut view = match looked {
                Ok(view) => view,
                Err(failure) => {
                    let first = outage.begin();
                    if out_of_time || !outage.is_bearable(&failure) {
                        let lost = Failure { message: still_filed(id, &failure), ..failure };
                        return Err(lost.hint(format!("look again with `access show {id}`")));
                    }
                    if first {
                        self.printer.warn(&format!("{}; trying again", still_filed(id, &failure)));
                    }
                    sleep(POLL);
                    continue;
                }
            };
            outage = Outage::default();
            if view.state != State::Pending || out_of_time {
                view.timeline = Vec::new();
                return Ok(view);
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            sleep(left.unwrap_or(Wait::MAX).min(POLL));
        }
    }
}

/// Reading a filed request failed. The failure's own message may say that nothing was done, so it is replaced.
fn still_filed(id: RequestId, failure: &Failure) -> String {
    let why = match failure.kind {
        Kind::Busy => "the server or its database is busy",
        _ => &failure.message,
    };
    format!("request {id} was filed, and was waiting when last seen: {why}")
}

/// What connectors do about access that has begun.
fn provisioning(view: &RequestView) -> impl Iterator<Item = &ProvisioningView> {
    let grant = view.grant.iter().filter(|_| view.state == State::Active);
    grant.flat_map(|grant| grant.provisioning.iter().flatten())
}

/// A connector that is to give access, and has not yet.
fn giving(view: &RequestView) -> Option<Name> {
    provisioning(view).find(|one| one.state == ProvisioningState::Granting).map(|one| one.connector.clone())
}
