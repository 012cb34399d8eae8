//! Of every engine: invariants, start values, and one test for each error.

mod gradients;
mod guard_page_tests;
mod invariants;
mod native;
mod packed;
mod recompute;
mod regularization;
mod truncation;
mod units;

use tch::{Kind, Tensor};

use super::*;
use crate::compare::{Sums, Tolerance};
use crate::random;

const ENGINES: [Engine; 3] = [Engine::Plain, Engine::Fused, Engine::Native];

fn normal(shape: &[i64], stream: Stream) -> Tensor {
    random::normal(shape, stream).to_kind(Kind::Float)
}

fn same_bits(a: &Tensor, b: &Tensor) -> bool {
    a.size() == b.size() && a.eq_tensor(b).all().int64_value(&[]) == 1
}

fn assert_near(a: &Tensor, b: &Tensor) {
    assert_eq!(a.size(), b.size());
    let error = (a - b).abs().max().double_value(&[]);
    let bound = Tolerance::of([Kind::Float; 2], false, Sums::default()).value;
    assert!(error < bound, "differ by {error:e}");
}
