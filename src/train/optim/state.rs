//! Tensors of a saved state, on their way back.

use tch::Tensor;

use crate::checkpoint::safetensors::Tensors;
use crate::error::{Error, Result};

/// A copy of the saved tensor `name`, where `like` is.
///
/// Errors if it is missing, or has another shape or dtype than `like`.
pub(crate) fn restored(saved: &Tensors, name: &str, like: &Tensor) -> Result<Tensor> {
    let Some(tensor) = saved.get(name) else {
        let message = "is missing in the saved state; it is of another optimizer or model";
        return Err(Error::tensor(name, message));
    };
    if (tensor.size(), tensor.kind()) != (like.size(), like.kind()) {
        let message = format!(
            "must be {:?} {:?}, but is {:?} {:?}; the saved state is of another model",
            like.size(),
            like.kind(),
            tensor.size(),
            tensor.kind()
        );
        return Err(Error::tensor(name, message));
    }
    Ok(tensor.detach().f_to_device(like.device())?.copy())
}
