//! One task and one model: trained, measured, and looked into.

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::memory::{Memory, rounded};
use super::mnist::Mnist;
use super::network::{ModelKind, Network};
use super::tasks::{Split, Task};
use crate::error::{Error, Result};
use crate::metrics::Metric;
use crate::random::Stream;
use crate::train::clip_norm;
use crate::train::optim::{Group, Optimizer, OptimizerSettings};
use crate::train::schedule::Schedule;
use crate::train::{ScheduleConfig, Span};

/// So many points of a loss curve are kept at most.
const CURVE: u64 = 100;
/// Sequences that the test loss is measured on at once.
const AT_ONCE: i64 = 50;

/// How a task is learnt: the same for every model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lesson {
    /// What is learnt.
    pub task: Task,
    /// Steps of the optimizer, each with a batch that was never seen before (of MNIST:
    /// drawn anew).
    pub steps: u64,
}

/// What is the same for all tasks and models.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    /// Of everything that is drawn: batches, parameters, the order of pixels.
    pub seed: u64,
    /// `H`.
    pub hidden: i64,
    /// Sequences of a batch.
    pub batch: i64,
    /// Of the LSTMs. By Adam, with the numbers of `torch.optim.Adam` for the rest; the
    /// rate rises to this within the first steps and stays.
    pub learning_rate: f64,
    /// Of the tanh RNN, whose loss goes up and down with that of the LSTMs.
    pub rnn_learning_rate: f64,
    /// Within so many steps.
    pub warmup: u64,
    /// The largest norm of all gradients together; longer ones are scaled to it.
    pub clip_norm: f64,
    /// Sequences that the test loss is measured on.
    pub test: i64,
    /// Sequences whose states are looked into.
    pub looked_into: i64,
}

/// What came of one model on one task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// What was learnt.
    pub task: Task,
    /// By whom.
    pub model: ModelKind,
    /// Steps of the optimizer.
    pub steps: u64,
    /// The number of parameters, those of the head included.
    pub parameters: usize,
    /// The step, and the mean of the training losses up to it since the point before.
    /// Each of them is of sequences that were not seen before.
    pub curve: Vec<(u64, f64)>,
    /// The loss on test sequences, as that of training.
    pub test_loss: f64,
    /// Its standard error: the sequences are a sample.
    pub test_error: f64,
    /// The loss of the final answer alone.
    pub answer_loss: f64,
    /// The share of right answers on test sequences: symbols, digits, or sums that are
    /// less than 0.04 off.
    pub right: f64,
    /// The mean norm of the gradients of the parameters before clipping.
    pub gradient_norm: f64,
    /// Before the first step.
    pub before: Memory,
    /// Behind the last.
    pub after: Memory,
    /// How long all of it took.
    pub seconds: f64,
}

/// Who watches, and may stop it.
pub trait Watch {
    /// A step is done; the mean loss of the last ones.
    fn stepped(&mut self, step: u64, loss: f64);
    /// Asked at each step.
    fn wants_to_stop(&self) -> bool {
        false
    }
}

/// Nobody watches.
impl Watch for () {
    fn stepped(&mut self, _: u64, _: f64) {}
}

/// Trains a model on a task and looks into it; none if it was asked to stop.
///
/// On the CPU with one thread a pure function of its arguments, but for the seconds.
///
/// Errors if the loss becomes NaN or infinite, a setting is impossible, or the task
/// needs images and there are none.
pub fn run(
    setting: &Setting,
    lesson: &Lesson,
    model: ModelKind,
    images: Option<&Mnist>,
    device: Device,
    watch: &mut dyn Watch,
) -> Result<Option<Outcome>> {
    let started = std::time::Instant::now();
    let task = lesson.task;
    task.validate()?;
    let stream = Stream::new(setting.seed, &format!("highway parameters {}", task.name()));
    let network = Network::new(model, task, setting.hidden, stream)?.to(device, Kind::Float)?;
    let batch = |split, number, size| {
        let batch = task.batch(images, setting.seed, split, number, size)?;
        Ok::<_, Error>(batch.to(device, Kind::Float))
    };
    let look = || {
        let batch = batch(Split::Test, u64::MAX, setting.looked_into)?.to(device, Kind::Double);
        Memory::of(&network.to(device, Kind::Double)?, task, &batch)
    };
    let before = look()?;

    let parameters = network.parameters();
    let group = Group {
        parameters: network.parameters(),
        rate_factor: 1.0,
        weight_decay: 0.0,
    };
    let mut optimizer = Optimizer::new(&OptimizerSettings::default(), vec![group])?;
    optimizer.fuse();
    let schedule = schedule(setting, lesson, model);
    let mut curve = Curve::new(lesson.steps);
    let mut norms = 0.0;
    for step in 0..lesson.steps {
        if watch.wants_to_stop() {
            return Ok(None);
        }
        let batch = batch(Split::Train, step, setting.batch)?;
        let outputs = network.outputs(&batch.input, asked(task))?;
        let loss = task.loss(&outputs, &batch.target);
        optimizer.zero_grad();
        loss.backward();
        let tensors = parameters.iter().map(|(_, tensor)| tensor);
        let norm = clip_norm(tensors, Some(setting.clip_norm));
        let norm = norm.map_or(0.0, |norm| norm.double_value(&[]));
        let loss = loss.double_value(&[]);
        if !loss.is_finite() || !norm.is_finite() {
            return Err(Error::NonFinite(format!(
                "{} {}: step {}: the loss is {loss}, the norm of the gradients {norm}; take a lower rate",
                task.name(),
                model.name(),
                step + 1
            )));
        }
        optimizer.step(schedule.rate(step))?;
        norms += norm;
        let mean = curve.add(loss);
        watch.stepped(step + 1, mean);
    }

    let mut test = Test::default();
    let mut number = 0;
    while test.count < setting.test {
        let size = AT_ONCE.min(setting.test - test.count);
        let batch = batch(Split::Test, number, size)?;
        let _no_grad = tch::no_grad_guard();
        let outputs = network.outputs(&batch.input, asked(task))?;
        test.add(task, &outputs, &batch.target, size);
        number += 1;
    }
    let after = look()?;
    let of_each = |sum: f64| rounded(sum / setting.test as f64);
    Ok(Some(Outcome {
        task,
        model,
        steps: lesson.steps,
        parameters: parameters.iter().map(|(_, tensor)| tensor.numel()).sum(),
        curve: curve.points,
        test_loss: of_each(test.loss),
        test_error: rounded(test.error()),
        answer_loss: of_each(test.answer),
        right: of_each(test.right),
        gradient_norm: rounded(norms / lesson.steps as f64),
        before,
        after,
        seconds: (started.elapsed().as_secs_f64() * 10.0).round() / 10.0,
    }))
}

/// At how many of the last steps the outputs are trained.
fn asked(task: Task) -> i64 {
    match task {
        Task::Copy { .. } => task.steps(),
        _ => task.answer_steps(),
    }
}

fn schedule(setting: &Setting, lesson: &Lesson, model: ModelKind) -> Schedule {
    let rate = match model.is_lstm() {
        true => setting.learning_rate,
        false => setting.rnn_learning_rate,
    };
    let config = ScheduleConfig {
        warmup: (setting.warmup > 0).then_some(Span::Steps(setting.warmup)),
        ..ScheduleConfig::default()
    };
    Schedule::new(&config, rate, Metric::Loss, lesson.steps, 1)
}

/// The losses of all steps as at most [`CURVE`] means.
struct Curve {
    points: Vec<(u64, f64)>,
    steps: u64,
    done: u64,
    sum: f64,
    count: u64,
}

impl Curve {
    fn new(steps: u64) -> Curve {
        Curve {
            points: Vec::new(),
            steps,
            done: 0,
            sum: 0.0,
            count: 0,
        }
    }

    /// Gives the mean since the last point.
    fn add(&mut self, loss: f64) -> f64 {
        self.done += 1;
        self.sum += loss;
        self.count += 1;
        let mean = self.sum / self.count as f64;
        let points = CURVE.min(self.steps);
        // The n-th point is at ceil(n steps / points).
        let next = ((self.points.len() as u64 + 1) * self.steps).div_ceil(points);
        if self.done >= next {
            self.points.push((self.done, rounded(mean)));
            (self.sum, self.count) = (0.0, 0);
        }
        mean
    }
}

/// Sums over test sequences.
#[derive(Default)]
struct Test {
    count: i64,
    loss: f64,
    /// Of the squares.
    square: f64,
    answer: f64,
    right: f64,
}

impl Test {
    fn add(&mut self, task: Task, outputs: &Tensor, target: &Tensor, size: i64) {
        let sum = |of_each: Tensor| of_each.sum(Kind::Double).double_value(&[]);
        let losses = task.losses(outputs, target).to_kind(Kind::Double);
        self.count += size;
        self.square += sum(losses.square());
        self.loss += sum(losses);
        self.answer += sum(task.answer_losses(outputs, target));
        self.right += sum(task.right(outputs, target));
    }

    /// The standard error of the mean loss.
    fn error(&self) -> f64 {
        let count = self.count as f64;
        let mean = self.loss / count;
        ((self.square / count - mean * mean).max(0.0) / count).sqrt()
    }
}
