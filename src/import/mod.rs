//! From somebody's checkpoint to a model of ours: which of its tensors is the
//! embedding, the LSTM and the head, and what its vocabulary is.
//!
//! Names differ from file to file, so roles are found by shape, with names only
//! to tell apart what shapes cannot. What is chosen can be looked at, and
//! overruled, before anything is made of it.

mod find;
mod gate_order;
mod recurrent;
mod roles;
mod words;

use std::collections::BTreeMap;

use tch::{Kind, Tensor};

pub(crate) use self::find::lookup;
pub use self::gate_order::GateOrder;
pub use self::recurrent::{Recurrent, RecurrentExt, RecurrentKind};
pub use self::roles::{ImportOptions, Layer, Roles, embedding_candidates, head_candidates};
pub use self::words::Words;
use crate::checkpoint::{Checkpoint, CheckpointExt};
use crate::error::{Error, Result};
use crate::model::{self, HeadKind, Model, ModelConfig, Pooling};
use crate::text::Tokenizer;

/// What a checkpoint does not say.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// From the steps to one vector.
    pub pooling: Pooling,
    /// From logits to probabilities; `None`: sigmoid for one logit, else softmax.
    pub head: Option<HeadKind>,
    /// The names of the classes; `None`: their numbers.
    pub labels: Option<Vec<String>>,
    /// Longer texts are cut after so many tokens.
    pub max_tokens: Option<usize>,
    /// The dtype of the model; `None`: as it is in the file.
    pub kind: Option<Kind>,
}

/// The architecture that these roles and settings make.
///
/// Errors if they do not fit together.
pub fn config(roles: &Roles, settings: &Settings) -> Result<ModelConfig> {
    let logits = roles.head.shape[0];
    let head = match settings.head {
        Some(head) => head,
        None if logits == 1 => HeadKind::Sigmoid,
        None => HeadKind::Softmax,
    };
    let classes = match head {
        HeadKind::Sigmoid if logits == 1 => 2,
        HeadKind::Sigmoid => {
            let message = format!(
                "sigmoid takes a head of one logit, but {:?} puts out {logits}; take softmax",
                roles.head.weight
            );
            return Err(Error::config("head", message));
        }
        HeadKind::Softmax => logits,
    };
    let labels = match &settings.labels {
        Some(labels) if labels.len() as i64 == classes => labels.clone(),
        Some(labels) => {
            let message = format!("there are {} labels for {classes} classes", labels.len());
            return Err(Error::config("labels", message));
        }
        None => (0..classes).map(|class| class.to_string()).collect(),
    };
    let [vocab_size, embedding_size] = roles.embedding_shape;
    let lstm = &roles.lstm;
    let mut config = ModelConfig::new(vocab_size, embedding_size, lstm.hidden_size, &labels);
    config.num_layers = lstm.num_layers;
    config.bidirectional = lstm.bidirectional;
    config.proj_size = lstm.proj_size;
    config.bias = lstm.bias;
    config.pooling = settings.pooling;
    config.head = head;
    config.max_tokens = settings.max_tokens;
    config.validate()?;
    if config.pooled_size() != roles.head.shape[1] {
        let pooling = match settings.pooling {
            Pooling::All => "last, mean or max",
            _ => "all",
        };
        let message = format!(
            "{:?} reads {} numbers, but with this pooling the LSTM gives it {}; try `pooling` {pooling}, or another `map` head=",
            roles.head.weight,
            roles.head.shape[1],
            config.pooled_size()
        );
        return Err(Error::config("pooling", message));
    }
    Ok(config)
}

/// The model.
///
/// Errors if the tokenizer gives ids that the embedding has not, or a tensor
/// cannot be read.
pub fn model(
    checkpoint: &Checkpoint,
    roles: &Roles,
    settings: &Settings,
    order: GateOrder,
    tokenizer: Tokenizer,
) -> Result<Model> {
    let config = config(roles, settings)?;
    if tokenizer.vocab_size() as i64 > config.vocab_size {
        let message = format!(
            "has ids up to {}, but {:?} has {} rows; it is of another model",
            tokenizer.vocab_size() - 1,
            roles.embedding,
            config.vocab_size
        );
        return Err(Error::config("the vocabulary", message));
    }
    let lstm = roles.lstm.lstm(checkpoint, order)?;
    let mut tensors: BTreeMap<String, Tensor> = lstm
        .parameters()
        .into_iter()
        .map(|(name, tensor)| {
            (
                format!("{}{name}", model::LSTM_PREFIX),
                tensor.shallow_clone(),
            )
        })
        .collect();
    let mut add = |name: &str, tensor: Tensor| tensors.insert(name.to_owned(), tensor);
    add(model::EMBEDDING, checkpoint.tensor(&roles.embedding)?);
    let weight = match roles.head.transposed {
        true => checkpoint.tensor(&roles.head.weight)?.tr().contiguous(),
        false => checkpoint.tensor(&roles.head.weight)?,
    };
    let bias = match &roles.head.bias {
        Some(bias) => checkpoint.tensor(bias)?,
        // A linear layer without a bias is one whose bias is zero.
        None => Tensor::zeros([weight.size()[0]], (weight.kind(), weight.device())),
    };
    add(model::HEAD_WEIGHT, weight);
    add(model::HEAD_BIAS, bias);
    Model::from_tensors(config, tokenizer, |name| match tensors.remove(name) {
        Some(tensor) => Ok(match settings.kind {
            Some(kind) => tensor.to_kind(kind),
            None => tensor,
        }),
        None => Err(Error::tensor(name, "is missing")),
    })
    .map_err(|error| match error {
        Error::Tensor { tensor, message } if message.contains("must be the same") => {
            Error::tensor(tensor, format!("{message}; `dtype` makes them so"))
        }
        other => other,
    })
}
