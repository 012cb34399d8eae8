//! The sigmoid and the tanh over all of f32, for each instruction set.

use crate::isa::{Kernels, f32_kernels, f64_kernels};
use crate::scalar::Scalar;

fn curve<T: Scalar>(kernels: &Kernels<T>, x: &[T], tanh: bool) -> Vec<T> {
    let mut y = vec![T::default(); x.len()];
    // SAFETY: this machine has the instructions, and the lengths are the same.
    unsafe { (kernels.activate)(x, &mut y, tanh) };
    y
}

/// Every `step`-th f32 that is a number.
fn numbers(step: usize) -> Vec<f32> {
    let bits = (0..=f32::INFINITY.to_bits()).step_by(step);
    let mut all: Vec<f32> = bits.map(f32::from_bits).flat_map(|x| [x, -x]).collect();
    all.extend([f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN]);
    all
}

/// In units of the last place of f32, the largest distance to the truth, and where.
fn distance(kernels: &Kernels<f32>, x: &[f32], tanh: bool) -> (f64, f32) {
    let mut worst = (0.0, 0.0);
    for (&x, &y) in x.iter().zip(&curve(kernels, x, tanh)) {
        let exact = f64::from(x);
        let truth = match tanh {
            true => exact.tanh(),
            // Of numbers too small for e^-x to be finite it is 0.
            false if x < -88.7 => f64::from(y.min(f32::MIN_POSITIVE)),
            false => 1.0 / (1.0 + (-exact).exp()),
        };
        let single = (truth.abs() as f32).to_bits();
        let unit = f64::from(f32::from_bits(single + 1)) - f64::from(f32::from_bits(single));
        let apart = (f64::from(y) - truth).abs() / unit;
        if apart > worst.0 || apart.is_nan() {
            worst = (apart, x);
        }
    }
    worst
}

fn measure(step: usize) {
    let x = numbers(step);
    for kernels in f32_kernels() {
        for (name, tanh) in [("sigmoid", false), ("tanh", true)] {
            let (ulp, at) = distance(kernels, &x, tanh);
            eprintln!("{name}, {}: {ulp:.2} ulp (at {at:e})", kernels.name);
            let most = if tanh { 2.03 } else { 1.51 };
            assert!(ulp <= most, "{name}, {}", kernels.name);
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "takes minutes")]
fn sigmoid_and_tanh_are_near_the_truth() {
    measure(1009);
}

#[test]
#[ignore = "a hundred million numbers for each instruction set"]
fn sigmoid_and_tanh_are_near_for_very_many_numbers() {
    measure(37);
}

#[test]
fn what_is_no_number_stays_none() {
    for kernels in f32_kernels() {
        for tanh in [false, true] {
            let y = curve(kernels, &[f32::NAN; 17], tanh);
            assert!(y.iter().all(|y| y.is_nan()), "{}", kernels.name);
            let x = [f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0];
            let y = curve(kernels, &x, tanh);
            let expected = if tanh {
                [1.0, -1.0, 0.0, 0.0]
            } else {
                [1.0, 0.0, 0.5, 0.5]
            };
            assert_eq!(y, expected, "{}", kernels.name);
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "Miri's exp and tanh are off by chance")]
fn in_f64_they_are_the_standard_librarys() {
    let x: Vec<f64> = (-400..401).map(|n| f64::from(n) / 10.0).collect();
    for kernels in f64_kernels() {
        for tanh in [false, true] {
            for (&x, y) in x.iter().zip(curve(kernels, &x, tanh)) {
                let truth = if tanh {
                    x.tanh()
                } else {
                    1.0 / (1.0 + (-x).exp())
                };
                let error = ((y - truth) / truth.abs().max(1e-300)).abs();
                assert!(error < 1e-15, "{}: {x} {error:e}", kernels.name);
            }
        }
    }
}
