//! `cellway export`: the weights of a model directory as one file for PyTorch.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::json;

use super::{say, say_json};
use crate::checkpoint::{safetensors, save_torch};
use crate::files::AtomicFile;
use crate::model::{Model, python_module};

/// The arguments of `cellway export`.
#[derive(Debug, Args)]
pub(super) struct Export {
    /// Model directory: config.json, model.safetensors, tokenizer.json
    model: PathBuf,

    /// File to write: .pt, .pth or .bin as torch.save writes it, or .safetensors
    #[arg(long, value_name = "FILE")]
    out: PathBuf,

    /// Write the nn.Module for it, too: the same name with the ending .py
    #[arg(long)]
    python_module: bool,

    /// Write over files that are there
    #[arg(long)]
    replace: bool,

    /// As JSON
    #[arg(long)]
    json: bool,
}

/// How the weights are written.
enum Form {
    Torch,
    Safetensors,
}

impl Export {
    pub fn run(&self) -> Result<()> {
        // What can be refused is refused before anything is read or written.
        let form = self.form()?;
        let module = self.python_module.then(|| self.out.with_extension("py"));
        for path in [Some(&self.out), module.as_ref()].into_iter().flatten() {
            self.check_free(path)?;
        }
        let model = Model::load(&self.model)?;
        let parameters = model.parameters();
        let tensors = || parameters.iter().map(|(name, t)| (name.as_str(), *t));

        // The module waits until the weights are there: both or none.
        let of_out = || format!("--out {}", self.out.display());
        let source = match &module {
            None => None,
            Some(path) => {
                let mut file = AtomicFile::create(path).with_context(of_out)?;
                let source = python_module::source(model.config());
                file.write_all(source.as_bytes()).with_context(of_out)?;
                Some(file)
            }
        };
        match form {
            Form::Torch => save_torch(&self.out, tensors()),
            Form::Safetensors => safetensors::save(&self.out, tensors(), &[("format", "pt")]),
        }
        .with_context(of_out)?;
        if let Some(file) = source {
            file.commit().with_context(of_out)?;
        }

        let numbers: usize = parameters.iter().map(|(_, t)| t.numel()).sum();
        if self.json {
            return say_json(&json!({
                "weights": self.out,
                "python_module": module,
                "tensors": parameters.len(),
                "numbers": numbers,
            }));
        }
        let count = parameters.len();
        say(format!(
            "weights        {} ({count} tensors, {numbers} numbers)",
            self.out.display()
        ))?;
        match module {
            Some(path) => say(format!("python module  {}", path.display())),
            None => Ok(()),
        }
    }

    fn form(&self) -> Result<Form> {
        match self.out.extension().and_then(OsStr::to_str) {
            Some("pt" | "pth" | "bin") => Ok(Form::Torch),
            Some("safetensors") => Ok(Form::Safetensors),
            _ => bail!(
                "--out {}: give it a name that ends in .pt, .pth, .bin or .safetensors",
                self.out.display()
            ),
        }
    }

    fn check_free(&self, path: &Path) -> Result<()> {
        let refuse = |why: &str| bail!("--out {}: {why}", path.display());
        let folder = path.parent().filter(|folder| *folder != Path::new(""));
        match path.symlink_metadata() {
            Ok(_) if !self.replace => refuse("is there already; --replace writes over it"),
            Ok(_) if path.is_dir() => refuse("is a folder; give the name of a file"),
            _ if folder.is_some_and(|folder| !folder.is_dir()) => {
                refuse("its folder is not there; make it first")
            }
            _ => Ok(()),
        }
    }
}
