//! The model directory, with the conventions of Hugging Face, so that ordinary
//! Python tools open it: `config.json`, `model.safetensors`, `tokenizer.json`.

use std::fs;
use std::path::Path;

use super::config::{FORMAT_VERSION, MODEL_TYPE};
use super::{Model, ModelConfig};
use crate::checkpoint::safetensors;
use crate::error::{Error, Result};
use crate::files::write_atomically;
use crate::text::Tokenizer;

const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";
const TOKENIZER: &str = "tokenizer.json";

impl Model {
    /// Writes the directory `path`, each file whole or not at all; the weights
    /// last, so that a new directory without them is seen to be unfinished.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        fs::create_dir_all(path).map_err(Error::io(path))?;
        let config = serde_json::to_string_pretty(&self.config)
            .map_err(|error| Error::file(path.join(CONFIG), error.to_string()))?;
        write_atomically(&path.join(CONFIG), |file| {
            std::io::Write::write_all(file, config.as_bytes())
        })?;
        self.tokenizer.save(path.join(TOKENIZER))?;
        self.save_weights(path)
    }

    /// Whether a whole model is there: the weights are the last to be written.
    pub fn is_saved(path: impl AsRef<Path>) -> bool {
        path.as_ref().join(WEIGHTS).is_file()
    }

    /// Writes the weights alone, into a directory that has the rest.
    pub fn save_weights(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let parameters = self.parameters();
        let tensors = parameters
            .iter()
            .map(|(name, tensor)| (name.as_str(), *tensor));
        safetensors::save(&path.join(WEIGHTS), tensors, &[("format", "pt")])
    }

    /// Reads the directory `path`, to the CPU.
    ///
    /// Errors if a file is missing, damaged, of another kind of model, of a
    /// newer format, or does not fit the others.
    pub fn load(path: impl AsRef<Path>) -> Result<Model> {
        let path = path.as_ref();
        if !path.is_dir() {
            return Err(Error::file(
                path,
                format!(
                    "not a model directory (a folder with {CONFIG}, {WEIGHTS} and {TOKENIZER})"
                ),
            ));
        }
        let config = load_config(&path.join(CONFIG))?;
        let tokenizer = Tokenizer::load(path.join(TOKENIZER))?;
        if tokenizer.vocab_size() as i64 > config.vocab_size {
            return Err(Error::file(
                path.join(TOKENIZER),
                format!(
                    "has {} words, but {CONFIG} says vocab_size {}; they are of different models",
                    tokenizer.vocab_size(),
                    config.vocab_size
                ),
            ));
        }
        load_weights(&path.join(WEIGHTS), config, tokenizer)
    }
}

fn load_config(path: &Path) -> Result<ModelConfig> {
    let text = fs::read_to_string(path).map_err(Error::io(path))?;
    let refuse = |message: String| Err(Error::file(path, message));
    // The kind and the version first: of another one, the rest means nothing.
    let value: serde_json::Value = match serde_json::from_str(&text) {
        Ok(value) => value,
        Err(error) => return refuse(format!("not JSON, or truncated: {error}")),
    };
    match value["model_type"].as_str() {
        Some(MODEL_TYPE) => {}
        Some(other) => {
            return refuse(format!(
                "is of a {other:?} model; cellway reads {MODEL_TYPE:?}"
            ));
        }
        None => return refuse(format!("has no model_type; cellway reads {MODEL_TYPE:?}")),
    }
    match value["format_version"].as_u64() {
        Some(FORMAT_VERSION) => {}
        Some(newer) if newer > FORMAT_VERSION => {
            return refuse(format!(
                "has format version {newer}; this cellway reads {FORMAT_VERSION}: take a newer cellway"
            ));
        }
        _ => return refuse(format!("has no format_version {FORMAT_VERSION}")),
    }
    let mut json = serde_json::Deserializer::from_str(&text);
    let config: ModelConfig = match serde_path_to_error::deserialize(&mut json) {
        Ok(config) => config,
        Err(error) => return refuse(format!("{}: {}", error.path(), error.inner())),
    };
    match config.validate() {
        Ok(()) => Ok(config),
        Err(error) => refuse(error.to_string()),
    }
}

fn load_weights(path: &Path, config: ModelConfig, tokenizer: Tokenizer) -> Result<Model> {
    let mut tensors = safetensors::load(path)?;
    let get = |name: &str| match tensors.remove(name) {
        Some(tensor) => Ok(tensor),
        None => Err(Error::file(path, format!("has no tensor {name:?}"))),
    };
    let model = Model::from_tensors(config, tokenizer, get).map_err(|error| match error {
        Error::Tensor { tensor, message } => {
            Error::file(path, format!("tensor {tensor:?} {message}"))
        }
        other => other,
    })?;
    match tensors.keys().next() {
        None => Ok(model),
        Some(name) => Err(Error::file(
            path,
            format!("tensor {name:?} is not one of this model ({CONFIG} says which)"),
        )),
    }
}
