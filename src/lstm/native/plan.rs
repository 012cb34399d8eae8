//! Where each step of each text lies: packed, without padding.
//!
//! The texts stand in the order of their lengths, the longest first. A *token* is one
//! step of one text; tokens are ordered by step, then by text, so that those of a step
//! are neighbours and fewer with every text that ends. The backward direction's step
//! 0 is a text's last word.

use std::ops::Range;

/// The order of one batch.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub time: usize,
    /// The texts by their numbers in the batch, the longest first.
    pub order: Vec<usize>,
    /// Their lengths in this order.
    pub lengths: Vec<usize>,
    /// The first token of each step, and behind the last step their number.
    pub starts: Vec<usize>,
}

impl Plan {
    pub fn new(lengths: &[usize], time: usize) -> Plan {
        let mut order: Vec<usize> = (0..lengths.len()).collect();
        order.sort_by_key(|&text| std::cmp::Reverse(lengths[text]));
        let lengths: Vec<usize> = order.iter().map(|&text| lengths[text]).collect();
        let mut starts = vec![0];
        let mut reading = lengths.len();
        for step in 0..lengths.first().copied().unwrap_or(0) {
            while lengths[reading - 1] <= step {
                reading -= 1;
            }
            starts.push(starts[step] + reading);
        }
        Plan {
            time,
            order,
            lengths,
            starts,
        }
    }

    pub fn batch(&self) -> usize {
        self.order.len()
    }

    /// Steps of the longest text.
    pub fn steps(&self) -> usize {
        self.starts.len() - 1
    }

    pub fn tokens(&self) -> usize {
        self.starts[self.steps()]
    }

    /// How many texts have this step.
    pub fn reading(&self, step: usize) -> usize {
        self.starts[step + 1] - self.starts[step]
    }

    /// How many of these texts have this step.
    pub fn reading_of(&self, share: &Range<usize>, step: usize) -> usize {
        share.end.min(self.reading(step)) - share.start
    }

    /// The steps of these texts in blocks of about so many tokens, of each step its block
    /// and the tokens of the block before it.
    pub fn blocks(&self, share: &Range<usize>, about: usize) -> Vec<(Range<usize>, usize)> {
        let steps = self.lengths[share.start];
        let mut blocks = Vec::with_capacity(steps);
        while blocks.len() < steps {
            let first = blocks.len();
            let (mut seen, mut before) = (0, Vec::new());
            while first + before.len() < steps {
                let reading = self.reading_of(share, first + before.len());
                if seen > 0 && seen + reading > about {
                    break;
                }
                before.push(seen);
                seen += reading;
            }
            let block = first..first + before.len();
            blocks.extend(before.into_iter().map(|before| (block.clone(), before)));
        }
        blocks
    }

    /// The point in time at which the text in this place has its step.
    pub fn when(&self, step: usize, place: usize, reverse: bool) -> usize {
        match reverse {
            true => self.lengths[place] - 1 - step,
            false => step,
        }
    }

    /// The row of states that a step starts from: the first `batch` rows are the
    /// initial states, and behind them stands what each token left.
    pub fn before(&self, step: usize) -> usize {
        match step {
            0 => 0,
            _ => self.after(step - 1),
        }
    }

    /// The row of states that a step leaves.
    pub fn after(&self, step: usize) -> usize {
        self.batch() + self.starts[step]
    }

    /// Ranges of texts for so many threads, none empty, with about as many tokens each.
    pub fn shares(&self, threads: usize) -> Vec<Range<usize>> {
        let (batch, tokens) = (self.batch(), self.tokens());
        let mut shares = Vec::new();
        let (mut first, mut counted) = (0, 0);
        for place in 0..batch {
            counted += self.lengths[place];
            let share = shares.len() + 1;
            if share < threads && counted * threads >= tokens * share || place + 1 == batch {
                shares.push(first..place + 1);
                first = place + 1;
            }
        }
        shares
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_ordered_by_step_and_length() {
        let plan = Plan::new(&[2, 0, 4, 2], 5);
        assert_eq!(plan.order, [2, 0, 3, 1]);
        assert_eq!(plan.starts, [0, 3, 6, 7, 8]);
        assert_eq!((plan.steps(), plan.tokens(), plan.reading(2)), (4, 8, 1));
        assert_eq!((plan.before(0), plan.after(0), plan.before(1)), (0, 4, 4));
        assert_eq!((plan.when(0, 0, true), plan.when(1, 1, true)), (3, 0));
        let whole = plan.shares(1);
        assert_eq!((whole.len(), &whole[0]), (1, &(0..4)));
        assert_eq!(plan.shares(2), [0..1, 1..4]);
        assert_eq!(plan.shares(9), [0..1, 1..2, 2..3, 3..4]);
    }

    #[test]
    fn texts_without_steps_have_no_tokens() {
        let plan = Plan::new(&[0, 0], 3);
        assert_eq!((plan.steps(), plan.tokens()), (0, 0));
        assert_eq!(plan.shares(3).last().unwrap().end, 2);
    }
}
