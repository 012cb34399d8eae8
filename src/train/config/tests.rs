//! Defaults, overrides, and each wrong key by its name.

use super::*;
use crate::data::Limit;
use crate::train::optim::OptimizerKind;

fn load(text: &str, overrides: &[&str]) -> Result<Config> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.toml");
    std::fs::write(&path, text).unwrap();
    let overrides: Vec<String> = overrides.iter().map(|text| text.to_string()).collect();
    Config::load(&path, &overrides)
}

const GOOD: &str = "[data]\ntrain = \"x.csv\"\n";

#[test]
fn what_is_not_said_has_its_default() {
    let config = load(GOOD, &[]).unwrap();
    assert_eq!(config.data.train, Path::new("x.csv"));
    assert_eq!(config.train, TrainConfig::default());
    assert_eq!(config.lstm.init().unwrap(), Init::default());
}

#[test]
fn the_resolved_config_reads_back_as_itself() {
    let config = load(
        GOOD,
        &["lstm.forget_bias=1.0", "data.dev=dev.csv", "seed=7"],
    )
    .unwrap();
    assert_eq!(load(&config.to_toml().unwrap(), &[]).unwrap(), config);
    let entries = config.entries().unwrap();
    assert!(entries.contains(&("seed".into(), "7".into())));
    assert!(entries.contains(&("lstm.forget_bias".into(), "1.0".into())));
}

#[test]
fn overrides_are_toml_values_or_strings() {
    let overrides = [
        "train.batch={tokens=64}",
        "train.optimizer = sgd",
        "data.dev=a b.csv",
    ];
    let config = load(GOOD, &overrides).unwrap();
    assert_eq!(config.train.batch, Limit::Tokens(64));
    assert_eq!(config.train.optimizer, OptimizerKind::Sgd);
    assert_eq!(config.data.dev.unwrap(), Path::new("a b.csv"));
}

#[test]
fn dropout_inside_of_a_step_needs_an_engine_of_ours() {
    for key in [
        "recurrent_dropout",
        "candidate_dropout",
        "zoneout_cell",
        "zoneout_hidden",
    ] {
        let set = format!("lstm.regularization.{key}=0.1");
        let error = load(GOOD, &[&set, "train.engine=fused"]).unwrap_err();
        let error = error.to_string();
        assert!(
            error.starts_with(&format!("lstm.regularization.{key}: ")) && error.contains("plain"),
            "{error}"
        );
        for engine in ["auto", "native", "plain"] {
            let config = load(GOOD, &[&set, &format!("train.engine={engine}")]).unwrap();
            assert_ne!(config.lstm.regularization, Default::default());
        }
    }
    let outside = [
        "lstm.regularization.weight_drop=0.5",
        "lstm.regularization.variational=true",
        "embedding.dropout=0.3",
    ];
    assert!(load(GOOD, &outside).is_ok());
    for key in [
        "lstm.regularization.weight_drop",
        "embedding.dropout",
        "embedding.word_dropout",
    ] {
        let error = load(GOOD, &[&format!("{key}=1.0")])
            .unwrap_err()
            .to_string();
        assert!(error.starts_with(key), "{error}");
    }
}

#[test]
fn all_words_need_vectors_and_a_vocabulary_of_ours() {
    for more in [
        &[][..],
        &["embedding.vectors=v.txt", "text.tokenizer=t.json"],
    ] {
        let overrides = [&["embedding.all_words=true"], more].concat();
        let error = load(GOOD, &overrides).unwrap_err().to_string();
        assert!(error.contains("embedding.all_words: needs"), "{error}");
    }
    let good = ["embedding.all_words=true", "embedding.vectors=v.txt"];
    assert!(load(GOOD, &good).unwrap().embedding.all_words);
}

#[test]
fn no_clipping_can_be_said_and_reads_back() {
    assert_eq!(load(GOOD, &[]).unwrap().train.clip_norm, Some(1.0));
    let config = load(GOOD, &["train.clip_norm=inf"]).unwrap();
    assert_eq!(config.train.clip_norm, None);
    assert_eq!(load(&config.to_toml().unwrap(), &[]).unwrap(), config);
}

#[test]
fn a_schedule_is_a_section_and_a_constant_rate_without_it() {
    assert_eq!(load(GOOD, &[]).unwrap().schedule, ScheduleConfig::default());
    let text = format!(
        "{GOOD}[schedule]\nkind = \"cosine\"\nwarmup = {{ epochs = 1 }}\nlength = {{ steps = 9 }}\n"
    );
    let config = load(&text, &["schedule.warmup_factor=0.5"]).unwrap();
    let expected = ScheduleConfig {
        kind: ScheduleKind::Cosine,
        warmup: Some(Span::Epochs(1.0)),
        warmup_factor: Some(0.5),
        length: Some(Span::Steps(9)),
        ..ScheduleConfig::default()
    };
    assert_eq!(config.schedule, expected);
    assert_eq!(load(&config.to_toml().unwrap(), &[]).unwrap(), config);
}

#[test]
fn what_the_optimizer_has_of_its_own_is_torchs() {
    for (name, rate, decay) in [
        ("adam", 1e-3, 0.0),
        ("adamw", 1e-3, 1e-2),
        ("sgd", 1e-3, 0.0),
        ("adagrad", 1e-2, 0.0),
        ("adadelta", 1.0, 0.0),
    ] {
        let set = format!("train.optimizer={name}");
        let train = load(GOOD, &[&set]).unwrap().train;
        assert_eq!(train.optimizer.name(), name);
        assert_eq!((train.learning_rate(), train.weight_decay()), (rate, decay));
        let said = ["train.learning_rate=0.5", "train.weight_decay=0.0"];
        let train = load(GOOD, &[&set, said[0], said[1]]).unwrap().train;
        assert_eq!((train.learning_rate(), train.weight_decay()), (0.5, 0.0));
    }
}

#[test]
fn each_wrong_key_is_named() {
    for (overrides, message) in [
        (&["train.epoch=3"][..], "train.epoch: unknown field"),
        (&["train.epochs=many"], "train.epochs: invalid type"),
        (&["train.engine=fast"], "train.engine: unknown variant"),
        (&["train.epochs=0"], "train.epochs: must be 1 or more"),
        (&["train.batch.tokens=0"], "train.batch: must be 1"),
        (
            &["train.learning_rate=-1"],
            "train.learning_rate: must be above 0",
        ),
        (&["train.learning_rate=nan"], "train.learning_rate"),
        (&["train.momentum=0.9"], "is for sgd"),
        (&["train.momentum=1.5", "train.optimizer=sgd"], "in [0, 1)"),
        (
            &["train.optimizer=sgd", "train.nesterov=true"],
            "train.nesterov: needs a momentum",
        ),
        (&["train.rho=0.9"], "train.rho: is for adadelta, not adam"),
        (&["train.betas=[0.9, 1]"], "train.betas: must both be in"),
        (&["train.epsilon=0"], "train.epsilon: must be above 0"),
        (&["train.optimizer=adamax"], "unknown variant `adamax`"),
        (&["train.weight_decay=-1"], "train.weight_decay"),
        (
            &["train.clip_norm=0"],
            "train.clip_norm: must be above 0; inf",
        ),
        (
            &["train.clip_norm=-inf"],
            "train.clip_norm: must be above 0",
        ),
        (&["train.clip_value=0"], "train.clip_value: must be above 0"),
        (&["train.accumulate=0"], "train.accumulate: must be 1"),
        (&["train.accumulate=-1"], "train.accumulate: invalid value"),
        (&["train.label_smoothing=1"], "train.label_smoothing: must"),
        (&["train.ema=1"], "train.ema: must be in (0, 1)"),
        (&["train.patience=0"], "train.patience"),
        (&["embedding.rate_factor=0"], "embedding.freeze"),
        (&["embedding.size=0"], "embedding.size"),
        (&["text.min_frequency=0"], "text.min_frequency"),
        (&["text.max_tokens=0"], "text.max_tokens"),
        (&["head.dropout=1"], "head.dropout: must be in"),
        (&["lstm.dropout=1"], "lstm.dropout: must be in"),
        (&["lstm.hidden_size=0"], "lstm.hidden_size: must be 1 to"),
        (
            &["lstm.hidden_size=1000000"],
            "lstm.hidden_size: 1000000 with num_layers 1",
        ),
        (
            &["lstm.bias=false", "lstm.forget_bias=1"],
            "lstm.bias: a forget bias",
        ),
        (&["data.test_share=1.5"], "data.test_share: must be in"),
        (
            &["data.test_share=0.6", "data.dev_share=0.4"],
            "below 1 together",
        ),
        (&["lstm.chrono=9", "lstm.forget_bias=1"], "keep one"),
        (&["data.train="], "data.train: must name the file"),
        (&["schedule.kind=exponential"], "unknown variant"),
        (&["schedule.warm=1"], "schedule.warm: unknown field"),
        (
            &["schedule.end_factor=0.1"],
            "schedule.end_factor: is for linear, cosine, not constant",
        ),
        (
            &["schedule.kind=one_cycle", "schedule.warmup.steps=3"],
            "schedule.warmup: is for constant",
        ),
        (&["schedule.warmup.steps=0"], "schedule.warmup: must be"),
        (&["schedule.warmup.epochs=nan"], "schedule.warmup: must be"),
        (&["schedule.warmup_factor=0.5"], "needs schedule.warmup"),
        (
            &["schedule.warmup.steps=3", "schedule.warmup_factor=0"],
            "schedule.warmup_factor: must be in (0, 1]",
        ),
        (
            &["schedule.kind=cosine", "schedule.end_factor=1.5"],
            "schedule.end_factor: must be in [0, 1]",
        ),
        (
            &["schedule.kind=step", "schedule.factor=1"],
            "schedule.factor: must be in (0, 1)",
        ),
        (
            &["schedule.kind=plateau", "schedule.min_rate=-1"],
            "schedule.min_rate: must be 0 or more",
        ),
        (
            &["schedule.kind=one_cycle", "schedule.div_factor=0"],
            "schedule.div_factor: must be 1 or more",
        ),
        (&["epochs"], "overrides: must be key=value"),
        (&["seed.x=1", "seed=1", "seed.y=1"], "seed is a value"),
    ] {
        let error = load(GOOD, overrides).unwrap_err().to_string();
        assert!(error.contains(message), "{overrides:?}: {error}");
    }
    assert!(
        load("[data", &[])
            .unwrap_err()
            .to_string()
            .contains("run.toml")
    );
}
