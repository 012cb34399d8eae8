//! Where each step of each sequence lies: packed, without padding.
//!
//! The sequences stand in the order of their lengths, the longest first; a sequence's
//! place in this order is its *slot*. A *packed row* is one time step of one sequence;
//! packed rows are ordered by step, then by slot, so that those of a step are neighbors
//! and fewer with every sequence that ends. The backward direction's step 0 is a
//! sequence's last time step.

use std::ops::Range;

use crate::error::{ShapeError, product};

/// The lengths of a batch of sequences and the order in which they are computed.
#[derive(Clone, Debug)]
pub struct BatchPlan {
    pub(crate) time: usize,
    /// The sequences by their numbers in the batch, the longest first.
    pub(crate) order: Vec<usize>,
    /// Their lengths in this order.
    pub(crate) lengths: Vec<usize>,
    /// The first packed row of each step, and behind the last step their number.
    pub(crate) starts: Vec<usize>,
}

impl BatchPlan {
    /// A plan for sequences of these lengths (`[B]`), padded to `time` steps.
    ///
    /// # Errors
    ///
    /// If a sequence is longer than `time`.
    pub fn new(lengths: &[usize], time: usize) -> Result<BatchPlan, ShapeError> {
        if let Some(index) = lengths.iter().position(|&length| length > time) {
            let length = lengths[index];
            return Err(ShapeError::Length {
                index,
                length,
                time,
            });
        }
        product(&[lengths.len(), time])?;
        let mut order: Vec<usize> = (0..lengths.len()).collect();
        order.sort_by_key(|&sequence| std::cmp::Reverse(lengths[sequence]));
        let lengths: Vec<usize> = order.iter().map(|&sequence| lengths[sequence]).collect();
        let mut starts = vec![0];
        let mut active = lengths.len();
        for step in 0..lengths.first().copied().unwrap_or(0) {
            while lengths[active - 1] <= step {
                active -= 1;
            }
            starts.push(starts[step] + active);
        }
        Ok(BatchPlan {
            time,
            order,
            lengths,
            starts,
        })
    }

    /// The number of sequences, `B`.
    pub fn batch(&self) -> usize {
        self.order.len()
    }

    /// The time steps of the padded batch, `T`.
    pub fn time(&self) -> usize {
        self.time
    }

    /// The steps of the longest sequence.
    pub fn steps(&self) -> usize {
        self.starts.len() - 1
    }

    /// The sum of all lengths.
    pub fn packed_rows(&self) -> usize {
        self.starts[self.steps()]
    }

    /// How many sequences have this step.
    pub(crate) fn active(&self, step: usize) -> usize {
        self.starts[step + 1] - self.starts[step]
    }

    /// How many of these slots have this step.
    pub(crate) fn active_in(&self, share: &Range<usize>, step: usize) -> usize {
        share.end.min(self.active(step)) - share.start
    }

    /// The steps of these slots in blocks of about so many packed rows, of each step its
    /// block and the packed rows of the block before it.
    pub(crate) fn blocks(&self, share: &Range<usize>, about: usize) -> Vec<(Range<usize>, usize)> {
        let steps = self.lengths[share.start];
        let mut blocks: Vec<(Range<usize>, usize)> = Vec::with_capacity(steps);
        let (mut first, mut seen) = (0, 0);
        for step in 0..steps {
            let active = self.active_in(share, step);
            if seen > 0 && seen + active > about {
                (first, seen) = (step, 0);
            }
            blocks.push((first..step + 1, seen));
            seen += active;
        }
        // Of each block the end is known when the next one begins.
        let mut end = steps;
        for (block, before) in blocks.iter_mut().rev() {
            let first = block.start;
            block.end = end;
            if *before == 0 {
                end = first;
            }
        }
        blocks
    }

    /// The point in time at which the sequence in this slot has its step.
    pub(crate) fn time_of(&self, step: usize, slot: usize, reverse: bool) -> usize {
        match reverse {
            true => self.lengths[slot] - 1 - step,
            false => step,
        }
    }

    /// The row of states that a step starts from: the first `B` rows are the initial
    /// states, and behind them stands what each packed row left.
    pub(crate) fn before(&self, step: usize) -> usize {
        match step {
            0 => 0,
            _ => self.after(step - 1),
        }
    }

    /// The row of states that a step leaves.
    pub(crate) fn after(&self, step: usize) -> usize {
        self.batch() + self.starts[step]
    }

    /// Ranges of slots for so many threads, none empty, with about as many packed rows
    /// each.
    pub(crate) fn shares(&self, threads: usize) -> Vec<Range<usize>> {
        let (batch, rows) = (self.batch(), self.packed_rows());
        let mut shares = Vec::new();
        let (mut first, mut counted) = (0, 0);
        for slot in 0..batch {
            counted += self.lengths[slot];
            let share = shares.len() + 1;
            if share < threads && counted * threads >= rows * share || slot + 1 == batch {
                shares.push(first..slot + 1);
                first = slot + 1;
            }
        }
        shares
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_rows_are_ordered_by_step_and_length() {
        let plan = BatchPlan::new(&[2, 0, 4, 2], 5).unwrap();
        assert_eq!(plan.order, [2, 0, 3, 1]);
        assert_eq!(plan.starts, [0, 3, 6, 7, 8]);
        let counts = (plan.steps(), plan.packed_rows(), plan.active(2));
        assert_eq!(counts, (4, 8, 1));
        assert_eq!((plan.before(0), plan.after(0), plan.before(1)), (0, 4, 4));
        assert_eq!((plan.time_of(0, 0, true), plan.time_of(1, 1, true)), (3, 0));
        let whole = plan.shares(1);
        assert_eq!((whole.len(), &whole[0]), (1, &(0..4)));
        assert_eq!(plan.shares(2), [0..1, 1..4]);
        assert_eq!(plan.shares(9), [0..1, 1..2, 2..3, 3..4]);
    }

    #[test]
    fn sequences_without_steps_have_no_packed_rows() {
        let plan = BatchPlan::new(&[0, 0], 3).unwrap();
        assert_eq!((plan.steps(), plan.packed_rows()), (0, 0));
        assert_eq!(plan.shares(3).last().unwrap().end, 2);
    }

    #[test]
    fn a_sequence_is_no_longer_than_the_batch() {
        let error = BatchPlan::new(&[1, 4], 3).unwrap_err();
        let expected = "sequence 1 has length 4, expected at most 3";
        assert_eq!(error.to_string(), expected);
    }
}
