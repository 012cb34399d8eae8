//! LSTM arithmetic on slices for the CPU: forward, backward, inference on packed weights,
//! with SIMD and threads. It knows no tensors, no files and no models.
//!
//! Shape letters, here and below: `B` batch, `T` time, `I` input size, `H` hidden size,
//! `L` layers, `D` directions (1 or 2), `P` the size that a direction puts out: that of its
//! projection, else `H`. Weights have PyTorch's shapes and order of gates, i f g o.
//!
//! - [`Forward`] runs a layer and saves what [`Backward`] needs: i, f, g, o, c, tanh c and
//!   h, some `7 H` elements for each step of a sequence and direction; or only c and h, and
//!   the gates are computed once more, to the same bits.
//! - [`PackedLayers`] packs the weights of all layers once, as they are or as bf16, for
//!   calls without a backward pass: the same bits sooner.
//!
//! Both run the same loops. How they are built:
//!
//! - **Packed sequences.** The sequences are sorted by length and read without padding
//!   (`plan.rs`): where one ends the batch shrinks. Input and output lie as the caller has
//!   them, with strides.
//! - **Products** of matrices are tiles in registers (`microkernel.rs`), over weights that
//!   are packed into panels (`product.rs`, `packed.rs`): the input's for a block of steps at
//!   once, the hidden state's step by step (`job.rs`), with the gates computed
//!   (`equations.rs`) while their sums are in registers (`gate_kernels.rs`). The sum behind
//!   each element runs in one order, so that a sequence's results are the same bits whatever
//!   is beside it, and with any number of threads.
//! - **Backward** (`backward.rs`) it goes step by step with what was saved, or recomputed
//!   (`recompute.rs`). The gradients of the weights and of the input are a few products at
//!   the end (`gradients.rs`, `weight_gradients.rs`).
//! - **Registers** are those of AVX-512, of AVX2, or arrays that the compiler makes what it
//!   can of (`simd`, `isa.rs`), chosen when the program runs; [`ISA_VARIABLE`] names
//!   another choice.
//! - **Threads** (`schedule.rs`, `parallel.rs`), those of a [`Pool`], take sequences and
//!   directions of their own; of few sequences, units of each step, or layers that go behind
//!   each other. Large buffers come from an [`Allocator`].
//!
//! Every slice and view is checked against the sizes of a call before anything is computed.

#![deny(missing_docs)]
#![deny(clippy::undocumented_unsafe_blocks)]

mod activation;
mod backward;
mod bf16;
mod equations;
mod error;
mod forward;
mod gate_kernels;
mod gradients;
mod infer;
mod isa;
mod job;
mod layer;
mod memory;
mod microkernel;
mod packed;
mod parallel;
mod plan;
mod pool;
mod product;
mod recompute;
mod saved;
mod scalar;
mod schedule;
mod simd;
#[cfg(test)]
mod tests;
mod views;
mod weight_gradients;

pub use self::backward::Backward;
pub use self::bf16::Bf16Storage;
pub use self::error::ShapeError;
pub use self::forward::{Forward, LayerIo};
pub use self::infer::PackedLayers;
pub use self::isa::{ISA_VARIABLE, instruction_set, instruction_sets, sigmoid, tanh};
pub use self::layer::{LayerGradients, LayerSizes, LayerWeights, States, StatesMut};
pub use self::memory::{Allocator, Block, HeapAllocator};
pub use self::packed::WeightStorage;
pub use self::parallel::unit_parallelism;
pub use self::plan::BatchPlan;
pub use self::pool::{Context, Pool, ScopedThreads, SingleThread};
pub use self::saved::{DropoutMasks, SAVED_BUFFERS, SavePolicy, SavedActivations, SavedBuffers};
pub use self::scalar::{DType, Scalar};
pub use self::views::{Sequence, SequenceMut};
