//! The configuration of a run, `CONFIG.toml`: every key with its default and
//! its reason, in one place. Unknown keys are refused.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use self::schedule::{ScheduleConfig, ScheduleKind, Span};
pub use self::train::{MaxTime, TrainConfig};
use crate::data::ReadOptions;
use crate::error::{Error, Result};
use crate::lstm::{BiasInit, Init, LstmConfig, Regularization, expect_reach};
use crate::model::Pooling;

mod schedule;
mod train;

/// A whole run. Paths are taken from the folder that the command runs in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Of initialisation, order and dropout; not of the split.
    pub seed: u64,
    /// Which files.
    pub data: DataConfig,
    /// How the files are read.
    pub read: ReadOptions,
    /// From texts to ids.
    pub text: TextConfig,
    /// From ids to vectors.
    pub embedding: EmbeddingConfig,
    /// The recurrent part.
    pub lstm: LstmSection,
    /// From the last vector to the classes.
    pub head: HeadConfig,
    /// The loop.
    pub train: TrainConfig,
    /// The learning rate over the loop.
    pub schedule: ScheduleConfig,
}

/// Files, or how to split one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// Texts to learn from.
    pub train: PathBuf,
    /// Texts that choose the best epoch; without them a share of `train`.
    pub dev: Option<PathBuf>,
    /// Texts for the last report; without them a share of `train`.
    pub test: Option<PathBuf>,
    /// The share of `train` that becomes dev where there is no file.
    pub dev_share: f64,
    /// The share of `train` that becomes test where there is no file; 0 for no
    /// test.
    pub test_share: f64,
    /// Of the split: runs with another `seed` are still tested on the same texts.
    pub split_seed: u64,
}

impl Default for DataConfig {
    fn default() -> Self {
        DataConfig {
            train: PathBuf::new(),
            dev: None,
            test: None,
            dev_share: 0.1,
            test_share: 0.1,
            split_seed: 0,
        }
    }
}

/// The tokenizer and its vocabulary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TextConfig {
    /// `basic_english`, or `whitespace` (lower case, for texts that are split into
    /// tokens already, such as the Stanford Sentiment Treebank), with a vocabulary
    /// of the training texts; or a `tokenizer.json`.
    pub tokenizer: String,
    /// Rarer words become `<unk>`.
    pub min_frequency: usize,
    /// The most words in the vocabulary, `<pad>` and `<unk>` counted.
    pub max_vocabulary: Option<usize>,
    /// Longer texts are cut after so many tokens.
    pub max_tokens: Option<usize>,
}

impl Default for TextConfig {
    fn default() -> Self {
        TextConfig {
            tokenizer: TextConfig::BASIC_ENGLISH.to_owned(),
            min_frequency: 1,
            max_vocabulary: None,
            max_tokens: None,
        }
    }
}

impl TextConfig {
    /// torchtext's tokenizer.
    pub const BASIC_ENGLISH: &str = "basic_english";
    /// Lower case, and a split at white space.
    pub const WHITESPACE: &str = "whitespace";
}

/// The embedding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EmbeddingConfig {
    /// Word vectors in GloVe or word2vec text form; words without one start at
    /// random.
    pub vectors: Option<PathBuf>,
    /// Whether every word of the vectors' file is in the vocabulary, so that words
    /// which only later texts have are known, too.
    pub all_words: bool,
    /// `E`; with vectors it is theirs.
    pub size: i64,
    /// Whether the vectors stay as they are.
    pub freeze: bool,
    /// The embedding's learning rate over that of the rest: tuned vectors do
    /// better with a small one.
    pub rate_factor: f64,
    /// The share of a training text's tokens that are read as unknown words, others
    /// at each step.
    pub word_dropout: f64,
    /// Dropout on the vectors in training, with one mask for all tokens of a text.
    pub dropout: f64,
}

impl Default for EmbeddingConfig {
    fn default() -> Self {
        EmbeddingConfig {
            vectors: None,
            all_words: false,
            size: 100,
            freeze: false,
            rate_factor: 1.0,
            word_dropout: 0.0,
            dropout: 0.0,
        }
    }
}

/// The LSTM; the defaults are PyTorch's but for the forget bias.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LstmSection {
    /// `H`.
    pub hidden_size: i64,
    /// Layers.
    pub num_layers: i64,
    /// Whether it also reads backwards.
    pub bidirectional: bool,
    /// Size of the projection of the hidden state; 0 for none.
    pub proj_size: i64,
    /// Whether the gates have biases.
    pub bias: bool,
    /// Dropout between layers.
    pub dropout: f64,
    /// Dropout beyond PyTorch's.
    pub regularization: Regularization,
    /// The forget gate's total bias at the start; without it PyTorch's.
    pub forget_bias: Option<f64>,
    /// Chrono initialisation for ranges up to so many steps.
    pub chrono: Option<i64>,
    /// Orthogonal recurrent matrices at the start.
    pub orthogonal: bool,
}

impl Default for LstmSection {
    fn default() -> Self {
        LstmSection {
            hidden_size: 128,
            num_layers: 1,
            bidirectional: false,
            proj_size: 0,
            bias: true,
            dropout: 0.0,
            regularization: Regularization::default(),
            forget_bias: None,
            chrono: None,
            orthogonal: false,
        }
    }
}

impl LstmSection {
    /// The LSTM that reads vectors of this size.
    pub fn architecture(&self, input_size: i64) -> LstmConfig {
        LstmConfig {
            num_layers: self.num_layers,
            bias: self.bias,
            dropout: self.dropout,
            bidirectional: self.bidirectional,
            proj_size: self.proj_size,
            regularization: self.regularization,
            ..LstmConfig::new(input_size, self.hidden_size)
        }
    }

    /// How the parameters start.
    pub fn init(&self) -> Result<Init> {
        let bias = match (self.forget_bias, self.chrono) {
            (None, None) => BiasInit::Uniform,
            (Some(total), None) => BiasInit::Forget(total),
            (None, Some(t_max)) => BiasInit::Chrono { t_max },
            (Some(_), Some(_)) => {
                let message = "sets the forget gate's bias, as lstm.forget_bias does; keep one";
                return Err(Error::config("lstm.chrono", message));
            }
        };
        Ok(Init {
            bias,
            orthogonal: self.orthogonal,
        })
    }
}

/// Pooling and classification.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HeadConfig {
    /// From the steps to one vector.
    pub pooling: Pooling,
    /// Dropout before the linear layer.
    pub dropout: f64,
}

impl Config {
    /// Reads `path`, with `overrides` such as `train.epochs=3` put over it.
    ///
    /// Errors name the key: unknown, of a wrong type, or out of range.
    pub fn load(path: impl AsRef<Path>, overrides: &[String]) -> Result<Config> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
        let mut table: toml::Table = text
            .parse()
            .map_err(|error: toml::de::Error| Error::file(path, error.to_string().trim_end()))?;
        for assignment in overrides {
            set(&mut table, assignment)?;
        }
        let config: Config =
            serde_path_to_error::deserialize(toml::Value::Table(table)).map_err(|error| {
                let message = error.inner().to_string();
                Error::file(path, format!("{}: {}", error.path(), message.trim_end()))
            })?;
        config.validate()?;
        Ok(config)
    }

    /// As TOML, every key with its value.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|error| Error::config("config", error.to_string()))
    }

    /// Each key, dotted, with its value.
    pub fn entries(&self) -> Result<Vec<(String, String)>> {
        let table: toml::Table = self
            .to_toml()?
            .parse()
            .map_err(|error: toml::de::Error| Error::config("config", error.to_string()))?;
        let mut entries = Vec::new();
        for (key, value) in table {
            match value {
                toml::Value::Table(section) => entries.extend(
                    section
                        .into_iter()
                        .map(|(inner, value)| (format!("{key}.{inner}"), value.to_string())),
                ),
                value => entries.push((key, value.to_string())),
            }
        }
        Ok(entries)
    }

    fn validate(&self) -> Result<()> {
        self.train.validate()?;
        self.schedule.validate()?;
        check(
            !self.data.train.as_os_str().is_empty(),
            "data.train",
            "must name the file of the training texts",
        )?;
        check(
            positive(self.embedding.rate_factor),
            "embedding.rate_factor",
            "must be above 0; to keep the vectors as they are, set embedding.freeze",
        )?;
        let built = [TextConfig::BASIC_ENGLISH, TextConfig::WHITESPACE];
        let built = built.contains(&self.text.tokenizer.as_str());
        check(
            !self.embedding.all_words || (built && self.embedding.vectors.is_some()),
            "embedding.all_words",
            "needs embedding.vectors, and a vocabulary that is built here (text.tokenizer)",
        )?;
        check(
            self.embedding.size > 0,
            "embedding.size",
            "must be 1 or more",
        )?;
        check(
            self.text.min_frequency > 0,
            "text.min_frequency",
            "must be 1 or more",
        )?;
        check(
            self.text.max_tokens != Some(0),
            "text.max_tokens",
            "must be 1 or more",
        )?;
        for (key, share) in [
            ("head.dropout", self.head.dropout),
            ("embedding.dropout", self.embedding.dropout),
            ("embedding.word_dropout", self.embedding.word_dropout),
            ("data.dev_share", self.data.dev_share),
            ("data.test_share", self.data.test_share),
        ] {
            check((0.0..1.0).contains(&share), key, "must be in [0, 1)")?;
        }
        check(
            self.data.dev_share + self.data.test_share < 1.0,
            "data.dev_share",
            "and data.test_share must be below 1 together",
        )?;
        let in_section = |error| match error {
            Error::Config { key, message }
            | Error::Graph(cellway_graph::Error::Config { key, message })
                if !key.starts_with("lstm.") =>
            {
                Error::config(format!("lstm.{key}"), message)
            }
            other => other,
        };
        let lstm = self.lstm.architecture(self.embedding.size);
        lstm.validate().map_err(Error::from).map_err(in_section)?;
        let reach = expect_reach(&lstm.regularization, self.train.engine);
        reach.map_err(in_section)?;
        let init = self.lstm.init()?;
        init.validate(&lstm).map_err(in_section)
    }
}

/// An error for the key unless it `holds`.
fn check(holds: bool, key: &str, takes: &str) -> Result<()> {
    match holds {
        true => Ok(()),
        false => Err(Error::config(key, takes)),
    }
}

fn positive(x: f64) -> bool {
    x.is_finite() && x > 0.0
}

/// Puts `section.key=value` into the table; the value is TOML, or else a string.
fn set(table: &mut toml::Table, assignment: &str) -> Result<()> {
    let Some((path, text)) = assignment.split_once('=') else {
        return Err(Error::config(
            "overrides",
            format!("must be key=value such as train.epochs=3, not {assignment:?}"),
        ));
    };
    let (path, text) = (path.trim(), text.trim());
    let value = match format!("value = {text}").parse::<toml::Table>() {
        Ok(mut parsed) => parsed.remove("value"),
        Err(_) => None,
    };
    let value = value.unwrap_or_else(|| toml::Value::String(text.to_owned()));
    let mut at = table;
    let mut keys = path.split('.').peekable();
    while let Some(key) = keys.next() {
        if keys.peek().is_none() {
            at.insert(key.to_owned(), value);
            return Ok(());
        }
        let section = at
            .entry(key)
            .or_insert_with(|| toml::Value::Table(toml::Table::new()));
        at = match section {
            toml::Value::Table(inner) => inner,
            _ => {
                let message = format!("{key} is a value, not a section, in {assignment:?}");
                return Err(Error::config("overrides", message));
            }
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests;
