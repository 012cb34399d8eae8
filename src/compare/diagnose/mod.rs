//! Why two results differ. A cause is a hypothesis: a change of our computation
//! under which it reproduces the reference. Each known mistake is made on
//! purpose, and named if its result is what the reference has. What no known
//! mistake explains stays unexplained.

mod case;
mod changes;
mod dropout;
mod dtype;
mod gates;
mod padding;
mod reading;
#[cfg(test)]
mod tests;
mod weights;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Serialize, Serializer};
use tch::{Kind, Tensor};

use self::case::{Case, choose};
use crate::checkpoint::safetensors::Tensors;
use crate::error::Result;
use crate::lstm::{Lstm, State};

/// What is known when two results differ.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// Ours, batch first.
    pub lstm: &'a Lstm,
    /// `[B, T, I]`, with whatever stands in the padding.
    pub input: &'a Tensor,
    /// The length of each text; `None`: all are `T`.
    pub lengths: Option<&'a [i64]>,
    /// The initial state; `None`: zeros.
    pub state: Option<&'a State>,
    /// Of the reference, batch first: one or more of `y` `[B, T, D*P]`, `h_n`
    /// `[L*D, B, P]`, `c_n` `[L*D, B, H]`. Gates and states of each step may be
    /// there as `l0/i`, `l0_reverse/f`, ..., each `[B, T, H]` (`h`: `[B, T, P]`).
    pub expected: &'a Tensors,
    /// What the head of a classifier that pools by `last` read `[B, D*P]`.
    pub pooled: Option<&'a Tensor>,
    /// Of the reference's parameters by PyTorch's name, as [`digest`](super::digest::digest) makes them.
    pub digests: Option<&'a BTreeMap<String, String>>,
    /// `|ours - theirs| <= tolerance * max(1, |theirs|)`.
    pub tolerance: f64,
}

/// What was done to weights, in which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every parameter.
    All,
    /// Weights, but not biases.
    Weights,
    /// Biases, but not weights.
    Biases,
    /// `weight_ih`.
    Input,
    /// `weight_hh`.
    Hidden,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Scope::All => "weights and biases",
            Scope::Weights => "the weights, but not the biases",
            Scope::Biases => "the biases, but not the weights",
            Scope::Input => "weight_ih",
            Scope::Hidden => "weight_hh",
        })
    }
}

/// What the reference adds for each gate, in our `bias_ih` and `bias_hh`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Total {
    /// Nothing.
    None,
    /// Both, twice.
    TwiceBoth,
    /// Only `bias_ih`.
    Ih,
    /// Only `bias_hh`.
    Hh,
    /// `bias_ih` twice.
    TwiceIh,
    /// `bias_hh` twice.
    TwiceHh,
    /// Half of both.
    Half,
    /// Something in this one, where ours is zero.
    Lost(String),
}

/// Why two results differ.
#[derive(Clone, Debug, PartialEq)]
pub enum Cause {
    /// The reference takes the four blocks of our rows for gates in this order:
    /// `i o f g`.
    GateOrder {
        /// Of the reference.
        theirs: String,
        /// In which parameters.
        scope: Scope,
    },
    /// Rows in blocks of gates on one side, of units on the other.
    Interleaved(Scope),
    /// The two biases are not added once each.
    Biases(Total),
    /// The reference's layer `k` is ours at `[k]`.
    LayersSwapped(Vec<i64>),
    /// Forward and backward have changed places.
    DirectionsSwapped,
    /// The backward direction's outputs, or its inputs, were not turned in time.
    BackwardNotTurned,
    /// Batch and time have changed places.
    BatchFirst,
    /// The block of each gate is transposed.
    Transposed(Scope),
    /// The shape was changed where the matrix should have been transposed, or
    /// the other way round.
    Reshaped(Scope),
    /// Dropout was on, with this probability if it could be found.
    Dropout(Option<f64>),
    /// Of this dtype on one side only.
    Dtype(Kind),
    /// The padding has an influence.
    Padding,
    /// The output of a wrong step was taken for the last state.
    LastStep,
    /// The initial state.
    InitialState,
}

impl Cause {
    /// In a word or two.
    pub fn name(&self) -> &'static str {
        match self {
            Cause::GateOrder { .. } => "gate order",
            Cause::Interleaved(_) => "interleaved gates",
            Cause::Biases(_) => "biases",
            Cause::LayersSwapped(_) => "layers swapped",
            Cause::DirectionsSwapped => "directions swapped",
            Cause::BackwardNotTurned => "backward direction not turned",
            Cause::BatchFirst => "batch_first",
            Cause::Transposed(_) => "transposed weights",
            Cause::Reshaped(_) => "reshaped weights",
            Cause::Dropout(_) => "dropout",
            Cause::Dtype(_) => "dtype",
            Cause::Padding => "padding",
            Cause::LastStep => "last step",
            Cause::InitialState => "initial state",
        }
    }
}

/// How well a cause is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Certainty {
    /// The change reproduces every output within the tolerance, or the
    /// reference's weights to the bit.
    Proved,
    /// It fits all that is known, but something else might, too.
    Likely,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Diagnosis {
    /// Why; its name in JSON.
    #[serde(serialize_with = "by_name")]
    pub cause: Cause,
    /// What is wrong, on which evidence, what to do.
    pub message: String,
    /// How well it is known.
    pub certainty: Certainty,
}

fn by_name<S: Serializer>(cause: &Cause, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(cause.name())
}

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
