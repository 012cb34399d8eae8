//! The tasks: what is read, what is to be answered, and what a model that remembers
//! nothing would lose.
//!
//! A batch is a pure function of (seed, task, split, number): every draw is a hash.

use std::path::Path;

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Reduction, Tensor};

use super::mnist::{CLASSES, Mnist, PIXELS};
use crate::error::{Error, Result};
use crate::random::Stream;

/// Symbols to be remembered in the copy task.
pub const COPIED: i64 = 10;
/// From how many they are drawn.
pub const ALPHABET: i64 = 8;
/// What stands between, and what asks for the answer.
const BLANK: i64 = ALPHABET;
const DELIMITER: i64 = ALPHABET + 1;

/// A task that asks for memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// Copy memory (Hochreiter and Schmidhuber 1997; in the form of Arjovsky, Shah and
    /// Bengio, "Unitary evolution recurrent neural networks", 2016): ten symbols of
    /// eight, `blanks - 1` blanks, a delimiter, ten blanks, during which the ten
    /// symbols are to be said in their order. Before that the answer is a blank.
    Copy {
        /// `T` of the papers: steps from the last symbol until the recall begins.
        blanks: i64,
    },
    /// The adding problem (Hochreiter and Schmidhuber 1997, in the form of Arjovsky,
    /// Shah and Bengio 2016): numbers uniform in [0, 1), two of them marked, one in
    /// each half; the answer is their sum.
    Adding {
        /// How many numbers.
        length: i64,
    },
    /// The digit of an image that is read pixel by pixel (Le, Jaitly and Hinton, "A
    /// simple way to initialize recurrent networks of rectified linear units", 2015).
    Mnist {
        /// Whether the pixels come in a random order, the same for every image.
        permuted: bool,
    },
}

/// Which sequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// To learn from.
    Train,
    /// To measure on.
    Test,
}

/// Sequences and what is to be answered.
#[derive(Debug)]
pub struct Batch {
    /// `[T, B, I]` f32.
    pub input: Tensor,
    /// The right answers at the last `A` steps: classes `[A, B]` i64, or a number
    /// `[1, B]` f32 in the adding problem. All `T` steps in the copy task.
    pub target: Tensor,
}

impl Task {
    /// The name of its files: `copy-50`.
    pub fn name(self) -> String {
        match self {
            Task::Copy { blanks } => format!("copy-{blanks}"),
            Task::Adding { length } => format!("adding-{length}"),
            Task::Mnist { permuted: false } => "mnist".to_owned(),
            Task::Mnist { permuted: true } => "pmnist".to_owned(),
        }
    }

    /// For people.
    pub fn title(self) -> String {
        match self {
            Task::Copy { blanks } => format!("Copy memory, T = {blanks}"),
            Task::Adding { length } => format!("Adding problem, T = {length}"),
            Task::Mnist { permuted: false } => "Sequential MNIST".to_owned(),
            Task::Mnist { permuted: true } => "Permuted sequential MNIST".to_owned(),
        }
    }

    /// What is read, what is asked.
    pub fn explanation(self) -> String {
        match self {
            Task::Copy { blanks } => format!(
                "{COPIED} symbols of {ALPHABET}, {} blanks, a delimiter, {COPIED} blanks: {} steps. \
                 From the delimiter on the symbols are to be said in their order, before that a \
                 blank at each step. The loss is the mean cross entropy over all steps.",
                blanks - 1,
                self.steps()
            ),
            Task::Adding { length } => format!(
                "{length} numbers uniform in [0, 1), of which two are marked, one in each half. \
                 Behind the last one their sum is asked. The loss is the squared error."
            ),
            Task::Mnist { permuted } => format!(
                "The {PIXELS} pixels of a digit, one at a step{}. Behind the last one the digit is \
                 asked. The loss is the cross entropy.",
                match permuted {
                    true => ", in an order that was drawn once for all images",
                    false => ", row by row",
                }
            ),
        }
    }

    /// `T`: how many steps a sequence has.
    pub fn steps(self) -> i64 {
        match self {
            Task::Copy { blanks } => blanks + 2 * COPIED,
            Task::Adding { length } => length,
            Task::Mnist { .. } => PIXELS,
        }
    }

    /// `I`: how many numbers are read at a step.
    pub fn input_size(self) -> i64 {
        match self {
            Task::Copy { .. } => ALPHABET + 2,
            Task::Adding { .. } => 2,
            Task::Mnist { .. } => 1,
        }
    }

    /// How many numbers are put out at a step: logits, or the sum.
    pub fn output_size(self) -> i64 {
        match self {
            Task::Copy { .. } => ALPHABET + 1,
            Task::Adding { .. } => 1,
            Task::Mnist { .. } => CLASSES,
        }
    }

    /// `A`: how many of the last steps hold the answer.
    pub fn answer_steps(self) -> i64 {
        match self {
            Task::Copy { .. } => COPIED,
            Task::Adding { .. } | Task::Mnist { .. } => 1,
        }
    }

    /// The loss of the best answer that remembers nothing.
    pub fn baseline(self) -> f64 {
        match self {
            Task::Copy { .. } => COPIED as f64 * self.answer_baseline() / self.steps() as f64,
            _ => self.answer_baseline(),
        }
    }

    /// The same of [`answer_losses`](Self::answer_losses).
    pub fn answer_baseline(self) -> f64 {
        match self {
            Task::Copy { .. } => (ALPHABET as f64).ln(),
            Task::Adding { .. } => 1.0 / 6.0,
            Task::Mnist { .. } => (CLASSES as f64).ln(),
        }
    }

    /// What the baseline is, as a formula and in words.
    pub fn baseline_formula(self) -> String {
        let value = self.baseline();
        match self {
            Task::Copy { blanks } => format!(
                "10 ln 8 / (T + 20) = 10 ln 8 / {} = {value:.5}: blanks where blanks belong, and \
                 one of 8 symbols at random in the last 10 steps",
                blanks + 2 * COPIED
            ),
            Task::Adding { .. } => format!(
                "1/6 = {value:.5}, which some papers print as 0.1767: to say 1 always, the mean of a \
                 sum whose variance is 2 · 1/12"
            ),
            Task::Mnist { .. } => {
                format!("ln 10 = {value:.5}: one of 10 digits at random")
            }
        }
    }

    /// Which loss the gradients of the study are those of.
    pub fn answer_loss_text(self) -> &'static str {
        match self {
            Task::Copy { .. } => {
                "the cross entropy of the ten recalled symbols (the last ten steps), their mean"
            }
            Task::Adding { .. } => "the squared error of the sum behind the last step",
            Task::Mnist { .. } => "the cross entropy of the digit behind the last step",
        }
    }

    /// The longest range of chrono initialisation: the length of a sequence.
    pub fn t_max(self) -> i64 {
        self.steps()
    }

    /// Errors if a length is not one.
    pub fn validate(self) -> Result<()> {
        const LONGEST: i64 = 100_000;
        let (length, least) = match self {
            Task::Copy { blanks } => (blanks, 1),
            Task::Adding { length } => (length, 4),
            Task::Mnist { .. } => return Ok(()),
        };
        match (least..=LONGEST).contains(&length) {
            true => Ok(()),
            false => {
                let message = format!("T must be {least} to {LONGEST}, not {length}");
                Err(Error::config(self.name(), message))
            }
        }
    }

    /// The batch `number` of `split`, `size` sequences.
    ///
    /// Errors if the task needs images and there are none.
    pub fn batch(
        self,
        images: Option<&Mnist>,
        seed: u64,
        split: Split,
        number: u64,
        size: i64,
    ) -> Result<Batch> {
        let name = match split {
            Split::Train => "train",
            Split::Test => "test",
        };
        let stream = Stream::new(seed, &format!("highway {} {name}", self.name())).at(number);
        match self {
            Task::Copy { .. } => Ok(self.copy(stream, size)),
            Task::Adding { length } => Ok(adding(length, stream, size)),
            Task::Mnist { permuted } => match images {
                None => Err(Error::config(
                    "--mnist",
                    "mnist and pmnist need a folder of images",
                )),
                Some(images) => {
                    let order = permuted.then(|| Stream::new(seed, "highway pixel order"));
                    Ok(images.batch(split, order, stream, size))
                }
            },
        }
    }

    fn copy(self, stream: Stream, size: i64) -> Batch {
        let (time, width) = (self.steps(), self.input_size());
        let mut input = vec![0f32; (time * size * width) as usize];
        let mut target = vec![BLANK; (time * size) as usize];
        for b in 0..size {
            let symbol = |k: i64| {
                let counter = (b * COPIED + k) as u64;
                (stream.uniform(counter) * ALPHABET as f64) as i64
            };
            for t in 0..time {
                let read = match t {
                    t if t < COPIED => symbol(t),
                    t if t == time - COPIED - 1 => DELIMITER,
                    _ => BLANK,
                };
                input[((t * size + b) * width + read) as usize] = 1.0;
                if t >= time - COPIED {
                    target[(t * size + b) as usize] = symbol(t - (time - COPIED));
                }
            }
        }
        Batch {
            input: Tensor::from_slice(&input).view([time, size, width]),
            target: Tensor::from_slice(&target).view([time, size]),
        }
    }

    /// The loss that is trained on, a scalar, of outputs `[T, B, O]`.
    pub fn loss(self, outputs: &Tensor, target: &Tensor) -> Tensor {
        self.losses(outputs, target).mean(outputs.kind())
    }

    /// The same of each sequence `[B]`.
    pub fn losses(self, outputs: &Tensor, target: &Tensor) -> Tensor {
        match self {
            Task::Copy { .. } => {
                cross_entropies(outputs, target).mean_dim(0i64, false, None::<Kind>)
            }
            _ => self.answer_losses(outputs, target),
        }
    }

    /// The loss of the final answer of each sequence `[B]`, of outputs `[T, B, O]` or
    /// those of the last steps: of the copy task the mean over the recalled symbols, of
    /// the others the loss itself.
    pub fn answer_losses(self, outputs: &Tensor, target: &Tensor) -> Tensor {
        let (outputs, target) = (self.answer(outputs), self.answer(target));
        let losses = match self {
            Task::Adding { .. } => (outputs.squeeze_dim(-1) - target).square(),
            _ => cross_entropies(&outputs, &target),
        };
        losses.mean_dim(0i64, false, None::<Kind>)
    }

    /// Of each sequence the share of the answer that is right `[B]`: symbols, the digit,
    /// or a sum that is less than 0.04 off (Hochreiter and Schmidhuber's criterion).
    pub fn right(self, outputs: &Tensor, target: &Tensor) -> Tensor {
        let (outputs, target) = (self.answer(outputs), self.answer(target));
        let right = match self {
            Task::Adding { .. } => (outputs.squeeze_dim(-1) - target).abs().lt(0.04),
            _ => outputs.argmax(-1, false).eq_tensor(&target),
        };
        right
            .to_kind(Kind::Double)
            .mean_dim(0i64, false, None::<Kind>)
    }

    /// The last `A` steps.
    fn answer(self, all: &Tensor) -> Tensor {
        let (steps, answer) = (all.size()[0], self.answer_steps());
        all.narrow(0, steps - answer, answer)
    }
}

/// Of each answer: logits `[A, B, C]` and classes `[A, B]`.
fn cross_entropies(outputs: &Tensor, target: &Tensor) -> Tensor {
    let (logits, classes) = (outputs.flatten(0, 1), target.flatten(0, 1));
    let (weight, each) = (None::<&Tensor>, Reduction::None);
    let losses = logits.cross_entropy_loss(&classes, weight, each, -100, 0.0);
    losses.view_as(target)
}

fn adding(length: i64, stream: Stream, size: i64) -> Batch {
    let mut input = vec![0f32; (length * size * 2) as usize];
    let mut target = vec![0f32; size as usize];
    let half = length / 2;
    for b in 0..size {
        let stream = stream.at(b as u64);
        let at = |low: i64, high: i64, counter: u64| {
            low + (stream.uniform(counter) * (high - low) as f64) as i64
        };
        let marked = [at(0, half, 0), at(half, length, 1)];
        for t in 0..length {
            let place = ((t * size + b) * 2) as usize;
            input[place] = stream.uniform(2 + t as u64) as f32;
            if marked.contains(&t) {
                input[place + 1] = 1.0;
                target[b as usize] += input[place];
            }
        }
    }
    Batch {
        input: Tensor::from_slice(&input).view([length, size, 2]),
        target: Tensor::from_slice(&target).view([1, size]),
    }
}

impl Batch {
    /// On a device, and with numbers of this kind.
    pub fn to(&self, device: Device, kind: Kind) -> Batch {
        let target = match self.target.kind() {
            Kind::Int64 => self.target.to_device(device),
            _ => self.target.to_device(device).to_kind(kind),
        };
        Batch {
            input: self.input.to_device(device).to_kind(kind),
            target,
        }
    }
}

/// The images that some of the tasks need.
///
/// Errors if they need them and there is no folder, or if there is one for nothing, or
/// a file in it is not what it should be.
pub fn images(tasks: &[Task], folder: Option<&Path>) -> Result<Option<Mnist>> {
    let wanted = tasks.iter().any(|task| matches!(task, Task::Mnist { .. }));
    match (wanted, folder) {
        (true, None) => Err(Error::config(
            "--mnist",
            "mnist and pmnist need a folder of MNIST's four IDX files; give --mnist DIR",
        )),
        (false, Some(_)) => Err(Error::config(
            "--mnist",
            "is for mnist and pmnist, which --task leaves out; leave one of the two out",
        )),
        (true, Some(folder)) => Mnist::open(folder).map(Some),
        (false, None) => Ok(None),
    }
}
