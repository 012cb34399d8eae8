//! Dropout, layouts, start values, errors.

use tch::{Device, Kind, Tensor};

use super::*;

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
        let largest = tensor.max().double_value(&[]);
        let smallest = tensor.min().double_value(&[]);
        // 256 or more uniform numbers: the outermost are near the bounds.
        for outermost in [largest, -smallest] {
            assert!(
                outermost <= bound && outermost > 0.96 * bound,
                "{name}: {outermost}"
            );
        }
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
            "input_size: must be 1 to 1048576, not 0",
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
fn a_state_behind_the_end_is_held_whatever_the_biases_are() {
    let config = LstmConfig::new(3, 4);
    let init = Init {
        bias: BiasInit::Forget(-40_000.0),
        ..Init::default()
    };
    let lstm = Lstm::new(config, init, Stream::new(1, "t")).unwrap();
    let x = normal(&[1, 5, 3], Stream::new(2, "t"));
    let read = |lengths: &[i64], engine| {
        let call = Call {
            lengths: Some(lengths),
            engine,
            ..Call::default()
        };
        lstm.forward(&x, &call).unwrap().state.c
    };
    let c = read(&[3], Engine::Fused);
    assert!(c.abs().max().double_value(&[]) > 0.01);
    assert_near(&c, &read(&[3], Engine::Plain));
    assert_near(&c, &read(&[3], Engine::Native));
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
    let doubles = State {
        h: zeros(&[1, 2, 4]).to_kind(Kind::Double),
        c: zeros(&[1, 2, 4]),
    };
    let cases = [
        (
            lstm.forward(
                &x,
                &Call {
                    state: Some(&doubles),
                    ..Call::default()
                },
            ),
            "h: is Double on Cpu, but the parameters are Float",
        ),
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
