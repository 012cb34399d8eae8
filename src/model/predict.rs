//! Texts in, labels with probabilities out, in the caller's order.

use tch::Tensor;

use super::{Batch, Model, Pass};
use crate::data::{Limit, eval_batches};
use crate::error::{Error, Result};
use crate::lstm::{Call, Engine, Mode, PackedLstm, WeightStorage};

/// What the model says about one text.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// The number of the most probable class.
    pub class: u32,
    /// The probability of each class, in the order of the labels.
    pub probabilities: Vec<f32>,
}

/// Runs a model over texts, batched by length, so that little is padding.
#[derive(Debug)]
pub struct Predictor<'a> {
    /// The model.
    pub model: &'a Model,
    /// Who computes.
    pub engine: Engine,
    /// The size of a batch.
    pub limit: Limit,
    /// The model's LSTM with its weights packed once; it computes in the engine's place.
    pub packed: Option<PackedLstm>,
}

impl<'a> Predictor<'a> {
    /// The fastest engine, 8192 tokens in a batch.
    pub fn new(model: &'a Model) -> Self {
        Predictor {
            model,
            engine: Engine::Auto,
            limit: Limit::Tokens(8192),
            packed: None,
        }
    }

    /// With the weights packed once, if the native engine computes: the same numbers
    /// sooner, as long as the model stays as it is now.
    ///
    /// Errors if the model is not what the native engine can compute.
    pub fn pack(mut self) -> Result<Self> {
        let pack = || self.model.lstm().pack(WeightStorage::Same);
        self.packed = match self.engine {
            Engine::Native => Some(pack()?),
            // Where it cannot, another engine computes.
            Engine::Auto => pack().ok(),
            Engine::Plain | Engine::Fused => None,
        };
        Ok(self)
    }

    /// One prediction for each text, in their order.
    pub fn predict(&self, texts: &[impl AsRef<str> + Sync]) -> Result<Vec<Prediction>> {
        self.predict_ids(&self.model.encode(texts)?)
    }

    /// As [`predict`](Self::predict), from token ids.
    pub fn predict_ids(&self, texts: &[Vec<i64>]) -> Result<Vec<Prediction>> {
        self.predictions(&self.logits(texts)?)
    }

    /// What these logits `[texts, 1 or C]` say.
    pub fn predictions(&self, logits: &Tensor) -> Result<Vec<Prediction>> {
        let probabilities = self.model.probabilities(logits).contiguous();
        let classes = self.model.config().id2label.len();
        let count = probabilities.numel();
        let mut flat = vec![0f32; count];
        probabilities.f_copy_data(&mut flat, count)?;
        if flat.iter().any(|probability| !probability.is_finite()) {
            let message =
                "the model gives no finite probability; its weights hold NaN or are too large";
            return Err(Error::NonFinite(message.to_owned()));
        }
        Ok(flat.chunks(classes).map(prediction).collect())
    }

    /// Logits `[texts, 1 or C]` f32 on the CPU, in the order of the texts, with
    /// no gradient.
    pub fn logits(&self, texts: &[Vec<i64>]) -> Result<Tensor> {
        let _no_grad = tch::no_grad_guard();
        let lengths: Vec<usize> = texts.iter().map(Vec::len).collect();
        let width = self.model.config().logits();
        let logits = Tensor::zeros([texts.len() as i64, width], tch::kind::FLOAT_CPU);
        for rows in eval_batches(&lengths, self.limit) {
            let ids = rows.iter().map(|&row| texts[row].as_slice());
            let batch = self.model.batch(ids)?;
            let part = self.part(&batch)?;
            let rows: Vec<i64> = rows.iter().map(|&row| row as i64).collect();
            let part = part.to_device(tch::Device::Cpu).to_kind(tch::Kind::Float);
            let _ = logits
                .shallow_clone()
                .index_copy_(0, &Tensor::from_slice(&rows), &part);
        }
        Ok(logits)
    }

    /// Of one batch.
    fn part(&self, batch: &Batch) -> Result<Tensor> {
        let pass = Pass {
            engine: self.engine,
            ..Pass::default()
        };
        let Some(packed) = &self.packed else {
            return self.model.forward(batch, pass);
        };
        let call = Call {
            lengths: Some(&batch.lengths),
            ..Call::default()
        };
        let read = packed.forward(&self.model.embed(batch, Mode::Eval)?, &call)?;
        Ok(self.model.classify(read, &batch.lengths, pass).logits)
    }
}

fn prediction(probabilities: &[f32]) -> Prediction {
    let mut class = 0;
    for (n, probability) in probabilities.iter().enumerate() {
        if *probability > probabilities[class] {
            class = n;
        }
    }
    Prediction {
        class: class as u32,
        probabilities: probabilities.to_vec(),
    }
}
