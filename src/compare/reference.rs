//! What the other side computed: a file of `scripts/reference.py`, or the bare
//! tensors of somebody's own script.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tch::{Kind, Tensor};

use super::digest::digest;
use crate::checkpoint::safetensors::{self, Tensors};
use crate::checkpoint::{Checkpoint, DType, dtype_of};
use crate::error::{Error, Result};
use crate::runtime::LIBTORCH_VERSION;
use crate::train::optim::OptimizerKind;

/// The version of the file format that `scripts/reference.py` writes.
const FORMAT: &str = "1";
/// In front of the names of what the reference was computed from.
const INPUT: &str = "input/";
/// The tensors of a bare reference, time first: those that it must have, and
/// those that it may have.
const BARE: [&str; 4] = ["x", "y", "h_n", "c_n"];
const BARE_INPUTS: [&str; 4] = ["x", "lengths", "h0", "c0"];

/// Inputs and what torch made of them; batch first, on the CPU.
#[derive(Debug)]
pub struct Reference {
    /// The file.
    pub path: PathBuf,
    /// Who made it; `None` for a bare one, which does not tell.
    pub origin: Option<Origin>,
    /// `ids`, `lengths`, `truth` of a classifier; `x`, `lengths`, `h0`, `c0`,
    /// `target_y`, `target_h_n`, `target_c_n` of an LSTM.
    pub inputs: Tensors,
    /// Everything else, under the names that the file gives it.
    pub expected: Tensors,
}

/// Where a reference comes from: the metadata of its file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Origin {
    /// `classifier` or `lstm`.
    pub kind: String,
    /// The module's path in its checkpoint.
    pub lstm: String,
    /// Sizes: of `config.json`, or of the LSTM alone.
    pub config: Value,
    /// Each parameter as it stood in its file.
    pub weights: BTreeMap<String, Weight>,
    /// The version of torch.
    pub torch: String,
    /// The version of Python.
    pub python: String,
    /// `cpu`, or `cuda:0` and the card's name.
    pub device: String,
    /// `f64`, `f32`, `bf16` or `f16`.
    pub dtype: String,
    /// Of the random inputs.
    pub seed: String,
    /// `random` or `file`.
    pub inputs: String,
    /// TF32, threads, cuDNN.
    pub flags: Value,
    /// The optimizer steps in it.
    pub steps: Option<Steps>,
}

/// A parameter as it stood in its file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weight {
    /// As safetensors calls it: `F32`.
    pub dtype: String,
    /// Its shape.
    pub shape: Vec<i64>,
    /// The [digest] of its numbers.
    pub sha256: String,
}

/// Optimizer steps on one batch, in the words of `torch.optim`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Steps {
    /// How many.
    pub steps: u64,
    /// Which.
    pub optimizer: OptimizerKind,
    /// `lr`.
    pub learning_rate: f64,
    /// Of SGD.
    pub momentum: f64,
    /// L2.
    pub weight_decay: f64,
}

impl Reference {
    /// Reads a file. `lstm` names the tensors of a bare one: `NAME/x`, `NAME/y`,
    /// `NAME/h_n`, `NAME/c_n`, or the four without a name in front.
    ///
    /// Errors if it is no safetensors file, is of another version, or has not
    /// the tensors that make a reference.
    pub fn open(path: &Path, lstm: Option<&str>) -> Result<Reference> {
        let file = Checkpoint::open_safetensors(path)?;
        let tensors = safetensors::load(path)?;
        let text = |key: &str| match file.json(key) {
            Ok(Value::String(text)) => Some(text),
            _ => None,
        };
        match text("cellway_reference").as_deref() {
            None => Self::bare(path, tensors, lstm),
            Some(FORMAT) => {
                let origin = Origin::read(path, text)?;
                let (inputs, expected) = tensors
                    .into_iter()
                    .partition::<Vec<_>, _>(|(name, _)| name.starts_with(INPUT));
                Ok(Reference {
                    path: path.to_path_buf(),
                    origin: Some(origin),
                    inputs: inputs
                        .into_iter()
                        .map(|(name, tensor)| (name[INPUT.len()..].to_owned(), tensor))
                        .collect(),
                    expected: expected.into_iter().collect(),
                })
            }
            Some(other) => Err(Error::file(
                path,
                format!(
                    "is a reference of version {other}, but this cellway reads {FORMAT}; make it with the scripts/reference.py that belongs to it"
                ),
            )),
        }
    }

    fn bare(path: &Path, tensors: Tensors, lstm: Option<&str>) -> Result<Reference> {
        let named = |name: &str, part: &str| match name {
            "" => part.to_owned(),
            name => format!("{name}/{part}"),
        };
        let mut names: Vec<&str> = tensors
            .keys()
            .filter_map(|name| match name.as_str() {
                "x" => Some(""),
                name => name.strip_suffix("/x"),
            })
            .collect();
        if let Some(lstm) = lstm {
            // One without names is of whatever is asked for.
            names.retain(|name| name.is_empty() || same_module(name, lstm));
        }
        let name = match names[..] {
            [name] => name,
            [] => {
                let wanted = lstm.map_or(String::new(), |lstm| format!("{lstm}/"));
                let message = format!(
                    "is no reference: it has neither the metadata of scripts/reference.py nor the tensors {wanted}x, {wanted}y, {wanted}h_n, {wanted}c_n"
                );
                return Err(Error::file(path, message));
            }
            _ => {
                let message = format!(
                    "has references of several LSTMs: {}; choose one with `lstm`",
                    names.join(", ")
                );
                return Err(Error::file(path, message));
            }
        };
        let missing = |part: &&str| !tensors.contains_key(&named(name, part));
        if let Some(part) = BARE.iter().find(|part| missing(part)) {
            return Err(Error::file(
                path,
                format!("has no tensor {:?}", named(name, part)),
            ));
        }
        let mut reference = Reference {
            path: path.to_path_buf(),
            origin: None,
            inputs: Tensors::new(),
            expected: Tensors::new(),
        };
        for part in BARE.iter().chain(&BARE_INPUTS[1..]) {
            let Some(tensor) = tensors.get(&named(name, part)) else {
                continue;
            };
            let time_first = matches!(*part, "x" | "y");
            if tensor.dim() != if *part == "lengths" { 1 } else { 3 } {
                let message = format!(
                    "tensor {:?} has the shape {:?}",
                    named(name, part),
                    tensor.size()
                );
                return Err(Error::file(path, message));
            }
            let tensor = match time_first {
                true => tensor.transpose(0, 1).contiguous(),
                false => tensor.shallow_clone(),
            };
            match BARE_INPUTS.contains(part) {
                true => reference.inputs.insert((*part).to_owned(), tensor),
                false => reference.expected.insert(format!("lstm/{part}"), tensor),
            };
        }
        Ok(reference)
    }

    /// Whether it has tensors whose names start so.
    pub fn has(&self, start: &str) -> bool {
        self.expected.keys().any(|name| name.starts_with(start))
    }

    /// The dtype in which it was computed.
    pub fn kind(&self) -> Kind {
        let of = |tensors: &Tensors, name: &str| tensors.get(name).map(Tensor::kind);
        of(&self.expected, "lstm/y").unwrap_or(Kind::Float)
    }

    /// An input, or an error that names it.
    pub fn input(&self, name: &str) -> Result<&Tensor> {
        self.inputs.get(name).ok_or_else(|| {
            Error::file(
                &self.path,
                format!(
                    "has no tensor {:?}; make it again with scripts/reference.py",
                    format!("{INPUT}{name}")
                ),
            )
        })
    }

    /// The lengths of the texts, if they are not all `T`.
    pub fn lengths(&self) -> Result<Option<Vec<i64>>> {
        match self.inputs.get("lengths") {
            None => Ok(None),
            Some(lengths) if lengths.kind() == Kind::Int64 && lengths.dim() == 1 => {
                Ok(Some(Vec::try_from(lengths)?))
            }
            Some(lengths) => Err(Error::file(
                &self.path,
                format!(
                    "lengths must be [B] i64, not {:?} {:?}",
                    lengths.size(),
                    lengths.kind()
                ),
            )),
        }
    }

    /// Errors unless it was made by the torch that this is held against.
    pub fn expect_torch(&self) -> Result<()> {
        let Some(origin) = &self.origin else {
            return Ok(());
        };
        let release = |version: &str| version.split('.').take(2).collect::<Vec<_>>().join(".");
        let (theirs, ours) = (release(&origin.torch), release(LIBTORCH_VERSION));
        match theirs == ours {
            true => Ok(()),
            false => Err(Error::file(
                &self.path,
                format!(
                    "was made with torch {}, but this is held against torch {ours}; make it again there (pip install torch=={LIBTORCH_VERSION}), or pass `any_torch`",
                    origin.torch
                ),
            )),
        }
    }

    /// What of these parameters, as they stand in their file, is not what the
    /// reference ran: a line for each.
    pub fn other_weights(&self, parameters: &[(String, &Tensor)]) -> Vec<String> {
        let Some(origin) = &self.origin else {
            return Vec::new();
        };
        let mut differ = Vec::new();
        for (name, tensor) in parameters {
            let Some(weight) = origin.weights.get(name) else {
                differ.push(format!("{name} is not in the reference"));
                continue;
            };
            let dtype = dtype_of(tensor.kind()).and_then(DType::safetensors_name);
            if weight.shape != tensor.size() {
                differ.push(format!(
                    "{name} is {:?} here and {:?} there",
                    tensor.size(),
                    weight.shape
                ));
            } else if dtype != Some(weight.dtype.as_str()) {
                differ.push(format!(
                    "{name} is {} here and {} there",
                    dtype.unwrap_or("?"),
                    weight.dtype
                ));
            } else if weight.sha256 != digest(tensor) {
                differ.push(format!("{name} has other numbers"));
            }
        }
        let ours = |name: &String| parameters.iter().any(|(ours, _)| ours == name);
        differ.extend(
            origin
                .weights
                .keys()
                .filter(|name| !ours(name))
                .map(|name| format!("{name} is not here")),
        );
        differ
    }
}

impl Origin {
    fn read(path: &Path, text: impl Fn(&str) -> Option<String>) -> Result<Origin> {
        let string = |key: &str| {
            text(key).ok_or_else(|| {
                let message =
                    format!("its metadata lacks {key:?}; make it again with scripts/reference.py");
                Error::file(path, message)
            })
        };
        fn parse<T: serde::de::DeserializeOwned>(path: &Path, key: &str, json: &str) -> Result<T> {
            serde_json::from_str(json).map_err(|error| {
                Error::file(
                    path,
                    format!("its metadata {key:?} is not what it should be: {error}"),
                )
            })
        }
        Ok(Origin {
            kind: string("kind")?,
            lstm: string("lstm")?,
            config: parse(path, "config", &string("config")?)?,
            weights: parse(path, "weights", &string("weights")?)?,
            torch: string("torch")?,
            python: string("python")?,
            device: string("device")?,
            dtype: string("dtype")?,
            seed: string("seed")?,
            inputs: string("inputs")?,
            flags: parse(path, "flags", &string("flags")?)?,
            steps: match text("steps") {
                None => None,
                Some(json) => Some(parse(path, "steps", &json)?),
            },
        })
    }
}

/// Whether two module paths name the same one: equal, or one ends in the other.
fn same_module(a: &str, b: &str) -> bool {
    let ends = |long: &str, short: &str| {
        long.strip_suffix(short)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    ends(a, b) || ends(b, a)
}
