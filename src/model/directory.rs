//! A model in its folder: [`ModelFolder`] has the architecture and the tokenizer, the
//! parameters are read and written here.

use std::path::Path;

use cellway_graph::folder::{CONFIG, ModelFolder};

use super::Model;
use crate::checkpoint::safetensors;
use crate::error::{Error, Result};

impl Model {
    /// Writes the model folder `path`, each file whole or not at all; the parameters last,
    /// so that a new folder without them is seen to be unfinished.
    ///
    /// # Errors
    /// A folder or file that cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        ModelFolder::new(path).write(&self.config, &self.tokenizer)?;
        self.save_weights(path)
    }

    /// Whether a whole model is in the folder `path`: the parameters are the last to be
    /// written.
    pub fn is_saved(path: impl AsRef<Path>) -> bool {
        ModelFolder::new(path).is_complete()
    }

    /// Writes the parameters alone, into a folder that has the rest.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn save_weights(&self, path: impl AsRef<Path>) -> Result<()> {
        let parameters = self.parameters();
        let tensors = parameters
            .iter()
            .map(|(name, tensor)| (name.as_str(), *tensor));
        safetensors::save(
            &ModelFolder::new(path).weights(),
            tensors,
            &[("format", "pt")],
        )
    }

    /// Reads the model folder `path`, to the CPU.
    ///
    /// # Errors
    /// A file that is missing, damaged, of another kind of model, of a newer format, or does
    /// not fit the others.
    pub fn load(path: impl AsRef<Path>) -> Result<Model> {
        let folder = ModelFolder::new(path);
        let (config, tokenizer) = folder.read()?;
        let path = folder.weights();
        let mut tensors = safetensors::load(&path)?;
        let get = |name: &str| match tensors.remove(name) {
            Some(tensor) => Ok(tensor),
            None => Err(Error::file(&path, format!("has no tensor {name:?}"))),
        };
        let model = Model::from_tensors(config, tokenizer, get).map_err(|error| match error {
            Error::Tensor { tensor, message } => {
                Error::file(&path, format!("tensor {tensor:?} {message}"))
            }
            other => other,
        })?;
        match tensors.keys().next() {
            None => Ok(model),
            Some(name) => Err(Error::file(
                &path,
                format!("tensor {name:?} is not one of this model ({CONFIG} says which)"),
            )),
        }
    }
}
