//! The weights of the gates, packed for the loops of `gate_kernels.rs`.
//!
//! A panel has one register of units with all four gates of these, for each k. Panels that
//! are summed together lie side by side for each k.

use std::ops::Range;

use crate::bf16::word;
use crate::layer::{LayerSizes, LayerWeights};
use crate::memory::Buffer;
use crate::parallel::parallel_for;
use crate::pool::Context;
use crate::product::{Panels, WORTH_A_THREAD};
use crate::scalar::Scalar;

/// How packed weights are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WeightStorage {
    /// In the element type that they are computed with.
    #[default]
    Same,
    /// The matrices of the gates, `weight_ih` and `weight_hh`, in bf16: each weight is
    /// rounded once, to the nearest (of two to the even one), so that it is off by 2^-9 of
    /// itself at the most. Biases and projections stay as they are, and input, states, sums
    /// and output have the type that is computed with.
    ///
    /// How far the results are off: for one sequence of 50 steps with H = I = 128 and new
    /// parameters, the final hidden state, as a vector, by at most 2.4e-3 of its length from
    /// the f64 reference (20 seeds; with weights in f32 by 3.7e-7).
    ///
    /// It pays where a step waits for its weights: with one or two sequences at a time, the
    /// more the larger H is. With four or more the sums themselves take the time, and
    /// widening the weights adds to it: then take [`Same`](Self::Same).
    Bf16,
}

/// A weight `[4 H, k]`, transposed and in panels.
pub(crate) struct PackedGates<T> {
    buffer: Buffer<T>,
    k: usize,
    panels: usize,
    bf16: bool,
}

/// Where packed weights lie.
#[derive(Clone, Copy)]
pub(crate) struct PackedView {
    pub start: *const u8,
    /// The length of the sums.
    pub k: usize,
    /// Registers of units.
    pub panels: usize,
    pub bf16: bool,
}

impl PackedView {
    /// How many panels lie side by side, where a tile has at most `mr` rows. One suffices
    /// where its four sums keep up with the cache: whole weights in the widest registers.
    pub const fn group(mr: usize, bf16: bool) -> usize {
        if mr > 3 && !bf16 { 1 } else { 2 }
    }

    /// Bytes of one panel for one k.
    pub const fn bytes<T>(lanes: usize, bf16: bool) -> usize {
        match bf16 {
            true => 2 * lanes * size_of::<u32>(),
            false => 4 * lanes * size_of::<T>(),
        }
    }
}

impl<T: Scalar> PackedGates<T> {
    /// Packs a weight `[4 * hidden, k]`.
    pub fn new(
        context: &Context,
        weight: &[T],
        k: usize,
        hidden: usize,
        storage: WeightStorage,
    ) -> PackedGates<T> {
        assert_eq!(weight.len(), 4 * hidden * k);
        let kernels = T::kernels();
        let bf16 = storage == WeightStorage::Bf16;
        let panels = hidden.div_ceil(kernels.lanes);
        let len = match bf16 {
            false => panels * k * 4 * kernels.lanes,
            true => panels * k * PackedView::bytes::<T>(kernels.lanes, true) / size_of::<T>(),
        };
        let mut buffer = Buffer::uninit(context.allocator, len);
        let to = buffer.shared();
        let group = PackedView::group(kernels.mr, bf16);
        let pack = |panel: usize| {
            let first = panel / group * group;
            let place = Place {
                first: first * k,
                number: panel - first,
                count: group.min(panels - first),
            };
            let units = panel * kernels.lanes..hidden.min((panel + 1) * kernels.lanes);
            match bf16 {
                false => {
                    let row = 4 * kernels.lanes;
                    let at = to.at(place.first * row, place.count * k * row);
                    // SAFETY: the group has a row of this panel for each k, which no other
                    // panel writes to.
                    unsafe { pack_same(weight, k, hidden, units, at, &place) };
                }
                true => {
                    let row = 2 * kernels.lanes * size_of::<u32>() / size_of::<T>();
                    let at = to.at(place.first * row, place.count * k * row);
                    // SAFETY: the group has a row of words of this panel for each k, which
                    // no other panel writes to.
                    unsafe { pack_bf16(weight, k, hidden, units, at.cast(), &place) };
                }
            }
        };
        let all: Vec<usize> = (0..panels).collect();
        match k * 4 * panels * kernels.lanes < WORTH_A_THREAD {
            true => all.into_iter().for_each(pack),
            false => parallel_for(context, &all, |&panel| pack(panel)),
        }
        PackedGates {
            buffer,
            k,
            panels,
            bf16,
        }
    }

    pub fn view(&self) -> PackedView {
        // SAFETY: all panels were packed, with the padding behind the last unit.
        let all = unsafe { self.buffer.as_slice() };
        PackedView {
            start: all.as_ptr().cast(),
            k: self.k,
            panels: self.panels,
            bf16: self.bf16,
        }
    }

    /// One of `parts` parts of the panels, in whole groups.
    pub fn part(&self, part: usize, parts: usize) -> Range<usize> {
        let group = PackedView::group(T::kernels().mr, self.bf16);
        let groups = self.panels.div_ceil(group);
        let at = |part: usize| self.panels.min(groups * part / parts * group);
        at(part)..at(part + 1)
    }

    /// How much memory they take.
    pub fn bytes(&self) -> usize {
        self.buffer.len() * size_of::<T>()
    }
}

/// Where a panel lies: rows from `first` on, of `count` panels each, of which it has this
/// number.
struct Place {
    first: usize,
    number: usize,
    count: usize,
}

/// # Safety
///
/// `to` leads to `place.count` panels of `k` rows of four registers.
unsafe fn pack_same<T: Scalar>(
    weight: &[T],
    k: usize,
    hidden: usize,
    units: Range<usize>,
    to: *mut T,
    place: &Place,
) {
    let lanes = T::kernels().lanes;
    let stride = place.count * 4 * lanes;
    for gate in 0..4 {
        let from = &weight[(gate * hidden + units.start) * k..][..units.len() * k];
        // SAFETY: the group has rows of `stride` elements, of which these four registers
        // are this panel's; a full register of units has `lanes * k` weights.
        unsafe {
            let to = to.add(place.number * 4 * lanes + gate * lanes);
            if units.len() == lanes {
                (T::kernels().transpose)(from.as_ptr(), k, to, stride);
                continue;
            }
            for at in 0..k {
                for n in 0..lanes {
                    let value = from.get(n * k + at).copied().unwrap_or_default();
                    to.add(at * stride + n).write(value);
                }
            }
        }
    }
}

/// # Safety
///
/// `to` leads to `place.count` panels of `k` rows of two registers of words.
unsafe fn pack_bf16<T: Scalar>(
    weight: &[T],
    k: usize,
    hidden: usize,
    units: Range<usize>,
    to: *mut u32,
    place: &Place,
) {
    let lanes = T::kernels().lanes;
    let value = |gate: usize, unit: usize, at: usize| match unit < units.len() {
        true => weight[(gate * hidden + units.start + unit) * k + at],
        false => T::default(),
    };
    for at in 0..k {
        for n in 0..2 * lanes {
            // Of the gates 0 and 1, then of 2 and 3.
            let (pair, unit) = (n / lanes * 2, n % lanes);
            let both = word(value(pair, unit, at), value(pair + 1, unit, at));
            let row = (at * place.count + place.number) * 2 * lanes;
            // SAFETY: a word of this panel's row for this k.
            unsafe { to.add(row + n).write(both) };
        }
    }
}

/// The parameters of a direction, as the forward pass reads them.
pub(crate) struct PackedDirection<T> {
    pub ih: PackedGates<T>,
    pub hh: PackedGates<T>,
    pub hr: Option<Panels<T>>,
    /// The sum of both biases, `[panels][4][lanes]`.
    pub bias: Buffer<T>,
}

impl<T: Scalar> PackedDirection<T> {
    /// Packs weights that have these sizes.
    pub fn new(
        context: &Context,
        weights: &LayerWeights<T>,
        sizes: &LayerSizes,
        storage: WeightStorage,
    ) -> PackedDirection<T> {
        let (hidden, lanes) = (sizes.hidden, T::kernels().lanes);
        let mut bias = Buffer::zeros(context.allocator, 4 * sizes.hidden_padded::<T>());
        if let Some((ih, hh)) = weights.bias {
            // SAFETY: the buffer is new, and of zeros.
            let bias = unsafe { bias.shared().slice_mut(0, 4 * sizes.hidden_padded::<T>()) };
            for (n, (&ih, &hh)) in ih.iter().zip(hh).enumerate() {
                let (gate, unit) = (n / hidden, n % hidden);
                bias[(unit / lanes * 4 + gate) * lanes + unit % lanes] = ih + hh;
            }
        }
        PackedDirection {
            ih: PackedGates::new(context, weights.ih, sizes.input, hidden, storage),
            hh: PackedGates::new(context, weights.hh, sizes.output(), hidden, storage),
            hr: weights.projection(context.allocator, sizes),
            bias,
        }
    }
}
