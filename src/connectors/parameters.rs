//! The parameters of a binding, as one connector takes them.

use super::NotDone;
use crate::domain::binding::Parameters;

/// The value of the one parameter that a connector takes.
pub fn only<'p>(parameters: &'p Parameters, key: &str) -> Result<&'p str, NotDone> {
    exactly(parameters, [key]).map(|[value]| value)
}

/// The values of the parameters that a connector takes. It needs all of them.
pub fn exactly<'p, const N: usize>(parameters: &'p Parameters, keys: [&str; N]) -> Result<[&'p str; N], NotDone> {
    if let Some(name) = parameters.keys().find(|name| !keys.contains(&name.as_str())) {
        let takes = keys.join(" and ");
        return Err(NotDone::Failed(format!("{name} is no parameter of this connector; it takes {takes}")));
    }
    let mut values = [""; N];
    for (value, key) in values.iter_mut().zip(keys) {
        let given = parameters.iter().find(|(name, _)| name.as_str() == key);
        let (_, given) = given.ok_or_else(|| NotDone::Failed(format!("the parameter {key} is missing")))?;
        *value = given.as_str();
    }
    Ok(values)
}
