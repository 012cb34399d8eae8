//! What holds for any LSTM and input.

use proptest::prelude::*;
use tch::{Device, Kind, Tensor};

use super::*;

/// An LSTM and an input for it, small, of any architecture.
#[derive(Debug)]
struct Sample {
    lstm: Lstm,
    input: Tensor,
    lengths: Vec<i64>,
    start: State,
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
            ..Call::default()
        }
    }

    fn run(&self, engine: Engine) -> Output {
        self.lstm.forward(&self.input, &self.call(engine)).unwrap()
    }
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
    fn more_padding_changes_no_bit_of_the_plain_and_the_native_engine(sample in sample(), more in 1..5i64) {
        let size = sample.input.size();
        let padding = Tensor::zeros([size[0], more, size[2]], (Kind::Float, Device::Cpu));
        let longer = Tensor::cat(&[&sample.input, &padding], 1);
        // The fused engine's products over all steps at once may end in other bits.
        for (engine, same) in [(Engine::Plain, true), (Engine::Fused, false), (Engine::Native, true)] {
            let a = sample.run(engine);
            let b = sample.lstm.forward(&longer, &sample.call(engine)).unwrap();
            let real = b.output.narrow(1, 0, size[1]);
            for (a, b) in [(&a.output, &real), (&a.state.h, &b.state.h), (&a.state.c, &b.state.c)] {
                assert_near(a, b);
                prop_assert!(!same || same_bits(a, b));
            }
        }
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
    fn padded_and_packed_give_the_same_with_and_without_dropout(sample in sample()) {
        let prepared = sample.lstm.prepare(&sample.input, &sample.call(Engine::Fused)).unwrap();
        let Prepared { input, ragged: Some(ragged), start } = &prepared else { return Ok(()) };
        let dropout = |layer: i64, x: &Tensor| {
            Mode::Train(Stream::new(7, "mask")).dropout(&format!("{layer}"), 0.5, x)
        };
        for dropout in [None, Some(&dropout as fused::Dropout)] {
            let (a, a_end) = fused::run(&sample.lstm, input, Some(ragged), start, dropout);
            let (b, b_end) = fused::packed(&sample.lstm, input, ragged, start, dropout);
            assert_near(&a, &b);
            assert_near(&a_end.h, &b_end.h);
            assert_near(&a_end.c, &b_end.c);
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
        let native = sample.lstm.forward(&sample.input, &call(Engine::Native)).unwrap();
        assert_near(&plain.output, &native.output);
    }
}

#[test]
fn another_dtype_has_the_same_numbers_and_gradients_flow_back() {
    let stream = Stream::new(3, "to_kind");
    let lstm = Lstm::new(LstmConfig::new(3, 4), Init::default(), stream).unwrap();
    let double = lstm.to_kind(Kind::Double);
    let x = normal(&[2, 5, 3], stream);
    let call = Call::default();
    let output = |lstm: &Lstm, x: &Tensor| lstm.forward(x, &call).unwrap().output;
    let wide = output(&double, &x.to_kind(Kind::Double));
    assert_eq!(wide.kind(), Kind::Double);
    assert_near(&wide, &output(&lstm, &x));
    wide.sum(Kind::Double).backward();
    for (name, parameter) in lstm.parameters() {
        let gradient = parameter.grad();
        assert_eq!(gradient.kind(), Kind::Float, "{name}");
        assert!(gradient.abs().max().double_value(&[]) > 0.0, "{name}");
    }
    // In its own dtype it is the same tensors.
    for ((name, ours), (_, same)) in lstm
        .parameters()
        .into_iter()
        .zip(lstm.to_kind(Kind::Float).parameters())
    {
        assert_eq!(ours.data_ptr(), same.data_ptr(), "{name}");
    }
}
