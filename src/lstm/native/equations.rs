//! The equations of a step, and the way back through them, over whole registers.

use super::lanes::{Lanes, Real};

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

/// A step of the cell.
///
/// # Safety
///
/// This machine has the instructions of V, and the pointers lead to what is said of them.
#[inline(always)]
pub(super) unsafe fn gates<V: Lanes>(step: &Gates<V::Real>) {
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

/// The way back through it.
///
/// # Safety
///
/// This machine has the instructions of V, and the pointers lead to what is said of them.
#[inline(always)]
pub(super) unsafe fn slopes<V: Lanes>(step: &Slopes<V::Real>) {
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
