//! What libtorch can do and tch has no name for, through a few lines of C++
//! (`shim.cpp`).

use std::ffi::{CStr, c_char, c_int, c_void};

use tch::{Device, Tensor};

use crate::error::{Error, Result};

unsafe extern "C" {
    fn cellway_free(message: *mut c_char);
    fn cellway_fused_step(
        optimizer: c_int,
        count: usize,
        parameters: *const *mut c_void,
        gradients: *const *mut c_void,
        memories: usize,
        memory: *const *mut c_void,
        steps: *const *mut c_void,
        rate: f64,
        weight_decay: f64,
        first: f64,
        second: f64,
        epsilon: f64,
        nesterov: bool,
    ) -> *mut c_char;
    fn cellway_deterministic() -> *mut c_char;
    fn cellway_peak_memory(device: c_int, bytes: *mut i64) -> *mut c_char;
}

/// An optimizer that libtorch has as one operation over all parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fused {
    /// β1, β2, ε.
    Adam(f64, f64, f64),
    /// β1, β2, ε.
    AdamW(f64, f64, f64),
    /// Momentum, and whether it looks ahead.
    Sgd(f64, bool),
    /// ε.
    AdaGrad(f64),
}

/// A parameter with its gradient and what is remembered of it.
pub(crate) struct Updated<'a> {
    pub parameter: &'a Tensor,
    pub gradient: Tensor,
    pub memory: &'a [Tensor],
}

/// One step for all of these, which are on one device and have one dtype; `step`
/// counts this one. Nothing waits for the device.
pub(crate) fn fused_step(
    optimizer: Fused,
    all: &[Updated],
    step: i64,
    rate: f64,
    weight_decay: f64,
) -> Result<()> {
    let Some(first) = all.first() else {
        return Ok(());
    };
    let memories = first.memory.len();
    let pointer = |tensor: &Tensor| tensor.as_ptr().cast_mut().cast::<c_void>();
    let parameters: Vec<_> = all.iter().map(|of| pointer(of.parameter)).collect();
    let gradients: Vec<_> = all.iter().map(|of| pointer(&of.gradient)).collect();
    let memory: Vec<_> = (0..memories)
        .flat_map(|n| all.iter().map(move |of| &of.memory[n]))
        .map(pointer)
        .collect();
    let options = (tch::Kind::Float, first.parameter.device());
    let step = Tensor::full([], step as f64, options);
    let steps = vec![pointer(&step); all.len()];
    let (number, one, two, epsilon, nesterov) = match optimizer {
        Fused::Adam(beta1, beta2, epsilon) => (0, beta1, beta2, epsilon, false),
        Fused::AdamW(beta1, beta2, epsilon) => (1, beta1, beta2, epsilon, false),
        Fused::Sgd(momentum, nesterov) => (2, momentum, 0.0, 0.0, nesterov),
        Fused::AdaGrad(epsilon) => (3, 0.0, 0.0, epsilon, false),
    };
    // SAFETY: every pointer is that of a tensor that lives until the call is over,
    // and each array has as many of them as is said: `memories` for each parameter.
    told(unsafe {
        cellway_fused_step(
            number,
            all.len(),
            parameters.as_ptr(),
            gradients.as_ptr(),
            memories,
            memory.as_ptr(),
            steps.as_ptr(),
            rate,
            weight_decay,
            one,
            two,
            epsilon,
            nesterov,
        )
    })
}

/// From here on only operations whose results do not depend on the order in which
/// threads of a device arrive; one that has no such form is an error.
pub(crate) fn deterministic() -> Result<()> {
    // SAFETY: sets switches of libtorch, and takes nothing.
    told(unsafe { cellway_deterministic() })
}

/// The most bytes that tensors on this CUDA device had together; none on the CPU.
pub(crate) fn peak_memory(device: Device) -> Result<Option<u64>> {
    let Device::Cuda(number) = device else {
        return Ok(None);
    };
    let mut bytes = 0;
    // SAFETY: `bytes` lives until the call is over.
    told(unsafe { cellway_peak_memory(number as c_int, &mut bytes) })?;
    Ok(Some(bytes as u64))
}

/// Takes over the message of a failed call.
fn told(message: *mut c_char) -> Result<()> {
    if message.is_null() {
        return Ok(());
    }
    // SAFETY: a message that is not null is a string that ends with 0 and belongs
    // to us until it is freed, here and only here.
    let text = unsafe {
        let text = CStr::from_ptr(message).to_string_lossy().into_owned();
        cellway_free(message);
        text
    };
    Err(Error::Torch(
        text.lines().next().unwrap_or_default().to_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_libtorch_refuses_is_an_error_of_one_line() {
        let a = Tensor::from_slice(&[1i64]);
        let of = Updated {
            parameter: &a,
            gradient: a.copy(),
            memory: &[a.zeros_like(), a.zeros_like()],
        };
        let error = fused_step(Fused::Adam(0.9, 0.999, 1e-8), &[of], 1, 0.1, 0.0).unwrap_err();
        let error = error.to_string();
        assert!(
            error.starts_with("libtorch: ") && error.lines().count() == 1,
            "{error}"
        );
        assert_eq!(peak_memory(Device::Cpu).unwrap(), None);
        if let Err(reason) = crate::runtime::cuda() {
            assert!(peak_memory(Device::Cuda(0)).is_err(), "{reason}");
        }
    }
}
