//! What it takes to be granted something: rules, what a grant opens, and whose approval that needs.

pub mod demand;
pub mod judge;
pub mod length;
pub mod matching;
pub mod opened;
pub mod pattern;
pub mod quota;
pub mod rule;
