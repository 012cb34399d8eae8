//! The loops of a frozen layer over whole registers: the products of the input of many
//! tokens, and a step of some texts from the hidden state to the next one.
//!
//! With few texts a step is as fast as its weights come from the cache. So they lie in
//! the order in which they are read, 16 bits wide if that is asked for, and every other
//! step reads them from the end: what came last is still near.
//!
//! The sum behind each number runs in the order of the other loops (`tile.rs`), and the
//! equations are theirs: the results are the same bits.

use std::ops::Range;

use super::equations::cell;
use super::half::Widen;
use super::lanes::Lanes;
use super::packed::View;
use super::tile::ROWS;

/// `sums = bias + W x` for tokens, whose rows of `depth` numbers lie anywhere.
pub(super) struct Inputs<'a, T> {
    pub weights: View,
    /// Those of the weights' panels whose sums are wanted, see [`View::part`].
    pub panels: Range<usize>,
    pub tokens: &'a [*const T],
    /// `[panels][4][lanes]`.
    pub bias: *const T,
    /// `[tokens][panels][4][lanes]`.
    pub sums: *mut T,
}

/// One step of `rows` texts.
pub(super) struct Step<T> {
    pub weights: View,
    /// Those of the weights' panels whose units go the step.
    pub panels: Range<usize>,
    pub rows: usize,
    /// Whether the panels are read from the last one on.
    pub back: bool,
    /// The hidden state, `[rows][apart]`.
    pub read: *const T,
    pub apart: usize,
    /// What comes of the input, `[rows][panels][4][lanes]`.
    pub sums: *const T,
    /// `[rows][panels][lanes]`, before and after.
    pub cells: *mut T,
    /// `o tanh c`, as the cells, elsewhere than `read`.
    pub out: *mut T,
}

/// A product's rows: where they come from, and what becomes of their sums.
trait Rows<V: Lanes> {
    fn weights(&self) -> &View;
    fn panels(&self) -> &Range<usize>;
    fn count(&self) -> usize;
    fn back(&self) -> bool;
    unsafe fn read(&self, row: usize) -> *const V::Real;
    /// Where the sums of these units and of those behind them start.
    unsafe fn start(&self, row: usize, panel: usize) -> *const V::Real;
    unsafe fn done(&self, row: usize, panel: usize, sums: [V; 4]);
}

// SAFETY of both: the fields lead to what is said of them.
impl<V: Lanes> Rows<V> for Inputs<'_, V::Real> {
    #[inline(always)]
    fn weights(&self) -> &View {
        &self.weights
    }
    #[inline(always)]
    fn panels(&self) -> &Range<usize> {
        &self.panels
    }
    #[inline(always)]
    fn count(&self) -> usize {
        self.tokens.len()
    }
    #[inline(always)]
    fn back(&self) -> bool {
        false
    }
    #[inline(always)]
    unsafe fn read(&self, row: usize) -> *const V::Real {
        self.tokens[row]
    }
    #[inline(always)]
    unsafe fn start(&self, _: usize, panel: usize) -> *const V::Real {
        unsafe { self.bias.add(panel * 4 * V::COUNT) }
    }
    #[inline(always)]
    unsafe fn done(&self, row: usize, panel: usize, sums: [V; 4]) {
        let at = (row * self.weights.panels + panel) * 4 * V::COUNT;
        for (gate, sum) in sums.into_iter().enumerate() {
            unsafe { sum.store(self.sums.add(at + gate * V::COUNT)) };
        }
    }
}

impl<V: Lanes> Rows<V> for Step<V::Real> {
    #[inline(always)]
    fn weights(&self) -> &View {
        &self.weights
    }
    #[inline(always)]
    fn panels(&self) -> &Range<usize> {
        &self.panels
    }
    #[inline(always)]
    fn count(&self) -> usize {
        self.rows
    }
    #[inline(always)]
    fn back(&self) -> bool {
        self.back
    }
    #[inline(always)]
    unsafe fn read(&self, row: usize) -> *const V::Real {
        unsafe { self.read.add(row * self.apart) }
    }
    #[inline(always)]
    unsafe fn start(&self, row: usize, panel: usize) -> *const V::Real {
        let at = (row * self.weights.panels + panel) * 4 * V::COUNT;
        unsafe { self.sums.add(at) }
    }
    #[inline(always)]
    unsafe fn done(&self, row: usize, panel: usize, sums: [V; 4]) {
        let at = (row * self.weights.panels + panel) * V::COUNT;
        unsafe {
            let before = V::load(self.cells.add(at));
            let made = cell(sums, before, None);
            made.c.store(self.cells.add(at));
            made.gates[3].mul(made.tanh).store(self.out.add(at));
        }
    }
}

/// How weights are stored.
trait Form {
    const HALF: bool;
    /// The register with this number of those here.
    unsafe fn register<V: Widen>(from: *const u8, n: usize) -> V;
}

/// As they are computed with.
struct Whole;

/// As bf16 (`half.rs`).
struct Half;

// SAFETY of both: the caller has so many registers there.
impl Form for Whole {
    const HALF: bool = false;
    #[inline(always)]
    unsafe fn register<V: Widen>(from: *const u8, n: usize) -> V {
        unsafe { V::load(from.cast::<V::Real>().add(n * V::COUNT)) }
    }
}

impl Form for Half {
    const HALF: bool = true;
    #[inline(always)]
    unsafe fn register<V: Widen>(from: *const u8, n: usize) -> V {
        let (even, odd) = unsafe { V::widen(from.cast::<u32>().add(n / 2 * V::COUNT)) };
        if n.is_multiple_of(2) { even } else { odd }
    }
}

/// # Safety
///
/// This machine has the instructions of V, and the fields lead to what they say.
#[inline(always)]
pub(super) unsafe fn inputs<V: Widen, const MOST: usize>(of: &Inputs<V::Real>) {
    // SAFETY: as the caller says.
    unsafe {
        match of.weights.half {
            true => run::<V, Half, MOST>(of),
            false => run::<V, Whole, MOST>(of),
        }
    }
}

/// # Safety
///
/// As of [`inputs`].
#[inline(always)]
pub(super) unsafe fn step<V: Widen, const MOST: usize>(of: &Step<V::Real>) {
    // SAFETY: as the caller says.
    unsafe {
        match of.weights.half {
            true => run::<V, Half, MOST>(of),
            false => run::<V, Whole, MOST>(of),
        }
    }
}

/// All rows, panel by panel. `MOST`: as many rows of four registers can be summed at
/// once.
#[inline(always)]
unsafe fn run<V: Widen, F: Form, const MOST: usize>(of: &impl Rows<V>) {
    let (weights, rows) = (of.weights(), of.count());
    // A panel's four sums alone would wait for each other: of few rows two panels are
    // summed at once.
    let few = rows <= MOST / 2;
    let group = View::group(MOST, F::HALF);
    let bytes = View::bytes::<V::Real>(V::COUNT, F::HALF);
    let panels = of.panels();
    let groups = panels.len().div_ceil(group);
    for n in 0..groups {
        let first = panels.start + group * if of.back() { groups - 1 - n } else { n };
        let count = group.min(panels.end - first);
        // SAFETY: the panels of a group lie side by side for each k.
        unsafe {
            let b = weights.at.add(first * weights.depth * bytes);
            let apart = count * bytes;
            if count == 2 && few {
                tile::<V, F, MOST, 8>(of, (0, rows), first, b, apart);
                continue;
            }
            for n in 0..count {
                let tiles = rows.div_ceil(MOST);
                let mut row = 0;
                for tile_number in 0..tiles {
                    let portion = (rows - row).div_ceil(tiles - tile_number);
                    let b = b.add(n * bytes);
                    tile::<V, F, MOST, 4>(of, (row, portion), first + n, b, apart);
                    row += portion;
                }
            }
        }
    }
}

/// Some rows, `(first, count)`, of one or two panels.
#[inline(always)]
unsafe fn tile<V: Widen, F: Form, const MOST: usize, const N: usize>(
    of: &impl Rows<V>,
    (row, count): (usize, usize),
    panel: usize,
    b: *const u8,
    apart: usize,
) {
    const { assert!(MOST <= ROWS) };
    // SAFETY: as above. Of the arms that are excluded nothing is compiled.
    unsafe {
        match count {
            1 => sums::<V, F, 1, N>(of, row, panel, b, apart),
            2 if MOST * 4 >= 2 * N => sums::<V, F, 2, N>(of, row, panel, b, apart),
            3 if MOST * 4 >= 3 * N => sums::<V, F, 3, N>(of, row, panel, b, apart),
            4 if MOST * 4 >= 4 * N => sums::<V, F, 4, N>(of, row, panel, b, apart),
            5 if MOST * 4 >= 5 * N => sums::<V, F, 5, N>(of, row, panel, b, apart),
            6 if MOST * 4 >= 6 * N => sums::<V, F, 6, N>(of, row, panel, b, apart),
            _ => unreachable!("a tile of {count} rows"),
        }
    }
}

#[expect(
    clippy::needless_range_loop,
    reason = "r and v number rows and registers of several things at once"
)]
#[inline(always)]
unsafe fn sums<V: Widen, F: Form, const R: usize, const N: usize>(
    of: &impl Rows<V>,
    row: usize,
    panel: usize,
    mut b: *const u8,
    apart: usize,
) {
    // SAFETY: as above.
    unsafe {
        let mut sums = [[V::splat(V::Real::default()); N]; R];
        let mut read = [std::ptr::null(); R];
        for r in 0..R {
            read[r] = of.read(row + r);
            let start = of.start(row + r, panel);
            for v in 0..N {
                sums[r][v] = V::load(start.add(v * V::COUNT));
            }
        }
        for k in 0..of.weights().depth {
            let mut a = [V::splat(V::Real::default()); R];
            for r in 0..R {
                a[r] = V::splat(*read[r].add(k));
            }
            // One at a time, as in `tile.rs`.
            for v in 0..N {
                let b = F::register::<V>(b, v);
                for r in 0..R {
                    sums[r][v] = a[r].mul_add(b, sums[r][v]);
                }
            }
            b = b.wrapping_add(apart);
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
