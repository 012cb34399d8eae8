//! How far memory reaches, measured: a tanh RNN and LSTMs with forget biases of 0, 1
//! and by chrono initialisation, all of one hidden size, on tasks whose answer lies far
//! back.
//!
//! What is measured is the law of Hochreiter (1991) and of Bengio, Simard and Frasconi
//! (1994): a gradient that goes through a matrix and a tanh at each step vanishes (or
//! explodes) with the distance, and then nothing that lies further back can be learnt.
//! On the way through the cell state it is multiplied by the forget gate alone
//! (Hochreiter and Schmidhuber 1997; Gers, Schmidhuber and Cummins 2000), so that it
//! reaches as far as the product of the gates does. [`Outcome`] has, for each task and
//! model, the loss over the steps, and before and after training both: gradients over
//! the distance, and what the gates let pass.

mod folder;
mod memory;
mod mnist;
mod network;
mod plan;
mod reading;
mod rnn;
mod study;
mod tasks;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use tch::Device;

pub use self::folder::Folder;
pub use self::memory::{Memory, Profile};
pub use self::mnist::Mnist;
pub use self::network::ModelKind;
pub use self::plan::{Plan, TaskKind, Wish, tasks};
pub use self::reading::{Verdict, law, of_forget, of_gradient, of_loss};
pub(crate) use self::reading::{exponent, number, percent};
pub use self::rnn::Rnn;
pub use self::study::{Lesson, Outcome, Setting, Watch, run};
pub use self::tasks::{Batch, Split, Task, images};
use crate::error::Result;

/// Who watches a study: several trainings at once, each on a thread of its own.
pub trait Observer: Sync {
    /// A training begins.
    fn begins(&self, lesson: &Lesson, model: ModelKind) -> Box<dyn Watch + '_>;
    /// It is finished.
    fn ends(&self, _: &Outcome) {}
}

/// Trains all that the folder does not have yet, `workers` of them at a time with one
/// thread each, and gives everything in the order of the plan; none if it was asked to
/// stop. The numbers do not depend on `workers`.
///
/// Errors as [`run`], and if a file cannot be read or written. What was finished before
/// stays in the folder.
pub fn study(
    plan: &Plan,
    folder: &Folder,
    images: Option<&Mnist>,
    device: Device,
    workers: usize,
    observer: &dyn Observer,
) -> Result<Option<Vec<Outcome>>> {
    let parts: Vec<(&Lesson, ModelKind)> = plan.parts().collect();
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let found: Vec<Mutex<Option<Result<Option<Outcome>>>>> =
        parts.iter().map(|_| Mutex::new(None)).collect();
    let work = || {
        // Of this thread: what libtorch splits among threads is not worth it here, and
        // would make the last bits depend on their number.
        tch::set_num_threads(1);
        while let Some((part, place)) = {
            let n = next.fetch_add(1, Ordering::Relaxed);
            parts.get(n).zip(found.get(n))
        } {
            let outcome = one(plan, folder, images, device, *part, observer, &failed);
            if !matches!(outcome, Ok(Some(_))) {
                failed.store(true, Ordering::Relaxed);
            }
            *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..workers.clamp(1, parts.len().max(1)) {
            scope.spawn(work);
        }
    });
    let found = found.into_iter().map(Mutex::into_inner);
    let found = found.map(|outcome| outcome.unwrap_or_else(PoisonError::into_inner));
    // An error comes before a stop, which may be its consequence.
    let (mut outcomes, mut stopped) = (Vec::new(), false);
    for outcome in found {
        match outcome.transpose()?.flatten() {
            Some(outcome) => outcomes.push(outcome),
            None => stopped = true,
        }
    }
    Ok((!stopped).then_some(outcomes))
}

/// One task with one model: read from the folder, or trained.
fn one(
    plan: &Plan,
    folder: &Folder,
    images: Option<&Mnist>,
    device: Device,
    (lesson, model): (&Lesson, ModelKind),
    observer: &dyn Observer,
    failed: &AtomicBool,
) -> Result<Option<Outcome>> {
    if failed.load(Ordering::Relaxed) {
        return Ok(None);
    }
    if let Some(outcome) = folder.finished(lesson, model)? {
        return Ok(Some(outcome));
    }
    let mut watch = Until {
        watch: observer.begins(lesson, model),
        failed,
    };
    let outcome = run(&plan.setting, lesson, model, images, device, &mut watch)?;
    if let Some(outcome) = &outcome {
        folder.save(lesson, outcome)?;
        drop(watch);
        observer.ends(outcome);
    }
    Ok(outcome)
}

/// Stops also where another training failed.
struct Until<'a> {
    watch: Box<dyn Watch + 'a>,
    failed: &'a AtomicBool,
}

impl Watch for Until<'_> {
    fn stepped(&mut self, step: u64, loss: f64) {
        self.watch.stepped(step, loss);
    }

    fn wants_to_stop(&self) -> bool {
        self.watch.wants_to_stop() || self.failed.load(Ordering::Relaxed)
    }
}
