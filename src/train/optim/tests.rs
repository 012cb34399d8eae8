//! Each optimizer against `torch.optim` in the project's Python, 100 steps; and
//! its state, which another one goes on from.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use tch::{Device, Kind, Tensor};

use super::*;
use crate::checkpoint::safetensors;

/// The problem that `scripts/reference/optim_reference.py` states, on its way.
struct Problem {
    leaves: [Tensor; 2],
    optimizer: Optimizer,
    rate: f64,
    step: i64,
}

impl Problem {
    fn new(settings: &OptimizerSettings, weight_decay: f64) -> Problem {
        let k = Tensor::arange(6, (Kind::Double, Device::Cpu));
        Self::at(settings, weight_decay, [k.sin(), k.cos()], 0)
    }

    /// With the parameters as they stand at this step, and an optimizer that
    /// knows nothing of it.
    fn at(
        settings: &OptimizerSettings,
        weight_decay: f64,
        leaves: [Tensor; 2],
        step: i64,
    ) -> Problem {
        let leaves = leaves.map(|leaf| leaf.detach().copy().set_requires_grad(true));
        let group = |n: usize, rate_factor| Group {
            parameters: vec![(n.to_string(), leaves[n].shallow_clone())],
            rate_factor,
            weight_decay,
        };
        let groups = vec![group(0, 1.0), group(1, 0.1)];
        Problem {
            optimizer: Optimizer::new(settings, groups).unwrap(),
            leaves,
            rate: match settings.kind {
                OptimizerKind::Adadelta => 1.0,
                _ => 0.05,
            },
            step,
        }
    }

    fn run(&mut self, steps: i64) {
        let k = Tensor::arange(6, (Kind::Double, Device::Cpu));
        for _ in 0..steps {
            let target = (&k + self.step).sin();
            let loss = |leaf: &Tensor| (leaf - &target).pow_tensor_scalar(4).sum(Kind::Double) / 4;
            self.optimizer.zero_grad();
            (loss(&self.leaves[0]) + loss(&self.leaves[1])).backward();
            self.optimizer.step(self.rate).unwrap();
            self.step += 1;
        }
    }

    fn numbers(&self) -> Vec<f64> {
        Vec::try_from(Tensor::cat(&self.leaves, 0)).unwrap()
    }
}

/// The optimizers of the reference, each with its weight decay.
fn optimizers() -> [(&'static str, OptimizerSettings, f64); 13] {
    use OptimizerKind::{AdaGrad, Adadelta, Adam, AdamW, Sgd};
    let of = |kind| OptimizerSettings {
        kind,
        ..OptimizerSettings::default()
    };
    let momentum = OptimizerSettings {
        momentum: 0.9,
        ..of(Sgd)
    };
    let nesterov = OptimizerSettings {
        nesterov: true,
        ..momentum
    };
    let other_adam = OptimizerSettings {
        betas: Some([0.8, 0.9]),
        epsilon: Some(1e-3),
        ..of(Adam)
    };
    let other_adagrad = OptimizerSettings {
        epsilon: Some(1e-3),
        ..of(AdaGrad)
    };
    let other_adadelta = OptimizerSettings {
        rho: Some(0.8),
        epsilon: Some(1e-3),
        ..of(Adadelta)
    };
    [
        ("adam", of(Adam), 0.0),
        ("adam decay", of(Adam), 0.1),
        ("adam betas epsilon", other_adam, 0.0),
        ("adamw", of(AdamW), AdamW.weight_decay()),
        ("adamw decay", of(AdamW), 0.1),
        ("sgd", of(Sgd), 0.0),
        ("sgd decay", of(Sgd), 0.1),
        ("sgd momentum decay", momentum, 0.1),
        ("sgd nesterov decay", nesterov, 0.1),
        ("adagrad", of(AdaGrad), 0.0),
        ("adagrad decay epsilon", other_adagrad, 0.1),
        ("adadelta", of(Adadelta), 0.0),
        ("adadelta decay rho epsilon", other_adadelta, 0.1),
    ]
}

#[test]
fn equals_torch_over_100_steps() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(root.join(".venv/bin/python"))
        .arg(root.join("scripts/reference/optim_reference.py"))
        .output()
        .expect("the project's Python; run scripts/setup");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let reference: BTreeMap<String, Vec<f64>> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(reference.len(), optimizers().len());
    for (name, settings, weight_decay) in optimizers() {
        for fuse in [false, true] {
            let mut problem = Problem::new(&settings, weight_decay);
            if fuse {
                problem.optimizer.fuse();
                let none = settings.kind == OptimizerKind::Adadelta;
                assert_eq!(problem.optimizer.fused.is_none(), none);
            }
            problem.run(100);
            for (ours, torch) in problem.numbers().iter().zip(&reference[name]) {
                assert!(
                    (ours - torch).abs() < 1e-12,
                    "{name}, fused {fuse}: {ours} against {torch}"
                );
            }
        }
    }
}

#[test]
fn a_run_can_go_on_fused_or_not_where_the_other_was_stopped() {
    for (name, settings, weight_decay) in optimizers() {
        let run = |fused: [bool; 2]| {
            let mut problem = Problem::new(&settings, weight_decay);
            for fused in fused {
                match fused {
                    true => problem.optimizer.fuse(),
                    false => problem.optimizer.fused = None,
                }
                problem.run(20);
            }
            problem.numbers()
        };
        let expected = run([false, false]);
        for fused in [[true, false], [false, true], [true, true]] {
            for (a, b) in run(fused).iter().zip(&expected) {
                assert!((a - b).abs() < 1e-12, "{name} {fused:?}: {a} {b}");
            }
        }
    }
}

#[test]
fn a_restored_state_goes_on_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.safetensors");
    for (name, settings, weight_decay) in optimizers() {
        let mut undisturbed = Problem::new(&settings, weight_decay);
        undisturbed.run(100);

        let mut first = Problem::new(&settings, weight_decay);
        first.run(50);
        let state = first.optimizer.state();
        let named = state.iter().map(|(name, tensor)| (name.as_str(), tensor));
        safetensors::save(&file, named, &[]).unwrap();
        let mut second = Problem::at(&settings, weight_decay, first.leaves, 50);
        let saved = safetensors::load(&file).unwrap();
        second.optimizer.load_state(&saved).unwrap();
        second.run(50);
        assert_eq!(second.numbers(), undisturbed.numbers(), "{name}");
    }
}

#[test]
fn the_state_has_torchs_names() {
    let names = |n: usize| {
        let (_, settings, weight_decay) = optimizers()[n];
        let state = Problem::new(&settings, weight_decay).optimizer.state();
        let first = state.into_iter().map(|(name, _)| name);
        first.filter(|name| name.starts_with("0.")).collect()
    };
    let expected: [(usize, &[&str]); 5] = [
        (0, &["0.step", "0.exp_avg", "0.exp_avg_sq"]),
        (5, &["0.step"]),
        (7, &["0.step", "0.momentum_buffer"]),
        (9, &["0.step", "0.sum"]),
        (11, &["0.step", "0.square_avg", "0.acc_delta"]),
    ];
    for (n, expected) in expected {
        let names: Vec<String> = names(n);
        assert_eq!(names, expected);
    }
}

#[test]
fn a_state_of_something_else_is_refused_and_changes_nothing() {
    let mut problem = Problem::new(&OptimizerSettings::default(), 0.0);
    problem.run(3);
    let good = || -> Tensors {
        let state = problem.optimizer.state().into_iter();
        state.map(|(name, tensor)| (name, tensor.copy())).collect()
    };
    let (mut missing, mut shape, mut dtype) = (good(), good(), good());
    let (mut extra, mut negative) = (good(), good());
    missing.remove("1.exp_avg");
    shape.insert("1.exp_avg_sq".into(), Tensor::from_slice(&[0.0; 5]));
    dtype.insert("0.exp_avg".into(), Tensor::from_slice(&[0f32; 6]));
    extra.insert("0.momentum_buffer".into(), Tensor::from_slice(&[0.0; 6]));
    negative.insert("1.step".into(), Tensor::from(-1i64));
    let before = good();
    for (state, message) in [
        (missing, "1.exp_avg: is missing in the saved state"),
        (shape, "1.exp_avg_sq: must be [6] Double, but is [5] Double"),
        (dtype, "0.exp_avg: must be [6] Double, but is [6] Float"),
        (extra, "0.momentum_buffer: is nothing that this optimizer"),
        (negative, "1.step: is -1"),
    ] {
        let error = problem.optimizer.load_state(&state).unwrap_err();
        assert!(error.to_string().starts_with(message), "{error}");
    }
    for (name, tensor) in problem.optimizer.state() {
        assert!(tensor.equal(&before[&name]), "{name}");
    }
}

#[test]
fn parameters_without_a_gradient_stay() {
    for (name, settings, weight_decay) in optimizers() {
        let mut problem = Problem::new(&settings, weight_decay);
        let before = problem.numbers();
        problem.optimizer.step(0.1).unwrap();
        assert_eq!(problem.numbers(), before, "{name}");
    }
}

#[test]
fn a_setting_of_another_optimizer_is_refused() {
    let settings = OptimizerSettings {
        momentum: 0.9,
        ..OptimizerSettings::default()
    };
    let error = Optimizer::new(&settings, Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "momentum: is for sgd, not adam");
}

#[test]
fn the_name_is_the_serialised_form() {
    for kind in OptimizerKind::ALL {
        let json = serde_json::to_string(&kind).unwrap();
        assert_eq!(json, format!("{:?}", kind.name()));
    }
}
