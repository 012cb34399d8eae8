//! What cannot be reproduced exactly.

use super::*;
use crate::lstm::{Call, Mode};

#[test]
fn dropout_with_and_without_gates() {
    for (bidirectional, seed) in [(false, 0), (true, 1), (false, 2), (true, 3)] {
        let ragged = seed > 1;
        let world = World::sized(8, 24, 16, 2, bidirectional, ragged, Kind::Float, seed);
        for p in [0.2, 0.5] {
            let config = LstmConfig {
                dropout: p,
                ..world.config.clone()
            };
            let lstm = build(config, &world.right).unwrap();
            let call = Call {
                lengths: world.lengths.as_deref(),
                mode: Mode::Train(Stream::new(seed, "forgotten eval")),
                ..Call::default()
            };
            let (read, traces) = lstm.trace(&world.x, &call).unwrap();
            let mut expected = Tensors::from([
                ("y".to_owned(), read.output),
                ("h_n".to_owned(), read.state.h),
                ("c_n".to_owned(), read.state.c),
            ]);
            let found = world.ask(&world.right, &expected).unwrap();
            assert_eq!(found.cause, Cause::Dropout(None));
            assert_eq!(found.certainty, Certainty::Likely);
            let trace = &traces[world.config.directions() as usize];
            for (part, tensor) in [
                ("i", &trace.i),
                ("f", &trace.f),
                ("g", &trace.g),
                ("o", &trace.o),
                ("h", &trace.h),
            ] {
                expected.insert(format!("l1/{part}"), tensor.shallow_clone());
            }
            let found = world.ask(&world.right, &expected).unwrap();
            let Cause::Dropout(Some(found_p)) = found.cause else {
                panic!("{}", found.message);
            };
            assert!((found_p - p).abs() < 0.01, "{found_p} for {p}");
            assert_eq!(found.certainty, Certainty::Proved);
        }
    }
}

/// The upper layer alone is wrong, but not by dropout.
#[test]
fn a_wrong_upper_layer_is_no_dropout() {
    for seed in 0..40 {
        let bidirectional = seed % 2 == 1;
        let world = World::sized(8, 24, 16, 2, bidirectional, false, Kind::Float, seed);
        let stream = Stream::new(seed, "other");
        let size = [1e-4, 1e-2, 0.1, 0.5][(seed / 2 % 4) as usize];
        let roles = ["weight_ih_l1", "weight_hh_l1", "bias_ih_l1", "w", ""];
        for role in roles {
            let broken = each(&world.right, |name, tensor| {
                match name.contains("_l1") && name.starts_with(role) {
                    true => {
                        let noise = uniform(&tensor.size(), -size, size, stream);
                        tensor + noise.to_kind(Kind::Float)
                    }
                    false => tensor.shallow_clone(),
                }
            });
            let found = world.ask(&world.right, &world.read(&broken));
            assert_eq!(found, None, "seed {seed}, {role}");
        }
        // Its gates in another order.
        let broken = each(&world.right, |name, tensor| match name.contains("_l1") {
            true => rows(tensor, |row| (row + 8) % 32),
            false => tensor.shallow_clone(),
        });
        let found = world.ask(&world.right, &world.read(&broken));
        assert_eq!(found, None, "seed {seed}, gates");
    }
}

#[test]
fn numbers_of_another_dtype() {
    for world in worlds() {
        for kind in [Kind::BFloat16, Kind::Half] {
            let stored = world.x.kind();
            let rounded = each(&world.right, |_, tensor| {
                tensor.to_kind(kind).to_kind(stored)
            });
            let found = world.ask(&world.right, &world.read(&rounded)).unwrap();
            assert_eq!(found.cause, Cause::Dtype(kind), "{}", found.message);
            assert_eq!(found.certainty, Certainty::Proved);
            let found = world.ask(&rounded, &world.read(&world.right)).unwrap();
            assert_eq!(found.cause, Cause::Dtype(kind), "{}", found.message);
            assert_eq!(found.certainty, Certainty::Likely);
            // Computed in that dtype, and stored as before.
            let low = World {
                config: world.config.clone(),
                right: each(&world.right, |_, tensor| tensor.to_kind(kind)),
                x: world.x.to_kind(kind),
                lengths: world.lengths.clone(),
                tolerance: world.tolerance,
            };
            let expected = each(&low.read(&low.right), |_, tensor| tensor.to_kind(stored));
            let found = world.ask(&world.right, &expected).unwrap();
            assert_eq!(found.cause, Cause::Dtype(kind), "{}", found.message);
        }
    }
}

#[test]
fn ours_in_a_coarser_dtype() {
    let world = World::new(2, true, true, Kind::Float, 7);
    let fine = World {
        config: world.config.clone(),
        right: each(&world.right, |_, tensor| tensor.to_kind(Kind::Double)),
        x: world.x.to_kind(Kind::Double),
        lengths: world.lengths.clone(),
        tolerance: 1e-12,
    };
    let strict = World {
        tolerance: 1e-12,
        ..world
    };
    let found = strict.ask(&strict.right, &fine.read(&fine.right)).unwrap();
    assert_eq!(found.cause, Cause::Dtype(Kind::Float), "{}", found.message);
    assert_eq!(found.certainty, Certainty::Proved);
    // The other way round: the reference in f32, stored in f64.
    let expected = each(&strict.read(&strict.right), |_, tensor| {
        tensor.to_kind(Kind::Double)
    });
    let found = fine.ask(&fine.right, &expected).unwrap();
    assert_eq!(found.cause, Cause::Dtype(Kind::Float), "{}", found.message);
}

#[test]
fn digests_prove_to_the_bit() {
    let world = World::new(2, false, true, Kind::Float, 4);
    let broken = each(&world.right, |_, tensor| {
        rows(tensor, |row| (row + N) % (4 * N))
    });
    let digests = digests_of(&world.right);
    let right = world.read(&world.right);
    let found = world
        .ask_with(&broken, &right, None, Some(&digests))
        .unwrap();
    assert_eq!(found.cause.name(), "gate order");
    assert!(found.message.contains("to the bit"), "{}", found.message);
    // Weights that are known, although the outputs are of something else.
    let other = each(&right, |_, tensor| tensor * 1.5);
    let found = world
        .ask_with(&broken, &other, None, Some(&digests))
        .unwrap();
    assert_eq!(found.cause.name(), "gate order");
    assert!(
        found.message.contains("something else"),
        "{}",
        found.message
    );
    // The same weights, read in another order by the reference.
    let found = world
        .ask_with(&world.right, &world.read(&broken), None, Some(&digests))
        .unwrap();
    assert!(
        found.message.contains("the same weights to the bit"),
        "{}",
        found.message
    );
}

#[test]
fn what_is_none_of_these_has_no_cause() {
    for (seed, world) in (0..).zip(worlds()) {
        let stream = Stream::new(seed, "none of these");
        // Other weights.
        let other = each(&world.right, |name, tensor| {
            let stream = Stream::new(stream.seed(), name);
            uniform(&tensor.size(), -0.4, 0.4, stream).to_kind(tensor.kind())
        });
        let expected = world.read(&other);
        assert_eq!(world.ask(&world.right, &expected), None);
        // A wide tolerance is no evidence.
        let wide = World {
            tolerance: 3e-2,
            ..world
        };
        assert_eq!(wide.ask(&wide.right, &expected), None);
        let world = World {
            tolerance: if wide.x.kind() == Kind::Double {
                1e-12
            } else {
                2e-6
            },
            ..wide
        };
        // One number of one weight.
        for name in world.right.keys() {
            let one = each(&world.right, |of, tensor| {
                let tensor = tensor.copy();
                if of == name {
                    let _ = tensor.view([-1]).get(7).g_add_scalar_(0.5);
                }
                tensor
            });
            let found = world.ask(&world.right, &world.read(&one));
            assert_eq!(found, None, "{name}");
        }
        // One number of the result; a result that is no number.
        for value in [0.25, f64::NAN] {
            let mut expected = world.read(&world.right);
            let y = expected["y"].copy();
            let _ = y.get(0).get(0).get(0).fill_(value);
            expected.insert("y".into(), y);
            assert_eq!(world.ask(&world.right, &expected), None);
        }
        assert_eq!(world.ask(&world.right, &hard(&world)), None);
    }
}

/// One forward layer with the hard sigmoid of old Keras, padded texts not seen.
fn hard(world: &World) -> Tensors {
    let sigmoid = |z: &Tensor| (z * 0.2 + 0.5).clamp(0.0, 1.0);
    let mut x = world.x.shallow_clone();
    let (mut hs, mut cs) = (Vec::new(), Vec::new());
    for layer in 0..world.config.num_layers {
        let mut outputs = Vec::new();
        for direction in ["", "_reverse"]
            .into_iter()
            .take(world.config.directions() as usize)
        {
            let get = |role: &str| &world.right[&format!("{role}_l{layer}{direction}")];
            let (mut h, mut c) = (
                Tensor::zeros([N, N], (world.x.kind(), Device::Cpu)),
                Tensor::zeros([N, N], (world.x.kind(), Device::Cpu)),
            );
            let mut steps = Vec::new();
            let order: Vec<i64> = match direction {
                "" => (0..N).collect(),
                _ => (0..N).rev().collect(),
            };
            for &t in &order {
                let z = x
                    .select(1, t)
                    .linear(get("weight_ih"), Some(get("bias_ih")))
                    + h.linear(get("weight_hh"), Some(get("bias_hh")));
                let z = z.chunk(4, -1);
                c = sigmoid(&z[1]) * &c + sigmoid(&z[0]) * z[2].tanh();
                h = sigmoid(&z[3]) * c.tanh();
                steps.push(h.shallow_clone());
            }
            if direction == "_reverse" {
                steps.reverse();
            }
            outputs.push(Tensor::stack(&steps, 1));
            hs.push(h);
            cs.push(c);
        }
        x = Tensor::cat(&outputs, -1);
    }
    Tensors::from([
        ("y".to_owned(), x),
        ("h_n".to_owned(), Tensor::stack(&hs, 0)),
        ("c_n".to_owned(), Tensor::stack(&cs, 0)),
    ])
}
