//! Gradient clipping.

use tch::Tensor;

/// Scales the gradients of `parameters` down to a norm of `max_norm` together,
/// as `torch.nn.utils.clip_grad_norm_`, and gives the norm they had, a scalar
/// on their device. Without a `max_norm` it only measures.
///
/// Nothing waits for the device here: the factor is applied where it is 1, too.
pub fn clip_norm<'a>(
    parameters: impl Iterator<Item = &'a Tensor>,
    max_norm: Option<f64>,
) -> Option<Tensor> {
    let _no_grad = tch::no_grad_guard();
    let gradients: Vec<Tensor> = parameters
        .map(Tensor::grad)
        .filter(Tensor::defined)
        .collect();
    if gradients.is_empty() {
        return None;
    }
    let norms: Vec<Tensor> = gradients.iter().map(Tensor::norm).collect();
    let norm = Tensor::stack(&norms, 0).norm();
    if let Some(max_norm) = max_norm {
        let factor = (max_norm / (&norm + 1e-6)).clamp_max(1.0);
        for mut gradient in gradients {
            let _ = gradient.g_mul_(&factor);
        }
    }
    Some(norm)
}

/// Cuts each number of the gradients of `parameters` to ±`limit`, as
/// `torch.nn.utils.clip_grad_value_`. It does not wait for the device.
pub fn clip_value<'a>(parameters: impl Iterator<Item = &'a Tensor>, limit: f64) {
    let _no_grad = tch::no_grad_guard();
    for mut gradient in parameters.map(Tensor::grad).filter(Tensor::defined) {
        let _ = gradient.clamp_(-limit, limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parameters with the gradients (3, 0) and (4).
    fn parameters() -> [Tensor; 2] {
        let a = Tensor::from_slice(&[1.0, 1.0]).set_requires_grad(true);
        let b = Tensor::from_slice(&[1.0]).set_requires_grad(true);
        let scale = Tensor::from_slice(&[3.0, 0.0]);
        ((&a * scale).sum(tch::Kind::Double) + &b * 4.0).backward();
        [a, b]
    }

    fn gradients(parameters: &[Tensor]) -> Vec<f64> {
        parameters
            .iter()
            .flat_map(|p| Vec::<f64>::try_from(p.grad()).unwrap())
            .collect()
    }

    #[test]
    fn long_gradients_are_scaled_to_the_norm() {
        let parameters = parameters();
        let norm = clip_norm(parameters.iter(), Some(1.0)).unwrap();
        assert!((norm.double_value(&[]) - 5.0).abs() < 1e-12);
        for (ours, expected) in gradients(&parameters).iter().zip([0.6, 0.0, 0.8]) {
            assert!((ours - expected).abs() < 1e-6);
        }
    }

    #[test]
    fn short_gradients_and_no_limit_change_nothing() {
        for limit in [Some(10.0), None] {
            let parameters = parameters();
            let norm = clip_norm(parameters.iter(), limit).unwrap();
            assert!((norm.double_value(&[]) - 5.0).abs() < 1e-12);
            assert_eq!(gradients(&parameters), [3.0, 0.0, 4.0]);
        }
    }

    #[test]
    fn large_numbers_are_cut_and_small_ones_stay() {
        let parameters = parameters();
        clip_value(parameters.iter(), 3.5);
        assert_eq!(gradients(&parameters), [3.0, 0.0, 3.5]);
        let negative = Tensor::from_slice(&[1.0]).set_requires_grad(true);
        (&negative * -2.0).sum(tch::Kind::Double).backward();
        let both = [negative, Tensor::from_slice(&[1.0]).set_requires_grad(true)];
        clip_value(both.iter(), 0.5);
        assert_eq!(gradients(&both[..1]), [-0.5]);
    }

    #[test]
    fn no_gradient_has_no_norm() {
        let parameter = Tensor::from_slice(&[1.0]).set_requires_grad(true);
        assert!(clip_norm([parameter].iter(), Some(1.0)).is_none());
    }
}
