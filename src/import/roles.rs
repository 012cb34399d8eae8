//! Which tensor is what.

use serde::Serialize;

use super::find::lookup;
use super::recurrent::{Recurrent, RecurrentExt};
use crate::checkpoint::{Checkpoint, TensorInfo, some_of};
use crate::error::{Error, Result};

/// What a user says about the roles: paths of modules or tensors, or the ends of
/// paths; `None`: found by looking.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// The embedding.
    pub embedding: Option<String>,
    /// The LSTM.
    pub lstm: Option<String>,
    /// The head.
    pub head: Option<String>,
}

/// A linear layer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Layer {
    /// The name of its weight.
    pub weight: String,
    /// The name of its bias, if it has one.
    pub bias: Option<String>,
    /// Its sizes: out, in.
    pub shape: [i64; 2],
    /// Whether the weight is kept as in, out: Keras's `kernel`.
    pub transposed: bool,
}

/// What was chosen.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Roles {
    /// The name of the embedding's weight.
    pub embedding: String,
    /// Its rows and columns.
    pub embedding_shape: [i64; 2],
    /// The LSTM.
    pub lstm: Recurrent,
    /// The head.
    pub head: Layer,
    /// Tensors of the same model that no role takes.
    pub unexpected: Vec<String>,
    /// Tensors of something else, such as an optimizer's state.
    pub apart: usize,
}

/// Two-dimensional weights that may be an embedding for an LSTM of this input
/// size (of any, for `None`), those with a telling name first.
pub fn embedding_candidates(checkpoint: &Checkpoint, input_size: Option<i64>) -> Vec<&TensorInfo> {
    let mut found: Vec<&TensorInfo> = matrices(checkpoint)
        .filter(|tensor| input_size.is_none_or(|size| tensor.shape[1] == size))
        .filter(|tensor| input_size.is_some() || tells_embedding(&tensor.name))
        .collect();
    found.sort_by_key(|tensor| !tells_embedding(&tensor.name));
    found
}

/// Linear layers that may read what this LSTM puts out.
pub fn head_candidates(checkpoint: &Checkpoint, lstm: &Recurrent) -> Vec<Layer> {
    let config = lstm.config();
    let width = config.directions() * config.output_size();
    let mut found: Vec<&TensorInfo> = matrices(checkpoint)
        .filter(|tensor| [width, 3 * width].contains(&tensor.shape[side(&tensor.name)]))
        .filter(|tensor| !tells_embedding(&tensor.name))
        .collect();
    found.sort_by_key(|tensor| !tells_head(&tensor.name));
    found
        .into_iter()
        .map(|weight| layer(checkpoint, weight))
        .collect()
}

/// Floating matrices that are no part of a recurrent module.
fn matrices(checkpoint: &Checkpoint) -> impl Iterator<Item = &TensorInfo> {
    let recurrent: Vec<String> = checkpoint
        .recurrent()
        .into_iter()
        .flat_map(|module| module.tensors)
        .collect();
    checkpoint.tensors().iter().filter(move |tensor| {
        tensor.shape.len() == 2
            && tensor.dtype.is_floating()
            && (last(&tensor.name).contains("weight") || of_keras(&tensor.name))
            && !recurrent.contains(&tensor.name)
    })
}

/// Keras's names, and those that `numpy.savez(F, *model.get_weights())` gives.
fn of_keras(name: &str) -> bool {
    let last = last(name).trim_end_matches(":0");
    matches!(last, "kernel" | "embeddings") || last.starts_with("arr_")
}

fn last(name: &str) -> &str {
    name.rsplit(['.', '/']).next().unwrap_or(name)
}

fn tells_embedding(name: &str) -> bool {
    name.to_ascii_lowercase().contains("emb")
}

fn tells_head(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    [
        "head", "fc", "classif", "linear", "out", "hidden2", "dense", "decoder", "proj", "lin",
    ]
    .iter()
    .any(|word| name.contains(word))
}

/// The side of a linear layer's weight that is as long as what it reads.
fn side(weight: &str) -> usize {
    if of_keras(weight) { 0 } else { 1 }
}

fn layer(checkpoint: &Checkpoint, weight: &TensorInfo) -> Layer {
    let reads = side(&weight.name);
    let shape = [weight.shape[1 - reads], weight.shape[reads]];
    let name = weight.name.as_str();
    let bias = match name
        .strip_prefix("arr_")
        .and_then(|n| n.parse::<u64>().ok())
    {
        Some(n) => Some(format!("arr_{}", n.saturating_add(1))),
        None => ["weight", "kernel", "kernel:0"].iter().find_map(|role| {
            let bias = role.replace("weight", "bias").replace("kernel", "bias");
            name.strip_suffix(role)
                .map(|module| format!("{module}{bias}"))
        }),
    };
    let fits = |bias: &String| {
        checkpoint
            .find(bias)
            .is_ok_and(|bias| bias.shape == [shape[0]])
    };
    Layer {
        weight: weight.name.clone(),
        bias: bias.filter(fits),
        shape,
        transposed: reads == 0,
    }
}

impl Roles {
    /// Finds the roles, as the options say or by looking.
    ///
    /// Errors if one is not there, or several could be it: the message lists
    /// them and says how to choose.
    pub fn find(checkpoint: &Checkpoint, options: &ImportOptions) -> Result<Roles> {
        let refuse = |message: String| Err(Error::file(checkpoint.path(), message));
        let all = checkpoint.recurrent();
        let lstm = match &options.lstm {
            Some(name) => lookup(checkpoint, &all, name)?.clone(),
            None => {
                let lstms: Vec<&Recurrent> = all.iter().filter(|one| one.kind.is_lstm()).collect();
                match lstms[..] {
                    [one] => one.clone(),
                    [] => {
                        let names: Vec<String> = all
                            .iter()
                            .map(|one| format!("{} ({})", one.name, one.kind.name()))
                            .collect();
                        let names: Vec<&str> = names.iter().map(String::as_str).collect();
                        return refuse(format!(
                            "has no LSTM; recurrent modules in it: {}",
                            some_of(&names)
                        ));
                    }
                    _ => {
                        let names: Vec<&str> = lstms.iter().map(|one| one.name.as_str()).collect();
                        return refuse(format!(
                            "has several LSTMs: {}; choose one with `map` lstm=NAME",
                            some_of(&names)
                        ));
                    }
                }
            }
        };
        if !lstm.kind.is_lstm() {
            return refuse(format!(
                "{} is a {}, not an LSTM",
                lstm.name,
                lstm.kind.name()
            ));
        }
        if let Some(problem) = &lstm.problem {
            return refuse(format!("{} is not a whole LSTM: {problem}", lstm.name));
        }

        let embedding = match &options.embedding {
            Some(name) => wanted(checkpoint, name)?,
            None => {
                let found = embedding_candidates(checkpoint, Some(lstm.input_size));
                // Without a telling name an embedding looks like any matrix.
                let telling = found
                    .iter()
                    .filter(|tensor| tells_embedding(&tensor.name))
                    .count();
                let considered = if telling > 0 {
                    &found[..telling]
                } else {
                    &found[..]
                };
                let names = considered
                    .iter()
                    .map(|tensor| tensor.name.as_str())
                    .collect();
                only(checkpoint, considered, names, "embedding", lstm.input_size)?
            }
        };
        if embedding.shape.len() != 2 || embedding.shape[1] != lstm.input_size {
            return refuse(format!(
                "embedding {:?} has shape {:?}, but {} reads {} numbers at each step",
                embedding.name, embedding.shape, lstm.name, lstm.input_size
            ));
        }

        let head = match &options.head {
            Some(name) => {
                let weight = wanted(checkpoint, name)?;
                if weight.shape.len() != 2 {
                    return refuse(format!(
                        "head {:?} has shape {:?}, but must be a matrix",
                        weight.name, weight.shape
                    ));
                }
                layer(checkpoint, weight)
            }
            None => {
                let mut found = head_candidates(checkpoint, &lstm);
                found.retain(|layer| layer.weight != embedding.name);
                let telling = found
                    .iter()
                    .filter(|layer| tells_head(&layer.weight))
                    .count();
                found.truncate(if telling > 0 { telling } else { found.len() });
                let names = found.iter().map(|layer| layer.weight.as_str()).collect();
                let config = lstm.config();
                let width = config.directions() * config.output_size();
                only(checkpoint, &found, names, "head", width)?
            }
        };
        let mut roles = Roles {
            embedding: embedding.name.clone(),
            embedding_shape: [embedding.shape[0], embedding.shape[1]],
            lstm,
            head,
            unexpected: Vec::new(),
            apart: 0,
        };
        roles.sort_out_the_rest(checkpoint);
        Ok(roles)
    }

    /// Everything without a role is unexpected, but for what stands beside the
    /// model: where all roles lie under one name, what lies under another.
    fn sort_out_the_rest(&mut self, checkpoint: &Checkpoint) {
        let top = |name: &str| -> String {
            let end = name.find(['.', '[', '/']).unwrap_or(0);
            name[..end].to_owned()
        };
        let mut mine: Vec<&str> = self.lstm.tensors.iter().map(String::as_str).collect();
        mine.extend([self.embedding.as_str(), self.head.weight.as_str()]);
        mine.extend(self.head.bias.as_deref());
        let first = top(mine[0]);
        let shared = mine.iter().all(|name| top(name) == first);
        let refused = checkpoint
            .refused()
            .iter()
            .map(|refusal| refusal.name.as_str());
        let names = checkpoint
            .tensors()
            .iter()
            .map(|tensor| tensor.name.as_str());
        let (mut unexpected, mut apart) = (Vec::new(), 0);
        for name in names.chain(refused) {
            if mine.contains(&name) {
                continue;
            }
            match shared && top(name) != first {
                true => apart += 1,
                false => unexpected.push(name.to_owned()),
            }
        }
        self.unexpected = unexpected;
        self.apart = apart;
    }
}

/// The tensor of this name, or the weight of the module of this name, or the
/// only one whose path ends so.
fn wanted<'a>(checkpoint: &'a Checkpoint, name: &str) -> Result<&'a TensorInfo> {
    let weight = format!("{name}.weight");
    let is = |path: &str| path == name || path == weight;
    if let Some(exact) = checkpoint.tensors().iter().find(|tensor| is(&tensor.name)) {
        return Ok(exact);
    }
    let ends = |path: &str| {
        [name, &weight].iter().any(|end| {
            path.strip_suffix(*end)
                .is_some_and(|rest| rest.ends_with('.'))
        })
    };
    let found: Vec<&TensorInfo> = checkpoint
        .tensors()
        .iter()
        .filter(|tensor| ends(&tensor.name))
        .collect();
    match found[..] {
        [one] => Ok(one),
        [] => Err(Error::file(
            checkpoint.path(),
            format!("has no tensor {name:?} or {weight:?}; cellway inspect lists them"),
        )),
        _ => {
            let names: Vec<&str> = found.iter().map(|tensor| tensor.name.as_str()).collect();
            let message = format!(
                "has several tensors {name:?}: {}; give the whole path",
                some_of(&names)
            );
            Err(Error::file(checkpoint.path(), message))
        }
    }
}

fn only<T: Clone>(
    checkpoint: &Checkpoint,
    found: &[T],
    names: Vec<&str>,
    role: &str,
    width: i64,
) -> Result<T> {
    match found {
        [one] => Ok(one.clone()),
        [] => Err(Error::file(
            checkpoint.path(),
            format!(
                "has no {role}: no matrix of {width} columns; if it is there, name it with `map` {role}=NAME (the LSTM alone can be used from Rust)"
            ),
        )),
        _ => Err(Error::file(
            checkpoint.path(),
            format!(
                "several tensors may be the {role}: {}; choose with `map` {role}=NAME",
                some_of(&names)
            ),
        )),
    }
}
