//! The evidence with our own result, and what is held against it.

use tch::{Device, Kind, Tensor};

use super::cause::{Cause, Certainty, Diagnosis};
use super::evidence::Evidence;
use crate::checkpoint::safetensors::Tensors;
use crate::compare::digest::digest;
use crate::error::{Error, Result};
use crate::lstm::{Call, Engine, Lstm, LstmConfig, State};

/// A change has to bring ours this much nearer to the reference, beside being
/// within the tolerance: a wide tolerance alone proves nothing.
const NEARER: f64 = 0.25;
/// Of two changes that both fit, one that is this much nearer is the better,
/// unless both are nearer than this share of the tolerance: that is rounding.
const BETTER: f64 = 0.1;
const ROUNDING: f64 = 0.01;

/// How far two sets of outputs lie apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Distance {
    /// The largest share of the tolerance.
    pub(super) share: f64,
    /// Root of the mean square of all differences.
    pub(super) rms: f64,
}

/// A change under which ours is within the tolerance.
pub(super) struct Fit {
    pub(super) cause: Cause,
    /// What the change says, as a sentence without its end.
    pub(super) what: String,
    pub(super) rms: f64,
    /// Whether the changed weights are the reference's to the bit.
    pub(super) to_the_bit: bool,
}

/// The evidence, with our own result.
pub(super) struct Case<'a> {
    pub(super) evidence: &'a Evidence<'a>,
    pub(super) parameters: Tensors,
    /// `y`, `h_n`, `c_n`, `pooled`: those that are expected; f64 on the CPU.
    pub(super) expected: Tensors,
    pub(super) lengths: Vec<i64>,
    pub(super) batch: i64,
    pub(super) time: i64,
    pub(super) base: Distance,
    /// A text whose result differs: the shortest.
    pub(super) text: i64,
}

impl<'a> Case<'a> {
    pub(super) fn new(evidence: &'a Evidence<'a>) -> Result<Case<'a>> {
        let lstm = evidence.lstm;
        if !lstm.config().batch_first {
            return Err(Error::config("batch_first", "must be true to diagnose"));
        }
        let Ok([batch, time, _]) = <[i64; 3]>::try_from(evidence.input.size()) else {
            return Err(Error::tensor("input", "must be [B, T, I]"));
        };
        let named = ["y", "h_n", "c_n"]
            .into_iter()
            .filter_map(|name| Some((name, evidence.expected.get(name)?)));
        let expected: Tensors = named
            .chain(evidence.pooled.map(|pooled| ("pooled", pooled)))
            .map(|(name, tensor)| (name.to_owned(), plain(tensor)))
            .collect();
        if expected.is_empty() {
            return Err(Error::tensor("expected", "has none of y, h_n, c_n, pooled"));
        }
        let parameters = lstm.parameters().into_iter();
        let mut case = Case {
            evidence,
            parameters: parameters
                .map(|(name, tensor)| (name, tensor.detach()))
                .collect(),
            expected,
            lengths: match evidence.lengths {
                Some(lengths) => lengths.to_vec(),
                None => vec![time; batch as usize],
            },
            batch,
            time,
            base: Distance {
                share: f64::INFINITY,
                rms: f64::INFINITY,
            },
            text: 0,
        };
        let ours = case.ours()?;
        // A shape that differs is a difference, too.
        if let Some(base) = case.distance(&ours, None) {
            case.base = base;
        }
        let outside = (0..batch).filter(|&text| {
            let one = case.distance(&select(&ours, text), Some(text));
            one.is_none_or(|distance| distance.share > 1.0)
        });
        if let Some(text) = outside.min_by_key(|&text| case.lengths[text as usize]) {
            case.text = text;
        }
        Ok(case)
    }

    /// What we compute, as the caller asked.
    pub(super) fn ours(&self) -> Result<Tensors> {
        let Evidence {
            lstm,
            input,
            lengths,
            state,
            ..
        } = *self.evidence;
        run(lstm, input, lengths, state)
    }

    /// An LSTM like ours with these parameters.
    pub(super) fn with(&self, parameters: &Tensors) -> Result<Lstm> {
        build(self.evidence.lstm.config().clone(), parameters)
    }

    /// `[B, T, 1]`, true behind the ends.
    pub(super) fn padding(&self) -> Tensor {
        let steps = Tensor::arange(self.time, (Kind::Int64, Device::Cpu));
        let ends = Tensor::from_slice(&self.lengths).unsqueeze(-1);
        let padding = steps.unsqueeze(0).ge_tensor(&ends).unsqueeze(-1);
        padding.to_device(self.evidence.input.device())
    }

    pub(super) fn ragged(&self) -> bool {
        self.lengths.iter().any(|&length| length < self.time)
    }

    /// How far outputs are from the expected ones, of all texts or of one;
    /// `None` if a shape differs.
    pub(super) fn distance(&self, outputs: &Tensors, text: Option<i64>) -> Option<Distance> {
        let (mut share, mut squares, mut count) = (0f64, 0.0, 0usize);
        for (name, expected) in &self.expected {
            let expected = match text {
                Some(text) => {
                    let axis = axis_of_texts(name);
                    if text >= expected.size()[axis as usize] {
                        return None;
                    }
                    expected.narrow(axis, text, 1)
                }
                None => expected.shallow_clone(),
            };
            let computed = plain(outputs.get(name)?);
            if computed.size() != expected.size() {
                return None;
            }
            if expected.numel() == 0 {
                continue;
            }
            let difference = (computed - &expected).abs();
            let allowed = expected.abs().clamp_min(1.0) * self.evidence.tolerance;
            let largest = (&difference / allowed).max().double_value(&[]);
            // What is no number is never within a tolerance.
            share = share.max(if largest.is_nan() {
                f64::INFINITY
            } else {
                largest
            });
            squares += difference.square().sum(Kind::Double).double_value(&[]);
            count += expected.numel();
        }
        let rms = (squares / count.max(1) as f64).sqrt();
        Some(Distance { share, rms })
    }

    /// Keeps a change if its outputs are the expected ones.
    pub(super) fn keep(
        &self,
        fits: &mut Vec<Fit>,
        cause: Cause,
        what: impl Into<String>,
        outputs: &Tensors,
        to_the_bit: bool,
    ) {
        let Some(distance) = self.distance(outputs, None) else {
            return;
        };
        // A base of another shape has no rms to be nearer than.
        let nearer = !self.base.rms.is_finite() || distance.rms <= NEARER * self.base.rms;
        if distance.share <= 1.0 && nearer {
            fits.push(Fit {
                cause,
                what: what.into(),
                rms: distance.rms,
                to_the_bit,
            });
        }
    }

    /// Whether these parameters are those of the reference, to the bit.
    pub(super) fn to_the_bit(&self, parameters: &Tensors) -> bool {
        self.evidence.digests.is_some_and(|digests| {
            digests.len() == parameters.len()
                && parameters
                    .iter()
                    .all(|(name, tensor)| digests.get(name) == Some(&digest(tensor)))
        })
    }
}

/// The nearest of the changes that fit. Others that are as near are told.
pub(super) fn choose(fits: Vec<Fit>, tolerance: f64) -> Option<Diagnosis> {
    let nearest = fits.iter().map(|fit| fit.rms).fold(f64::INFINITY, f64::min);
    let limit = (nearest / BETTER).max(ROUNDING * tolerance);
    let near = |fit: &&Fit| fit.to_the_bit || fit.rms <= limit;
    let near: Vec<&Fit> = fits.iter().filter(near).collect();
    let best = near.iter().find(|fit| fit.to_the_bit).or(near.first())?;
    let mut others: Vec<&str> = near
        .iter()
        .filter(|fit| !fit.to_the_bit && fit.cause.name() != best.cause.name())
        .map(|fit| fit.what.as_str())
        .collect();
    others.dedup();
    let evidence = match best.to_the_bit {
        true => {
            "with that change our weights are the reference's to the bit, and every output is within the tolerance"
        }
        false => "with that change every output of ours is within the tolerance",
    };
    let mut message = format!("{}: {}; {evidence}", best.cause.name(), best.what);
    let doubt = !others.is_empty() && !best.to_the_bit;
    if doubt {
        message += &format!(". It cannot be told from this: {}", others.join("; or "));
    }
    Some(Diagnosis {
        cause: best.cause.clone(),
        message,
        certainty: if doubt {
            Certainty::Likely
        } else {
            Certainty::Proved
        },
    })
}

/// f64 on the CPU.
pub(super) fn plain(tensor: &Tensor) -> Tensor {
    tensor.detach().to_device(Device::Cpu).to_kind(Kind::Double)
}

/// The axis of texts of an output.
pub(super) fn axis_of_texts(name: &str) -> i64 {
    match name {
        "h_n" | "c_n" => 1,
        _ => 0,
    }
}

/// The outputs of one text.
pub(super) fn select(outputs: &Tensors, text: i64) -> Tensors {
    outputs
        .iter()
        .map(|(name, tensor)| (name.clone(), tensor.narrow(axis_of_texts(name), text, 1)))
        .collect()
}

pub(super) fn build(config: LstmConfig, parameters: &Tensors) -> Result<Lstm> {
    Lstm::from_tensors(config, |name| {
        parameters
            .get(name)
            .map(Tensor::shallow_clone)
            .ok_or_else(|| Error::tensor(name, "is missing"))
    })
}

/// `y`, `h_n`, `c_n` and `pooled` of an LSTM.
pub(super) fn run(
    lstm: &Lstm,
    input: &Tensor,
    lengths: Option<&[i64]>,
    state: Option<&State>,
) -> Result<Tensors> {
    let call = Call {
        lengths,
        state,
        // The half dtypes round differently in libtorch's kernels.
        engine: match input.kind() {
            Kind::Float | Kind::Double => Engine::Fused,
            _ => Engine::Plain,
        },
        ..Call::default()
    };
    let read = lstm.forward(input, &call)?;
    Ok(outputs(
        read.output,
        read.state.h,
        read.state.c,
        lstm.config().directions(),
    ))
}

/// Named, with what pooling by `last` makes of them.
pub(super) fn outputs(y: Tensor, h_n: Tensor, c_n: Tensor, directions: i64) -> Tensors {
    let rows = h_n.size()[0];
    let last: Vec<Tensor> = (rows - directions..rows).map(|row| h_n.get(row)).collect();
    Tensors::from([
        ("pooled".to_owned(), Tensor::cat(&last, -1)),
        ("y".to_owned(), y),
        ("h_n".to_owned(), h_n),
        ("c_n".to_owned(), c_n),
    ])
}

/// The outputs with another in the place of one; what is pooled goes with `h_n`
/// only where that is said.
pub(super) fn replaced(outputs: &Tensors, name: &str, by: Tensor) -> Tensors {
    let mut other = shared(outputs);
    other.insert(name.to_owned(), by);
    other
}

pub(super) fn shared(outputs: &Tensors) -> Tensors {
    let each = outputs.iter();
    each.map(|(name, tensor)| (name.clone(), tensor.shallow_clone()))
        .collect()
}

/// Between two outputs of ours, over those that are expected.
pub(super) fn rms(case: &Case, a: &Tensors, b: &Tensors) -> f64 {
    let (mut squares, mut count) = (0.0, 0);
    for name in case.expected.keys() {
        let difference = plain(&a[name]) - plain(&b[name]);
        squares += difference.square().sum(Kind::Double).double_value(&[]);
        count += difference.numel();
    }
    (squares / count.max(1) as f64).sqrt()
}
