//! The native engine compared with libtorch and the other engines, with each instruction
//! set and number of threads.

use cellway_kernels::{
    BatchPlan, Bf16Storage, ISA_VARIABLE, instruction_set, instruction_sets, sigmoid, tanh,
    unit_parallelism,
};
use tch::{Kind, Tensor};

use crate::lstm::native::layer_sizes;
use crate::lstm::{Call, Engine, Init, Lstm, LstmConfig, Mode, Regularization, State};
use crate::random::{self, Stream};

/// So many packed rows the gradients of weights sum up at once.
const BLOCK: usize = 384;

/// Where `x` stands among all f32, in order.
fn rank(x: f32) -> i64 {
    let bits = i64::from(x.to_bits() & 0x7fff_ffff);
    if x.is_sign_negative() { -bits } else { bits }
}

/// Every `step`-th f32 that is a number.
fn numbers(step: usize) -> Vec<f32> {
    let bits = (0..=f32::INFINITY.to_bits()).step_by(step);
    let mut all: Vec<f32> = bits.map(f32::from_bits).flat_map(|x| [x, -x]).collect();
    all.extend([f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN]);
    all.resize(all.len().next_multiple_of(16), 0.0);
    all
}

/// In units of the last place of f32, the largest distance of ours to the truth and to
/// libtorch's, and where.
fn distances(x: &[f32], is_tanh: bool) -> [(f64, f32); 2] {
    let mut ours = vec![0.0; x.len()];
    let tensor = Tensor::from_slice(x);
    let torchs = if is_tanh {
        tanh(x, &mut ours);
        tensor.tanh()
    } else {
        sigmoid(x, &mut ours);
        tensor.sigmoid()
    };
    let torchs = Vec::<f32>::try_from(torchs).unwrap();
    let mut worst = [(0.0, 0.0); 2];
    for ((&x, &y), &torchs) in x.iter().zip(&ours).zip(&torchs) {
        let exact = f64::from(x);
        let truth = if is_tanh {
            exact.tanh()
        } else {
            1.0 / (1.0 + (-exact).exp())
        };
        // Of numbers too small for e^-x to be finite libtorch says 0, and so do we.
        let truth = if !is_tanh && x < -88.7 {
            f64::from(torchs)
        } else {
            truth
        };
        let unit = f64::from(f32::from_bits((truth.abs() as f32).to_bits() + 1))
            - f64::from(truth.abs() as f32);
        let from_truth = (f64::from(y) - truth).abs() / unit;
        let from_torch = rank(y).abs_diff(rank(torchs)) as f64;
        for (worst, distance) in worst.iter_mut().zip([from_truth, from_torch]) {
            if distance > worst.0 || distance.is_nan() {
                *worst = (distance, x);
            }
        }
    }
    worst
}

/// With the instruction set of this process; see `every_instruction_set_computes_the_same`.
fn measure(step: usize) {
    let x = numbers(step);
    for (name, is_tanh) in [("sigmoid", false), ("tanh", true)] {
        let [truth, torch] = distances(&x, is_tanh);
        let isa = instruction_set::<f32>();
        eprintln!(
            "{name}, {isa}: {:.2} ulp from the truth (at {:e}), {} from libtorch (at {:e})",
            truth.0, truth.1, torch.0, torch.1
        );
        let most = if is_tanh { 2.03 } else { 1.51 };
        assert!(truth.0 <= most && torch.0 <= 2.0, "{name}, {isa}");
    }
}

#[test]
fn sigmoid_and_tanh_are_near_the_truth_and_libtorch() {
    measure(1009);
}

#[test]
#[ignore = "a hundred million numbers"]
fn sigmoid_and_tanh_are_near_for_very_many_numbers() {
    measure(37);
}

#[test]
fn in_f64_sigmoid_and_tanh_are_libtorchs() {
    let x: Vec<f64> = (-400..400).map(|n| f64::from(n) / 10.0).collect();
    let tensor = Tensor::from_slice(&x);
    let mut ours = vec![0.0; x.len()];
    for (is_tanh, torchs) in [(false, tensor.sigmoid()), (true, tensor.tanh())] {
        match is_tanh {
            true => tanh(&x, &mut ours),
            false => sigmoid(&x, &mut ours),
        }
        let error = ((Tensor::from_slice(&ours) - &torchs) / torchs.abs().clamp_min(1e-300))
            .abs()
            .max();
        assert_eq!(error.kind(), Kind::Double);
        assert!(error.double_value(&[]) < 1e-15, "{error:?}");
    }
}

/// The bits of `.to(bfloat16)`, of every 1009th f32 and of those around halves. Of an f64
/// that is no number libtorch's bits depend on where in a tensor it stands.
#[test]
fn bf16_rounds_as_libtorch() {
    let mut x = numbers(1009);
    x.extend((0..1 << 16).map(|upper: u32| f32::from_bits(upper << 16 | 0x8000)));
    x.extend((0..1 << 16).map(|upper: u32| f32::from_bits(upper << 16 | 0x8001)));
    x.extend([f32::NAN, -f32::NAN, f32::from_bits(0x7f80_0001)]);
    let bits = |tensor: Tensor| {
        let bits = tensor.to_kind(Kind::BFloat16).view_dtype(Kind::Int16);
        Vec::<i16>::try_from(bits).unwrap()
    };
    let torchs = bits(Tensor::from_slice(&x));
    let wide: Vec<f64> = x.iter().map(|&x| x.into()).collect();
    let torchs_of_f64 = bits(Tensor::from_slice(&wide));
    for (n, (&x, &wide)) in x.iter().zip(&wide).enumerate() {
        assert_eq!(x.to_bf16(), torchs[n] as u16, "{x:e} {:x}", x.to_bits());
        let same = wide.to_bf16() == torchs_of_f64[n] as u16;
        assert!(same || wide.is_nan(), "{wide:e}");
    }
}

/// Two layers in both directions, large enough for two threads and for two blocks of
/// tokens in the gradients of weights, and ragged.
fn large(kind: Kind) -> (Lstm, Tensor, Vec<i64>) {
    let config = LstmConfig {
        num_layers: 2,
        bidirectional: true,
        ..LstmConfig::new(70, 90)
    };
    let mut lstm = Lstm::new(config, Init::default(), Stream::new(1, "t")).unwrap();
    lstm.map(|tensor| tensor.detach().to_kind(kind).set_requires_grad(true));
    let x = random::normal(&[37, 31, 70], Stream::new(2, "t")).to_kind(kind);
    let lengths: Vec<i64> = (0..37).map(|text| text * 11 % 32).collect();
    assert!(lengths.iter().sum::<i64>() as usize > BLOCK);
    (lstm, x.set_requires_grad(true), lengths)
}

/// Outputs, states, and the gradients of the input and all parameters.
fn everything((lstm, x, lengths): &(Lstm, Tensor, Vec<i64>), engine: Engine) -> Vec<Tensor> {
    let call = Call {
        lengths: Some(lengths),
        engine,
        ..Call::default()
    };
    let out = lstm.forward(x, &call).unwrap();
    let loss = out.output.square().sum(x.kind()) + out.state.c.sum(x.kind());
    let mut of = vec![x];
    of.extend(lstm.parameters().into_iter().map(|(_, tensor)| tensor));
    let mut all = Tensor::run_backward(&[loss], &of, false, false);
    all.extend([out.output, out.state.h, out.state.c]);
    all
}

fn assert_equals_the_plain_engine(case: &(Lstm, Tensor, Vec<i64>), bound: f64) {
    let both = [Engine::Plain, Engine::Native].map(|engine| everything(case, engine));
    for (a, b) in both[0].iter().zip(&both[1]) {
        let scale = a.abs().max().double_value(&[]).max(1.0);
        let apart = (a - b).abs().max().double_value(&[]) / scale;
        assert!(apart < bound, "{:?} {apart:e}", case.1.kind());
    }
}

#[test]
fn a_batch_of_many_tokens_equals_the_plain_engine() {
    for (kind, bound) in [(Kind::Double, 1e-13), (Kind::Float, 1e-5)] {
        let case = large(kind);
        assert_equals_the_plain_engine(&case, bound);
    }
}

/// The states of zeros that a first step reads say nothing to the gradient of `W_hh`: here
/// they are more than a block, or all there are.
#[test]
fn a_first_step_of_more_than_a_block_equals_the_plain_engine() {
    for longest in [1, 3] {
        let init = Init::default();
        let mut lstm = Lstm::new(LstmConfig::new(20, 9), init, Stream::new(1, "t")).unwrap();
        lstm.map(|tensor| {
            let tensor = tensor.detach().to_kind(Kind::Double);
            tensor.set_requires_grad(true)
        });
        let texts = 3 * BLOCK as i64;
        let x = random::normal(&[texts, longest, 20], Stream::new(2, "t"));
        let x = x.to_kind(Kind::Double).set_requires_grad(true);
        let lengths: Vec<i64> = (0..texts).map(|text| text % (longest + 1)).collect();
        assert!(lengths.iter().filter(|&&length| length > 0).count() > BLOCK);
        let case = (lstm, x, lengths);
        assert_equals_the_plain_engine(&case, 1e-13);
    }
}

#[test]
fn threads_change_no_bit() {
    let case = large(Kind::Float);
    let threads = tch::get_num_threads();
    let of = [1, 2, 3].map(|count| {
        tch::set_num_threads(count);
        everything(&case, Engine::Native)
    });
    tch::set_num_threads(threads);
    for other in &of[1..] {
        assert!(of[0].iter().zip(other).all(|(a, b)| a.equal(b)));
    }
}

/// Few texts through wide layers, whose units the threads share: with everything that can
/// happen inside of a step, in both directions, cut off, and from given states.
#[test]
fn threads_that_share_units_change_no_bit() {
    let lengths = [6, 4, 0, 1];
    let states = |config: &LstmConfig, kind| {
        let rows = config.num_layers * config.directions();
        let state = |number| {
            let state = random::normal(&[rows, 4, config.hidden_size], Stream::new(number, "s"));
            state.to_kind(kind).set_requires_grad(true)
        };
        State {
            h: state(1),
            c: state(2),
        }
    };
    let all = Regularization {
        recurrent_dropout: 0.3,
        candidate_dropout: 0.3,
        zoneout_cell: 0.3,
        zoneout_hidden: 0.3,
        ..Regularization::default()
    };
    for (kind, bidirectional, truncate, inside) in [
        (Kind::Float, false, None, true),
        (Kind::Float, true, Some(2), false),
        (Kind::Double, false, Some(4), true),
    ] {
        let mut config = LstmConfig {
            num_layers: 2,
            bidirectional,
            ..LstmConfig::new(9, 388)
        };
        if inside {
            config.regularization = all;
        }
        let plan = BatchPlan::new(&[6, 4, 0, 1], 6).unwrap();
        let mut lstm = Lstm::new(config, Init::default(), Stream::new(1, "u")).unwrap();
        lstm.map(|tensor| tensor.detach().to_kind(kind).set_requires_grad(true));
        let x = random::normal(&[4, 6, 9], Stream::new(2, "u")).to_kind(kind);
        let x = x.set_requires_grad(true);
        let start = states(&lstm.config, kind);
        for given in [None, Some(&start)] {
            let call = Call {
                lengths: Some(&lengths),
                engine: Engine::Native,
                mode: match inside {
                    true => Mode::Train(Stream::new(3, "u")),
                    false => Mode::Eval,
                },
                truncate,
                state: given,
                ..Call::default()
            };
            let mut of = vec![&x];
            of.extend(given.into_iter().flat_map(|state| [&state.h, &state.c]));
            of.extend(lstm.parameters().into_iter().map(|(_, tensor)| tensor));
            let threads = tch::get_num_threads();
            let made = [1, 2, 4, 6].map(|count| {
                tch::set_num_threads(count);
                let parts = unit_parallelism(count as usize, &plan, &layer_sizes(&lstm.config, 0));
                let expected = i64::from(count) / lstm.config.directions();
                assert_eq!(parts as i64, expected.clamp(1, 4));
                let out = lstm.forward(&x, &call).unwrap();
                let loss = out.output.square().sum(kind) + out.state.c.square().sum(kind);
                let mut all = Tensor::run_backward(&[loss], &of, false, false);
                all.extend([out.output, out.state.h, out.state.c]);
                all
            });
            tch::set_num_threads(threads);
            for other in &made[1..] {
                assert!(made[0].iter().zip(other).all(|(a, b)| a.equal(b)));
            }
        }
    }
}

#[test]
fn without_gradients_the_results_are_the_same_bits() {
    let (lstm, x, lengths) = large(Kind::Float);
    let call = Call {
        lengths: Some(&lengths),
        engine: Engine::Native,
        ..Call::default()
    };
    let kept = lstm.forward(&x, &call).unwrap();
    let bare = tch::no_grad(|| lstm.forward(&x, &call).unwrap());
    assert!(kept.output.requires_grad() && !bare.output.requires_grad());
    assert!(kept.output.equal(&bare.output));
    assert!(kept.state.h.equal(&bare.state.h) && kept.state.c.equal(&bare.state.c));
}

#[test]
fn what_it_has_not_is_refused() {
    let (lstm, x, _) = large(Kind::Float);
    let call = Call {
        engine: Engine::Native,
        ..Call::default()
    };
    let loss = lstm.forward(&x, &call).unwrap().output.sum(Kind::Float);
    let error = Tensor::f_run_backward(&[&loss], &[&x], true, true).unwrap_err();
    assert!(
        error.to_string().contains("no gradients of gradients"),
        "{error}"
    );
    // The graph is whole, and gives the first ones, as often as it is kept.
    let first = Tensor::run_backward(&[&loss], &[&x], true, false);
    let second = Tensor::run_backward(&[&loss], &[&x], false, false);
    assert!(first[0].equal(&second[0]));

    let low = lstm.to_kind(Kind::BFloat16);
    let error = low.forward(&x.to_kind(Kind::BFloat16), &call).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("engine: native computes in f32"),
        "{error}"
    );
}

/// The tests of values and gradients again, in a process for each of the slower
/// instruction sets.
#[test]
fn every_instruction_set_computes_the_same() {
    for name in instruction_sets().into_iter().skip(1) {
        for test in [
            "sigmoid_and_tanh_are_near_the_truth_and_libtorch",
            "in_f64_sigmoid_and_tanh_are_libtorchs",
            "a_batch_of_many_tokens_equals_the_plain_engine",
            "threads_that_share_units_change_no_bit",
            "the_native_engine_drops_what_the_plain_one_drops",
            "values_are_those_of_the_whole_and_the_engines_cut_alike",
            "packed_gives_the_bits_of_the_native_engine",
            "bf16_computes_with_each_weight_rounded_to_the_nearest",
        ] {
            let run = std::process::Command::new(std::env::current_exe().unwrap())
                .arg(test)
                .env(ISA_VARIABLE, name)
                .output()
                .unwrap();
            let told = String::from_utf8_lossy(&run.stdout);
            assert!(told.contains("1 passed"), "{name} {test}: {told}");
        }
    }
}
