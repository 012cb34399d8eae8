//! What the forward pass saves for the backward pass, and the masks of a step.

use crate::error::{ShapeError, expect_count, product};
use crate::layer::LayerSizes;
use crate::memory::{Allocator, Block, Buffer};
use crate::plan::BatchPlan;
use crate::scalar::Scalar;
use crate::views::Sequence;

/// What of a forward pass is saved for its backward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SavePolicy {
    /// Nothing: there is no backward pass.
    Nothing,
    /// The states; the backward pass computes the gates once more.
    States,
    /// The states and the gates.
    All,
}

/// What happens inside of the steps of a direction in training; each mask is optional.
#[derive(Clone, Copy, Debug)]
pub struct DropoutMasks<'a, T> {
    /// Factors for the hidden state that the gates read, `[B, P]`.
    pub recurrent: Option<&'a [T]>,
    /// Factors for the candidate, `[T, B, H]`.
    pub candidate: Option<Sequence<'a, T>>,
    /// 1 where the new cell state is taken, 0 where the old one stays, `[T, B, H]`.
    pub cell: Option<Sequence<'a, T>>,
    /// The same of the hidden state, `[T, B, P]`.
    pub hidden: Option<Sequence<'a, T>>,
}

impl<T> Default for DropoutMasks<'_, T> {
    fn default() -> Self {
        DropoutMasks {
            recurrent: None,
            candidate: None,
            cell: None,
            hidden: None,
        }
    }
}

impl<T: Scalar> DropoutMasks<'_, T> {
    pub(crate) fn check(&self, plan: &BatchPlan, sizes: &LayerSizes) -> Result<(), ShapeError> {
        let (time, batch) = (plan.time, plan.batch());
        if let Some(recurrent) = self.recurrent {
            crate::error::expect_elements("recurrent mask", recurrent, &[batch, sizes.output()])?;
        }
        for (name, mask, features) in [
            ("candidate mask", &self.candidate, sizes.hidden),
            ("cell mask", &self.cell, sizes.hidden),
            ("hidden mask", &self.hidden, sizes.output()),
        ] {
            if let Some(mask) = mask {
                mask.expect(name, [time, batch, features])?;
            }
        }
        Ok(())
    }
}

/// The buffers that a forward pass saves for a direction.
pub struct SavedBuffers<T> {
    pub(crate) gates: Buffer<T>,
    pub(crate) cells: Buffer<T>,
    pub(crate) tanh: Buffer<T>,
    pub(crate) hidden: Buffer<T>,
    pub(crate) read: Buffer<T>,
    pub(crate) out: Buffer<T>,
    pub(crate) masks: MaskBuffers<T>,
}

/// Masks in the order of packed rows, padded to whole registers.
pub(crate) struct MaskBuffers<T> {
    recurrent: Buffer<T>,
    candidate: Buffer<T>,
    cell: Buffer<T>,
    hidden: Buffer<T>,
}

/// What the backward pass of a direction reads of its forward pass: as many slices as
/// [`SAVED_BUFFERS`], whose layout is the kernels' own.
#[derive(Clone, Copy, Debug)]
pub struct SavedActivations<'a, T> {
    /// `[packed rows][panels][4][lanes]`: i, f, g, o. Empty unless all is saved.
    pub(crate) gates: &'a [T],
    /// `[B + packed rows][hidden padded]`: the cell states, as [`BatchPlan::before`] says.
    pub(crate) cells: &'a [T],
    /// `[packed rows][hidden padded]`: tanh of the cell state. Empty unless all is saved.
    pub(crate) tanh: &'a [T],
    /// `[B + packed rows][output padded]`: the hidden states.
    pub(crate) hidden: &'a [T],
    /// As `hidden`, with the recurrent mask: what the gates read. Empty without.
    read: &'a [T],
    /// `[packed rows][hidden padded]`: what is projected. Empty without a projection.
    pub(crate) out: &'a [T],
    pub(crate) masks: PackedMasks<'a, T>,
}

/// Masks in the order of packed rows, padded to whole registers; each is empty if it
/// is not there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PackedMasks<'a, T> {
    /// `[B][output padded]`: factors for the hidden state that is read.
    pub recurrent: &'a [T],
    /// `[packed rows][hidden padded]`: factors for the candidate.
    pub candidate: &'a [T],
    /// `[packed rows][hidden padded]`: 1 where the new cell state is taken.
    pub cell: &'a [T],
    /// `[packed rows][output padded]`: the same of the hidden state.
    pub hidden: &'a [T],
}

/// How many buffers a direction saves.
pub const SAVED_BUFFERS: usize = 10;

impl<T: Scalar> SavedBuffers<T> {
    /// What the backward pass reads.
    pub fn view(&self) -> SavedActivations<'_, T> {
        let [gates, cells, tanh, hidden, read, out] = [
            &self.gates,
            &self.cells,
            &self.tanh,
            &self.hidden,
            &self.read,
            &self.out,
        ]
        // SAFETY: a forward pass, which alone makes these, writes every element.
        .map(|buffer| unsafe { buffer.as_slice() });
        SavedActivations {
            gates,
            cells,
            tanh,
            hidden,
            read,
            out,
            masks: self.masks.view(),
        }
    }

    /// The memory of each buffer, none where it has no elements, in the order of
    /// [`SavedActivations::from_slices`].
    pub fn into_blocks(self) -> [Option<Block>; SAVED_BUFFERS] {
        [
            self.gates,
            self.cells,
            self.tanh,
            self.hidden,
            self.read,
            self.out,
            self.masks.recurrent,
            self.masks.candidate,
            self.masks.cell,
            self.masks.hidden,
        ]
        .map(Buffer::into_block)
    }
}

impl<T: Scalar> MaskBuffers<T> {
    /// Masks that have the shapes of this plan and these sizes.
    pub fn new(
        allocator: &dyn Allocator,
        masks: &DropoutMasks<T>,
        plan: &BatchPlan,
        sizes: &LayerSizes,
        reverse: bool,
    ) -> MaskBuffers<T> {
        let hidden_padded = sizes.hidden_padded::<T>();
        let output_padded = sizes.output_padded::<T>();
        let packed = |mask: &Option<Sequence<T>>, width: usize| {
            let Some(mask) = mask else {
                return Buffer::empty();
            };
            let mut buffer = Buffer::uninit(allocator, plan.packed_rows() * width);
            let to = buffer.shared();
            for step in 0..plan.steps() {
                for slot in 0..plan.active(step) {
                    let time = plan.time_of(step, slot, reverse);
                    let row = (plan.starts[step] + slot) * width;
                    // SAFETY: the buffer is nobody else's yet.
                    unsafe { to.write_padded(row, mask.row(time, plan.order[slot]), width) };
                }
            }
            buffer
        };
        let recurrent = match masks.recurrent {
            None => Buffer::empty(),
            Some(mask) => {
                let mut buffer = Buffer::uninit(allocator, plan.batch() * output_padded);
                let to = buffer.shared();
                for (slot, &sequence) in plan.order.iter().enumerate() {
                    let row = &mask[sequence * sizes.output()..][..sizes.output()];
                    // SAFETY: the buffer is nobody else's yet.
                    unsafe { to.write_padded(slot * output_padded, row, output_padded) };
                }
                buffer
            }
        };
        MaskBuffers {
            recurrent,
            candidate: packed(&masks.candidate, hidden_padded),
            cell: packed(&masks.cell, hidden_padded),
            hidden: packed(&masks.hidden, output_padded),
        }
    }

    pub fn view(&self) -> PackedMasks<'_, T> {
        let [recurrent, candidate, cell, hidden] =
            [&self.recurrent, &self.candidate, &self.cell, &self.hidden]
                // SAFETY: `new` writes every row.
                .map(|buffer| unsafe { buffer.as_slice() });
        PackedMasks {
            recurrent,
            candidate,
            cell,
            hidden,
        }
    }
}

impl<'a, T> PackedMasks<'a, T> {
    /// No masks.
    pub const NONE: PackedMasks<'a, T> = PackedMasks {
        recurrent: &[],
        candidate: &[],
        cell: &[],
        hidden: &[],
    };
}

impl<'a, T: Scalar> SavedActivations<'a, T> {
    /// From the memory of [`SavedBuffers::into_blocks`], in its order; empty slices for
    /// buffers without memory.
    pub fn from_slices(slices: [&'a [T]; SAVED_BUFFERS]) -> SavedActivations<'a, T> {
        let [gates, cells, tanh, hidden, read, out, ..] = slices;
        let [.., recurrent, candidate, cell, hidden_mask] = slices;
        SavedActivations {
            gates,
            cells,
            tanh,
            hidden,
            read,
            out,
            masks: PackedMasks {
                recurrent,
                candidate,
                cell,
                hidden: hidden_mask,
            },
        }
    }

    /// `[B + packed rows][output padded]`: what the gates read.
    pub(crate) fn read(&self) -> &'a [T] {
        match self.read.is_empty() {
            true => self.hidden,
            false => self.read,
        }
    }

    /// Whether the gates are to be computed once more.
    pub(crate) fn lacks_gates(&self) -> bool {
        self.gates.is_empty()
    }

    /// Whether all sequences start from a hidden state of zeros, which says nothing to the
    /// first step.
    pub(crate) fn starts_from_zeros(&self, plan: &BatchPlan, sizes: &LayerSizes) -> bool {
        let start = &self.hidden[..plan.batch() * sizes.output_padded::<T>()];
        start.iter().all(|&h| h == T::default())
    }

    pub(crate) fn check(&self, plan: &BatchPlan, sizes: &LayerSizes) -> Result<(), ShapeError> {
        let (rows, states) = (plan.packed_rows(), plan.packed_rows() + plan.batch());
        let hidden_padded = sizes.hidden_padded::<T>();
        let output_padded = sizes.output_padded::<T>();
        let gates = !self.gates.is_empty();
        let masked = !self.masks.recurrent.is_empty();
        // Whether it is there, or may be.
        let any = |slice: &[T]| !slice.is_empty();
        let all = [
            ("saved gates", self.gates, rows, 4 * hidden_padded, gates),
            ("saved cells", self.cells, states, hidden_padded, true),
            ("saved tanh", self.tanh, rows, hidden_padded, gates),
            ("saved hidden", self.hidden, states, output_padded, true),
            ("saved read", self.read, states, output_padded, masked),
            (
                "saved out",
                self.out,
                rows,
                hidden_padded,
                sizes.projected(),
            ),
            (
                "recurrent mask",
                self.masks.recurrent,
                plan.batch(),
                output_padded,
                masked,
            ),
            (
                "candidate mask",
                self.masks.candidate,
                rows,
                hidden_padded,
                any(self.masks.candidate),
            ),
            (
                "cell mask",
                self.masks.cell,
                rows,
                hidden_padded,
                any(self.masks.cell),
            ),
            (
                "hidden mask",
                self.masks.hidden,
                rows,
                output_padded,
                any(self.masks.hidden),
            ),
        ];
        for (name, slice, rows, width, there) in all {
            let expected = if there { product(&[rows, width])? } else { 0 };
            expect_count(name, slice.len(), expected)?;
        }
        Ok(())
    }
}
