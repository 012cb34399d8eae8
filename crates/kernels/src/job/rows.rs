//! The rows that a job reads and writes.

use super::Job;
use crate::layer::LayerSizes;
use crate::memory::SharedSlice;
use crate::plan::BatchPlan;
use crate::saved::PackedMasks;
use crate::scalar::Scalar;
use crate::schedule::Workspace;
use crate::views::SharedSequence;

/// Where a layer, or a direction of it, reads and writes.
pub(crate) struct SharedIo<'a, T> {
    /// `[T, B, I]`.
    pub input: SharedSequence<'a, T>,
    /// `[T, B, D*P]`.
    pub output: SharedSequence<'a, T>,
    /// Whether zeros are to be written behind the ends of sequences.
    pub clears_padding: bool,
    /// `[D, B, P]` and `[D, B, H]`; none: zeros.
    pub start: Option<(SharedSlice<'a, T>, SharedSlice<'a, T>)>,
    /// As the start.
    pub end: (SharedSlice<'a, T>, SharedSlice<'a, T>),
}

impl<T: Scalar> SharedIo<'_, T> {
    /// The same with states of some directions only: from the direction with this number on,
    /// counted over all layers, so many.
    pub fn of_directions(
        &self,
        first: usize,
        count: usize,
        plan: &BatchPlan,
        sizes: &LayerSizes,
    ) -> Self {
        let (p, h) = (plan.batch() * sizes.output(), plan.batch() * sizes.hidden);
        SharedIo {
            start: self.start.map(|start| {
                (
                    start.0.part(first * p, count * p),
                    start.1.part(first * h, count * h),
                )
            }),
            end: (
                self.end.0.part(first * p, count * p),
                self.end.1.part(first * h, count * h),
            ),
            ..*self
        }
    }
}

/// What a job has for itself.
pub(crate) struct JobMemory<'a, T> {
    pub rows: JobRows<'a, T>,
    pub masks: PackedMasks<'a, T>,
    /// Whether the hidden states before the first step are zeros, which are then not
    /// multiplied.
    pub from_zeros: bool,
}

/// Where the steps of a job leave what they compute.
pub(crate) enum JobRows<'a, T> {
    /// In memory that the next steps use again.
    Workspace(Workspace<'a, T>),
    /// In rows of all steps of all sequences, for the backward pass.
    Saved(SavedRows<'a, T>),
}

/// See [`SavedActivations`](crate::SavedActivations).
#[derive(Clone, Copy)]
pub(crate) struct SavedRows<'a, T> {
    pub sums: Sums<'a, T>,
    pub cells: SharedSlice<'a, T>,
    pub tanh: Option<SharedSlice<'a, T>>,
    pub hidden: SharedSlice<'a, T>,
    pub read: Option<SharedSlice<'a, T>>,
    pub out: Option<SharedSlice<'a, T>>,
}

/// Where the sums of a job are.
#[derive(Clone, Copy)]
pub(crate) enum Sums<'a, T> {
    /// In the rows of the gates, which take their place.
    Gates(SharedSlice<'a, T>),
    /// In memory of the job for a block of steps.
    Block(SharedSlice<'a, T>),
}

/// Where the rows of a step are, before and after it where there are two.
pub(super) struct StepRows<'a, T> {
    pub sums: SharedSlice<'a, T>,
    pub gates: Option<SharedSlice<'a, T>>,
    pub tanh: Option<SharedSlice<'a, T>>,
    pub cells: [SharedSlice<'a, T>; 2],
    pub hidden: [SharedSlice<'a, T>; 2],
    /// With the recurrent mask.
    pub read: Option<[SharedSlice<'a, T>; 2]>,
    /// What is projected.
    pub out: Option<SharedSlice<'a, T>>,
}

/// See [`Job::initial_rows`].
pub(super) type InitialRows<'a, T> = (
    SharedSlice<'a, T>,
    SharedSlice<'a, T>,
    Option<SharedSlice<'a, T>>,
);

impl<'a, T: Scalar> Job<'a, T> {
    /// The sums of a step.
    pub(super) fn sums(&self, step: usize, rows: usize) -> SharedSlice<'a, T> {
        let width = 4 * self.hidden_padded;
        let in_block = self.blocks[step].1;
        let (all, first) = match &self.rows {
            JobRows::Workspace(own) => (own.sums, in_block),
            JobRows::Saved(saved) => match saved.sums {
                Sums::Block(sums) => (sums, in_block),
                Sums::Gates(gates) => (gates, self.plan.starts[step] + self.share.start),
            },
        };
        all.part(first * width, rows * width)
    }

    /// The hidden states and the cell states before the first step, and the hidden states
    /// with the recurrent mask.
    pub(super) fn initial_rows(&self) -> InitialRows<'a, T> {
        match &self.rows {
            JobRows::Workspace(own) => {
                let read = own.read.map(|read| read[0]);
                (own.hidden[0], own.cells, read)
            }
            JobRows::Saved(saved) => {
                let of = |all: SharedSlice<'a, T>, width: usize| {
                    all.part(self.share.start * width, self.share.len() * width)
                };
                (
                    of(saved.hidden, self.output_padded),
                    of(saved.cells, self.hidden_padded),
                    saved.read.map(|read| of(read, self.output_padded)),
                )
            }
        }
    }

    pub(super) fn step_rows(&self, step: usize, rows: usize) -> StepRows<'a, T> {
        let (plan, first) = (self.plan, self.share.start);
        let (hidden_padded, output_padded) = (self.hidden_padded, self.output_padded);
        let sums = self.sums(step, rows);
        match &self.rows {
            JobRows::Workspace(own) => {
                let in_turns = |of: [SharedSlice<'a, T>; 2]| match step % 2 {
                    0 => of,
                    _ => [of[1], of[0]],
                };
                StepRows {
                    sums,
                    gates: None,
                    tanh: None,
                    cells: [own.cells; 2],
                    hidden: in_turns(own.hidden),
                    read: own.read.map(in_turns),
                    out: own.out,
                }
            }
            JobRows::Saved(saved) => {
                let both = |all: SharedSlice<'a, T>, width: usize| {
                    [plan.before(step), plan.after(step)]
                        .map(|row| all.part((row + first) * width, rows * width))
                };
                let row = plan.starts[step] + first;
                let of_step =
                    |all: SharedSlice<'a, T>| all.part(row * hidden_padded, rows * hidden_padded);
                StepRows {
                    sums,
                    gates: match saved.sums {
                        Sums::Gates(_) => Some(sums),
                        Sums::Block(_) => None,
                    },
                    tanh: saved.tanh.map(of_step),
                    cells: both(saved.cells, hidden_padded),
                    hidden: both(saved.hidden, output_padded),
                    read: saved.read.map(|read| both(read, output_padded)),
                    out: saved.out.map(of_step),
                }
            }
        }
    }
}
