//! What the targets share.

#[path = "../../tests/common/bytes.rs"]
pub mod bytes;
#[path = "../../tests/common/reading.rs"]
mod reading;

use cellway::checkpoint::Checkpoint;
use cellway::error::{Error, Result};

/// Opens a file and reads all that is in it. Whatever fails has to fail as the
/// documentation says.
pub fn read(file: Vec<u8>) {
    check(Checkpoint::from_bytes(file, "fuzz"));
}

/// The same of a checkpoint that was opened, or was not.
pub fn check(opened: Result<Checkpoint>) {
    match opened {
        Ok(checkpoint) => {
            for error in reading::read_all(&checkpoint) {
                let kind = matches!(
                    error,
                    Error::Checkpoint { .. } | Error::File { .. } | Error::Tensor { .. }
                );
                assert!(kind, "{error:?}");
            }
        }
        Err(Error::Checkpoint { fault, .. }) => assert!(!fault.message.is_empty()),
        Err(other) => panic!("{other:?}"),
    }
}
