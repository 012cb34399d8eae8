//! What a study consists of: `study.json`.

use serde::{Deserialize, Serialize};

use super::network::ModelKind;
use super::study::{Lesson, Setting};
use super::tasks::Task;
use crate::error::{Error, Result};

/// Kinds of tasks, as `--task` names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskKind {
    /// [`Task::Copy`] of all lengths.
    Copy,
    /// [`Task::Adding`] of all lengths.
    Adding,
    /// [`Task::Mnist`], row by row.
    Mnist,
    /// [`Task::Mnist`], permuted.
    Pmnist,
}

/// What may be asked of a study; what is not said has a default.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// Which tasks; none for all that there is data for.
    pub tasks: Vec<TaskKind>,
    /// `H`.
    pub hidden: Option<i64>,
    /// Steps of the optimizer, for each task.
    pub steps: Option<u64>,
    /// Of everything that is drawn.
    pub seed: u64,
    /// Lengths and sizes as in the papers, in place of some that take minutes.
    pub full: bool,
    /// Whether there are images.
    pub images: bool,
}

/// A study.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Whether the sizes are those of the papers.
    pub full: bool,
    /// What is the same for all.
    pub setting: Setting,
    /// The tasks, each for all of [`ModelKind::ALL`].
    pub lessons: Vec<Lesson>,
    /// Where it is computed.
    pub device: String,
    /// SHA-256 of the images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<String>,
}

impl Plan {
    /// The sizes of a wish.
    ///
    /// Errors if a number in it is out of its range.
    pub fn new(wish: &Wish, device: String, images: Option<String>) -> Result<Plan> {
        const WIDEST: i64 = 4096;
        let hidden = wish.hidden.unwrap_or(if wish.full { 128 } else { 64 });
        if !(1..=WIDEST).contains(&hidden) {
            let message = format!("must be 1 to {WIDEST}, not {hidden}");
            return Err(Error::config("--hidden", message));
        }
        if wish.steps == Some(0) {
            return Err(Error::config("--steps", "must be 1 or more, not 0"));
        }
        let setting = Setting {
            seed: wish.seed,
            hidden,
            batch: if wish.full { 50 } else { 16 },
            learning_rate: if wish.full { 1e-3 } else { 1e-2 },
            rnn_learning_rate: 1e-3,
            warmup: 100,
            clip_norm: if wish.full { 1.0 } else { 0.1 },
            test: if wish.full { 10_000 } else { 1_000 },
            looked_into: 16,
        };
        let lessons = tasks(wish).into_iter().map(|(task, steps)| Lesson {
            task,
            steps: wish.steps.unwrap_or(steps),
        });
        Ok(Plan {
            full: wish.full,
            setting,
            lessons: lessons.collect(),
            device,
            images,
        })
    }

    /// Every task with every model, in order.
    pub fn parts(&self) -> impl Iterator<Item = (&Lesson, ModelKind)> {
        let models = |lesson| ModelKind::ALL.into_iter().map(move |model| (lesson, model));
        self.lessons.iter().flat_map(models)
    }
}

/// The tasks of a wish, with the steps that they take where nobody says how many.
pub fn tasks(wish: &Wish) -> Vec<(Task, u64)> {
    use TaskKind::{Adding, Copy, Mnist, Pmnist};
    let wanted = |kind: TaskKind| match (wish.tasks.is_empty(), kind) {
        (true, Copy | Adding) => true,
        (true, Mnist | Pmnist) => wish.images,
        (false, kind) => wish.tasks.contains(&kind),
    };
    let copy = |blanks| Task::Copy { blanks };
    let adding = |length| Task::Adding { length };
    let mnist = |permuted| Task::Mnist { permuted };
    let all = match wish.full {
        false => [
            (Copy, copy(50), 8_000),
            (Copy, copy(200), 8_000),
            (Copy, copy(500), 4_000),
            (Adding, adding(100), 4_000),
            (Adding, adding(400), 3_000),
            (Mnist, mnist(false), 3_000),
            (Pmnist, mnist(true), 3_000),
        ]
        .to_vec(),
        true => [
            (Copy, copy(200), 50_000),
            (Copy, copy(500), 50_000),
            (Copy, copy(2000), 50_000),
            (Adding, adding(200), 50_000),
            (Adding, adding(400), 50_000),
            (Adding, adding(750), 50_000),
            (Mnist, mnist(false), 60_000),
            (Pmnist, mnist(true), 60_000),
        ]
        .to_vec(),
    };
    (all.into_iter())
        .filter(|(kind, ..)| wanted(*kind))
        .map(|(_, task, steps)| (task, steps))
        .collect()
}
