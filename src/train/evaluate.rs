//! A model on a whole corpus.

use tch::Tensor;

use super::Corpus;
use crate::error::Result;
use crate::lstm::Engine;
use crate::metrics::Metrics;
use crate::model::{Model, Predictor};

/// The model on all texts of `corpus`, with the mean loss.
pub fn evaluate(model: &Model, corpus: &Corpus, engine: Engine) -> Result<Metrics> {
    let predictor = Predictor {
        engine,
        ..Predictor::new(model)
    }
    .pack()?;
    let logits = predictor.logits(&corpus.texts)?;
    let truth: Vec<i64> = corpus
        .classes
        .iter()
        .map(|&class| i64::from(class))
        .collect();
    let loss = model
        .loss(&logits, &Tensor::from_slice(&truth))
        .double_value(&[]);
    let predicted: Vec<u32> = predictor
        .predictions(&logits)?
        .into_iter()
        .map(|prediction| prediction.class)
        .collect();
    Ok(Metrics::new(&corpus.labels, &corpus.classes, &predicted)?.with_loss(loss))
}
