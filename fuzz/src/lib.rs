//! What the targets share.

#[path = "../../crates/checkpoint/tests/common/bytes.rs"]
pub mod bytes;
#[path = "../../crates/checkpoint/tests/common/read_all.rs"]
mod read_all;

use cellway_checkpoint::{Checkpoint, Error, Result};

/// Opens a file and reads all that is in it. Whatever fails has to fail as the
/// documentation says.
pub fn read(file: Vec<u8>) {
    check(Checkpoint::from_bytes(file, "fuzz"));
}

/// The same of a checkpoint that was opened, or was not.
pub fn check(opened: Result<Checkpoint>) {
    match opened {
        Ok(checkpoint) => {
            for error in read_all::read_all(&checkpoint) {
                let kind = matches!(error, Error::Parse { .. } | Error::File { .. });
                assert!(kind, "{error:?}");
            }
        }
        Err(Error::Parse { error, .. }) => assert!(!error.message.is_empty()),
        Err(other) => panic!("{other:?}"),
    }
}
