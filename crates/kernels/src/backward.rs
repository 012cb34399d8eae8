//! The backward pass through a layer: step by step the gradients of the gates and one
//! product with `W_hh`, and afterwards the gradients of the weights and of the input
//! (`gradients.rs`).

mod steps;

use crate::error::{ShapeError, expect_count, expect_elements, product};
use crate::layer::{LayerGradients, LayerSizes, LayerWeights, SplitWeight, gate_row};
use crate::memory::{Buffer, SharedSlice};
use crate::packed::{PackedDirection, WeightStorage};
use crate::parallel::{parallel_for, shares, unit_parallelism};
use crate::plan::BatchPlan;
use crate::pool::Context;
use crate::product::Panels;
use crate::saved::SavedActivations;
use crate::scalar::Scalar;
use crate::views::{Sequence, SequenceMut, SharedSequence};

/// A backward pass through a layer. Every result that is there is overwritten.
#[derive(Debug)]
pub struct Backward<'a, T> {
    /// The lengths of the sequences.
    pub plan: &'a BatchPlan,
    /// The sizes of the layer.
    pub sizes: LayerSizes,
    /// No gradient flows from one block of so many steps into the one before.
    pub truncate: Option<usize>,
    /// The parameters of each direction.
    pub weights: &'a [LayerWeights<'a, T>],
    /// The input of the forward pass, `[T, B, I]`.
    pub input: Sequence<'a, T>,
    /// What the forward pass saved of each direction.
    pub saved: &'a [SavedActivations<'a, T>],
    /// The gradient of the output, `[T, B, D*P]`; none: zeros.
    pub d_output: Option<Sequence<'a, T>>,
    /// The gradient of the final hidden states, `[D, B, P]`; none: zeros.
    pub d_h_end: Option<&'a [T]>,
    /// The gradient of the final cell states, `[D, B, H]`; none: zeros.
    pub d_c_end: Option<&'a [T]>,
    /// Where the gradient of the input goes, `[T, B, I]`.
    pub d_input: Option<SequenceMut<'a, T>>,
    /// Where the gradient of the initial hidden states goes, `[D, B, P]`.
    pub d_h_start: Option<&'a mut [T]>,
    /// Where the gradient of the initial cell states goes, `[D, B, H]`.
    pub d_c_start: Option<&'a mut [T]>,
    /// Where the gradients of the parameters of each direction go.
    pub gradients: Vec<LayerGradients<'a, T>>,
}

/// What the directions share, as threads do.
pub(crate) struct BackwardPass<'a, T> {
    pub context: Context<'a>,
    pub plan: &'a BatchPlan,
    pub sizes: LayerSizes,
    truncate: Option<usize>,
    pub input: Sequence<'a, T>,
    d_output: Option<Sequence<'a, T>>,
    pub d_input: Option<SharedSequence<'a, T>>,
    d_h_start: Option<SharedSlice<'a, T>>,
    d_c_start: Option<SharedSlice<'a, T>>,
}

/// A direction, ready to run.
pub(crate) struct Direction<'a, T> {
    pub number: usize,
    pub saved: SavedActivations<'a, T>,
    /// See [`SavedActivations::starts_from_zeros`].
    pub from_zeros: bool,
    /// If the gates were not saved.
    recompute: Option<PackedDirection<T>>,
    /// `[4 * hidden padded, P]`, `[4 * hidden padded, I]`, `[P, H]`.
    hh: Panels<T>,
    pub ih: Option<SplitWeight<T>>,
    hr: Option<Panels<T>>,
    /// `[packed rows][4][hidden padded]`.
    pub d_gates: SharedSlice<'a, T>,
    /// `[B][output padded]`, `[B][hidden padded]`.
    d_hidden: SharedSlice<'a, T>,
    d_cell: SharedSlice<'a, T>,
    /// `[B][hidden padded]`: of what is projected.
    d_out: SharedSlice<'a, T>,
    /// `[packed rows][output padded]`: of what comes out of the projection.
    pub d_projected: SharedSlice<'a, T>,
    /// `[B][output padded]`: what zoneout carries past a step.
    past: Option<SharedSlice<'a, T>>,
    pub gradients: SharedGradients<'a, T>,
}

/// As [`LayerGradients`].
pub(crate) struct SharedGradients<'a, T> {
    pub ih: Option<SharedSlice<'a, T>>,
    pub hh: Option<SharedSlice<'a, T>>,
    pub biases: [Option<SharedSlice<'a, T>>; 2],
    pub hr: Option<SharedSlice<'a, T>>,
}

/// The memory of a direction.
struct Memory<T> {
    d_gates: Buffer<T>,
    d_hidden: Buffer<T>,
    d_cell: Buffer<T>,
    d_out: Buffer<T>,
    d_projected: Buffer<T>,
    past: Buffer<T>,
}

impl<'a, T: Scalar> Backward<'a, T> {
    /// Runs the pass.
    ///
    /// # Errors
    ///
    /// If a length, shape or number of elements does not fit.
    pub fn run(self, context: &Context) -> Result<(), ShapeError> {
        self.check()?;
        let Backward {
            plan,
            sizes,
            weights,
            saved,
            ..
        } = self;
        let parts = match saved.iter().any(SavedActivations::lacks_gates) {
            true => 1,
            false => unit_parallelism(context.threads(), plan, &sizes),
        };
        let pass = BackwardPass {
            context: *context,
            plan,
            sizes,
            truncate: self.truncate,
            input: self.input,
            d_output: self.d_output,
            d_input: self.d_input.map(SequenceMut::shared),
            d_h_start: self.d_h_start.map(SharedSlice::new),
            d_c_start: self.d_c_start.map(SharedSlice::new),
        };
        let mut memory: Vec<_> = (saved.iter().enumerate())
            .map(|(number, saved)| pass.memory(number, saved, self.d_h_end, self.d_c_end))
            .collect();
        let directions: Vec<_> = (memory.iter_mut().zip(self.gradients))
            .enumerate()
            .map(|(number, (memory, gradients))| {
                pass.direction(number, &weights[number], saved[number], memory, gradients)
            })
            .collect();
        match parts {
            1 => {
                let shares = shares(context, plan, &sizes);
                let jobs = directions.iter().flat_map(|direction| {
                    let shares = shares.iter().cloned();
                    shares.map(move |share| (direction, share))
                });
                let jobs: Vec<_> = jobs.collect();
                parallel_for(context, &jobs, |(of, share)| {
                    // SAFETY: each job has sequences of its own.
                    unsafe { pass.share(of, share.clone()) };
                });
            }
            // SAFETY: nobody else uses the directions.
            _ => unsafe { pass.in_parts(&directions, parts) },
        }
        // SAFETY: all steps are done.
        unsafe { pass.gradients(&directions) };
        Ok(())
    }

    fn check(&self) -> Result<(), ShapeError> {
        let (plan, sizes) = (self.plan, &self.sizes);
        let (time, batch, d) = (plan.time, plan.batch(), sizes.directions);
        LayerWeights::check_all(self.weights, sizes)?;
        self.input.expect("input", [time, batch, sizes.input])?;
        expect_count("saved directions", self.saved.len(), d)?;
        expect_count("gradients of directions", self.gradients.len(), d)?;
        for saved in self.saved {
            saved.check(plan, sizes)?;
        }
        for gradients in &self.gradients {
            gradients.check(sizes)?;
        }
        if let Some(d_output) = &self.d_output {
            d_output.expect("d_output", [time, batch, d * sizes.output()])?;
        }
        if let Some(d_input) = &self.d_input {
            d_input.expect("d_input", [time, batch, sizes.input])?;
        }
        let d_start = (self.d_h_start.as_deref(), self.d_c_start.as_deref());
        for (name, slice, width) in [
            ("d_h_end", self.d_h_end, sizes.output()),
            ("d_c_end", self.d_c_end, sizes.hidden),
            ("d_h_start", d_start.0, sizes.output()),
            ("d_c_start", d_start.1, sizes.hidden),
        ] {
            if let Some(slice) = slice {
                expect_elements(name, slice, &[d, batch, width])?;
            }
        }
        let rows = plan.packed_rows() + batch;
        let widest = sizes.hidden_padded::<T>().max(sizes.output_padded::<T>());
        product(&[rows, 4, widest]).map(|_| ())
    }
}

impl<'a, T: Scalar> BackwardPass<'a, T> {
    /// The memory of a direction, with the gradients of its final states.
    fn memory(
        &self,
        number: usize,
        saved: &SavedActivations<T>,
        d_h_end: Option<&[T]>,
        d_c_end: Option<&[T]>,
    ) -> Memory<T> {
        let (plan, sizes) = (self.plan, &self.sizes);
        let hidden_padded = sizes.hidden_padded::<T>();
        let output_padded = sizes.output_padded::<T>();
        let (batch, rows) = (plan.batch(), plan.packed_rows());
        let allocator = self.context.allocator;
        let some = |rows: usize, width: usize, there: bool| {
            Buffer::uninit(allocator, if there { rows * width } else { 0 })
        };
        let ends = |ends: Option<&[T]>, size: usize, padded: usize| {
            let mut buffer = Buffer::zeros(allocator, batch * padded);
            if let Some(ends) = ends {
                let to = buffer.shared();
                for (slot, &sequence) in plan.order.iter().enumerate() {
                    let row = &ends[(number * batch + sequence) * size..][..size];
                    // SAFETY: the buffer is nobody else's yet.
                    unsafe { to.write(slot * padded, row) };
                }
            }
            buffer
        };
        Memory {
            d_gates: some(rows, 4 * hidden_padded, true),
            d_hidden: ends(d_h_end, sizes.output(), output_padded),
            d_cell: ends(d_c_end, sizes.hidden, hidden_padded),
            d_out: some(batch, hidden_padded, sizes.projected()),
            d_projected: some(rows, output_padded, sizes.projected()),
            past: some(batch, output_padded, !saved.masks.hidden.is_empty()),
        }
    }

    fn direction<'d>(
        &self,
        number: usize,
        weights: &LayerWeights<T>,
        saved: SavedActivations<'d, T>,
        memory: &'d mut Memory<T>,
        gradients: LayerGradients<'d, T>,
    ) -> Direction<'d, T> {
        let (sizes, context) = (&self.sizes, &self.context);
        let (p, h) = (sizes.output(), sizes.hidden);
        let past = !memory.past.is_empty();
        Direction {
            number,
            saved,
            from_zeros: saved.starts_from_zeros(self.plan, sizes),
            recompute: saved.lacks_gates().then(|| {
                // What is projected was saved.
                let weights = LayerWeights {
                    hr: None,
                    ..*weights
                };
                PackedDirection::new(context, &weights, sizes, WeightStorage::Same)
            }),
            hh: Panels::of_rows(context, 4 * sizes.hidden_padded::<T>(), p, |n| {
                gate_row(weights.hh, p, sizes, n)
            }),
            ih: (self.d_input.is_some()).then(|| SplitWeight::new(context, weights.ih, sizes)),
            hr: (weights.hr).map(|hr| Panels::of_rows(context, p, h, |n| Some(&hr[n * h..][..h]))),
            d_gates: memory.d_gates.shared(),
            d_hidden: memory.d_hidden.shared(),
            d_cell: memory.d_cell.shared(),
            d_out: memory.d_out.shared(),
            d_projected: memory.d_projected.shared(),
            past: past.then(|| memory.past.shared()),
            gradients: SharedGradients {
                ih: gradients.ih.map(SharedSlice::new),
                hh: gradients.hh.map(SharedSlice::new),
                biases: [gradients.b_ih, gradients.b_hh].map(|bias| bias.map(SharedSlice::new)),
                hr: gradients.hr.map(SharedSlice::new),
            },
        }
    }
}
