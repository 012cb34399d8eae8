//! Gates that were not kept, computed once more on the way back: for a block of steps
//! at once, from the states, which were. The sums run as they did, so the bits are the
//! same.

use std::ops::Range;

use super::backward::{Backward, Direction};
use super::buffer::Buffer;
use super::equations::Gates;
use super::gates::OfGates;
use super::lanes::Real;

/// About so many tokens at once.
const BLOCK: usize = 256;

/// The gates of a block of steps of some texts.
pub(super) struct Again<'a> {
    gates: &'a OfGates,
    /// `[room][4][wide]` and `[room][wide]`.
    made: Buffer,
    tanh: Buffer,
    /// `[texts][wide]`: what the pass over the gates writes besides, and nobody reads.
    after: Buffer,
    out: Buffer,
    /// The block, and the first row of each of its steps.
    steps: Range<usize>,
    rows: Vec<usize>,
}

impl<'a> Again<'a> {
    pub fn new<T: Real>(of: &Backward<T>, gates: &'a OfGates, share: &Range<usize>) -> Again<'a> {
        let wide = of.sizes.wide::<T>();
        let room = BLOCK.max(share.len());
        Again {
            gates,
            made: Buffer::raw::<T>(room * 4 * wide),
            tanh: Buffer::raw::<T>(room * wide),
            after: Buffer::raw::<T>(share.len() * wide),
            out: Buffer::raw::<T>(share.len() * wide),
            steps: 0..0,
            rows: Vec::new(),
        }
    }

    /// The gates of this step's texts and the tanh of their cell states; asked for from
    /// the last step to the first.
    ///
    /// # Safety
    ///
    /// The pointers of `of` and `direction` are valid.
    pub unsafe fn step<T: Real>(
        &mut self,
        of: &Backward<T>,
        direction: &Direction<T>,
        step: usize,
        share: &Range<usize>,
    ) -> (*mut T, *mut T) {
        let wide = of.sizes.wide::<T>();
        // SAFETY: as the caller says; there is room for a block.
        unsafe {
            if !self.steps.contains(&step) {
                self.block(of, direction, step, share);
            }
            let row = self.rows[step - self.steps.start];
            let gates = self.made.at::<T>().add(row * 4 * wide);
            (gates, self.tanh.at::<T>().add(row * wide))
        }
    }

    /// The steps up to this one, as many as there is room for.
    unsafe fn block<T: Real>(
        &mut self,
        of: &Backward<T>,
        direction: &Direction<T>,
        last: usize,
        share: &Range<usize>,
    ) {
        let (plan, sizes, memory) = (of.plan, &of.sizes, direction.memory);
        let (wide, wide_output) = (sizes.wide::<T>(), sizes.wide_output::<T>());
        let reading = |step: usize| share.end.min(plan.reading(step)) - share.start;
        let (mut first, mut count) = (last, reading(last));
        while first > 0 && count + reading(first - 1) <= BLOCK {
            first -= 1;
            count += reading(first);
        }
        self.steps = first..last + 1;
        self.rows.clear();
        let mut tokens = Vec::with_capacity(count);
        let read = memory.read().at::<T>();
        // SAFETY: as the caller says.
        unsafe {
            for step in self.steps.clone() {
                self.rows.push(tokens.len());
                for place in share.start..share.start + reading(step) {
                    let when = plan.when(step, place, direction.number == 1);
                    let input = of.input.row(when, plan.order[place]).cast_const();
                    let sums = self.made.at::<T>().add(tokens.len() * 4 * wide);
                    tokens.push((input, sums));
                }
            }
            self.gates.inputs(sizes, &tokens, 0..wide);
            for (step, &row) in self.steps.clone().zip(&self.rows) {
                let before = plan.before(step) + share.start;
                let token = plan.starts[step] + share.start;
                let made = Gates {
                    rows: reading(step),
                    units: wide,
                    gates: self.made.at::<T>().add(row * 4 * wide),
                    width: wide,
                    before: memory.cells.at::<T>().add(before * wide),
                    after: self.after.at::<T>().0,
                    tanh: self.tanh.at::<T>().add(row * wide),
                    out: self.out.at::<T>().0,
                    masks: memory.masks.of(token, wide),
                };
                let read = match step == 0 && direction.from_zeros {
                    true => std::ptr::null(),
                    false => read.add(before * wide_output).cast_const(),
                };
                self.gates.step(sizes, read, &made, 0..wide);
            }
        }
    }
}
