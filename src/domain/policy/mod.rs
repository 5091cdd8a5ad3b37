//! What it takes to be granted something: rules, what a grant opens, and whose approval that needs.

pub mod judge;
pub mod quota;
pub mod rule;
