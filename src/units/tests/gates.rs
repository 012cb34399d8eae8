//! Gates that stand still, so that everything about them is known.

use super::*;

/// No weights: the biases of the input, forget and output gates of two units are the
/// gates' arguments at every step.
fn still(kind: Kind, input: [f64; 2], forget: [f64; 2], output: [f64; 2]) -> Model {
    let tokenizer = tokenizer();
    let config = ModelConfig::new(tokenizer.vocab_size() as i64, 1, 2, &labels(2));
    let gates = [input, forget, [0.5, 0.5], output].concat();
    Model::from_tensors(config, tokenizer, |name| {
        let tensor = match name {
            "embedding.weight" => Tensor::zeros([10, 1], (Kind::Double, Device::Cpu)),
            "lstm.weight_ih_l0" => Tensor::zeros([8, 1], (Kind::Double, Device::Cpu)),
            "lstm.weight_hh_l0" => Tensor::zeros([8, 2], (Kind::Double, Device::Cpu)),
            "lstm.bias_ih_l0" => Tensor::from_slice(&gates),
            "lstm.bias_hh_l0" => Tensor::zeros([8], (Kind::Double, Device::Cpu)),
            "head.weight" => Tensor::zeros([1, 2], (Kind::Double, Device::Cpu)),
            _ => Tensor::zeros([1], (Kind::Double, Device::Cpu)),
        };
        Ok(tensor.to_kind(kind))
    })
    .unwrap()
}

/// σ(0) = 1/2: never saturated.
const OPEN: [f64; 2] = [0.0, 0.0];

fn units(model: &Model) -> Vec<Unit> {
    // One batch of texts of 1 to 6 tokens: most of it is padding.
    let ids = texts([1, 6, 1, 2]);
    let texts = Texts {
        ids: &ids,
        classes: None,
    };
    let found = look(model, &texts, |_| {});
    assert_eq!((found.texts, found.tokens), (4, 10));
    assert!(found.class_counts.is_none() && found.sentiment_units.is_empty());
    let layer = found.layers.into_iter().next().unwrap();
    assert_eq!((layer.layer, layer.direction), (0, Direction::Forward));
    layer.units
}

#[test]
fn huge_biases_saturate_each_gate_on_its_side() {
    const SHUT: Saturation = Saturation {
        left: 1.0,
        right: 0.0,
    };
    const WIDE: Saturation = Saturation {
        left: 0.0,
        right: 1.0,
    };
    const BETWEEN: Saturation = Saturation {
        left: 0.0,
        right: 0.0,
    };
    let of = |model: &Model| -> Vec<[Saturation; 3]> {
        let units = units(model);
        units
            .iter()
            .map(|u| [u.input, u.forget, u.output])
            .collect()
    };
    let biases = [9.0, -9.0];
    let found = of(&still(Kind::Float, biases, OPEN, OPEN));
    assert_eq!(found, [[WIDE, BETWEEN, BETWEEN], [SHUT, BETWEEN, BETWEEN]]);
    let found = of(&still(Kind::Float, OPEN, biases, OPEN));
    assert_eq!(found, [[BETWEEN, WIDE, BETWEEN], [BETWEEN, SHUT, BETWEEN]]);
    let found = of(&still(Kind::Float, OPEN, OPEN, biases));
    assert_eq!(found, [[BETWEEN, BETWEEN, WIDE], [BETWEEN, BETWEEN, SHUT]]);
    // σ(±ln 9) is 0.9 and 0.1: a hair to either side decides.
    let edge = 9f64.ln();
    for (bias, expected) in [
        (edge + 1e-9, WIDE),
        (edge - 1e-9, BETWEEN),
        (-edge + 1e-9, BETWEEN),
        (-edge - 1e-9, SHUT),
    ] {
        let found = of(&still(Kind::Double, OPEN, [bias, 0.0], OPEN));
        assert_eq!(found[0][1], expected, "{bias}");
    }
}

#[test]
fn half_lives_are_those_of_the_sigmoid() {
    // ln σ(b) = -ln(1 + e^-b).
    let life = |bias: f64| 2f64.ln() / (-bias).exp().ln_1p();
    let model = still(Kind::Double, OPEN, [3.0, -2.0], OPEN);
    let found = units(&model);
    for (unit, bias) in found.iter().zip([3.0, -2.0]) {
        close(unit.half_life.unwrap(), life(bias));
        close(unit.mean_log_forget, -(-bias).exp().ln_1p());
        assert_eq!(unit.floored, 0.0);
    }
    // σ(0) = 1/2 halves at each token.
    close(
        units(&still(Kind::Double, OPEN, OPEN, OPEN))[0]
            .half_life
            .unwrap(),
        1.0,
    );
    // A large bias remembers for long: 336 million tokens.
    let found = units(&still(Kind::Double, OPEN, [20.0, 20.0], OPEN));
    let long = found[0].half_life.unwrap();
    assert!((long / life(20.0) - 1.0).abs() < 1e-6, "{long}");
    assert!(long > 3e8);
}

#[test]
fn gates_that_round_to_one_and_to_zero() {
    // In f32 σ(40) is 1 and σ(-200) is 0.
    let found = units(&still(Kind::Float, OPEN, [40.0, -200.0], OPEN));
    assert_eq!(found[0].half_life, None);
    assert_eq!((found[0].mean_log_forget, found[0].floored), (0.0, 0.0));
    // ln of 2^-126, the smallest normal number.
    assert_eq!(found[1].floored, 1.0);
    close(found[1].mean_log_forget, -126.0 * 2f64.ln());
    close(found[1].half_life.unwrap(), 1.0 / 126.0);
    // In f64 neither is out of reach.
    let found = units(&still(Kind::Double, OPEN, [30.0, -200.0], OPEN));
    assert!(found[0].half_life.unwrap() > 1e12);
    assert_eq!(found[1].floored, 0.0);
    close(found[1].half_life.unwrap(), 2f64.ln() / 200.0);
    assert_eq!(half_life(-0.0), None);
    assert_eq!(half_life(-f64::MIN_POSITIVE / 8.0), None);
}
