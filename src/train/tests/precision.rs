//! Low precision against `torch.autocast` and `torch.amp.GradScaler` in the
//! project's Python.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tch::{Kind, Tensor};

use super::super::precision::LossScale;
use super::*;
use crate::checkpoint::safetensors;
use crate::lstm::Mode;
use crate::model::Pass;

fn python(arguments: &[&str]) -> Value {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(root.join(".venv/bin/python"))
        .arg(root.join("scripts/reference/precision_reference.py"))
        .args(arguments)
        .output()
        .expect("the project's Python; run scripts/setup");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_scale_is_that_of_torchs_scaler_after_each_of_4600_steps() {
    let torch = python(&["scale"]);
    let mut ours = LossScale::default();
    for (step, torch) in torch.as_array().unwrap().iter().enumerate() {
        ours.update(![0, 1, 2, 2500].contains(&step)).unwrap();
        assert_eq!(ours.scale(), torch.as_f64().unwrap(), "step {step}");
    }
}

#[test]
fn a_step_in_low_precision_is_as_near_to_torchs_as_rounding_allows() {
    let mut toy = Toy::new();
    toy.config.lstm.hidden_size = 24;
    toy.config.embedding.size = 16;
    let model = prepare(&toy.config).unwrap().model;
    // Larger weights than at the start, so that gates are no longer in the middle.
    let _no_grad = tch::no_grad_guard();
    for (_, tensor) in model.parameters() {
        let _ = tensor.shallow_clone().g_mul_scalar_(3.0);
    }
    drop(_no_grad);
    let texts: Vec<Vec<i64>> = (0..12)
        .map(|n| (0..9).map(|t| 2 + (n * t) % 11).collect())
        .collect();
    let batch = model.batch(texts.iter().map(Vec::as_slice)).unwrap();
    // A sigmoid head is a softmax of two logits, the first of them 0.
    let truth = Tensor::from_slice(&[0i64, 1].repeat(6));
    let mut file = Vec::new();
    for (name, tensor) in model.parameters() {
        let two = |tensor: &Tensor| Tensor::cat(&[tensor.zeros_like(), tensor.shallow_clone()], 0);
        file.push(match name.starts_with("head") {
            true => (name, two(&tensor.detach())),
            false => (name, tensor.detach()),
        });
    }
    file.push(("ids".to_owned(), batch.ids.shallow_clone()));
    file.push(("truth".to_owned(), truth.shallow_clone()));
    let path = toy.path("step.safetensors");
    let named = file.iter().map(|(name, tensor)| (name.as_str(), tensor));
    safetensors::save(&path, named, &[]).unwrap();

    for (name, precision, epsilon) in [
        ("bf16", Precision::BF16, 2f64.powi(-8)),
        ("f16", Precision::F16, 2f64.powi(-11)),
    ] {
        let torch = python(&["step", path.to_str().unwrap(), name]);
        let loss = |of: &str| torch[of]["loss"].as_f64().unwrap();
        for engine in [Engine::Plain, Engine::Fused] {
            let pass = Pass {
                engine,
                mode: Mode::Eval,
                kind: precision.kind(),
                truncate: None,
                recompute: false,
            };
            let logits = model.forward(&batch, pass).unwrap();
            assert_eq!(logits.kind(), Kind::Float);
            let ours = model.loss(&logits, &truth);
            let parameters = model.parameters();
            let tensors: Vec<&Tensor> = parameters.iter().map(|(_, tensor)| *tensor).collect();
            let gradients = Tensor::run_backward(&[&ours], &tensors, false, false);
            let ours = ours.double_value(&[]);
            // Nine steps of nine roundings or so each, half of an epsilon at the most.
            let bound = 4.0 * epsilon;
            let error = (ours - loss("low")).abs() / loss("low");
            assert!(error < bound, "{name} {engine:?}: {ours} {}", loss("low"));
            // It is low precision indeed.
            assert!(
                (ours - loss("f32")).abs() > 0.01 * epsilon,
                "{name} {engine:?}"
            );
            for ((parameter, _), gradient) in parameters.iter().zip(gradients) {
                assert_eq!(gradient.kind(), Kind::Float, "{parameter}");
                let norm = gradient.to_kind(Kind::Double).norm().double_value(&[]);
                let mut expected = torch["low"]["norms"][parameter].as_f64().unwrap();
                if parameter.starts_with("head") {
                    // Two logits have the same gradient with opposite signs.
                    expected /= 2f64.sqrt();
                }
                let error = (norm - expected).abs() / expected;
                assert!(
                    error < 2.0 * bound,
                    "{name} {engine:?} {parameter}: {norm} {expected}"
                );
            }
        }
    }
}
