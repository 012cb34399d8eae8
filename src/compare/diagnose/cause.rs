//! Why two results differ: the known mistakes, and how well one is known.

use std::fmt;

use serde::{Serialize, Serializer};
use tch::Kind;

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
