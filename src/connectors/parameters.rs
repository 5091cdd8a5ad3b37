//! The parameters of a binding, as one connector takes them.

use super::NotDone;
use crate::domain::binding::Parameters;

/// The value of the one parameter that a connector takes.
pub fn only<'p>(parameters: &'p Parameters, key: &str) -> Result<&'p str, NotDone> {
    let mut value = None;
    for (name, given) in parameters {
        if name.as_str() != key {
            return Err(NotDone::Failed(format!("{name} is no parameter of this connector; it takes {key}")));
        }
        value = Some(given.as_str());
    }
    value.ok_or_else(|| NotDone::Failed(format!("the parameter {key} is missing")))
}
