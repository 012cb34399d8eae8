//! What is recorded, against the equations, against the other engine, and against
//! what a gradient means.

use tch::{Kind, Tensor};

use super::*;
use crate::lstm::{Init, LstmConfig, State};
use crate::model::{ModelConfig, Pooling};
use crate::random::Stream;
use crate::text::{Tokenizer, Vocabulary};

/// f64, batch first, of these layers, directions and projection.
fn lstm(num_layers: i64, bidirectional: bool, proj_size: i64) -> Lstm {
    let config = LstmConfig {
        num_layers,
        bidirectional,
        proj_size,
        batch_first: true,
        ..LstmConfig::new(3, 4)
    };
    let start = Lstm::new(config.clone(), Init::default(), Stream::new(3, "trace")).unwrap();
    let parameters = start.parameters();
    Lstm::from_tensors(config, |wanted| {
        let (_, tensor) = parameters.iter().find(|(name, _)| name == wanted).unwrap();
        // Larger than they start, so that the gates are not all near one half.
        let tensor = tensor.detach().to_kind(Kind::Double) * 2.0;
        Ok(tensor.set_requires_grad(true))
    })
    .unwrap()
}

/// `[T, 3]` f64.
fn sequence(time: i64) -> Tensor {
    let at = Tensor::arange(time * 3, (Kind::Double, Device::Cpu));
    (at * 0.7 + 0.3).sin().view([time, 3])
}

fn close(a: &Tensor, b: &Tensor, bound: f64) {
    assert_eq!(a.size(), b.size());
    let apart = (a - b).abs().max().double_value(&[]);
    assert!(apart <= bound, "{apart:e}");
}

const SHAPES: [(i64, bool, i64); 4] = [(1, false, 0), (2, true, 0), (2, true, 2), (1, true, 0)];

#[test]
fn the_worked_numbers_give_the_gates_and_states() {
    for (layers, both, projection) in SHAPES {
        let lstm = lstm(layers, both, projection);
        let recording = vectors(&lstm, &sequence(5)).unwrap();
        assert_eq!(
            recording.directions.len() as i64,
            layers * (1 + i64::from(both))
        );
        for one in &recording.directions {
            let sums = (&one.from_input + &one.from_hidden).chunk(4, 1);
            let (f, o) = (sums[1].sigmoid(), sums[3].sigmoid());
            let (i, g) = (sums[0].sigmoid(), sums[2].tanh());
            let c = &f * one.before() + &i * &g;
            for (ours, theirs) in [
                (&i, &one.trace.i),
                (&f, &one.trace.f),
                (&g, &one.trace.g),
                (&o, &one.trace.o),
                (&c, &one.trace.c),
            ] {
                // The same products in the same order: to the bit.
                close(ours, theirs, 0.0);
            }
            if projection == 0 {
                close(&(o * c.tanh()), &one.trace.h, 0.0);
            }
            // No state before the step that is read first.
            let first = one.trace.c.size()[0] - 1 - one.last();
            assert_eq!(one.before().get(first).abs().max().double_value(&[]), 0.0);
        }
    }
}

#[test]
fn gradients_of_states_are_those_of_reading_on_from_them() {
    // The other engine, and the state as an input: nothing of the recording is used.
    let lstm = lstm(1, false, 0);
    let x = sequence(6);
    let recording = vectors(&lstm, &x).unwrap();
    let one = &recording.directions[0];
    for t in 0..5 {
        let leaf = |rows: &Tensor| rows.get(t).view([1, 1, -1]).copy().set_requires_grad(true);
        let state = State {
            h: leaf(&one.trace.h),
            c: leaf(&one.trace.c),
        };
        let call = Call {
            state: Some(&state),
            engine: Engine::Fused,
            ..Call::default()
        };
        let rest = x.narrow(0, t + 1, 5 - t).unsqueeze(0);
        let y = lstm
            .forward(&rest, &call)
            .unwrap()
            .state
            .h
            .sum(Kind::Double);
        y.backward();
        close(&state.h.grad().view([-1]), &one.gradient_h.get(t), 1e-12);
        // c reaches y through h of its own step, too.
        let through_h = state.h.grad().view([-1])
            * one.trace.o.get(t)
            * (1.0 - one.trace.c.get(t).tanh().square());
        let all = state.c.grad().view([-1]) + through_h;
        close(&all, &one.gradient_c.get(t), 1e-12);
    }
}

#[test]
fn the_gradient_of_the_input_is_a_difference_quotient() {
    let lstm = lstm(2, true, 0);
    let x = sequence(4);
    let recording = vectors(&lstm, &x).unwrap();
    let y = |x: &Tensor| vectors(&lstm, x).unwrap().value;
    const STEP: f64 = 1e-6;
    for (row, column) in [(0, 0), (2, 1), (3, 2)] {
        let moved = |by: f64| {
            let x = x.copy();
            let _ = x.get(row).get(column).g_add_scalar_(by);
            y(&x)
        };
        let slope = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
        let ours = recording.gradient_input.double_value(&[row, column]);
        assert!((slope - ours).abs() < 1e-8, "{slope} {ours}");
    }
}

#[test]
fn the_highway_is_the_product_of_later_forget_gates() {
    let recording = vectors(&lstm(1, true, 0), &sequence(5)).unwrap();
    for one in &recording.directions {
        for t in 0..5_i64 {
            let later: Vec<i64> = if one.reverse {
                (0..t).collect()
            } else {
                (t + 1..5).collect()
            };
            for unit in 0..4 {
                let f = |&t: &i64| one.trace.f.double_value(&[t, unit]);
                let product: f64 = later.iter().map(f).product();
                let ours = one.highway.double_value(&[t, unit]);
                assert!((product - ours).abs() < 1e-15, "{product} {ours}");
            }
        }
    }
}

#[test]
fn where_the_hidden_state_is_not_read_the_highway_is_the_gradient() {
    let lstm = lstm(1, false, 0);
    for (name, tensor) in lstm.parameters() {
        if name.starts_with("weight_hh") {
            let _ = tch::no_grad(|| tensor.shallow_clone().zero_());
        }
    }
    let recording = vectors(&lstm, &sequence(6)).unwrap();
    let one = &recording.directions[0];
    let carried = &one.highway * one.gradient_c.get(5).unsqueeze(0);
    close(&carried, &one.gradient_c, 1e-15);
}

#[test]
fn integrated_gradients_sum_up_to_the_change() {
    let lstm = lstm(2, true, 0);
    let recording = vectors(&lstm, &sequence(7)).unwrap();
    let zeros = vectors(&lstm, &sequence(7).zeros_like()).unwrap();
    let integrated = &recording.integrated;
    assert!((integrated.baseline - zeros.value).abs() < 1e-12);
    let change = recording.value - zeros.value;
    let sum: f64 = integrated.steps.iter().sum();
    assert!((sum - change).abs() < 0.01 * change.abs(), "{sum} {change}");
    assert!((integrated.error - (sum - change).abs()).abs() < 1e-12);
    // From nothing to nothing there is nothing to share.
    assert!(zeros.integrated.steps.iter().all(|&step| step == 0.0));
}

#[test]
fn decisive_units_come_first() {
    let recording = vectors(&lstm(2, true, 0), &sequence(5)).unwrap();
    let places = recording.decisive(usize::MAX);
    assert_eq!(places.len(), 16);
    let by =
        |place: &UnitIndex| recording.directions[place.direction].decisive[place.unit as usize];
    assert!(places.windows(2).all(|two| by(&two[0]) >= by(&two[1])));
    let place = places[0];
    let one = &recording.directions[place.direction];
    let at = |tensor: &Tensor, t| tensor.double_value(&[t, place.unit]);
    let sum: f64 = (0..5)
        .map(|t| (at(&one.gradient_c, t) * at(&one.trace.i, t) * at(&one.trace.g, t)).abs())
        .sum();
    assert!((sum - by(&place)).abs() < 1e-12);
    assert_eq!(recording.decisive(3), places[..3]);
}

#[test]
fn a_window_shows_both_ends() {
    assert_eq!(shown(3, 4), [0, 1, 2]);
    assert_eq!(shown(4, 4), [0, 1, 2, 3]);
    assert_eq!(shown(9, 4), [0, 1, 7, 8]);
    assert_eq!(shown(9, 5), [0, 1, 2, 7, 8]);
}

fn model(change: impl Fn(&mut ModelConfig)) -> Model {
    let words = ["a", "good", "bad", "film"].map(str::to_owned).to_vec();
    let tokenizer = Tokenizer::basic_english(&Vocabulary::build([words], 1, None)).unwrap();
    let labels = ["neg", "pos"].map(str::to_owned);
    let mut config = ModelConfig::new(tokenizer.vocab_size() as i64, 5, 6, &labels);
    change(&mut config);
    Model::new(config, tokenizer, Init::default(), Stream::new(1, "t")).unwrap()
}

#[test]
fn the_path_is_the_head_on_the_running_state() {
    let model = model(|_| ());
    let recording = text(&model, "a good film", None, 10).unwrap();
    let words = recording.words.unwrap();
    assert_eq!(words.tokens, ["a", "good", "film"]);
    let h = &recording.directions[0].trace.h;
    let parameters = model.parameters();
    let head = |name: &str| {
        parameters
            .iter()
            .find(|(known, _)| known == name)
            .unwrap()
            .1
    };
    let logits = h.linear(head("head.weight"), Some(head("head.bias")));
    let running = model.probabilities(&logits);
    for t in 0..3 {
        for class in 0..2 {
            let head = running.double_value(&[t, class as i64]);
            assert!((words.path.at(t, class).unwrap() - head).abs() < 1e-6);
        }
    }
    assert_eq!(words.probabilities, words.path.steps[2].clone().unwrap());
    let moved: f64 = (0..3).map(|t| words.path.change(t, 1).unwrap()).sum();
    assert!((words.path.start[1] + moved - words.probabilities[1]).abs() < 1e-6);
    // The logit of the predicted class.
    let margin = (recording.value.exp() / (1.0 + recording.value.exp())
        - words.probabilities[words.predicted])
        .abs();
    assert!(margin < 1e-6, "{margin}");
}

#[test]
fn texts_are_read_as_the_model_reads_them() {
    let model = model(|config| {
        config.max_tokens = Some(4);
        config.bidirectional = true;
        config.pooling = Pooling::All;
    });
    let recording = text(&model, "a strange film is bad", Some(0), 2).unwrap();
    let words = recording.words.unwrap();
    assert_eq!((words.tokens.len(), words.cut), (4, 1));
    assert_eq!(words.known, [true, false, true, false]);
    assert!(recording.target.contains("neg"), "{}", recording.target);
    // A window of two: the first and the last step, and what stands before them.
    let known: Vec<bool> = words.path.steps.iter().map(Option::is_some).collect();
    assert_eq!(known, [true, false, true, true]);
    assert_eq!(words.path.change(2, 0), None);
    assert!(words.path.change(3, 0).is_some());
    let unknown = text(&model, "zzz", None, 9).unwrap().words.unwrap();
    assert_eq!(unknown.known, [false]);
    assert!(text(&model, " ", None, 9).is_err());
}

#[test]
fn both_logits_of_a_sigmoid_head_are_one_number_with_two_signs() {
    let model = model(|_| ());
    let of = |class| text(&model, "a good film", Some(class), 9).unwrap();
    let (negative, positive) = (of(0), of(1));
    assert_eq!(negative.value, -positive.value);
    close(&negative.gradient_input, &-positive.gradient_input, 0.0);
}

#[test]
fn what_cannot_be_recorded_is_refused() {
    let lstm = lstm(1, false, 0);
    for x in [
        Tensor::zeros([0, 3], (Kind::Double, Device::Cpu)),
        sequence(2).view([1, 2, 3]),
    ] {
        let error = vectors(&lstm, &x).unwrap_err().to_string();
        assert!(error.contains("[T, I]"), "{error}");
    }
    let wide = Tensor::zeros([2, 4], (Kind::Double, Device::Cpu));
    assert!(
        vectors(&lstm, &wide)
            .unwrap_err()
            .to_string()
            .contains("I = 3")
    );
    let long = Tensor::zeros([4_000_000, 3], (Kind::Double, Device::Cpu));
    assert!(
        vectors(&lstm, &long)
            .unwrap_err()
            .to_string()
            .contains("cut it")
    );
    let endless = sequence(2) * f64::INFINITY;
    assert!(vectors(&lstm, &endless).is_err());
}
