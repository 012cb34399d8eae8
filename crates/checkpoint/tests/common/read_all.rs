//! Reads everything that a checkpoint has.

use cellway_checkpoint::{Checkpoint, Error};

/// Calls everything, and gives the errors. A tensor may be there a hundred
/// thousand times: what is read of all together is bounded, one is not.
pub fn read_all(checkpoint: &Checkpoint) -> Vec<Error> {
    const TENSOR_BYTES: usize = 32 << 20;
    const VALUES: usize = 500;
    let mut errors = Vec::new();
    std::hint::black_box((
        checkpoint.container(),
        checkpoint.hints(),
        checkpoint.storages(),
        checkpoint.refused(),
        checkpoint.modules(),
        checkpoint.globals(),
    ));
    for value in checkpoint.values().iter().take(VALUES) {
        errors.extend(checkpoint.json(&value.name).err());
    }
    let mut read = 0;
    for tensor in checkpoint.tensors() {
        if read > TENSOR_BYTES {
            break;
        }
        match checkpoint.bytes(&tensor.name) {
            Ok(bytes) => {
                assert_eq!(bytes.len(), tensor.numel() * tensor.dtype.size());
                read += bytes.len();
            }
            Err(error) => errors.push(error),
        }
    }
    errors
}
