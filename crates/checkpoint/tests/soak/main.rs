//! Checkpoints that were changed at random, and the largest that can be made of
//! little: whatever a file holds, reading it neither panics nor takes a second
//! nor more memory than its own size and 64 MiB.
//!
//! `CELLWAY_SOAK=1000000 cargo test --release -p cellway-checkpoint --test soak --
//! --nocapture` runs so many changed files of each kind; `3405..3406` one of
//! them again. A file that fails is kept in the temporary folder of the target.

#[path = "../common/mod.rs"]
mod common;

mod changes;
mod extremes;
mod measure;

use cellway_checkpoint::Checkpoint;

/// What is asked of every file that can be opened, inside the bounds.
fn look(checkpoint: &Checkpoint) {
    drop(checkpoint.values());
}
