//! What libtorch can do and tch has no name for, through a few lines of C++
//! (`shim.cpp`).

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::atomic::{AtomicBool, Ordering};

use tch::kind::Element;
use tch::{Device, Kind, Tensor};

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
    fn cellway_tensor_over(
        memory: *mut c_void,
        count: i64,
        wide: bool,
        release: unsafe extern "C" fn(*mut c_void),
        result: *mut *mut c_void,
    ) -> *mut c_char;
    fn cellway_memory(
        tensor: *const c_void,
        wide: bool,
        start: *mut *mut c_void,
        reach: *mut i64,
    ) -> *mut c_char;
    fn cellway_in_parallel(
        count: usize,
        work: unsafe extern "C" fn(*const c_void, usize),
        context: *const c_void,
    ) -> *mut c_char;
    fn cellway_records_gradients() -> bool;
    fn cellway_node(
        inputs: *const *mut c_void,
        input_count: usize,
        outputs: *const *mut c_void,
        output_count: usize,
        kept: *const *mut c_void,
        kept_count: usize,
        backward: RawBackward,
        results: *mut *mut c_void,
    ) -> *mut c_char;
    #[cfg(feature = "cli")]
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

/// A tensor `[count]` of f32, or f64 if `wide`, over this memory, which `release` gets back, from any thread, when
/// nobody has the tensor any more.
///
/// # Safety
///
/// The memory has room for so many numbers and stays until `release` is called.
pub(crate) unsafe fn tensor_over(
    memory: *mut c_void,
    count: usize,
    wide: bool,
    release: unsafe extern "C" fn(*mut c_void),
) -> Tensor {
    let mut result = std::ptr::null_mut();
    // SAFETY: as the caller says; `result` lives until the call is over.
    let made =
        told(unsafe { cellway_tensor_over(memory, count as i64, wide, release, &mut result) });
    match made {
        // SAFETY: a new tensor of C++, and ours from here on.
        Ok(()) => unsafe { Tensor::from_ptr(result.cast()) },
        Err(error) => panic!("{error}"),
    }
}

/// The elements of a tensor of f32 or f64 on the CPU, from the first one as far as its shape and strides
/// reach.
///
/// # Safety
///
/// They have been written, and nobody writes to them while the slice is there.
///
/// # Panics
///
/// The tensor has another dtype, or is on another device.
pub(crate) unsafe fn elements<T: Element>(tensor: &Tensor) -> &[T] {
    match memory_of::<T>(tensor) {
        (_, 0) => &[],
        // SAFETY: the tensor's memory reaches so far, and stays while the tensor does; the
        // caller says that nobody writes to it.
        (start, count) => unsafe { std::slice::from_raw_parts(start, count) },
    }
}

/// As [`elements`], to be written.
///
/// # Safety
///
/// Nobody else uses the elements while the slice is there.
///
/// # Panics
///
/// The tensor has another dtype, or is on another device.
pub(crate) unsafe fn elements_mut<T: Element>(tensor: &mut Tensor) -> &mut [T] {
    match memory_of::<T>(tensor) {
        (_, 0) => &mut [],
        // SAFETY: the tensor's memory reaches so far, and stays while the tensor does; the
        // caller says that it is nobody else's.
        (start, count) => unsafe { std::slice::from_raw_parts_mut(start, count) },
    }
}

/// Where a tensor's elements begin, and how far they reach. In one call: asking tch for
/// shape, strides and the rest takes as long as a step of a small LSTM.
fn memory_of<T: Element>(tensor: &Tensor) -> (*mut T, usize) {
    assert!(matches!(T::KIND, Kind::Float | Kind::Double));
    let wide = T::KIND == Kind::Double;
    let (mut start, mut reach) = (std::ptr::null_mut(), 0);
    // SAFETY: the tensor outlives the call, and so do both results.
    let told =
        told(unsafe { cellway_memory(tensor.as_ptr().cast(), wide, &mut start, &mut reach) });
    if let Err(error) = told {
        panic!("{error}");
    }
    let start: *mut T = start.cast();
    assert!(start.is_aligned() && reach >= 0);
    (start, reach as usize)
}

/// Calls `work` with every number below `count`, on as many of libtorch's threads as it
/// is set to; called from one of them, on this one.
pub(crate) fn in_parallel<W: Fn(usize) + Sync>(count: usize, work: W) {
    struct Context<W> {
        work: W,
        panicked: AtomicBool,
    }
    /// No panic goes through C++.
    unsafe extern "C" fn call<W: Fn(usize) + Sync>(context: *const c_void, number: usize) {
        // SAFETY: it is the context below, which outlives the call.
        let context = unsafe { &*context.cast::<Context<W>>() };
        let run = || (context.work)(number);
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err() {
            context.panicked.store(true, Ordering::Relaxed);
        }
    }
    let context = Context {
        work,
        panicked: AtomicBool::new(false),
    };
    // SAFETY: `call` takes such a context, which lives until all calls are over, and
    // which threads may share.
    let done = told(unsafe {
        cellway_in_parallel(count, call::<W>, (&raw const context).cast::<c_void>())
    });
    if context.panicked.into_inner() {
        panic!("a thread panicked");
    }
    if let Err(error) = done {
        panic!("{error}");
    }
}

/// Whether libtorch writes down what is computed, for gradients.
pub(crate) fn records_gradients() -> bool {
    // SAFETY: asks for a switch, and takes nothing.
    unsafe { cellway_records_gradients() }
}

/// As libtorch calls it; made by [`backward_of`].
pub(crate) type RawBackward = unsafe extern "C" fn(
    *const *mut c_void,
    usize,
    *const *mut c_void,
    usize,
    *const *mut c_void,
    usize,
    *mut c_char,
    usize,
) -> bool;

/// What a function's way back is given.
pub(crate) struct Backward {
    /// The inputs, and behind them what was kept.
    pub saved: Vec<Tensor>,
    /// Of the outputs; none where no gradient came.
    pub gradients: Vec<Option<Tensor>>,
    /// To be filled, one for each input, of whatever stood there; none where no gradient
    /// is asked for.
    pub results: Vec<Option<Tensor>>,
}

/// A way back of [`node`]. It keeps no state: all that it needs is saved.
pub(crate) trait Function {
    /// Fills the results, or says in a line why not.
    fn backward(call: Backward) -> std::result::Result<(), String>;
}

/// Gives `outputs`, computed from `inputs` without gradients, their place in the graph:
/// where gradients come back, `F` is called with what was kept. An input that is
/// changed in place before is found by libtorch.
pub(crate) fn node<F: Function>(
    inputs: &[Tensor],
    outputs: &[Tensor],
    kept: &[Tensor],
) -> Result<Vec<Tensor>> {
    let pointers = |tensors: &[Tensor]| -> Vec<_> {
        let pointer = |tensor: &Tensor| tensor.as_ptr().cast_mut().cast::<c_void>();
        tensors.iter().map(pointer).collect()
    };
    let (from, to, with) = (pointers(inputs), pointers(outputs), pointers(kept));
    let mut results = vec![std::ptr::null_mut(); outputs.len()];
    // SAFETY: every pointer is that of a tensor that lives until the call is over, and
    // there is room for as many results as there are outputs.
    told(unsafe {
        cellway_node(
            from.as_ptr(),
            from.len(),
            to.as_ptr(),
            to.len(),
            with.as_ptr(),
            with.len(),
            backward_of::<F>,
            results.as_mut_ptr(),
        )
    })?;
    // SAFETY: each is a new tensor of C++, and ours from here on.
    let owned = |pointer: *mut c_void| unsafe { Tensor::from_ptr(pointer.cast()) };
    Ok(results.into_iter().map(owned).collect())
}

/// Calls `F`; no panic of it goes through C++.
unsafe extern "C" fn backward_of<F: Function>(
    saved: *const *mut c_void,
    saved_count: usize,
    gradients: *const *mut c_void,
    gradient_count: usize,
    results: *const *mut c_void,
    result_count: usize,
    message: *mut c_char,
    room: usize,
) -> bool {
    let tensors = |pointers: *const *mut c_void, count: usize| -> Vec<Option<Tensor>> {
        // SAFETY: `shim.cpp` gives so many pointers, each null or to a tensor.
        let pointers = unsafe { std::slice::from_raw_parts(pointers, count) };
        let shared = |pointer: &*mut c_void| match pointer.is_null() {
            true => None,
            // SAFETY: as above; the clone shares what the tensor holds.
            false => Some(unsafe { Tensor::clone_from_ptr(pointer.cast()) }),
        };
        pointers.iter().map(shared).collect()
    };
    let run = || {
        F::backward(Backward {
            saved: tensors(saved, saved_count).into_iter().flatten().collect(),
            gradients: tensors(gradients, gradient_count),
            results: tensors(results, result_count),
        })
    };
    let problem = match std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) {
        Ok(Ok(())) => return true,
        Ok(Err(problem)) => problem,
        Err(_) => "the way back of a native function panicked".to_owned(),
    };
    let bytes = problem.as_bytes();
    let count = bytes.len().min(room.saturating_sub(1));
    // SAFETY: there is room for so many bytes and the 0 behind them, which stands
    // there already.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr().cast(), message, count) };
    false
}

/// From here on only operations whose results do not depend on the order in which
/// threads of a device arrive; one that has no such form is an error.
#[cfg(feature = "cli")]
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
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn every_number_is_worked_on_once_and_a_panic_arrives() {
        let counts: Vec<AtomicUsize> = (0..1000).map(|_| AtomicUsize::new(0)).collect();
        in_parallel(counts.len(), |n| {
            counts[n].fetch_add(1, Ordering::Relaxed);
        });
        let once = |count: &AtomicUsize| count.load(Ordering::Relaxed) == 1;
        assert!(counts.iter().all(once));
        in_parallel(0, |_| unreachable!());
        let panics = || in_parallel(8, |n| assert_ne!(n, 5));
        assert!(std::panic::catch_unwind(panics).is_err());
    }

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
