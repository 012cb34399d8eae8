//! Each optimizer against `torch.optim` in the project's Python, 100 steps.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use tch::{Device, Kind, Tensor};

use super::*;

/// The problem that `scripts/optim_reference.py` states.
fn run(make: impl Fn(Vec<Group>) -> Box<dyn Optimizer>, weight_decay: f64) -> Vec<f64> {
    let k = Tensor::arange(6, (Kind::Double, Device::Cpu));
    let leaves = [k.sin(), k.cos()].map(|tensor| tensor.set_requires_grad(true));
    let group = |n: usize, rate_factor| Group {
        parameters: vec![(n.to_string(), leaves[n].shallow_clone())],
        rate_factor,
        weight_decay,
    };
    let mut optimizer = make(vec![group(0, 1.0), group(1, 0.1)]);
    for step in 0..100 {
        let target = (&k + step).sin();
        let loss = |leaf: &Tensor| (leaf - &target).pow_tensor_scalar(4).sum(Kind::Double) / 4;
        optimizer.zero_grad();
        (loss(&leaves[0]) + loss(&leaves[1])).backward();
        optimizer.step(0.05);
    }
    Vec::try_from(Tensor::cat(&leaves, 0)).unwrap()
}

#[test]
fn equals_torch_over_100_steps() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(root.join(".venv/bin/python"))
        .arg(root.join("scripts/optim_reference.py"))
        .output()
        .expect("the project's Python; run scripts/setup");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let reference: BTreeMap<String, Vec<f64>> = serde_json::from_slice(&output.stdout).unwrap();
    let ours = [
        ("adam", run(|groups| Box::new(Adam::new(groups)), 0.0)),
        ("adam decay", run(|groups| Box::new(Adam::new(groups)), 0.1)),
        ("sgd", run(|groups| Box::new(Sgd::new(groups, 0.0)), 0.0)),
        (
            "sgd momentum decay",
            run(|groups| Box::new(Sgd::new(groups, 0.9)), 0.1),
        ),
    ];
    assert_eq!(reference.len(), ours.len());
    for (name, ours) in ours {
        for (ours, torch) in ours.iter().zip(&reference[name]) {
            assert!(
                (ours - torch).abs() < 1e-12,
                "{name}: {ours} against {torch}"
            );
        }
    }
}

#[test]
fn parameters_without_a_gradient_stay() {
    let leaf = Tensor::from_slice(&[1.0]).set_requires_grad(true);
    let group = || Group {
        parameters: vec![("x".into(), leaf.shallow_clone())],
        rate_factor: 1.0,
        weight_decay: 0.5,
    };
    Adam::new(vec![group()]).step(0.1);
    Sgd::new(vec![group()], 0.9).step(0.1);
    assert_eq!(leaf.double_value(&[0]), 1.0);
}
