//! A search over values of a training configuration: which candidates there are,
//! and which of them is best on dev. Knows nothing of terminals, and trains
//! nothing.

mod plan;
mod ranking;
#[cfg(test)]
mod tests;

pub use self::plan::{Candidate, Method, Plan, Range, Values, shown};
pub use self::ranking::{Ranked, Trial, TrialResult, deviation, mean, rank};
