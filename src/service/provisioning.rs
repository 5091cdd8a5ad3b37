//! What connectors should give now, by the grants and the bindings, and the record of what they gave and took back.

use serde::{Deserialize, Serialize};

use super::{Call, Callers, Never, Rows, Service};
use crate::error::{Failure, Kind};
use crate::protocol::{DesiredState, DesiredView, DriftView, OutcomeView, Position};

/// What every login should hold now, in every system that a binding names.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DesiredAccess {
    /// The last entry that the caller saw.
    pub known: Option<Position>,
}

impl Call for DesiredAccess {
    const NAME: &'static str = "DesiredAccess";
    const CALLERS: Callers = Callers::Reconciler;
    type Row = DesiredView;
    type Reply = DesiredState;

    fn carry_out(self, _: &Service<'_>, _: Rows<'_, DesiredView>) -> Result<DesiredState, Failure> {
        Err(Failure::new(Kind::Internal, "not yet"))
    }
}

/// Records what was given and taken back, what failed, and drift. What is on the record already is not recorded again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RecordProvisioning {
    pub outcomes: Vec<OutcomeView>,
    /// All drift of these connectors; what was reported and is not here is resolved.
    pub drift: Vec<DriftView>,
    /// The connectors that `drift` is about.
    pub looked_at: Vec<crate::domain::name::Name>,
}

impl Call for RecordProvisioning {
    const NAME: &'static str = "RecordProvisioning";
    const CALLERS: Callers = Callers::Reconciler;
    type Row = Never;
    /// The last entry of the log.
    type Reply = Position;

    fn carry_out(self, _: &Service<'_>, _: Rows<'_, Never>) -> Result<Position, Failure> {
        Err(Failure::new(Kind::Internal, "not yet"))
    }
}
