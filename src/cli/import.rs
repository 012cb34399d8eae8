//! `cellway import`: a checkpoint of PyTorch to a model directory.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use tch::Kind;

use super::{DtypeArg, as_flag, say, say_json, warn};
use crate::checkpoint::Checkpoint;
use crate::error::Error;
use crate::import::{self, GateOrder, ImportOptions, Roles, Settings, Words};
use crate::model::{HeadKind, Model, Pooling};
use crate::report::Table;
use crate::text::{Rule, Tokenizer, UNK};

/// The arguments of `cellway import`.
#[derive(Debug, Args)]
pub(super) struct Import {
    /// Checkpoint of any format that `cellway inspect` reads
    file: PathBuf,

    /// The model directory to make
    #[arg(long, value_name = "MODEL")]
    out: PathBuf,

    /// Overrule a choice: embedding=NAME, lstm=NAME, head=NAME
    #[arg(long, value_name = "ROLE=NAME")]
    map: Vec<String>,

    /// Go on where the checkpoint has tensors that the model does not take
    #[arg(long)]
    allow_unexpected: bool,

    /// Vocabulary: JSON (words to ids, ids to words, a list) or a word a line
    /// [default: found in the checkpoint]
    #[arg(long, value_name = "FILE", conflicts_with = "vocab_key")]
    vocab: Option<PathBuf>,

    /// The value of the checkpoint that is the vocabulary
    #[arg(long, value_name = "KEY")]
    vocab_key: Option<String>,

    /// How texts are split: basic_english, whitespace, regex:PATTERN (its
    /// matches are the tokens), or a tokenizer.json, which has the vocabulary too
    #[arg(long, value_name = "RULE", default_value = "basic_english")]
    tokenizer: String,

    /// Lower case before a split at whitespace or by a regular expression
    #[arg(long)]
    lowercase: bool,

    /// The word that stands for unknown ones [default: by the usual names]
    #[arg(long, value_name = "WORD")]
    unk: Option<String>,

    /// Its id, where the vocabulary lacks it
    #[arg(long, value_name = "ID")]
    unk_id: Option<u32>,

    /// What the head reads
    #[arg(long, value_enum)]
    pooling: Option<PoolingArg>,

    /// From logits to probabilities [default: sigmoid for one logit, else softmax]
    #[arg(long, value_enum)]
    head: Option<HeadArg>,

    /// Names of the classes, in their order [default: from the checkpoint, or
    /// their numbers]
    #[arg(long, value_delimiter = ',', value_name = "A,B,...")]
    labels: Option<Vec<String>>,

    /// Cut longer texts after so many tokens
    #[arg(long, value_name = "N")]
    max_tokens: Option<usize>,

    /// Cast to this [default: as it is]
    #[arg(long, value_enum)]
    dtype: Option<DtypeArg>,

    /// The order of the gates in the file: torch, keras (ifgo), onnx (iofc),
    /// haste (igfo), or any permutation
    #[arg(long, value_name = "ORDER", default_value = "torch")]
    gate_order: String,

    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum PoolingArg {
    /// The last hidden state of each direction
    Last,
    /// The mean over the text
    Mean,
    /// The largest over the text
    Max,
    /// Last, mean and max, joined in this order
    All,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum HeadArg {
    /// One logit for two classes
    Sigmoid,
    /// A logit for each class
    Softmax,
}

/// What was decided for a setting, and by whom.
struct Choice {
    what: &'static str,
    value: String,
    why: &'static str,
}

impl Import {
    pub fn run(&self) -> Result<()> {
        super::refuse_existing("--out", &self.out)?;
        let order: GateOrder = self.gate_order.parse().map_err(as_flag)?;
        let options = self.options()?;
        let checkpoint = Checkpoint::open(&self.file)?;
        let roles = Roles::find(&checkpoint, &options)?;
        if !roles.unexpected.is_empty() {
            let count = roles.unexpected.len();
            let names = roles.unexpected.join(", ");
            match self.allow_unexpected {
                true => warn(format!("left out, {count} tensors: {names}")),
                false => bail!(
                    "{}: {count} tensors are unexpected, since the model is embedding -> LSTM -> pooling -> head: {names}; --allow-unexpected leaves them out",
                    self.file.display()
                ),
            }
        }
        let mut choices = Vec::new();
        let tokenizer = self.tokenizer(&checkpoint, &roles, &mut choices)?;
        let settings = self.settings(&checkpoint, &roles, &mut choices);
        let model = import::model(&checkpoint, &roles, &settings, order, tokenizer);
        let model = model.map_err(as_flag)?;
        self.save(&model)?;
        match self.json {
            true => say_json(&self.as_json(&roles, &choices)),
            false => self.show(&checkpoint, &roles, &choices),
        }
    }

    fn options(&self) -> Result<ImportOptions> {
        let mut options = ImportOptions::default();
        for wish in &self.map {
            let (role, name) = wish.split_once('=').unwrap_or((wish, ""));
            let place = match role {
                "embedding" => &mut options.embedding,
                "lstm" => &mut options.lstm,
                "head" => &mut options.head,
                _ => bail!("--map {wish}: must be embedding=NAME, lstm=NAME or head=NAME"),
            };
            if place.replace(name.to_owned()).is_some() {
                bail!("--map {wish}: {role} is there twice");
            }
        }
        Ok(options)
    }

    fn tokenizer(
        &self,
        checkpoint: &Checkpoint,
        roles: &Roles,
        choices: &mut Vec<Choice>,
    ) -> Result<Tokenizer> {
        let lower = self.lowercase;
        let rule = match self.tokenizer.as_str() {
            "basic_english" => Rule::BasicEnglish,
            "whitespace" => Rule::Whitespace { lower },
            other => match other.strip_prefix("regex:") {
                Some("") => bail!("--tokenizer regex: has no pattern behind it"),
                Some(pattern) => Rule::Matches {
                    pattern: pattern.to_owned(),
                    lower,
                },
                None => return self.tokenizer_file(choices),
            },
        };
        let (origin, mut words) = match &self.vocab {
            Some(path) => (path.display().to_string(), Words::load(path)?),
            None => {
                let rows = roles.embedding_shape[0];
                Words::find(checkpoint, self.vocab_key.as_deref(), rows).map_err(as_flag)?
            }
        };
        let unknown = self.unknown(&mut words)?;
        choices.push(Choice {
            what: "vocabulary",
            value: format!("{origin}, {} words", words.len()),
            why: match (&self.vocab, &self.vocab_key) {
                (None, None) => "found in the checkpoint",
                _ => "as asked",
            },
        });
        choices.push(Choice {
            what: "tokens",
            value: rule.to_string(),
            why: match rule {
                Rule::BasicEnglish => "assumed; --tokenizer",
                _ => "as asked",
            },
        });
        choices.push(match &unknown {
            Some(word) => Choice {
                what: "unknown words",
                value: word.clone(),
                why: match (&self.unk, self.unk_id) {
                    (None, None) => "by its name",
                    _ => "as asked",
                },
            },
            None => Choice {
                what: "unknown words",
                value: "are an error".to_owned(),
                why: "the vocabulary has no word for them; --unk, --unk-id",
            },
        });
        let unknown = unknown.unwrap_or_else(|| UNK.to_owned());
        Ok(Tokenizer::word_level(&rule, words.into_pairs(), &unknown)?)
    }

    fn tokenizer_file(&self, choices: &mut Vec<Choice>) -> Result<Tokenizer> {
        let path = Path::new(&self.tokenizer);
        if !path.is_file() {
            bail!(
                "--tokenizer {}: must be basic_english, whitespace, regex:PATTERN or a tokenizer.json that is there",
                self.tokenizer
            );
        }
        if self.vocab.is_some() || self.vocab_key.is_some() {
            bail!("--vocab: a tokenizer.json has a vocabulary of its own; leave one of them out");
        }
        choices.push(Choice {
            what: "tokens",
            value: self.tokenizer.clone(),
            why: "as asked",
        });
        Ok(Tokenizer::load(path)?)
    }

    fn unknown(&self, words: &mut Words) -> Result<Option<String>> {
        match (&self.unk, self.unk_id) {
            (None, None) => Ok(words.unknown().map(str::to_owned)),
            (unk, Some(id)) => {
                let word = unk.clone().unwrap_or_else(|| UNK.to_owned());
                words
                    .add(&word, id)
                    .map_err(|message| Error::config("--unk-id", message))?;
                Ok(Some(word))
            }
            (Some(word), None) if words.contains(word) => Ok(Some(word.clone())),
            (Some(word), None) => {
                bail!("--unk {word}: the vocabulary has no such word; --unk-id gives it an id")
            }
        }
    }

    fn settings(
        &self,
        checkpoint: &Checkpoint,
        roles: &Roles,
        choices: &mut Vec<Choice>,
    ) -> Settings {
        let mut choose = |what, value: String, why| choices.push(Choice { what, value, why });
        let pooling = match self.pooling {
            None | Some(PoolingArg::Last) => Pooling::Last,
            Some(PoolingArg::Mean) => Pooling::Mean,
            Some(PoolingArg::Max) => Pooling::Max,
            Some(PoolingArg::All) => Pooling::All,
        };
        choose(
            "pooling",
            format!("{pooling:?}").to_lowercase(),
            if self.pooling.is_some() {
                "as asked"
            } else {
                "assumed; --pooling"
            },
        );
        let logits = roles.head.shape[0];
        let head = self.head.map(|head| match head {
            HeadArg::Sigmoid => HeadKind::Sigmoid,
            HeadArg::Softmax => HeadKind::Softmax,
        });
        choose(
            "head",
            match head {
                Some(head) => format!("{head:?}").to_lowercase(),
                None if logits == 1 => "sigmoid".to_owned(),
                None => "softmax".to_owned(),
            },
            if head.is_some() {
                "as asked"
            } else {
                "by its logits; --head"
            },
        );
        if roles.head.bias.is_none() {
            choose(
                "head.bias",
                "zeros".to_owned(),
                "the head has none, which computes the same",
            );
        }
        let classes = if logits == 1 { 2 } else { logits };
        let found = labels_in(checkpoint, classes as usize);
        let why = match (&self.labels, &found) {
            (Some(_), _) => "as asked",
            (None, Some(_)) => "found in the checkpoint",
            (None, None) => "their numbers; --labels",
        };
        let labels = self.labels.clone().or(found);
        let shown = match &labels {
            Some(labels) => labels.join(", "),
            None => format!("0 to {}", classes - 1),
        };
        choose("labels", shown, why);
        let kind = self.dtype.map(Kind::from);
        let from = &roles.lstm.dtype;
        match self.dtype {
            None => choose("dtype", from.clone(), "kept"),
            Some(to) => choose(
                "dtype",
                format!("{from} to {to:?}").to_lowercase(),
                "as asked",
            ),
        }
        Settings {
            pooling,
            head,
            labels,
            max_tokens: self.max_tokens,
            kind,
        }
    }

    /// Makes the directory whole or not at all.
    fn save(&self, model: &Model) -> Result<()> {
        let parent = match self.out.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let there = || {
            format!(
                "--out {}: its folder is not there; make it first",
                self.out.display()
            )
        };
        let temporary = tempfile::Builder::new()
            .prefix(".cellway-")
            .tempdir_in(parent)
            .with_context(there)?;
        // Where temporary folders are private, a model is as any other folder.
        let made = temporary.path().join("model");
        model.save(&made)?;
        super::refuse_existing("--out", &self.out)?;
        fs::rename(&made, &self.out).with_context(|| format!("--out {}", self.out.display()))?;
        fs::File::open(parent)?.sync_all()?;
        Ok(())
    }

    fn as_json(&self, roles: &Roles, choices: &[Choice]) -> Value {
        let choices: serde_json::Map<String, Value> = choices
            .iter()
            .map(|choice| {
                (
                    choice.what.to_owned(),
                    json!({"value": choice.value, "why": choice.why}),
                )
            })
            .collect();
        json!({"model": self.out, "roles": roles, "choices": choices})
    }

    fn show(&self, checkpoint: &Checkpoint, roles: &Roles, choices: &[Choice]) -> Result<()> {
        let mut table = Table::new("mapping", ["role", "from", "shape", "dtype"]);
        let mut row = |role: &str, name: &str| {
            if let Ok(tensor) = checkpoint.find(name) {
                table.row([
                    role.to_owned(),
                    name.to_owned(),
                    format!("{:?}", tensor.shape),
                    tensor.dtype.to_string(),
                ]);
            }
        };
        row("embedding.weight", &roles.embedding);
        for name in &roles.lstm.tensors {
            let last = name.rsplit('.').next().unwrap_or(name);
            row(&format!("lstm.{last}"), name);
        }
        row("head.weight", &roles.head.weight);
        if let Some(bias) = &roles.head.bias {
            row("head.bias", bias);
        }
        say(&table)?;
        if roles.apart > 0 {
            say(format!(
                "beside the model, left out: {} tensors",
                roles.apart
            ))?;
        }
        let mut table = Table::new("settings", ["what", "value", "why"]);
        for choice in choices {
            table.row([choice.what, choice.value.as_str(), choice.why]);
        }
        say(format!("\n{table}"))?;
        say(format!("\nmodel  {}", self.out.display()))
    }
}

/// Names of classes among the checkpoint's values: a list, or a map from or to
/// their numbers.
fn labels_in(checkpoint: &Checkpoint, classes: usize) -> Option<Vec<String>> {
    const NAMES: [&str; 6] = [
        "labels",
        "id2label",
        "label2id",
        "classes",
        "class_names",
        "label_names",
    ];
    let values = checkpoint.values();
    let named = values.iter().filter(|value| {
        let last = value.name.rsplit('.').next().unwrap_or_default();
        NAMES.contains(&last)
    });
    named
        .filter_map(|value| Words::from_json(&checkpoint.json(&value.name).ok()?).ok())
        .find(|words| words.len() == classes && words.highest() == Some(classes as u32 - 1))
        .map(|words| words.into_pairs().map(|(word, _)| word).collect())
}
