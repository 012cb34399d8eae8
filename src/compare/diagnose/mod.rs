//! Why two results differ. A cause is a hypothesis: a change of our computation
//! under which it reproduces the reference. Each known mistake is made on
//! purpose, and named if its result is what the reference has. What no known
//! mistake explains stays unexplained.

mod case;
mod cause;
mod change;
mod changes;
mod dropout;
mod dtype;
mod evidence;
mod gates;
mod padding;
mod reading;
#[cfg(test)]
mod tests;
mod weights;

use self::case::{Case, choose};
pub use self::cause::{Cause, Certainty, Diagnosis, Scope, Total};
pub use self::evidence::Evidence;
use crate::error::Result;

/// Finds out why ours differs from the reference: `None` if it does not, or if no
/// known mistake explains it.
///
/// Errors if the input does not fit the LSTM, or nothing is expected of it.
pub fn diagnose(evidence: &Evidence) -> Result<Option<Diagnosis>> {
    tch::no_grad(|| {
        let case = Case::new(evidence)?;
        if case.base.share <= 1.0 {
            return Ok(None);
        }
        let mut fits = Vec::new();
        weights::try_all(&case, &mut fits)?;
        reading::try_all(&case, &mut fits)?;
        dtype::try_all(&case, &mut fits)?;
        if let Some(found) = choose(fits, evidence.tolerance) {
            return Ok(Some(found));
        }
        if let Some(found) = weights::by_digest(&case) {
            return Ok(Some(found));
        }
        if let Some(found) = dtype::rounded(&case)? {
            return Ok(Some(found));
        }
        dropout::diagnose(&case)
    })
}
