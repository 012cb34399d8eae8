//! Round trips of the model directory, and what is refused.

use std::path::Path;

use tch::{Device, Kind};

use super::*;
use crate::text::Vocabulary;

fn tokenizer() -> Tokenizer {
    let words = "a good bad film movie"
        .split(' ')
        .map(str::to_owned)
        .collect::<Vec<_>>();
    Tokenizer::basic_english(&Vocabulary::build([words], 1, None)).unwrap()
}

fn labels(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("class {n}")).collect()
}

fn model(change: impl Fn(&mut ModelConfig)) -> Model {
    let tokenizer = tokenizer();
    let mut config = ModelConfig::new(tokenizer.vocab_size() as i64, 5, 6, &labels(3));
    change(&mut config);
    Model::new(config, tokenizer, Init::default(), Stream::new(1, "t")).unwrap()
}

const TEXTS: [&str; 4] = ["a good film", "bad", "a bad bad movie unknown words", "!"];

#[test]
fn a_round_trip_is_equal_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    for (n, pooling) in [Pooling::Last, Pooling::Mean, Pooling::Max, Pooling::All]
        .into_iter()
        .enumerate()
    {
        let before = model(|config| {
            config.pooling = pooling;
            config.bidirectional = n % 2 == 0;
            config.num_layers = 2;
            config.proj_size = if n == 3 { 2 } else { 0 };
            config.bias = n != 1;
            config.dropout = 0.3;
            config.word_dropout = 0.1 * n as f64;
            config.embedding_dropout = 0.2;
            config.regularization.zoneout_cell = 0.1 * n as f64;
            config.regularization.variational = n == 2;
        });
        let path = folder.path().join(n.to_string());
        before.save(&path).unwrap();
        let after = Model::load(&path).unwrap();
        assert_eq!(after.config(), before.config());
        for ((name, a), (other, b)) in before.parameters().iter().zip(after.parameters()) {
            assert_eq!(name, &other);
            assert!(a.equal(b) && b.requires_grad(), "{name}");
        }
        let predict = |model| Predictor::new(model).predict(&TEXTS).unwrap();
        assert_eq!(predict(&before), predict(&after));
        let files = |path: &Path| {
            ["config.json", "model.safetensors", "tokenizer.json"]
                .map(|name| std::fs::read(path.join(name)).unwrap())
        };
        let again = folder.path().join(format!("{n} again"));
        after.save(&again).unwrap();
        assert_eq!(files(&path), files(&again));
    }
}

#[test]
fn words_are_dropped_to_the_unknown_one_and_vectors_by_one_mask_for_a_text() {
    let mode = Mode::Train(Stream::new(3, "step"));
    let batch = |model: &Model| {
        let texts: Vec<Vec<i64>> = (0..40).map(|n| vec![2 + n % 4; 25]).collect();
        model.batch(texts.iter().map(Vec::as_slice)).unwrap()
    };
    let words = model(|config| config.word_dropout = 0.25);
    let ids = batch(&words);
    let eval = words.embed(&ids, Mode::Eval).unwrap();
    assert!(
        eval.equal(
            &words
                .embedding()
                .index_select(0, &ids.ids.view(-1))
                .view_as(&eval)
        )
    );
    let unknown = i64::from(words.tokenizer().id(UNK).unwrap());
    let changed = words.embed(&ids, mode).unwrap();
    let dropped = changed.ne_tensor(&eval).any_dim(-1, false);
    let expected = words.embedding().get(unknown);
    for row in 0..1000 {
        let vector = changed.view([1000, -1]).get(row);
        let is = dropped.view(-1).int64_value(&[row]) == 1;
        assert_eq!(vector.equal(&expected), is, "{row}");
    }
    let share = dropped.sum(Kind::Int64).int64_value(&[]) as f64 / 1000.0;
    // Standard deviation: sqrt(0.25 * 0.75 / 1000) = 0.014.
    assert!((share - 0.25).abs() < 0.06, "{share}");

    let vectors = model(|config| config.embedding_dropout = 0.5);
    let ids = batch(&vectors);
    let ratio = vectors.embed(&ids, mode).unwrap() / vectors.embed(&ids, Mode::Eval).unwrap();
    for step in 1..25 {
        assert!(ratio.select(1, 0).equal(&ratio.select(1, step)));
    }
    let kept = ratio.ne(0.0).sum(Kind::Int64).int64_value(&[]) as f64 / ratio.numel() as f64;
    assert!(
        (kept - 0.5).abs() < 0.15 && ratio.max().double_value(&[]) == 2.0,
        "{kept}"
    );
    assert!(
        vectors
            .embed(&ids, Mode::Eval)
            .unwrap()
            .equal(&vectors.embed(&ids, Mode::Eval).unwrap())
    );
}

#[test]
fn words_cannot_be_dropped_to_a_word_that_is_not_there() {
    let bare = Tokenizer::word_level(
        &crate::text::Rule::Whitespace { lower: true },
        [("a".to_owned(), 0), ("film".to_owned(), 1)],
        "a",
    )
    .unwrap();
    let mut config = ModelConfig::new(2, 5, 6, &labels(3));
    config.word_dropout = 0.1;
    let model = Model::new(config, bare, Init::default(), Stream::new(1, "t")).unwrap();
    let batch = model.batch([&[0, 1][..]]).unwrap();
    assert!(model.embed(&batch, Mode::Eval).is_ok());
    let error = model
        .embed(&batch, Mode::Train(Stream::new(1, "t")))
        .unwrap_err();
    assert!(
        error.to_string().starts_with("embedding.word_dropout: "),
        "{error}"
    );
}

#[test]
fn the_engines_agree_and_order_is_kept() {
    let model = model(|config| config.bidirectional = true);
    let with = |engine, limit| {
        Predictor {
            model: &model,
            engine,
            limit,
            ..Predictor::new(&model)
        }
        .predict(&TEXTS)
        .unwrap()
    };
    let plain = with(Engine::Plain, crate::data::Limit::Sentences(2));
    let fused = with(Engine::Fused, crate::data::Limit::Tokens(1000));
    for (n, (a, b)) in plain.iter().zip(&fused).enumerate() {
        let alone = Predictor::new(&model).predict(&TEXTS[n..=n]).unwrap();
        for ((a, b), c) in a
            .probabilities
            .iter()
            .zip(&b.probabilities)
            .zip(&alone[0].probabilities)
        {
            assert!((a - b).abs() < 1e-6 && (a - c).abs() < 1e-6);
        }
    }
    assert!(Predictor::new(&model).predict(&[""; 0]).unwrap().is_empty());
}

#[test]
fn a_packed_predictor_says_the_same_to_the_bit() {
    let model = model(|config| config.bidirectional = true);
    let predictor = |engine| Predictor {
        engine,
        ..Predictor::new(&model)
    };
    let expected = predictor(Engine::Native).predict(&TEXTS).unwrap();
    let packed = predictor(Engine::Native).pack().unwrap();
    assert_eq!(packed.predict(&TEXTS).unwrap(), expected);
    // It is the packed weights that are read.
    for (_, parameter) in model.lstm().parameters() {
        let _ = tch::no_grad(|| parameter.shallow_clone().zero_());
    }
    assert_eq!(packed.predict(&TEXTS).unwrap(), expected);
    assert_ne!(predictor(Engine::Native).predict(&TEXTS).unwrap(), expected);
    // Of the other engines there is no such form.
    assert!(predictor(Engine::Fused).pack().unwrap().packed.is_none());
}

#[test]
fn probabilities_are_of_the_head() {
    let logits = Tensor::from_slice(&[0.0f32, 2.0]).view([2, 1]);
    let two = model(|config| *config = ModelConfig::new(config.vocab_size, 5, 6, &labels(2)));
    let rows: Vec<Vec<f64>> = Vec::try_from(two.probabilities(&logits)).unwrap();
    assert_eq!(rows[0], [0.5, 0.5]);
    // sigmoid(2) = 1 / (1 + e^-2) = 0.880797.
    assert!((rows[1][1] - 0.880797).abs() < 1e-6 && (rows[1][0] - 0.119203).abs() < 1e-6);
    // Binary cross-entropy of (0, class 1) and (2, class 0): ln 2 and 2 + ln(1 + e^-2).
    let loss = two
        .loss(&logits, &Tensor::from_slice(&[1i64, 0]))
        .double_value(&[]);
    assert!((loss - (2f64.ln() + 2.126928) / 2.0).abs() < 1e-5, "{loss}");

    let three = model(|_| ());
    let logits = Tensor::from_slice(&[0.0f32, 0.0, 0.0]).view([1, 3]);
    let loss = three
        .loss(&logits, &Tensor::from_slice(&[2i64]))
        .double_value(&[]);
    assert!((loss - 3f64.ln()).abs() < 1e-6);
}

#[test]
fn parameters_have_pytorchs_names() {
    let model = model(|config| config.bidirectional = true);
    let names: Vec<String> = model
        .parameters()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names.first().unwrap(), "embedding.weight");
    assert!(names.contains(&"lstm.weight_hh_l0_reverse".to_owned()));
    assert_eq!(names.last().unwrap(), "head.bias");
}

/// Loads a good directory with one file changed.
fn refused(file: &str, change: impl Fn(Vec<u8>) -> Vec<u8>, why: &str) {
    let folder = tempfile::tempdir().unwrap();
    model(|_| ()).save(folder.path()).unwrap();
    let path = folder.path().join(file);
    std::fs::write(&path, change(std::fs::read(&path).unwrap())).unwrap();
    let error = Model::load(folder.path()).unwrap_err().to_string();
    assert!(error.contains(file) && error.contains(why), "{error}");
}

#[test]
fn wrong_weights_are_refused_with_the_reason() {
    refused(
        "model.safetensors",
        |bytes| bytes[..bytes.len() - 1].to_vec(),
        "truncated",
    );
    refused(
        "tokenizer.json",
        |bytes| bytes[..bytes.len() / 2].to_vec(),
        "tokenizer",
    );
    let zeros = |shape: &[i64], kind| Tensor::zeros(shape, (kind, Device::Cpu));
    for (name, tensor, why) in [
        ("head.bias", None, "has no tensor \"head.bias\""),
        (
            "lstm.weight_ih_l0",
            None,
            "has no tensor \"lstm.weight_ih_l0\"",
        ),
        (
            "head.bias",
            Some(zeros(&[4], Kind::Float)),
            "must have shape [3], but has [4]",
        ),
        (
            "lstm.bias_hh_l0",
            Some(zeros(&[4], Kind::Float)),
            "must have shape [24]",
        ),
        (
            "head.bias",
            Some(zeros(&[3], Kind::Double)),
            "is Double, but embedding.weight is Float",
        ),
        (
            "embedding.weight",
            Some(zeros(&[9, 4], Kind::Int64)),
            "is Int64, but must be f32, f64, f16 or bf16",
        ),
        (
            "extra",
            Some(zeros(&[1], Kind::Float)),
            "not one of this model",
        ),
        (
            "head.bias",
            Some(zeros(&[3], Kind::Float) / 0.0),
            "tensor \"head.bias\" holds NaN",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let model = model(|_| ());
        model.save(folder.path()).unwrap();
        let path = folder.path().join("model.safetensors");
        let mut tensors = crate::checkpoint::safetensors::load(&path).unwrap();
        tensors.remove(name);
        tensors.extend(tensor.map(|tensor| (name.to_owned(), tensor)));
        let stored = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor));
        crate::checkpoint::safetensors::save(&path, stored, &[]).unwrap();
        let error = Model::load(folder.path()).unwrap_err().to_string();
        assert!(
            error.contains("model.safetensors") && error.contains(why),
            "{error}"
        );
    }
}

#[test]
fn ids_without_a_row_and_weights_of_nan_are_errors() {
    let model = model(|_| ());
    for id in [7, -1] {
        let error = Predictor::new(&model)
            .predict_ids(&[vec![1, id]])
            .unwrap_err();
        assert!(
            error
                .to_string()
                .contains("has 7 rows, but the tokenizer gives the id"),
            "{error}"
        );
    }
    let _ = tch::no_grad(|| model.head_bias.shallow_clone().fill_(f64::NAN));
    let error = Predictor::new(&model)
        .predict(&TEXTS)
        .unwrap_err()
        .to_string();
    assert!(error.contains("no finite probability"), "{error}");
}

#[test]
fn a_missing_or_foreign_directory_is_refused() {
    let error = |path: &Path| Model::load(path).unwrap_err().to_string();
    assert!(error(Path::new("no/such")).contains("not a model directory"));
    let folder = tempfile::tempdir().unwrap();
    assert!(error(folder.path()).contains("config.json: No such file"));
    for file in ["config.json", "model.safetensors", "tokenizer.json"] {
        let folder = tempfile::tempdir().unwrap();
        model(|_| ()).save(folder.path()).unwrap();
        std::fs::remove_file(folder.path().join(file)).unwrap();
        assert!(error(folder.path()).contains(&format!("{file}: No such file")));
    }
}
