//! The loops over whole registers, compiled once for each instruction set, and the
//! choice between them at run time.
//!
//! In each the sum behind an element runs over `k` in order, however many rows a call
//! has: a text's result does not depend on which texts are beside it.

use std::sync::OnceLock;

use super::lanes::{Array, Lanes, Real};
use super::step::{Inputs, Step};

/// The most rows of a [`Tile`].
pub(super) const ROWS: usize = 6;
/// The most registers in a row of a [`Tile`].
pub(super) const VECTORS: usize = 4;

/// What a tile starts from.
#[derive(Clone, Copy)]
pub(super) enum Start<T> {
    Zero,
    /// What stands in C.
    There,
    /// One row for all, laid out as a row of C.
    Row(*const T),
}

/// A piece of a product: `C[r][v] = start + sum over k of A[r][k] B[k][v]`, for some
/// rows and registers, which stay in the machine's registers all the time.
pub(super) struct Tile<T> {
    pub rows: usize,
    pub vectors: usize,
    pub depth: usize,
    pub a: [*const T; ROWS],
    /// From `A[r][k]` to `A[r][k + 1]`.
    pub a_step: usize,
    /// `[depth]` rows of so many registers.
    pub b: *const T,
    /// From `B[k]` to `B[k + 1]`.
    pub b_step: usize,
    pub c: [*mut T; ROWS],
    /// From one register of a row of C to the next.
    pub c_step: usize,
    pub start: Start<T>,
}

/// The equations of a step behind its products, for some rows and units (whole
/// registers of them).
pub(super) struct Gates<T> {
    pub rows: usize,
    pub units: usize,
    /// `[rows][4][width]`: the sums, and afterwards i, f, g, o.
    pub gates: *mut T,
    /// Of all below, too, which are `[rows][width]`.
    pub width: usize,
    pub before: *const T,
    pub after: *mut T,
    /// `tanh c`, if it is kept.
    pub tanh: *mut T,
    /// `o tanh c`.
    pub out: *mut T,
    pub masks: Masks<T>,
}

/// What happens inside of a step besides, each null or `[rows][width]`.
#[derive(Clone, Copy)]
pub(super) struct Masks<T> {
    /// A factor for the candidate.
    pub candidate: *const T,
    /// 1 where the new cell state is taken, 0 where the old one stays.
    pub cell: *const T,
}

/// The way back through [`Gates`].
pub(super) struct Slopes<T> {
    pub rows: usize,
    pub units: usize,
    /// i, f, g, o.
    pub gates: *const T,
    pub width: usize,
    pub before: *const T,
    pub tanh: *const T,
    /// Of `o tanh c`.
    pub d_out: *const T,
    /// Of the cell state: after the step, and afterwards before it.
    pub d_cell: *mut T,
    /// Of the sums.
    pub d_gates: *mut T,
    pub masks: Masks<T>,
}

/// The loops for one instruction set. To call them this machine must have it, and
/// every pointer must lead to what is said of it.
pub(crate) struct Kernels<T: 'static> {
    pub(super) name: &'static str,
    /// Numbers in a register.
    pub(super) lanes: usize,
    /// The most rows of a tile.
    pub(super) rows: usize,
    pub(super) tile: unsafe fn(&Tile<T>),
    /// The same of columns that fill no register.
    pub(super) dots: unsafe fn(&Tile<T>),
    pub(super) gates: unsafe fn(&Gates<T>),
    pub(super) slopes: unsafe fn(&Slopes<T>),
    pub(super) inputs: unsafe fn(&Inputs<T>),
    pub(super) step: unsafe fn(&Step<T>),
    /// See [`Lanes::transpose`].
    pub(super) transpose: unsafe fn(*const T, usize, *mut T, usize),
    #[cfg(test)]
    pub(super) curves: unsafe fn(&[T], &mut [T], bool),
}

#[inline(always)]
unsafe fn tile<V: Lanes, const MOST: usize>(tile: &Tile<V::Real>) {
    // SAFETY: as the caller says.
    unsafe {
        match tile.vectors {
            1 => tile_of::<V, MOST, 1>(tile),
            2 => tile_of::<V, MOST, 2>(tile),
            3 => tile_of::<V, MOST, 3>(tile),
            _ => tile_of::<V, MOST, 4>(tile),
        }
    }
}

#[inline(always)]
unsafe fn tile_of<V: Lanes, const MOST: usize, const N: usize>(tile: &Tile<V::Real>) {
    // SAFETY: as above. Of the arms that `MOST` excludes nothing is compiled.
    unsafe {
        match tile.rows {
            1 => product::<V, 1, N>(tile),
            2 => product::<V, 2, N>(tile),
            4 if MOST > 3 => product::<V, 4, N>(tile),
            5 if MOST > 3 => product::<V, 5, N>(tile),
            6 if MOST > 3 => product::<V, 6, N>(tile),
            _ => product::<V, 3, N>(tile),
        }
    }
}

/// A tile of single numbers, where columns fill no register:
/// `C[r][v] = start + sum over k of A[r][k] B[v][k]`, with the k in registers, whole ones.
/// Its `vectors` are columns, and `b_step` leads from `B[v]` to `B[v + 1]`.
#[inline(always)]
unsafe fn dots<V: Lanes, const MOST: usize>(tile: &Tile<V::Real>) {
    // SAFETY: as the caller says.
    unsafe {
        match tile.vectors {
            1 => dots_of::<V, MOST, 1>(tile),
            2 => dots_of::<V, MOST, 2>(tile),
            3 => dots_of::<V, MOST, 3>(tile),
            _ => dots_of::<V, MOST, 4>(tile),
        }
    }
}

#[inline(always)]
unsafe fn dots_of<V: Lanes, const MOST: usize, const N: usize>(tile: &Tile<V::Real>) {
    // SAFETY: as above.
    unsafe {
        match tile.rows {
            1 => dot::<V, 1, N>(tile),
            2 => dot::<V, 2, N>(tile),
            4 if MOST > 3 => dot::<V, 4, N>(tile),
            5 if MOST > 3 => dot::<V, 5, N>(tile),
            6 if MOST > 3 => dot::<V, 6, N>(tile),
            _ => dot::<V, 3, N>(tile),
        }
    }
}

#[expect(
    clippy::needless_range_loop,
    reason = "r and v number rows and columns of several things at once"
)]
#[inline(always)]
unsafe fn dot<V: Lanes, const R: usize, const N: usize>(tile: &Tile<V::Real>) {
    // SAFETY: the caller's pointers lead to R rows and N columns.
    unsafe {
        let mut sums = [[V::splat(V::Real::default()); N]; R];
        for k in (0..tile.depth).step_by(V::COUNT) {
            let mut of_b = [V::splat(V::Real::default()); N];
            for v in 0..N {
                of_b[v] = V::load(tile.b.add(v * tile.b_step + k));
            }
            for r in 0..R {
                let a = V::load(tile.a[r].add(k));
                for v in 0..N {
                    sums[r][v] = a.mul_add(of_b[v], sums[r][v]);
                }
            }
        }
        for r in 0..R {
            for v in 0..N {
                let c = tile.c[r].add(v * tile.c_step);
                *c = match tile.start {
                    Start::Zero => sums[r][v].sum(),
                    Start::There => *c + sums[r][v].sum(),
                    Start::Row(row) => *row.add(v * tile.c_step) + sums[r][v].sum(),
                };
            }
        }
    }
}

#[expect(
    clippy::needless_range_loop,
    reason = "r and v number rows and registers of several things at once"
)]
#[inline(always)]
unsafe fn product<V: Lanes, const R: usize, const N: usize>(tile: &Tile<V::Real>) {
    // SAFETY: the caller's pointers lead to R rows and N registers in each.
    unsafe {
        let mut sums = [[V::splat(V::Real::default()); N]; R];
        for r in 0..R {
            for v in 0..N {
                match tile.start {
                    Start::Zero => {}
                    Start::There => sums[r][v] = V::load(tile.c[r].add(v * tile.c_step)),
                    Start::Row(row) => sums[r][v] = V::load(row.add(v * tile.c_step)),
                }
            }
        }
        let (mut at, mut b) = (0, tile.b);
        for _ in 0..tile.depth {
            let mut of_b = [V::splat(V::Real::default()); N];
            for v in 0..N {
                of_b[v] = V::load(b.add(v * V::COUNT));
            }
            for r in 0..R {
                let a = V::splat(*tile.a[r].add(at));
                for v in 0..N {
                    sums[r][v] = a.mul_add(of_b[v], sums[r][v]);
                }
            }
            at += tile.a_step;
            b = b.add(tile.b_step);
        }
        for r in 0..R {
            for v in 0..N {
                sums[r][v].store(tile.c[r].add(v * tile.c_step));
            }
        }
    }
}

/// What a step makes of its sums.
pub(super) struct Cell<V> {
    /// i, f, g, o.
    pub gates: [V; 4],
    /// The new cell state.
    pub c: V,
    pub tanh: V,
}

/// The equations, with a factor for the candidate.
///
/// # Safety
///
/// This machine has the instructions of V.
#[inline(always)]
pub(super) unsafe fn cell<V: Lanes>(sums: [V; 4], before: V, mask: Option<V>) -> Cell<V> {
    // SAFETY: as the caller says.
    unsafe {
        let i = sums[0].sigmoid();
        let f = sums[1].sigmoid();
        let g = sums[2].tanh();
        let o = sums[3].sigmoid();
        let candidate = match mask {
            None => g,
            Some(mask) => g.mul(mask),
        };
        let c = f.mul_add(before, i.mul(candidate));
        let tanh = c.tanh();
        let gates = [i, f, g, o];
        Cell { gates, c, tanh }
    }
}

#[inline(always)]
unsafe fn gates<V: Lanes>(step: &Gates<V::Real>) {
    // SAFETY: the caller's pointers lead to so many rows, and width is at least units.
    unsafe {
        let one = V::splat(V::Real::ONE);
        for row in 0..step.rows {
            let sums = step.gates.add(row * 4 * step.width);
            for unit in (0..step.units).step_by(V::COUNT) {
                let at = row * step.width + unit;
                let gate = |n: usize| sums.add(n * step.width + unit);
                let before = V::load(step.before.add(at));
                let mask = match step.masks.candidate.is_null() {
                    true => None,
                    false => Some(V::load(step.masks.candidate.add(at))),
                };
                let sums = [
                    V::load(gate(0)),
                    V::load(gate(1)),
                    V::load(gate(2)),
                    V::load(gate(3)),
                ];
                let made = cell(sums, before, mask);
                for n in 0..4 {
                    made.gates[n].store(gate(n));
                }
                if !step.tanh.is_null() {
                    made.tanh.store(step.tanh.add(at));
                }
                let c = match step.masks.cell.is_null() {
                    true => made.c,
                    false => {
                        let new = V::load(step.masks.cell.add(at));
                        new.mul_add(made.c, one.sub(new).mul(before))
                    }
                };
                c.store(step.after.add(at));
                made.gates[3].mul(made.tanh).store(step.out.add(at));
            }
        }
    }
}

#[inline(always)]
unsafe fn slopes<V: Lanes>(step: &Slopes<V::Real>) {
    // SAFETY: as above.
    unsafe {
        let one = V::splat(V::Real::ONE);
        for row in 0..step.rows {
            let (gates, d_gates) = (row * 4 * step.width, row * 4 * step.width);
            for unit in (0..step.units).step_by(V::COUNT) {
                let at = row * step.width + unit;
                let gate = |n: usize| V::load(step.gates.add(gates + n * step.width + unit));
                let (i, f, g, o) = (gate(0), gate(1), gate(2), gate(3));
                let tanh = V::load(step.tanh.add(at));
                let d_out = V::load(step.d_out.add(at));
                let d_after = V::load(step.d_cell.add(at));
                let through = d_out.mul(o).mul(one.sub(tanh.mul(tanh)));
                let (d_c, past) = match step.masks.cell.is_null() {
                    true => (through.add(d_after), None),
                    false => {
                        let new = V::load(step.masks.cell.add(at));
                        let past = one.sub(new).mul(d_after);
                        (new.mul_add(d_after, through), Some(past))
                    }
                };
                let (candidate, d_candidate) = match step.masks.candidate.is_null() {
                    true => (g, d_c.mul(i)),
                    false => {
                        let mask = V::load(step.masks.candidate.add(at));
                        (g.mul(mask), d_c.mul(i).mul(mask))
                    }
                };
                let before = V::load(step.before.add(at));
                let put = |n: usize, value: V| {
                    value.store(step.d_gates.add(d_gates + n * step.width + unit));
                };
                let of_sigmoid = |y: V| y.mul(one.sub(y));
                put(0, d_c.mul(candidate).mul(of_sigmoid(i)));
                put(1, d_c.mul(before).mul(of_sigmoid(f)));
                put(2, d_candidate.mul(one.sub(g.mul(g))));
                put(3, d_out.mul(tanh).mul(of_sigmoid(o)));
                let d_before = match past {
                    None => d_c.mul(f),
                    Some(past) => d_c.mul_add(f, past),
                };
                d_before.store(step.d_cell.add(at));
            }
        }
    }
}

/// Sigmoid or tanh of each; whole registers.
#[cfg(test)]
#[inline(always)]
unsafe fn curves<V: Lanes>(from: &[V::Real], to: &mut [V::Real], tanh: bool) {
    // SAFETY: both have the same length, a multiple of a register's.
    unsafe {
        for at in (0..from.len()).step_by(V::COUNT) {
            let x = V::load(from.as_ptr().add(at));
            let y = if tanh { x.tanh() } else { x.sigmoid() };
            y.store(to.as_mut_ptr().add(at));
        }
    }
}

/// The loops for one type of register.
macro_rules! kernels {
    ($table:ident, $module:ident, $name:literal, $lanes:ty, $real:ty, $rows:literal
     $(, $features:literal)?) => {
        mod $module {
            use super::*;
            // SAFETY of all: `Kernels` says what the caller must see to.
            $(#[target_feature(enable = $features)])?
            unsafe fn tile(of: &Tile<$real>) {
                unsafe { super::tile::<$lanes, $rows>(of) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn dots(of: &Tile<$real>) {
                unsafe { super::dots::<$lanes, $rows>(of) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn gates(of: &Gates<$real>) {
                unsafe { super::gates::<$lanes>(of) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn slopes(of: &Slopes<$real>) {
                unsafe { super::slopes::<$lanes>(of) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn inputs(of: &Inputs<$real>) {
                unsafe { crate::lstm::native::step::inputs::<$lanes, $rows>(of) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn step(of: &Step<$real>) {
                unsafe { crate::lstm::native::step::step::<$lanes, $rows>(of) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn transpose(from: *const $real, depth: usize, to: *mut $real, apart: usize) {
                unsafe { <$lanes as Lanes>::transpose(from, depth, to, apart) }
            }
            #[cfg(test)]
            $(#[target_feature(enable = $features)])?
            unsafe fn curves(from: &[$real], to: &mut [$real], tanh: bool) {
                unsafe { super::curves::<$lanes>(from, to, tanh) }
            }
            pub(super) static TABLE: Kernels<$real> = Kernels {
                name: $name,
                lanes: <$lanes as Lanes>::COUNT,
                rows: $rows,
                tile,
                dots,
                gates,
                slopes,
                inputs,
                step,
                transpose,
                #[cfg(test)]
                curves,
            };
        }
        static $table: &Kernels<$real> = &$module::TABLE;
    };
}

/// Whether the compiler may multiply and add in one, without being asked for more.
const FUSED: bool = cfg!(any(target_feature = "fma", target_arch = "aarch64"));

kernels!(PORTABLE_F32, portable_f32, "portable", Array<f32, 4, FUSED>, f32, 3);
kernels!(PORTABLE_F64, portable_f64, "portable", Array<f64, 2, FUSED>, f64, 3);
#[cfg(target_arch = "x86_64")]
kernels!(
    AVX2_F32,
    avx2_f32,
    "avx2",
    std::arch::x86_64::__m256,
    f32,
    3,
    "avx2,fma"
);
#[cfg(target_arch = "x86_64")]
kernels!(AVX2_F64, avx2_f64, "avx2", Array<f64, 4, true>, f64, 3, "avx2,fma");
#[cfg(target_arch = "x86_64")]
kernels!(
    AVX512_F32,
    avx512_f32,
    "avx512",
    std::arch::x86_64::__m512,
    f32,
    6,
    "avx512f,avx2,fma"
);

/// Names the loops to take instead of the fastest: `avx2` or `portable`, for tests and
/// measurements. It is read once.
pub(super) const CHOICE: &str = "CELLWAY_REGISTERS";

/// The fastest of these, or the one that [`CHOICE`] names, if it is among them.
fn chosen<T>(all: &[&'static Kernels<T>]) -> &'static Kernels<T> {
    let name = std::env::var(CHOICE).unwrap_or_default();
    let named = all.iter().find(|kernels| kernels.name == name);
    named.unwrap_or(&all[0])
}

/// The loops that this machine can run, the fastest first.
pub(super) fn f32_kernels() -> Vec<&'static Kernels<f32>> {
    let mut all = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        if avx2 && is_x86_feature_detected!("avx512f") {
            all.push(AVX512_F32);
        }
        if avx2 {
            all.push(AVX2_F32);
        }
    }
    all.push(PORTABLE_F32);
    all
}

/// The same of f64.
pub(super) fn f64_kernels() -> Vec<&'static Kernels<f64>> {
    let mut all = Vec::new();
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        all.push(AVX2_F64);
    }
    all.push(PORTABLE_F64);
    all
}

impl Real for f32 {
    const ONE: f32 = 1.0;
    const KIND: tch::Kind = tch::Kind::Float;
    fn kernels() -> &'static Kernels<f32> {
        static CHOSEN: OnceLock<&'static Kernels<f32>> = OnceLock::new();
        CHOSEN.get_or_init(|| chosen(&f32_kernels()))
    }
}

impl Real for f64 {
    const ONE: f64 = 1.0;
    const KIND: tch::Kind = tch::Kind::Double;
    fn kernels() -> &'static Kernels<f64> {
        static CHOSEN: OnceLock<&'static Kernels<f64>> = OnceLock::new();
        CHOSEN.get_or_init(|| chosen(&f64_kernels()))
    }
}

impl<T> Masks<T> {
    /// The same so many numbers on.
    ///
    /// # Safety
    ///
    /// Where they are not null they have so many.
    pub unsafe fn from(self, at: usize) -> Masks<T> {
        let on = |mask: *const T| match mask.is_null() {
            true => mask,
            // SAFETY: as the caller says.
            false => unsafe { mask.add(at) },
        };
        Masks {
            candidate: on(self.candidate),
            cell: on(self.cell),
        }
    }
}
