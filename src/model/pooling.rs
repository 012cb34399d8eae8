//! Pooling: what the LSTM puts out at each step becomes one vector for the sequence.

use tch::{Kind, Tensor};

use super::Pooling;
use crate::lstm::{LstmConfig, Output};
use crate::runtime::upload;

/// Makes one vector of each sequence: `[B, parts * D*P]` from an LSTM that is batch first.
pub(super) fn pool(
    pooling: Pooling,
    output: &Output,
    lengths: &[i64],
    lstm: &LstmConfig,
) -> Tensor {
    match pooling {
        Pooling::Last => last(output, lstm),
        Pooling::Mean => mean(output, lengths),
        Pooling::Max => max(output, lengths),
        Pooling::All => Tensor::cat(
            &[
                last(output, lstm),
                mean(output, lengths),
                max(output, lengths),
            ],
            -1,
        ),
    }
}

fn last(read: &Output, lstm: &LstmConfig) -> Tensor {
    let directions = lstm.directions();
    let top = read
        .state
        .h
        .narrow(0, (lstm.num_layers - 1) * directions, directions);
    let batch = top.size()[1];
    top.transpose(0, 1).reshape([batch, -1])
}

fn mean(read: &Output, lengths: &[i64]) -> Tensor {
    let output = &read.output;
    let lengths = upload(&Tensor::from_slice(lengths), output.device());
    let count = lengths.clamp_min(1).unsqueeze(-1).to_kind(output.kind());
    // The padding of the output is zero.
    output.sum_dim_intlist(1, false, output.kind()) / count
}

fn max(read: &Output, lengths: &[i64]) -> Tensor {
    let output = &read.output;
    let (batch, time) = (output.size()[0], output.size()[1]);
    let lengths = upload(&Tensor::from_slice(lengths), output.device()).view([batch, 1, 1]);
    if time == 0 {
        return Tensor::zeros([batch, output.size()[2]], (output.kind(), output.device()));
    }
    let steps = Tensor::arange(time, (Kind::Int64, output.device())).view([1, time, 1]);
    let largest = output
        .masked_fill(&steps.ge_tensor(&lengths), f64::NEG_INFINITY)
        .amax(1, false);
    largest.masked_fill(&lengths.squeeze_dim(2).eq(0), 0.0)
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::lstm::State;

    #[test]
    fn each_pooling_reads_each_text_to_its_own_end() {
        // Two layers, two directions, P = 1: outputs [B, T, 2], states [4, B, 1].
        let config = LstmConfig {
            num_layers: 2,
            bidirectional: true,
            ..LstmConfig::new(1, 1)
        };
        let output = [
            -1.0f32, -2.0, -3.0, -4.0, -5.0, -9.0, // a text of 3 steps
            -6.0, -8.0, 0.0, 0.0, 0.0, 0.0, // of 1
            0.0, 0.0, 0.0, 0.0, 0.0, 0.0, // of 0
        ];
        let h = [
            9.0f32, 9.0, 9.0, 9.0, 9.0, 9.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0,
        ];
        let read = Output {
            output: Tensor::from_slice(&output).view([3, 3, 2]),
            state: State {
                h: Tensor::from_slice(&h).view([4, 3, 1]),
                c: Tensor::zeros([4, 3, 1], (Kind::Float, Device::Cpu)),
            },
        };
        let rows = |pooling: Pooling| -> Vec<Vec<f64>> {
            Vec::try_from(pool(pooling, &read, &[3, 1, 0], &config)).unwrap()
        };
        assert_eq!(rows(Pooling::Last), [[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]]);
        assert_eq!(
            rows(Pooling::Mean),
            [[-3.0, -5.0], [-6.0, -8.0], [0.0, 0.0]]
        );
        assert_eq!(rows(Pooling::Max), [[-1.0, -2.0], [-6.0, -8.0], [0.0, 0.0]]);
        assert_eq!(rows(Pooling::All)[0], [1.0, 4.0, -3.0, -5.0, -1.0, -2.0]);
    }
}
