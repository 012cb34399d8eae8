//! A text, its tokens, and how the prediction moves as they are read.

use std::collections::BTreeSet;

use super::shown;
use crate::data::Limit;
use crate::error::{Error, Result};
use crate::model::{Model, Predictor};
use crate::text::UNK;

/// A text as a classifier reads it.
#[derive(Clone, Debug, PartialEq)]
pub struct Words {
    /// Of each step.
    pub tokens: Vec<String>,
    /// Its row of the embedding.
    pub ids: Vec<i64>,
    /// Whether the vocabulary has it.
    pub known: Vec<bool>,
    /// How many tokens stand behind the most that the model reads.
    pub cut: usize,
    /// Of the classes.
    pub labels: Vec<String>,
    /// The class whose logit is looked at.
    pub class: usize,
    /// The most probable class.
    pub predicted: usize,
    /// Of each class.
    pub probabilities: Vec<f64>,
    /// How they came about.
    pub path: Path,
}

/// The probabilities after each step: what the model says of the text up to there,
/// read as a text of its own. For a model that reads forwards only that is the head on
/// the running state; the backward direction begins anew with each token.
#[derive(Clone, Debug, PartialEq)]
pub struct Path {
    /// Of each class, before any token.
    pub start: Vec<f64>,
    /// After each step; `None` where a long text's path is not known.
    pub steps: Vec<Option<Vec<f64>>>,
}

impl Path {
    /// The probability of a class after a step.
    pub fn at(&self, step: i64, class: usize) -> Option<f64> {
        let step = self.steps.get(usize::try_from(step).ok()?)?;
        step.as_ref().map(|all| all[class])
    }

    /// How far a step moves it.
    pub fn change(&self, step: i64, class: usize) -> Option<f64> {
        let before = match step {
            0 => Some(self.start[class]),
            step => self.at(step - 1, class),
        };
        Some(self.at(step, class)? - before?)
    }
}

impl Words {
    pub(super) fn read(
        model: &Model,
        text: &str,
        class: Option<usize>,
        window: usize,
    ) -> Result<Words> {
        let tokenizer = model.tokenizer();
        let mut ids = tokenizer.encode(text)?;
        if ids.is_empty() {
            let message = "has no token; give it a word";
            return Err(Error::config("text", message));
        }
        let whole = ids.len();
        // The pieces as they were written, where each is one id.
        let mut tokens = tokenizer.tokens(text)?;
        if tokens.len() != whole {
            let word = |&id: &i64| u32::try_from(id).ok().and_then(|id| tokenizer.word(id));
            let named = |id: &i64| word(id).unwrap_or_else(|| format!("#{id}"));
            tokens = ids.iter().map(named).collect();
        }
        if let Some(most) = model.config().max_tokens {
            ids.truncate(most);
            tokens.truncate(most);
        }
        let unknown = tokenizer.id(UNK).map(i64::from);
        let path = path(model, &ids, window)?;
        let probabilities = path.steps[ids.len() - 1].clone().unwrap_or_default();
        let predicted = (0..probabilities.len())
            .reduce(|a, b| {
                if probabilities[b] > probabilities[a] {
                    b
                } else {
                    a
                }
            })
            .unwrap_or(0);
        Ok(Words {
            known: ids.iter().map(|&id| Some(id) != unknown).collect(),
            cut: whole - ids.len(),
            labels: model.config().labels(),
            class: class.unwrap_or(predicted),
            predicted,
            probabilities,
            path,
            tokens,
            ids,
        })
    }
}

/// The path at the steps that are shown, and at those before them.
fn path(model: &Model, ids: &[i64], window: usize) -> Result<Path> {
    let shown = shown(ids.len() as i64, window).into_iter();
    let steps: BTreeSet<usize> = shown
        .flat_map(|step| [step as usize, (step as usize).saturating_sub(1)])
        .collect();
    let mut prefixes = vec![Vec::new()];
    prefixes.extend(steps.iter().map(|&step| ids[..=step].to_vec()));
    let predictor = Predictor {
        // The ends of a long text are prefixes of much the same length.
        limit: Limit::Tokens(65_536),
        ..Predictor::new(model)
    };
    let predictions = predictor.predict_ids(&prefixes)?;
    let mut all = predictions.into_iter().map(|prediction| {
        let probabilities = prediction.probabilities.into_iter();
        probabilities.map(f64::from).collect::<Vec<f64>>()
    });
    let start = all.next().unwrap_or_default();
    let mut path = Path {
        start,
        steps: vec![None; ids.len()],
    };
    for (step, probabilities) in steps.into_iter().zip(all) {
        path.steps[step] = Some(probabilities);
    }
    Ok(path)
}
