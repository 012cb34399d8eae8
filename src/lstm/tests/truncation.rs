//! Truncated backpropagation: the values of the whole, the gradients of its blocks.

use tch::{Kind, Tensor};

use super::*;

const LENGTHS: [i64; 4] = [7, 5, 2, 0];

fn lstm(config: LstmConfig) -> Lstm {
    let mut lstm = Lstm::new(config, Init::default(), Stream::new(1, "t")).unwrap();
    lstm.map(|tensor| {
        let double = tensor.detach().to_kind(Kind::Double);
        (double * 2.0).set_requires_grad(true)
    });
    lstm
}

fn call(engine: Engine, truncate: Option<i64>) -> Call<'static> {
    Call {
        lengths: Some(&LENGTHS),
        engine,
        truncate,
        ..Call::default()
    }
}

fn input() -> Tensor {
    random::normal(&[4, 7, 3], Stream::new(2, "t")).set_requires_grad(true)
}

/// Of a loss of every output and final state: with respect to the input, a given
/// initial state, and every parameter.
fn gradients(lstm: &Lstm, call: &Call, x: &Tensor) -> Vec<Tensor> {
    let rows = lstm.config.num_layers * lstm.config.directions();
    let shape = [rows, 4, lstm.config.hidden_size];
    let start = |n| (random::normal(&shape, Stream::new(n, "s"))).set_requires_grad(true);
    let start = State {
        h: start(1).narrow(2, 0, lstm.config.output_size()),
        c: start(2),
    };
    let call = Call {
        state: Some(&start),
        ..*call
    };
    let out = lstm.forward(x, &call).unwrap();
    let weight = |x: &Tensor| random::normal(&x.size(), Stream::new(3, "w"));
    let loss = [&out.output, &out.state.h, &out.state.c]
        .map(|x| (x * weight(x)).sum(Kind::Double))
        .into_iter()
        .sum::<Tensor>();
    let mut of = vec![
        x.shallow_clone(),
        start.h.shallow_clone(),
        start.c.shallow_clone(),
    ];
    of.extend(
        lstm.parameters()
            .into_iter()
            .map(|(_, x)| x.shallow_clone()),
    );
    Tensor::run_backward(&[loss], &of, false, false)
}

fn apart(a: &[Tensor], b: &[Tensor]) -> f64 {
    let far = |(a, b): (&Tensor, &Tensor)| (a - b).abs().max().double_value(&[]);
    a.iter().zip(b).map(far).fold(0.0, f64::max)
}

#[test]
fn values_are_those_of_the_whole_and_the_engines_cut_alike() {
    for (layers, bidirectional, projection) in [(1, false, 0), (2, true, 0), (2, true, 3)] {
        let lstm = lstm(LstmConfig {
            num_layers: layers,
            bidirectional,
            proj_size: projection,
            ..LstmConfig::new(3, 5)
        });
        let x = input();
        let whole = gradients(&lstm, &call(Engine::Plain, None), &x);
        for block in [1, 2, 3, 7, 100] {
            let values = |engine, truncate| lstm.forward(&x, &call(engine, truncate)).unwrap();
            let plain = values(Engine::Plain, Some(block));
            let of_whole = values(Engine::Plain, None);
            assert!(same_bits(&plain.output, &of_whole.output));
            assert!(same_bits(&plain.state.c, &of_whole.state.c));
            let fused = values(Engine::Fused, Some(block));
            assert!(apart(&[fused.output], &[plain.output]) < 1e-13);
            assert!(
                apart(
                    &[fused.state.c, fused.state.h],
                    &[plain.state.c, plain.state.h]
                ) < 1e-13
            );

            let native = values(Engine::Native, Some(block));
            assert!(
                apart(
                    &[native.output, native.state.c],
                    &[of_whole.output, of_whole.state.c]
                ) < 1e-13
            );

            let cut = ENGINES.map(|e| gradients(&lstm, &call(e, Some(block)), &x));
            let [plain, fused, native] = cut;
            assert!(apart(&plain, &fused) < 1e-12, "{layers} {block}");
            assert!(apart(&plain, &native) < 1e-12, "{layers} {block}");
            let changed = apart(&plain, &whole);
            assert_eq!(changed < 1e-12, block >= 7, "{layers} {block}: {changed}");
        }
    }
}

#[test]
fn it_is_the_sum_of_calls_that_carry_the_state() {
    let lstm = lstm(LstmConfig {
        num_layers: 2,
        ..LstmConfig::new(3, 5)
    });
    let x = random::normal(&[4, 7, 3], Stream::new(2, "t"));
    let of = |loss: Tensor| {
        let parameters: Vec<&Tensor> = lstm.parameters().into_iter().map(|(_, x)| x).collect();
        Tensor::run_backward(&[loss], &parameters, false, false)
    };
    for engine in ENGINES {
        let truncated = lstm.forward(&x, &call(engine, Some(3))).unwrap();
        let expected = of(truncated.output.square().sum(Kind::Double));
        let mut state = lstm.zero_state(4, &x);
        let mut loss = Tensor::from(0f64);
        for start in [0, 3, 6] {
            let steps = (7 - start).min(3);
            let lengths = LENGTHS.map(|length| (length - start).clamp(0, steps));
            let part = Call {
                lengths: Some(&lengths),
                state: Some(&state),
                engine,
                ..Call::default()
            };
            let read = lstm.forward(&x.narrow(1, start, steps), &part).unwrap();
            loss += read.output.square().sum(Kind::Double);
            state = read.state.detach();
        }
        assert!(apart(&of(loss), &expected) < 1e-12, "{engine:?}");
    }
}

#[test]
fn blocks_of_no_step_are_refused() {
    let lstm = lstm(LstmConfig::new(3, 5));
    let error = lstm
        .forward(&input(), &call(Engine::Plain, Some(0)))
        .unwrap_err();
    assert!(error.to_string().starts_with("truncate: "), "{error}");
}
