//! The loop on a toy that can be learnt: "good" is positive, "bad" negative.

use std::path::{Path, PathBuf};

use tch::Tensor;

use super::optim::OptimizerKind;
use super::*;
use crate::lstm::Engine;

mod precision;
mod resume;
mod settings;

#[derive(Default)]
struct Log(Vec<EpochRecord>, u64);

impl Observer for Log {
    fn epoch_starts(&mut self, _: u64, _: u64) {}
    fn stepped(&mut self, record: &StepRecord) {
        self.1 += record.texts;
    }
    fn epoch_ends(&mut self, record: &EpochRecord) {
        self.0.push(record.clone());
    }
}

pub(super) struct Toy {
    folder: tempfile::TempDir,
    pub config: Config,
}

impl Toy {
    pub fn new() -> Toy {
        let folder = tempfile::tempdir().unwrap();
        let mut text = String::from("text,label\n");
        for n in 0..120 {
            let (word, label) = [("good", "pos"), ("bad", "neg")][n % 2];
            let before = ["the film", "a movie", "it all", "well this"][n % 4];
            text += &format!("{before} is {word} {},{label}\n", "indeed ".repeat(n % 5));
        }
        let path = folder.path().join("toy.csv");
        std::fs::write(&path, text).unwrap();
        let mut config = Config::default();
        config.data.train = path;
        config.embedding.size = 8;
        config.lstm.hidden_size = 8;
        config.head.dropout = 0.1;
        config.train.epochs = 4;
        config.train.batch = crate::data::Limit::Sentences(8);
        config.train.learning_rate = Some(0.02);
        Toy { folder, config }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, out: &str) -> (Result<Summary>, Log, Prepared) {
        let prepared = prepare(&self.config).unwrap();
        let folder = RunFolder::create(self.path(out), &self.config, Earlier::GoOn).unwrap();
        let mut log = Log::default();
        let Prepared {
            model, train, dev, ..
        } = &prepared;
        let summary = fit(&self.config, model, train, dev, &folder, &mut log);
        (summary, log, prepared)
    }
}

fn weights(path: &Path) -> Vec<u8> {
    std::fs::read(path.join("model/model.safetensors")).unwrap()
}

#[test]
fn learns_what_can_be_learnt_and_keeps_the_best() {
    let toy = Toy::new();
    let (summary, log, prepared) = toy.run("a");
    let summary = summary.unwrap();
    assert_eq!(summary.epochs, log.0);
    assert_eq!(log.0.len(), 4);
    assert_eq!(log.1, 4 * prepared.train.texts.len() as u64);
    assert!(summary.epochs[3].train_loss < 0.3 * summary.epochs[0].train_loss);
    let best = Model::load(toy.path("a/model")).unwrap();
    let test = evaluate(&best, &prepared.test.unwrap(), Engine::Plain).unwrap();
    assert_eq!(test.accuracy, 1.0);
    let lines = std::fs::read_to_string(toy.path("a/metrics.jsonl")).unwrap();
    assert_eq!(lines.lines().count(), 4);
    let first: serde_json::Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!(first["epoch"], 1);
    assert!(first["dev"]["accuracy"].as_f64().unwrap() > 0.0);
}

#[test]
fn the_same_seed_gives_the_same_bits_and_another_does_not() {
    let mut toy = Toy::new();
    toy.config.train.epochs = 2;
    for out in ["a", "b"] {
        toy.run(out).0.unwrap();
    }
    assert_eq!(weights(&toy.path("a")), weights(&toy.path("b")));
    toy.config.seed = 1;
    toy.run("c").0.unwrap();
    assert_ne!(weights(&toy.path("a")), weights(&toy.path("c")));
}

#[test]
fn both_engines_and_all_optimizers_learn() {
    for engine in [Engine::Plain, Engine::Fused] {
        for optimizer in OptimizerKind::ALL {
            let mut toy = Toy::new();
            toy.config.train.engine = engine;
            toy.config.train.optimizer = optimizer;
            match optimizer {
                OptimizerKind::Sgd => {
                    toy.config.train.learning_rate = Some(0.5);
                    toy.config.train.momentum = 0.9;
                }
                OptimizerKind::AdaGrad => toy.config.train.learning_rate = Some(0.1),
                OptimizerKind::Adadelta => toy.config.train.learning_rate = Some(10.0),
                OptimizerKind::Adam | OptimizerKind::AdamW => {}
            }
            let epochs = toy.run("a").0.unwrap().epochs;
            assert!(
                epochs[3].train_loss < 0.5 * epochs[0].train_loss,
                "{engine:?} {optimizer:?}: {epochs:?}"
            );
        }
    }
}

#[test]
fn a_loss_that_explodes_stops_and_names_the_step() {
    let mut toy = Toy::new();
    toy.config.train.learning_rate = Some(1e38);
    toy.config.train.clip_norm = None;
    let (result, ..) = toy.run("a");
    let message = result.unwrap_err().to_string();
    assert!(message.starts_with("step "), "{message}");
    assert!(message.contains("smaller train.learning_rate"), "{message}");
}

#[test]
fn a_nan_after_a_good_epoch_keeps_the_good_model() {
    let toy = Toy::new();
    let prepared = prepare(&toy.config).unwrap();
    let folder = RunFolder::create(toy.path("a"), &toy.config, Earlier::GoOn).unwrap();

    /// Breaks the model at the start of the second epoch.
    struct Saboteur(Tensor);
    impl Observer for Saboteur {
        fn epoch_starts(&mut self, epoch: u64, _: u64) {
            if epoch == 2 {
                let _ = tch::no_grad(|| self.0.shallow_clone().fill_(f64::NAN));
            }
        }
        fn stepped(&mut self, _: &StepRecord) {}
        fn epoch_ends(&mut self, _: &EpochRecord) {}
    }
    let head = prepared.model.parameters().pop().unwrap().1.shallow_clone();
    let Prepared {
        model, train, dev, ..
    } = &prepared;
    let error = fit(&toy.config, model, train, dev, &folder, &mut Saboteur(head)).unwrap_err();
    let message = error.to_string();
    assert!(message.contains("(epoch 2): the loss is NaN"), "{message}");
    assert!(message.contains("the model of epoch 1 is in"), "{message}");
    let kept = Model::load(folder.model()).unwrap();
    for (name, tensor) in kept.parameters() {
        assert_eq!(tensor.isfinite().all().int64_value(&[]), 1, "{name}");
    }
}

#[test]
fn a_nan_of_the_last_step_is_no_model() {
    let mut toy = Toy::new();
    toy.config.train.learning_rate = Some(1e38);
    toy.config.train.epochs = 1;
    toy.config.train.batch = crate::data::Limit::Sentences(1000); // one step
    let (result, ..) = toy.run("a");
    let message = result.unwrap_err().to_string();
    assert!(message.starts_with("step 1 (epoch 1)"), "{message}");
    assert!(message.contains("there is no model"), "{message}");
    assert!(!toy.path("a/model").exists());
}

#[test]
fn the_best_epoch_is_kept_and_not_the_last() {
    let toy = Toy::new();
    let prepared = prepare(&toy.config).unwrap();
    let folder = RunFolder::create(toy.path("a"), &toy.config, Earlier::GoOn).unwrap();

    /// Turns the head around before the last epoch ends, and remembers the
    /// weights of the epoch before.
    struct Spoiler(Tensor, u64, Vec<Tensor>);
    impl Observer for Spoiler {
        fn epoch_starts(&mut self, epoch: u64, _: u64) {
            self.1 = epoch;
        }
        fn stepped(&mut self, _: &StepRecord) {
            if self.1 == 4 {
                let _ = tch::no_grad(|| self.0.shallow_clone().fill_(-50.0));
            }
        }
        fn epoch_ends(&mut self, record: &EpochRecord) {
            if record.best {
                self.2 = vec![self.0.detach().copy()];
            }
        }
    }
    let bias = prepared.model.parameters().pop().unwrap().1.shallow_clone();
    let Prepared {
        model, train, dev, ..
    } = &prepared;
    let mut spoiler = Spoiler(bias, 0, Vec::new());
    let summary = fit(&toy.config, model, train, dev, &folder, &mut spoiler).unwrap();
    assert!(summary.best_epoch < 4, "{summary:?}");
    let kept = Model::load(folder.model()).unwrap();
    assert!(kept.parameters().pop().unwrap().1.equal(&spoiler.2[0]));
}

#[test]
fn the_loss_of_an_epoch_is_the_mean_over_texts() {
    let mut toy = Toy::new();
    // Batches of 64 and 32: a mean of batch means would weigh them alike.
    toy.config.train.batch = crate::data::Limit::Sentences(64);
    toy.config.train.learning_rate = Some(1e-30);
    toy.config.train.epochs = 1;
    toy.config.head.dropout = 0.0;
    let (summary, _, prepared) = toy.run("a");
    let measured = evaluate(&prepared.model, &prepared.train, Engine::Fused).unwrap();
    let epoch = &summary.unwrap().epochs[0];
    assert_eq!(epoch.steps, 2);
    assert!((epoch.train_loss - measured.loss.unwrap()).abs() < 1e-6);
}

#[test]
fn patience_ends_a_run_that_gets_no_better() {
    let mut toy = Toy::new();
    toy.config.train.epochs = 50;
    toy.config.train.patience = Some(2);
    let summary = toy.run("a").0.unwrap();
    assert!(summary.stopped_early);
    assert_eq!(summary.epochs.len() as u64, summary.best_epoch + 2);
}

#[test]
fn a_frozen_embedding_stays_and_a_tuned_one_moves() {
    for freeze in [true, false] {
        let mut toy = Toy::new();
        toy.config.embedding.freeze = freeze;
        let before = prepare(&toy.config).unwrap().model.embedding().copy();
        let (_, _, after) = toy.run("a");
        assert_eq!(before.equal(after.model.embedding()), freeze);
        // Padding has no gradient, so its row stays zero.
        let padding = after.model.embedding().get(0).abs().sum(tch::Kind::Float);
        assert_eq!(padding.double_value(&[]), 0.0);
    }
}

#[test]
fn an_earlier_run_is_never_lost() {
    use Earlier::{GoOn, MoveAside, Resume};
    let mut toy = Toy::new();
    toy.run("a").0.unwrap();
    let good = weights(&toy.path("a"));
    std::fs::write(toy.path("a/results.json"), "{}").unwrap();
    let create = |out: &str, earlier| RunFolder::create(toy.path(out), &toy.config, earlier);
    let error = create("a", GoOn).unwrap_err().to_string();
    assert!(error.contains("holds a finished run"), "{error}");
    assert!(RunFolder::check(toy.path("a"), Resume).unwrap());
    std::fs::write(toy.path("a/notes.txt"), "mine").unwrap();
    drop(create("a", MoveAside).unwrap());
    assert_eq!(weights(&toy.path("a.1")), good);
    assert!(toy.path("a.1/notes.txt").exists());
    assert!(!toy.path("a/model").exists() && !toy.path("a/notes.txt").exists());
    drop(create("a", MoveAside).unwrap());
    assert!(toy.path("a.2/config.toml").exists());

    std::fs::create_dir(toy.path("other")).unwrap();
    std::fs::write(toy.path("other/x"), "mine").unwrap();
    for earlier in [GoOn, Resume, MoveAside] {
        let error = create("other", earlier).unwrap_err().to_string();
        assert!(error.contains("holds no run"), "{error}");
    }
    assert!(toy.path("other/x").exists());

    // A run that was stopped goes on as the same run only.
    toy.config.train.epochs = 9;
    for earlier in [GoOn, Resume] {
        let error = RunFolder::create(toy.path("a"), &toy.config, earlier).unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains("\"epochs = 9\" here and \"epochs = 4\" there"),
            "{error}"
        );
    }
}

#[test]
fn two_trainings_in_one_folder_are_one_too_many() {
    let toy = Toy::new();
    let create = |earlier| RunFolder::create(toy.path("a"), &toy.config, earlier);
    let first = create(Earlier::GoOn).unwrap();
    for earlier in [Earlier::GoOn, Earlier::Resume, Earlier::MoveAside] {
        let error = create(earlier).unwrap_err().to_string();
        assert!(error.contains("another training is writing"), "{error}");
    }
    drop(first);
    create(Earlier::MoveAside).unwrap();
}

#[test]
fn splits_share_no_text_and_stay_when_the_seed_changes() {
    let mut toy = Toy::new();
    let first = prepare(&toy.config).unwrap();
    toy.config.seed = 9;
    let second = prepare(&toy.config).unwrap();
    assert_eq!(first.test, second.test);
    let sizes = [&first.train, &first.dev, first.test.as_ref().unwrap()].map(|c| c.texts.len());
    assert_eq!(sizes, [96, 12, 12]);
}

#[test]
fn word_vectors_stand_in_the_embedding() {
    let mut toy = Toy::new();
    let vectors = toy.path("vectors.txt");
    std::fs::write(&vectors, "good 1 2 3\nunseen 7 7 7\nbad -1 -2 -3\n").unwrap();
    toy.config.embedding.vectors = Some(vectors);
    let prepared = prepare(&toy.config).unwrap();
    let model = &prepared.model;
    assert_eq!(model.config().embedding_size, 3);
    let id = model.tokenizer().id("bad").unwrap();
    let row: Vec<f32> = Vec::try_from(model.embedding().get(i64::from(id))).unwrap();
    assert_eq!(row, [-1.0, -2.0, -3.0]);
    let (wanted, vectors) = prepared.vectors.unwrap();
    assert_eq!(
        (wanted, vectors.ids.len()),
        (model.config().vocab_size as usize - 2, 2)
    );
}

#[test]
fn all_words_of_the_vectors_may_be_known() {
    let mut toy = Toy::new();
    let vectors = toy.path("vectors.txt");
    std::fs::write(&vectors, "good 1 2 3\nunseen 7 7 7\nbad -1 -2 -3\n").unwrap();
    toy.config.embedding.vectors = Some(vectors);
    let few = prepare(&toy.config).unwrap().model;
    assert_eq!(few.tokenizer().id("unseen"), None);
    toy.config.embedding.all_words = true;
    let all = prepare(&toy.config).unwrap().model;
    let id = all.tokenizer().id("unseen").unwrap();
    assert_eq!(i64::from(id) + 1, few.config().vocab_size + 1);
    let row: Vec<f32> = Vec::try_from(all.embedding().get(i64::from(id))).unwrap();
    assert_eq!(row, [7.0, 7.0, 7.0]);
}

#[test]
fn texts_that_are_tokens_already_are_only_split() {
    let mut toy = Toy::new();
    toy.config.text.tokenizer = TextConfig::WHITESPACE.to_owned();
    let model = prepare(&toy.config).unwrap().model;
    let tokens = model.tokenizer().tokens("It is n't GOOD , is n't").unwrap();
    assert_eq!(tokens, ["it", "is", "n't", "good", ",", "is", "n't"]);
}

#[test]
fn word_vectors_that_fit_nothing_are_an_error() {
    let mut toy = Toy::new();
    let vectors = toy.path("vectors.txt");
    std::fs::write(&vectors, "unseen 7 7 7\n").unwrap();
    toy.config.embedding.vectors = Some(vectors);
    let error = prepare(&toy.config).unwrap_err().to_string();
    assert!(
        error.contains("vectors.txt: has a vector for none of the"),
        "{error}"
    );
}

#[test]
fn what_cannot_be_split_or_told_apart_is_an_error() {
    let mut toy = Toy::new();
    let error = |toy: &Toy| prepare(&toy.config).unwrap_err().to_string();
    toy.config.data.dev_share = 1e-300;
    assert!(
        error(&toy).contains("data.dev_share: leaves no text for dev"),
        "{}",
        error(&toy)
    );
    toy.config.data.dev_share = 0.1;
    std::fs::write(toy.path("one.csv"), "text,label\nx,a\ny,a\n").unwrap();
    toy.config.data.train = toy.path("one.csv");
    assert!(
        error(&toy).contains("one.csv: has 1 label; a classifier needs 2 or more"),
        "{}",
        error(&toy)
    );
}

#[test]
fn vectors_of_nothing_but_zeros_are_an_error() {
    let mut toy = Toy::new();
    let vectors = toy.path("vectors.txt");
    std::fs::write(&vectors, "good 0 0 0\nbad 0 0 0\n").unwrap();
    toy.config.embedding.vectors = Some(vectors);
    let error = prepare(&toy.config).unwrap_err().to_string();
    assert!(error.contains("nothing but zeros"), "{error}");
}

#[test]
fn a_tokenizer_with_other_ids_has_its_own_padding() {
    let mut toy = Toy::new();
    let tokenizer = toy.path("tokenizer.json");
    let json = serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": null, "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "unk_token": "?", "vocab": {"good": 0, "bad": 1, "?": 2}},
    });
    std::fs::write(&tokenizer, json.to_string()).unwrap();
    toy.config.text.tokenizer = tokenizer.to_str().unwrap().to_owned();
    toy.config.train.epochs = 1;
    let before = prepare(&toy.config).unwrap().model.embedding().copy();
    let (_, _, after) = toy.run("a");
    for id in 0..2 {
        assert!(!before.get(id).equal(&after.model.embedding().get(id)));
        assert!(before.get(id).abs().min().double_value(&[]) > 0.0);
    }
}

#[test]
fn phrases_are_not_split_apart() {
    let mut toy = Toy::new();
    toy.config.read.phrases = true;
    let error = prepare(&toy.config).unwrap_err().to_string();
    assert!(error.contains("both sides of a split"), "{error}");
    toy.config.read.phrases = false;
    toy.config.data.dev_share = 0.0;
    let error = prepare(&toy.config).unwrap_err().to_string();
    assert!(error.contains("data.dev_share"), "{error}");
}

#[test]
fn texts_are_cut_where_asked() {
    let mut toy = Toy::new();
    toy.config.text.max_tokens = Some(3);
    let model = &toy.run("a").2.model;
    assert_eq!(model.encode(&["one two three four"]).unwrap()[0].len(), 3);
    let loaded = Model::load(toy.path("a/model")).unwrap();
    assert_eq!(loaded.config().max_tokens, Some(3));
    assert_eq!(
        prepare(&toy.config)
            .unwrap()
            .train
            .lengths()
            .into_iter()
            .max(),
        Some(3)
    );
}
