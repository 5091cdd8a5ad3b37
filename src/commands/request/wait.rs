//! Waiting for a decision.

use std::thread::sleep;
use std::time::{Duration as Wait, Instant};

use anyhow::Result;

use super::super::app::App;
use super::super::outage::Outage;
use crate::domain::duration::Length;
use crate::domain::grant::State;
use crate::domain::terms::RequestId;
use crate::domain::text::joined;
use crate::error::{Failure, Kind};
use crate::identity;
use crate::protocol::RequestView;
use crate::ui::request;

/// The pause between two checks of the request.
const POLL: Wait = Wait::from_millis(500);

impl App {
    /// Waits for a decision and prints it. Exit 0: granted; 1: not.
    pub(super) fn wait(&mut self, filed: RequestView, timeout: Option<Length>) -> Result<u8> {
        let view = self.decided(filed, timeout)?;
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

    /// Waits until a request is decided, or is still pending after the timeout.
    pub(in crate::commands) fn decided(
        &mut self,
        filed: RequestView,
        timeout: Option<Length>,
    ) -> Result<RequestView, Failure> {
        let id = filed.id;
        let deadline = timeout.map(|length| Instant::now() + Wait::from_secs(length.seconds().unsigned_abs()));
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
