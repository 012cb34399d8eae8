//! What the single units of an LSTM do over a data set: in one pass through the plain
//! engine, for every unit of every layer and direction,
//!
//! - the shares of time steps at which its gates are saturated (Karpathy, Johnson and
//!   Fei-Fei, "Visualizing and understanding recurrent networks", 2015);
//! - the half-life of its memory, `ln(1/2) / mean(ln f)` in tokens: with nothing
//!   written, the cell's content falls by a factor `f` at each step, and the geometric
//!   mean of these factors halves it after so many;
//! - Pearson's correlation of its activation with the class of the text, the
//!   point-biserial one of two classes, and of more that with the number of the class,
//!   which means something only where their order does.
//!
//! The activation of a text is one number, by [`Activation`]: the state behind the last
//! token that a direction reads, or the mean or maximum over the text, as poolings read
//! it. All are correlated; the units are ranked by one of them.
//!
//! Texts without a token have no step and are left out. What stands in the padding is
//! never counted. Sums are f64, in memory that does not grow with the number of texts;
//! of the texts only the best [`Match`]es are kept.

mod accumulated;
mod best;
mod covariance;
mod found;
mod gates;
mod histogram;
mod matching;
mod read;
#[cfg(feature = "cli")]
pub mod report;
mod sentence;
#[cfg(test)]
mod tests;

use serde::Serialize;
use tch::Tensor;

use self::accumulated::{Accumulated, ranked};
pub use self::found::{Correlations, Layer, Projected, Ranked, Survey, Unit};
pub use self::gates::{LEFT, RIGHT, Saturation, half_life};
pub use self::histogram::Histogram;
use self::matching::Finder;
pub use self::matching::{Match, Matches, Query, RUN};
use self::read::Read;
pub use self::sentence::{Sentence, Sentences, Word};
use crate::data::{Limit, eval_batches};
use crate::error::{Error, Result};
use crate::lstm::{LstmConfig, Trace};
use crate::model::{Model, Pooling};

/// The most gates and states that a batch may have; with copies some 200 MB in f32.
const MOST_NUMBERS: i64 = 1 << 23;

/// A way through the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From the first token to the last.
    Forward,
    /// From the last to the first.
    Backward,
}

impl std::fmt::Display for Direction {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(match self {
            Direction::Forward => "forward",
            Direction::Backward => "backward",
        })
    }
}

/// What of a unit stands for a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// The hidden state after the direction's last step: for the backward direction,
    /// that is at the first token.
    Hidden,
    /// The cell state after it.
    Cell,
    /// The mean of the hidden states over the text.
    Mean,
    /// The largest of the hidden states.
    Max,
}

/// All, in the order of [`Correlations`].
const ACTIVATIONS: [Activation; 4] = [
    Activation::Hidden,
    Activation::Cell,
    Activation::Mean,
    Activation::Max,
];

impl Activation {
    /// What the head of a model reads of the top layer through this pooling; of
    /// [`Pooling::All`], the first of the three that it reads.
    pub fn read_by(pooling: Pooling) -> Activation {
        match pooling {
            Pooling::Last | Pooling::All => Activation::Hidden,
            Pooling::Mean => Activation::Mean,
            Pooling::Max => Activation::Max,
        }
    }

    /// Of the cells, or of the hidden states.
    fn is_cell(self) -> bool {
        self == Activation::Cell
    }

    /// The state of every step that it is made of, `[B, T, H]` or `[B, T, P]`.
    fn state(self, trace: &Trace) -> &Tensor {
        if self.is_cell() { &trace.c } else { &trace.h }
    }

    /// How many units of a layer and direction have it.
    fn units(self, config: &LstmConfig) -> i64 {
        match self.is_cell() {
            true => config.hidden_size,
            false => config.output_size(),
        }
    }
}

impl std::fmt::Display for Activation {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(match self {
            Activation::Hidden => "final hidden state",
            Activation::Cell => "final cell state",
            Activation::Mean => "mean hidden state",
            Activation::Max => "largest hidden state",
        })
    }
}

/// Tokenized texts, and their classes if they have them.
#[derive(Clone, Copy, Debug)]
pub struct Texts<'a> {
    /// The token ids of each text.
    pub ids: &'a [Vec<i64>],
    /// The class of each text, a number of the model's labels.
    pub classes: Option<&'a [u32]>,
}

/// How to look.
#[derive(Clone, Debug)]
pub struct Settings {
    /// By which the units are ranked.
    pub activation: Activation,
    /// The size of a batch; [`Settings::new`] bounds its memory.
    pub limit: Limit,
    /// How many units to rank.
    pub top: usize,
    /// Which texts to find.
    pub query: Option<Query>,
    /// How many of them.
    pub matches: usize,
}

impl Settings {
    /// The activation that the model's pooling reads, ten units, nothing to find, and
    /// batches whose gates and states are at most 8 million numbers (a text that has
    /// more is a batch of its own).
    pub fn new(model: &Model) -> Settings {
        let config = model.lstm().config();
        let of_a_token = config.num_layers * config.directions() * 6 * config.hidden_size;
        let tokens = (MOST_NUMBERS / of_a_token).clamp(1, 8192);
        Settings {
            activation: Activation::read_by(model.config().pooling),
            limit: Limit::Tokens(tokens as usize),
            top: 10,
            query: None,
            matches: 10,
        }
    }
}

/// Reads all texts; `goes_on` hears after each batch how many texts it had, and 0 at
/// the start, and may say no: then the result is none.
///
/// # Errors
/// No text with a token, a class that the model does not have, a [`Query`] of another
/// model, and states that are no numbers.
pub fn survey(
    model: &Model,
    texts: &Texts,
    settings: &Settings,
    mut goes_on: impl FnMut(usize) -> bool,
) -> Result<Option<Survey>> {
    let _no_grad = tch::no_grad_guard();
    let config = model.lstm().config();
    let classes = model.config().labels().len();
    check(texts, classes)?;
    let rows: Vec<usize> = (0..texts.ids.len())
        .filter(|&row| !texts.ids[row].is_empty())
        .collect();
    if rows.is_empty() {
        let message = "has no text with a token; see what the files hold";
        return Err(Error::config("data", message));
    }
    let lengths: Vec<usize> = rows.iter().map(|&row| texts.ids[row].len()).collect();
    let mut layers: Vec<Accumulated> = (0..config.num_layers * config.directions())
        .map(|_| Accumulated::new(config, settings.activation, texts.classes.map(|_| classes)))
        .collect();
    let mut finder = match &settings.query {
        Some(query) => Some(Finder::new(query, settings, config)?),
        None => None,
    };
    if !goes_on(0) {
        return Ok(None);
    }
    for batch in eval_batches(&lengths, settings.limit) {
        let batch: Vec<usize> = batch.into_iter().map(|at| rows[at]).collect();
        let ids = batch.iter().map(|&row| texts.ids[row].as_slice());
        let read = Read::new(model, ids)?;
        for (at, (trace, layer)) in read.traces.iter().zip(&mut layers).enumerate() {
            layer.gates.add(trace, &read.padding)?;
            if let Some(classes) = texts.classes {
                let classes: Vec<u32> = batch.iter().map(|&row| classes[row]).collect();
                layer.add(&read.activations(at)?, &classes);
            }
        }
        if let Some(finder) = &mut finder {
            finder.look(&read, &batch)?;
        }
        if !goes_on(batch.len()) {
            return Ok(None);
        }
    }
    let matches = finder.map(Finder::finish).unwrap_or_default();
    let class_counts = texts.classes.map(|all| {
        let mut counts = vec![0; classes];
        rows.iter().for_each(|&row| counts[all[row] as usize] += 1);
        counts
    });
    Ok(Some(Survey {
        texts: rows.len(),
        tokens: lengths.iter().sum(),
        texts_without_token: texts.ids.len() - rows.len(),
        class_counts,
        activation: settings.activation,
        sentiment_units: ranked(&layers, config, settings),
        layers: layers
            .iter()
            .enumerate()
            .map(|(at, layer)| layer.finish(at, config))
            .collect(),
        matches,
    }))
}

fn check(texts: &Texts, labels: usize) -> Result<()> {
    let Some(classes) = texts.classes else {
        return Ok(());
    };
    if classes.len() != texts.ids.len() {
        let message = format!("{} for {} texts", classes.len(), texts.ids.len());
        return Err(Error::config("classes", message));
    }
    match classes.iter().find(|&&class| class as usize >= labels) {
        None => Ok(()),
        Some(class) => Err(Error::config(
            "classes",
            format!("has {class}, but the model has {labels} labels, from 0"),
        )),
    }
}

/// Layer and direction of a place in the list of all.
fn place(at: usize, config: &LstmConfig) -> (usize, Direction) {
    let directions = config.directions() as usize;
    match at % directions {
        0 => (at / directions, Direction::Forward),
        _ => (at / directions, Direction::Backward),
    }
}
