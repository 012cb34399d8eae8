//! The way back through a layer: step by step the slopes of the gates and one product
//! with `W_hh`, and afterwards the gradients of the weights and of the input
//! (`gradients.rs`).

use std::ops::Range;

use super::again::Again;
use super::buffer::{Buffer, Ptr, Shared, add_to, copy};
use super::equations::Slopes;
use super::gates::OfGates;
use super::lanes::Real;
use super::layer::{Memory, Sequence, Sizes, Split, Weights};
use super::plan::Plan;
use super::product::{Left, Panels, product, product_of};
use super::threads::{at_once, in_stages, shares, together, units};
use super::tile::VECTORS;

/// What the way back starts from and where its results go; each result may be null.
pub(super) struct Backward<'a, T> {
    pub plan: &'a Plan,
    pub sizes: Sizes,
    pub input: Sequence<T>,
    /// `[T, B, D*P]`, or nothing.
    pub d_output: Sequence<T>,
    /// `[D, B, P]`, contiguous, or null.
    pub d_h_end: Ptr<T>,
    /// `[D, B, H]`, contiguous, or null.
    pub d_c_end: Ptr<T>,
    /// `[T, B, I]`, or nothing.
    pub d_input: Sequence<T>,
    pub d_h_start: Ptr<T>,
    pub d_c_start: Ptr<T>,
}

/// A direction, ready to run.
pub(super) struct Direction<'a, T> {
    pub number: usize,
    pub memory: &'a Memory,
    /// See [`Memory::starts_from_zeros`].
    pub from_zeros: bool,
    /// If the gates were not kept.
    again: Option<OfGates>,
    /// `[4 * wide, P]`, `[4 * wide, I]`, `[P, H]`.
    hh: Panels,
    pub ih: Option<Split>,
    hr: Option<Panels>,
    /// `[tokens][4][wide]`.
    pub d_gates: Buffer,
    /// `[batch][wide output]`, `[batch][wide]`.
    d_hidden: Buffer,
    d_cell: Buffer,
    /// `[batch][wide]`: of what is projected.
    d_out: Buffer,
    /// `[tokens][wide output]`: of what comes out of the projection.
    pub d_projected: Buffer,
    /// `[batch][wide output]`: what zoneout carries past a step.
    past: Buffer,
    pub gradients: &'a Weights<T>,
}

// SAFETY: threads only read its fields, and write to rows of the memory of their own.
unsafe impl<T> Sync for Direction<'_, T> {}

impl<T: Real> Backward<'_, T> {
    /// Writes every gradient that is not null.
    ///
    /// # Safety
    ///
    /// The pointers lead to what the fields say, and the results are nobody else's.
    pub unsafe fn run(self, weights: &[Weights<T>], memory: &[Memory], gradients: &[Weights<T>]) {
        let kept = memory.iter().all(|of| !of.gates.is_empty());
        let parts = match kept {
            true => together(self.plan, &self.sizes),
            false => 1,
        };
        let shares = shares(self.plan, &self.sizes);
        let mut directions = Vec::new();
        for number in 0..weights.len() {
            let of = (&weights[number], &memory[number], &gradients[number]);
            // SAFETY: as the caller says.
            directions.push(unsafe { self.direction(number, of) });
        }
        let this = Shared(&self);
        let jobs = directions.iter().flat_map(|direction| {
            let shares = shares.iter().cloned();
            shares.map(move |share| (direction, share))
        });
        let jobs: Vec<_> = jobs.collect();
        // SAFETY: as the caller says; each share has texts of its own, each part its units.
        unsafe {
            match parts {
                1 => at_once(&jobs, |(of, share)| this.get().share(of, share.clone())),
                _ => self.in_parts(&directions, parts),
            }
            self.gradients(&directions);
        }
    }

    unsafe fn direction<'m>(
        &self,
        number: usize,
        (weights, memory, gradients): (&Weights<T>, &'m Memory, &'m Weights<T>),
    ) -> Direction<'m, T> {
        let (plan, sizes) = (self.plan, &self.sizes);
        let (wide, wide_output) = (sizes.wide::<T>(), sizes.wide_output::<T>());
        let (batch, tokens) = (plan.batch(), plan.tokens());
        let some = |count: usize, there: bool| Buffer::raw::<T>(if there { count } else { 0 });
        let zoneout = !memory.masks.hidden.is_empty();
        let (d_hidden, d_cell) = (
            Buffer::zeros::<T>(batch * wide_output),
            Buffer::zeros::<T>(batch * wide),
        );
        let (p, h) = (sizes.output, sizes.hidden);
        for (place, &text) in plan.order.iter().enumerate() {
            let row = number * batch + text;
            // SAFETY: the gradients of the ends have these rows.
            unsafe {
                if !self.d_h_end.is_null() {
                    let to = d_hidden.at::<T>().add(place * wide_output);
                    copy(self.d_h_end.add(row * p), to, p);
                }
                if !self.d_c_end.is_null() {
                    let to = d_cell.at::<T>().add(place * wide);
                    copy(self.d_c_end.add(row * h), to, h);
                }
            }
        }
        // SAFETY: the weights have these shapes.
        unsafe {
            let rows = |weight, columns| {
                Panels::of_rows(4 * wide, columns, |n| {
                    Weights::row(weight, columns, sizes, n)
                })
            };
            Direction {
                number,
                memory,
                from_zeros: memory.starts_from_zeros::<T>(plan, sizes),
                again: memory
                    .gates
                    .is_empty()
                    .then(|| OfGates::new(weights, sizes)),
                hh: rows(weights.hh, p),
                ih: (!self.d_input.at.is_null()).then(|| Split::new(weights.ih, sizes)),
                hr: (sizes.projected)
                    .then(|| Panels::of_rows(p, h, |n| weights.hr.add(n * h).cast_const())),
                d_gates: some(tokens * 4 * wide, true),
                d_hidden,
                d_cell,
                d_out: some(batch * wide, sizes.projected),
                d_projected: some(tokens * wide_output, sizes.projected),
                past: some(batch * wide_output, zoneout),
                gradients,
            }
        }
    }

    /// All steps of all texts, the last first, by threads that go through each together.
    /// A part has the columns of `W_hh` of its own units, so that threads have to wait for
    /// each other once in a step: for the slopes of all gates.
    unsafe fn in_parts(&self, directions: &[Direction<T>], parts: usize) {
        let (plan, this) = (self.plan, Shared(self));
        let (steps, wide) = (plan.steps(), self.sizes.wide::<T>());
        in_stages(steps + 1, directions.len() * parts, |stage, piece| {
            let panel = VECTORS * T::kernels().lanes;
            let (of, this) = (&directions[piece / parts], this.get());
            let units = units(wide, panel, piece % parts, parts);
            // SAFETY: as the caller of `run` says.
            unsafe {
                if stage > 0 {
                    let step = steps - stage;
                    this.through(of, step, 0..plan.reading(step), units.clone());
                }
                if stage < steps {
                    let step = steps - 1 - stage;
                    this.slopes(
                        of,
                        step,
                        0..plan.reading(step),
                        this.kept(of, step, 0),
                        units,
                    );
                }
            }
        });
        for of in directions {
            // SAFETY: as above.
            unsafe { self.put_start(of, 0..plan.batch()) };
        }
    }

    /// The gates of a token and the tanh of its cell state.
    unsafe fn kept(&self, of: &Direction<T>, step: usize, place: usize) -> (*mut T, *mut T) {
        let (token, wide) = (self.plan.starts[step] + place, self.sizes.wide::<T>());
        // SAFETY: all is kept.
        unsafe {
            let gates = of.memory.gates.at::<T>().add(token * 4 * wide);
            (gates, of.memory.tanh.at::<T>().add(token * wide))
        }
    }

    /// All steps of the texts in these places, the last first.
    unsafe fn share(&self, of: &Direction<T>, share: Range<usize>) {
        let plan = self.plan;
        let mut again = of
            .again
            .as_ref()
            .map(|gates| Again::new(self, gates, &share));
        for step in (0..plan.lengths[share.start]).rev() {
            let places = share.start..share.end.min(plan.reading(step));
            // SAFETY: as the caller of `run` says.
            unsafe {
                let made = match &mut again {
                    None => self.kept(of, step, share.start),
                    Some(again) => again.step(self, of, step, &share),
                };
                let all = 0..self.sizes.wide::<T>();
                self.slopes(of, step, places.clone(), made, all);
                self.through(of, step, places, 0..self.sizes.wide_output::<T>());
            }
        }
        // SAFETY: as above.
        unsafe { self.put_start(of, share) };
    }

    /// The gradients of these texts' initial states.
    unsafe fn put_start(&self, of: &Direction<T>, share: Range<usize>) {
        let plan = self.plan;
        let (p, h) = (self.sizes.output, self.sizes.hidden);
        for place in share {
            let row = of.number * plan.batch() + plan.order[place];
            // SAFETY: rows of the texts of this share.
            unsafe {
                if !self.d_h_start.is_null() {
                    let from = of.d_hidden.at::<T>();
                    let from = from.add(place * self.sizes.wide_output::<T>());
                    copy(from, self.d_h_start.add(row * p), p);
                }
                if !self.d_c_start.is_null() {
                    let from = of.d_cell.at::<T>().add(place * self.sizes.wide::<T>());
                    copy(from, self.d_c_start.add(row * h), h);
                }
            }
        }
    }

    /// The slopes of these units' gates at a step; `made` are the gates of its texts and the
    /// tanh of their cell states. With a projection it has all units.
    unsafe fn slopes(
        &self,
        of: &Direction<T>,
        step: usize,
        places: Range<usize>,
        made: (*mut T, *mut T),
        units: Range<usize>,
    ) {
        let (plan, sizes, memory) = (self.plan, &self.sizes, of.memory);
        let (wide, wide_output) = (sizes.wide::<T>(), sizes.wide_output::<T>());
        let (first, count) = (places.start, places.len());
        let token = plan.starts[step] + first;
        let outputs = match sizes.projected {
            true => 0..wide_output,
            false => units.clone(),
        };
        // SAFETY: rows of the texts of this share, and nobody else's.
        unsafe {
            let d_hidden = of.d_hidden.at::<T>().add(first * wide_output);
            let d_cell = of.d_cell.at::<T>().add(first * wide);
            if !self.d_output.at.is_null() {
                for (n, place) in places.clone().enumerate() {
                    let when = plan.when(step, place, of.number == 1);
                    let from = self.d_output.row(when, plan.order[place]);
                    let from = from.add(of.number * sizes.output + outputs.start);
                    let real = outputs.end.min(sizes.output) - outputs.start;
                    let from = std::slice::from_raw_parts(from, real);
                    let to = d_hidden.add(n * wide_output + outputs.start);
                    add_to(std::slice::from_raw_parts_mut(to, real), from);
                }
            }
            let past = of.past.at::<T>().add(first * wide_output);
            if !past.is_null() {
                let new = memory.masks.hidden.at::<T>().add(token * wide_output);
                for row in 0..count {
                    for n in outputs.clone().map(|n| row * wide_output + n) {
                        let d = *d_hidden.add(n);
                        *past.add(n) = (T::ONE - *new.add(n)) * d;
                        *d_hidden.add(n) = *new.add(n) * d;
                    }
                }
            }
            let d_out = match &of.hr {
                None => d_hidden,
                Some(hr) => {
                    let kept = of.d_projected.at::<T>().add(token * wide_output);
                    copy(d_hidden, kept, count * wide_output);
                    let d_out = of.d_out.at::<T>().add(first * wide);
                    let row = |n: usize| d_hidden.add(n * wide_output).cast_const();
                    let left = Left { row, step: 1 };
                    product(count, left, hr, |n| d_out.add(n * wide), false);
                    d_out
                }
            };
            let d_gates = of.d_gates.at::<T>().add(token * 4 * wide);
            (T::kernels().slopes)(&Slopes {
                rows: count,
                units: units.len(),
                gates: made.0.add(units.start),
                width: wide,
                before: (memory.cells.at::<T>())
                    .add((plan.before(step) + first) * wide + units.start),
                tanh: made.1.add(units.start),
                d_out: d_out.add(units.start),
                d_cell: d_cell.add(units.start),
                d_gates: d_gates.add(units.start),
                masks: memory.masks.of(token, wide).from(units.start),
            });
        }
    }

    /// From the slopes of all gates at a step to these numbers of the gradient of the
    /// hidden state before it.
    unsafe fn through(
        &self,
        of: &Direction<T>,
        step: usize,
        places: Range<usize>,
        numbers: Range<usize>,
    ) {
        let (plan, sizes) = (self.plan, &self.sizes);
        let (wide, wide_output) = (sizes.wide::<T>(), sizes.wide_output::<T>());
        let (first, count) = (places.start, places.len());
        let token = plan.starts[step] + first;
        // SAFETY: rows of the texts of this share, and nobody else's.
        unsafe {
            let d_gates = of.d_gates.at::<T>().add(token * 4 * wide);
            let d_hidden = of.d_hidden.at::<T>().add(first * wide_output);
            if step > 0
                && sizes
                    .truncate
                    .is_some_and(|block| step.is_multiple_of(block))
            {
                let d_cell = of.d_cell.at::<T>().add(first * wide);
                let units = match sizes.projected {
                    true => 0..wide,
                    false => numbers.clone(),
                };
                for row in 0..count {
                    let d_hidden = d_hidden.add(row * wide_output + numbers.start);
                    std::ptr::write_bytes(d_hidden, 0, numbers.len());
                    let d_cell = d_cell.add(row * wide + units.start);
                    std::ptr::write_bytes(d_cell, 0, units.len());
                }
                return;
            }
            if step == 0 && self.d_h_start.is_null() {
                return;
            }
            let row = |n: usize| d_gates.add(n * 4 * wide).cast_const();
            let left = Left { row, step: 1 };
            let to = |n: usize| d_hidden.add(n * wide_output);
            product_of(numbers.clone(), count, left, &of.hh, to, false);
            let mask = of.memory.masks.recurrent.at::<T>().add(first * wide_output);
            let past = of.past.at::<T>().add(first * wide_output);
            if mask.is_null() && past.is_null() {
                return;
            }
            for row in 0..count {
                for n in numbers.clone().map(|n| row * wide_output + n) {
                    if !mask.is_null() {
                        *d_hidden.add(n) = *d_hidden.add(n) * *mask.add(n);
                    }
                    if !past.is_null() {
                        *d_hidden.add(n) += *past.add(n);
                    }
                }
            }
        }
    }
}
