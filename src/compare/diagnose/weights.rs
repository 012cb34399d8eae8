//! Mistakes with parameters, tried one after another.

use tch::Tensor;

use super::case::{Case, Fit, run};
use super::cause::{Cause, Certainty, Diagnosis, Total};
use super::changes::changes;
use crate::compare::digest::digest;
use crate::error::Result;
use crate::lstm::State;

/// Tries every mistake: first on one text, then on all.
pub(super) fn try_all(case: &Case, fits: &mut Vec<Fit>) -> Result<()> {
    if !case.base.rms.is_finite() {
        // No weight changes a shape, or makes a number of what is none.
        return Ok(());
    }
    let evidence = case.evidence;
    let input = evidence.input.narrow(0, case.text, 1);
    let length = [case.lengths[case.text as usize]];
    let state = evidence.state.map(|state| State {
        h: state.h.narrow(1, case.text, 1),
        c: state.c.narrow(1, case.text, 1),
    });
    for change in changes(evidence.lstm.config(), case) {
        let Some(parameters) = (change.make)(&case.parameters) else {
            continue;
        };
        let lstm = case.with(&parameters)?;
        let one = run(&lstm, &input, Some(&length), state.as_ref())?;
        let distance = case.distance(&one, Some(case.text));
        if distance.is_none_or(|distance| distance.share > 1.0) {
            continue;
        }
        let all = run(&lstm, evidence.input, evidence.lengths, evidence.state)?;
        let bits = case.to_the_bit(&parameters);
        case.keep(fits, change.cause, said(case, change.what), &all, bits);
    }
    Ok(())
}

/// A mistake that makes the reference's weights of ours to the bit, although the
/// outputs are not reproduced.
pub(super) fn by_digest(case: &Case) -> Option<Diagnosis> {
    let digests = case.evidence.digests?;
    if case.to_the_bit(&case.parameters) {
        return None;
    }
    for change in changes(case.evidence.lstm.config(), case) {
        let made = (change.make)(&case.parameters);
        if made.is_some_and(|parameters| case.to_the_bit(&parameters)) {
            return Some(Diagnosis {
                message: format!(
                    "{}: {}; with that change our weights are the reference's to the bit, but the outputs differ all the same: there is something else",
                    change.cause.name(),
                    change.what
                ),
                cause: change.cause,
                certainty: Certainty::Proved,
            });
        }
    }
    // A bias that was lost on the way to us: all else is the same.
    let differ: Vec<&String> = case
        .parameters
        .iter()
        .filter(|(name, tensor)| digests.get(*name) != Some(&digest(tensor)))
        .map(|(name, _)| name)
        .collect();
    let zero = |name: &&String| {
        name.starts_with("bias") && is_zero(&case.parameters[*name]) && digests.contains_key(*name)
    };
    if differ.is_empty() || !differ.iter().all(zero) {
        return None;
    }
    let names = differ
        .iter()
        .map(|name| name.as_str())
        .collect::<Vec<_>>()
        .join(", ");
    Some(Diagnosis {
        message: format!(
            "biases: ours are all zero in {names}, the reference's are not, and every other parameter is the same to the bit; read them from the checkpoint again"
        ),
        cause: Cause::Biases(Total::Lost(names)),
        certainty: Certainty::Likely,
    })
}

fn is_zero(tensor: &Tensor) -> bool {
    tensor.count_nonzero(None).int64_value(&[]) == 0
}

/// What a change says, and that it is about reading where the weights are the
/// same.
fn said(case: &Case, what: String) -> String {
    match case.to_the_bit(&case.parameters) {
        true => format!(
            "{what} (both sides have the same weights to the bit, so one of them reads them so)"
        ),
        false => what,
    }
}
