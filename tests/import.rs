//! `cellway import` and `cellway inspect` on checkpoints that torch made here,
//! and on a published one.

mod common;

use std::fs;
use std::path::Path;

use common::sandbox::Sandbox;
use common::tolerance::tolerance;
use serde_json::Value;
use tch::Kind;

/// A sandbox with the files of `scripts/reference/import_reference.py`.
fn checkpoints() -> Sandbox {
    let sandbox = Sandbox::new();
    let script = common::root().join("scripts/reference/import_reference.py");
    common::run(common::python().arg(script).arg(sandbox.path()));
    sandbox
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// The largest difference of a probability between the model and torch.
fn difference(sandbox: &Sandbox, model: &str, checkpoint: &str) -> f64 {
    let answers = &json(&sandbox.path().join("probabilities.json"))[checkpoint];
    let labels = json(&sandbox.path().join(model).join("config.json"));
    let classes = labels["id2label"].as_object().unwrap().len();
    let out = sandbox.stdout(&["predict", model, "--input", "texts.txt", "--json", "-q"]);
    let rows: Vec<Value> = out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let answers = answers.as_array().unwrap();
    assert_eq!(rows.len(), answers.len());
    let mut largest: f64 = 0.0;
    for (row, answer) in rows.iter().zip(answers) {
        for class in 0..classes {
            let label = labels["id2label"][class.to_string()].as_str().unwrap();
            let ours = row["probabilities"][label].as_f64().unwrap();
            largest = largest.max((ours - answer[class].as_f64().unwrap()).abs());
        }
    }
    largest
}

#[test]
fn every_way_to_save_a_classifier_is_imported_and_computes_what_torch_does() {
    let sandbox = checkpoints();
    let words = ["--vocab", "words.json"];
    for (checkpoint, more) in [
        ("plain.pt", &words[..]),
        ("plain.pt", &["--vocab", "words.txt"]),
        ("legacy.pt", &words),
        ("whole.pt", &words),
        ("parallel.pt", &words),
        ("compiled.pt", &words),
        ("nested.pt", &[]),
        ("nested.pt", &["--vocab-key", "vocab", "--labels", "x,y,z"]),
        ("double.pt", &words),
        ("sigmoid.pt", &[]),
        (
            "unexpected.pt",
            &["--vocab", "words.json", "--allow-unexpected"],
        ),
        (
            "two.pt",
            &[
                "--vocab",
                "words.json",
                "--allow-unexpected",
                "--map",
                "lstm=a.enc.rnn",
                "--map",
                "embedding=a.enc.emb",
                "--map",
                "head=a.out.fc",
            ],
        ),
        (
            "onnx.pt",
            &["--vocab", "words.json", "--gate-order", "onnx"],
        ),
        (
            "onnx.pt",
            &["--vocab", "words.json", "--gate-order", "iofc"],
        ),
        (
            "haste.pt",
            &["--vocab", "words.json", "--gate-order", "igfo"],
        ),
        (
            "keras.npz",
            &["--vocab", "words.json", "--gate-order", "keras"],
        ),
        ("unnamed.npz", &words),
        ("double.pt", &["--vocab", "words.json", "--dtype", "f32"]),
    ] {
        let import = [
            "import",
            checkpoint,
            "--out",
            "model",
            "--tokenizer",
            "whitespace",
        ];
        let out = sandbox.stdout(&[&import, more].concat());
        for part in [
            "mapping",
            "embedding.weight",
            "lstm.",
            "head.weight",
            "pooling",
            "model",
        ] {
            assert!(out.contains(part), "{part} is not in\n{out}");
        }
        let worst = difference(&sandbox, "model", checkpoint);
        let bound = tolerance(Kind::Float).value;
        assert!(worst <= bound, "{checkpoint} {more:?}: {worst:e}");
        fs::remove_dir_all(sandbox.path().join("model")).unwrap();
    }
    // The wrong order of the gates is not the same model: the test can fail.
    let import = [
        "import",
        "onnx.pt",
        "--out",
        "model",
        "--tokenizer",
        "whitespace",
    ];
    sandbox.stdout(&[&import, &words[..]].concat());
    assert!(difference(&sandbox, "model", "onnx.pt") > 1e-3);
}

#[test]
fn dtypes_are_kept_or_cast_and_said() {
    let sandbox = checkpoints();
    // A probability is printed in f32, whatever the model computes in: the rounding of
    // numbers below 1 is all that f64 leaves.
    let printed = f64::from(f32::EPSILON) / 2.0;
    for (checkpoint, dtype, says, bound) in [
        ("double.pt", None, "float64", printed),
        (
            "double.pt",
            Some("f32"),
            "float64 to f32",
            tolerance(Kind::Float).value,
        ),
        (
            "plain.pt",
            Some("bf16"),
            "float32 to bf16",
            tolerance(Kind::BFloat16).value,
        ),
        (
            "plain.pt",
            Some("f16"),
            "float32 to f16",
            tolerance(Kind::Half).value,
        ),
    ] {
        let mut arguments = vec![
            "import",
            checkpoint,
            "--out",
            "model",
            "--vocab",
            "words.json",
        ];
        arguments.extend(["--tokenizer", "whitespace"]);
        arguments.extend(dtype.iter().flat_map(|dtype| ["--dtype", dtype]));
        let out = sandbox.stdout(&arguments);
        assert!(out.contains(says), "{says} is not in\n{out}");
        let worst = difference(&sandbox, "model", checkpoint);
        assert!(worst <= bound, "{checkpoint} as {dtype:?}: {worst:e}");
        fs::remove_dir_all(sandbox.path().join("model")).unwrap();
    }
}

#[test]
fn what_cannot_be_imported_is_told_and_nothing_is_written() {
    let sandbox = checkpoints();
    let before = sandbox.names();
    for (arguments, says) in [
        (
            &["unexpected.pt"][..],
            &[
                "2 tensors are unexpected",
                "enc.norm.weight, enc.norm.bias",
                "--allow-unexpected",
            ][..],
        ),
        (
            &["two.pt"],
            &["several LSTMs: a.enc.rnn, b.enc.rnn", "--map lstm=NAME"],
        ),
        (
            &["two.pt", "--map", "lstm=enc.rnn"],
            &["several modules", "whole path"],
        ),
        (
            &["missing.pt"],
            &["enc.rnn is not a whole LSTM", "weight_hh_l1"],
        ),
        (
            &["wrong.pt"],
            &[
                "bias_ih_l1 has shape [3] instead of [16]",
                "bias_hh_l2, which such a module has not",
            ],
        ),
        (&["gru.pt"], &["has no LSTM", "rnn (GRU)"]),
        (
            &["plain.pt", "--map", "head=nowhere"],
            &["no tensor \"nowhere\""],
        ),
        (
            &["plain.pt", "--map", "cell=x"],
            &["--map cell=x", "embedding=NAME"],
        ),
        (
            &["plain.pt", "--map", "embedding=out.fc"],
            &["embedding \"out.fc.weight\"", "reads 5 numbers"],
        ),
        (
            &["plain.pt", "--pooling", "all"],
            &["--pooling", "reads 8 numbers", "gives it 24"],
        ),
        (&["plain.pt", "--head", "sigmoid"], &["--head", "one logit"]),
        (
            &["plain.pt", "--labels", "a,b"],
            &["--labels", "2 labels for 3 classes"],
        ),
        (
            &["plain.pt", "--gate-order", "ifgh"],
            &["--gate-order", "permutation of ifgo"],
        ),
        (
            &["plain.pt", "--tokenizer", "nothing"],
            &["--tokenizer nothing", "tokenizer.json"],
        ),
        (
            &["plain.pt", "--tokenizer", "regex:("],
            &["regex: \"(\" is no regular expression"],
        ),
        (
            &["plain.pt", "--unk", "<who>"],
            &["--unk <who>", "--unk-id"],
        ),
        (
            &["plain.pt", "--unk-id", "3"],
            &["--unk-id", "that of \"fine\""],
        ),
        (
            &["plain.pt", "--vocab-key", "vocab"],
            &["no value \"vocab\""],
        ),
        (&["toy.csv"], &["toy.csv", "is no checkpoint"]),
        (&["gone.pt"], &["gone.pt: No such file"]),
    ] {
        let vocab = match arguments.contains(&"--vocab-key") {
            true => &[][..],
            false => &["--vocab", "words.json"],
        };
        let import = [&["import"], arguments, &["--out", "model"], vocab].concat();
        sandbox.fails(&import, says);
        assert_eq!(sandbox.names(), before, "{arguments:?}");
    }
    sandbox.fails(
        &["import", "plain.pt", "--out", "model"],
        &["--vocab", "plain.pt holds no vocabulary"],
    );
    sandbox.write("long.json", r#"{"a": 9}"#);
    sandbox.fails(
        &[
            "import",
            "plain.pt",
            "--out",
            "model",
            "--vocab",
            "long.json",
        ],
        &["the vocabulary", "ids up to 9", "9 rows"],
    );
    sandbox.fails(
        &[
            "import",
            "plain.pt",
            "--out",
            "words.json",
            "--vocab",
            "words.json",
        ],
        &["--out words.json: is there already"],
    );
}

#[test]
fn unknown_words_are_the_unknown_word_or_an_error() {
    let sandbox = checkpoints();
    let import = [
        "import",
        "plain.pt",
        "--tokenizer",
        "regex:\\w+",
        "--lowercase",
        "--out",
    ];
    sandbox.write("few.json", r#"{"a": 2, "film": 5}"#);
    let out = sandbox.stdout(&[&import[..], &["strict", "--vocab", "few.json"]].concat());
    assert!(out.contains("are an error"), "{out}");
    sandbox.stdout(&["predict", "strict", "A film"]);
    sandbox.fails(
        &["predict", "strict", "A boat"],
        &["cannot tokenize \"A boat\"", "unknown token"],
    );
    let out = sandbox.stdout(
        &[
            &import[..],
            &["open", "--vocab", "few.json", "--unk-id", "1"],
        ]
        .concat(),
    );
    assert!(out.contains("<unk>"), "{out}");
    sandbox.stdout(&["predict", "open", "A boat"]);
    let as_json = [&import[..], &["third", "--vocab", "few.json", "--json"]].concat();
    let choices: Value = serde_json::from_str(&sandbox.stdout(&as_json)).unwrap();
    assert_eq!(choices["roles"]["lstm"]["hidden_size"], 4);
    assert_eq!(choices["choices"]["pooling"]["value"], "last");
}

#[test]
fn inspect_shows_what_is_there() {
    let sandbox = checkpoints();
    let out = sandbox.stdout(&["inspect", "nested.pt"]);
    for part in [
        "torch.save zip archive",
        "model_state_dict.enc.rnn.weight_ih_l0",
        "LSTM",
        "optimizer_state_dict.state.17.exp_avg",
        "vocab",
        "dict of 9",
        "epoch",
        "embedding model_state_dict.enc.emb.weight",
        "head model_state_dict.out.fc.weight",
        "never called",
    ] {
        assert!(out.contains(part), "{part} is not in\n{out}");
    }
    assert!(sandbox.stdout(&["inspect", "gru.pt"]).contains("GRU"));
    let report: Value =
        serde_json::from_str(&sandbox.stdout(&["inspect", "whole.pt", "--json"])).unwrap();
    let lstm = &report["recurrent"][0];
    assert_eq!(lstm["name"], "enc.rnn");
    assert_eq!(
        (&lstm["kind"], &lstm["num_layers"]),
        (&"LSTM".into(), &2.into())
    );
    assert_eq!(
        (&lstm["bidirectional"], &lstm["batch_first"]),
        (&true.into(), &true.into())
    );
    assert!(
        report["globals"]
            .as_array()
            .unwrap()
            .contains(&"__main__.Classifier".into())
    );
    assert_eq!(report["tensors"][0]["name"], "enc.emb.weight");
    assert_eq!(report["tensors"][0]["parameter"], true);

    sandbox.stdout(&["inspect", "nested.pt", "--save-json", "vocab.json", "vocab"]);
    assert_eq!(
        json(&sandbox.path().join("vocab.json")),
        json(&sandbox.path().join("words.json"))
    );
    sandbox.fails(
        &["inspect", "nested.pt", "--save-json", "vocab.json", "vocab"],
        &["--save-json vocab.json: is there already"],
    );
    sandbox.fails(
        &["inspect", "nested.pt", "--save-json", "x.json", "voc"],
        &["no value \"voc\"", "epoch"],
    );
    sandbox.fails(
        &["inspect", "words.json"],
        &["words.json", "is JSON, not a checkpoint"],
    );
    assert!(!sandbox.path().join("x.json").exists());
}

/// Accuracy, mean confidence and expected calibration error in ten bins
/// (Guo et al. 2017, equation 3), from the most probable class of each text.
fn calibration(rows: &[(Vec<f64>, usize)]) -> [f64; 3] {
    let mut bins = [(0.0, 0.0); 10];
    let (mut right, mut confident) = (0.0, 0.0);
    for (probabilities, truth) in rows {
        let confidence = probabilities.iter().copied().fold(0.0, f64::max);
        let hit = f64::from(u8::from(probabilities[*truth] == confidence));
        right += hit;
        confident += confidence;
        let bin = ((confidence * 10.0).ceil() as usize - 1).min(9);
        bins[bin].0 += hit;
        bins[bin].1 += confidence;
    }
    let count = rows.len() as f64;
    let gap: f64 = bins
        .iter()
        .map(|(hits, confidence)| (hits - confidence).abs())
        .sum();
    [right / count, confident / count, gap / count]
}

/// A model of somebody else's, with its own vocabulary, on its author's texts.
#[test]
#[ignore = "needs CELLWAY_SHARED_DATA"]
fn a_published_sentiment_model_measures_what_its_author_measured() {
    let sandbox = Sandbox::new();
    let folder = common::shared_data().join("checkpoints/sentlstm_rt");
    let file = |name: &str| folder.join(name).display().to_string();
    sandbox.stdout(&[
        "import",
        &file("sentlstm_rt.pt"),
        "--out",
        "model",
        "--labels",
        "0,1",
        "--tokenizer",
        "regex:[a-z0-9']+",
        "--lowercase",
        "--max-tokens",
        "200",
    ]);
    let out = sandbox.stdout(&[
        "predict",
        "model",
        "--input",
        &file("sample_test.csv"),
        "--json",
        "-q",
    ]);
    let mut table = csv::Reader::from_path(file("sample_test.csv")).unwrap();
    let truths = table
        .records()
        .map(|row| row.unwrap()[1].parse::<usize>().unwrap());
    let reference = json(Path::new(&file("ref_probs_sample_test.json")));
    let (mut rows, mut largest) = (Vec::new(), 0f64);
    for (n, (line, truth)) in out.lines().zip(truths).enumerate() {
        let row: Value = serde_json::from_str(line).unwrap();
        let probabilities: Vec<f64> = ["0", "1"]
            .iter()
            .map(|label| row["probabilities"][label].as_f64().unwrap())
            .collect();
        for (class, probability) in probabilities.iter().enumerate() {
            let expected = reference["probs"][n][class].as_f64().unwrap();
            largest = largest.max((probability - expected).abs());
        }
        rows.push((probabilities, truth));
    }
    let published = json(Path::new(&file("metrics.json")));
    let measured = calibration(&rows);
    println!(
        "{} texts: accuracy, confidence, ECE {measured:?}; largest difference of a probability {largest:e}",
        rows.len()
    );
    assert_eq!(rows.len(), 500);
    for (name, value) in [
        "test_accuracy",
        "mean_confidence",
        "expected_calibration_error",
    ]
    .iter()
    .zip(measured)
    {
        let expected = published[*name].as_f64().unwrap();
        assert!(
            (value - expected).abs() < 0.00005,
            "{name}: {value} instead of {expected}"
        );
    }
    assert!(largest <= tolerance(Kind::Float).value, "{largest:e}");
}
