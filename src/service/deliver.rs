//! `deliver`: sends what is due.

use super::{DeliveryRun, Outside, Sink};
use crate::command::{End, Reply};
use crate::error::Failure;

pub fn deliver(outside: &Outside<'_>, sink: Sink<'_>) -> Result<End, Failure> {
    let DeliveryRun { view, warnings, failures } = (outside.deliver)(sink)?;
    sink(Reply::Delivered(view))?;
    match failures.into_iter().next() {
        Some(failure) => Err(failure),
        None => Ok(End { no: view.failed > 0, warnings, ..End::default() }),
    }
}
