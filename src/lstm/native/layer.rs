//! One layer's sizes, weights and memory, as both ways through it use them.

use std::ops::Range;

use super::buffer::{Buffer, Ptr};
use super::equations::Masks;
use super::lanes::Real;
use super::plan::Plan;
use super::product::Panels;
use crate::lstm::LstmConfig;

/// The numbers of a layer's call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sizes {
    pub input: usize,
    pub hidden: usize,
    /// What a direction puts out.
    pub output: usize,
    pub projected: bool,
    pub bias: bool,
    pub directions: usize,
    /// No gradient flows from one block of so many steps into the one before.
    pub truncate: Option<usize>,
}

impl Sizes {
    /// Of the layer with this number.
    pub fn of(config: &LstmConfig, number: i64) -> Sizes {
        Sizes {
            input: config.layer_input_size(number) as usize,
            hidden: config.hidden_size as usize,
            output: config.output_size() as usize,
            projected: config.proj_size > 0,
            bias: config.bias,
            directions: config.directions() as usize,
            truncate: None,
        }
    }

    /// The hidden size in whole registers: what stands behind it is zero, or never
    /// looked at.
    pub fn wide<T: Real>(&self) -> usize {
        self.hidden.next_multiple_of(T::kernels().lanes)
    }

    /// The output's size in the same way.
    pub fn wide_output<T: Real>(&self) -> usize {
        self.output.next_multiple_of(T::kernels().lanes)
    }
}

/// A tensor `[T, B, F]` whose last dimension is contiguous.
pub(super) struct Sequence<T> {
    pub at: Ptr<T>,
    pub by_time: usize,
    pub by_text: usize,
}

impl<T> Clone for Sequence<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Sequence<T> {}

impl<T: Real> Sequence<T> {
    pub const NONE: Sequence<T> = Sequence {
        at: Ptr::NULL,
        by_time: 0,
        by_text: 0,
    };

    /// Of a tensor of this dtype whose last stride is 1.
    pub fn of(tensor: &tch::Tensor) -> Self {
        debug_assert_eq!(tensor.kind(), T::KIND);
        let stride = tensor.stride();
        Sequence {
            at: Ptr(tensor.data_ptr().cast()),
            by_time: stride[0] as usize,
            by_text: stride[1] as usize,
        }
    }

    /// Zeros in these columns of a row.
    ///
    /// # Safety
    ///
    /// There are such, and nobody else has them.
    pub unsafe fn clear(self, time: usize, text: usize, columns: Range<usize>) {
        // SAFETY: as the caller says.
        unsafe {
            let row = self.row(time, text).add(columns.start);
            std::slice::from_raw_parts_mut(row, columns.len()).fill(T::default());
        }
    }

    /// # Safety
    ///
    /// There is such a step of such a text.
    pub unsafe fn row(self, time: usize, text: usize) -> *mut T {
        // SAFETY: as the caller says.
        unsafe { self.at.add(time * self.by_time + text * self.by_text) }
    }
}

/// The parameters of a direction, in libtorch's memory, contiguous.
pub(super) struct Weights<T> {
    pub ih: Ptr<T>,
    pub hh: Ptr<T>,
    /// Null without biases.
    pub b_ih: Ptr<T>,
    pub b_hh: Ptr<T>,
    /// Null without a projection.
    pub hr: Ptr<T>,
}

impl<T: Real> Weights<T> {
    /// The sum of both biases, laid out `[4][wide]`.
    ///
    /// # Safety
    ///
    /// The pointers are valid.
    pub unsafe fn bias(&self, sizes: &Sizes) -> Buffer {
        let wide = sizes.wide::<T>();
        let buffer = Buffer::zeros::<T>(4 * wide);
        if sizes.bias {
            for gate in 0..4 {
                for unit in 0..sizes.hidden {
                    let n = gate * sizes.hidden + unit;
                    // SAFETY: both biases have 4 * hidden numbers.
                    unsafe {
                        let sum = *self.b_ih.add(n) + *self.b_hh.add(n);
                        buffer.at::<T>().add(gate * wide + unit).write(sum);
                    }
                }
            }
        }
        buffer
    }

    /// The row of a weight `[4H, columns]` for this place in `[4][wide]`; null behind
    /// the real units.
    ///
    /// # Safety
    ///
    /// `weight` has so many rows.
    pub unsafe fn row(weight: Ptr<T>, columns: usize, sizes: &Sizes, n: usize) -> *const T {
        let wide = sizes.wide::<T>();
        let (gate, unit) = (n / wide, n % wide);
        match unit < sizes.hidden {
            // SAFETY: as the caller says.
            true => unsafe { weight.add((gate * sizes.hidden + unit) * columns) },
            false => std::ptr::null(),
        }
    }

    /// What it projects with, if it does.
    ///
    /// # Safety
    ///
    /// The pointers are valid.
    pub unsafe fn of_projection(&self, sizes: &Sizes) -> Option<Panels> {
        // SAFETY: the weight has this shape.
        sizes
            .projected
            .then(|| unsafe { Panels::transposed(sizes.hidden, sizes.output, self.hr.0) })
    }
}

/// `W_ih` as the input's gradient reads it.
pub(super) struct Split {
    /// `[4 * wide, I]`, without the columns behind the last whole register.
    pub whole: Panels,
    /// These, `[columns][4][wide]`.
    pub rest: Buffer,
}

impl Split {
    /// # Safety
    ///
    /// The weight is of these sizes.
    pub unsafe fn new<T: Real>(ih: Ptr<T>, sizes: &Sizes) -> Split {
        let (wide, columns) = (sizes.wide::<T>(), sizes.input);
        let whole = columns / T::kernels().lanes * T::kernels().lanes;
        let rest = Buffer::raw::<T>((columns - whole) * 4 * wide);
        // SAFETY: as the caller says; the buffer has so many numbers.
        unsafe {
            let row = |n: usize| Weights::row(ih, columns, sizes, n);
            for n in 0..4 * wide {
                for column in whole..columns {
                    let number = match row(n).is_null() {
                        true => T::default(),
                        false => *row(n).add(column),
                    };
                    let place = (column - whole) * 4 * wide + n;
                    rest.at::<T>().add(place).write(number);
                }
            }
            let whole = Panels::of_rows(4 * wide, whole, row);
            Split { whole, rest }
        }
    }
}

/// What of a call is kept for its way back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Keep {
    /// Nothing: there is none.
    Nothing,
    /// The states; the gates are computed once more.
    States,
    All,
}

/// What a direction computes and its way back needs. Without a way back only the last
/// step's is there.
pub(super) struct Memory {
    /// `[tokens][4][wide]`: i, f, g, o. Room for some steps unless all is kept.
    pub gates: Buffer,
    /// `[batch + tokens][wide]`: the cell states, as [`Plan::before`] says.
    pub cells: Buffer,
    /// `[tokens][wide]`: tanh of the cell state; nothing unless all is kept.
    pub tanh: Buffer,
    /// `[batch + tokens][wide output]`.
    pub hidden: Buffer,
    /// As `hidden`, with the recurrent mask: what the gates read. Empty without.
    pub read: Buffer,
    /// `[tokens][wide]`: what is projected. Empty without a projection.
    pub out: Buffer,
    /// Of what happens inside of the steps, each empty if it does not happen.
    pub masks: Dropped,
}

/// Masks in the order of the tokens, padded to whole registers.
pub(super) struct Dropped {
    /// `[batch][wide output]`: factors for the hidden state that is read.
    pub recurrent: Buffer,
    /// `[tokens][wide]`: factors for the candidate.
    pub candidate: Buffer,
    /// `[tokens][wide]`: 1 where the new cell state is taken.
    pub cell: Buffer,
    /// `[tokens][wide output]`: the same of the hidden state.
    pub hidden: Buffer,
}

impl Memory {
    /// `[batch + tokens][wide output]`: what the gates read.
    pub fn read(&self) -> &Buffer {
        match self.read.is_empty() {
            true => &self.hidden,
            false => &self.read,
        }
    }

    /// Whether all texts start from a hidden state of zeros, which says nothing to the
    /// first step.
    pub fn starts_from_zeros<T: Real>(&self, plan: &Plan, sizes: &Sizes) -> bool {
        let count = plan.batch() * sizes.wide_output::<T>();
        // SAFETY: the first rows are the initial states.
        let start = unsafe { std::slice::from_raw_parts(self.hidden.at::<T>().0, count) };
        start.iter().all(|&h| h == T::default())
    }
}

impl Dropped {
    /// # Safety
    ///
    /// The masks have a row for this token.
    pub unsafe fn of<T: Real>(&self, token: usize, wide: usize) -> Masks<T> {
        // SAFETY: as the caller says.
        unsafe {
            Masks {
                candidate: self.candidate.at::<T>().add(token * wide),
                cell: self.cell.at::<T>().add(token * wide),
            }
        }
    }
}
