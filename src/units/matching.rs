//! The texts whose activation is most like that of a unit at its strongest, or of a
//! span of text.
//!
//! The idea is the match of LSTMVis (Strobelt, Gehrmann, Pfister and Rush 2018), with
//! another measure. There a person chooses a threshold; the units that are above it over
//! the whole selected span are its pattern, and spans of the data are ranked by how many
//! of these units are above it there, too, and how few others. Here there is no threshold
//! to choose: the pattern is the mean vector of the states over the span's tokens, and
//! each run of as many tokens in the data has the cosine of its own mean vector with it.

use std::ops::Range;

use tch::{Kind, Tensor};

use super::best::Best;
use super::read::{Read, numbers};
use super::{Activation, Direction, Settings};
use crate::error::{Error, Result};
use crate::lstm::LstmConfig;
use crate::model::Model;

/// For a unit the matching words are those around its peak at which it stays above this
/// share of the peak.
pub const RUN: f64 = 0.5;

/// Which texts to find.
#[derive(Clone, Debug, PartialEq)]
pub enum Query {
    /// Those in which a unit is the highest at some token, and those in which it is the
    /// lowest.
    Unit {
        /// From 0.
        layer: usize,
        /// How it reads.
        direction: Direction,
        /// From 0.
        unit: usize,
    },
    /// Those with a run of so many tokens whose mean state has the largest cosine with
    /// `vector`. Texts with fewer tokens are not looked at.
    Span {
        /// From 0.
        layer: usize,
        /// Of which the states are joined, in this order.
        directions: Vec<Direction>,
        /// The mean state over the span.
        vector: Vec<f64>,
        /// How many tokens the span has.
        tokens: usize,
    },
}

impl Query {
    /// A unit that has this activation; without a layer the top one, without a
    /// direction forward.
    ///
    /// # Errors
    /// The model has no such layer, direction or unit.
    pub fn unit(
        model: &Model,
        activation: Activation,
        layer: Option<usize>,
        direction: Option<Direction>,
        unit: usize,
    ) -> Result<Query> {
        let config = model.lstm().config();
        let (layer, directions) = of_model(config, layer, direction)?;
        let query = Query::Unit {
            layer,
            direction: directions[0],
            unit,
        };
        query.check(config, activation)?;
        Ok(query)
    }

    /// The states of a span, read on its own, or where it first stands in `context`;
    /// without a layer of the top one, without a direction of all joined.
    ///
    /// # Errors
    /// The model has no such layer or direction; the context does not hold the span, or
    /// not in the tokens that the model reads; the span has no token, or no word of it is
    /// in the vocabulary.
    pub fn span(
        model: &Model,
        activation: Activation,
        layer: Option<usize>,
        direction: Option<Direction>,
        span: &str,
        context: Option<&str>,
    ) -> Result<Query> {
        let config = model.lstm().config();
        let (layer, directions) = of_model(config, layer, direction)?;
        let refuse = |message: &str| Err(Error::config("span", format!("{span:?} {message}")));
        let text = context.unwrap_or(span);
        let Some(start) = text.find(span) else {
            return refuse("does not stand in its context, letter by letter");
        };
        let mut pieces = model.tokenizer().pieces(text)?;
        let bytes = start..start + span.len();
        let is_inside = |at: &usize| {
            let range = &pieces[*at].range;
            range.start < bytes.end && bytes.start < range.end
        };
        let inside: Vec<usize> = (0..pieces.len()).filter(is_inside).collect();
        let (Some(&first), Some(&last)) = (inside.first(), inside.last()) else {
            return refuse("has no token; give it a word");
        };
        let unknown = model.tokenizer().unknown().map(i64::from);
        if inside.iter().all(|&at| Some(pieces[at].id) == unknown) {
            return refuse("has no word that the vocabulary knows; give another");
        }
        pieces.truncate(model.config().max_tokens.unwrap_or(usize::MAX));
        if last >= pieces.len() {
            return refuse("stands behind the tokens that the model reads (max_tokens)");
        }
        let ids: Vec<i64> = pieces.iter().map(|piece| piece.id).collect();
        let _no_grad = tch::no_grad_guard();
        let read = Read::new(model, [ids.as_slice()])?;
        let tokens = last - first + 1;
        let states = states(&read, activation, config, layer, &directions);
        let mean = states
            .narrow(1, first as i64, tokens as i64)
            .mean_dim(1, false, Kind::Double);
        let vector = numbers(&mean)?;
        if vector.iter().all(|&x| x == 0.0) {
            return refuse("has a state of zeros, which is like no other");
        }
        Ok(Query::Span {
            layer,
            directions,
            vector,
            tokens,
        })
    }

    /// Errors if a model of this configuration has no such units.
    fn check(&self, config: &LstmConfig, activation: Activation) -> Result<()> {
        let units = activation.units(config) as usize;
        match self {
            Query::Unit {
                layer,
                direction,
                unit,
            } => {
                of_model(config, Some(*layer), Some(*direction))?;
                if *unit >= units {
                    let last = units - 1;
                    let message = format!("{unit} is not there; a layer has the units 0 to {last}");
                    return Err(Error::config("unit", message));
                }
            }
            Query::Span {
                layer,
                directions,
                vector,
                ..
            } => {
                for direction in directions {
                    of_model(config, Some(*layer), Some(*direction))?;
                }
                if vector.len() != directions.len() * units {
                    let message = "its vector is of another model, or another activation";
                    return Err(Error::config("span", message));
                }
            }
        }
        Ok(())
    }
}

/// A layer, the top one if none is named, and the directions that are meant.
fn of_model(
    config: &LstmConfig,
    layer: Option<usize>,
    direction: Option<Direction>,
) -> Result<(usize, Vec<Direction>)> {
    let top = config.num_layers as usize - 1;
    let layer = layer.unwrap_or(top);
    if layer > top {
        let message = match top {
            0 => format!("{layer} is not there; the model has only layer 0"),
            _ => format!("{layer} is not there; the model has the layers 0 to {top}"),
        };
        return Err(Error::config("layer", message));
    }
    let mut directions = vec![Direction::Forward];
    if config.bidirectional {
        directions.push(Direction::Backward);
    }
    match direction {
        None => Ok((layer, directions)),
        Some(one) if directions.contains(&one) => Ok((layer, vec![one])),
        Some(one) => {
            let message = format!("{one} is not there; the model reads forward only");
            Err(Error::config("direction", message))
        }
    }
}

fn place(config: &LstmConfig, layer: usize, direction: Direction) -> usize {
    layer * config.directions() as usize + usize::from(direction == Direction::Backward)
}

/// The states of every step `[B, T, W]` in f64, of these directions beside each other.
fn states(
    read: &Read,
    activation: Activation,
    config: &LstmConfig,
    layer: usize,
    directions: &[Direction],
) -> Tensor {
    let parts: Vec<Tensor> = directions
        .iter()
        .map(|&direction| {
            let trace = &read.traces[place(config, layer, direction)];
            activation.state(trace).to_kind(Kind::Double)
        })
        .collect();
    Tensor::cat(&parts, -1)
}

/// A text that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Match {
    /// Which of the texts.
    pub text: usize,
    /// The unit's activation at its peak, or the cosine with the span.
    pub score: f64,
    /// The tokens that match.
    pub tokens: Range<usize>,
    /// Of each token the unit's activation, or the cosine of its state with the span's.
    pub activations: Vec<f64>,
}

/// The best texts in one respect.
#[derive(Clone, Debug, PartialEq)]
pub struct Matches {
    /// Best for what: `highest`, `lowest`, `most similar`.
    pub name: &'static str,
    /// The best first; equal ones in their order.
    pub found: Vec<Match>,
}

/// Keeps the best of the texts that pass.
pub(super) struct Finder<'a> {
    query: &'a Query,
    activation: Activation,
    config: &'a LstmConfig,
    best: Vec<(&'static str, Best)>,
}

impl<'a> Finder<'a> {
    pub fn new(query: &'a Query, settings: &Settings, config: &'a LstmConfig) -> Result<Self> {
        query.check(config, settings.activation)?;
        let names: &[&str] = match query {
            Query::Unit { .. } => &["highest", "lowest"],
            Query::Span { .. } => &["most similar"],
        };
        let best = |&name| (name, Best::new(settings.matches));
        Ok(Finder {
            query,
            activation: settings.activation,
            config,
            best: names.iter().map(best).collect(),
        })
    }

    /// A batch, whose texts have these numbers.
    pub fn look(&mut self, read: &Read, rows: &[usize]) -> Result<()> {
        match self.query {
            Query::Unit {
                layer,
                direction,
                unit,
            } => {
                let trace = &read.traces[place(self.config, *layer, *direction)];
                let values = numbers(&self.activation.state(trace).select(-1, *unit as i64))?;
                self.look_for_peaks(&values, &read.lengths, rows);
                Ok(())
            }
            Query::Span {
                layer,
                directions,
                vector,
                tokens,
            } => {
                let states = states(read, self.activation, self.config, *layer, directions);
                self.look_for_runs(&states, vector, *tokens, &read.lengths, rows)
            }
        }
    }

    /// `values` `[B, T]` of a unit.
    fn look_for_peaks(&mut self, values: &[f64], lengths: &[i64], rows: &[usize]) {
        let time = values.len() / rows.len();
        for ((values, &length), &row) in values.chunks(time).zip(lengths).zip(rows) {
            let values = &values[..length as usize];
            for ((_, best), sign) in self.best.iter_mut().zip([1.0, -1.0]) {
                let Some((peak, key)) = first_largest(values.iter().map(|value| sign * value))
                else {
                    continue;
                };
                best.offer(key, row, || Match {
                    text: row,
                    score: values[peak],
                    tokens: run(values, peak, sign),
                    activations: values.to_vec(),
                });
            }
        }
    }

    /// `states` `[B, T, W]` and the `vector` `[W]` of a span of so many tokens.
    fn look_for_runs(
        &mut self,
        states: &Tensor,
        vector: &[f64],
        tokens: usize,
        lengths: &[i64],
        rows: &[usize],
    ) -> Result<()> {
        let time = states.size()[1] as usize;
        if time < tokens {
            return Ok(());
        }
        let starts = time - tokens + 1;
        // Summed run by run, so that a run's sum does not depend on what stands before.
        let mut sums = states.narrow(1, 0, starts as i64).copy();
        for later in 1..tokens {
            sums += states.narrow(1, later as i64, starts as i64);
        }
        let vector = Tensor::from_slice(vector).to_device(states.device());
        let of_runs = numbers(&cosine(&sums, &vector))?;
        let of_tokens = numbers(&cosine(states, &vector))?;
        let (_, best) = &mut self.best[0];
        for (nth, (&length, &row)) in lengths.iter().zip(rows).enumerate() {
            let length = length as usize;
            let fit = (length + 1).saturating_sub(tokens);
            let runs = &of_runs[nth * starts..][..fit];
            let Some((start, key)) = first_largest(runs.iter().copied()) else {
                continue;
            };
            best.offer(key, row, || Match {
                text: row,
                score: key,
                tokens: start..start + tokens,
                activations: of_tokens[nth * time..][..length].to_vec(),
            });
        }
        Ok(())
    }

    pub fn finish(self) -> Vec<Matches> {
        let best = self.best.into_iter();
        best.map(|(name, best)| Matches {
            name,
            found: best.finish(),
        })
        .collect()
    }
}

/// Cosines `[B, T]` of vectors `[B, T, W]` with one `[W]`; of zeros 0.
fn cosine(vectors: &Tensor, with: &Tensor) -> Tensor {
    let lengths = vectors
        .square()
        .sum_dim_intlist(-1, false, Kind::Double)
        .sqrt();
    let product = (vectors * with).sum_dim_intlist(-1, false, Kind::Double);
    let product = product / (with.square().sum(Kind::Double).sqrt() * &lengths);
    product.masked_fill(&lengths.eq(0.0), 0.0)
}

/// The first of the largest, and its place.
fn first_largest(values: impl Iterator<Item = f64>) -> Option<(usize, f64)> {
    let mut largest: Option<(usize, f64)> = None;
    for (at, value) in values.enumerate() {
        if largest.is_none_or(|(_, most)| value > most) {
            largest = Some((at, value));
        }
    }
    largest
}

/// The tokens around a peak that stay above [`RUN`] of it; of a peak on the other side
/// of 0 the token alone.
fn run(values: &[f64], peak: usize, sign: f64) -> Range<usize> {
    let least = RUN * sign * values[peak];
    let stays = |at: &usize| least > 0.0 && sign * values[*at] >= least;
    let before = (0..peak).rev().take_while(stays).count();
    let behind = (peak + 1..values.len()).take_while(stays).count();
    peak - before..peak + 1 + behind
}
