//! A text classifier: embedding -> LSTM -> pooling -> dropout -> linear.
//!
//! Shape letters: `B` batch, `T` time, `E` embedding size, `V` vocabulary, `C`
//! classes, `D*P` what the LSTM puts out. Ids are `[B, T]` i64, padded at the end
//! with anything; logits are `[B, 1]` for a sigmoid head and `[B, C]` for
//! softmax.

mod batch;
mod directory;
mod pooling;
mod predict;
pub mod python_module;
#[cfg(test)]
mod tests;

pub use cellway_graph::classifier::{HeadKind, ModelConfig, Pooling};
use tch::{Device, Kind, Tensor};

pub use self::batch::Batch;
use self::pooling::pool;
pub use self::predict::{Prediction, Predictor};
use crate::error::{Error, Result};
use crate::lstm::{Call, Engine, Init, Lstm, Mode, Output};
use crate::random::{Stream, normal, uniform};
use crate::text::{PAD, Tokenizer, UNK};

/// The names of the parameters outside of the LSTM; its own stand behind `lstm.`.
pub(crate) const EMBEDDING: &str = "embedding.weight";
pub(crate) const HEAD_WEIGHT: &str = "head.weight";
pub(crate) const HEAD_BIAS: &str = "head.bias";
pub(crate) const LSTM_PREFIX: &str = "lstm.";

/// How a classifier is run: everything has a default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pass {
    /// Who computes the LSTM.
    pub engine: Engine,
    /// Evaluation or training.
    pub mode: Mode,
    /// The dtype that the LSTM and the head compute in, as `torch.autocast` does it:
    /// their parameters and inputs are rounded to it, and gradients flow back to the
    /// parameters as they are. `None`: that of the parameters.
    pub kind: Option<Kind>,
    /// The blocks of [truncated backpropagation](Call::truncate).
    pub truncate: Option<i64>,
    /// As of [`Call::recompute`].
    pub recompute: bool,
}

/// What a classifier computes on the way to its logits.
#[derive(Debug)]
pub struct Reading {
    /// The LSTM's outputs and final states.
    pub lstm: Output,
    /// One vector for each text `[B, parts * D*P]`.
    pub pooled: Tensor,
    /// `[B, 1]` or `[B, C]`.
    pub logits: Tensor,
}

/// A classifier with its tokenizer: everything that a model directory holds.
#[derive(Debug)]
pub struct Model {
    config: ModelConfig,
    tokenizer: Tokenizer,
    /// `[V, E]`.
    embedding: Tensor,
    lstm: Lstm,
    /// `[1 or C, pooled size]`.
    head_weight: Tensor,
    /// `[1 or C]`.
    head_bias: Tensor,
}

impl Model {
    /// New f32 parameters on the CPU, made from the stream: the embedding is
    /// standard normal with zeros for padding, the head uniform in ±1/√(its
    /// inputs), both as PyTorch makes them.
    pub fn new(
        config: ModelConfig,
        tokenizer: Tokenizer,
        init: Init,
        stream: Stream,
    ) -> Result<Self> {
        config.validate()?;
        let named = |name: &str| Stream::new(stream.seed(), name);
        let leaf = |tensor: Tensor| tensor.to_kind(Kind::Float).set_requires_grad(true);

        let embedding = normal(
            &[config.vocab_size, config.embedding_size],
            named(EMBEDDING),
        );
        // Padding is never read, but a text may hold the word.
        if let Some(pad) = tokenizer.id(PAD) {
            let _ = embedding.get(i64::from(pad)).zero_();
        }
        let bound = 1.0 / (config.pooled_size() as f64).sqrt();
        let head = |shape: &[i64], name| leaf(uniform(shape, -bound, bound, named(name)));
        let logits = config.logits();
        Ok(Model {
            embedding: leaf(embedding),
            lstm: Lstm::new(config.lstm(), init, named(LSTM_PREFIX))?,
            head_weight: head(&[logits, config.pooled_size()], HEAD_WEIGHT),
            head_bias: head(&[logits], HEAD_BIAS),
            config,
            tokenizer,
        })
    }

    /// With parameters from elsewhere: `get` gives each by its name,
    /// `embedding.weight`, `lstm.weight_ih_l0`, ..., `head.bias`.
    ///
    /// Errors if one has another shape than the configuration says, is no f32,
    /// f64, f16 or bf16, or another of them than the rest, or holds NaN or
    /// infinite numbers.
    pub fn from_tensors(
        config: ModelConfig,
        tokenizer: Tokenizer,
        mut get: impl FnMut(&str) -> Result<Tensor>,
    ) -> Result<Self> {
        config.validate()?;
        let mut first: Option<Kind> = None;
        let mut take = |name: &str, shape: Option<&[i64]>| {
            let tensor = get(name)?;
            let kind = *first.get_or_insert(tensor.kind());
            let known = [Kind::Float, Kind::Double, Kind::Half, Kind::BFloat16];
            let message = if !known.contains(&kind) {
                format!("is {kind:?}, but must be f32, f64, f16 or bf16")
            } else if tensor.kind() != kind {
                format!(
                    "is {:?}, but {EMBEDDING} is {kind:?}; they must be the same",
                    tensor.kind()
                )
            } else if shape.is_some_and(|shape| tensor.size() != shape) {
                format!(
                    "must have shape {:?}, but has {:?}",
                    shape.unwrap_or_default(),
                    tensor.size()
                )
            } else if tensor.isfinite().all().int64_value(&[]) == 0 {
                "holds NaN or infinite numbers; take another copy, or train it again".to_owned()
            } else {
                return Ok(tensor.set_requires_grad(true));
            };
            Err(Error::tensor(name, message))
        };
        let embedding = take(EMBEDDING, Some(&[config.vocab_size, config.embedding_size]))?;
        let lstm = Lstm::from_tensors(config.lstm(), |name| {
            take(&format!("{LSTM_PREFIX}{name}"), None)
        })
        .map_err(|error| match error {
            Error::Tensor { tensor, message } if !tensor.contains('.') => {
                Error::tensor(format!("{LSTM_PREFIX}{tensor}"), message)
            }
            other => other,
        })?;
        let head_weight = take(HEAD_WEIGHT, Some(&[config.logits(), config.pooled_size()]))?;
        let head_bias = take(HEAD_BIAS, Some(&[config.logits()]))?;
        Ok(Model {
            embedding,
            lstm,
            head_weight,
            head_bias,
            config,
            tokenizer,
        })
    }

    /// The architecture and the labels.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// What makes ids of texts.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The LSTM.
    pub fn lstm(&self) -> &Lstm {
        &self.lstm
    }

    /// The embedding `[V, E]`.
    pub fn embedding(&self) -> &Tensor {
        &self.embedding
    }

    /// The dtype of the parameters.
    pub fn kind(&self) -> Kind {
        self.embedding.kind()
    }

    /// The device of the parameters.
    pub fn device(&self) -> Device {
        self.embedding.device()
    }

    /// Every parameter by its name.
    pub fn parameters(&self) -> Vec<(String, &Tensor)> {
        let lstm = self.lstm.parameters().into_iter();
        let mut parameters = vec![(EMBEDDING.to_owned(), &self.embedding)];
        parameters.extend(lstm.map(|(name, tensor)| (format!("{LSTM_PREFIX}{name}"), tensor)));
        parameters.push((HEAD_WEIGHT.to_owned(), &self.head_weight));
        parameters.push((HEAD_BIAS.to_owned(), &self.head_bias));
        parameters
    }

    /// Replaces rows of the embedding: `rows[n]` gets `values[n * E..]`.
    ///
    /// Errors if the values do not fill the rows, or a row is not there.
    pub fn set_embedding(&mut self, rows: &[i64], values: &[f32]) -> Result<()> {
        let shape = [rows.len() as i64, self.config.embedding_size];
        if shape.iter().product::<i64>() != values.len() as i64 {
            return Err(Error::tensor(
                EMBEDDING,
                format!("{} values do not fill {shape:?}", values.len()),
            ));
        }
        let values = Tensor::from_slice(values)
            .view(shape)
            .to_device(self.device());
        let rows = Tensor::from_slice(rows).to_device(self.device());
        let _ = tch::no_grad(|| self.embedding.f_index_copy_(0, &rows, &values))?;
        Ok(())
    }

    /// The token ids of each text, cut to what the model reads at the most.
    pub fn encode(&self, texts: &[impl AsRef<str> + Sync]) -> Result<Vec<Vec<i64>>> {
        let mut ids = self.tokenizer.encode_all(texts)?;
        if let Some(most) = self.config.max_tokens {
            ids.iter_mut().for_each(|text| text.truncate(most));
        }
        Ok(ids)
    }

    /// A padded batch on the model's device.
    ///
    /// Errors if an id is no row of the embedding.
    pub fn batch<'a>(&self, texts: impl IntoIterator<Item = &'a [i64]>) -> Result<Batch> {
        let texts: Vec<&[i64]> = texts.into_iter().collect();
        self.expect_rows(texts.iter().copied())?;
        Ok(Batch::new(texts).to_device(self.device()))
    }

    /// Errors if an id is no row of the embedding.
    pub(crate) fn expect_rows<'a>(&self, texts: impl Iterator<Item = &'a [i64]>) -> Result<()> {
        let rows = 0..self.config.vocab_size;
        match texts.flatten().find(|id| !rows.contains(id)) {
            None => Ok(()),
            Some(id) => Err(Error::tensor(
                EMBEDDING,
                format!(
                    "has {} rows, but the tokenizer gives the id {id}; they are of different models",
                    rows.end
                ),
            )),
        }
    }

    /// Multiplies the whole embedding.
    pub fn scale_embedding(&mut self, factor: f64) {
        let _ = tch::no_grad(|| self.embedding.g_mul_scalar_(factor));
    }

    /// Leaves the embedding out of training.
    pub fn freeze_embedding(&mut self) {
        self.embedding = self.embedding.set_requires_grad(false);
    }

    /// Moves the parameters to a device; they stay what an optimizer can train.
    pub fn to_device(&mut self, device: Device) {
        self.map(|tensor| tensor.to_device(device));
    }

    /// Casts the parameters, all of them f32, f64, f16 or bf16.
    pub fn to_kind(&mut self, kind: Kind) {
        self.map(|tensor| tensor.to_kind(kind));
    }

    /// Replaces each parameter; what an optimizer could train, it still can.
    fn map(&mut self, change: impl Fn(&Tensor) -> Tensor) {
        let change = |tensor: &Tensor| {
            let trainable = tensor.requires_grad();
            change(&tensor.detach()).set_requires_grad(trainable)
        };
        self.embedding = change(&self.embedding);
        self.lstm.map(change);
        self.head_weight = change(&self.head_weight);
        self.head_bias = change(&self.head_bias);
    }

    /// Logits `[B, 1]` or `[B, C]`, in the dtype of the parameters.
    pub fn forward(&self, batch: &Batch, pass: Pass) -> Result<Tensor> {
        let embedded = self.embed(batch, pass.mode)?;
        Ok(self.read(&embedded, &batch.lengths, pass)?.logits)
    }

    /// The vectors of a batch's tokens `[B, T, E]`; behind the ends of texts, of
    /// whatever stands there.
    ///
    /// Errors if words are to be dropped and the tokenizer knows no unknown ones.
    pub fn embed(&self, batch: &Batch, mode: Mode) -> Result<Tensor> {
        let ids = &batch.ids;
        let ids = match mode.kept("words", self.config.word_dropout, &ids.size(), ids) {
            Some(kept) => {
                let unknown = ids.new_full([0; 0], self.unknown()?, (ids.kind(), ids.device()));
                ids.where_self(&kept.to_kind(Kind::Bool), &unknown)
            }
            None => ids.shallow_clone(),
        };
        // No padding_idx: padding has no gradient, since the LSTM never reads it.
        let vectors = Tensor::embedding(&self.embedding, &ids, -1, false, false);
        let mask = [vectors.size()[0], 1, vectors.size()[2]];
        let probability = self.config.embedding_dropout;
        Ok(mode.shared_dropout("embedding", probability, &vectors, &mask))
    }

    /// The id of what stands for words that are not in the vocabulary.
    fn unknown(&self) -> Result<i64> {
        let id = self.tokenizer.id(UNK).map(i64::from);
        id.ok_or_else(|| {
            let message = format!("reads words as {UNK}, which the tokenizer does not have");
            Error::config("embedding.word_dropout", message)
        })
    }

    /// From vectors `[B, T, E]` to logits.
    pub fn read(&self, embedded: &Tensor, lengths: &[i64], pass: Pass) -> Result<Reading> {
        let call = Call {
            lengths: Some(lengths),
            engine: pass.engine,
            mode: pass.mode,
            truncate: pass.truncate,
            recompute: pass.recompute,
            ..Call::default()
        };
        let kind = pass.kind.unwrap_or(self.kind());
        let lstm = self
            .lstm
            .to_kind(kind)
            .forward(&embedded.to_kind(kind), &call)?;
        Ok(self.classify(lstm, lengths, pass))
    }

    /// From what the LSTM puts out to logits.
    pub(crate) fn classify(&self, lstm: Output, lengths: &[i64], pass: Pass) -> Reading {
        let kind = pass.kind.unwrap_or(self.kind());
        let pooled = pool(self.config.pooling, &lstm, lengths, self.lstm.config());
        let dropped = (pass.mode).dropout("head", self.config.head_dropout, &pooled);
        let [weight, bias] = [&self.head_weight, &self.head_bias].map(|x| x.to_kind(kind));
        Reading {
            logits: dropped.linear(&weight, Some(&bias)).to_kind(self.kind()),
            lstm,
            pooled,
        }
    }

    /// The mean loss of a batch with classes `truth` `[B]` i64: cross-entropy,
    /// binary for a sigmoid head.
    pub fn loss(&self, logits: &Tensor, truth: &Tensor) -> Tensor {
        match self.config.head {
            HeadKind::Sigmoid => {
                let truth = truth.to_kind(logits.kind()).unsqueeze(-1);
                let (weight, mean) = (None::<&Tensor>, tch::Reduction::Mean);
                logits.binary_cross_entropy_with_logits(&truth, weight, None::<&Tensor>, mean)
            }
            HeadKind::Softmax => logits.cross_entropy_for_logits(truth),
        }
    }

    /// Probabilities of the classes `[B, C]`.
    pub fn probabilities(&self, logits: &Tensor) -> Tensor {
        match self.config.head {
            HeadKind::Sigmoid => {
                let second = logits.sigmoid();
                Tensor::cat(&[1.0 - &second, second], -1)
            }
            HeadKind::Softmax => logits.softmax(-1, logits.kind()),
        }
    }
}
