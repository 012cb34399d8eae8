//! Mistakes with dtypes: numbers that were rounded on one side.

use tch::{Kind, Tensor};

use super::case::{Case, Fit, plain, rms, run};
use super::cause::{Cause, Certainty, Diagnosis};
use crate::checkpoint::dtype_name;
use crate::checkpoint::safetensors::Tensors;
use crate::error::Result;
use crate::lstm::State;
use crate::random::{Stream, uniform};

/// So many numbers that a rounded dtype has, other than 0 and ±1, are no chance.
const ENOUGH: i64 = 8;
/// Values that were computed in a dtype lie this many of its epsilons from exact
/// ones, at most.
const EPSILONS: f64 = 16.0;

/// The dtypes that are coarser than this one, the coarsest first: most numbers of
/// a coarse dtype are numbers of a finer one, too.
pub(super) fn coarser(kind: Kind) -> Vec<Kind> {
    match kind {
        Kind::Double => vec![Kind::BFloat16, Kind::Half, Kind::Float],
        Kind::Float => vec![Kind::BFloat16, Kind::Half],
        _ => Vec::new(),
    }
}

fn epsilon(kind: Kind) -> f64 {
    match kind {
        Kind::Float => f64::from(f32::EPSILON),
        Kind::Half => 2f64.powi(-10),
        Kind::BFloat16 => 2f64.powi(-7),
        _ => f64::EPSILON,
    }
}

/// Whether every number survives the way through `kind`, and there are enough
/// that might not.
fn survives<'a>(tensors: impl Iterator<Item = &'a Tensor>, kind: Kind) -> bool {
    let mut counted = 0;
    for tensor in tensors {
        let tensor = plain(tensor);
        let there = tensor.to_kind(kind).to_kind(Kind::Double);
        if there.ne_tensor(&tensor).any().int64_value(&[]) != 0 {
            return false;
        }
        // 0 and ±1 have no digits to lose; nor have powers of two.
        let digits = tensor.abs().log2().frac().ne(0.0);
        let digits = digits.logical_and(&tensor.isfinite());
        counted += digits.sum(Kind::Int64).int64_value(&[]);
    }
    counted >= ENOUGH
}

/// Ours in a finer dtype than it was run in.
pub(super) fn try_all(case: &Case, fits: &mut Vec<Fit>) -> Result<()> {
    let evidence = case.evidence;
    let ours = evidence.input.kind();
    for finer in [Kind::Float, Kind::Double] {
        if !coarser(finer).contains(&ours) {
            continue;
        }
        let cast: Tensors = case
            .parameters
            .iter()
            .map(|(name, tensor)| (name.clone(), tensor.to_kind(finer)))
            .collect();
        let state = evidence.state.map(|state| State {
            h: state.h.to_kind(finer),
            c: state.c.to_kind(finer),
        });
        let outputs = run(
            &case.with(&cast)?,
            &evidence.input.to_kind(finer),
            evidence.lengths,
            state.as_ref(),
        )?;
        let what = format!(
            "we compute in {}, the reference in {}; compare in {1}",
            dtype_name(ours),
            dtype_name(finer)
        );
        case.keep(fits, Cause::Dtype(ours), what, &outputs, false);
    }
    Ok(())
}

/// A reference that was computed in a coarser dtype, or weights of ours that
/// were rounded: what cannot be reproduced, but shows.
pub(super) fn rounded(case: &Case) -> Result<Option<Diagnosis>> {
    let ours = case.ours()?;
    let (mut theirs_size, mut count) = (0.0, 0);
    for expected in case.expected.values() {
        theirs_size += expected.square().sum(Kind::Double).double_value(&[]);
        count += expected.numel();
    }
    let theirs_size = (theirs_size / count.max(1) as f64).sqrt();
    for kind in coarser(widest(case)) {
        if !survives(case.expected.values(), kind) {
            continue;
        }
        let allowed = EPSILONS * epsilon(kind);
        let share = case.base.share * case.evidence.tolerance / allowed;
        if share > 1.0 || case.base.rms > allowed * theirs_size {
            // Rounded, but something else is wrong as well.
            return Ok(None);
        }
        let dtype = dtype_name(kind);
        return Ok(Some(Diagnosis {
            cause: Cause::Dtype(kind),
            message: format!(
                "dtype: every output of the reference is a number of {dtype}, and none is farther from ours than rounding to {dtype} explains; it was computed in {dtype}, so compare in {dtype} or make it again"
            ),
            certainty: Certainty::Proved,
        }));
    }
    for kind in coarser(case.evidence.input.kind()) {
        if !survives(case.parameters.values(), kind) {
            continue;
        }
        // Weights that lost so many digits: how far would that move the outputs?
        let stream = Stream::new(0, "digits that were lost");
        let moved: Tensors = case
            .parameters
            .iter()
            .map(|(name, tensor)| {
                // Half a unit in the last place each way: epsilon * 2^exponent.
                let exponent = plain(tensor).abs().log2().floor();
                let half = exponent.exp2() * (0.5 * epsilon(kind));
                let noise = uniform(&tensor.size(), -1.0, 1.0, Stream::new(stream.seed(), name));
                let moved = plain(tensor) + noise * half;
                let moved = moved.to_kind(tensor.kind()).to_device(tensor.device());
                (name.clone(), moved)
            })
            .collect();
        let evidence = case.evidence;
        let moved = run(
            &case.with(&moved)?,
            evidence.input,
            evidence.lengths,
            evidence.state,
        )?;
        let expected_rms = rms(case, &ours, &moved);
        if (0.5..2.0).contains(&(case.base.rms / expected_rms)) {
            let dtype = dtype_name(kind);
            return Ok(Some(Diagnosis {
                cause: Cause::Dtype(kind),
                message: format!(
                    "dtype: every weight of ours is a number of {dtype}, though stored in {}, and the outputs differ by as much as rounding weights to {dtype} moves them; the reference most likely has the weights before that rounding",
                    dtype_name(evidence.input.kind())
                ),
                certainty: Certainty::Likely,
            }));
        }
    }
    Ok(None)
}

/// The finest dtype in which the reference's outputs are stored.
fn widest(case: &Case) -> Kind {
    let stored = case.evidence.expected.values().map(Tensor::kind);
    let stored: Vec<Kind> = stored
        .chain(case.evidence.pooled.map(Tensor::kind))
        .collect();
    match stored {
        kinds if kinds.contains(&Kind::Double) => Kind::Double,
        kinds if kinds.contains(&Kind::Float) => Kind::Float,
        _ => Kind::Half,
    }
}
