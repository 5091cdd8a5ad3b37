//! What it takes to be granted something: rules, what a grant opens, and whose approval that needs.

pub mod default_demand;
pub mod demand;
pub mod judge;
pub mod length;
pub mod longest;
pub mod matching;
pub mod opened;
pub mod other_grants;
pub mod pattern;
pub mod rule;
pub mod violation;
