//! Every form of dropout: off in evaluation, what its definition says in training,
//! with gradients that are those of the loss.

use tch::{Kind, Tensor};

use super::*;
use crate::lstm::expect_reach;

const LENGTHS: [i64; 3] = [6, 3, 0];

/// Each form alone, far from rare, and all together.
fn forms() -> Vec<(&'static str, Regularization)> {
    let none = Regularization::default;
    vec![
        (
            "variational",
            Regularization {
                variational: true,
                ..none()
            },
        ),
        (
            "recurrent",
            Regularization {
                recurrent_dropout: 0.5,
                ..none()
            },
        ),
        (
            "candidate",
            Regularization {
                candidate_dropout: 0.5,
                ..none()
            },
        ),
        (
            "weight",
            Regularization {
                weight_drop: 0.5,
                ..none()
            },
        ),
        (
            "zoneout cell",
            Regularization {
                zoneout_cell: 0.5,
                ..none()
            },
        ),
        (
            "zoneout hidden",
            Regularization {
                zoneout_hidden: 0.5,
                ..none()
            },
        ),
        (
            "all",
            Regularization {
                variational: true,
                recurrent_dropout: 0.3,
                candidate_dropout: 0.3,
                weight_drop: 0.3,
                zoneout_cell: 0.3,
                zoneout_hidden: 0.3,
            },
        ),
    ]
}

fn config(regularization: Regularization) -> LstmConfig {
    LstmConfig {
        num_layers: 2,
        dropout: 0.5,
        bidirectional: true,
        proj_size: 3,
        regularization,
        ..LstmConfig::new(3, 5)
    }
}

/// With f64 parameters that depend only on the shapes.
fn lstm(config: LstmConfig) -> Lstm {
    let mut lstm = Lstm::new(config, Init::default(), Stream::new(1, "t")).unwrap();
    lstm.map(|tensor| {
        tensor
            .detach()
            .to_kind(Kind::Double)
            .set_requires_grad(true)
    });
    lstm
}

fn input() -> Tensor {
    random::normal(&[3, 6, 3], Stream::new(2, "t"))
}

fn run(lstm: &Lstm, engine: Engine, mode: Mode) -> Output {
    let call = Call {
        lengths: Some(&LENGTHS),
        engine,
        mode,
        ..Call::default()
    };
    lstm.forward(&input(), &call).unwrap()
}

fn train(seed: u64) -> Mode {
    Mode::Train(Stream::new(seed, "step"))
}

#[test]
fn all_are_off_in_evaluation_and_another_at_each_step() {
    let bare = run(
        &lstm(config(Regularization::default())),
        Engine::Plain,
        Mode::Eval,
    );
    for (name, form) in forms() {
        let lstm = lstm(config(form));
        for engine in ENGINES {
            let eval = run(&lstm, engine, Mode::Eval);
            let off = (&eval.output - &bare.output).abs().max().double_value(&[]);
            assert!(off < 1e-14, "{name} {off}");
        }
        let first = run(&lstm, Engine::Plain, train(1)).output;
        assert!(
            same_bits(&first, &run(&lstm, Engine::Plain, train(1)).output),
            "{name}"
        );
        assert!(
            !same_bits(&first, &run(&lstm, Engine::Plain, train(2)).output),
            "{name}"
        );
        assert!(!same_bits(&first, &bare.output), "{name}");
        // Padding stays zero, and a text of no step keeps its state.
        assert!(
            same_bits(&first.get(2), &first.get(2).zeros_like()),
            "{name}"
        );
        let end = run(&lstm, Engine::Plain, train(1)).state;
        assert_eq!(
            end.c.select(1, 2).abs().max().double_value(&[]),
            0.0,
            "{name}"
        );
    }
}

#[test]
fn what_is_outside_of_the_step_is_the_same_in_every_engine() {
    let reachable = Regularization {
        variational: true,
        weight_drop: 0.4,
        ..Regularization::default()
    };
    let lstm_ = lstm(config(reachable));
    let [plain, fused, native] = ENGINES.map(|engine| run(&lstm_, engine, train(3)));
    for other in [fused, native] {
        for (a, b) in [
            (&plain.output, &other.output),
            (&plain.state.h, &other.state.h),
            (&plain.state.c, &other.state.c),
        ] {
            assert!((a - b).abs().max().double_value(&[]) < 1e-13);
        }
    }
    for (name, form) in forms()
        .into_iter()
        .filter(|(_, form)| expect_reach(form, Engine::Fused).is_err())
    {
        let lstm = lstm(config(form));
        let call = Call {
            engine: Engine::Fused,
            mode: train(1),
            ..Call::default()
        };
        let error = lstm.forward(&input(), &call).unwrap_err().to_string();
        assert!(error.contains("engine native or plain"), "{name}: {error}");
    }
}

/// One layer and one direction, every text of full length, as the papers write it.
fn simple(regularization: Regularization) -> (Lstm, Vec<Step>) {
    let lstm = lstm(LstmConfig {
        regularization,
        ..LstmConfig::new(3, 5)
    });
    let prepared = lstm.prepare(&input(), &Call::default()).unwrap();
    let call = Call {
        mode: train(1),
        ..Call::default()
    };
    let run = plain::run(&lstm, &prepared.input, None, &prepared.start, &call);
    let steps = run.steps.into_iter().next().unwrap();
    (lstm, steps)
}

use super::cell::Step;

#[test]
fn zoneout_keeps_its_share_and_follows_the_equations_elsewhere() {
    let (_, steps) = simple(Regularization {
        zoneout_cell: 0.5,
        ..Regularization::default()
    });
    let (mut kept, mut all) = (0, 0);
    for pair in steps.windows(2) {
        let [before, now] = pair else { unreachable!() };
        let updated = &now.f * &before.c + &now.i * &now.g;
        let stays = now.c.eq_tensor(&before.c);
        assert!(same_bits(&now.c, &before.c.where_self(&stays, &updated)));
        // The hidden state is that of the cell's own update.
        assert!(
            ((&now.o * updated.tanh()) - &now.h)
                .abs()
                .max()
                .double_value(&[])
                < 1e-15
        );
        kept += stays.sum(Kind::Int64).int64_value(&[]);
        all += stays.numel() as i64;
    }
    // Of 75, a standard deviation of 4.3.
    assert_eq!(all, 75);
    assert!((20..55).contains(&kept), "{kept}");

    let (_, steps) = simple(Regularization {
        zoneout_hidden: 0.5,
        ..Regularization::default()
    });
    for pair in steps.windows(2) {
        let [before, now] = pair else { unreachable!() };
        let updated = &now.o * now.c.tanh();
        let stays = now.h.eq_tensor(&before.h);
        assert!(same_bits(&now.h, &before.h.where_self(&stays, &updated)));
        let count = stays.sum(Kind::Int64).int64_value(&[]);
        assert!((1..15).contains(&count), "{count}");
    }
}

#[test]
fn candidates_are_dropped_anew_at_each_step_and_the_cell_forgets_nothing() {
    let (_, steps) = simple(Regularization {
        candidate_dropout: 0.5,
        ..Regularization::default()
    });
    let dropped: Vec<Tensor> = steps.iter().map(|step| step.g.eq(0.0)).collect();
    assert!(!same_bits(&dropped[0], &dropped[1]));
    for (n, pair) in steps.windows(2).enumerate() {
        let [before, now] = pair else { unreachable!() };
        let only_forget = &now.f * &before.c;
        let dropped = &dropped[n + 1];
        assert!(same_bits(
            &now.c.masked_select(dropped),
            &only_forget.masked_select(dropped)
        ));
    }
}

#[test]
fn recurrent_dropout_has_one_mask_for_all_steps() {
    let rates = Regularization {
        recurrent_dropout: 0.5,
        ..Regularization::default()
    };
    let (lstm, steps) = simple(rates);
    let params = &lstm.layers[0][0];
    let h = steps[0].h.ones_like();
    let dropout = crate::lstm::regularization::StepDropout::new(
        &rates,
        train(1),
        "lstm cell 0".to_owned(),
        &h,
    );
    let mask = dropout.read(&h);
    let values: Vec<f64> = Vec::try_from(mask.view(-1)).unwrap();
    assert!(values.iter().all(|value| [0.0, 2.0].contains(value)));
    assert!(values.contains(&0.0) && values.contains(&2.0));
    let x = input().transpose(0, 1);
    for (t, pair) in (1..).zip(steps.windows(2)) {
        let [before, now] = pair else { unreachable!() };
        let step = cell::step(&x.get(t), &(&before.h * &mask), &before.c, params);
        assert!(
            (step.h - &now.h).abs().max().double_value(&[]) < 1e-15,
            "{t}"
        );
    }
}

#[test]
fn variational_dropout_is_one_mask_for_all_steps() {
    let rates = Regularization {
        variational: true,
        ..Regularization::default()
    };
    let lstm = lstm(config(rates));
    let ones = Tensor::ones([6, 3, 4], (Kind::Double, Device::Cpu));
    let dropped = lstm.dropped(train(1), 1, &ones);
    for t in 1..6 {
        assert!(same_bits(&dropped.get(0), &dropped.get(t)));
    }
    let zeros = dropped.get(0).eq(0.0).sum(Kind::Int64).int64_value(&[]);
    assert!((1..12).contains(&zeros), "{zeros}");
}

#[test]
fn the_native_engine_drops_what_the_plain_one_drops() {
    for (name, form) in forms() {
        let lstm = lstm(config(form));
        let all = |engine| {
            let out = run(&lstm, engine, train(2));
            let loss = out.output.square().sum(Kind::Double)
                + out.state.c.square().sum(Kind::Double)
                + out.state.h.sum(Kind::Double);
            let parameters: Vec<&Tensor> = lstm.parameters().into_iter().map(|(_, x)| x).collect();
            let mut all = Tensor::run_backward(&[loss], &parameters, false, false);
            all.extend([out.output, out.state.h, out.state.c]);
            all
        };
        for (a, b) in all(Engine::Plain).iter().zip(&all(Engine::Native)) {
            let apart = (a - b).abs().max().double_value(&[]);
            assert!(apart < 1e-12, "{name} {apart:e}");
        }
    }
}

#[test]
fn gradients_flow_through_every_form() {
    let both = [Engine::Plain, Engine::Native];
    for ((name, form), engine) in forms().into_iter().flat_map(|of| both.map(|e| (of, e))) {
        let lstm = lstm(config(form));
        let loss = || {
            let out = run(&lstm, engine, train(1));
            out.output.square().sum(Kind::Double) + out.state.c.square().sum(Kind::Double)
        };
        loss().backward();
        for (parameter, tensor) in lstm.parameters() {
            let gradient = tensor.grad();
            let direction = random::normal(&tensor.size(), Stream::new(3, &parameter));
            let along = (&gradient * &direction).sum(Kind::Double).double_value(&[]);
            assert!(along != 0.0, "{name} {parameter}");
            let step = 1.0 / (1 << 17) as f64;
            let at = |step: f64| {
                tch::no_grad(|| {
                    let start = tensor.copy();
                    let mut place = tensor.shallow_clone();
                    place.copy_(&(&start + &direction * step));
                    let value = loss().double_value(&[]);
                    place.copy_(&start);
                    value
                })
            };
            let difference = (at(step) - at(-step)) / (2.0 * step);
            let error = (difference - along).abs() / along.abs().max(1e-3);
            assert!(error < 1e-6, "{name} {parameter}: {difference:e} {along:e}");
        }
    }
}
