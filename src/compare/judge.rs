//! Our numbers held against the reference's, stage by stage, and the verdict.

use serde::Serialize;
use tch::{Kind, Tensor};

use super::measure::{Bound, Difference, measure};
use super::reference::Reference;
use super::stages::Stage;
use super::tolerance::{Quantity, SMALL_GRADIENT, Tolerance};
use crate::checkpoint::safetensors::Tensors;
use crate::error::{Error, Result};
use crate::lstm::Lstm;

/// One stage on both sides.
#[derive(Clone, Debug, Serialize)]
pub struct StageResult {
    /// Its name in the reference.
    pub name: String,
    /// How it is judged.
    pub quantity: Quantity,
    /// Its shape.
    pub shape: Vec<i64>,
    /// What it was judged by.
    pub tolerance: f64,
    /// How far it lies apart.
    #[serde(flatten)]
    pub difference: Difference,
    /// The place of the largest share of the tolerance, in words.
    pub at: String,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase", tag = "verdict")]
pub enum Verdict {
    /// Every number is the same, to the bit.
    Identical,
    /// Every number is within its tolerance.
    Within {
        /// The largest share of a tolerance that was used.
        share: f64,
        /// The stage that used it.
        stage: String,
    },
    /// Some number is not.
    Outside {
        /// The first stage that leaves its tolerance, in the order of
        /// computation.
        stage: String,
        /// The first place in it: layer, step, gate.
        first: String,
        /// How many stages are outside.
        outside: usize,
    },
}

/// Holds our numbers against the reference's.
pub(super) struct Judge<'a> {
    known: &'a [Stage],
    reference: &'a Reference,
    lstm: &'a Lstm,
    tolerance: Tolerance,
    /// The dtype that gives the unit in the last place.
    unit: Kind,
    largest_gradient: f64,
}

impl<'a> Judge<'a> {
    pub fn new(
        known: &'a [Stage],
        reference: &'a Reference,
        lstm: &'a Lstm,
        tolerance: Tolerance,
        unit: Kind,
    ) -> Judge<'a> {
        Judge {
            known,
            reference,
            lstm,
            tolerance,
            unit,
            largest_gradient: largest(&reference.expected, "grad/"),
        }
    }

    /// The stages that both sides have.
    fn pairs<'b>(
        &'b self,
        ours: &'b Tensors,
    ) -> impl Iterator<Item = (&'b Stage, &'b Tensor, &'b Tensor)> {
        self.known.iter().filter_map(|stage| {
            let theirs = self.reference.expected.get(&stage.name)?;
            Some((stage, ours.get(&stage.name)?, theirs))
        })
    }

    /// Errors with the first tensor whose shape differs.
    pub fn same_shapes(&self, ours: &Tensors) -> std::result::Result<(), String> {
        match self
            .pairs(ours)
            .find(|(_, ours, theirs)| ours.size() != theirs.size())
        {
            None => Ok(()),
            Some((stage, ours, theirs)) => Err(format!(
                "tensor {:?} has the shape {:?}, but ours has {:?}",
                stage.name,
                theirs.size(),
                ours.size()
            )),
        }
    }

    /// Every stage that both sides have.
    pub fn all(&self, ours: &Tensors) -> Result<Vec<StageResult>> {
        if let Err(error) = self.same_shapes(ours) {
            return Err(Error::file(&self.reference.path, error));
        }
        self.pairs(ours)
            .map(|(stage, ours, theirs)| self.one(stage, ours, theirs))
            .collect()
    }

    fn one(&self, stage: &Stage, ours: &Tensor, theirs: &Tensor) -> Result<StageResult> {
        let tolerance = self.tolerance.get(stage.quantity);
        let bound = match stage.quantity {
            Quantity::Gradient => {
                let scale = size(theirs).max(SMALL_GRADIENT * self.largest_gradient);
                Bound::Tensor(tolerance * if scale > 0.0 { scale } else { 1.0 })
            }
            _ => Bound::Element(tolerance),
        };
        let difference = measure(ours, theirs, bound, self.unit, stage.time())?;
        Ok(StageResult {
            name: stage.name.clone(),
            quantity: stage.quantity,
            shape: theirs.size(),
            tolerance,
            at: stage.place(&difference.place, self.lstm),
            difference,
        })
    }

    /// What all of them say together.
    pub fn verdict(&self, results: &[StageResult]) -> Verdict {
        let outside: Vec<&StageResult> = results
            .iter()
            .filter(|result| result.is_outside())
            .collect();
        if let Some(first) = outside.first() {
            return Verdict::Outside {
                stage: first.name.clone(),
                first: first_place(self.known, &outside),
                outside: outside.len(),
            };
        }
        if results.iter().all(|result| result.difference.identical) {
            return Verdict::Identical;
        }
        let share = |result: &StageResult| result.difference.share;
        let used = results.iter().max_by(|a, b| share(a).total_cmp(&share(b)));
        Verdict::Within {
            share: used.map_or(0.0, share),
            stage: used.map_or(String::new(), |result| result.name.clone()),
        }
    }
}

impl StageResult {
    /// Whether a number leaves the tolerance.
    pub fn is_outside(&self) -> bool {
        self.difference.share > 1.0 || self.difference.share.is_nan()
    }
}

/// The largest absolute number of a tensor.
fn size(tensor: &Tensor) -> f64 {
    match tensor.numel() {
        0 => 0.0,
        _ => tensor.abs().max().to_kind(Kind::Double).double_value(&[]),
    }
}

fn largest(tensors: &Tensors, start: &str) -> f64 {
    let of_start = tensors.iter().filter(|(name, _)| name.starts_with(start));
    of_start.map(|(_, tensor)| size(tensor)).fold(0.0, f64::max)
}

/// Where the first difference starts. The stages of a layer are computed side by
/// side, so of them the one that leaves its tolerance at the earliest step is
/// the first (the latest step, backwards).
fn first_place(known: &[Stage], outside: &[&StageResult]) -> String {
    let first = outside[0];
    let of = |result: &StageResult| {
        let stage = known.iter().find(|stage| stage.name == result.name)?;
        stage.of
    };
    let Some((layer, reverse, _)) = of(first) else {
        return format!("{} at {}", first.name, first.at);
    };
    let steps = outside.iter().filter_map(|result| match of(result) {
        Some((l, r, part)) if (l, r) == (layer, reverse) => {
            let over_time = &result.difference.over_time;
            let step = match reverse {
                false => over_time.iter().position(|&share| share > 1.0)?,
                true => over_time.iter().rposition(|&share| share > 1.0)?,
            };
            Some((
                if reverse { -(step as i64) } else { step as i64 },
                part,
                step,
            ))
        }
        _ => None,
    });
    // The first of equal ones: in the order of computation.
    match steps.min_by_key(|(order, ..)| *order) {
        Some((_, part, step)) => {
            let what = match part {
                "i" => "input gate i",
                "f" => "forget gate f",
                "g" => "candidate g",
                "o" => "output gate o",
                "c" => "cell state c",
                _ => "hidden state h",
            };
            let direction = if reverse { ", backwards" } else { "" };
            format!("layer {layer}{direction}, step {step}, {what}")
        }
        None => format!("{} at {}", first.name, first.at),
    }
}
