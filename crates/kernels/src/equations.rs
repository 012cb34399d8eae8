//! The equations of a step, and their gradients, over whole registers.

use crate::scalar::Scalar;
use crate::simd::Simd;

/// What happens inside of a step besides, each null or `[rows][stride]`.
#[derive(Clone, Copy)]
pub(crate) struct Masks<T> {
    /// A factor for the candidate.
    pub candidate: *const T,
    /// 1 where the new cell state is taken, 0 where the old one stays.
    pub cell: *const T,
}

/// What a step makes of its sums.
pub(crate) struct Cell<V> {
    /// i, f, g, o.
    pub gates: [V; 4],
    /// The new cell state.
    pub c: V,
    /// `tanh c`.
    pub tanh: V,
}

/// Computes the gates and the cell state, with a factor for the candidate.
///
/// # Safety
///
/// This machine has the instructions of V.
#[inline(always)]
pub(crate) unsafe fn cell<V: Simd>(sums: [V; 4], before: V, mask: Option<V>) -> Cell<V> {
    // SAFETY: the caller has the instructions; nothing is read from memory.
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

/// The arguments of the backward pass through the equations of a step, for some rows and
/// whole registers of units.
pub(crate) struct GateGradients<T> {
    pub rows: usize,
    pub units: usize,
    /// i, f, g, o: `[rows][4 * stride]`, the four gates of a register of units side by
    /// side.
    pub gates: *const T,
    /// Elements in a row of everything else, `[rows][stride]`.
    pub stride: usize,
    /// The cell state before the step.
    pub before: *const T,
    /// tanh of the cell state that the step made.
    pub tanh: *const T,
    /// Of `o tanh c`.
    pub d_out: *const T,
    /// Of the cell state: after the step, and afterwards before it.
    pub d_cell: *mut T,
    /// Of the sums, `[rows][4][stride]`.
    pub d_gates: *mut T,
    pub masks: Masks<T>,
}

/// Computes the gradients of a step's sums and of the cell state before it.
///
/// # Safety
///
/// This machine has the instructions of V, and every pointer leads to what is said of it.
#[inline(always)]
pub(crate) unsafe fn gate_gradients<V: Simd>(step: &GateGradients<V::Scalar>) {
    // SAFETY: the caller's pointers lead to `rows` rows of at least `units` elements, and
    // those in whole registers.
    unsafe {
        let one = V::splat(V::Scalar::ONE);
        for row in 0..step.rows {
            let row_gates = row * 4 * step.stride;
            for unit in (0..step.units).step_by(V::COUNT) {
                let at = row * step.stride + unit;
                let gate = |n: usize| V::load(step.gates.add(row_gates + 4 * unit + n * V::COUNT));
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
                    value.store(step.d_gates.add(row_gates + n * step.stride + unit));
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
