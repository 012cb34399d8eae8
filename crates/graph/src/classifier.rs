//! The architecture of a text classifier, embedding -> LSTM -> pooling -> dropout -> linear,
//! as `config.json` has it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::lstm::{LstmConfig, PARAMETER_LIMIT, SIZE_LIMIT};
use crate::regularization::Regularization;

/// The value of `model_type` in `config.json`.
pub(crate) const MODEL_TYPE: &str = "cellway-lstm-classifier";
/// The version of the model folder's format that this code writes and reads.
pub(crate) const FORMAT_VERSION: u64 = 1;

/// How a sequence becomes one vector. Padding never takes part; a sequence without a step
/// gives zeros (its initial state).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// The hidden state after the sequence's own last step; for two directions the
    /// forward end and the backward end (which is at the first step).
    #[default]
    Last,
    /// The mean of the outputs over the sequence.
    Mean,
    /// The largest value of each output over the sequence.
    Max,
    /// All three, in this order.
    All,
}

impl Pooling {
    /// How many vectors of `D*P` it joins.
    pub fn parts(self) -> i64 {
        if self == Pooling::All { 3 } else { 1 }
    }
}

/// How logits become probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HeadKind {
    /// One logit: the sigmoid of it is the probability of the second of two
    /// labels.
    Sigmoid,
    /// A logit for each label.
    Softmax,
}

/// Whether a value need not be written, since it is the default.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The architecture of a classifier, as `config.json` has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    model_type: String,
    format_version: u64,
    /// `V`: the number of rows of the embedding.
    pub vocab_size: i64,
    /// `E`: the size of the embedding.
    pub embedding_size: i64,
    /// `H`: the hidden size of the LSTM.
    pub hidden_size: i64,
    /// `L`: the number of layers of the LSTM.
    pub num_layers: i64,
    /// Whether each layer also reads backward.
    pub bidirectional: bool,
    /// The size of the projection of the hidden state; 0 for none.
    pub proj_size: i64,
    /// Whether the gates have biases.
    pub bias: bool,
    /// The probability of dropout between the layers of the LSTM, in training.
    pub dropout: f64,
    /// Dropout inside of the LSTM beyond that of `torch.nn.LSTM`, in training.
    #[serde(default, skip_serializing_if = "is_default")]
    pub regularization: Regularization,
    /// The share of tokens that are read as unknown words, in training.
    #[serde(default, skip_serializing_if = "is_default")]
    pub word_dropout: f64,
    /// The probability of dropout on the vectors of the tokens, in training, with one mask
    /// for all tokens of a text.
    #[serde(default, skip_serializing_if = "is_default")]
    pub embedding_dropout: f64,
    /// How the steps become one vector.
    pub pooling: Pooling,
    /// The probability of dropout before the head, in training.
    pub head_dropout: f64,
    /// How logits become probabilities.
    pub head: HeadKind,
    /// The number of tokens after which a longer text is cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<usize>,
    /// The label of each class, by its number.
    pub id2label: BTreeMap<u32, String>,
}

impl ModelConfig {
    /// Creates the architecture of a classifier of `labels`: a sigmoid head for two of them
    /// and softmax for more, one layer, one direction, biases, no dropout, and the last state
    /// as pooling.
    pub fn new(vocab_size: i64, embedding_size: i64, hidden_size: i64, labels: &[String]) -> Self {
        ModelConfig {
            model_type: MODEL_TYPE.to_owned(),
            format_version: FORMAT_VERSION,
            vocab_size,
            embedding_size,
            hidden_size,
            num_layers: 1,
            bidirectional: false,
            proj_size: 0,
            bias: true,
            dropout: 0.0,
            regularization: Regularization::default(),
            word_dropout: 0.0,
            embedding_dropout: 0.0,
            pooling: Pooling::Last,
            head_dropout: 0.0,
            head: match labels.len() {
                2 => HeadKind::Sigmoid,
                _ => HeadKind::Softmax,
            },
            max_tokens: None,
            id2label: (0..).zip(labels.iter().cloned()).collect(),
        }
    }

    /// The labels in the order of their numbers.
    pub fn labels(&self) -> Vec<String> {
        self.id2label.values().cloned().collect()
    }

    /// How many logits the head puts out.
    pub fn logits(&self) -> i64 {
        match self.head {
            HeadKind::Sigmoid => 1,
            HeadKind::Softmax => self.id2label.len() as i64,
        }
    }

    /// The size of the vector that the head reads.
    pub fn pooled_size(&self) -> i64 {
        let lstm = self.lstm();
        self.pooling.parts() * lstm.directions() * lstm.output_size()
    }

    /// The architecture of the LSTM, batch first.
    pub fn lstm(&self) -> LstmConfig {
        LstmConfig {
            num_layers: self.num_layers,
            bias: self.bias,
            dropout: self.dropout,
            bidirectional: self.bidirectional,
            proj_size: self.proj_size,
            regularization: self.regularization,
            ..LstmConfig::new(self.embedding_size, self.hidden_size)
        }
    }

    /// Checks that such a classifier can be built.
    ///
    /// # Errors
    /// The key of the first setting that is impossible.
    pub fn validate(&self) -> Result<()> {
        // The LSTM calls this its input_size.
        if !(1..=SIZE_LIMIT).contains(&self.embedding_size) {
            let message = format!("must be 1 to {SIZE_LIMIT}, not {}", self.embedding_size);
            return Err(Error::config("embedding_size", message));
        }
        self.lstm().validate()?;
        if self.vocab_size < 1
            || self.vocab_size.saturating_mul(self.embedding_size) > PARAMETER_LIMIT
        {
            let message = format!(
                "must be 1 or more, and make at most {PARAMETER_LIMIT} numbers with embedding_size {}; it is {}",
                self.embedding_size, self.vocab_size
            );
            return Err(Error::config("vocab_size", message));
        }
        if self.max_tokens == Some(0) {
            return Err(Error::config("max_tokens", "must be 1 or more"));
        }
        for (key, probability) in [
            ("word_dropout", self.word_dropout),
            ("embedding_dropout", self.embedding_dropout),
            ("head_dropout", self.head_dropout),
        ] {
            if !(0.0..1.0).contains(&probability) {
                let message = format!("must be in [0, 1), not {probability}");
                return Err(Error::config(key, message));
            }
        }
        let labels = self.id2label.len();
        if labels < 2 || (self.head == HeadKind::Sigmoid && labels != 2) {
            let message = format!("has {labels} labels; a sigmoid head takes 2, softmax 2 or more");
            return Err(Error::config("id2label", message));
        }
        let mut names: Vec<&str> = self.id2label.values().map(String::as_str).collect();
        names.sort_unstable();
        if names[0].is_empty() {
            return Err(Error::config("id2label", "has an empty label"));
        }
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::config(
                "id2label",
                format!("has {:?} twice", twice[0]),
            ));
        }
        if !self.id2label.keys().copied().eq(0..labels as u32) {
            let message = "must number its labels from \"0\" without a gap";
            return Err(Error::config("id2label", message));
        }
        Ok(())
    }
}
