//! Packed LSTMs: the bits of the native engine, what they copy, and how far bf16 is off.

use super::*;

/// A config with these sizes, and parameters of this dtype.
fn lstm(config: LstmConfig, kind: Kind) -> Lstm {
    let mut lstm = Lstm::new(config, Init::default(), Stream::new(3, "packed")).unwrap();
    lstm.map(|tensor| tensor.to_kind(kind));
    lstm
}

fn native(lstm: &Lstm, x: &Tensor, call: Call) -> Output {
    let engine = Engine::Native;
    // With the gradients in view, by what trains; without them it is packed for the call.
    let trains = lstm.forward(x, &Call { engine, ..call }).unwrap();
    let reads = tch::no_grad(|| lstm.forward(x, &Call { engine, ..call }).unwrap());
    assert_same(&trains, &reads, "the native engine without gradients");
    assert!(lstm.wants_gradients(x, &call));
    trains
}

fn assert_same(a: &Output, b: &Output, what: &str) {
    assert!(same_bits(&a.output, &b.output), "output of {what}");
    assert!(same_bits(&a.state.h, &b.state.h), "h of {what}");
    assert!(same_bits(&a.state.c, &b.state.c), "c of {what}");
}

/// Whole registers and parts of one, an even and an odd number of them.
const HIDDEN: [i64; 5] = [5, 16, 33, 48, 64];

#[test]
fn packed_gives_the_bits_of_the_native_engine() {
    let mut case = 0;
    for kind in [Kind::Float, Kind::Double] {
        for hidden in HIDDEN {
            for (num_layers, bidirectional, proj_size) in [
                (1, false, 0),
                (2, false, 0),
                (1, true, 3),
                (3, true, 0),
                (2, true, 4),
            ] {
                let config = LstmConfig {
                    num_layers,
                    bidirectional,
                    proj_size,
                    bias: hidden != 16,
                    batch_first: hidden != 33,
                    ..LstmConfig::new(19, hidden)
                };
                let lstm = lstm(config.clone(), kind);
                let packed = lstm.pack(WeightStorage::Same).unwrap();
                for batch in [1, 2, 3, 4, 5, 7, 32] {
                    case += 1;
                    let time = 9 + case % 5;
                    let shape = match config.batch_first {
                        true => [batch, time, 19],
                        false => [time, batch, 19],
                    };
                    let numbers = |shape: &[i64], name: &str| {
                        random::normal(shape, Stream::new(case as u64, name)).to_kind(kind)
                    };
                    let x = numbers(&shape, "x");
                    let lengths: Vec<i64> =
                        (0..batch).map(|n| (n * 5 + case) % (time + 1)).collect();
                    let rows = num_layers * config.directions();
                    let state = State {
                        h: numbers(&[rows, batch, config.output_size()], "h"),
                        c: numbers(&[rows, batch, hidden], "c"),
                    };
                    for (lengths, state) in [
                        (None, None),
                        (Some(lengths.as_slice()), None),
                        (Some(&lengths), Some(&state)),
                    ] {
                        let call = Call {
                            lengths,
                            state,
                            ..Call::default()
                        };
                        let what = format!("{kind:?} {config:?} B {batch} {lengths:?}");
                        let read = packed.forward(&x, &call).unwrap();
                        let expected = native(&lstm, &x, call);
                        assert_same(&expected, &read, &what);
                        let stride = expected.output.stride();
                        assert_eq!(read.output.stride(), stride, "{what}");
                    }
                }
            }
        }
    }
}

#[test]
fn any_layout_of_the_input_is_read() {
    let lstm = lstm(LstmConfig::new(6, 20), Kind::Float);
    let packed = lstm.pack(WeightStorage::Same).unwrap();
    let x = normal(&[3, 8, 6], Stream::new(1, "x"));
    let whole = packed.forward(&x, &Call::default()).unwrap();
    let time_first = x.transpose(0, 1).contiguous().transpose(0, 1);
    let last = x.transpose(1, 2).contiguous().transpose(1, 2);
    for other in [time_first, last] {
        assert_ne!(other.stride(), x.stride());
        let read = packed.forward(&other, &Call::default()).unwrap();
        assert_same(&native(&lstm, &other, Call::default()), &read, "a layout");
        assert!(same_bits(&read.output, &whole.output));
    }
    // No step at all: the states stay.
    let state = State {
        h: normal(&[1, 3, 20], Stream::new(1, "h")),
        c: normal(&[1, 3, 20], Stream::new(1, "c")),
    };
    let call = Call {
        state: Some(&state),
        ..Call::default()
    };
    let read = packed.forward(&x.narrow(1, 0, 0), &call).unwrap();
    assert_eq!(read.output.size(), [3, 0, 20]);
    assert!(same_bits(&read.state.h, &state.h) && same_bits(&read.state.c, &state.c));
}

#[test]
fn what_changes_after_freezing_changes_nothing() {
    let lstm = lstm(LstmConfig::new(6, 20), Kind::Float);
    let packed = lstm.pack(WeightStorage::Same).unwrap();
    let x = normal(&[2, 8, 6], Stream::new(1, "x"));
    let before = native(&lstm, &x, Call::default());
    for (_, parameter) in lstm.parameters() {
        let _ = tch::no_grad(|| parameter.shallow_clone().zero_());
    }
    let after = native(&lstm, &x, Call::default());
    assert!(!same_bits(&after.output, &before.output));
    drop(lstm);
    let read = packed.forward(&x, &Call::default()).unwrap();
    assert_same(&before, &read, "the packed weights");
}

#[test]
fn threads_share_one_and_get_the_same_bits() {
    let config = LstmConfig {
        num_layers: 2,
        bidirectional: true,
        ..LstmConfig::new(30, 40)
    };
    let lstm = lstm(config, Kind::Float);
    let packed = lstm.pack(WeightStorage::Same).unwrap();
    let (lstm, packed) = (std::sync::Mutex::new(lstm), &packed);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let lstm = &lstm;
            scope.spawn(move || {
                for n in 0..40 {
                    // Of other sizes beside each other, so that memory changes hands.
                    let shape = [1 + (n + thread) % 4, 5 + n % 7 * 3, 30];
                    let x = normal(&shape, Stream::new(thread as u64, &format!("x{n}")));
                    let read = packed.forward(&x, &Call::default()).unwrap();
                    let expected = native(&lstm.lock().unwrap(), &x, Call::default());
                    assert_same(&expected, &read, "a thread");
                }
            });
        }
    });
}

#[test]
fn the_number_of_libtorchs_threads_changes_no_bit() {
    let threads = tch::get_num_threads();
    // Threads share the texts of the first, the units of two, the layers of the others.
    for (hidden, bidirectional, batch, num_layers, proj_size) in [
        (100, true, 23, 2, 0),
        (372, false, 3, 2, 0),
        (372, true, 2, 2, 0),
        (60, false, 3, 5, 0),
        (60, false, 1, 3, 17),
    ] {
        let config = LstmConfig {
            bidirectional,
            num_layers,
            proj_size,
            ..LstmConfig::new(100, hidden)
        };
        let lstm = lstm(config, Kind::Float);
        let x = normal(&[batch, 131, 100], Stream::new(2, "x"));
        let lengths: Vec<i64> = (0..batch).map(|text| (text * 37 + 115) % 132).collect();
        let call = Call {
            lengths: Some(&lengths),
            ..Call::default()
        };
        for weights in [WeightStorage::Same, WeightStorage::Bf16] {
            let packed = lstm.pack(weights).unwrap();
            let of = [1, 2, 3, 5].map(|count| {
                tch::set_num_threads(count);
                packed.forward(&x, &call).unwrap()
            });
            tch::set_num_threads(threads);
            for other in &of[1..] {
                assert_same(&of[0], other, "several threads");
            }
        }
    }
}

/// The nearest bf16, of two the one with an even last bit, by the bits of an f32.
fn rounded(x: f32) -> f32 {
    let bits = x.to_bits();
    let odd = bits >> 16 & 1;
    f32::from_bits((bits + 0x7fff + odd) & 0xffff_0000)
}

/// The weights of its gates rounded one by one.
fn with_rounded_weights(lstm: &Lstm) -> Lstm {
    let lstm = lstm.shallow_clone();
    let get = |name: &str| {
        let all = lstm.parameters();
        let (_, tensor) = all.iter().find(|(of, _)| of == name).unwrap();
        if !name.starts_with("weight_ih") && !name.starts_with("weight_hh") {
            return Ok(tensor.shallow_clone());
        }
        let flat = Vec::<f32>::try_from(tensor.flatten(0, -1).to_kind(Kind::Float)).unwrap();
        let flat: Vec<f32> = flat.into_iter().map(rounded).collect();
        let tensor = Tensor::from_slice(&flat)
            .view_as(tensor)
            .to_kind(tensor.kind());
        Ok(tensor)
    };
    Lstm::from_tensors(lstm.config.clone(), get).unwrap()
}

#[test]
fn bf16_computes_with_each_weight_rounded_to_the_nearest() {
    for kind in [Kind::Float, Kind::Double] {
        for hidden in HIDDEN {
            let config = LstmConfig {
                num_layers: 2,
                bidirectional: true,
                proj_size: if hidden == 48 { 17 } else { 0 },
                ..LstmConfig::new(23, hidden)
            };
            let lstm = lstm(config, kind);
            // A weight between two bf16: to the even one.
            let between = Tensor::from_slice(&[1.0 + 1.0 / 256.0, 1.0 + 3.0 / 256.0f32]);
            let weight = &lstm.layers[0][0].w_ih;
            tch::no_grad(|| weight.get(0).narrow(0, 0, 2).copy_(&between));
            let expected = with_rounded_weights(&lstm);
            let first = &expected.layers[0][0].w_ih;
            assert_eq!(first.double_value(&[0, 0]), 1.0);
            assert_eq!(first.double_value(&[0, 1]), 1.0 + 4.0 / 256.0);

            let packed = lstm.pack(WeightStorage::Bf16).unwrap();
            for batch in [1, 2, 3, 4, 5, 6, 13] {
                let x = random::normal(&[batch, 11, 23], Stream::new(batch as u64, "x"));
                let x = x.to_kind(kind);
                let lengths: Vec<i64> = (0..batch).map(|n| 11 - n % 12).collect();
                let call = Call {
                    lengths: Some(&lengths),
                    ..Call::default()
                };
                let read = packed.forward(&x, &call).unwrap();
                let what = format!("{kind:?} H {hidden} B {batch}");
                assert_same(&native(&expected, &x, call), &read, &what);
            }
        }
    }
}

#[test]
fn a_step_in_bf16_is_off_by_what_the_format_allows() {
    let (batch, input, hidden) = (7, 50, 60);
    let config = LstmConfig::new(input, hidden);
    let mut lstm = lstm(config, Kind::Float);
    // Larger than usual, so that the bound is not met by accident.
    lstm.map(|tensor| tensor.detach() * 3.0);
    let x = normal(&[batch, 1, input], Stream::new(1, "x"));
    let state = State {
        h: normal(&[1, batch, hidden], Stream::new(1, "h")).tanh(),
        c: normal(&[1, batch, hidden], Stream::new(1, "c")),
    };
    let call = Call {
        state: Some(&state),
        ..Call::default()
    };
    let packed = lstm.pack(WeightStorage::Bf16).unwrap();
    let read = packed.forward(&x, &call).unwrap();

    let double = |tensor: &Tensor| tensor.to_kind(Kind::Double);
    let wide = State {
        h: double(&state.h),
        c: double(&state.c),
    };
    let truth = lstm.to_kind(Kind::Double);
    let engine = Engine::Plain;
    let exact = Call {
        state: Some(&wide),
        engine,
        ..call
    };
    let truth = tch::no_grad(|| truth.forward(&double(&x), &exact).unwrap());

    // A sum is off by 2^-9 of the sum of its terms' sizes, and by f32's rounding of so
    // many additions; a sigmoid has a slope of 1/4 at the most, a tanh of 1.
    let epsilon = 2f64.powi(-9) + f64::from(input as i32 + hidden as i32 + 2) * 2f64.powi(-24);
    let cell = &lstm.layers[0][0];
    let size = |x: &Tensor, w: &Tensor| double(x).abs().matmul(&double(w).abs().tr());
    let biases = [&cell.b_ih, &cell.b_hh].map(|b| double(b.as_ref().unwrap()).abs());
    let sums = size(&x.squeeze_dim(1), &cell.w_ih)
        + size(&state.h.get(0), &cell.w_hh)
        + &biases[0]
        + &biases[1];
    let off: Vec<Tensor> = (sums * epsilon).chunk(4, 1);
    let few_ulps = 1e-6;
    let c = &off[1] * 0.25 * wide.c.get(0).abs() + &off[0] * 0.25 + &off[2] + few_ulps;
    let h = &off[3] * 0.25 + &c;
    for (name, ours, truth, bound) in [
        ("c", &read.state.c, &truth.state.c, &c),
        ("h", &read.state.h, &truth.state.h, &h),
    ] {
        let ratio = (double(ours) - truth).get(0).abs() / bound;
        let worst = ratio.max().double_value(&[]);
        // Neither beyond the bound nor so far below that it would say nothing.
        assert!(worst <= 1.0 && worst > 0.02, "{name} {worst}");
    }
}

/// Over a whole text: relative errors of the final hidden state, to the f64 reference.
fn errors_of_bf16(hidden: i64, time: i64, seed: u64) -> [f64; 2] {
    let config = LstmConfig::new(hidden, hidden);
    let lstm = Lstm::new(config, Init::default(), Stream::new(seed, "lstm")).unwrap();
    let x = normal(&[1, time, hidden], Stream::new(seed, "x"));
    let truth = lstm.to_kind(Kind::Double);
    let engine = Engine::Plain;
    let call = Call {
        engine,
        ..Call::default()
    };
    let truth = tch::no_grad(|| truth.forward(&x.to_kind(Kind::Double), &call).unwrap());
    [WeightStorage::Same, WeightStorage::Bf16].map(|weights| {
        let packed = lstm.pack(weights).unwrap();
        let read = packed.forward(&x, &Call::default()).unwrap();
        let off = (read.state.h.to_kind(Kind::Double) - &truth.state.h).norm();
        (off / truth.state.h.norm()).double_value(&[])
    })
}

#[test]
fn over_a_text_the_error_of_bf16_is_as_documented() {
    let mut worst = [0f64; 2];
    for seed in 0..20 {
        let errors = errors_of_bf16(128, 50, seed);
        worst = [worst[0].max(errors[0]), worst[1].max(errors[1])];
    }
    eprintln!("f32 {:.2e}, bf16 {:.2e}", worst[0], worst[1]);
    assert!(worst[0] < 1e-6, "{worst:?}");
    assert!((1e-4..3e-3).contains(&worst[1]), "{worst:?}");
}

#[test]
fn what_a_packed_one_has_not_is_refused() {
    let lstm = lstm(LstmConfig::new(6, 20), Kind::Float);
    let packed = lstm.pack(WeightStorage::Bf16).unwrap();
    assert_eq!(packed.storage(), WeightStorage::Bf16);
    let x = normal(&[2, 8, 6], Stream::new(1, "x"));
    let told = |x: &Tensor, call: Call| packed.forward(x, &call).unwrap_err().to_string();
    let mode = Mode::Train(Stream::new(1, "t"));
    let error = told(
        &x,
        Call {
            mode,
            ..Call::default()
        },
    );
    assert!(
        error.starts_with("mode: a packed LSTM does not train"),
        "{error}"
    );
    let wanted = x.copy().set_requires_grad(true);
    let error = told(&wanted, Call::default());
    assert!(error.contains("wants a gradient"), "{error}");
    // Without recording there is none to want.
    assert!(tch::no_grad(|| packed.forward(&wanted, &Call::default())).is_ok());
    let error = told(&x.to_kind(Kind::Double), Call::default());
    assert!(error.contains("is Double on Cpu"), "{error}");
    let lengths = Some([9, 1].as_slice());
    let error = told(
        &x,
        Call {
            lengths,
            ..Call::default()
        },
    );
    assert!(error.contains("entry 0 is 9"), "{error}");
    let half = lstm.to_kind(Kind::Half);
    let error = half.pack(WeightStorage::Same).unwrap_err().to_string();
    assert!(
        error.starts_with("engine: native computes in f32"),
        "{error}"
    );
}

#[test]
fn bf16_takes_half_of_the_memory() {
    let lstm = lstm(LstmConfig::new(64, 128), Kind::Float);
    let bytes = |weights| lstm.pack(weights).unwrap().weight_bytes();
    assert_eq!(bytes(WeightStorage::Same), 4 * 128 * (64 + 128) * 4);
    assert_eq!(bytes(WeightStorage::Bf16), 4 * 128 * (64 + 128) * 2);
}
