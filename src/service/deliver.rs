//! `deliver`: sends what is due.

use serde::{Deserialize, Serialize};

use super::{Call, Callers, DeliveryRun, Rows, Service};
use crate::error::Failure;
use crate::protocol::{DeliverView, Progress};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Deliver {}

impl Call for Deliver {
    const NAME: &'static str = "Deliver";
    const CALLERS: Callers = Callers::Keepers;
    const SENDS: bool = true;
    type Row = Progress;
    type Reply = Delivered;

    fn carry_out(self, service: &Service<'_>, rows: Rows<'_, Progress>) -> Result<Delivered, Failure> {
        let DeliveryRun { view, warnings, failures } = (service.outside.deliver)(rows)?;
        Ok(Delivered { view, warnings, failure: failures.into_iter().next() })
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Delivered {
    pub view: DeliverView,
    pub warnings: Vec<String>,
    /// Why some transports could not be used. The others were used.
    pub failure: Option<Failure>,
}
