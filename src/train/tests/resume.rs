//! A run that was stopped goes on to the same bits.

use super::*;
use crate::checkpoint::safetensors::Tensors;
use crate::train::config::ScheduleKind;
use crate::train::snapshot::Progress;

/// Stops a run after one step.
struct StopAfter(u64, u64);

impl Observer for StopAfter {
    fn epoch_starts(&mut self, _: u64, _: u64) {}
    fn stepped(&mut self, record: &StepRecord) {
        self.1 = record.step;
    }
    fn epoch_ends(&mut self, _: &EpochRecord) {}
    fn wants_to_stop(&self) -> bool {
        self.0 == self.1
    }
}

/// Everything that a run has to remember is in use: moments, averages, a plateau,
/// sums of an epoch, the dropout of batches, patience.
fn toy() -> Toy {
    let mut toy = Toy::new();
    toy.config.head.dropout = 0.3;
    toy.config.train.accumulate = 2;
    toy.config.train.epochs = 10;
    toy.config.train.ema = Some(0.9);
    toy.config.train.patience = Some(16);
    toy.config.train.precision = Precision::F16;
    toy.config.train.validate = Span::Epochs(0.5);
    toy.config.schedule.kind = ScheduleKind::Plateau;
    toy.config.schedule.patience = Some(1);
    toy.config.schedule.factor = Some(0.5);
    toy
}

/// Starts the run in `out`, or goes on with it.
fn go_on(toy: &Toy, out: &str, observer: &mut dyn Observer) -> Summary {
    let Prepared {
        model, train, dev, ..
    } = prepare(&toy.config).unwrap();
    let folder = RunFolder::create(toy.path(out), &toy.config, Earlier::GoOn).unwrap();
    fit(&toy.config, &model, &train, &dev, &folder, observer).unwrap()
}

/// What a run leaves: its model, its last snapshot, its epochs without times.
#[derive(PartialEq)]
struct Left {
    model: Vec<u8>,
    progress: Progress,
    tensors: Vec<(String, Vec<u8>)>,
    epochs: Vec<EpochRecord>,
}

fn left(toy: &Toy, out: &str) -> Left {
    let folder = RunFolder::create(toy.path(out), &toy.config, Earlier::Resume).unwrap();
    let none = |error| panic!("{error}");
    let (mut progress, tensors) = folder.snapshots().latest(none).unwrap().unwrap();
    let bytes = |tensors: &Tensors| -> Vec<(String, Vec<u8>)> {
        let of = |tensor| crate::checkpoint::bytes_of(tensor);
        tensors
            .iter()
            .map(|(name, tensor)| (name.clone(), of(tensor)))
            .collect()
    };
    let mut epochs = folder.cut_log(progress.metrics_bytes).unwrap();
    epochs
        .iter_mut()
        .for_each(|epoch| (epoch.texts_per_second, epoch.tokens_per_second) = (0.0, 0.0));
    // Its length has the times in it.
    progress.metrics_bytes = 0;
    Left {
        model: weights(&toy.path(out)),
        progress,
        tensors: bytes(&tensors),
        epochs,
    }
}

#[test]
fn stopped_after_any_step_it_ends_as_if_undisturbed() {
    let toy = toy();
    let whole = go_on(&toy, "whole", &mut ());
    let steps = whole.epochs.last().unwrap().steps;
    assert!(steps >= 54 && whole.epochs.len() >= 18, "{steps}");
    let expected = left(&toy, "whole");
    let rates: Vec<f64> = whole
        .epochs
        .iter()
        .map(|epoch| epoch.learning_rate)
        .collect();
    assert!(
        rates.last() < rates.first(),
        "the plateau did nothing: {rates:?}"
    );
    // Each run waits for the disk some hundred times: every step takes
    // CELLWAY_RESUME=all.
    let every = match std::env::var("CELLWAY_RESUME").as_deref() {
        Ok("all") => 1,
        _ => 5,
    };
    for step in (1..steps).step_by(every) {
        let out = format!("stopped-{step}");
        let first = go_on(&toy, &out, &mut StopAfter(step, 0));
        assert_eq!(first.interrupted, Some(step));
        let second = go_on(&toy, &out, &mut ());
        assert_eq!(
            (second.interrupted, second.best_epoch),
            (None, whole.best_epoch)
        );
        assert_eq!(second.epochs.len(), whole.epochs.len());
        assert!(left(&toy, &out) == expected, "stopped after step {step}");
    }
}

#[test]
fn stopped_again_and_again_it_ends_as_if_undisturbed() {
    let toy = toy();
    go_on(&toy, "whole", &mut ());
    for step in (5..60).step_by(7) {
        go_on(&toy, "often", &mut StopAfter(step, 0));
    }
    go_on(&toy, "often", &mut ());
    assert!(left(&toy, "often") == left(&toy, "whole"));
}

#[test]
fn a_damaged_snapshot_costs_its_steps_and_nothing_else() {
    let mut toy = toy();
    toy.config.train.snapshot_steps = Some(4);
    go_on(&toy, "whole", &mut ());
    for file in ["tensors.safetensors", "progress.json", "manifest.json"] {
        go_on(&toy, file, &mut StopAfter(27, 0));
        let snapshots = std::fs::read_dir(toy.path(file).join("snapshots")).unwrap();
        let newest = snapshots.map(|entry| entry.unwrap().path()).max().unwrap();
        let bytes = std::fs::read(newest.join(file)).unwrap();
        std::fs::write(newest.join(file), &bytes[..bytes.len() / 2]).unwrap();

        struct Told(Vec<String>);
        impl Observer for Told {
            fn epoch_starts(&mut self, _: u64, _: u64) {}
            fn stepped(&mut self, _: &StepRecord) {}
            fn epoch_ends(&mut self, _: &EpochRecord) {}
            fn warned(&mut self, message: &str) {
                self.0.push(message.to_owned());
            }
        }
        let mut told = Told(Vec::new());
        go_on(&toy, file, &mut told);
        assert_eq!(told.0.len(), 1);
        let name = newest.file_name().unwrap().to_string_lossy();
        assert!(told.0[0].contains(&*name), "{}", told.0[0]);
        assert!(
            told.0[0].contains("the snapshot before it is taken"),
            "{}",
            told.0[0]
        );
        assert!(left(&toy, file) == left(&toy, "whole"), "{file}");
    }
}

#[test]
fn without_its_log_or_of_another_model_it_does_not_go_on() {
    let toy = toy();
    go_on(&toy, "a", &mut StopAfter(20, 0));
    let Prepared {
        model, train, dev, ..
    } = prepare(&toy.config).unwrap();
    let folder = RunFolder::create(toy.path("a"), &toy.config, Earlier::GoOn).unwrap();
    let mut other = toy.config.clone();
    other.lstm.hidden_size = 9;
    let wide = prepare(&other).unwrap().model;
    let error = fit(&other, &wide, &train, &dev, &folder, &mut ()).unwrap_err();
    assert!(error.to_string().contains("of another model"), "{error}");
    let mut fewer = train.clone();
    fewer.texts[0].pop();
    let error = fit(&toy.config, &model, &fewer, &dev, &folder, &mut ()).unwrap_err();
    assert!(error.to_string().contains("data: its texts"), "{error}");
    std::fs::write(toy.path("a/metrics.jsonl"), "").unwrap();
    let error = fit(&toy.config, &model, &train, &dev, &folder, &mut ()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("metrics.jsonl: has 0 bytes, but had"),
        "{error}"
    );
}

#[test]
fn a_model_that_was_cut_off_in_its_first_saving_is_saved_whole() {
    let toy = toy();
    let folder = RunFolder::create(toy.path("a"), &toy.config, Earlier::GoOn).unwrap();
    std::fs::create_dir(folder.model()).unwrap();
    std::fs::write(folder.model().join("config.json"), "{}").unwrap();
    drop(folder);
    go_on(&toy, "a", &mut ());
    crate::model::Model::load(toy.path("a/model")).unwrap();
}
