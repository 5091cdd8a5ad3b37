//! Requests as they are shown: with who may still decide.

use super::Sink;
use crate::command::{Reply, RequestView};
use crate::domain::decide;
use crate::domain::entitlement::Person;
use crate::domain::request::{Request, RequestId, State};
use crate::domain::time::Timestamp;
use crate::error::Failure;
use crate::store::{Error, Read};

/// `admins`: everybody who might decide, loaded once for many requests.
pub fn of(request: Request, admins: &[Person], now: Timestamp) -> RequestView {
    let pending = request.state(now) == State::Pending;
    let waiting_on = if pending { decide::deciders(admins, &request, now) } else { Vec::new() };
    RequestView::at(request, waiting_on, now)
}

/// A request just written, as it stands now.
pub fn written(read: &Read<'_>, id: RequestId, now: Timestamp) -> Result<RequestView, Error> {
    let request = read.request(id)?.ok_or_else(|| Error::Internal { message: format!("request {id} is missing") })?;
    // Only a pending request waits on anybody.
    let admins = if request.state(now) == State::Pending { read.admins()? } else { Vec::new() };
    Ok(of(request, &admins, now))
}

pub fn send(view: RequestView, sink: Sink<'_>) -> Result<(), Failure> {
    sink(Reply::Request(Box::new(view)))
}
