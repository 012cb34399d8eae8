//! The batches of an epoch on their way to the device.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::Scope;

use tch::{Device, Tensor};

use super::Corpus;
use crate::error::Result;
use crate::model::Batch;
use crate::runtime;

/// How many steps are prepared ahead of the device.
const AHEAD: usize = 2;

/// A batch and its classes.
#[derive(Debug)]
pub(super) struct Loaded {
    pub batch: Batch,
    /// `[B]` i64.
    pub truth: Tensor,
}

impl Loaded {
    /// These rows of the corpus, on the CPU.
    pub fn new(corpus: &Corpus, rows: &[usize]) -> Self {
        let classes = rows.iter().map(|&row| i64::from(corpus.classes[row]));
        Loaded {
            batch: Batch::new(rows.iter().map(|&row| corpus.texts[row].as_slice())),
            truth: Tensor::from_slice(&classes.collect::<Vec<_>>()),
        }
    }

    /// In memory that the device can copy from while the host goes on.
    fn pinned(self, device: Device) -> Result<Self> {
        Ok(Loaded {
            batch: self.batch.pinned(device)?,
            truth: self.truth.f_pin_memory(device)?,
        })
    }

    pub fn to_device(&self, device: Device) -> Self {
        Loaded {
            batch: self.batch.to_device(device),
            truth: runtime::upload(&self.truth, device),
        }
    }
}

/// Gives the batches of one step after another.
pub(super) enum Loader<'a> {
    /// Made when they are asked for: the CPU has nothing else to do.
    Now {
        corpus: &'a Corpus,
        steps: std::slice::Iter<'a, &'a [Vec<usize>]>,
    },
    /// Made by a thread while the device computes, in pinned memory.
    Ahead {
        from: Receiver<Result<Vec<Loaded>>>,
        device: Device,
    },
}

impl<'a> Loader<'a> {
    /// For these steps, each of some batches of rows.
    pub fn new<'scope>(
        scope: &'scope Scope<'scope, 'a>,
        corpus: &'a Corpus,
        steps: &'a [&'a [Vec<usize>]],
        device: Device,
    ) -> Self {
        match device {
            Device::Cpu => Loader::Now {
                corpus,
                steps: steps.iter(),
            },
            _ => Self::ahead(scope, corpus, steps, device),
        }
    }

    fn ahead<'scope>(
        scope: &'scope Scope<'scope, 'a>,
        corpus: &'a Corpus,
        steps: &'a [&'a [Vec<usize>]],
        device: Device,
    ) -> Self {
        let (to, from) = sync_channel(AHEAD);
        scope.spawn(move || {
            for step in steps {
                let load = |rows: &Vec<usize>| {
                    let loaded = Loaded::new(corpus, rows);
                    match device {
                        Device::Cpu => Ok(loaded),
                        device => loaded.pinned(device),
                    }
                };
                // An error of sending means that nobody wants more.
                if to.send(step.iter().map(load).collect()).is_err() {
                    return;
                }
            }
        });
        Loader::Ahead { from, device }
    }
}

impl Iterator for Loader<'_> {
    type Item = Result<Vec<Loaded>>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Loader::Now { corpus, steps } => {
                let step = steps.next()?;
                let load = |rows: &Vec<usize>| Loaded::new(corpus, rows);
                Some(Ok(step.iter().map(load).collect()))
            }
            Loader::Ahead { from, device } => {
                let step = from.recv().ok()?;
                let moved = |step: Vec<Loaded>| {
                    let moved = step.iter().map(|loaded| loaded.to_device(*device));
                    moved.collect()
                };
                Some(step.map(moved))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_ahead_is_what_is_made_now() {
        let corpus = Corpus {
            labels: vec!["a".to_owned(), "b".to_owned()],
            texts: (0..40).map(|n| vec![n; n as usize % 5]).collect(),
            classes: (0..40).map(|n| n % 2).collect(),
        };
        let batches: Vec<Vec<usize>> = (0..10).map(|n| (4 * n..4 * n + 4).collect()).collect();
        let steps: Vec<&[Vec<usize>]> = batches.chunks(3).collect();
        std::thread::scope(|scope| {
            let now = Loader::new(scope, &corpus, &steps, Device::Cpu);
            let ahead = Loader::ahead(scope, &corpus, &steps, Device::Cpu);
            let mut count = 0;
            for (now, ahead) in now.zip(ahead) {
                let (now, ahead) = (now.unwrap(), ahead.unwrap());
                assert_eq!(now.len(), ahead.len());
                for (now, ahead) in now.iter().zip(&ahead) {
                    assert!(now.batch.ids.equal(&ahead.batch.ids));
                    assert_eq!(now.batch.lengths, ahead.batch.lengths);
                    assert!(now.truth.equal(&ahead.truth));
                    count += 1;
                }
            }
            assert_eq!(count, 10);
            // Who stops early leaves no thread behind that waits for ever.
            let mut early = Loader::ahead(scope, &corpus, &steps, Device::Cpu);
            assert!(early.next().is_some());
        });
    }
}
