//! The weights of the gates, packed once for the loops of `step.rs`.
//!
//! A panel has one register of units with all four gates of these, for each k. Panels
//! that are summed together lie side by side for each k.

use std::mem::size_of;
use std::ops::Range;

use tch::{Kind, Tensor};

use super::buffer::Buffer;
use super::half::{Halve, word};
use super::product::Panels;

/// `[4H, depth]`, transposed and in panels.
pub(super) struct Packed {
    buffer: Buffer,
    view: View,
}

/// Where packed weights lie.
#[derive(Clone, Copy)]
pub(super) struct View {
    pub at: *const u8,
    pub depth: usize,
    /// Registers of units.
    pub panels: usize,
    /// Whether they are bf16.
    pub half: bool,
}

impl View {
    /// How many panels lie side by side, where a tile has at most so many rows. One
    /// suffices where its four sums keep up with the cache: whole weights in the
    /// widest registers.
    pub const fn group(most: usize, half: bool) -> usize {
        if most > 3 && !half { 1 } else { 2 }
    }

    /// One of `parts` parts of the panels, in whole groups; `most` as for [`group`](Self::group).
    pub fn part(&self, most: usize, part: usize, parts: usize) -> Range<usize> {
        let group = Self::group(most, self.half);
        let groups = self.panels.div_ceil(group);
        let at = |part: usize| self.panels.min(groups * part / parts * group);
        at(part)..at(part + 1)
    }

    /// Of one panel for one k.
    pub const fn bytes<T>(lanes: usize, half: bool) -> usize {
        match half {
            true => 2 * lanes * size_of::<u32>(),
            false => 4 * lanes * size_of::<T>(),
        }
    }
}

impl Packed {
    /// Of a weight `[4 * hidden, depth]` of this dtype on the CPU; `half` rounds it to
    /// bf16.
    pub fn of<T: Halve>(weight: &Tensor, depth: usize, hidden: usize, half: bool) -> Packed {
        debug_assert_eq!(weight.size(), [4 * hidden as i64, depth as i64]);
        debug_assert_eq!(weight.kind(), T::KIND);
        let weight = match half {
            true => weight.to_kind(Kind::BFloat16).to_kind(T::KIND),
            false => weight.shallow_clone(),
        };
        let weight = weight.contiguous();
        let kernels = T::kernels();
        let lanes = kernels.lanes;
        // SAFETY: the weight has this shape and dtype.
        let single = unsafe {
            Panels::of_gates::<T>(depth, hidden, weight.data_ptr().cast::<T>().cast_const())
        };
        let panels = hidden.div_ceil(lanes);
        let group = View::group(kernels.rows, half);
        if group == 1 && !half {
            // They lie so already.
            let buffer = single.into_buffer();
            let view = View {
                at: buffer.at::<T>().0.cast_const().cast(),
                depth,
                panels,
                half,
            };
            return Packed { buffer, view };
        }
        let bytes = View::bytes::<T>(lanes, half);
        let buffer = Buffer::raw::<f32>(panels * depth * bytes / size_of::<f32>());
        let at = buffer.at::<f32>().0;
        for panel in 0..panels {
            let first = panel / group * group;
            let count = group.min(panels - first);
            let from = single.gates_of::<T>(panel * lanes);
            for k in 0..depth {
                let place = first * depth + k * count + panel - first;
                // SAFETY: both have a row of this panel for each k.
                unsafe {
                    let from = from.add(k * 4 * lanes);
                    let to = at.cast::<u8>().add(place * bytes);
                    if !half {
                        std::ptr::copy_nonoverlapping(from, to.cast::<T>(), 4 * lanes);
                        continue;
                    }
                    for n in 0..2 * lanes {
                        // Of the registers 0 and 1, then of 2 and 3.
                        let first = from.add(n / lanes * 2 * lanes + n % lanes);
                        let both = word(*first, *first.add(lanes));
                        to.cast::<u32>().add(n).write(both);
                    }
                }
            }
        }
        let view = View {
            at: at.cast(),
            depth,
            panels,
            half,
        };
        Packed { buffer, view }
    }

    pub fn view(&self) -> View {
        self.view
    }

    /// How much memory they take.
    pub fn bytes(&self) -> usize {
        self.buffer.bytes()
    }
}
