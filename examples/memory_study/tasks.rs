//! The two tasks: what a sequence shows, what is asked at its end, and what the best
//! answer without memory loses. Shapes: `T` time steps, `B` sequences, `I` inputs and `O`
//! outputs of a time step.

use cellway::random::Stream;
use serde::Serialize;
use tch::{Kind, Reduction, Tensor};

/// Symbols to be remembered in the copy task, and how many they are drawn from.
const COPIED: i64 = 10;
const ALPHABET: i64 = 8;
/// The symbol between those and their recall, and the one that asks for the recall.
const BLANK: i64 = ALPHABET;
const DELIMITER: i64 = ALPHABET + 1;

/// A task that asks for memory (Hochreiter and Schmidhuber 1997, in the form of Arjovsky,
/// Shah and Bengio, "Unitary evolution recurrent neural networks", 2016).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// Ten symbols of eight, blanks, a delimiter and ten blanks, during which the ten
    /// symbols are to be recalled in their order; before that the answer is a blank. The
    /// number is the papers' `T`: time steps from the last symbol until the recall.
    Copy(i64),
    /// So many numbers uniform in [0, 1), two of them marked, one in each half. The answer
    /// is the sum of the two.
    Adding(i64),
}

/// Sequences `[T, B, I]` and what is to be answered at their end: classes `[T, B]` in the
/// copy task, sums `[1, B]` in the adding problem.
#[derive(Debug)]
pub struct Batch {
    pub input: Tensor,
    pub target: Tensor,
}

/// A stream of random numbers. The prefix is that of the run in `docs/highway`, whose
/// numbers can be computed again with it.
pub fn stream(seed: u64, name: &str) -> Stream {
    Stream::new(seed, &format!("highway {name}"))
}

impl Task {
    /// The name in files: `copy-50`.
    pub fn name(self) -> String {
        match self {
            Task::Copy(delay) => format!("copy-{delay}"),
            Task::Adding(length) => format!("adding-{length}"),
        }
    }

    /// `T`.
    pub fn steps(self) -> i64 {
        match self {
            Task::Copy(delay) => delay + 2 * COPIED,
            Task::Adding(length) => length,
        }
    }

    /// `I` and `O`.
    pub fn sizes(self) -> (i64, i64) {
        match self {
            Task::Copy(_) => (ALPHABET + 2, ALPHABET + 1),
            Task::Adding(_) => (2, 1),
        }
    }

    /// How many of the last time steps hold the answer.
    pub fn answer_steps(self) -> i64 {
        match self {
            Task::Copy(_) => COPIED,
            Task::Adding(_) => 1,
        }
    }

    /// The loss of the best answer that remembers nothing: blanks and then one of eight
    /// symbols at random, 10 ln 8 / (T + 20); or always 1, the mean of a sum whose variance
    /// is 2/12 (some papers print 0.1767).
    pub fn baseline(self) -> f64 {
        match self {
            Task::Copy(_) => COPIED as f64 * (ALPHABET as f64).ln() / self.steps() as f64,
            Task::Adding(_) => 1.0 / 6.0,
        }
    }

    /// Batch `number` of a split, `train` or `test`: a pure function of its arguments.
    pub fn batch(self, seed: u64, split: &str, number: u64, size: i64) -> Batch {
        let stream = stream(seed, &format!("{} {split}", self.name())).at(number);
        match self {
            Task::Copy(_) => copy(self.steps(), stream, size),
            Task::Adding(length) => adding(length, stream, size),
        }
    }

    /// Losses `[n, B]` of outputs `[n, B, O]` at the last `n` time steps: cross entropies
    /// or squared errors.
    pub fn losses(self, outputs: &Tensor, target: &Tensor) -> Tensor {
        let target = last(target, outputs.size()[0]);
        match self {
            Task::Copy(_) => {
                let (logits, classes) = (outputs.flatten(0, 1), target.flatten(0, 1));
                let (weight, each) = (None::<&Tensor>, Reduction::None);
                let losses = logits.cross_entropy_loss(&classes, weight, each, -100, 0.0);
                losses.view_as(&target)
            }
            Task::Adding(_) => (outputs.squeeze_dim(-1) - target).square(),
        }
    }

    /// Which parts of the answer are right: recalled symbols, or a sum that is less than
    /// 0.04 off (Hochreiter and Schmidhuber's criterion).
    pub fn right(self, outputs: &Tensor, target: &Tensor) -> Tensor {
        let steps = self.answer_steps();
        let (outputs, target) = (last(outputs, steps), last(target, steps));
        match self {
            Task::Copy(_) => outputs.argmax(-1, false).eq_tensor(&target),
            Task::Adding(_) => (outputs.squeeze_dim(-1) - target).abs().lt(0.04),
        }
    }
}

impl Batch {
    /// The same sequences with numbers in f64.
    pub fn to_double(&self) -> Batch {
        let target = match self.target.kind() {
            Kind::Int64 => self.target.shallow_clone(),
            _ => self.target.to_kind(Kind::Double),
        };
        Batch {
            input: self.input.to_kind(Kind::Double),
            target,
        }
    }
}

/// The last `steps` time steps.
pub fn last(all: &Tensor, steps: i64) -> Tensor {
    all.narrow(0, all.size()[0] - steps, steps)
}

fn copy(time: i64, stream: Stream, size: i64) -> Batch {
    let width = ALPHABET + 2;
    let mut input = vec![0f32; (time * size * width) as usize];
    let mut target = vec![BLANK; (time * size) as usize];
    for b in 0..size {
        let symbol = |k: i64| (stream.uniform((b * COPIED + k) as u64) * ALPHABET as f64) as i64;
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

fn adding(time: i64, stream: Stream, size: i64) -> Batch {
    let mut input = vec![0f32; (time * size * 2) as usize];
    let mut target = vec![0f32; size as usize];
    let half = time / 2;
    for b in 0..size {
        let stream = stream.at(b as u64);
        let first = (stream.uniform(0) * half as f64) as i64;
        let second = half + (stream.uniform(1) * (time - half) as f64) as i64;
        for t in 0..time {
            let at = ((t * size + b) * 2) as usize;
            input[at] = stream.uniform(2 + t as u64) as f32;
            if t == first || t == second {
                input[at + 1] = 1.0;
                target[b as usize] += input[at];
            }
        }
    }
    Batch {
        input: Tensor::from_slice(&input).view([time, size, 2]),
        target: Tensor::from_slice(&target).view([1, size]),
    }
}
