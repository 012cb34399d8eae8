//! The way forward through a layer.
//!
//! Every share of the texts goes its own way through the steps, since no text waits
//! for another: the products of the input for a block of steps at once, and then step
//! by step the product of the hidden state and, while its sums are near, the gates.

use std::ops::Range;

use super::buffer::{Buffer, Ptr, Shared, copy, put};
use super::equations::Gates;
use super::gates::OfGates;
use super::lanes::Real;
use super::layer::{Dropped, Keep, Memory, Sequence, Sizes, Weights};
use super::plan::Plan;
use super::product::{Left, Panels, product};
use super::threads::{shares, step_by_step, together, units};
use super::tile::VECTORS;

/// About so many tokens have their input's product at once: few enough that the sums
/// are still in the cache when their step comes.
const BLOCK: usize = 96;

/// What a layer reads and where its results go.
pub(super) struct Forward<'a, T> {
    pub plan: &'a Plan,
    pub sizes: Sizes,
    /// `[T, B, I]`.
    pub input: Sequence<T>,
    /// `[D, B, P]`, contiguous.
    pub h_start: Ptr<T>,
    /// `[D, B, H]`, contiguous.
    pub c_start: Ptr<T>,
    /// `[T, B, D*P]`.
    pub output: Sequence<T>,
    /// As `h_start`.
    pub h_end: Ptr<T>,
    /// As `c_start`.
    pub c_end: Ptr<T>,
    pub keep: Keep,
}

/// A direction, ready to run.
struct Direction<T> {
    number: usize,
    gates: OfGates,
    hr: Option<Panels>,
    memory: Memory,
    /// See [`Memory::starts_from_zeros`].
    from_zeros: bool,
    h_start: Ptr<T>,
    c_start: Ptr<T>,
    h_end: Ptr<T>,
    c_end: Ptr<T>,
}

// SAFETY: threads only read its fields, and write to rows of the memory of their own.
unsafe impl<T> Sync for Direction<T> {}

/// Texts that go through a direction side by side.
struct Job<'d, T> {
    of: &'d Direction<T>,
    number: usize,
    share: Range<usize>,
    /// See [`Plan::blocks`].
    blocks: Vec<(Range<usize>, usize)>,
}

impl<T: Real> Forward<'_, T> {
    /// Gives each direction's memory.
    ///
    /// # Safety
    ///
    /// The pointers lead to what the fields say, the weights to what `sizes` says, and
    /// the results are nobody else's.
    pub unsafe fn run(self, weights: Vec<Weights<T>>, masks: Vec<Dropped>) -> Vec<Memory> {
        let parts = together(self.plan, &self.sizes);
        let shares = match parts {
            1 => shares(self.plan, &self.sizes),
            _ => self.plan.shares(1),
        };
        let mut directions = Vec::new();
        for (number, (weights, masks)) in weights.into_iter().zip(masks).enumerate() {
            // SAFETY: as the caller says.
            directions.push(unsafe { self.direction(number, &weights, masks, shares.len()) });
        }
        let jobs = directions.iter().flat_map(|of| {
            let jobs = shares.iter().zip(0..);
            jobs.map(move |(share, number)| Job {
                of,
                number,
                share: share.clone(),
                blocks: self.plan.blocks(share, BLOCK),
            })
        });
        let jobs: Vec<Job<T>> = jobs.collect();
        let (this, wide) = (Shared(&self), self.sizes.wide::<T>());
        // SAFETY: as the caller says; each job has texts of its own, and each part of one
        // its units.
        unsafe {
            step_by_step(
                &jobs,
                parts,
                |job| this.get().begin(job),
                |job| job.blocks.len(),
                |job, step, part| {
                    let panel = VECTORS * T::kernels().lanes;
                    this.get().step(job, step, units(wide, panel, part, parts));
                },
            );
        }
        drop(jobs);
        directions.into_iter().map(|of| of.memory).collect()
    }

    /// How many tokens' gates a share has at once, at most.
    fn room(&self) -> usize {
        BLOCK.max(self.plan.batch())
    }

    unsafe fn direction(
        &self,
        number: usize,
        weights: &Weights<T>,
        masks: Dropped,
        shares: usize,
    ) -> Direction<T> {
        let (plan, sizes) = (self.plan, &self.sizes);
        let (wide, wide_output) = (sizes.wide::<T>(), sizes.wide_output::<T>());
        let (batch, tokens) = (plan.batch(), plan.tokens());
        let states = match self.keep {
            Keep::Nothing => 2 * batch,
            _ => batch + tokens,
        };
        let gates = match self.keep {
            Keep::All => tokens,
            _ => shares * self.room(),
        };
        let some = |rows: usize, wide: usize, there: bool| {
            Buffer::raw::<T>(if there { rows * wide } else { 0 })
        };
        let recurrent = !masks.recurrent.is_empty();
        let memory = Memory {
            gates: some(gates, 4 * wide, true),
            cells: some(states, wide, true),
            tanh: some(tokens, wide, self.keep == Keep::All),
            hidden: some(states, wide_output, true),
            read: some(states, wide_output, recurrent),
            out: match self.keep {
                Keep::Nothing => some(batch, wide, sizes.projected),
                _ => some(tokens, wide, sizes.projected),
            },
            masks,
        };
        // SAFETY: the starts have so many rows for each direction, the weights their
        // shapes.
        unsafe {
            let h_start = self.h_start.add(number * batch * sizes.output);
            let c_start = self.c_start.add(number * batch * sizes.hidden);
            for (place, &text) in plan.order.iter().enumerate() {
                let h = memory.hidden.at::<T>().add(place * wide_output);
                put(
                    h_start.add(text * sizes.output),
                    h,
                    sizes.output,
                    wide_output,
                );
                let c = memory.cells.at::<T>().add(place * wide);
                put(c_start.add(text * sizes.hidden), c, sizes.hidden, wide);
            }
            Direction {
                number,
                gates: OfGates::new(weights, sizes),
                hr: weights.of_projection(sizes),
                from_zeros: memory.starts_from_zeros::<T>(plan, sizes),
                memory,
                h_start: Ptr(h_start),
                c_start: Ptr(c_start),
                h_end: Ptr(self.h_end.add(number * batch * sizes.output)),
                c_end: Ptr(self.c_end.add(number * batch * sizes.hidden)),
            }
        }
    }

    /// What is to do before the first step.
    unsafe fn begin(&self, job: &Job<T>) {
        let (plan, of) = (self.plan, job.of);
        let (p, h) = (self.sizes.output, self.sizes.hidden);
        // SAFETY: as the caller of `run` says.
        unsafe {
            let all = 0..self.sizes.wide_output::<T>();
            self.read_masked(of, 0, job.share.clone(), all);
            for place in job.share.clone() {
                let text = plan.order[place];
                let columns = of.number * p..(of.number + 1) * p;
                for when in plan.lengths[place]..plan.time {
                    self.output.clear(when, text, columns.clone());
                }
                if plan.lengths[place] == 0 {
                    copy(of.h_start.add(text * p), of.h_end.add(text * p), p);
                    copy(of.c_start.add(text * h), of.c_end.add(text * h), h);
                }
            }
        }
    }

    /// What these steps' inputs say to these units.
    unsafe fn inputs(&self, job: &Job<T>, steps: Range<usize>, units: Range<usize>) {
        let (plan, wide) = (self.plan, self.sizes.wide::<T>());
        let mut tokens: Vec<(*const T, *mut T)> = Vec::with_capacity(self.room());
        // SAFETY: the texts have these steps, and there are rows for them.
        unsafe {
            for step in steps {
                let sums = self.sums(job, step);
                for n in 0..plan.reading_of(&job.share, step) {
                    let place = job.share.start + n;
                    let when = plan.when(step, place, job.of.number == 1);
                    let input = self.input.row(when, plan.order[place]);
                    tokens.push((input, sums.add(n * 4 * wide)));
                }
            }
            job.of.gates.inputs(&self.sizes, &tokens, units);
        }
    }

    /// The sums of the first text at this step.
    unsafe fn sums(&self, job: &Job<T>, step: usize) -> *mut T {
        let row = match self.keep {
            Keep::All => self.plan.starts[step] + job.share.start,
            _ => job.number * self.room() + job.blocks[step].1,
        };
        // SAFETY: as the caller says.
        unsafe {
            let gates = job.of.memory.gates.at::<T>();
            gates.add(row * 4 * self.sizes.wide::<T>())
        }
    }

    /// The first row of states before and after a step.
    fn rows(&self, step: usize) -> (usize, usize) {
        let batch = self.plan.batch();
        match self.keep {
            Keep::Nothing => (step % 2 * batch, (step + 1) % 2 * batch),
            _ => (self.plan.before(step), self.plan.after(step)),
        }
    }

    /// These units' step; with a projection all of them.
    unsafe fn step(&self, job: &Job<T>, step: usize, units: Range<usize>) {
        let (sizes, of, memory) = (&self.sizes, job.of, &job.of.memory);
        let (wide, wide_output) = (sizes.wide::<T>(), sizes.wide_output::<T>());
        let (first, count) = (job.share.start, self.plan.reading_of(&job.share, step));
        let places = first..first + count;
        let outputs = match sizes.projected {
            true => 0..wide_output,
            false => units.clone(),
        };
        let (before, after) = self.rows(step);
        let token = self.plan.starts[step] + first;
        let row = |buffer: &Buffer, row: usize, wide: usize| {
            // SAFETY: the buffers have these rows.
            unsafe { buffer.at::<T>().add((row + first) * wide) }
        };
        let hidden = row(&memory.hidden, after, wide_output);
        let out = match (sizes.projected, self.keep) {
            (false, _) => hidden,
            (true, Keep::Nothing) => row(&memory.out, 0, wide),
            (true, _) => row(&memory.out, token - first, wide),
        };
        let read = match step == 0 && of.from_zeros {
            true => std::ptr::null_mut(),
            false => row(memory.read(), before, wide_output),
        };
        // SAFETY: rows of the texts of this share, and nobody else's.
        unsafe {
            let tanh = match self.keep {
                Keep::All => row(&memory.tanh, token - first, wide),
                _ => std::ptr::null_mut(),
            };
            let cells = (
                row(&memory.cells, before, wide),
                row(&memory.cells, after, wide),
            );
            let block = &job.blocks[step].0;
            if step == block.start {
                self.inputs(job, block.clone(), units.clone());
            }
            let made = Gates {
                rows: count,
                units: wide,
                gates: self.sums(job, step),
                width: wide,
                before: cells.0,
                after: cells.1,
                tanh,
                out,
                masks: memory.masks.of(token, wide),
            };
            of.gates.step(sizes, read, &made, units.clone());
            if let Some(hr) = &of.hr {
                let row = |n: usize| out.add(n * wide).cast_const();
                let left = Left { row, step: 1 };
                product(count, left, hr, |n| hidden.add(n * wide_output), false);
            }
            let zoneout = memory.masks.hidden.at::<T>();
            if !zoneout.is_null() {
                let old = row(&memory.hidden, before, wide_output);
                let new = zoneout.add(token * wide_output);
                for row in 0..count {
                    for n in outputs.clone().map(|n| row * wide_output + n) {
                        if *new.add(n) == T::default() {
                            *hidden.add(n) = *old.add(n);
                        }
                    }
                }
            }
            self.read_masked(of, after, places.clone(), outputs.clone());
            self.put_out(of, step, places, (hidden, outputs), (cells.1, units));
        }
    }

    /// These numbers of the hidden states that a step left, as the next one reads them.
    unsafe fn read_masked(
        &self,
        of: &Direction<T>,
        row: usize,
        places: Range<usize>,
        numbers: Range<usize>,
    ) {
        let wide = self.sizes.wide_output::<T>();
        let mask = of.memory.masks.recurrent.at::<T>();
        if mask.is_null() {
            return;
        }
        for place in places {
            for n in numbers.clone().map(|n| place * wide + n) {
                // SAFETY: rows of the texts of this share.
                unsafe {
                    let hidden = of.memory.hidden.at::<T>().add(row * wide + n);
                    let read = of.memory.read.at::<T>().add(row * wide + n);
                    *read = *hidden * *mask.add(n);
                }
            }
        }
    }

    /// The step's hidden states into the output, and the states of texts that end; so many
    /// numbers of each, of whole registers the real ones.
    unsafe fn put_out(
        &self,
        of: &Direction<T>,
        step: usize,
        places: Range<usize>,
        (hidden, outputs): (*const T, Range<usize>),
        (cells, units): (*const T, Range<usize>),
    ) {
        let (plan, sizes) = (self.plan, &self.sizes);
        let (p, h) = (sizes.output, sizes.hidden);
        let real = |of: Range<usize>, most: usize| (of.start, of.end.min(most) - of.start);
        let ((output, outputs), (unit, units)) = (real(outputs, p), real(units, h));
        for (n, place) in places.enumerate() {
            let (text, when) = (plan.order[place], plan.when(step, place, of.number == 1));
            // SAFETY: the text has this step, and its rows are this share's.
            unsafe {
                let hidden = hidden.add(n * sizes.wide_output::<T>() + output);
                let to = self.output.row(when, text).add(of.number * p + output);
                copy(hidden, to, outputs);
                if plan.lengths[place] == step + 1 {
                    copy(hidden, of.h_end.add(text * p + output), outputs);
                    let cells = cells.add(n * sizes.wide::<T>() + unit);
                    copy(cells, of.c_end.add(text * h + unit), units);
                }
            }
        }
    }
}
