//! Our side of a comparison: the inputs of a reference run through the engine.

use std::collections::BTreeMap;

use tch::{Device, Kind, Tensor};

use super::diagnose::{Diagnosis, Evidence, diagnose};
use super::reference::{Reference, Steps};
use super::stages::{OF_A_STEP, layer_name};
use super::subject::{Subject, copy};
use crate::checkpoint::safetensors::Tensors;
use crate::error::{Error, Result};
use crate::lstm::{Call, Engine, Lstm, Mode, Output, State};
use crate::model::{Batch, Model, Pooling};
use crate::train::optim::{Group, Optimizer, OptimizerSettings};

/// A subject with the inputs of a comparison, where the subject is.
#[derive(Debug)]
pub struct Task<'a> {
    what: What<'a>,
    /// The length of each text.
    pub lengths: Vec<i64>,
}

#[derive(Debug)]
enum What<'a> {
    Classify {
        model: &'a Model,
        batch: Batch,
        /// `[B]` i64.
        truth: Tensor,
    },
    Read {
        lstm: &'a Lstm,
        /// `[B, T, I]`, with whatever stands behind the ends.
        x: Tensor,
        start: State,
        /// What the loss wants `y`, `h_n` and `c_n` to be, if there is a loss.
        targets: Option<[Tensor; 3]>,
    },
}

/// The tensors that gradients go to beside the parameters.
#[derive(Debug)]
struct Roots {
    /// What the LSTM reads `[B, T, I]`.
    vectors: Tensor,
    /// `[L*D, B, P]` and `[L*D, B, H]`; a classifier starts from zeros.
    start: Option<State>,
}

impl<'a> Task<'a> {
    /// The inputs of a reference, checked against the subject.
    pub fn new(reference: &Reference, subject: &'a Subject) -> Result<Task<'a>> {
        let parameter = subject.parameters()[0].1.shallow_clone();
        let to = |tensor: &Tensor| -> Result<Tensor> {
            let kind = match tensor.kind() {
                Kind::Int64 => Kind::Int64,
                _ => parameter.kind(),
            };
            Ok(tensor.f_to_device(parameter.device())?.f_to_kind(kind)?)
        };
        let refusal = |name: &str, message: String| {
            let message = format!("{name} {message}");
            Error::file(&reference.path, message)
        };
        let lead = reference.input(match subject {
            Subject::Classifier(_) => "ids",
            Subject::Lstm { .. } => "x",
        })?;
        let [batch, time] = match lead.size()[..] {
            [batch, time, ..] if batch > 0 && time > 0 => [batch, time],
            _ => {
                let message = format!("has the shape {:?}: no text, or no step", lead.size());
                return Err(refusal("the input", message));
            }
        };
        let lengths = match reference.lengths()? {
            None => vec![time; batch as usize],
            Some(lengths) => lengths,
        };
        let fits = |length: &i64| (0..=time).contains(length);
        if lengths.len() as i64 != batch || !lengths.iter().all(fits) {
            return Err(refusal(
                "lengths",
                format!("must be {batch} numbers from 0 to {time}"),
            ));
        }
        let what = match subject {
            Subject::Classifier(model) => {
                let truth = reference.input("truth")?;
                let classes = model.config().id2label.len() as i64;
                for (name, tensor, shape, limit) in [
                    ("ids", lead, vec![batch, time], model.config().vocab_size),
                    ("truth", truth, vec![batch], classes),
                ] {
                    if tensor.size() != shape || tensor.kind() != Kind::Int64 {
                        let (size, kind) = (tensor.size(), tensor.kind());
                        return Err(refusal(
                            name,
                            format!("must be {shape:?} i64, not {size:?} {kind:?}"),
                        ));
                    }
                    let within = tensor.ge(0).logical_and(&tensor.lt(limit));
                    if within.all().int64_value(&[]) == 0 {
                        let message = format!("must be 0 to {}, as this model has them", limit - 1);
                        return Err(refusal(name, message));
                    }
                }
                What::Classify {
                    model,
                    batch: Batch {
                        ids: to(lead)?,
                        lengths: lengths.clone(),
                    },
                    truth: to(truth)?,
                }
            }
            Subject::Lstm { lstm, .. } => {
                let config = lstm.config();
                let (width, rows) = (
                    config.output_size(),
                    config.num_layers * config.directions(),
                );
                let h = [rows, batch, width];
                let c = [rows, batch, config.hidden_size];
                let x = [batch, time, config.input_size];
                let y = [batch, time, config.directions() * width];
                let part = |name: &str, shape: [i64; 3]| match reference.inputs.get(name) {
                    None => Ok(None),
                    Some(tensor) if tensor.size() == shape && is_float(tensor.kind()) => {
                        to(tensor).map(Some)
                    }
                    Some(tensor) => {
                        let (size, kind) = (tensor.size(), tensor.kind());
                        let message = format!("must be {shape:?} floats, not {size:?} {kind:?}");
                        Err(refusal(name, message))
                    }
                };
                let missing = || refusal("x", "is missing".to_owned());
                let x = part("x", x)?.ok_or_else(missing)?;
                let start = match (part("h0", h)?, part("c0", c)?) {
                    (Some(h), Some(c)) => State { h, c },
                    (None, None) => lstm.zero_state(batch, &x),
                    _ => {
                        return Err(refusal(
                            "h0 and c0",
                            "must both be there, or neither".to_owned(),
                        ));
                    }
                };
                let targets = (
                    part("target_y", y)?,
                    part("target_h_n", h)?,
                    part("target_c_n", c)?,
                );
                let targets = match targets {
                    (Some(y), Some(h), Some(c)) => Some([y, h, c]),
                    _ => None,
                };
                What::Read {
                    lstm,
                    x,
                    start,
                    targets,
                }
            }
        };
        Ok(Task { what, lengths })
    }

    fn lstm(&self) -> &Lstm {
        match &self.what {
            What::Classify { model, .. } => model.lstm(),
            What::Read { lstm, .. } => lstm,
        }
    }

    /// New ones, that gradients can go to.
    fn roots(&self) -> Result<Roots> {
        let leaf = |tensor: &Tensor| tensor.copy().set_requires_grad(true);
        Ok(match &self.what {
            What::Classify { model, batch, .. } => Roots {
                vectors: model.embed(batch, Mode::Eval)?,
                start: None,
            },
            What::Read { x, start, .. } => Roots {
                vectors: leaf(x),
                start: Some(State {
                    h: leaf(&start.h),
                    c: leaf(&start.c),
                }),
            },
        })
    }

    fn call<'b>(&'b self, roots: &'b Roots, engine: Engine) -> Call<'b> {
        Call {
            lengths: Some(&self.lengths),
            state: roots.start.as_ref(),
            engine,
            ..Call::default()
        }
    }

    /// `[B, T, 1]`, true behind the ends.
    fn padding(&self, like: &Tensor) -> Tensor {
        let lengths = Tensor::from_slice(&self.lengths).to_device(like.device());
        let steps = Tensor::arange(like.size()[1], (Kind::Int64, like.device()));
        let padding = steps.unsqueeze(0).ge_tensor(&lengths.unsqueeze(-1));
        padding.unsqueeze(-1)
    }

    /// Our numbers for every stage but the optimizer's steps. The fused engine
    /// shows no gates and no cell state of single steps: those are left out.
    pub fn run(&self, subject: &Subject, engine: Engine, gradients: bool) -> Result<Tensors> {
        let roots = self.roots()?;
        let mut values = tch::no_grad(|| self.steps_of_layers(&roots, engine))?;
        if let What::Classify { .. } = self.what {
            let padding = self.padding(&roots.vectors);
            let clean = roots.vectors.masked_fill(&padding, 0.0);
            values.push(("embedded".to_owned(), clean));
        }
        let pass = self.forward(&roots, engine)?;
        values.extend(
            pass.values
                .into_iter()
                .map(|(name, tensor)| (name.to_owned(), tensor)),
        );
        if let Some(loss) = pass.loss {
            values.push(("loss".to_owned(), loss.shallow_clone()));
            if gradients {
                values.extend(gradients_of(&loss, subject, &roots)?);
            }
        }
        Ok(on_cpu(values))
    }

    /// Every gate and state of every step and layer, as far as the engine shows
    /// them.
    fn steps_of_layers(&self, roots: &Roots, engine: Engine) -> Result<Vec<(String, Tensor)>> {
        let mut values = Vec::new();
        let (lstm, call) = (self.lstm(), self.call(roots, engine));
        let directions = lstm.config().directions();
        match engine {
            Engine::Plain => {
                let (_, traces) = lstm.trace(&roots.vectors, &call)?;
                for (n, trace) in (0..).zip(traces) {
                    let layer = layer_name(n / directions, n % directions == 1);
                    let parts = [trace.i, trace.f, trace.g, trace.o, trace.c, trace.h];
                    let named = OF_A_STEP.iter().zip(parts);
                    values.extend(named.map(|(part, tensor)| (format!("{layer}/{part}"), tensor)));
                }
            }
            Engine::Auto | Engine::Fused | Engine::Native => {
                for layer in 0..lstm.config().num_layers {
                    // The layers up to this one, as an LSTM: its outputs are h.
                    let below = copy(lstm, layer + 1, Tensor::shallow_clone)?;
                    let rows = (layer + 1) * directions;
                    let start = roots.start.as_ref().map(|start| State {
                        h: start.h.narrow(0, 0, rows),
                        c: start.c.narrow(0, 0, rows),
                    });
                    let call = Call {
                        state: start.as_ref(),
                        ..call
                    };
                    let output = below.forward(&roots.vectors, &call)?.output;
                    for (direction, h) in output.chunk(directions, -1).into_iter().enumerate() {
                        values.push((format!("{}/h", layer_name(layer, direction == 1)), h));
                    }
                }
            }
        }
        Ok(values)
    }

    /// From the roots to the loss.
    fn forward(&self, roots: &Roots, engine: Engine) -> Result<Pass> {
        let outputs = |read: Output| {
            vec![
                ("lstm/y", read.output),
                ("lstm/h_n", read.state.h),
                ("lstm/c_n", read.state.c),
            ]
        };
        match &self.what {
            What::Classify { model, truth, .. } => {
                let pass = crate::model::Pass {
                    engine,
                    ..Default::default()
                };
                let reading = model.read(&roots.vectors, &self.lengths, pass)?;
                let probabilities = model.probabilities(&reading.logits);
                let loss = model.loss(&reading.logits, truth);
                let mut values = outputs(reading.lstm);
                values.extend([
                    ("pooled", reading.pooled),
                    ("logits", reading.logits),
                    ("probabilities", probabilities),
                ]);
                Ok(Pass {
                    values,
                    loss: Some(loss),
                })
            }
            What::Read { lstm, targets, .. } => {
                let read = lstm.forward(&roots.vectors, &self.call(roots, engine))?;
                let loss = targets
                    .as_ref()
                    .map(|targets| self.distance(&read, targets));
                Ok(Pass {
                    values: outputs(read),
                    loss,
                })
            }
        }
    }

    /// The loss of an LSTM by itself: the mean squared distance of outputs and
    /// final states from their targets, zero in the padding.
    fn distance(&self, read: &Output, [y, h, c]: &[Tensor; 3]) -> Tensor {
        let mean = |ours: &Tensor, target: &Tensor| (ours - target).square().mean(ours.kind());
        let y = y.masked_fill(&self.padding(y), 0.0);
        mean(&read.output, &y) + mean(&read.state.h, h) + mean(&read.state.c, c)
    }

    /// Why the LSTM's outputs are not the reference's. `digests_hold`: our
    /// parameters have the dtype of their file.
    pub fn explain(
        &self,
        reference: &Reference,
        tolerance: f64,
        digests_hold: bool,
    ) -> Result<Option<Diagnosis>> {
        let roots = self.roots()?;
        let lstm_part = |name: &str| name.strip_prefix("lstm/").map(str::to_owned);
        let expected: Tensors = reference
            .expected
            .iter()
            .filter_map(|(name, tensor)| Some((lstm_part(name)?, tensor.shallow_clone())))
            .collect();
        let pools_last = match &self.what {
            What::Classify { model, .. } => model.config().pooling == Pooling::Last,
            What::Read { .. } => false,
        };
        let weights = reference.origin.iter().flat_map(|origin| &origin.weights);
        let digests: BTreeMap<String, String> = weights
            .filter_map(|(name, weight)| {
                let name = match self.what {
                    What::Classify { .. } => name.strip_prefix("lstm.")?,
                    What::Read { .. } => name,
                };
                Some((name.to_owned(), weight.sha256.clone()))
            })
            .collect();
        diagnose(&Evidence {
            lstm: self.lstm(),
            input: &roots.vectors.detach(),
            lengths: Some(&self.lengths),
            state: roots.start.as_ref(),
            expected: &expected,
            pooled: reference.expected.get("pooled").filter(|_| pools_last),
            digests: (digests_hold && !digests.is_empty()).then_some(&digests),
            tolerance,
        })
    }

    /// Optimizer steps on the one batch: the loss before each, and every
    /// parameter after the last. The subject's parameters are changed.
    pub fn train(&self, subject: &Subject, engine: Engine, steps: &Steps) -> Result<Tensors> {
        let parameters: Vec<(String, Tensor)> = subject
            .parameters()
            .into_iter()
            .map(|(name, tensor)| (name, tensor.shallow_clone()))
            .collect();
        let group = Group {
            parameters: parameters
                .iter()
                .map(|(name, tensor)| (name.clone(), tensor.shallow_clone()))
                .collect(),
            rate_factor: 1.0,
            weight_decay: steps.weight_decay,
        };
        let settings = OptimizerSettings {
            kind: steps.optimizer,
            momentum: steps.momentum,
            ..OptimizerSettings::default()
        };
        let mut optimizer = Optimizer::new(&settings, vec![group])?;
        let mut losses = Vec::new();
        for _ in 0..steps.steps {
            let Some(loss) = self.forward(&self.roots()?, engine)?.loss else {
                let message = "is missing; a bare reference has no loss";
                return Err(Error::tensor("target_y", message));
            };
            optimizer.zero_grad();
            loss.backward();
            optimizer.step(steps.learning_rate)?;
            losses.push(loss.detach());
        }
        let mut values: Vec<(String, Tensor)> = parameters
            .into_iter()
            .map(|(name, tensor)| (format!("steps/{name}"), tensor))
            .collect();
        if !losses.is_empty() {
            values.push(("steps/loss".to_owned(), Tensor::stack(&losses, 0)));
        }
        Ok(on_cpu(values))
    }
}

/// Whether a tensor of this dtype is one of those that are compared.
pub(super) fn is_float(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Double | Kind::Float | Kind::Half | Kind::BFloat16
    )
}

struct Pass {
    values: Vec<(&'static str, Tensor)>,
    /// None where a bare reference has no targets.
    loss: Option<Tensor>,
}

/// The gradient of every root and parameter; zero where it has no influence.
fn gradients_of(loss: &Tensor, subject: &Subject, roots: &Roots) -> Result<Vec<(String, Tensor)>> {
    let mut of: Vec<(String, &Tensor)> = match &roots.start {
        None => vec![("embedded".to_owned(), &roots.vectors)],
        Some(start) => vec![
            ("x".to_owned(), &roots.vectors),
            ("h0".to_owned(), &start.h),
            ("c0".to_owned(), &start.c),
        ],
    };
    of.extend(subject.parameters());
    let tensors: Vec<&Tensor> = of.iter().map(|(_, tensor)| *tensor).collect();
    let gradients = Tensor::f_run_backward(&[loss], &tensors, false, false)?;
    let named = of.iter().zip(gradients).map(|((name, tensor), gradient)| {
        let gradient = match gradient.defined() {
            true => gradient,
            false => tensor.zeros_like(),
        };
        (format!("grad/{name}"), gradient)
    });
    Ok(named.collect())
}

fn on_cpu(values: Vec<(String, Tensor)>) -> Tensors {
    let detached = |tensor: Tensor| tensor.detach().to_device(Device::Cpu);
    values
        .into_iter()
        .map(|(name, tensor)| (name, detached(tensor)))
        .collect()
}
