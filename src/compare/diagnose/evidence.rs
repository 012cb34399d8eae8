//! What is known about a difference.

use std::collections::BTreeMap;

use tch::Tensor;

use crate::checkpoint::safetensors::Tensors;
use crate::lstm::{Lstm, State};

/// What is known when two results differ.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// Ours, batch first.
    pub lstm: &'a Lstm,
    /// `[B, T, I]`, with whatever stands in the padding.
    pub input: &'a Tensor,
    /// The length of each text; `None`: all are `T`.
    pub lengths: Option<&'a [i64]>,
    /// The initial state; `None`: zeros.
    pub state: Option<&'a State>,
    /// Of the reference, batch first: one or more of `y` `[B, T, D*P]`, `h_n`
    /// `[L*D, B, P]`, `c_n` `[L*D, B, H]`. Gates and states of each step may be
    /// there as `l0/i`, `l0_reverse/f`, ..., each `[B, T, H]` (`h`: `[B, T, P]`).
    pub expected: &'a Tensors,
    /// What the head of a classifier that pools by `last` read `[B, D*P]`.
    pub pooled: Option<&'a Tensor>,
    /// Digests of the reference's parameters by PyTorch's name, as
    /// [`digest`](crate::compare::digest::digest) makes them.
    pub digests: Option<&'a BTreeMap<String, String>>,
    /// `|ours - theirs| <= tolerance * max(1, |theirs|)`.
    pub tolerance: f64,
}
