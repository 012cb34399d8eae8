//! The LSTM cell, by hand, from its equations (Hochreiter and Schmidhuber
//! 1997; the forget gate of Gers, Schmidhuber and Cummins 2000; in the form of
//! PyTorch, with two biases):
//!
//! ```text
//! i  = σ(W_ii x + b_ii + W_hi h + b_hi)        input gate
//! f  = σ(W_if x + b_if + W_hf h + b_hf)        forget gate
//! g  = tanh(W_ig x + b_ig + W_hg h + b_hg)     candidate C̃
//! o  = σ(W_io x + b_io + W_ho h + b_ho)        output gate
//! c' = f ⊙ c + i ⊙ g                           cell state: the highway
//! h' = o ⊙ tanh(c')                            hidden state
//! ```
//!
//! With a projection (Sak, Senior and Beaufays 2014) `h' = W_hr (o ⊙ tanh(c'))`.

use tch::Tensor;

use super::params::{CellParams, GATES};

/// Everything that one step of one layer and direction computes.
#[derive(Debug)]
pub struct Step {
    /// Input gate `[B, H]`, in [0, 1].
    pub i: Tensor,
    /// Forget gate `[B, H]`, in [0, 1].
    pub f: Tensor,
    /// Candidate C̃ `[B, H]`, in [-1, 1].
    pub g: Tensor,
    /// Output gate `[B, H]`, in [0, 1].
    pub o: Tensor,
    /// The new cell state `[B, H]`.
    pub c: Tensor,
    /// The new hidden state `[B, H]`, or `[B, P]` with a projection.
    pub h: Tensor,
}

/// The four gates of a step.
#[derive(Debug)]
pub struct Gates {
    /// Input gate `[B, H]`, in [0, 1].
    pub i: Tensor,
    /// Forget gate `[B, H]`, in [0, 1].
    pub f: Tensor,
    /// Candidate C̃ `[B, H]`, in [-1, 1].
    pub g: Tensor,
    /// Output gate `[B, H]`, in [0, 1].
    pub o: Tensor,
}

/// One step: input `x` `[B, I]`, hidden state `h` `[B, H]` (or `[B, P]`), cell
/// state `c` `[B, H]`.
pub fn step(x: &Tensor, h: &Tensor, c: &Tensor, params: &CellParams) -> Step {
    update(gates(x, h, params), c, params)
}

/// The first four equations.
pub fn gates(x: &Tensor, h: &Tensor, params: &CellParams) -> Gates {
    let from_input = x.linear(&params.w_ih, params.b_ih.as_ref());
    let from_hidden = h.linear(&params.w_hh, params.b_hh.as_ref());
    let gates = (from_input + from_hidden).chunk(GATES, -1);
    Gates {
        i: gates[0].sigmoid(),
        f: gates[1].sigmoid(),
        g: gates[2].tanh(),
        o: gates[3].sigmoid(),
    }
}

/// The last two.
pub fn update(gates: Gates, c: &Tensor, params: &CellParams) -> Step {
    let Gates { i, f, g, o } = gates;
    let c = &f * c + &i * &g;
    let h = &o * c.tanh();

    let h = match &params.w_hr {
        Some(w_hr) => h.linear(w_hr, None::<&Tensor>),
        None => h,
    };
    Step { i, f, g, o, c, h }
}
