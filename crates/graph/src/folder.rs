//! The model folder, with the conventions of Hugging Face, so that ordinary Python tools
//! open it: `config.json`, `model.safetensors`, `tokenizer.json`.

use std::fs;
use std::path::{Path, PathBuf};

use cellway_checkpoint::files::write_atomically;
use cellway_data::tokenizer::Tokenizer;

use crate::classifier::{FORMAT_VERSION, MODEL_TYPE, ModelConfig};
use crate::error::{Error, Result};

/// The file of the architecture.
pub const CONFIG: &str = "config.json";
/// The file of the parameters.
pub const WEIGHTS: &str = "model.safetensors";
/// The file of the tokenizer.
pub const TOKENIZER: &str = "tokenizer.json";

/// A folder that holds a model, or will hold one.
#[derive(Clone, Debug)]
pub struct ModelFolder {
    path: PathBuf,
}

impl ModelFolder {
    /// Names a folder. It need not exist.
    pub fn new(path: impl AsRef<Path>) -> Self {
        ModelFolder {
            path: path.as_ref().to_path_buf(),
        }
    }

    /// The path of the parameters.
    pub fn weights(&self) -> PathBuf {
        self.path.join(WEIGHTS)
    }

    /// Whether a whole model is there: the parameters are the last to be written.
    pub fn is_complete(&self) -> bool {
        self.weights().is_file()
    }

    /// Makes the folder and writes all but the parameters, each file whole or not at all.
    ///
    /// # Errors
    /// A folder or file that cannot be made.
    pub fn write(&self, config: &ModelConfig, tokenizer: &Tokenizer) -> Result<()> {
        fs::create_dir_all(&self.path).map_err(Error::io(&self.path))?;
        let path = self.path.join(CONFIG);
        let json = serde_json::to_string_pretty(config)
            .map_err(|error| Error::file(&path, error.to_string()))?;
        write_atomically(&path, |file| {
            std::io::Write::write_all(file, json.as_bytes())
        })?;
        tokenizer.save(self.path.join(TOKENIZER))?;
        Ok(())
    }

    /// Reads all but the parameters.
    ///
    /// # Errors
    /// A file that is missing, damaged, of another kind of model or of a newer format; an
    /// architecture that is impossible; a tokenizer with more words than the embedding has
    /// rows.
    pub fn read(&self) -> Result<(ModelConfig, Tokenizer)> {
        if !self.path.is_dir() {
            return Err(Error::file(
                &self.path,
                format!(
                    "not a model directory (a folder with {CONFIG}, {WEIGHTS} and {TOKENIZER})"
                ),
            ));
        }
        let config = read_config(&self.path.join(CONFIG))?;
        let path = self.path.join(TOKENIZER);
        let tokenizer = Tokenizer::load(&path)?;
        if tokenizer.vocab_size() as i64 > config.vocab_size {
            return Err(Error::file(
                path,
                format!(
                    "has {} words, but {CONFIG} says vocab_size {}; they are of different models",
                    tokenizer.vocab_size(),
                    config.vocab_size
                ),
            ));
        }
        Ok((config, tokenizer))
    }
}

fn read_config(path: &Path) -> Result<ModelConfig> {
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

#[cfg(test)]
mod tests;
