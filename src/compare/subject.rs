//! What is held against torch: a classifier, or one LSTM of a checkpoint.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::import::{RecurrentExt, RecurrentKind, lookup};
use crate::lstm::{Lstm, LstmConfig};
use crate::model::Model;

/// The parameters that are compared.
#[derive(Debug)]
pub enum Subject {
    /// A model directory, from ids to the loss.
    Classifier(Box<Model>),
    /// An LSTM, from vectors to states.
    Lstm {
        /// The module's path in its file.
        name: String,
        /// Its parameters.
        lstm: Lstm,
        /// Where Python, too, finds them under PyTorch's names; none where the
        /// file needs classes of its own, is one of several, or has another
        /// layout.
        file: Option<PathBuf>,
    },
}

impl Subject {
    /// A model directory as a whole, unless `lstm` asks for its LSTM alone; of
    /// any other checkpoint the LSTM of this name, or the only one.
    pub fn open(path: &Path, lstm: Option<&str>) -> Result<Subject> {
        let is_model = path.join("config.json").is_file() && path.join("tokenizer.json").is_file();
        if is_model && lstm.is_none() {
            return Ok(Subject::Classifier(Box::new(Model::load(path)?)));
        }
        let checkpoint = Checkpoint::open(path)?;
        let all = checkpoint.recurrent();
        let one = match lstm {
            Some(name) => lookup(&checkpoint, &all, name)?,
            None => {
                let lstms: Vec<_> = all.iter().filter(|one| one.kind.is_lstm()).collect();
                match lstms[..] {
                    [one] => one,
                    [] => {
                        let message = "has no LSTM; `cellway inspect` shows what is in it";
                        return Err(Error::file(path, message));
                    }
                    _ => {
                        let names: Vec<&str> = lstms.iter().map(|one| one.name.as_str()).collect();
                        let message = format!(
                            "has several LSTMs; choose one with `lstm`: {}",
                            names.join(", ")
                        );
                        return Err(Error::file(path, message));
                    }
                }
            }
        };
        let in_torch = matches!(one.kind, RecurrentKind::Lstm | RecurrentKind::LstmCell);
        let script = checkpoint.container() == "TorchScript archive";
        let plain = script || checkpoint.modules().is_empty();
        let one_file = !checkpoint.container().ends_with("several files");
        let lstm = checkpoint.lstm(&one.name)?;
        Ok(Subject::Lstm {
            name: one.name.clone(),
            lstm,
            file: (in_torch && plain && one_file).then(|| checkpoint.path().to_path_buf()),
        })
    }

    /// The LSTM.
    pub fn lstm(&self) -> &Lstm {
        match self {
            Subject::Classifier(model) => model.lstm(),
            Subject::Lstm { lstm, .. } => lstm,
        }
    }

    /// Every parameter by the name that a reference gives it.
    pub fn parameters(&self) -> Vec<(String, &Tensor)> {
        match self {
            Subject::Classifier(model) => model.parameters(),
            Subject::Lstm { lstm, .. } => lstm.parameters(),
        }
    }

    /// The dtype of the parameters.
    pub fn kind(&self) -> Kind {
        self.parameters()[0].1.kind()
    }

    /// The same numbers in another dtype and place, each parameter a leaf that
    /// has gradients.
    pub fn cast(self, kind: Kind, device: Device) -> Result<Subject> {
        match self {
            Subject::Classifier(mut model) => {
                model.to_kind(kind);
                model.to_device(device);
                Ok(Subject::Classifier(model))
            }
            Subject::Lstm { name, lstm, file } => Ok(Subject::Lstm {
                name,
                lstm: copy(&lstm, lstm.config().num_layers, |tensor| {
                    tensor.to_kind(kind).to_device(device)
                })?,
                file,
            }),
        }
    }

    /// The sizes as a reference states them.
    pub fn config(&self) -> Result<Value> {
        match self {
            Subject::Classifier(model) => serde_json::to_value(model.config())
                .map_err(|error| Error::config("config", error.to_string())),
            Subject::Lstm { lstm, .. } => {
                let config = lstm.config();
                Ok(json!({
                    "input_size": config.input_size,
                    "hidden_size": config.hidden_size,
                    "num_layers": config.num_layers,
                    "bias": config.bias,
                    "bidirectional": config.bidirectional,
                    "proj_size": config.proj_size,
                }))
            }
        }
    }
}

/// The first layers of an LSTM, batch first, with parameters of their own.
pub(super) fn copy(lstm: &Lstm, layers: i64, change: impl Fn(&Tensor) -> Tensor) -> Result<Lstm> {
    let parameters = lstm.parameters();
    let config = LstmConfig {
        num_layers: layers,
        batch_first: true,
        ..lstm.config().clone()
    };
    Lstm::from_tensors(config, |name| {
        match parameters.iter().find(|(known, _)| known == name) {
            Some((_, tensor)) => Ok(change(&tensor.detach()).copy().set_requires_grad(true)),
            None => Err(Error::tensor(name, "is missing")),
        }
    })
}
