//! Tests of whole layers, on slices.

mod activation;
mod layers;
mod packed;
mod processes;

use std::num::NonZero;

use crate::{Context, HeapAllocator, LayerSizes, LayerWeights, Scalar, ScopedThreads};

/// An element type, and how to get elements in and out.
pub(crate) trait Element: Scalar + From<f32> + Into<f64> {}
impl Element for f32 {}
impl Element for f64 {}

/// Elements of about the size of weights, the same in both types.
fn number(n: usize, salt: usize) -> f32 {
    let mixed = (n as u32)
        .wrapping_mul(2)
        .wrapping_add(1)
        .wrapping_mul(0x9e37_79b9)
        .wrapping_add((salt as u32).wrapping_mul(0x85eb_ca6b));
    let mixed = (mixed ^ mixed >> 15).wrapping_mul(0xc2b2_ae35);
    (mixed >> 8) as f32 / (1 << 23) as f32 - 1.0
}

fn filled<T: Element>(count: usize, salt: usize) -> Vec<T> {
    (0..count).map(|n| number(n, salt).into()).collect()
}

/// What was never written shows.
fn unwritten<T: Element>(count: usize) -> Vec<T> {
    vec![f32::NAN.into(); count]
}

fn doubles<T: Element>(all: &[T]) -> Vec<f64> {
    all.iter().map(|&x| x.into()).collect()
}

fn with_threads<R>(count: usize, run: impl FnOnce(&Context) -> R) -> R {
    run(&Context {
        pool: &ScopedThreads::new(NonZero::new(count).expect("a thread or more")),
        allocator: &HeapAllocator,
    })
}

/// The parameters of a direction.
struct Parameters<T> {
    ih: Vec<T>,
    hh: Vec<T>,
    bias: Option<(Vec<T>, Vec<T>)>,
    hr: Option<Vec<T>>,
}

impl<T: Element> Parameters<T> {
    /// As `make` makes them of a number of elements and of another salt for each.
    fn new(sizes: &LayerSizes, salt: usize, make: impl Fn(usize, usize) -> Vec<T>) -> Self {
        let (h, p) = (sizes.hidden, sizes.output());
        Parameters {
            ih: make(4 * h * sizes.input, salt),
            hh: make(4 * h * p, salt + 1),
            bias: (sizes.bias).then(|| (make(4 * h, salt + 2), make(4 * h, salt + 3))),
            hr: sizes.projection.map(|p| make(p * h, salt + 4)),
        }
    }

    fn weights(&self) -> LayerWeights<'_, T> {
        LayerWeights {
            ih: &self.ih,
            hh: &self.hh,
            bias: (self.bias.as_ref()).map(|(ih, hh)| (&ih[..], &hh[..])),
            hr: self.hr.as_deref(),
        }
    }
}

fn sizes(input: usize, hidden: usize, projection: usize) -> LayerSizes {
    LayerSizes {
        input,
        hidden,
        projection: (projection > 0).then_some(projection),
        bias: true,
        directions: 1,
    }
}

/// The same bits with each of these numbers of threads.
fn expect_same_bits(threads: &[usize], run: impl Fn(&Context) -> Vec<Vec<f64>>) {
    let of: Vec<_> = threads
        .iter()
        .map(|&count| with_threads(count, &run))
        .collect();
    let bits =
        |all: &[Vec<f64>]| -> Vec<u64> { all.iter().flatten().map(|x| x.to_bits()).collect() };
    // Miri's exp and tanh are off by chance.
    for other in if cfg!(miri) { &[] } else { &of[1..] } {
        assert!(bits(&of[0]) == bits(other));
    }
}
