//! A direction's gates from what it reads: the products, and the equations behind them
//! while their sums are near.

use std::ops::Range;

use super::buffer::Buffer;
use super::equations::Gates;
use super::lanes::Real;
use super::layer::{Sizes, Weights};
use super::product::{Panels, for_tiles, rows_of};
use super::tile::{Start, Tile, VECTORS};

/// The matrices of a direction's gates, as both ways use them.
pub(super) struct OfGates {
    ih: Panels,
    hh: Panels,
    /// `[4][wide]`.
    bias: Buffer,
}

impl OfGates {
    /// # Safety
    ///
    /// The weights are of these sizes.
    pub unsafe fn new<T: Real>(weights: &Weights<T>, sizes: &Sizes) -> OfGates {
        // SAFETY: as the caller says.
        unsafe {
            OfGates {
                ih: Panels::of_gates(sizes.input, sizes.hidden, weights.ih.0),
                hh: Panels::of_gates(sizes.output, sizes.hidden, weights.hh.0),
                bias: weights.bias(sizes),
            }
        }
    }

    /// `W_ih x + b` of these tokens, each `(x, the sums)`, for these units.
    ///
    /// # Safety
    ///
    /// The first of each leads to `input` numbers, the second to `[4][wide]`.
    pub unsafe fn inputs<T: Real>(
        &self,
        sizes: &Sizes,
        tokens: &[(*const T, *mut T)],
        units: Range<usize>,
    ) {
        let kernels = T::kernels();
        let wide = sizes.wide::<T>();
        for unit in units.step_by(kernels.lanes) {
            // SAFETY: as the caller says.
            unsafe {
                let bias = self.bias.at::<T>().add(unit);
                let panel = self.ih.gates_of(unit);
                for_tiles(kernels, tokens.len(), |row, count| {
                    (kernels.tile)(&Tile {
                        rows: count,
                        vectors: VECTORS,
                        depth: sizes.input,
                        a: rows_of(row, count, |n| tokens[n].0),
                        a_step: 1,
                        b: panel,
                        b_step: VECTORS * kernels.lanes,
                        c: rows_of(row, count, |n| tokens[n].1.add(unit)),
                        c_step: wide,
                        start: Start::Row(bias),
                    });
                });
            }
        }
    }

    /// Adds `W_hh h` of these rows to the sums of these units, and makes the gates of them
    /// and all that follows, while the sums are near.
    ///
    /// # Safety
    ///
    /// `read` leads to as many rows `[wide output]` as the step has, or is null: they are
    /// zeros.
    pub unsafe fn step<T: Real>(
        &self,
        sizes: &Sizes,
        read: *const T,
        step: &Gates<T>,
        units: Range<usize>,
    ) {
        let kernels = T::kernels();
        let (wide, wide_output) = (sizes.wide::<T>(), sizes.wide_output::<T>());
        for unit in units.step_by(kernels.lanes) {
            let panel = self.hh.gates_of(unit);
            for_tiles(kernels, step.rows, |n, count| {
                // SAFETY: as the caller says.
                unsafe {
                    let sums = step.gates.add(n * 4 * wide + unit);
                    if !read.is_null() {
                        (kernels.tile)(&Tile {
                            rows: count,
                            vectors: VECTORS,
                            depth: sizes.output,
                            a: rows_of(n, count, |n| read.add(n * wide_output)),
                            a_step: 1,
                            b: panel,
                            b_step: VECTORS * kernels.lanes,
                            c: rows_of(0, count, |r| sums.add(r * 4 * wide)),
                            c_step: wide,
                            start: Start::There,
                        });
                    }
                    let at = n * wide + unit;
                    (kernels.gates)(&Gates {
                        rows: count,
                        units: kernels.lanes,
                        gates: sums,
                        width: wide,
                        before: step.before.add(at),
                        after: step.after.add(at),
                        tanh: match step.tanh.is_null() {
                            true => step.tanh,
                            false => step.tanh.add(at),
                        },
                        out: step.out.add(at),
                        masks: step.masks.from(at),
                    });
                }
            });
        }
    }
}
