//! Two tensors held against each other.

use serde::Serialize;
use tch::{Device, Kind, Tensor};

use crate::error::Result;

/// How a tensor of ours differs from theirs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// Whether every number is the same, to the bit (0 and -0 are).
    pub identical: bool,
    /// The largest `|ours - theirs|`.
    pub absolute: f64,
    /// The largest `|ours - theirs| / |theirs|`, where theirs is not 0.
    pub relative: f64,
    /// `|ours - theirs|` where the tolerance is used most, in units of the last
    /// place of theirs.
    pub ulps: f64,
    /// The largest share of the tolerance; above 1 it is left. Infinite where a
    /// number is NaN or infinite on one side.
    pub share: f64,
    /// How many numbers leave the tolerance.
    pub outside: u64,
    /// Of how many.
    pub count: u64,
    /// Where the tolerance is used most.
    pub place: Vec<i64>,
    /// Our number there.
    pub ours: f64,
    /// Theirs.
    pub theirs: f64,
    /// The share of the tolerance that each step along the axis of time uses,
    /// where there is one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub over_time: Vec<f64>,
}

/// What a difference may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// `tolerance * max(1, |theirs|)`, number by number.
    Element(f64),
    /// So much for every number.
    Tensor(f64),
}

/// Holds `ours` against `theirs`, of the same shape: computed in `kind`, which
/// gives the unit in the last place; `time` is the axis of time.
///
/// Errors if libtorch refuses, which equal shapes rule out.
pub fn measure(
    ours: &Tensor,
    theirs: &Tensor,
    bound: Bound,
    kind: Kind,
    time: Option<i64>,
) -> Result<Difference> {
    let exact = |tensor: &Tensor| {
        let tensor = tensor.detach().f_to_device(Device::Cpu)?;
        tensor.f_to_kind(Kind::Double)?.f_contiguous()
    };
    let (ours, theirs) = (exact(ours)?, exact(theirs)?);
    let count = ours.numel() as u64;
    if count == 0 {
        return Ok(Difference {
            identical: true,
            absolute: 0.0,
            relative: 0.0,
            ulps: 0.0,
            share: 0.0,
            outside: 0,
            count,
            place: Vec::new(),
            ours: f64::NAN,
            theirs: f64::NAN,
            over_time: Vec::new(),
        });
    }
    let same = ours.eq_tensor(&theirs);
    // NaN is never within a tolerance, and the same infinity is no difference.
    let known = |tensor: Tensor| tensor.nan_to_num(f64::INFINITY, f64::INFINITY, f64::INFINITY);
    let absolute = known((&ours - &theirs).abs()).masked_fill(&same, 0.0);
    let size = theirs.abs();
    let shares = match bound {
        Bound::Element(tolerance) => &absolute / (size.clamp_min(1.0) * tolerance),
        Bound::Tensor(most) => &absolute / most,
    };
    let shares = known(shares).masked_fill(&same, 0.0);
    let relative = known(&absolute / &size)
        .masked_fill(&size.eq(0.0), 0.0)
        .masked_fill(&same, 0.0);
    let largest = |tensor: &Tensor| tensor.max().double_value(&[]);
    let at = shares.flatten(0, -1).argmax(0, false).int64_value(&[]);
    let number = |tensor: &Tensor| tensor.flatten(0, -1).double_value(&[at]);
    let (here, there) = (number(&ours), number(&theirs));
    let over_time = match time {
        Some(axis) => {
            let others: Vec<i64> = (0..shares.dim() as i64)
                .filter(|&dim| dim != axis)
                .collect();
            Vec::try_from(shares.amax(&others[..], false))?
        }
        None => Vec::new(),
    };
    Ok(Difference {
        identical: same.all().int64_value(&[]) == 1,
        absolute: largest(&absolute),
        relative: largest(&relative),
        ulps: number(&absolute) / unit(there, kind),
        share: largest(&shares),
        outside: shares.gt(1.0).sum(Kind::Int64).int64_value(&[]) as u64,
        count,
        place: place(at, &ours.size()),
        ours: here,
        theirs: there,
        over_time,
    })
}

/// The distance of `value` from the next number of its dtype.
fn unit(value: f64, kind: Kind) -> f64 {
    // Bits behind the point, and the smallest exponent.
    let (bits, smallest) = match kind {
        Kind::Double => (52, -1022),
        Kind::Half => (10, -14),
        Kind::BFloat16 => (7, -126),
        _ => (23, -126),
    };
    if !value.is_finite() {
        return f64::NAN;
    }
    let exponent = match value == 0.0 {
        true => smallest,
        false => (value.abs().log2().floor() as i32).max(smallest),
    };
    2f64.powi(exponent - bits)
}

/// The index of the n-th number of a shape.
fn place(mut n: i64, shape: &[i64]) -> Vec<i64> {
    let mut place = vec![0; shape.len()];
    for (index, size) in place.iter_mut().zip(shape).rev() {
        *index = n % size;
        n /= size;
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(values: &[f64]) -> Tensor {
        Tensor::from_slice(values)
    }

    #[test]
    fn the_largest_differences_are_found_where_they_are() {
        let theirs = tensor(&[0.0, 1.0, -2.0, 100.0, 0.5, 0.25]).view([1, 3, 2]);
        let ours = &theirs + tensor(&[0.0, 1e-3, 0.0, 1e-2, 0.0, -2e-3]).view([1, 3, 2]);
        let found = measure(&ours, &theirs, Bound::Element(1e-3), Kind::Double, Some(1)).unwrap();
        assert!(!found.identical);
        assert!((found.absolute - 1e-2).abs() < 1e-12);
        assert!((found.relative - 8e-3).abs() < 1e-12, "{}", found.relative);
        // Relative above 1: a hundredth of 100 is little.
        assert!((found.share - 2.0).abs() < 1e-9);
        assert_eq!((found.outside, found.count), (1, 6));
        assert_eq!(found.place, [0, 2, 1]);
        assert_eq!((found.theirs, found.over_time.len()), (0.25, 3));
        assert!((found.over_time[0] - 1.0).abs() < 1e-9);
        assert!((found.ulps - 2e-3 / 2f64.powi(-54)).abs() < 1e3);
        let loose = measure(&ours, &theirs, Bound::Tensor(1.0), Kind::Double, None).unwrap();
        assert!((loose.share - 1e-2).abs() < 1e-9 && loose.outside == 0);
        assert!(loose.over_time.is_empty());
    }

    #[test]
    fn units_in_the_last_place() {
        assert_eq!(unit(1.0, Kind::Float), f64::from(f32::EPSILON));
        assert_eq!(unit(-1.5, Kind::Double), f64::EPSILON);
        assert_eq!(unit(0.0, Kind::Float), 2f64.powi(-149));
        assert_eq!(unit(256.0, Kind::BFloat16), 2.0);
        assert_eq!(unit(1e-7, Kind::Half), 2f64.powi(-24));
        let next = f32::from_bits(0.3f32.to_bits() + 3);
        let (ours, theirs) = (tensor(&[f64::from(next)]), tensor(&[f64::from(0.3f32)]));
        let found = measure(&ours, &theirs, Bound::Element(1e-6), Kind::Float, None).unwrap();
        assert_eq!(found.ulps, 3.0);
    }

    #[test]
    fn what_is_no_number_is_never_within_a_tolerance() {
        let (nan, inf) = (f64::NAN, f64::INFINITY);
        for (ours, theirs, outside) in [
            ([nan, 1.0], [1.0, 1.0], 1),
            ([nan, 1.0], [nan, 1.0], 1),
            ([inf, 1.0], [1.0, inf], 2),
            ([inf, 1.0], [-inf, 1.0], 1),
            ([inf, -inf], [inf, -inf], 0),
        ] {
            let found = measure(
                &tensor(&ours),
                &tensor(&theirs),
                Bound::Element(1e30),
                Kind::Double,
                None,
            )
            .unwrap();
            assert_eq!(found.outside, outside, "{ours:?} {theirs:?}");
            assert_eq!(found.share == inf, outside > 0);
            assert_eq!(found.identical, outside == 0);
        }
    }

    #[test]
    fn equal_and_empty_tensors_are_identical() {
        let empty = Tensor::zeros([0, 3], (Kind::Float, Device::Cpu));
        let found = measure(&empty, &empty, Bound::Element(1e-6), Kind::Float, Some(0)).unwrap();
        assert!(found.identical && found.count == 0);
        let zeros = (tensor(&[0.0]), tensor(&[-0.0]));
        let found = measure(&zeros.0, &zeros.1, Bound::Element(1e-6), Kind::Float, None).unwrap();
        assert!(found.identical && found.share == 0.0);
    }
}
