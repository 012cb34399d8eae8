//! `cellway inspect`: what is in a checkpoint, without loading it.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::{say, say_json};
use crate::checkpoint::{Checkpoint, TensorInfo};
use crate::files::write_atomically;
use crate::import::{Recurrent, RecurrentExt, embedding_candidates, head_candidates};
use crate::report::{Table, printable};

/// The arguments of `cellway inspect`.
#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// Checkpoint of any format: .pt, .pth, .ckpt, .bin, TorchScript,
    /// safetensors, .npz, or the folder or index of a sharded one
    file: PathBuf,

    /// Write a value of it (a vocabulary, a configuration) as JSON to PATH
    #[arg(long, num_args = 2, value_names = ["PATH", "KEY"])]
    save_json: Option<Vec<String>>,

    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Candidates {
    /// The LSTM that they would go with.
    lstm: String,
    embeddings: Vec<String>,
    heads: Vec<String>,
}

impl Inspect {
    pub fn run(&self) -> Result<()> {
        let checkpoint = Checkpoint::open(&self.file)?;
        if let Some([path, key]) = self.save_json.as_deref() {
            let text = serde_json::to_string_pretty(&checkpoint.json(key)?)?;
            let path = PathBuf::from(path);
            super::refuse_existing("--save-json", &path)?;
            write_atomically(&path, |file| file.write_all(text.as_bytes()))?;
            return say(format!("{key} written to {}", path.display()));
        }
        let recurrent = checkpoint.recurrent();
        match self.json {
            true => say_json(&as_json(&checkpoint, &recurrent)),
            false => show(&checkpoint, &recurrent),
        }
    }
}

fn candidates(checkpoint: &Checkpoint, recurrent: &[Recurrent]) -> Vec<Candidates> {
    let lstms = recurrent
        .iter()
        .filter(|one| one.kind.is_lstm() && one.problem.is_none());
    lstms
        .map(|lstm| Candidates {
            lstm: lstm.name.clone(),
            embeddings: embedding_candidates(checkpoint, Some(lstm.input_size))
                .into_iter()
                .map(|tensor| tensor.name.clone())
                .collect(),
            heads: head_candidates(checkpoint, lstm)
                .into_iter()
                .map(|layer| layer.weight)
                .collect(),
        })
        .collect()
}

/// Names that share a storage, for each storage with several.
fn shared(checkpoint: &Checkpoint) -> Vec<(usize, Vec<&str>)> {
    let mut users: Vec<Vec<&str>> = vec![Vec::new(); checkpoint.storages().len()];
    for tensor in checkpoint.tensors() {
        users[tensor.storage].push(&tensor.name);
    }
    users
        .into_iter()
        .enumerate()
        .filter(|(_, names)| names.len() > 1)
        .collect()
}

fn as_json(checkpoint: &Checkpoint, recurrent: &[Recurrent]) -> serde_json::Value {
    let tensors: Vec<_> = checkpoint
        .tensors()
        .iter()
        .map(|tensor| {
            let storage = &checkpoint.storages()[tensor.storage];
            json!({
                "name": tensor.name,
                "dtype": tensor.dtype.name(),
                "shape": tensor.shape,
                "stride": tensor.stride,
                "offset": tensor.offset,
                "parameter": tensor.parameter,
                "storage": {"number": tensor.storage, "key": storage.key, "bytes": storage.bytes},
                "device": storage.device,
            })
        })
        .collect();
    let shared: Vec<_> = shared(checkpoint)
        .into_iter()
        .map(|(storage, names)| json!({"storage": storage, "tensors": names}))
        .collect();
    json!({
        "file": checkpoint.path(),
        "container": checkpoint.container(),
        "hints": checkpoint.hints(),
        "tensors": tensors,
        "shared_storages": shared,
        "recurrent": recurrent,
        "candidates": candidates(checkpoint, recurrent),
        "modules": checkpoint.modules(),
        "values": checkpoint.values(),
        "refused": checkpoint.refused(),
        "globals": checkpoint.globals(),
    })
}

fn show(checkpoint: &Checkpoint, recurrent: &[Recurrent]) -> Result<()> {
    say(format!(
        "{}: {}",
        printable(&checkpoint.path().display().to_string()),
        checkpoint.container()
    ))?;
    for hint in checkpoint.hints() {
        say(format!("  {}: {}", hint.name, printable(&hint.value)))?;
    }
    say(format!("\n{}", tensor_table(checkpoint)))?;
    for (storage, names) in shared(checkpoint) {
        say(format!(
            "storage {storage} is shared by {}",
            printable(&names.join(", "))
        ))?;
    }
    say(format!("\n{}", recurrent_table(recurrent)))?;
    for one in recurrent {
        if let Some(problem) = &one.problem {
            say(format!(
                "{} cannot be had: {}",
                printable(&one.name),
                printable(problem)
            ))?;
        }
    }
    for found in candidates(checkpoint, recurrent) {
        let list = |names: &[String]| match names {
            [] => "none".to_owned(),
            names => printable(&names.join(", ")),
        };
        say(format!(
            "with {}: embedding {}; head {}",
            printable(&found.lstm),
            list(&found.embeddings),
            list(&found.heads)
        ))?;
    }
    let values = checkpoint.values();
    if !values.is_empty() {
        let mut table = Table::new("other values", ["name", "what"]);
        for value in values {
            table.row([shortened(&value.name), value.summary]);
        }
        say(format!("\n{table}"))?;
    }
    if !checkpoint.modules().is_empty() {
        let mut table = Table::new(
            "objects (read as data, their classes never imported)",
            ["name", "class", "attributes"],
        );
        for module in checkpoint.modules() {
            let attributes: Vec<String> = module
                .attributes
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            table.row([
                module.name.clone(),
                module.class.clone(),
                attributes.join(" "),
            ]);
        }
        say(format!("\n{table}"))?;
    }
    if !checkpoint.refused().is_empty() {
        let mut table = Table::new("refused", ["name", "why"]);
        for refusal in checkpoint.refused() {
            table.row([&refusal.name, &refusal.reason]);
        }
        say(format!("\n{table}"))?;
    }
    if !checkpoint.globals().is_empty() {
        say(format!(
            "\nnamed in its pickles, never called: {}",
            printable(&checkpoint.globals().join(", "))
        ))?;
    }
    Ok(())
}

fn tensor_table(checkpoint: &Checkpoint) -> Table {
    let bytes: usize = checkpoint
        .storages()
        .iter()
        .map(|storage| storage.bytes)
        .sum();
    let title = format!(
        "{} tensors in {} storages of {bytes} bytes",
        checkpoint.tensors().len(),
        checkpoint.storages().len()
    );
    let mut table = Table::new(
        title,
        ["name", "dtype", "shape", "device", "storage", "view"],
    );
    for tensor in checkpoint.tensors() {
        table.row([
            shortened(&tensor.name),
            tensor.dtype.to_string(),
            format!("{:?}", tensor.shape),
            checkpoint.storages()[tensor.storage].device.clone(),
            tensor.storage.to_string(),
            view(tensor),
        ]);
    }
    table
}

/// Lightning's callbacks have names of hundreds of letters; `--json` has them
/// whole.
fn shortened(name: &str) -> String {
    const LONGEST: usize = 72;
    let letters: Vec<char> = name.chars().collect();
    match letters.len() > LONGEST {
        false => name.to_owned(),
        true => {
            let part = |letters: &[char]| letters.iter().collect::<String>();
            let half = LONGEST / 2 - 2;
            format!(
                "{}...{}",
                part(&letters[..half]),
                part(&letters[letters.len() - half..])
            )
        }
    }
}

/// How a tensor lies in its storage, where that is not from its start on, row
/// by row.
fn view(tensor: &TensorInfo) -> String {
    match (tensor.offset, tensor.is_contiguous()) {
        (0, true) => String::new(),
        (offset, true) => format!("from {offset}"),
        (offset, false) => format!("from {offset}, strides {:?}", tensor.stride),
    }
}

fn recurrent_table(recurrent: &[Recurrent]) -> Table {
    if recurrent.is_empty() {
        return Table::new("no recurrent module", [""; 0]);
    }
    let headers = [
        "name",
        "kind",
        "input",
        "hidden",
        "layers",
        "directions",
        "projection",
        "bias",
        "dtype",
    ];
    let mut table = Table::new("recurrent modules", headers);
    for one in recurrent {
        table.row([
            one.name.clone(),
            one.kind.name().to_owned(),
            one.input_size.to_string(),
            one.hidden_size.to_string(),
            one.num_layers.to_string(),
            one.config().directions().to_string(),
            match one.proj_size {
                0 => "none".to_owned(),
                size => size.to_string(),
            },
            if one.bias { "yes" } else { "no" }.to_owned(),
            one.dtype.clone(),
        ]);
    }
    table
}
