//! The loss that is trained on.

use tch::{Reduction, Tensor};

use crate::model::{HeadKind, Model};

/// The mean loss of a batch with classes `truth` `[B]` i64; with `smoothing` of
/// the labels (Szegedy et al., "Rethinking the Inception architecture for computer
/// vision", 2016), as `torch.nn.CrossEntropyLoss(label_smoothing)`.
pub(super) fn loss(model: &Model, logits: &Tensor, truth: &Tensor, smoothing: f64) -> Tensor {
    match smoothing {
        0.0 => model.loss(logits, truth),
        smoothing => smoothed(model.config().head, logits, truth, smoothing),
    }
}

/// Of `C` classes the true one has 1 - smoothing + smoothing / C, the others
/// smoothing / C. A sigmoid head has two, with the logits 0 and `z`.
fn smoothed(head: HeadKind, logits: &Tensor, truth: &Tensor, smoothing: f64) -> Tensor {
    let (weight, mean) = (None::<&Tensor>, Reduction::Mean);
    match head {
        HeadKind::Sigmoid => {
            let truth = truth.to_kind(logits.kind()).unsqueeze(-1);
            let truth = truth * (1.0 - smoothing) + smoothing / 2.0;
            logits.binary_cross_entropy_with_logits(&truth, weight, weight, mean)
        }
        HeadKind::Softmax => logits.cross_entropy_loss(truth, weight, mean, -100, smoothing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Kind;

    const SMOOTHING: f64 = 0.1;

    /// The definition, in plain numbers.
    fn expected(logits: &[&[f64]], truth: &[i64]) -> f64 {
        let mut sum = 0.0;
        for (logits, &truth) in logits.iter().zip(truth) {
            let total: f64 = logits.iter().map(|z| z.exp()).sum();
            for (class, z) in logits.iter().enumerate() {
                let hit = f64::from(u8::from(class as i64 == truth));
                let share = (1.0 - SMOOTHING) * hit + SMOOTHING / logits.len() as f64;
                sum -= share * (z - total.ln());
            }
        }
        sum / truth.len() as f64
    }

    #[test]
    fn softmax_is_the_definition() {
        let logits = [[0.3, -1.2, 2.0], [1.0, 0.5, -3.0]];
        let tensor = Tensor::from_slice2(&logits);
        let ours = smoothed(
            HeadKind::Softmax,
            &tensor,
            &Tensor::from_slice(&[2i64, 1]),
            SMOOTHING,
        );
        let expected = expected(&[&logits[0], &logits[1]], &[2, 1]);
        assert!((ours.double_value(&[]) - expected).abs() < 1e-12);
    }

    #[test]
    fn sigmoid_is_softmax_of_two_with_its_gradient() {
        let z = Tensor::from_slice2(&[[0.7], [-1.3], [2.5]]).set_requires_grad(true);
        let truth = Tensor::from_slice(&[1i64, 1, 0]);
        let ours = smoothed(HeadKind::Sigmoid, &z, &truth, SMOOTHING);
        let both = [[0.0, 0.7], [0.0, -1.3], [0.0, 2.5]];
        let expected = expected(&[&both[0], &both[1], &both[2]], &[1, 1, 0]);
        assert!((ours.double_value(&[]) - expected).abs() < 1e-12);

        let gradient = |loss: &Tensor| Tensor::run_backward(&[loss], &[&z], false, false).remove(0);
        let two = Tensor::cat(&[z.zeros_like(), z.shallow_clone()], -1);
        let torch = smoothed(HeadKind::Softmax, &two, &truth, SMOOTHING);
        let difference = gradient(&ours) - gradient(&torch);
        assert!(difference.abs().max().double_value(&[]) < 1e-12);
        assert!(gradient(&smoothed(HeadKind::Sigmoid, &z, &truth, 0.2)).kind() == Kind::Double);
    }
}
