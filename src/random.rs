//! Random tensors without the state of a generator: every element is a hash of (seed,
//! stream, position), the same on every machine. Knows tensors, nothing of models.

pub use cellway_data::random::Stream;
use tch::Tensor;

/// Returns a tensor of this shape that is uniform in `[low, high)`, in f64 on the CPU.
pub fn uniform(shape: &[i64], low: f64, high: f64, stream: Stream) -> Tensor {
    fill(shape, |k| low + (high - low) * stream.uniform(k))
}

/// Returns a tensor of this shape that is standard normal, in f64 on the CPU.
pub fn normal(shape: &[i64], stream: Stream) -> Tensor {
    fill(shape, |k| stream.normal(k))
}

fn fill(shape: &[i64], element: impl Fn(u64) -> f64) -> Tensor {
    let count = shape.iter().product::<i64>() as u64;
    let values: Vec<f64> = (0..count).map(element).collect();
    Tensor::from_slice(&values).view(shape)
}
