//! Tasks, models and profiles against what they are defined to be, and a small study.

use cellway::random;
use serde_json::Value;
use tch::{Device, Kind, Tensor};

use super::*;
use crate::models::{new_rnn, rnn};
use crate::tasks::Batch;

const COPY: Task = Task::Copy(5);
const ADDING: Task = Task::Adding(9);

fn batch(task: Task, number: u64) -> Batch {
    task.batch(3, "train", number, 6)
}

fn mean(tensor: &Tensor) -> f64 {
    tensor.mean(Kind::Double).double_value(&[])
}

fn uniform(shape: &[i64], limit: f64, name: &str) -> Tensor {
    random::uniform(shape, -limit, limit, stream(1, name))
}

/// The class of each row of `[T, B, C]`, all of which are one-hot.
fn classes(input: &Tensor) -> Vec<Vec<i64>> {
    let sum = input.sum_dim_intlist(-1i64, false, Kind::Float);
    assert!(bool::try_from(sum.eq(1.0).all()).unwrap());
    assert!(bool::try_from(input.amax(-1i64, false).eq(1.0).all()).unwrap());
    Vec::<Vec<i64>>::try_from(input.argmax(-1, false).transpose(0, 1)).unwrap()
}

#[test]
fn the_copy_task_asks_for_what_was_shown_first() {
    let Batch { input, target } = batch(COPY, 0);
    assert_eq!(input.size(), [25, 6, 10]);
    assert_eq!(target.size(), [25, 6]);
    let target = Vec::<Vec<i64>>::try_from(target.transpose(0, 1)).unwrap();
    let mut seen = [0; 8];
    for (read, asked) in classes(&input).iter().zip(&target) {
        assert_eq!(read[..10], asked[15..]);
        assert!(read[..10].iter().all(|&symbol| (0..8).contains(&symbol)));
        read[..10]
            .iter()
            .for_each(|&symbol| seen[symbol as usize] += 1);
        // Four blanks, the delimiter, ten blanks: T time steps from the last symbol on.
        assert_eq!(read[10..14], [8; 4]);
        assert_eq!(read[14], 9);
        assert_eq!(read[15..], [8; 10]);
        assert_eq!(asked[..15], [8; 15]);
    }
    assert!(seen.iter().all(|&count| count > 0), "{seen:?}");
}

#[test]
fn the_adding_problem_asks_for_the_sum_of_two_numbers_one_in_each_half() {
    let Batch { input, target } = batch(ADDING, 0);
    assert_eq!((input.size(), target.size()), (vec![9, 6, 2], vec![1, 6]));
    for b in 0..6 {
        let read = Vec::<Vec<f64>>::try_from(input.select(1, b).to_kind(Kind::Double)).unwrap();
        let marked: Vec<usize> = (0..9).filter(|&t| read[t][1] == 1.0).collect();
        assert!(read.iter().all(|step| (0.0..1.0).contains(&step[0])));
        assert_eq!(marked.len(), 2);
        assert!(marked[0] < 4 && marked[1] >= 4);
        let sum: f64 = marked.iter().map(|&t| read[t][0]).sum();
        assert!((sum - target.double_value(&[0, b])).abs() < 1e-6);
    }
}

#[test]
fn a_batch_depends_on_its_number_seed_and_split_alone() {
    for task in [COPY, ADDING] {
        let of = |seed, split, number| task.batch(seed, split, number, 6).input;
        let first = of(3, "train", 7);
        assert_eq!(first, of(3, "train", 7));
        for other in [of(4, "train", 7), of(3, "test", 7), of(3, "train", 8)] {
            assert_ne!(first, other);
        }
        // And a sequence of it not on how many others there are.
        let fewer = task.batch(3, "train", 7, 2).input;
        assert_eq!(fewer, first.narrow(1, 0, 2));
    }
}

/// The baselines against the answers that they are those of, on many sequences.
#[test]
fn the_baselines_are_what_an_answer_without_memory_loses() {
    let sequences = 4000;
    let copy = COPY.batch(3, "train", 0, sequences);
    let blank = Tensor::zeros([25, sequences, 9], (Kind::Double, Device::Cpu));
    // Certain of the blank at first, then equal logits for the eight symbols.
    let _ = blank.narrow(0, 0, 15).narrow(2, 8, 1).fill_(100.0);
    let _ = blank.narrow(0, 15, 10).narrow(2, 8, 1).fill_(-100.0);
    let loss = mean(&COPY.losses(&blank, &copy.target));
    assert!((loss - COPY.baseline()).abs() < 1e-9, "{loss}");
    assert!((COPY.baseline() - 10.0 * 8f64.ln() / 25.0).abs() < 1e-15);
    let answer = blank.narrow(0, 15, 10);
    let answer = mean(&COPY.losses(&answer, &copy.target));
    assert!((answer - 8f64.ln()).abs() < 1e-9);

    let adding = ADDING.batch(3, "train", 0, sequences).to_double();
    let one = Tensor::ones([1, sequences, 1], (Kind::Double, Device::Cpu));
    let loss = mean(&ADDING.losses(&one, &adding.target));
    // The standard deviation of (s - 1)² is 0.197: four standard errors.
    let error = 0.197 / 4000f64.sqrt();
    assert!((loss - 1.0 / 6.0).abs() < 4.0 * error, "{loss}");
    // P(|s - 1| < d) = 1 - (1 - d)².
    let right = mean(&ADDING.right(&one, &adding.target).to_kind(Kind::Double));
    let error = (0.0784f64 * 0.9216 / 4000.0).sqrt();
    assert!((right - 0.0784).abs() < 4.0 * error, "{right}");
}

/// Outputs, and the gradients of the input and every parameter.
fn results(input: &Tensor, parameters: &[Tensor], output: &Tensor) -> Vec<Tensor> {
    let weight = Tensor::arange(output.numel() as i64, (Kind::Double, Device::Cpu)).sin();
    let loss = (output * weight.view_as(output)).sum(Kind::Double);
    let inputs: Vec<&Tensor> = [input].into_iter().chain(parameters).collect();
    let mut all = vec![output.detach()];
    all.extend(Tensor::run_backward(&[loss], &inputs, false, false));
    all
}

#[test]
fn the_rnn_is_that_of_torch() {
    for (t, b, i, h) in [(1, 1, 1, 1), (7, 3, 4, 5), (40, 2, 3, 16)] {
        // Larger than PyTorch's, for tanh to bend.
        let parameters = new_rnn(i, h, stream(t as u64, "rnn"))
            .map(|tensor| (tensor.detach().to_kind(Kind::Double) * 2.0).set_requires_grad(true));
        let input = uniform(&[t, b, i], 2.0, "input").set_requires_grad(true);
        let ours = Tensor::stack(&rnn(&parameters, &input), 0);
        let start = Tensor::zeros([1, b, h], (Kind::Double, Device::Cpu));
        let (torch, _) = input.rnn_tanh(&start, &parameters, true, 1, 0.0, true, false, false);
        let ours = results(&input, &parameters, &ours);
        let torch = results(&input, &parameters, &torch);
        for (k, (ours, torch)) in ours.iter().zip(&torch).enumerate() {
            assert_eq!(ours.size(), torch.size());
            let scale = torch.abs().max().double_value(&[]).max(1.0);
            let error = (ours - torch).abs().max().double_value(&[]) / scale;
            assert!(error < 1e-13, "T = {t}, result {k}: {error}");
        }
    }
}

#[test]
fn new_parameters_of_the_rnn_are_those_of_pytorch() {
    let parameters = new_rnn(10, 64, stream(3, "rnn"));
    let shapes = parameters.each_ref().map(Tensor::size);
    assert_eq!(shapes, [vec![64, 10], vec![64, 64], vec![64], vec![64]]);
    for tensor in &parameters {
        let largest = tensor.abs().max().double_value(&[]);
        assert!(largest <= 0.125 && largest > 0.11, "{largest}");
    }
}

fn model(kind: ModelKind) -> Model {
    Model::new(kind, COPY, 6, stream(5, "test")).unwrap()
}

#[test]
fn models_differ_only_in_where_their_biases_start() {
    let [_, zero, one, chrono] = ModelKind::ALL.map(|kind| model(kind).parameters());
    let get = |of: &[(String, Tensor)], name: &str| {
        let (_, tensor) = of.iter().find(|(other, _)| other == name).unwrap();
        tensor.shallow_clone()
    };
    for (name, tensor) in &zero {
        for other in [&one, &chrono] {
            match name.as_str() {
                "bias_ih_l0" => assert!(!tensor.equal(&get(other, name))),
                "bias_hh_l0" => {}
                _ => assert!(tensor.equal(&get(other, name)), "{name}"),
            }
        }
    }
    let bias = |of: &[(String, Tensor)], gate: i64| {
        let block = get(of, "bias_ih_l0").narrow(0, 6 * gate, 6);
        Vec::<f32>::try_from(block).unwrap()
    };
    assert_eq!(bias(&zero, 1), [0.0; 6]);
    assert_eq!(bias(&one, 1), [1.0; 6]);
    let longest = (COPY.steps() as f32 - 1.0).ln();
    for (i, f) in bias(&chrono, 0).iter().zip(&bias(&chrono, 1)) {
        assert!(*i == -f && (0.0..=longest).contains(f), "{i} {f}");
    }
}

#[test]
fn the_states_are_those_that_are_trained() {
    for kind in ModelKind::ALL {
        let (model, batch) = (model(kind).to_double(), batch(COPY, 1).to_double());
        let states = model.states(&batch.input).unwrap();
        let outputs: Vec<Tensor> = states.h.iter().map(|h| model.head(h)).collect();
        let trained = model.outputs(&batch.input, 25).unwrap();
        let error = (Tensor::stack(&outputs, 0) - trained).abs().max();
        assert!(error.double_value(&[]) < 1e-12, "{kind:?}: {error:?}");
        let gates = if kind == ModelKind::Rnn { 0 } else { 25 };
        assert_eq!((states.c.len(), states.f.len()), (gates, gates));
    }
}

/// The gradient with respect to a state is the slope of the loss over a change of that
/// state and of everything that follows from it.
#[test]
fn gradients_of_states_are_total_derivatives() {
    let at = 3;
    let distance = COPY.steps() - 1 - at;
    for kind in ModelKind::ALL {
        let model = model(kind);
        let batch = COPY.batch(3, "train", 2, 1);
        let profile = GradientProfile::of(&model, COPY, &batch).unwrap();
        let index = profile.distance.iter().position(|&d| d == distance);
        let (model, batch) = (model.to_double(), batch.to_double());
        for (cell, norms) in [(false, &profile.h), (true, &profile.c)] {
            if norms.is_empty() {
                continue;
            }
            // The loss is rounded to 1e-16 and the smallest slope is 5e-8: a smaller step
            // would measure rounding.
            let step = 1e-3;
            let slope = |unit: i64| {
                let of = |change: f64| loss_with(&model, &batch, at, cell, unit, change);
                (of(step) - of(-step)) / (2.0 * step)
            };
            let expected = (0..6).map(|unit| slope(unit).powi(2)).sum::<f64>().sqrt();
            let found = norms[index.unwrap()];
            let error = (found - expected).abs() / expected;
            assert!(
                expected > 1e-9 && error < 1e-4,
                "{kind:?} {cell}: {found} {expected}"
            );
        }
    }
}

/// The loss of the answer of the copy task if one number of `h_t` or `C_t` is changed. The
/// time steps are written out here, so that this shares nothing with what it checks.
fn loss_with(model: &Model, batch: &Batch, at: i64, cell: bool, unit: i64, change: f64) -> f64 {
    let _no_grad = tch::no_grad_guard();
    let parameters = model.parameters();
    let get = |name: &str| &parameters.iter().find(|(n, _)| n == name).unwrap().1;
    let mut h = Tensor::zeros([1, 6], (Kind::Double, Device::Cpu));
    let mut c = h.copy();
    let mut outputs = Vec::new();
    for t in 0..COPY.steps() {
        let sum = batch.input.get(t).matmul(&get("weight_ih_l0").tr())
            + h.matmul(&get("weight_hh_l0").tr())
            + get("bias_ih_l0")
            + get("bias_hh_l0");
        let changed = |mut state: Tensor, now: bool| {
            if now && t == at {
                state = state.copy();
                let _ = state.narrow(1, unit, 1).g_add_scalar_(change);
            }
            state
        };
        if sum.size()[1] == 6 {
            h = changed(sum.tanh(), !cell);
        } else {
            let gate = |n: i64| sum.narrow(1, 6 * n, 6);
            c = gate(1).sigmoid() * c + gate(0).sigmoid() * gate(2).tanh();
            c = changed(c, cell);
            h = changed(gate(3).sigmoid() * c.tanh(), !cell);
        }
        outputs.push(model.head(&h));
    }
    mean(&COPY.losses(&Tensor::stack(&outputs[15..], 0), &batch.target))
}

#[test]
fn what_the_gates_let_pass_is_their_product() {
    let (model, batch) = (model(ModelKind::LstmChrono), batch(COPY, 1));
    let profile = GradientProfile::of(&model, COPY, &batch).unwrap();
    let states = model.to_double().states(&batch.to_double().input).unwrap();
    let f = Tensor::stack(&states.f, 0); // [T, B, H]
    assert_eq!((profile.forget_mean[0], profile.forget_max[0]), (1.0, 1.0));
    for (index, &distance) in profile.distance.iter().enumerate().skip(1) {
        let later = f.narrow(0, 25 - distance, distance);
        let product = later.prod_dim_int(0, false, Kind::Double);
        let units = product.mean_dim(0i64, false, Kind::Double);
        let most = units.max().double_value(&[]);
        let near = |found: f64, expected: f64| (found / expected - 1.0).abs() < 1e-5;
        assert!(
            near(profile.forget_mean[index], mean(&product)),
            "{distance}"
        );
        assert!(near(profile.forget_max[index], most), "{distance}");
    }
    assert_eq!(profile.distance, (0..25).collect::<Vec<_>>());
    assert!(profile.c.len() == 25 && profile.h.len() == 25);
}

#[test]
fn long_profiles_keep_both_ends() {
    let task = Task::Adding(500);
    let model = Model::new(ModelKind::Rnn, task, 2, stream(5, "test")).unwrap();
    let batch = task.batch(3, "test", 0, 1);
    let profile = GradientProfile::of(&model, task, &batch).unwrap();
    assert_eq!((profile.distance.len(), profile.h.len()), (128, 128));
    assert_eq!((profile.distance[0], profile.distance[127]), (0, 499));
    assert!(profile.distance.is_sorted_by(|a, b| a < b));
    let profile = GradientProfile {
        distance: (0..25).collect(),
        h: (0..25).map(|n| 0.1f64.powi(n)).collect(),
        ..GradientProfile::default()
    };
    let decades = profile.decades(COPY, &profile.h).unwrap();
    assert!((decades + 15.0).abs() < 1e-9, "{decades}");
    assert_eq!(profile.decades(COPY, &profile.c), None);
}

#[test]
fn verdicts_know_the_error_of_the_sample() {
    let of = |share: f64, error: f64| {
        let baseline = COPY.baseline();
        verdict(share * baseline, error * baseline, baseline)
    };
    assert_eq!(of(0.1, 0.02), "solves the task");
    assert_eq!(of(0.93, 0.02), "gets below the baseline");
    assert_eq!(of(0.95, 0.02), "stays at the baseline");
    assert_eq!(of(1.05, 0.02), "stays at the baseline");
    assert_eq!(of(1.07, 0.02), "ends above the baseline");
    // However small the error is, 1 % is nothing.
    assert_eq!(of(0.995, 0.0), "stays at the baseline");
    assert_eq!(of(0.985, 0.0), "gets below the baseline");
    assert_eq!(of(f64::NAN, 0.0), "ends above the baseline");
}

fn arguments(more: &[&str]) -> Args {
    Args::parse_from([&["memory_study", "--quick", "--out"], more].concat())
}

#[test]
fn the_numbers_do_not_depend_on_how_many_trainings_run_at_a_time() {
    let args = arguments(&["unused", "--hidden", "4", "--training-steps", "3"]);
    let of = |workers| study(&args, workers).unwrap();
    let one = of(1);
    let order: Vec<_> = one.iter().map(|found| (found.task, found.model)).collect();
    let of_task = |task| ModelKind::ALL.map(|model| (task, model));
    assert_eq!(order, [of_task(COPY), of_task(ADDING)].concat());
    assert_eq!(one, of(3));
}

/// All numbers of a value; anything that is not finite would be `null`.
fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Null => vec![f64::NAN],
        Value::Number(number) => number.as_f64().into_iter().collect(),
        Value::Array(all) => all.iter().flat_map(numbers).collect(),
        Value::Object(all) => all.values().flat_map(numbers).collect(),
        Value::Bool(_) | Value::String(_) => Vec::new(),
    }
}

#[test]
fn a_quick_study_leaves_its_numbers_a_page_and_pictures() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("study");
    let args = arguments(&[out.to_str().unwrap()]);
    run(&args).unwrap();
    let again = run(&args).unwrap_err().to_string();
    assert!(again.contains("study.json: is there already"), "{again}");

    let text = fs::read_to_string(out.join("study.json")).unwrap();
    let study: Value = serde_json::from_str(&text).unwrap();
    assert!(numbers(&study).iter().all(|number| number.is_finite()));
    assert_eq!(study["settings"]["hidden"], 16);
    let outcomes = study["outcomes"].as_array().unwrap();
    assert_eq!(outcomes.len(), 2 * 4);
    for outcome in outcomes {
        let number = |key: &str| outcome[key].as_f64().unwrap();
        let share = number("test_loss") / number("baseline");
        let (adding, lstm) = (
            outcome["task"]["adding"].is_u64(),
            outcome["model"] != "rnn",
        );
        let baseline = if adding { ADDING } else { COPY }.baseline();
        assert_eq!(number("baseline"), baseline);
        // Adding 9 numbers is learned in these training steps by every LSTM; to copy is
        // learned by none, and nothing is far above its baseline.
        match (adding, lstm) {
            (true, true) => assert!(share < 0.3, "{outcome}"),
            (true, false) => assert!(share < 1.3, "{outcome}"),
            (false, _) => assert!((0.5..1.3).contains(&share), "{outcome}"),
        }
        assert!(number("test_error") > 0.0 && number("test_error") < number("test_loss"));
        assert_eq!(outcome["curve"].as_array().unwrap().len(), 100);
        assert_eq!(outcome["curve"][99][0], outcome["training_steps"]);
        for when in ["before", "after"] {
            let list = |key: &str| numbers(&outcome[when][key]);
            let distances = list("distance").len();
            assert_eq!(distances, if adding { 9 } else { 25 });
            assert!(list("h").len() == distances && list("h").iter().all(|&norm| norm > 0.0));
            for key in ["c", "forget_mean", "forget_max"] {
                assert_eq!(list(key).len(), if lstm { distances } else { 0 });
            }
        }
    }

    let page = fs::read_to_string(out.join("index.html")).unwrap();
    for part in ["copy-5: baseline 0.83178", "adding-9", "LSTM, chrono"] {
        assert!(page.contains(part), "{part} is not on the page");
    }
    assert!(page.ends_with("</html>\n"));
    // For each task: the losses, three profiles before and after, four keys.
    assert_eq!(page.matches("<svg class=\"chart\"").count(), 2 * 7);
    assert_eq!(page.matches("<svg class=\"key-mark\"").count(), 2 * 4);
    for beyond in ["<script", "src=", "href=", "@import", "url(", "NaN", "inf"] {
        assert!(!page.contains(beyond), "{beyond} is on the page");
    }
    for picture in ["copy-5.png", "adding-9.png"] {
        let bytes = fs::read(out.join(picture)).unwrap();
        assert!(bytes.starts_with(b"\x89PNG"), "{picture}");
    }
}

#[test]
fn impossible_arguments_are_refused() {
    let fails = |more: &[&str], says: &str| {
        let all = [&["memory_study", "--out", "unused"], more].concat();
        let error = Args::try_parse_from(all).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    };
    fails(&["--hidden", "0"], "1..=4096");
    fails(&["--training-steps", "0"], "--training-steps");
    fails(&["--steps", "3"], "4..=100000");
    fails(&["--task", "sorting"], "sorting");
    assert!(Args::try_parse_from(["memory_study"]).is_err());
}
