//! The loops of a layer's forward pass over whole registers: the products of the input of
//! many steps, and a step of some sequences from one hidden state to the next, with the
//! equations computed while their sums are in registers.
//!
//! With few sequences a step is as fast as its weights come from the cache. So they lie in
//! the order in which they are read, 16 bits wide if that is asked for, and every other
//! step reads them from the end: what came last is still near.
//!
//! The sum behind each element runs over `k` in order, as in `microkernel.rs`: the results
//! are the same bits whatever is computed beside it.

use std::ops::Range;

use crate::bf16::Widen;
use crate::equations::{Masks, cell};
use crate::microkernel::MAX_MR;
use crate::packed::PackedView;
use crate::scalar::Scalar;
use crate::simd::Simd;

/// The arguments of `sums = bias + W x` for rows of `k` elements, which lie anywhere.
pub(crate) struct InputProduct<'a, T> {
    pub weights: PackedView,
    /// Those of the weights' panels whose sums are wanted, see [`PackedView::part`].
    pub panels: Range<usize>,
    /// Of each row the elements that are read, and where its sums go, `[panels][4][lanes]`.
    pub rows: &'a [(*const T, *mut T)],
    /// `[panels][4][lanes]`.
    pub bias: *const T,
}

/// The arguments of one step of `rows` sequences.
pub(crate) struct GateStep<T> {
    pub weights: PackedView,
    /// Those of the weights' panels whose units go the step.
    pub panels: Range<usize>,
    pub rows: usize,
    /// Whether the panels are read from the last one on.
    pub last_panel_first: bool,
    /// The hidden state, `[rows][stride]`; null: zeros, which are not multiplied.
    pub hidden: *const T,
    pub stride: usize,
    /// What comes of the input, `[rows][panels][4][lanes]`.
    pub sums: *const T,
    /// `[rows][panels][lanes]`.
    pub cells_before: *const T,
    /// As `cells_before`, which it may be.
    pub cells_after: *mut T,
    /// `o tanh c`, as the cells, elsewhere than `hidden`.
    pub out: *mut T,
    /// i, f, g, o, as the sums, which they may be; null: not kept.
    pub gates: *mut T,
    /// `tanh c`, as the cells; null: not kept.
    pub tanh: *mut T,
    /// As the cells.
    pub masks: Masks<T>,
}

/// A product's rows: where they come from, and what becomes of their sums.
trait Rows<V: Simd> {
    fn weights(&self) -> &PackedView;
    fn panels(&self) -> &Range<usize>;
    fn count(&self) -> usize;
    fn last_panel_first(&self) -> bool;
    /// The length of the sums.
    fn k(&self) -> usize;
    /// # Safety
    ///
    /// There is such a row.
    unsafe fn row(&self, row: usize) -> *const V::Scalar;
    /// Where the sums of these units and of those behind them start.
    ///
    /// # Safety
    ///
    /// There are such a row and such a panel.
    unsafe fn start(&self, row: usize, panel: usize) -> *const V::Scalar;
    /// # Safety
    ///
    /// There are such a row and such a panel, and this machine has the instructions of V.
    unsafe fn done(&self, row: usize, panel: usize, sums: [V; 4]);
}

impl<V: Simd> Rows<V> for InputProduct<'_, V::Scalar> {
    #[inline(always)]
    fn weights(&self) -> &PackedView {
        &self.weights
    }
    #[inline(always)]
    fn panels(&self) -> &Range<usize> {
        &self.panels
    }
    #[inline(always)]
    fn count(&self) -> usize {
        self.rows.len()
    }
    #[inline(always)]
    fn last_panel_first(&self) -> bool {
        false
    }
    #[inline(always)]
    fn k(&self) -> usize {
        self.weights.k
    }
    #[inline(always)]
    unsafe fn row(&self, row: usize) -> *const V::Scalar {
        self.rows[row].0
    }
    #[inline(always)]
    unsafe fn start(&self, _: usize, panel: usize) -> *const V::Scalar {
        // SAFETY: the bias has four registers for each panel.
        unsafe { self.bias.add(panel * 4 * V::COUNT) }
    }
    #[inline(always)]
    unsafe fn done(&self, row: usize, panel: usize, sums: [V; 4]) {
        let to = self.rows[row].1;
        for (gate, sum) in sums.into_iter().enumerate() {
            // SAFETY: a row has four registers of sums for each panel.
            unsafe { sum.store(to.add((panel * 4 + gate) * V::COUNT)) };
        }
    }
}

/// A step; `PLAIN` where nothing but the states is kept and nothing is masked, which then
/// need not be asked of each register.
struct Step<'a, T, const PLAIN: bool>(&'a GateStep<T>);

impl<V: Simd, const PLAIN: bool> Rows<V> for Step<'_, V::Scalar, PLAIN> {
    #[inline(always)]
    fn weights(&self) -> &PackedView {
        &self.0.weights
    }
    #[inline(always)]
    fn panels(&self) -> &Range<usize> {
        &self.0.panels
    }
    #[inline(always)]
    fn count(&self) -> usize {
        self.0.rows
    }
    #[inline(always)]
    fn last_panel_first(&self) -> bool {
        self.0.last_panel_first
    }
    #[inline(always)]
    fn k(&self) -> usize {
        match self.0.hidden.is_null() {
            true => 0,
            false => self.0.weights.k,
        }
    }
    #[inline(always)]
    unsafe fn row(&self, row: usize) -> *const V::Scalar {
        self.0.hidden.wrapping_add(row * self.0.stride)
    }
    #[inline(always)]
    unsafe fn start(&self, row: usize, panel: usize) -> *const V::Scalar {
        let at = (row * self.0.weights.panels + panel) * 4 * V::COUNT;
        // SAFETY: the sums have four registers for each panel of each row.
        unsafe { self.0.sums.add(at) }
    }
    #[inline(always)]
    unsafe fn done(&self, row: usize, panel: usize, sums: [V; 4]) {
        let at = (row * self.0.weights.panels + panel) * V::COUNT;
        // SAFETY: everything has a register for each panel of each row, the gates four;
        // what is null is not touched.
        unsafe {
            let before = V::load(self.0.cells_before.add(at));
            if PLAIN {
                let made = cell(sums, before, None);
                made.c.store(self.0.cells_after.add(at));
                made.gates[3].mul(made.tanh).store(self.0.out.add(at));
                return;
            }
            let mask = match self.0.masks.candidate.is_null() {
                true => None,
                false => Some(V::load(self.0.masks.candidate.add(at))),
            };
            let made = cell(sums, before, mask);
            if !self.0.gates.is_null() {
                for (n, gate) in made.gates.into_iter().enumerate() {
                    gate.store(self.0.gates.add(4 * at + n * V::COUNT));
                }
            }
            if !self.0.tanh.is_null() {
                made.tanh.store(self.0.tanh.add(at));
            }
            let c = match self.0.masks.cell.is_null() {
                true => made.c,
                false => {
                    let new = V::load(self.0.masks.cell.add(at));
                    let old = V::splat(V::Scalar::ONE).sub(new).mul(before);
                    new.mul_add(made.c, old)
                }
            };
            c.store(self.0.cells_after.add(at));
            made.gates[3].mul(made.tanh).store(self.0.out.add(at));
        }
    }
}

/// How weights are stored.
trait Stored {
    const BF16: bool;
    /// The register with this number of those here.
    ///
    /// # Safety
    ///
    /// There are so many registers, and this machine has the instructions of V.
    unsafe fn register<V: Widen>(from: *const u8, n: usize) -> V;
}

/// As they are computed with.
struct Same;

/// As bf16 (`bf16.rs`).
struct Bf16;

impl Stored for Same {
    const BF16: bool = false;
    #[inline(always)]
    unsafe fn register<V: Widen>(from: *const u8, n: usize) -> V {
        // SAFETY: the caller has so many registers there.
        unsafe { V::load(from.cast::<V::Scalar>().add(n * V::COUNT)) }
    }
}

impl Stored for Bf16 {
    const BF16: bool = true;
    #[inline(always)]
    unsafe fn register<V: Widen>(from: *const u8, n: usize) -> V {
        // SAFETY: the caller has so many registers there, two in each register of words.
        let (even, odd) = unsafe { V::widen(from.cast::<u32>().add(n / 2 * V::COUNT)) };
        if n.is_multiple_of(2) { even } else { odd }
    }
}

/// Computes what the inputs add to the sums.
///
/// # Safety
///
/// This machine has the instructions of V, and the fields lead to what they say.
#[inline(always)]
pub(crate) unsafe fn input_product<V: Widen, const MR: usize>(of: &InputProduct<V::Scalar>) {
    // SAFETY: the fields are as the caller says.
    unsafe { stored::<V, MR>(of) }
}

/// Computes one step.
///
/// # Safety
///
/// As of [`input_product`].
#[inline(always)]
pub(crate) unsafe fn gate_step<V: Widen, const MR: usize>(of: &GateStep<V::Scalar>) {
    let masked = !of.masks.candidate.is_null() || !of.masks.cell.is_null();
    let plain = of.gates.is_null() && of.tanh.is_null() && !masked;
    // SAFETY: the fields are as the caller says.
    unsafe {
        match plain {
            true => stored::<V, MR>(&Step::<_, true>(of)),
            false => stored::<V, MR>(&Step::<_, false>(of)),
        }
    }
}

#[inline(always)]
unsafe fn stored<V: Widen, const MR: usize>(of: &impl Rows<V>) {
    // SAFETY: the weights are stored as their view says.
    unsafe {
        match of.weights().bf16 {
            true => run::<V, Bf16, MR>(of),
            false => run::<V, Same, MR>(of),
        }
    }
}

/// All rows, panel by panel. `MR`: as many rows of four registers can be summed at once.
#[inline(always)]
unsafe fn run<V: Widen, S: Stored, const MR: usize>(of: &impl Rows<V>) {
    let (weights, rows) = (of.weights(), of.count());
    // A panel's four sums alone would wait for each other: of few rows two panels are
    // summed at once.
    let few = rows <= MR / 2;
    let group = PackedView::group(MR, S::BF16);
    let bytes = PackedView::bytes::<V::Scalar>(V::COUNT, S::BF16);
    let panels = of.panels();
    let groups = panels.len().div_ceil(group);
    for n in 0..groups {
        let n = if of.last_panel_first() {
            groups - 1 - n
        } else {
            n
        };
        let first = panels.start + group * n;
        let count = group.min(panels.end - first);
        // SAFETY: the panels of a group lie side by side for each k, and the rows are those
        // of the caller.
        unsafe {
            let b = weights.start.add(first * weights.k * bytes);
            let stride = count * bytes;
            if count == 2 && few {
                tile::<V, S, MR, 8>(of, (0, rows), first, b, stride);
                continue;
            }
            for n in 0..count {
                let tiles = rows.div_ceil(MR);
                let mut row = 0;
                for number in 0..tiles {
                    let portion = (rows - row).div_ceil(tiles - number);
                    let b = b.add(n * bytes);
                    tile::<V, S, MR, 4>(of, (row, portion), first + n, b, stride);
                    row += portion;
                }
            }
        }
    }
}

/// Some rows, `(first, count)`, of one or two panels.
#[inline(always)]
unsafe fn tile<V: Widen, S: Stored, const MR: usize, const N: usize>(
    of: &impl Rows<V>,
    (row, count): (usize, usize),
    panel: usize,
    b: *const u8,
    stride: usize,
) {
    const { assert!(MR <= MAX_MR) };
    // SAFETY: the arm that is taken has the count of rows that the caller has; of those
    // that are excluded nothing is compiled.
    unsafe {
        match count {
            1 => sums::<V, S, 1, N>(of, row, panel, b, stride),
            2 if MR * 4 >= 2 * N => sums::<V, S, 2, N>(of, row, panel, b, stride),
            3 if MR * 4 >= 3 * N => sums::<V, S, 3, N>(of, row, panel, b, stride),
            4 if MR * 4 >= 4 * N => sums::<V, S, 4, N>(of, row, panel, b, stride),
            5 if MR * 4 >= 5 * N => sums::<V, S, 5, N>(of, row, panel, b, stride),
            6 if MR * 4 >= 6 * N => sums::<V, S, 6, N>(of, row, panel, b, stride),
            _ => unreachable!("a tile of {count} rows"),
        }
    }
}

#[expect(
    clippy::needless_range_loop,
    reason = "r and v number rows and registers of several things at once"
)]
#[inline(always)]
unsafe fn sums<V: Widen, S: Stored, const R: usize, const N: usize>(
    of: &impl Rows<V>,
    row: usize,
    panel: usize,
    mut b: *const u8,
    stride: usize,
) {
    // SAFETY: the caller has R rows and N / 4 panels from these on, of k elements each.
    unsafe {
        let mut sums = [[V::splat(V::Scalar::default()); N]; R];
        let mut rows = [std::ptr::null(); R];
        for r in 0..R {
            rows[r] = of.row(row + r);
            let start = of.start(row + r, panel);
            for v in 0..N {
                sums[r][v] = V::load(start.add(v * V::COUNT));
            }
        }
        for k in 0..of.k() {
            let mut a = [V::splat(V::Scalar::default()); R];
            for r in 0..R {
                a[r] = V::splat(*rows[r].add(k));
            }
            // One at a time, as in `microkernel.rs`.
            for v in 0..N {
                let b = S::register::<V>(b, v);
                for r in 0..R {
                    sums[r][v] = a[r].mul_add(b, sums[r][v]);
                }
            }
            b = b.wrapping_add(stride);
        }
        for r in 0..R {
            for n in 0..N / 4 {
                let mut of_panel = [sums[r][0]; 4];
                of_panel.copy_from_slice(&sums[r][4 * n..4 * n + 4]);
                of.done(row + r, panel + n, of_panel);
            }
        }
    }
}
