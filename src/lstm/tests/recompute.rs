//! Gates computed once more on the way back: the same bits, and less that is kept.

use tch::{Device, Kind, Tensor};

use super::*;
use crate::lstm::Regularization;

/// Output, and the gradients of input, start and parameters.
fn all(lstm: &Lstm, x: &Tensor, start: &State, call: &Call) -> Vec<Tensor> {
    let out = lstm.forward(x, call).unwrap();
    let weight = |x: &Tensor| random::normal(&x.size(), Stream::new(3, "w")).to_kind(x.kind());
    let kind = x.kind();
    let loss = (&out.output * weight(&out.output)).sum(kind) + out.state.c.sum(kind);
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
    let mut found = Tensor::run_backward(&[loss], &of, false, false);
    found.push(out.output.detach());
    found
}

#[test]
fn what_is_computed_once_more_is_the_same_bits() {
    let ragged: Vec<i64> = (0..24).map(|n| (n * 7) % 41).collect();
    let inside = Regularization {
        recurrent_dropout: 0.2,
        candidate_dropout: 0.2,
        zoneout_cell: 0.1,
        zoneout_hidden: 0.1,
        ..Regularization::default()
    };
    let mut cases = Vec::new();
    for kind in [Kind::Float, Kind::Double] {
        for (bidirectional, proj_size) in [(false, 0), (true, 0), (true, 3)] {
            for regularization in [Regularization::default(), inside] {
                for truncate in [None, Some(5)] {
                    cases.push((kind, bidirectional, proj_size, regularization, truncate));
                }
            }
        }
    }
    for (kind, bidirectional, proj_size, regularization, truncate) in cases {
        let config = LstmConfig {
            num_layers: 2,
            bidirectional,
            proj_size,
            regularization,
            ..LstmConfig::new(5, 19)
        };
        let directions = config.directions();
        let output = config.output_size();
        let mut lstm = Lstm::new(config, Init::default(), Stream::new(1, "r")).unwrap();
        lstm.map(|tensor| tensor.detach().to_kind(kind).set_requires_grad(true));
        let given = |shape: &[i64], n| {
            let values = random::normal(shape, Stream::new(n, "x")).to_kind(kind);
            values.set_requires_grad(true)
        };
        let x = given(&[24, 40, 5], 1);
        let start = State {
            h: given(&[2 * directions, 24, output], 2),
            c: given(&[2 * directions, 24, 19], 3),
        };
        let call = |recompute| Call {
            lengths: Some(&ragged),
            state: Some(&start),
            engine: Engine::Native,
            mode: Mode::Train(Stream::new(4, "dropout")),
            truncate,
            recompute,
        };
        let kept = all(&lstm, &x, &start, &call(false));
        let again = all(&lstm, &x, &start, &call(true));
        for (n, (a, b)) in kept.iter().zip(&again).enumerate() {
            assert!(same_bits(a, b), "{n} of {:?}", lstm.config);
        }
    }
}

#[test]
fn other_engines_do_not_compute_once_more() {
    let lstm = Lstm::new(LstmConfig::new(2, 3), Init::default(), Stream::new(1, "r")).unwrap();
    let x = Tensor::zeros([1, 2, 2], (Kind::Float, Device::Cpu));
    for engine in ENGINES {
        let call = Call {
            engine,
            recompute: true,
            ..Call::default()
        };
        let made = lstm.forward(&x, &call);
        match engine {
            Engine::Native => assert!(made.is_ok()),
            _ => assert!(made.unwrap_err().to_string().starts_with("recompute: ")),
        }
    }
}

#[test]
fn auto_is_native_on_the_cpu_where_it_can() {
    let mut lstm = Lstm::new(LstmConfig::new(2, 3), Init::default(), Stream::new(1, "r")).unwrap();
    let asked = |engine| Call {
        engine,
        mode: Mode::Train(Stream::new(1, "d")),
        ..Call::default()
    };
    assert_eq!(lstm.engine(&asked(Engine::Auto)), Engine::Native);
    for engine in ENGINES {
        assert_eq!(lstm.engine(&asked(engine)), engine);
    }
    let half = lstm.to_kind(Kind::BFloat16);
    assert_eq!(half.engine(&asked(Engine::Auto)), Engine::Fused);
    lstm.config.regularization.zoneout_cell = 0.1;
    let half = lstm.to_kind(Kind::BFloat16);
    assert_eq!(half.engine(&asked(Engine::Auto)), Engine::Plain);
    assert_eq!(half.engine(&Call::default()), Engine::Fused);
}
