//! Each setting of `[train]` and `[schedule]` reaches the step.

use tch::Tensor;

use super::super::*;
use super::Toy;
use crate::data::Limit;
use crate::lstm::Engine;
use crate::train::optim::OptimizerKind;

/// One step of SGD with rate 1 from the same start: how far the parameters
/// whose name starts so moved.
fn moved(toy: &Toy, out: &str, name: &str) -> f64 {
    let before = prepare(&toy.config).unwrap().model;
    let after = toy.run(out).2.model;
    let squares: f64 = before
        .parameters()
        .iter()
        .zip(after.parameters())
        .filter(|((before, _), _)| before.starts_with(name))
        .map(|((_, a), (_, b))| (*a - b).square().sum(tch::Kind::Double).double_value(&[]))
        .sum();
    squares.sqrt()
}

#[test]
fn clipping_and_the_embeddings_rate_reach_the_step() {
    let mut toy = Toy::new();
    toy.config.train.optimizer = OptimizerKind::Sgd;
    toy.config.train.learning_rate = Some(1.0);
    toy.config.train.epochs = 1;
    toy.config.train.batch = Limit::Sentences(1000);
    toy.config.train.clip_norm = None;
    let free = moved(&toy, "free", "");
    toy.config.train.clip_norm = Some(0.01);
    let clipped = moved(&toy, "clipped", "");
    assert!(
        free > 0.02 && (clipped - 0.01).abs() < 1e-5,
        "{free} {clipped}"
    );
    let embedding = moved(&toy, "one", "embedding");
    toy.config.embedding.rate_factor = 0.1;
    let slow = moved(&toy, "tenth", "embedding");
    assert!((slow / embedding - 0.1).abs() < 1e-3, "{slow} {embedding}");
}

#[test]
fn without_their_decay_biases_move_by_the_gradient_alone() {
    let mut toy = Toy::new();
    toy.config.lstm.forget_bias = Some(1.0);
    toy.config.train.optimizer = OptimizerKind::AdamW;
    toy.config.train.learning_rate = Some(1e-9);
    toy.config.train.weight_decay = Some(1e8);
    toy.config.train.epochs = 1;
    toy.config.train.batch = Limit::Sentences(1000);
    let decayed = moved(&toy, "with", "lstm.bias");
    assert!(decayed > 0.1, "{decayed}");
    toy.config.train.decay_biases = false;
    let stayed = moved(&toy, "without", "lstm.bias");
    assert!(stayed < 1e-6, "{stayed}");
    assert!(moved(&toy, "weights", "lstm.weight") > 0.1);
}

#[test]
fn the_schedule_reaches_the_step_and_the_record() {
    let mut toy = Toy::new();
    toy.config.schedule.kind = ScheduleKind::Linear;
    toy.config.train.batch = Limit::Sentences(48); // two steps
    let summary = toy.run("a").0.unwrap();
    let expected = [7.0, 5.0, 3.0, 1.0].map(|eighths| 0.02 * eighths / 8.0);
    for (record, expected) in summary.epochs.iter().zip(expected) {
        assert!((record.learning_rate - expected).abs() < 1e-15);
    }
    let lines = std::fs::read_to_string(toy.path("a/metrics.jsonl")).unwrap();
    assert!(lines.contains("\"learning_rate\":0.0175"), "{lines}");

    // SGD of one step moves by the rate of that step.
    toy.config.train.optimizer = OptimizerKind::Sgd;
    toy.config.train.epochs = 1;
    toy.config.train.batch = Limit::Sentences(1000);
    let whole = moved(&toy, "whole", "");
    toy.config.schedule.kind = ScheduleKind::Constant;
    toy.config.schedule.warmup = Some(Span::Steps(5));
    let third = moved(&toy, "third", "");
    assert!((third / whole - 1.0 / 3.0).abs() < 1e-3, "{third} {whole}");
}

#[test]
fn clipping_by_value_reaches_the_step() {
    let mut toy = Toy::new();
    toy.config.train.optimizer = OptimizerKind::Sgd;
    toy.config.train.learning_rate = Some(1.0);
    toy.config.train.epochs = 1;
    toy.config.train.batch = Limit::Sentences(1000);
    toy.config.train.clip_value = Some(1e-3);
    let before = prepare(&toy.config).unwrap().model;
    let after = toy.run("a").2.model;
    let moved = |name: &str| {
        let of = |model: &Model| {
            let all = model.parameters();
            all.iter().find(|(n, _)| n == name).unwrap().1.detach()
        };
        (of(&before) - of(&after)).abs().max().double_value(&[])
    };
    for (name, _) in before.parameters() {
        assert!(moved(&name) < 1.001e-3, "{name}");
    }
    assert!(moved("head.weight") > 0.999e-3);
}

#[test]
fn accumulated_batches_are_one_step() {
    let mut toy = Toy::new();
    toy.config.train.epochs = 1; // 96 texts, 12 batches of 8
    toy.config.train.accumulate = 5;
    let (summary, log, _) = toy.run("a");
    assert_eq!(summary.unwrap().epochs[0].steps, 3);
    assert_eq!(log.1, 96);
    toy.config.schedule.kind = ScheduleKind::Linear;
    let epoch = &toy.run("b").0.unwrap().epochs[0];
    assert!((epoch.learning_rate - 0.02 / 3.0).abs() < 1e-12);
}

#[test]
fn smoothed_labels_are_trained_on_and_dev_is_measured_without() {
    let mut toy = Toy::new();
    toy.config.train.learning_rate = Some(1e-30);
    toy.config.train.epochs = 1;
    toy.config.head.dropout = 0.0;
    toy.config.train.label_smoothing = 0.4;
    let (summary, _, prepared) = toy.run("a");
    let epoch = &summary.unwrap().epochs[0];
    let Prepared {
        model, train, dev, ..
    } = &prepared;
    let logits = crate::model::Predictor::new(model)
        .logits(&train.texts)
        .unwrap();
    let truth: Vec<i64> = train.classes.iter().map(|&class| class.into()).collect();
    let truth = Tensor::from_slice(&truth);
    let smoothed = loss::loss(model, &logits, &truth, 0.4).double_value(&[]);
    let plain = loss::loss(model, &logits, &truth, 0.0).double_value(&[]);
    assert!((epoch.train_loss - smoothed).abs() < 1e-6);
    assert!((smoothed - plain).abs() > 1e-5, "{smoothed} {plain}");
    let measured = evaluate(model, dev, Engine::Auto).unwrap();
    assert_eq!(epoch.dev.loss, measured.loss);
}

#[test]
fn averaged_weights_are_measured_and_kept_and_the_raw_ones_go_on() {
    const DECAY: f64 = 0.9;

    /// Averages by the formula, in f64.
    struct Averages(Vec<Tensor>, Vec<Tensor>);
    impl Observer for Averages {
        fn epoch_starts(&mut self, _: u64, _: u64) {}
        fn stepped(&mut self, _: &StepRecord) {
            let now = |tensor: &Tensor| tensor.detach().to_kind(tch::Kind::Double).copy();
            let now: Vec<Tensor> = self.0.iter().map(now).collect();
            self.1 = match self.1.is_empty() {
                true => now,
                false => (self.1.iter().zip(&now))
                    .map(|(average, now)| average * DECAY + now * (1.0 - DECAY))
                    .collect(),
            };
        }
        fn epoch_ends(&mut self, _: &EpochRecord) {}
    }

    let mut toy = Toy::new();
    toy.config.train.epochs = 2;
    toy.config.train.metric = crate::metrics::Metric::Loss;
    toy.run("raw").0.unwrap();
    toy.config.train.ema = Some(DECAY);
    let prepared = prepare(&toy.config).unwrap();
    let folder = RunFolder::create(toy.path("a"), &toy.config, Earlier::GoOn).unwrap();
    let Prepared {
        model, train, dev, ..
    } = &prepared;
    let parameters = model.parameters().into_iter();
    let parameters = parameters.map(|(_, tensor)| tensor.shallow_clone());
    let mut averages = Averages(parameters.collect(), Vec::new());
    let summary = fit(&toy.config, model, train, dev, &folder, &mut averages).unwrap();
    assert_eq!(summary.best_epoch, 2);

    let kept = Model::load(folder.model()).unwrap();
    let far = |a: &Tensor, b: &Tensor| (a - b).abs().max().double_value(&[]);
    for ((name, kept), expected) in kept.parameters().into_iter().zip(&averages.1) {
        assert!(far(kept, expected) < 1e-6, "{name}");
    }
    let measured = evaluate(&kept, dev, Engine::Fused).unwrap();
    assert_eq!(summary.epochs[1].dev, measured);
    // Without averages the same run ends with the same weights.
    let raw = Model::load(toy.path("raw/model")).unwrap();
    for ((name, raw), (_, last)) in raw.parameters().into_iter().zip(model.parameters()) {
        assert!(raw.equal(last), "{name}");
    }
    assert!(far(kept.embedding(), model.embedding()) > 1e-3);
}

#[test]
fn every_form_of_dropout_reaches_the_loss_and_none_the_evaluation() {
    let mut toy = Toy::new();
    toy.config.head.dropout = 0.0;
    toy.config.lstm.num_layers = 2;
    toy.config.train.epochs = 1;
    toy.config.train.engine = Engine::Plain;
    toy.config.train.learning_rate = Some(1e-12);
    let losses = |toy: &Toy, out: &str| {
        let summary = toy.run(out).0.unwrap();
        let epoch = &summary.epochs[0];
        (epoch.train_loss, epoch.dev.loss.unwrap())
    };
    let (bare, dev) = losses(&toy, "bare");
    let with = |out: &str, change: &dyn Fn(&mut Config)| {
        let mut toy = Toy::new();
        toy.config.head.dropout = 0.0;
        toy.config.lstm.num_layers = 2;
        toy.config.train = TrainConfig {
            epochs: 1,
            engine: Engine::Plain,
            learning_rate: Some(1e-12),
            ..toy.config.train
        };
        change(&mut toy.config);
        let (train, same) = losses(&toy, out);
        assert!((same - dev).abs() < 1e-6, "{out}: {same} {dev}");
        // The rest is the same to the bit.
        assert_ne!(train, bare, "{out}");
    };
    with("words", &|config| config.embedding.word_dropout = 0.3);
    with("embedding", &|config| config.embedding.dropout = 0.3);
    with("layers", &|config| config.lstm.dropout = 0.3);
    with("recurrent", &|config| {
        config.lstm.regularization.recurrent_dropout = 0.3
    });
    with("candidate", &|config| {
        config.lstm.regularization.candidate_dropout = 0.3
    });
    with("weight", &|config| {
        config.lstm.regularization.weight_drop = 0.3
    });
    with("cell", &|config| {
        config.lstm.regularization.zoneout_cell = 0.3
    });
    with("hidden", &|config| {
        config.lstm.regularization.zoneout_hidden = 0.3
    });
    with("head", &|config| config.head.dropout = 0.3);
}

#[test]
fn dev_is_measured_within_an_epoch_and_patience_counts_that() {
    let mut toy = Toy::new();
    toy.config.train.validate = Span::Epochs(0.25);
    toy.config.train.epochs = 2;
    let summary = toy.run("parts").0.unwrap();
    // 96 training texts in batches of 8.
    let steps: Vec<u64> = summary.epochs.iter().map(|record| record.steps).collect();
    assert_eq!(steps, [3, 6, 9, 12, 15, 18, 21, 24]);
    let at: Vec<f64> = summary.epochs.iter().map(|record| record.epochs).collect();
    assert_eq!(at, [0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0]);
    assert!(!summary.stopped_early);
    // The same steps as without.
    toy.config.train.validate = Span::Epochs(1.0);
    let whole = toy.run("whole").0.unwrap();
    let last = |summary: &Summary| summary.epochs.last().unwrap().dev.clone();
    assert_eq!(last(&summary), last(&whole));

    toy.config.train.validate = Span::Steps(5);
    toy.config.train.learning_rate = Some(1e-12);
    toy.config.train.patience = Some(2);
    let summary = toy.run("patient").0.unwrap();
    let steps: Vec<u64> = summary.epochs.iter().map(|record| record.steps).collect();
    assert_eq!(steps, [5, 10, 12]);
    assert!(summary.stopped_early && summary.best_epoch == 1);
}

#[test]
fn some_batches_are_enough_where_asked_for() {
    let mut toy = Toy::new();
    toy.config.train.epochs = 2;
    toy.config.train.limit_train_batches = Some(3);
    let (summary, log, _) = toy.run("limited");
    assert_eq!(summary.unwrap().epochs[1].steps, 6);
    assert_eq!(log.1, 2 * 3 * 8);

    toy.config.train.limit_train_batches = None;
    toy.config.train.overfit_batches = Some(2);
    toy.config.train.epochs = 40;
    toy.config.head.dropout = 0.0;
    let (summary, _, prepared) = toy.run("overfit");
    assert_eq!(prepared.dev.texts.len(), 16);
    let last = summary.unwrap().epochs.pop().unwrap();
    assert_eq!(last.steps, 80);
    assert_eq!(last.dev.accuracy, 1.0);
    assert!(last.dev.loss.unwrap() < 0.02, "{:?}", last.dev.loss);
}

#[test]
fn when_the_time_is_over_what_was_found_is_kept() {
    let mut toy = Toy::new();
    toy.config.train.epochs = 1_000_000;
    toy.config.train.max_time = Some("300ms".to_owned().try_into().unwrap());
    let started = std::time::Instant::now();
    let summary = toy.run("a").0.unwrap();
    assert!(started.elapsed().as_secs() < 20);
    assert!(summary.stopped_early && summary.interrupted.is_none());
    Model::load(toy.path("a/model")).unwrap();
    // It is over, and stays so.
    let again = toy.run("a").0.unwrap();
    assert_eq!(again.epochs, summary.epochs);
}

#[test]
fn truncated_backpropagation_reaches_the_step() {
    let mut toy = Toy::new();
    toy.config.head.dropout = 0.0;
    toy.config.train.epochs = 1;
    toy.config.train.batch = Limit::Sentences(1000);
    toy.config.train.optimizer = OptimizerKind::Sgd;
    let whole = moved(&toy, "whole", "lstm.weight_hh");
    toy.config.train.truncate_steps = Some(1000);
    assert!((moved(&toy, "long", "lstm.weight_hh") / whole - 1.0).abs() < 1e-5);
    toy.config.train.truncate_steps = Some(1);
    assert!((moved(&toy, "short", "lstm.weight_hh") / whole - 1.0).abs() > 1e-3);
}

#[test]
fn gates_are_computed_once_more_where_that_is_asked_for() {
    let mut toy = Toy::new();
    toy.config.train.epochs = 1;
    let kept = toy.run("kept").0.unwrap();
    toy.config.train.recompute = true;
    let again = toy.run("again").0.unwrap();
    assert_eq!(kept.epochs[0].train_loss, again.epochs[0].train_loss);
    // It is asked for in every step: an engine that cannot says so.
    toy.config.train.engine = Engine::Fused;
    let error = toy.run("fused").0.unwrap_err().to_string();
    assert!(error.starts_with("recompute: "), "{error}");
}

/// As on CUDA, where the host does not wait.
#[test]
fn steps_that_are_read_later_are_the_same_steps() {
    let mut toy = Toy::new();
    toy.config.train.batch = Limit::Sentences(1);
    toy.config.train.epochs = 2;
    toy.config.train.snapshot_steps = Some(50);
    let waiting = toy.run("waiting").0.unwrap();

    let Prepared {
        model, train, dev, ..
    } = prepare(&toy.config).unwrap();
    let folder = RunFolder::create(toy.path("later"), &toy.config, Earlier::GoOn).unwrap();
    let mut log = super::Log::default();
    let (mut run, epochs) =
        Run::start(&toy.config, &model, &train, &dev, &folder, &mut log).unwrap();
    assert!(run.trainer.waits);
    run.trainer.waits = false;
    let later = go(&toy.config, &train, run, epochs).unwrap();
    let numbers = |summary: &Summary| -> Vec<_> {
        let of = |r: &EpochRecord| (r.steps, r.train_loss, r.gradient_norm, r.dev.clone());
        summary.epochs.iter().map(of).collect()
    };
    assert_eq!(numbers(&later), numbers(&waiting));
    assert_eq!(log.1, 2 * 96);
    let weights = |out: &str| super::weights(&toy.path(out));
    assert_eq!(weights("later"), weights("waiting"));
}
