//! Tasks and gradients, small.

mod images;
mod reading;
mod studies;

use tch::{Device, Kind, Tensor};

use super::network::Network;
use super::*;
use crate::random::Stream;

const COPY: Task = Task::Copy { blanks: 5 };
const ADDING: Task = Task::Adding { length: 9 };

fn setting(hidden: i64) -> Setting {
    Setting {
        seed: 3,
        hidden,
        batch: 8,
        learning_rate: 0.02,
        rnn_learning_rate: 0.01,
        warmup: 10,
        clip_norm: 1.0,
        test: 60,
        looked_into: 4,
    }
}

fn batch(task: Task, number: u64) -> Batch {
    task.batch(None, 3, Split::Train, number, 6).unwrap()
}

/// The class that each row of `[T, B, C]` has, -1 where it is not one-hot.
fn classes(input: &Tensor) -> Vec<Vec<i64>> {
    let sum = input.sum_dim_intlist(-1i64, false, Kind::Float);
    assert!(bool::try_from(sum.eq(1.0).all()).unwrap());
    assert!(bool::try_from(input.amax(-1i64, false).eq(1.0).all()).unwrap());
    let classes = input.argmax(-1, false).transpose(0, 1); // [B, T]
    Vec::<Vec<i64>>::try_from(classes).unwrap()
}

#[test]
fn the_copy_task_asks_for_what_was_said_at_first() {
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
        // Four blanks, the delimiter, ten blanks: T steps from the last symbol on.
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
        let of = |seed, split, number| task.batch(None, seed, split, number, 6).unwrap().input;
        let first = of(3, Split::Train, 7);
        assert_eq!(first, of(3, Split::Train, 7));
        for other in [
            of(4, Split::Train, 7),
            of(3, Split::Test, 7),
            of(3, Split::Train, 8),
        ] {
            assert_ne!(first, other);
        }
        // And a sequence of it not on how many others there are.
        let fewer = task.batch(None, 3, Split::Train, 7, 2).unwrap().input;
        assert_eq!(fewer, first.narrow(1, 0, 2));
    }
}

/// The baselines against the answers that they are those of, on many sequences.
#[test]
fn the_baselines_are_what_an_answer_without_memory_loses() {
    let sequences = 4000;
    let copy = COPY.batch(None, 3, Split::Train, 0, sequences).unwrap();
    let blank = Tensor::zeros([25, sequences, 9], (Kind::Double, Device::Cpu));
    // Sure of the blank at first, then the same for each of eight.
    let _ = blank.narrow(0, 0, 15).narrow(2, 8, 1).fill_(100.0);
    let _ = blank.narrow(0, 15, 10).narrow(2, 8, 1).fill_(-100.0);
    let loss = COPY.loss(&blank, &copy.target).double_value(&[]);
    assert!((loss - COPY.baseline()).abs() < 1e-9, "{loss}");
    assert!((COPY.baseline() - 10.0 * 8f64.ln() / 25.0).abs() < 1e-15);
    let answer = COPY.answer_losses(&blank, &copy.target).mean(Kind::Double);
    assert!((answer.double_value(&[]) - 8f64.ln()).abs() < 1e-9);

    let adding = ADDING.batch(None, 3, Split::Train, 0, sequences).unwrap();
    let one = Tensor::ones([1, sequences, 1], (Kind::Double, Device::Cpu));
    let target = adding.target.to_kind(Kind::Double);
    let loss = ADDING.loss(&one, &target).double_value(&[]);
    // The deviation of (s - 1)² is 0.197: four standard errors.
    assert!(
        (loss - 1.0 / 6.0).abs() < 4.0 * 0.197 / 4000f64.sqrt(),
        "{loss}"
    );
    let right = ADDING
        .right(&one, &target)
        .mean(Kind::Double)
        .double_value(&[]);
    assert!(
        (right - 0.0784).abs() < 4.0 * (0.0784f64 * 0.9216 / 4000.0).sqrt(),
        "{right}"
    );
}

/// A network in f64 whose gates are not all the same.
fn network(model: ModelKind, task: Task) -> Network {
    let network = Network::new(model, task, 6, Stream::new(5, "test")).unwrap();
    network.to(Device::Cpu, Kind::Double).unwrap()
}

#[test]
fn step_by_step_is_what_is_trained() {
    for model in ModelKind::ALL {
        let network = network(model, COPY);
        let batch = batch(COPY, 1).to(Device::Cpu, Kind::Double);
        let states = network.states(&batch.input).unwrap();
        let outputs: Vec<Tensor> = states.h.iter().map(|h| network.head(h)).collect();
        let trained = network.outputs(&batch.input, 25).unwrap();
        let error = (Tensor::stack(&outputs, 0) - trained)
            .abs()
            .max()
            .double_value(&[]);
        assert!(error < 1e-12, "{model:?}: {error}");
        assert_eq!(states.c.len(), if model.is_lstm() { 25 } else { 0 });
    }
}

/// The gradient that a state gets is the slope of the loss over a change of that state
/// and of all that follows from it.
#[test]
fn gradients_of_states_are_total_derivatives() {
    let (task, at) = (COPY, 3);
    let distance = task.steps() - 1 - at as i64;
    for model in ModelKind::ALL {
        let network = network(model, task);
        let one = task.batch(None, 3, Split::Train, 2, 1).unwrap();
        let batch = one.to(Device::Cpu, Kind::Double);
        let memory = Memory::of(&network, task, &batch).unwrap();
        let place = memory.distance.iter().position(|&d| d == distance).unwrap();

        for cell in [false, true]
            .into_iter()
            .take(if model.is_lstm() { 2 } else { 1 })
        {
            let step = 1e-6;
            let slope = |unit: i64| {
                let of = |change: f64| loss_with(&network, task, &batch, at, cell, unit, change);
                (of(step) - of(-step)) / (2.0 * step)
            };
            let expected = (0..6).map(|unit| slope(unit).powi(2)).sum::<f64>().sqrt();
            let found = if cell {
                memory.c[place]
            } else {
                memory.h[place]
            };
            let error = (found - expected).abs() / expected;
            assert!(
                expected > 1e-9 && error < 1e-4,
                "{model:?} {cell}: {found} {expected}"
            );
        }
    }
}

/// The loss of the answer if one number of `h_t` or `C_t` is another. The step is done
/// by hand, so that this shares nothing with what it is held against.
fn loss_with(
    network: &Network,
    task: Task,
    batch: &Batch,
    at: usize,
    cell: bool,
    unit: i64,
    change: f64,
) -> f64 {
    let _no_grad = tch::no_grad_guard();
    let parameters = network.parameters();
    let get = |name: &str| &parameters.iter().find(|(n, _)| n == name).unwrap().1;
    let mut h = Tensor::zeros([1, 6], (Kind::Double, Device::Cpu));
    let mut c = h.copy();
    let mut outputs = Vec::new();
    for t in 0..task.steps() {
        let sum = batch.input.get(t).matmul(&get("weight_ih_l0").tr())
            + h.matmul(&get("weight_hh_l0").tr())
            + get("bias_ih_l0")
            + get("bias_hh_l0");
        let moved = |mut state: Tensor, now: bool| {
            if now && t as usize == at {
                state = state.copy();
                let _ = state.narrow(1, unit, 1).g_add_scalar_(change);
            }
            state
        };
        if sum.size()[1] == 6 {
            h = moved(sum.tanh(), !cell);
        } else {
            let gate = |n: i64| sum.narrow(1, 6 * n, 6);
            c = gate(1).sigmoid() * c + gate(0).sigmoid() * gate(2).tanh();
            c = moved(c, cell);
            h = moved(gate(3).sigmoid() * c.tanh(), !cell);
        }
        outputs.push(network.head(&h));
    }
    let losses = task.answer_losses(&Tensor::stack(&outputs, 0), &batch.target);
    losses.double_value(&[0])
}

#[test]
fn what_the_gates_let_pass_is_their_product() {
    let network = network(ModelKind::LstmChrono, COPY);
    let batch = batch(COPY, 1).to(Device::Cpu, Kind::Double);
    let memory = Memory::of(&network, COPY, &batch).unwrap();
    let f = Tensor::stack(&network.states(&batch.input).unwrap().f, 0); // [T, B, H]
    assert_eq!((memory.forget_mean[0], memory.forget_most[0]), (1.0, 1.0));
    for (place, &distance) in memory.distance.iter().enumerate().skip(1) {
        let behind = f.narrow(0, 25 - distance, distance);
        let product = behind.prod_dim_int(0, false, Kind::Double);
        let mean = product.mean(Kind::Double).double_value(&[]);
        let units = product.mean_dim(0i64, false, Kind::Double);
        let most = units.max().double_value(&[]);
        let near = |found: f64, expected: f64| (found / expected - 1.0).abs() < 1e-5;
        assert!(near(memory.forget_mean[place], mean), "{distance}");
        assert!(near(memory.forget_most[place], most), "{distance}");
    }
    // Of a forget bias that is large, nothing is lost; of 0, half at each step.
    assert_eq!(memory.distance, (0..25).collect::<Vec<_>>());
    assert!(memory.c.len() == 25 && memory.h.len() == 25);
}

#[test]
fn models_differ_only_in_where_their_biases_start() {
    let of = |model| {
        Network::new(model, COPY, 6, Stream::new(5, "test"))
            .unwrap()
            .parameters()
    };
    let [zero, one, chrono] = [
        ModelKind::LstmForget0,
        ModelKind::LstmForget1,
        ModelKind::LstmChrono,
    ]
    .map(of);
    for (name, tensor) in &zero {
        for other in [&one, &chrono] {
            let found = &other.iter().find(|(n, _)| n == name).unwrap().1;
            match name.as_str() {
                "bias_ih_l0" => assert!(!tensor.equal(found)),
                "bias_hh_l0" => {}
                _ => assert!(tensor.equal(found), "{name}"),
            }
        }
    }
    let bias = |of: &[(String, Tensor)], name: &str, gate: i64| {
        let tensor = &of.iter().find(|(n, _)| n == name).unwrap().1;
        Vec::<f32>::try_from(tensor.narrow(0, 6 * gate, 6)).unwrap()
    };
    assert_eq!(bias(&zero, "bias_ih_l0", 1), [0.0; 6]);
    assert_eq!(bias(&one, "bias_ih_l0", 1), [1.0; 6]);
    let (i, f) = (
        bias(&chrono, "bias_ih_l0", 0),
        bias(&chrono, "bias_ih_l0", 1),
    );
    let longest = (COPY.t_max() as f32 - 1.0).ln();
    for (i, f) in i.iter().zip(&f) {
        assert!(*i == -f && (0.0..=longest).contains(f), "{i} {f}");
    }
}

#[test]
fn a_memory_that_is_long_enough_beats_the_baseline() {
    let lesson = Lesson {
        task: ADDING,
        steps: 600,
    };
    let of = |model| {
        let found = run(&setting(16), &lesson, model, None, Device::Cpu, &mut ());
        found.unwrap().unwrap()
    };
    let outcome = of(ModelKind::LstmChrono);
    assert!(outcome.share() < 0.3, "{outcome:?}");
    assert_eq!(outcome.curve.len(), 100);
    assert_eq!(outcome.curve.last().unwrap().0, 600);
    assert!(outcome.right > 0.15);
    assert!(outcome.test_error > 0.0 && outcome.test_error < outcome.test_loss);
    assert_ne!(Verdict::of(&outcome), Verdict::AtBaseline);
    // Where nothing is learnt, that is said.
    let none = Lesson { steps: 1, ..lesson };
    let mut untrained = run(
        &setting(16),
        &none,
        ModelKind::Rnn,
        None,
        Device::Cpu,
        &mut (),
    )
    .unwrap()
    .unwrap();
    untrained.test_loss = ADDING.baseline();
    assert_eq!(Verdict::of(&untrained), Verdict::AtBaseline);
    assert!(of_loss(&untrained).contains("stays at the baseline"));
}
