//! The parameters that a connector accepts.

use super::NotDone;
use crate::domain::binding::{ParameterValue, Parameters};

/// The value of the only parameter that a connector has. A key that it does not know is a mistake, never ignored.
pub fn only<'p>(parameters: &'p Parameters, key: &str) -> Result<&'p ParameterValue, NotDone> {
    if let Some(unknown) = parameters.keys().find(|name| name.as_str() != key) {
        return Err(NotDone::Failed(format!("the binding has an unknown parameter: {unknown} (known: {key})")));
    }
    let value = parameters.iter().find(|(name, _)| name.as_str() == key).map(|(_, value)| value);
    value.ok_or_else(|| NotDone::Failed(format!("the binding has no parameter {key}")))
}
