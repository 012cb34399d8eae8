//! Invariants of every engine, and one test for each error.

use proptest::prelude::*;
use tch::{Device, Kind, Tensor};

use super::*;

const ENGINES: [Engine; 2] = [Engine::Plain, Engine::Fused];

/// An LSTM and an input for it, small, of any architecture.
#[derive(Debug)]
struct Sample {
    lstm: Lstm,
    input: Tensor,
    lengths: Vec<i64>,
    start: State,
}

fn normal(shape: &[i64], stream: Stream) -> Tensor {
    params::normal(shape, stream).to_kind(Kind::Float)
}

prop_compose! {
    fn sample()(
        (input, hidden, layers) in (1..9i64, 2..9i64, 1..4i64),
        (bias, bidirectional, project) in any::<(bool, bool, bool)>(),
        time in 2..10i64,
        lengths in prop::collection::vec(0..10i64, 1..5),
        seed in any::<u64>(),
    ) -> Sample {
        let config = LstmConfig {
            num_layers: layers,
            bias,
            bidirectional,
            proj_size: if project { hidden - 1 } else { 0 },
            dropout: 0.5,
            ..LstmConfig::new(input, hidden)
        };
        let stream = Stream::new(seed, "sample");
        let lstm = Lstm::new(config, Init::default(), stream).unwrap();
        let lengths: Vec<i64> = lengths.into_iter().map(|length| length.min(time)).collect();
        let batch = lengths.len() as i64;
        let x = normal(&[batch, time, input], stream.at(1));
        let zero = lstm.zero_state(batch, &x);
        let start = State {
            h: normal(&zero.h.size(), stream.at(2)) * 0.5,
            c: normal(&zero.c.size(), stream.at(3)) * 0.5,
        };
        Sample { lstm, input: x, lengths, start }
    }
}

impl Sample {
    fn call(&self, engine: Engine) -> Call<'_> {
        Call {
            lengths: Some(&self.lengths),
            state: Some(&self.start),
            engine,
            mode: Mode::Eval,
        }
    }

    fn run(&self, engine: Engine) -> Output {
        self.lstm.forward(&self.input, &self.call(engine)).unwrap()
    }
}

fn same_bits(a: &Tensor, b: &Tensor) -> bool {
    a.size() == b.size() && a.eq_tensor(b).all().int64_value(&[]) == 1
}

fn assert_near(a: &Tensor, b: &Tensor) {
    assert_eq!(a.size(), b.size());
    let error = (a - b).abs().max().double_value(&[]);
    assert!(error < 2e-6, "differ by {error:e}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_sequence_split_anywhere_equals_the_whole(sample in sample(), cut in 1..9i64) {
        // A backward direction sees the future: it cannot be split.
        prop_assume!(!sample.lstm.config.bidirectional);
        let time = sample.input.size()[1];
        let cut = cut.min(time - 1);
        for engine in ENGINES {
            let whole = sample.run(engine);
            let first_lengths: Vec<i64> = sample.lengths.iter().map(|&n| n.min(cut)).collect();
            let rest_lengths: Vec<i64> = sample.lengths.iter().map(|&n| (n - cut).max(0)).collect();
            let first = Call { lengths: Some(&first_lengths), ..sample.call(engine) };
            let first = sample.lstm.forward(&sample.input.narrow(1, 0, cut), &first).unwrap();
            let rest = Call {
                lengths: Some(&rest_lengths),
                state: Some(&first.state),
                ..sample.call(engine)
            };
            let rest = sample.lstm.forward(&sample.input.narrow(1, cut, time - cut), &rest).unwrap();
            assert_near(&Tensor::cat(&[first.output, rest.output], 1), &whole.output);
            assert_near(&rest.state.h, &whole.state.h);
            assert_near(&rest.state.c, &whole.state.c);
        }
    }

    #[test]
    fn permuting_the_batch_permutes_the_output(sample in sample(), seed in any::<u64>()) {
        let mut order: Vec<i64> = (0..sample.lengths.len() as i64).collect();
        Stream::new(seed, "order").shuffle(&mut order);
        let lengths: Vec<i64> = order.iter().map(|&n| sample.lengths[n as usize]).collect();
        let order = Tensor::from_slice(&order);
        for engine in ENGINES {
            let whole = sample.run(engine);
            let start = State {
                h: sample.start.h.index_select(1, &order),
                c: sample.start.c.index_select(1, &order),
            };
            let call = Call { lengths: Some(&lengths), state: Some(&start), ..sample.call(engine) };
            let permuted = sample.lstm.forward(&sample.input.index_select(0, &order), &call).unwrap();
            assert_near(&permuted.output, &whole.output.index_select(0, &order));
            assert_near(&permuted.state.h, &whole.state.h.index_select(1, &order));
            assert_near(&permuted.state.c, &whole.state.c.index_select(1, &order));
        }
    }

    #[test]
    fn padding_never_changes_a_bit(
        sample in sample(),
        filler in prop::sample::select(vec![1e9, -3.0, f64::NAN, f64::INFINITY]),
    ) {
        let time = sample.input.size()[1];
        let padding = Ragged::new(&sample.lengths, time, Device::Cpu).padding.transpose(0, 1);
        let other = sample.input.masked_fill(&padding, filler);
        for engine in ENGINES {
            let mut results = Vec::new();
            for input in [&sample.input, &other] {
                let input = input.detach().copy().set_requires_grad(true);
                let run = sample.lstm.forward(&input, &sample.call(engine)).unwrap();
                let loss = run.output.sum(Kind::Float) + run.state.c.sum(Kind::Float);
                let weight = &sample.lstm.layers[0][0].w_ih;
                let gradients = Tensor::run_backward(&[&loss], &[&input, weight], false, false);
                let mut tensors = vec![run.output, run.state.h, run.state.c];
                tensors.extend(gradients);
                results.push(tensors);
            }
            for (a, b) in results[0].iter().zip(&results[1]) {
                prop_assert!(same_bits(a, b), "{engine:?}");
            }
            let in_padding = results[0][0].masked_select(&padding);
            prop_assert!(in_padding.abs().sum(Kind::Float).double_value(&[]) == 0.0);
        }
    }

    #[test]
    fn more_padding_never_changes_a_bit_of_the_plain_engine(sample in sample(), more in 1..5i64) {
        let size = sample.input.size();
        let longer = Tensor::cat(&[&sample.input, &Tensor::zeros([size[0], more, size[2]], (Kind::Float, Device::Cpu))], 1);
        let a = sample.run(Engine::Plain);
        let b = sample.lstm.forward(&longer, &sample.call(Engine::Plain)).unwrap();
        prop_assert!(same_bits(&a.output, &b.output.narrow(1, 0, size[1])));
        prop_assert!(same_bits(&a.state.h, &b.state.h));
        prop_assert!(same_bits(&a.state.c, &b.state.c));
    }

    #[test]
    fn texts_of_length_zero_keep_their_state(sample in sample()) {
        for engine in ENGINES {
            let run = sample.run(engine);
            for (text, _) in sample.lengths.iter().enumerate().filter(|(_, n)| **n == 0) {
                let text = text as i64;
                prop_assert!(same_bits(&run.state.h.select(1, text), &sample.start.h.select(1, text)));
                prop_assert!(same_bits(&run.state.c.select(1, text), &sample.start.c.select(1, text)));
            }
        }
    }

    #[test]
    fn the_three_forms_of_the_fused_engine_agree(sample in sample()) {
        let prepared = sample.lstm.prepare(&sample.input, &sample.call(Engine::Fused)).unwrap();
        let Some(ragged) = &prepared.ragged else { return Ok(()) };
        let dropout = |layer: i64, x: &Tensor| {
            Mode::Train(Stream::new(7, "mask")).dropout(&format!("{layer}"), 0.5, x)
        };
        for dropout in [None, Some(&dropout as fused::Dropout)] {
            let (a, a_end) = fused::run(&sample.lstm, &prepared.input, Some(ragged), &prepared.start, dropout);
            let (b, b_end) = fused::packed(&sample.lstm, &prepared.input, ragged, &prepared.start, dropout);
            if dropout.is_none() {
                assert_near(&a, &b);
                assert_near(&a_end.h, &b_end.h);
                assert_near(&a_end.c, &b_end.c);
            }
        }
    }

    #[test]
    fn states_and_gates_stay_in_their_ranges(sample in sample()) {
        let (_, traces) = sample.lstm.trace(&(&sample.input * 10.0), &sample.call(Engine::Plain)).unwrap();
        for trace in &traces {
            for gate in [&trace.i, &trace.f, &trace.o] {
                prop_assert!(gate.min().double_value(&[]) >= 0.0 && gate.max().double_value(&[]) <= 1.0);
            }
            prop_assert!(trace.g.abs().max().double_value(&[]) <= 1.0);
            if sample.lstm.config.proj_size == 0 {
                prop_assert!(trace.h.abs().max().double_value(&[]) <= 1.0);
            }
        }
    }

    #[test]
    fn a_trace_follows_the_equations_and_equals_the_run(sample in sample()) {
        let call = sample.call(Engine::Plain);
        let (output, traces) = sample.lstm.trace(&sample.input, &call).unwrap();
        prop_assert!(same_bits(&output.output, &sample.run(Engine::Plain).output));
        for (row, trace) in traces.iter().enumerate() {
            for (text, &length) in sample.lengths.iter().enumerate() {
                let at = |t: &Tensor, step: i64| t.get(text as i64).get(step);
                let reverse = sample.lstm.config.bidirectional && row % 2 == 1;
                for n in 0..length {
                    let step = if reverse { length - 1 - n } else { n };
                    let before = match n {
                        0 => sample.start.c.get(row as i64).get(text as i64),
                        _ => at(&trace.c, if reverse { step + 1 } else { step - 1 }),
                    };
                    let c = at(&trace.f, step) * before + at(&trace.i, step) * at(&trace.g, step);
                    assert_near(&c, &at(&trace.c, step));
                    if sample.lstm.config.proj_size == 0 {
                        assert_near(&(at(&trace.o, step) * c.tanh()), &at(&trace.h, step));
                    }
                }
            }
        }
    }

    #[test]
    fn dropout_is_off_in_eval_and_a_function_of_the_stream_in_training(sample in sample(), seed in any::<u64>()) {
        for engine in ENGINES {
            prop_assert!(same_bits(&sample.run(engine).output, &sample.run(engine).output));
            let train = |seed| {
                let mode = Mode::Train(Stream::new(seed, "step"));
                sample.lstm.forward(&sample.input, &Call { mode, ..sample.call(engine) }).unwrap().output
            };
            prop_assert!(same_bits(&train(seed), &train(seed)));
        }
        let mode = Mode::Train(Stream::new(seed, "step"));
        let call = |engine| Call { mode, ..sample.call(engine) };
        let plain = sample.lstm.forward(&sample.input, &call(Engine::Plain)).unwrap();
        let fused = sample.lstm.forward(&sample.input, &call(Engine::Fused)).unwrap();
        assert_near(&plain.output, &fused.output);
    }
}

#[test]
fn dropout_between_layers_is_felt_in_training() {
    let config = LstmConfig {
        num_layers: 2,
        dropout: 0.5,
        ..LstmConfig::new(3, 8)
    };
    let lstm = Lstm::new(config, Init::default(), Stream::new(1, "t")).unwrap();
    let x = normal(&[2, 5, 3], Stream::new(2, "t"));
    for engine in ENGINES {
        let run = |mode| {
            lstm.forward(
                &x,
                &Call {
                    engine,
                    mode,
                    ..Call::default()
                },
            )
            .unwrap()
            .output
        };
        let a = run(Mode::Train(Stream::new(1, "step")));
        assert!(!same_bits(&a, &run(Mode::Eval)));
        assert!(!same_bits(&a, &run(Mode::Train(Stream::new(2, "step")))));
    }
}

#[test]
fn a_dropout_mask_keeps_its_share_and_its_mean() {
    let ones = Tensor::ones([100, 1000], (Kind::Float, Device::Cpu));
    let dropped = Mode::Train(Stream::new(1, "t")).dropout("x", 0.3, &ones);
    let zeros = dropped.eq(0).sum(Kind::Int64).int64_value(&[]) as f64 / 1e5;
    // Standard deviation of the share: sqrt(0.3 * 0.7 / 1e5) = 0.0014.
    assert!((zeros - 0.3).abs() < 0.006, "{zeros}");
    assert!((dropped.mean(Kind::Float).double_value(&[]) - 1.0).abs() < 0.01);
    assert!((dropped.max().double_value(&[]) - 1.0 / 0.7).abs() < 1e-6);
}

#[test]
fn both_layouts_give_the_same() {
    let stream = Stream::new(3, "t");
    let first = LstmConfig {
        bidirectional: true,
        num_layers: 2,
        ..LstmConfig::new(3, 4)
    };
    let second = LstmConfig {
        batch_first: false,
        ..first.clone()
    };
    let (a, b) = (
        Lstm::new(first, Init::default(), stream).unwrap(),
        Lstm::new(second, Init::default(), stream).unwrap(),
    );
    let x = normal(&[2, 5, 3], stream);
    let lengths = [5, 2];
    for engine in ENGINES {
        let call = Call {
            engine,
            lengths: Some(&lengths),
            ..Call::default()
        };
        let (a, b) = (
            a.forward(&x, &call).unwrap(),
            b.forward(&x.transpose(0, 1), &call).unwrap(),
        );
        assert!(same_bits(&a.output, &b.output.transpose(0, 1)));
    }
    let trace = b.trace(&x.transpose(0, 1), &Call::default()).unwrap().1;
    assert_eq!(trace[0].i.size(), [5, 2, 4]);
    assert_eq!(
        a.trace(&x, &Call::default()).unwrap().1[0].i.size(),
        [2, 5, 4]
    );
}

#[test]
fn no_steps_at_all_give_the_initial_state() {
    let lstm = Lstm::new(LstmConfig::new(3, 4), Init::default(), Stream::new(1, "t")).unwrap();
    let x = Tensor::zeros([2, 0, 3], (Kind::Float, Device::Cpu));
    let start = State {
        h: Tensor::ones([1, 2, 4], (Kind::Float, Device::Cpu)),
        c: Tensor::ones([1, 2, 4], (Kind::Float, Device::Cpu)),
    };
    for engine in ENGINES {
        let run = lstm
            .forward(
                &x,
                &Call {
                    engine,
                    state: Some(&start),
                    ..Call::default()
                },
            )
            .unwrap();
        assert_eq!(run.output.size(), [2, 0, 4]);
        assert!(same_bits(&run.state.h, &start.h) && same_bits(&run.state.c, &start.c));
    }
    assert!(lstm.trace(&x, &Call::default()).is_err());
}

#[test]
fn initialisation_is_pytorchs_unless_asked() {
    let stream = Stream::new(5, "t");
    let config = LstmConfig {
        num_layers: 2,
        bidirectional: true,
        ..LstmConfig::new(7, 64)
    };
    let bound = 1.0 / 8.0;
    let lstm = Lstm::new(config.clone(), Init::default(), stream).unwrap();
    let names: Vec<String> = lstm
        .parameters()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names.len(), 16);
    assert_eq!(names[4], "weight_ih_l0_reverse");
    for (name, tensor) in lstm.parameters() {
        let largest = tensor.abs().max().double_value(&[]);
        // 256 or more uniform numbers: the largest is near the bound.
        assert!(
            largest <= bound && largest > 0.97 * bound,
            "{name}: {largest}"
        );
        assert!(tensor.requires_grad());
    }

    let biases = |init: Init| {
        let lstm = Lstm::new(config.clone(), init, stream).unwrap();
        let params = &lstm.layers[1][1];
        let total = params.b_ih.as_ref().unwrap() + params.b_hh.as_ref().unwrap();
        (total.narrow(0, 0, 64), total.narrow(0, 64, 64))
    };
    let (_, f) = biases(Init {
        bias: BiasInit::Forget(1.0),
        ..Init::default()
    });
    assert_eq!(
        (f.min().double_value(&[]), f.max().double_value(&[])),
        (1.0, 1.0)
    );
    let (i, f) = biases(Init {
        bias: BiasInit::Chrono { t_max: 100 },
        ..Init::default()
    });
    assert!(same_bits(&i, &-&f));
    let range = f.exp();
    assert!(range.min().double_value(&[]) >= 1.0 && range.max().double_value(&[]) <= 99.0);
    assert!((range.mean(Kind::Float).double_value(&[]) - 50.0).abs() < 15.0);

    let lstm = Lstm::new(
        config,
        Init {
            orthogonal: true,
            ..Init::default()
        },
        stream,
    )
    .unwrap();
    for gate in 0..4 {
        let block = lstm.layers[1][0].w_hh.narrow(0, gate * 64, 64);
        assert_near(
            &block.matmul(&block.tr()),
            &Tensor::eye(64, (Kind::Float, Device::Cpu)),
        );
    }
}

#[test]
fn an_orthogonal_projection_has_orthonormal_columns() {
    let config = LstmConfig {
        proj_size: 3,
        ..LstmConfig::new(4, 8)
    };
    let init = Init {
        orthogonal: true,
        ..Init::default()
    };
    let lstm = Lstm::new(config, init, Stream::new(1, "t")).unwrap();
    let block = lstm.layers[0][0].w_hh.narrow(0, 8, 8);
    assert_near(
        &block.tr().matmul(&block),
        &Tensor::eye(3, (Kind::Float, Device::Cpu)),
    );
}

#[test]
fn impossible_settings_are_named() {
    let good = LstmConfig::new(3, 4);
    let cases = [
        (
            LstmConfig {
                input_size: 0,
                ..good.clone()
            },
            "input_size: must be 1 or more, not 0",
        ),
        (
            LstmConfig {
                hidden_size: -1,
                ..good.clone()
            },
            "hidden_size",
        ),
        (
            LstmConfig {
                num_layers: 0,
                ..good.clone()
            },
            "num_layers",
        ),
        (
            LstmConfig {
                proj_size: 4,
                ..good.clone()
            },
            "less than hidden_size 4",
        ),
        (
            LstmConfig {
                dropout: 1.0,
                ..good.clone()
            },
            "dropout: must be in [0, 1)",
        ),
    ];
    for (config, message) in cases {
        let error = Lstm::new(config, Init::default(), Stream::new(1, "t")).unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
    }
    let no_bias = LstmConfig {
        bias: false,
        ..good.clone()
    };
    let inits = [
        (no_bias, BiasInit::Forget(1.0), "needs biases"),
        (good.clone(), BiasInit::Forget(f64::NAN), "finite"),
        (good, BiasInit::Chrono { t_max: 2 }, "3 steps or more"),
    ];
    for (config, bias, message) in inits {
        let init = Init {
            bias,
            ..Init::default()
        };
        let error = Lstm::new(config, init, Stream::new(1, "t")).unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
    }
}

#[test]
fn wrong_tensors_are_named() {
    let lstm = Lstm::new(LstmConfig::new(3, 4), Init::default(), Stream::new(1, "t")).unwrap();
    let zeros = |shape: &[i64]| Tensor::zeros(shape, (Kind::Float, Device::Cpu));
    let x = zeros(&[2, 5, 3]);
    let state = State {
        h: zeros(&[1, 3, 4]),
        c: zeros(&[1, 2, 4]),
    };
    let cases = [
        (
            lstm.forward(&zeros(&[2, 5, 4]), &Call::default()),
            "input: must be [B, T, I] with I = 3",
        ),
        (
            lstm.forward(&zeros(&[2, 3]), &Call::default()),
            "its shape is [2, 3]",
        ),
        (lstm.forward(&zeros(&[0, 5, 3]), &Call::default()), "B = 0"),
        (
            lstm.forward(&x.to_kind(Kind::Double), &Call::default()),
            "is Double on Cpu, but the parameters are Float",
        ),
        (
            lstm.forward(
                &x,
                &Call {
                    lengths: Some(&[5]),
                    ..Call::default()
                },
            ),
            "1 entries for a batch of 2",
        ),
        (
            lstm.forward(
                &x,
                &Call {
                    lengths: Some(&[5, 6]),
                    ..Call::default()
                },
            ),
            "entry 1 is 6",
        ),
        (
            lstm.forward(
                &x,
                &Call {
                    lengths: Some(&[-1, 5]),
                    ..Call::default()
                },
            ),
            "entry 0 is -1",
        ),
        (
            lstm.forward(
                &x,
                &Call {
                    state: Some(&state),
                    ..Call::default()
                },
            ),
            "h: must have shape [1, 2, 4]",
        ),
    ];
    for (result, message) in cases {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
    let error = Lstm::from_tensors(LstmConfig::new(3, 4), |_| Ok(zeros(&[16, 3]))).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("weight_hh_l0: must have shape [16, 4]"),
        "{error}"
    );
}
