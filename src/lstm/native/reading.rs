//! A call through a frozen layer: jobs of some texts and a direction; or of some units of
//! all texts, where threads go through each step together; or of a whole layer, where each
//! thread has one.

use std::marker::PhantomData;
use std::ops::Range;

use super::buffer::{Ptr, copy, put};
use super::frozen::{Direction, LINE, Layer};
use super::half::Halve;
use super::layer::{Sequence, Sizes};
use super::plan::Plan;
use super::product::{Left, product};
use super::step::{Inputs, Step};
use super::threads::{one_behind_another, shares, step_by_step, together, worth_behind};

/// About so many tokens have their input's product at once, see `forward.rs`.
const BLOCK: usize = 96;

/// Of layers that go behind each other: into so many blocks a call is cut, of so many
/// tokens at least, whose product is as fast as one of more.
const BLOCKS_BEHIND: usize = 32;
const LEAST_BEHIND: usize = 4;

/// One layer's share of a call.
pub(super) struct Work<'a, T> {
    pub layer: &'a Layer,
    plan: &'a Plan,
    shares: Vec<Range<usize>>,
    /// Parts of the units, see [`together`].
    parts: usize,
    /// How many tokens have their input's product at once, about.
    block: usize,
    /// How many tokens' sums a job has at once, at most.
    room: usize,
    /// How many numbers a job's memory has.
    pub own: usize,
    number: PhantomData<T>,
}

/// Where a layer reads and writes.
pub(super) struct Place<T> {
    pub input: Sequence<T>,
    pub output: Sequence<T>,
    /// `[D, B, P]` and `[D, B, H]`, or null.
    pub start: (Ptr<T>, Ptr<T>),
    pub end: (Ptr<T>, Ptr<T>),
}

/// The memory of a job.
struct Own<T> {
    /// `[room][panels][4][lanes]`.
    sums: *mut T,
    /// `[share][wide]`.
    cells: *mut T,
    /// What the steps read and leave, in turns, `[share][wide output]`.
    hidden: [*mut T; 2],
    /// What is projected, `[share][wide]`.
    out: *mut T,
}

impl<'a, T: Halve> Work<'a, T> {
    /// Of all layers, and whether these go a block of steps behind each other. Not those
    /// of two directions: the one back begins where the one forward ends.
    pub fn all(layers: &'a [Layer], plan: &'a Plan) -> (Vec<Self>, bool) {
        let mut works: Vec<Self> = layers.iter().map(|of| Work::new(of, plan)).collect();
        let is_one = |work: &Work<T>| work.jobs() == 1 && work.parts == 1;
        let sizes = layers.iter().map(|layer| &layer.sizes);
        let behind = works.len() > 1 && works.iter().all(is_one) && worth_behind(plan, sizes);
        if behind {
            let block = (plan.tokens() / BLOCKS_BEHIND).clamp(LEAST_BEHIND, BLOCK);
            works.iter_mut().for_each(|work| work.block = block);
        }
        (works, behind)
    }

    fn new(layer: &'a Layer, plan: &'a Plan) -> Self {
        let sizes = &layer.sizes;
        let parts = together(plan, sizes);
        let shares = match parts {
            1 => shares(plan, sizes),
            _ => plan.shares(1),
        };
        let texts = shares.iter().map(Range::len).max().unwrap_or(0);
        let room = BLOCK.max(texts).min(plan.tokens());
        let line = LINE / size_of::<T>();
        let wide = sizes.wide::<T>().next_multiple_of(line);
        let wide_output = sizes.wide_output::<T>().next_multiple_of(line);
        let out = if sizes.projected { wide } else { 0 };
        Work {
            layer,
            plan,
            shares,
            parts,
            block: BLOCK,
            room,
            own: room * 4 * wide + texts * (wide + 2 * wide_output + out),
            number: PhantomData,
        }
    }

    pub fn jobs(&self) -> usize {
        self.layer.directions.len() * self.shares.len()
    }

    /// What all directions put out for a token.
    pub fn width(&self) -> usize {
        self.layer.sizes.directions * self.layer.sizes.output
    }

    fn memory(&self, texts: usize, base: *mut T) -> Own<T> {
        let sizes = &self.layer.sizes;
        let mut at = base;
        let mut next = |count: usize| {
            let here = at;
            // Each begins a line.
            at = at.wrapping_add(count.next_multiple_of(LINE / size_of::<T>()));
            here
        };
        let wide_output = sizes.wide_output::<T>();
        Own {
            sums: next(self.room * 4 * sizes.wide::<T>()),
            cells: next(texts * sizes.wide::<T>()),
            hidden: [next(texts * wide_output), next(texts * wide_output)],
            out: match sizes.projected {
                true => next(texts * sizes.wide::<T>()),
                false => std::ptr::null_mut(),
            },
        }
    }

    /// The jobs; `base` leads to their memory, and that of the next is so many numbers on.
    ///
    /// # Safety
    ///
    /// Everything leads to what is said of it, and there is memory for [`jobs`](Self::jobs).
    pub unsafe fn cut(&self, place: &Place<T>, base: *mut T, apart: usize) -> Vec<Job<'_, T>> {
        let jobs = (0..self.jobs()).map(|job| {
            let number = job / self.shares.len();
            let share = self.shares[job % self.shares.len()].clone();
            // SAFETY: there is memory for all.
            unsafe { self.job(number, share, place, base.add(job * apart)) }
        });
        jobs.collect()
    }

    /// A layer from its first step to its last.
    ///
    /// # Safety
    ///
    /// As of [`cut`](Self::cut), which gave the jobs.
    pub unsafe fn run(&self, jobs: &[Job<T>]) {
        // SAFETY: as the caller says; each job has texts and memory of its own, and each
        // part of one its units.
        unsafe {
            let step = |job: &Job<T>, step, part| job.step(step, &job.parts(self.parts, part));
            step_by_step(jobs, self.parts, |job| job.begin(), Job::steps, step);
        }
    }

    unsafe fn job(
        &self,
        number: usize,
        share: Range<usize>,
        place: &Place<T>,
        base: *mut T,
    ) -> Job<'_, T> {
        let (plan, sizes) = (self.plan, &self.layer.sizes);
        let states = |both: (Ptr<T>, Ptr<T>)| {
            let rows = number * plan.batch();
            // SAFETY: the states have rows for each direction.
            unsafe {
                (
                    Ptr(both.0.add(rows * sizes.output)),
                    Ptr(both.1.add(rows * sizes.hidden)),
                )
            }
        };
        Job {
            plan,
            sizes,
            of: &self.layer.directions[number],
            reverse: number == 1,
            own: self.memory(share.len(), base),
            input: place.input,
            output: Sequence {
                // SAFETY: a row has the numbers of all directions.
                at: Ptr(unsafe { place.output.at.add(number * sizes.output) }),
                ..place.output
            },
            start: states(place.start),
            end: states(place.end),
            blocks: plan.blocks(&share, self.block),
            share,
        }
    }
}

/// Layers of a job each: while one reads a block of steps, the one above reads what it
/// put out for the block before.
///
/// # Safety
///
/// As of [`Work::cut`], and each job has memory of its own.
pub(super) unsafe fn run_behind<T: Halve>(jobs: &[Job<T>]) {
    let mut blocks: Vec<Range<usize>> = jobs[0].blocks.iter().map(|of| of.0.clone()).collect();
    blocks.dedup();
    // SAFETY: as the caller says; a block's inputs were put out in an earlier stage.
    unsafe {
        jobs.iter().for_each(|job| job.begin());
        one_behind_another(jobs.len(), blocks.len(), |layer, block| {
            let job = &jobs[layer];
            for step in blocks[block].clone() {
                job.step(step, &job.parts(1, 0));
            }
        });
    }
}

/// A direction of some texts.
pub(super) struct Job<'a, T> {
    plan: &'a Plan,
    sizes: &'a Sizes,
    of: &'a Direction,
    reverse: bool,
    share: Range<usize>,
    own: Own<T>,
    input: Sequence<T>,
    output: Sequence<T>,
    /// `[B, P]` and `[B, H]`, or null.
    start: (Ptr<T>, Ptr<T>),
    end: (Ptr<T>, Ptr<T>),
    /// Of each step the block whose inputs have their product at once, and the tokens of
    /// the block before the step.
    blocks: Vec<(Range<usize>, usize)>,
}

// SAFETY: threads write to memory of jobs and units of their own.
unsafe impl<T> Sync for Job<'_, T> {}

/// The panels of a direction's weights that a part of it has.
struct Part {
    ih: Range<usize>,
    hh: Range<usize>,
}

impl<T: Halve> Job<'_, T> {
    fn steps(&self) -> usize {
        self.plan.lengths[self.share.start]
    }

    fn parts(&self, parts: usize, part: usize) -> Part {
        let rows = T::kernels().rows;
        Part {
            ih: self.of.ih.view().part(rows, part, parts),
            hh: self.of.hh.view().part(rows, part, parts),
        }
    }

    /// The states before the first step.
    unsafe fn begin(&self) {
        let (plan, sizes, own) = (self.plan, self.sizes, &self.own);
        let (wide, wide_output) = (sizes.wide::<T>(), sizes.wide_output::<T>());
        let (p, h) = (sizes.output, sizes.hidden);
        for (n, place) in self.share.clone().enumerate() {
            let text = plan.order[place];
            // SAFETY: the memory has a row for each text, and so have the states.
            unsafe {
                let hidden = own.hidden[0].add(n * wide_output);
                let cells = own.cells.add(n * wide);
                if self.start.0.is_null() {
                    std::slice::from_raw_parts_mut(hidden, wide_output).fill(T::default());
                    std::slice::from_raw_parts_mut(cells, wide).fill(T::default());
                } else {
                    put(self.start.0.add(text * p), hidden, p, wide_output);
                    put(self.start.1.add(text * h), cells, h, wide);
                }
                if plan.lengths[place] == 0 {
                    copy(hidden, self.end.0.add(text * p), p);
                    copy(cells, self.end.1.add(text * h), h);
                }
            }
        }
    }

    /// A step of these units.
    unsafe fn step(&self, step: usize, part: &Part) {
        let (plan, sizes, own, kernels) = (self.plan, self.sizes, &self.own, T::kernels());
        let (wide, wide_output) = (sizes.wide::<T>(), sizes.wide_output::<T>());
        let (block, before) = &self.blocks[step];
        let rows = plan.reading_of(&self.share, step);
        let [read, after] = match step % 2 {
            0 => own.hidden,
            _ => [own.hidden[1], own.hidden[0]],
        };
        // SAFETY: the weights have these sizes, the memory rows for all tokens of a block,
        // and the texts these steps.
        unsafe {
            if step == block.start {
                self.inputs(block.clone(), &part.ih);
            }
            (kernels.step)(&Step {
                weights: self.of.hh.view(),
                panels: part.hh.clone(),
                rows,
                back: step % 2 == 1,
                read,
                apart: wide_output,
                sums: own.sums.add(before * 4 * wide),
                cells: own.cells,
                out: if sizes.projected { own.out } else { after },
            });
            // Of the cells, and of what is put out.
            let units = |most: usize| {
                let at = |panel: usize| most.min(panel * kernels.lanes);
                at(part.hh.start)..at(part.hh.end)
            };
            let (mut p, h) = (units(sizes.output), units(sizes.hidden));
            if let Some(hr) = &self.of.hr {
                let row = |n: usize| own.out.add(n * wide).cast_const();
                let left = Left { row, step: 1 };
                product(rows, left, hr, |n| after.add(n * wide_output), false);
                p = 0..sizes.output;
            }
            for n in 0..rows {
                let place = self.share.start + n;
                let text = plan.order[place];
                let hidden = after.add(n * wide_output + p.start);
                let when = plan.when(step, place, self.reverse);
                copy(hidden, self.output.row(when, text).add(p.start), p.len());
                if plan.lengths[place] == step + 1 {
                    let end = self.end.0.add(text * sizes.output + p.start);
                    copy(hidden, end, p.len());
                    let end = self.end.1.add(text * sizes.hidden + h.start);
                    copy(own.cells.add(n * wide + h.start), end, h.len());
                }
            }
        }
    }

    /// What these steps' inputs say to these units.
    unsafe fn inputs(&self, steps: Range<usize>, panels: &Range<usize>) {
        let plan = self.plan;
        let mut tokens: Vec<*const T> = Vec::with_capacity(BLOCK);
        for step in steps {
            for place in self.share.start..self.share.start + plan.reading_of(&self.share, step) {
                let when = plan.when(step, place, self.reverse);
                // SAFETY: the text has this step.
                tokens.push(unsafe { self.input.row(when, plan.order[place]) });
            }
        }
        // SAFETY: as of `step`.
        unsafe {
            (T::kernels().inputs)(&Inputs {
                weights: self.of.ih.view(),
                panels: panels.clone(),
                tokens: &tokens,
                bias: self.of.bias.at::<T>().0.cast_const(),
                sums: self.own.sums,
            });
        }
    }
}
