//! Each mistake on either side; and differences that are none of them.

use tch::IndexOp;

use super::*;
use crate::lstm::params::{normal, uniform};
use crate::lstm::{Init, LstmConfig};
use crate::random::Stream;

/// `B`, `T`, `I` and `H`: so that no shape tells one from another.
const N: i64 = 6;

/// A model with an input.
struct World {
    config: LstmConfig,
    right: Tensors,
    x: Tensor,
    lengths: Option<Vec<i64>>,
    tolerance: f64,
}

impl World {
    fn new(layers: i64, bidirectional: bool, ragged: bool, kind: Kind, seed: u64) -> World {
        World::sized(N, N, N, layers, bidirectional, ragged, kind, seed)
    }

    #[allow(clippy::too_many_arguments, reason = "eight sizes of a test")]
    fn sized(
        hidden: i64,
        batch: i64,
        time: i64,
        layers: i64,
        bidirectional: bool,
        ragged: bool,
        kind: Kind,
        seed: u64,
    ) -> World {
        let stream = Stream::new(seed, "diagnose");
        let config = LstmConfig {
            num_layers: layers,
            bidirectional,
            ..LstmConfig::new(hidden, hidden)
        };
        let lstm = Lstm::new(config.clone(), Init::default(), stream).unwrap();
        let right = lstm
            .parameters()
            .into_iter()
            .map(|(name, tensor)| (name, tensor.detach().to_kind(kind)))
            .collect();
        let lengths = ragged.then(|| {
            let mut lengths: Vec<i64> = (0..batch).map(|b| 1 + (b * 3 + 2) % time).collect();
            lengths[0] = time;
            lengths
        });
        World {
            config,
            right,
            x: normal(&[batch, time, hidden], stream.at(1)).to_kind(kind),
            lengths,
            tolerance: if kind == Kind::Double { 1e-12 } else { 2e-6 },
        }
    }

    /// What an LSTM with these parameters puts out.
    fn read(&self, parameters: &Tensors) -> Tensors {
        let lstm = build(self.config.clone(), parameters).unwrap();
        let mut read = run(&lstm, &self.x, self.lengths.as_deref(), None).unwrap();
        read.remove("pooled");
        read
    }

    fn ask(&self, ours: &Tensors, expected: &Tensors) -> Option<Diagnosis> {
        self.ask_with(ours, expected, None, None)
    }

    fn ask_with(
        &self,
        ours: &Tensors,
        expected: &Tensors,
        pooled: Option<&Tensor>,
        digests: Option<&BTreeMap<String, String>>,
    ) -> Option<Diagnosis> {
        let lstm = build(self.config.clone(), ours).unwrap();
        diagnose(&Evidence {
            lstm: &lstm,
            input: &self.x,
            lengths: self.lengths.as_deref(),
            state: None,
            expected,
            pooled,
            digests,
            tolerance: self.tolerance,
        })
        .unwrap()
    }

    /// Ours broken and the reference right, then the other way round.
    fn both_sides(&self, cause: &str, broken: &Tensors) {
        for (ours, theirs) in [(broken, &self.right), (&self.right, broken)] {
            let found = self.ask(ours, &self.read(theirs));
            let found = found.unwrap_or_else(|| panic!("{cause}: not found"));
            assert_eq!(found.cause.name(), cause, "{}", found.message);
            assert_eq!(found.certainty, Certainty::Proved, "{}", found.message);
            assert!(found.message.starts_with(cause));
        }
    }
}

fn each(parameters: &Tensors, change: impl Fn(&str, &Tensor) -> Tensor) -> Tensors {
    parameters
        .iter()
        .map(|(name, tensor)| (name.clone(), change(name, tensor).contiguous()))
        .collect()
}

/// Row `k` is row `from(k)` of the old.
fn rows(tensor: &Tensor, from: impl Fn(i64) -> i64) -> Tensor {
    let index: Vec<i64> = (0..tensor.size()[0]).map(from).collect();
    tensor.index_select(0, &Tensor::from_slice(&index))
}

fn digests_of(parameters: &Tensors) -> BTreeMap<String, String> {
    parameters
        .iter()
        .map(|(name, tensor)| (name.clone(), digest(tensor)))
        .collect()
}

fn worlds() -> Vec<World> {
    let mut worlds = Vec::new();
    for layers in 1..=3 {
        for bidirectional in [false, true] {
            let ragged = layers % 2 == 0;
            let kind = if bidirectional {
                Kind::Float
            } else {
                Kind::Double
            };
            let seed = worlds.len() as u64;
            worlds.push(World::new(layers, bidirectional, ragged, kind, seed));
            worlds.push(World::new(
                layers,
                bidirectional,
                !ragged,
                Kind::Float,
                seed + 50,
            ));
        }
    }
    worlds
}

#[test]
fn an_exact_model_has_no_cause() {
    for world in worlds() {
        assert_eq!(world.ask(&world.right, &world.read(&world.right)), None);
    }
}

#[test]
fn gates_in_another_order() {
    for world in worlds() {
        let orders = [
            [0, 3, 1, 2],
            [0, 2, 1, 3],
            [0, 2, 3, 1],
            [3, 2, 1, 0],
            [1, 2, 3, 0],
        ];
        for order in orders {
            let order = |row: i64| order[(row / N) as usize] * N + row % N;
            let all = each(&world.right, |_, tensor| rows(tensor, order));
            world.both_sides("gate order", &all);
            let weights = each(&world.right, |name, tensor| {
                match name.starts_with("weight") {
                    true => rows(tensor, order),
                    false => tensor.shallow_clone(),
                }
            });
            world.both_sides("gate order", &weights);
        }
        let interleaved = |row: i64| (row % 4) * N + row / 4;
        let all = each(&world.right, |_, tensor| rows(tensor, interleaved));
        world.both_sides("interleaved gates", &all);
    }
    // The message has the order of the file, and whose it is.
    let world = World::new(1, false, false, Kind::Float, 9);
    let onnx = each(&world.right, |_, tensor| {
        rows(tensor, |row| [0, 3, 1, 2][(row / N) as usize] * N + row % N)
    });
    let found = world.ask(&onnx, &world.read(&world.right)).unwrap();
    assert!(
        found.message.contains("i o f g, which is ONNX's"),
        "{}",
        found.message
    );
    let found = world.ask(&world.right, &world.read(&onnx)).unwrap();
    assert!(found.message.contains("ONNX's"), "{}", found.message);
}

#[test]
fn biases_too_often_or_not_at_all() {
    type Sum = fn(&Tensor, &Tensor) -> [Tensor; 2];
    let sums: [(Sum, bool); 7] = [
        (|a, b| [a + b, a + b], true),
        (|a, b| [a.zeros_like(), b.zeros_like()], false),
        (|a, b| [a.shallow_clone(), b.zeros_like()], false),
        (|a, b| [a.zeros_like(), b.shallow_clone()], false),
        (|a, _| [a.shallow_clone(), a.shallow_clone()], false),
        (|_, b| [b.shallow_clone(), b.shallow_clone()], false),
        (|a, b| [a * 2.0, b * 2.0], true),
    ];
    for world in worlds() {
        for (sum, undone) in sums {
            let broken = each(&world.right, |name, tensor| {
                if !name.starts_with("bias") {
                    return tensor.shallow_clone();
                }
                let a = &world.right[&name.replace("_hh", "_ih")];
                let b = &world.right[&name.replace("_ih", "_hh")];
                sum(a, b)[usize::from(name.starts_with("bias_hh"))].shallow_clone()
            });
            if undone {
                world.both_sides("biases", &broken);
            } else {
                let found = world.ask(&world.right, &world.read(&broken)).unwrap();
                assert_eq!(found.cause.name(), "biases", "{}", found.message);
                // What is lost cannot be made up, but it can be seen to be lost.
                let expected = world.read(&world.right);
                assert_eq!(world.ask(&broken, &expected), None);
                let digests = digests_of(&world.right);
                let found = world.ask_with(&broken, &expected, None, Some(&digests));
                let zero = broken
                    .iter()
                    .filter(|(_, t)| t.count_nonzero(None).int64_value(&[]) == 0);
                let lost = zero.count() > 0;
                assert_eq!(found.is_some(), lost, "{found:?}");
            }
        }
    }
}

#[test]
fn layers_and_directions_in_each_others_place() {
    for world in worlds() {
        let layers = world.config.num_layers;
        let directions = world.config.directions();
        let first = if directions == 2 { 1 } else { 0 };
        if layers - first > 1 {
            let (a, b) = (format!("_l{first}"), format!("_l{}", layers - 1));
            let broken = each(&world.right, |name, _| {
                let other = if name.contains(&a) {
                    name.replace(&a, &b)
                } else {
                    name.replace(&b, &a)
                };
                world.right[&other].shallow_clone()
            });
            world.both_sides("layers swapped", &broken);
        }
        if directions == 1 {
            continue;
        }
        let broken = each(&world.right, |name, _| {
            let other = match name.strip_suffix("_reverse") {
                Some(forward) => forward.to_owned(),
                None => format!("{name}_reverse"),
            };
            world.right[&other].shallow_clone()
        });
        world.both_sides("directions swapped", &broken);
        let mut expected = world.read(&world.right);
        let halves = expected["y"].chunk(2, -1);
        expected.insert("y".into(), Tensor::cat(&[&halves[1], &halves[0]], -1));
        let found = world.ask(&world.right, &expected).unwrap();
        assert_eq!(found.cause, Cause::DirectionsSwapped);
    }
}

#[test]
fn backward_outputs_that_were_not_turned() {
    for world in worlds().iter().filter(|world| world.config.bidirectional) {
        let mut expected = world.read(&world.right);
        let y = expected["y"].copy();
        for text in 0..N {
            let length = world
                .lengths
                .as_ref()
                .map_or(N, |lengths| lengths[text as usize]);
            let back = expected["y"].i((text, 0..length, N..)).flip([0]);
            y.i((text, 0..length, N..)).copy_(&back);
        }
        expected.insert("y".into(), y);
        let found = world.ask(&world.right, &expected).unwrap();
        assert_eq!(found.cause, Cause::BackwardNotTurned, "{}", found.message);
        assert_eq!(found.certainty, Certainty::Proved);
    }
}

#[test]
fn batch_and_time_exchanged() {
    for world in worlds().iter().filter(|world| world.lengths.is_none()) {
        let lstm = build(world.config.clone(), &world.right).unwrap();
        let mut read = run(&lstm, &world.x.transpose(0, 1), None, None).unwrap();
        read.remove("pooled");
        let y = read["y"].transpose(0, 1);
        read.insert("y".into(), y);
        let found = world.ask(&world.right, &read).unwrap();
        assert_eq!(found.cause, Cause::BatchFirst, "{}", found.message);
    }
}

#[test]
fn batch_and_time_of_other_sizes_exchanged() {
    for bidirectional in [false, true] {
        let world = World::sized(N, 4, 9, 2, bidirectional, false, Kind::Float, 5);
        let lstm = build(world.config.clone(), &world.right).unwrap();
        let ask = |read: &Tensors, y: Tensor| {
            let expected = Tensors::from([("y".to_owned(), y)]);
            let found = world.ask(&world.right, &expected).unwrap();
            assert_eq!(found.cause, Cause::BatchFirst, "{}", found.message);
            let mut with_states = expected;
            for name in ["h_n", "c_n"] {
                with_states.insert(name.to_owned(), read[name].shallow_clone());
            }
            let found = world.ask(&world.right, &with_states).unwrap();
            assert_eq!(found.cause, Cause::BatchFirst, "{}", found.message);
        };
        let read = run(&lstm, &world.x.transpose(0, 1), None, None).unwrap();
        ask(&read, read["y"].transpose(0, 1));
        // `x.view(T, B, I)`.
        let viewed = world.x.reshape([9, 4, N]).transpose(0, 1);
        let read = run(&lstm, &viewed, None, None).unwrap();
        ask(&read, read["y"].shallow_clone());
        let back = read["y"].transpose(0, 1).reshape(read["y"].size());
        ask(&read, back);
    }
}

#[test]
fn states_of_another_start_or_in_another_order() {
    let world = World::new(2, true, true, Kind::Float, 6);
    let lstm = build(world.config.clone(), &world.right).unwrap();
    let state = State {
        h: normal(&[4, N, N], Stream::new(1, "h0")).to_kind(Kind::Float),
        c: normal(&[4, N, N], Stream::new(1, "c0")).to_kind(Kind::Float),
    };
    let exchanged = State {
        h: state.c.shallow_clone(),
        c: state.h.shallow_clone(),
    };
    let lengths = world.lengths.as_deref();
    for other in [None, Some(&exchanged)] {
        let expected = run(&lstm, &world.x, lengths, other).unwrap();
        let found = diagnose(&Evidence {
            lstm: &lstm,
            input: &world.x,
            lengths,
            state: Some(&state),
            expected: &expected,
            pooled: None,
            digests: None,
            tolerance: 2e-6,
        });
        assert_eq!(found.unwrap().unwrap().cause, Cause::InitialState);
    }
    // [D, L] for [L, D], and backward first.
    for order in [[0, 2, 1, 3], [1, 0, 3, 2]] {
        let mut expected = world.read(&world.right);
        for name in ["h_n", "c_n"] {
            let rows = expected[name].index_select(0, &Tensor::from_slice(&order));
            expected.insert(name.to_owned(), rows);
        }
        let found = world.ask(&world.right, &expected).unwrap();
        assert_eq!(found.cause, Cause::DirectionsSwapped, "{}", found.message);
    }
}

#[test]
fn two_causes_that_both_fit_are_both_told() {
    let fit = |cause, what: &str, rms| Fit {
        cause,
        what: what.to_owned(),
        rms,
        to_the_bit: false,
    };
    let fits = |rms| {
        vec![
            fit(Cause::Padding, "one", 0.0),
            fit(Cause::BatchFirst, "another", rms),
        ]
    };
    let found = choose(fits(1e-9), 2e-6).unwrap();
    assert_eq!(found.certainty, Certainty::Likely);
    assert!(found.message.contains("cannot be told from this: another"));
    // Within the tolerance, but far from as near.
    let found = choose(fits(1e-6), 2e-6).unwrap();
    assert_eq!(
        (found.cause, found.certainty),
        (Cause::Padding, Certainty::Proved)
    );
    assert_eq!(choose(Vec::new(), 2e-6), None);
}

#[test]
fn transposed_and_reshaped() {
    for world in worlds() {
        for role in ["weight_hh", "weight_ih", "weight"] {
            let blocks = each(&world.right, |name, tensor| {
                match name.starts_with(role) && tensor.size().get(1) == Some(&N) {
                    true => Tensor::cat(
                        &tensor
                            .chunk(4, 0)
                            .iter()
                            .map(|b| b.tr())
                            .collect::<Vec<_>>(),
                        0,
                    ),
                    false => tensor.shallow_clone(),
                }
            });
            world.both_sides("transposed weights", &blocks);
            let shaped = each(&world.right, |name, tensor| match name.starts_with(role) {
                true => tensor.tr().reshape(tensor.size()),
                false => tensor.shallow_clone(),
            });
            world.both_sides("reshaped weights", &shaped);
        }
    }
}

#[test]
fn padding_that_is_read() {
    for world in worlds().iter().filter(|world| world.lengths.is_some()) {
        let lstm = build(world.config.clone(), &world.right).unwrap();
        let mut leaked = run(&lstm, &world.x, None, None).unwrap();
        let right = world.read(&world.right);
        let pooled = leaked.remove("pooled").unwrap();
        let found = world.ask(&world.right, &leaked).unwrap();
        assert_eq!(found.cause, Cause::Padding, "{}", found.message);

        // We, who were not given the lengths.
        let blind = World {
            config: world.config.clone(),
            right: each(&world.right, |_, tensor| tensor.shallow_clone()),
            x: world.x.shallow_clone(),
            lengths: None,
            tolerance: world.tolerance,
        };
        let found = blind.ask(&blind.right, &right).unwrap();
        assert_eq!(found.cause, Cause::Padding, "{}", found.message);

        // Only what the head reads is wrong.
        let found = world.ask_with(&world.right, &right, Some(&pooled), None);
        assert_eq!(found.unwrap().cause, Cause::Padding);
        let column = right["y"].select(1, N - 1);
        let found = world
            .ask_with(&world.right, &right, Some(&column), None)
            .unwrap();
        assert_eq!(found.cause, Cause::LastStep, "{}", found.message);
    }
}

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
