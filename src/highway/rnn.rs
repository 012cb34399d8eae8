//! The tanh RNN, by hand, from its equation (Elman, "Finding structure in time",
//! 1990; in the form of PyTorch, with two biases):
//!
//! ```text
//! h' = tanh(W_ih x + b_ih + W_hh h + b_hh)
//! ```
//!
//! It is what the LSTM is measured against: no gates, no cell state, and a gradient
//! that goes through `W_hh` and a tanh at every step.

use tch::{Kind, Tensor};

use crate::error::{Error, Result};
use crate::lstm::params::uniform;
use crate::random::Stream;

/// One layer in one direction. `I` is the input size, `H` the hidden size.
#[derive(Debug)]
pub struct Rnn {
    /// `[H, I]`: from the input.
    w_ih: Tensor,
    /// `[H, H]`: from the hidden state.
    w_hh: Tensor,
    /// `[H]`.
    b_ih: Tensor,
    /// `[H]`.
    b_hh: Tensor,
}

/// PyTorch's names, in PyTorch's order.
const NAMES: [&str; 4] = ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"];

impl Rnn {
    /// New f32 parameters on the CPU, PyTorch's: uniform in ±1/√H, hashed from
    /// `stream` and the name.
    ///
    /// Errors if a size is below 1.
    pub fn new(input_size: i64, hidden_size: i64, stream: Stream) -> Result<Self> {
        for (key, size) in [("input_size", input_size), ("hidden_size", hidden_size)] {
            if size < 1 {
                return Err(Error::config(key, format!("must be 1 or more, not {size}")));
            }
        }
        let (i, h) = (input_size, hidden_size);
        let bound = 1.0 / (h as f64).sqrt();
        let shapes: [&[i64]; 4] = [&[h, i], &[h, h], &[h], &[h]];
        let mut made = NAMES.iter().zip(shapes).map(|(name, shape)| {
            let values = uniform(shape, -bound, bound, Stream::new(stream.seed(), name));
            values.to_kind(Kind::Float).set_requires_grad(true)
        });
        let mut next = || made.next().unwrap_or_default();
        Ok(Rnn {
            w_ih: next(),
            w_hh: next(),
            b_ih: next(),
            b_hh: next(),
        })
    }

    /// Every parameter with its PyTorch name, in PyTorch's order.
    pub fn parameters(&self) -> Vec<(String, &Tensor)> {
        let tensors = [&self.w_ih, &self.w_hh, &self.b_ih, &self.b_hh];
        let names = NAMES.iter().map(|name| (*name).to_owned());
        names.zip(tensors).collect()
    }

    /// With each parameter replaced: a move to a device, a cast.
    pub(super) fn map(&self, change: impl Fn(&Tensor) -> Tensor) -> Rnn {
        Rnn {
            w_ih: change(&self.w_ih),
            w_hh: change(&self.w_hh),
            b_ih: change(&self.b_ih),
            b_hh: change(&self.b_hh),
        }
    }

    /// Reads `input` `[T, B, I]` from a state of zeros, and gives the hidden state
    /// `[B, H]` behind each step. Each of them is a node of the graph through which all
    /// that comes later is computed, so that a gradient with respect to it is the total
    /// one.
    ///
    /// Errors if the input has another shape or dtype than the parameters want.
    pub fn states(&self, input: &Tensor) -> Result<Vec<Tensor>> {
        let size = input.size();
        let i = self.w_ih.size()[1];
        if size.len() != 3 || size[2] != i {
            let message = format!("must be [T, B, I] with I = {i}, but its shape is {size:?}");
            return Err(Error::tensor("input", message));
        }
        if input.kind() != self.w_ih.kind() {
            let message = format!(
                "is {:?}, but the parameters are {:?}; convert one of them",
                input.kind(),
                self.w_ih.kind()
            );
            return Err(Error::tensor("input", message));
        }
        let from_input = input.linear(&self.w_ih, Some(&self.b_ih)); // [T, B, H]
        let mut h = Tensor::zeros(
            [size[1], self.w_hh.size()[0]],
            (input.kind(), input.device()),
        );
        let step = |from_input: Tensor| {
            h = (from_input + h.linear(&self.w_hh, Some(&self.b_hh))).tanh();
            h.shallow_clone()
        };
        Ok(from_input.unbind(0).into_iter().map(step).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    /// Outputs and the gradients of the input and every parameter.
    fn results(input: &Tensor, rnn: &Rnn, output: &Tensor) -> Vec<Tensor> {
        let weight = Tensor::arange(output.numel() as i64, (Kind::Double, Device::Cpu)).sin();
        let loss = (output * weight.view_as(output)).sum(Kind::Double);
        let mut inputs = vec![input];
        let parameters = rnn.parameters();
        inputs.extend(parameters.iter().map(|(_, tensor)| *tensor));
        let mut all = vec![output.detach()];
        all.extend(Tensor::run_backward(&[loss], &inputs, false, false));
        all
    }

    #[test]
    fn it_is_the_rnn_of_torch() {
        for (n, (t, b, i, h)) in [(1, 1, 1, 1), (7, 3, 4, 5), (40, 2, 3, 16)]
            .into_iter()
            .enumerate()
        {
            let stream = Stream::new(n as u64, "rnn");
            let rnn = Rnn::new(i, h, stream).unwrap();
            let rnn = rnn.map(|tensor| {
                // Larger than PyTorch's, for tanh to bend.
                (tensor.detach().to_kind(Kind::Double) * 2.0).set_requires_grad(true)
            });
            let input = uniform(&[t, b, i], -2.0, 2.0, stream).set_requires_grad(true);
            let ours = Tensor::stack(&rnn.states(&input).unwrap(), 0);
            let parameters = rnn.parameters();
            let parameters: Vec<&Tensor> = parameters.iter().map(|(_, tensor)| *tensor).collect();
            let start = Tensor::zeros([1, b, h], (Kind::Double, Device::Cpu));
            let (torch, _) = input.rnn_tanh(&start, &parameters, true, 1, 0.0, true, false, false);
            let pairs = results(&input, &rnn, &ours)
                .into_iter()
                .zip(results(&input, &rnn, &torch));
            for (k, (ours, torch)) in pairs.enumerate() {
                assert_eq!(ours.size(), torch.size());
                let scale = torch.abs().max().double_value(&[]).max(1.0);
                let error = (ours - torch).abs().max().double_value(&[]) / scale;
                assert!(error < 1e-13, "case {n}, result {k}: {error}");
            }
        }
    }

    #[test]
    fn new_parameters_are_those_of_pytorch() {
        let rnn = Rnn::new(10, 64, Stream::new(3, "rnn")).unwrap();
        let shapes: Vec<Vec<i64>> = rnn
            .parameters()
            .iter()
            .map(|(_, tensor)| tensor.size())
            .collect();
        assert_eq!(shapes, [vec![64, 10], vec![64, 64], vec![64], vec![64]]);
        for (name, tensor) in rnn.parameters() {
            let largest = tensor.abs().max().double_value(&[]);
            assert!(largest <= 0.125 && largest > 0.11, "{name}: {largest}");
        }
    }

    #[test]
    fn a_wrong_input_is_told() {
        let rnn = Rnn::new(2, 3, Stream::new(3, "rnn")).unwrap();
        let of = |shape: &[i64], kind| rnn.states(&Tensor::zeros(shape, (kind, Device::Cpu)));
        assert!(of(&[4, 1, 2], Kind::Float).is_ok());
        let shape = of(&[4, 1, 3], Kind::Float).unwrap_err().to_string();
        assert!(shape.contains("I = 2"), "{shape}");
        let kind = of(&[4, 1, 2], Kind::Double).unwrap_err().to_string();
        assert!(kind.contains("Double"), "{kind}");
        assert!(Rnn::new(0, 3, Stream::new(3, "rnn")).is_err());
    }
}
