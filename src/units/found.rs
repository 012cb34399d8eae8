//! What a survey finds.

use serde::Serialize;

use super::{Activation, Direction, Histogram, Matches, Saturation};

/// Correlations of a unit's activations with the class; none where the texts have no
/// classes, the activation or the class never changes, or the unit has no such
/// activation (a projection makes hidden states of all cells together).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Correlations {
    /// Of the [final hidden state](Activation::Hidden).
    pub hidden: Option<f64>,
    /// Of the [final cell state](Activation::Cell).
    pub cell: Option<f64>,
    /// Of the [mean hidden state](Activation::Mean).
    pub mean: Option<f64>,
    /// Of the [largest hidden state](Activation::Max).
    pub max: Option<f64>,
}

impl Correlations {
    /// That of this activation.
    pub fn of(&self, activation: Activation) -> Option<f64> {
        match activation {
            Activation::Hidden => self.hidden,
            Activation::Cell => self.cell,
            Activation::Mean => self.mean,
            Activation::Max => self.max,
        }
    }
}

/// A cell with its gates, and without a projection its hidden state.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Unit {
    /// Its number, from 0.
    pub unit: usize,
    /// Of the input gate.
    pub input: Saturation,
    /// Of the forget gate.
    pub forget: Saturation,
    /// Of the output gate.
    pub output: Saturation,
    /// The mean of `ln f` over all steps; an `f` below the smallest normal number of
    /// the model's dtype counts as that number.
    pub mean_log_forget: f64,
    /// The share of steps with such an `f`. Above 0, the half-life is an upper bound.
    pub floored: f64,
    /// In tokens, as [`half_life`](super::half_life) gives it. None is infinite.
    pub half_life: Option<f64>,
    /// With the class of the text.
    pub correlation: Correlations,
}

/// A unit of the hidden state that a projection makes: it has no gates of its own.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Projected {
    /// Its number, from 0.
    pub unit: usize,
    /// With the class of the text; the cell's is none.
    pub correlation: Correlations,
}

/// One layer in one direction.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Layer {
    /// From 0, which reads the embedding.
    pub layer: usize,
    /// How it reads.
    pub direction: Direction,
    /// Its units.
    pub units: Vec<Unit>,
    /// Its hidden states, where they are projected.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub projected: Vec<Projected>,
}

impl Layer {
    /// The correlations of all units that have this activation.
    pub fn correlations(&self, activation: Activation) -> Vec<Option<f64>> {
        let pick = |correlation: &Correlations| correlation.of(activation);
        match self.projected.is_empty() || activation.is_cell() {
            true => self
                .units
                .iter()
                .map(|unit| pick(&unit.correlation))
                .collect(),
            false => {
                let projected = self.projected.iter();
                projected.map(|unit| pick(&unit.correlation)).collect()
            }
        }
    }
}

/// One of the units whose activation goes most with the class.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ranked {
    /// From 0.
    pub layer: usize,
    /// How the layer reads.
    pub direction: Direction,
    /// From 0.
    pub unit: usize,
    /// With the class.
    pub correlation: f64,
    /// Its activation by class.
    pub histogram: Histogram,
}

/// What was found over all texts.
#[derive(Clone, Debug, Serialize)]
pub struct Survey {
    /// Texts with a token: those that were read.
    pub texts: usize,
    /// The tokens of these, which are the time steps.
    pub tokens: usize,
    /// Texts without a token: those that were left out.
    pub texts_without_token: usize,
    /// Of the texts that were read, those of each class.
    pub class_counts: Option<Vec<usize>>,
    /// By which the units are ranked.
    pub activation: Activation,
    /// Every layer and direction.
    pub layers: Vec<Layer>,
    /// The units with the largest absolute correlation, the largest first; none without
    /// classes.
    pub sentiment_units: Vec<Ranked>,
    /// What the query found.
    #[serde(skip)]
    pub matches: Vec<Matches>,
}
