//! Checkpoints that other people trained and published, against what torch says
//! is in them: `checkpoints/*/META.json`, made in Python.

mod common;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use cellway::checkpoint::safetensors::{self, Tensors};
use cellway::checkpoint::{Checkpoint, CheckpointError, CheckpointExt, ParseErrorKind, TensorInfo};
use cellway::import::RecurrentExt;
use cellway::lstm::{Call, Engine, State};
use common::tolerance::share_of_tolerance;
use serde_json::Value;
use tch::{Kind, Tensor};

fn checkpoints() -> PathBuf {
    common::shared_data().join("checkpoints")
}

fn json(path: &Path) -> Value {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&bytes).expect("JSON")
}

/// Every file that some META.json tells of and that is there, with its entry.
fn files() -> Vec<(PathBuf, Value)> {
    let mut files = Vec::new();
    let folders = std::fs::read_dir(checkpoints()).expect("the folder of checkpoints");
    for folder in folders.map(|folder| folder.expect("a folder").path()) {
        let meta = json(&folder.join("META.json"));
        for entry in meta["files"].as_array().expect("files") {
            let path = folder.join(entry["file"].as_str().expect("a name"));
            if path.exists() {
                files.push((path, entry.clone()));
            }
        }
    }
    files.sort_by(|a, b| a.0.cmp(&b.0));
    files
}

/// The same without those that are no checkpoints.
fn good_files() -> Vec<(PathBuf, Value)> {
    let mut files = files();
    files.retain(|(_, entry)| !entry["tensors"].is_null());
    assert!(files.len() >= 9, "only {} files are there", files.len());
    files
}

fn numbers(value: &Value) -> Vec<i64> {
    let numbers = value.as_array().expect("a list").iter();
    numbers.map(|n| n.as_i64().expect("a number")).collect()
}

#[test]
#[ignore = "needs CELLWAY_SHARED_DATA"]
fn every_tensor_is_where_torch_finds_it() {
    for (path, entry) in good_files() {
        let at = path.display();
        let checkpoint = Checkpoint::open(&path).unwrap();
        let expected = entry["tensors"].as_array().unwrap();
        assert_eq!(checkpoint.refused(), [], "{at}");
        let listed: BTreeSet<&str> = expected
            .iter()
            .map(|t| t["name"].as_str().unwrap())
            .collect();
        // There each tensor is listed once; we give it under every name it has.
        let tied = |tensor: &TensorInfo| {
            listed.iter().any(|name| {
                let other = checkpoint.find(name).unwrap();
                (other.storage, other.offset) == (tensor.storage, tensor.offset)
                    && (&other.shape, &other.stride) == (&tensor.shape, &tensor.stride)
            })
        };
        let strangers: Vec<&str> = checkpoint
            .tensors()
            .iter()
            .filter(|tensor| !listed.contains(&tensor.name[..]) && !tied(tensor))
            .map(|tensor| tensor.name.as_str())
            .filter(|name| !name.starts_with("constants["))
            .collect();
        // Of TorchScript the list is the state dict, which lacks what is neither
        // parameter nor buffer.
        match path.ends_with("silero_vad.jit") {
            true => assert_eq!(strangers, ["_state", "_context"]),
            false => assert!(strangers.is_empty(), "{strangers:?} of {at}"),
        }
        for expected in expected {
            let name = expected["name"].as_str().unwrap();
            let tensor = checkpoint.find(name).unwrap();
            let storage = &checkpoint.storages()[tensor.storage];
            assert_eq!(tensor.shape, numbers(&expected["shape"]), "{name} of {at}");
            // Pickles tell of the storage; the other files of the dtype.
            if let Some(dtype) = expected["dtype"].as_str() {
                assert_eq!(format!("torch.{}", tensor.dtype), dtype, "{name} of {at}");
            } else {
                let count = storage.bytes / tensor.dtype.size();
                let dtype = match expected["storage_type"].as_str().unwrap() {
                    "torch.FloatStorage" => "float32",
                    "torch.LongStorage" => "int64",
                    other => panic!("{other}"),
                };
                assert_eq!(tensor.dtype.name(), dtype, "{name} of {at}");
                assert_eq!(
                    tensor.stride,
                    numbers(&expected["stride"]),
                    "{name} of {at}"
                );
                assert_eq!(Value::from(tensor.offset), expected["offset"]);
                assert_eq!(Value::from(count), expected["storage_numel"]);
                assert_eq!(storage.key, expected["storage_key"].as_str().unwrap());
                assert_eq!(storage.device, expected["device"].as_str().unwrap());
            }
            let bytes = tensor.numel() * tensor.dtype.size();
            assert_eq!(checkpoint.bytes(name).unwrap().len(), bytes);
        }
        if let Some(globals) = entry["globals"].as_array() {
            assert_eq!(
                &Value::from(checkpoint.globals()),
                &entry["globals"],
                "{at}"
            );
            assert!(!globals.is_empty());
        }
        let loaded = checkpoint.load().unwrap();
        assert!(loaded.len() >= expected.len());
        recurrent_modules(&checkpoint, &entry);
    }
}

fn recurrent_modules(checkpoint: &Checkpoint, entry: &Value) {
    let at = checkpoint.path().display();
    let expected = entry["recurrent"].as_array().unwrap();
    let found = checkpoint.recurrent();
    assert_eq!(found.len(), expected.len(), "{at}");
    for expected in expected {
        let name = expected["prefix"].as_str().unwrap();
        let ours = found.iter().find(|one| one.name == name).expect(name);
        let told = serde_json::json!({
            "prefix": ours.name, "kind": ours.kind.name(), "input": ours.input_size,
            "hidden": ours.hidden_size, "layers": ours.num_layers,
            "bidirectional": ours.bidirectional,
        });
        assert_eq!(&told, expected, "{at}");
        assert_eq!(ours.problem, None, "{at}");
    }
}

#[test]
#[ignore = "needs CELLWAY_SHARED_DATA"]
fn every_lstm_computes_what_torch_computes() {
    let (mut runs, mut worst) = (0, 0.0f64);
    for (path, entry) in good_files() {
        let reference = format!("{}.ref_lstm.safetensors", path.display());
        let reference: Tensors = safetensors::load(Path::new(&reference)).unwrap();
        let checkpoint = Checkpoint::open(&path).unwrap();
        for module in entry["recurrent"].as_array().unwrap() {
            let name = module["prefix"].as_str().unwrap();
            let lstm = checkpoint.lstm(name).unwrap();
            let get = |what: &str| &reference[&format!("{name}/{what}")];
            for engine in [Engine::Plain, Engine::Fused] {
                let call = Call {
                    engine,
                    ..Call::default()
                };
                let out = lstm.forward(&get("x").transpose(0, 1), &call).unwrap();
                let y = out.output.transpose(0, 1);
                for (ours, what) in [(y, "y"), (out.state.h, "h_n"), (out.state.c, "c_n")] {
                    let share = share_of_tolerance(&lstm, &ours, get(what));
                    assert!(
                        share <= 1.0,
                        "{what} of {name} in {}, {engine:?}: {share} of the tolerance",
                        path.display()
                    );
                    worst = worst.max(share);
                }
                runs += 1;
            }
        }
    }
    println!("{runs} runs, at most {worst:.3} of the tolerance");
    assert!(runs >= 22, "only {runs} runs");
}

#[test]
#[ignore = "needs CELLWAY_SHARED_DATA"]
fn what_only_has_the_name_of_a_checkpoint_is_refused_by_what_it_is() {
    let folder = checkpoints().join("negative_not_checkpoints");
    let cases = [
        (
            "state_dict_lfs_pointer.pt",
            ["git-LFS pointer", "git lfs pull"],
        ),
        ("trained_rnn_is_html.pt", ["web page", "download"]),
    ];
    for (file, words) in cases {
        let path = folder.join(file);
        match Checkpoint::open(&path) {
            Err(CheckpointError::Parse { error, .. }) => {
                assert_eq!(error.kind, ParseErrorKind::NotACheckpoint, "{file}");
                for word in words {
                    assert!(error.message.contains(word), "{file}: {error}");
                }
            }
            other => panic!("{file}: {other:?}"),
        }
        let message = Checkpoint::open(&path).unwrap_err().to_string();
        assert!(message.contains(file), "{message}");
    }
}

/// The loss of a published model on its own validation text: the numbers went
/// from its training in 2019 through the file into our LSTM.
#[test]
#[ignore = "needs CELLWAY_SHARED_DATA"]
fn a_character_model_has_the_validation_loss_that_was_published() {
    const BATCH: usize = 128;
    const TIME: usize = 100;
    let folder = checkpoints().join("charrnn_anna");
    let reference = json(&folder.join("ref_val_loss.json"));
    let expected: Vec<f64> = reference["per_batch"]
        .as_array()
        .unwrap()
        .iter()
        .map(|loss| loss.as_f64().unwrap())
        .collect();
    let checkpoint = Checkpoint::open(folder.join("rnn_20_epoch.net")).unwrap();

    let tokens = checkpoint.json("tokens").unwrap();
    let tokens: Vec<&str> = tokens
        .as_array()
        .unwrap()
        .iter()
        .map(|token| token.as_str().unwrap())
        .collect();
    let text = std::fs::read_to_string(folder.join("anna.txt")).unwrap();
    // As Python reads lines.
    let text = text.replace("\r\n", "\n");
    let ids: Vec<i64> = text
        .chars()
        .map(|character| {
            let mut buffer = [0; 4];
            let token: &str = character.encode_utf8(&mut buffer);
            tokens.iter().position(|other| *other == token).unwrap() as i64
        })
        .collect();
    let validation = &ids[ids.len() * 9 / 10..];
    let batches = validation.len() / (BATCH * TIME);
    assert_eq!(batches, expected.len());
    // Each of the 128 rows is a piece of the text; a batch is 100 columns.
    let rows = Tensor::from_slice(&validation[..batches * BATCH * TIME]).view([BATCH as i64, -1]);

    let lstm = checkpoint.lstm("state_dict.lstm").unwrap();
    let weight = checkpoint.tensor("state_dict.fc.weight").unwrap();
    let bias = checkpoint.tensor("state_dict.fc.bias").unwrap();
    let mut state: Option<State> = None;
    let mut losses = Vec::new();
    for batch in 0..batches as i64 {
        let x = rows.narrow(1, batch * TIME as i64, TIME as i64);
        // The next character; behind a row's last one its own first, as the
        // model was measured.
        let targets = x.roll([-1], [1]);
        let input = x.one_hot(tokens.len() as i64).to_kind(Kind::Float);
        let call = Call {
            state: state.as_ref(),
            ..Call::default()
        };
        let out = tch::no_grad(|| lstm.forward(&input, &call)).unwrap();
        let scores = out.output.linear(&weight, Some(&bias));
        let scores = scores.reshape([-1, tokens.len() as i64]);
        let loss = scores.cross_entropy_for_logits(&targets.reshape([-1]));
        losses.push(loss.double_value(&[]));
        state = Some(out.state);
    }
    for (n, (ours, expected)) in losses.iter().zip(&expected).enumerate() {
        assert!(
            (ours - expected).abs() <= 1e-4,
            "batch {n}: {ours} {expected}"
        );
    }
    let mean = losses.iter().sum::<f64>() / losses.len() as f64;
    let published = reference["published_val_loss_step_2780"].as_f64().unwrap();
    assert_eq!(published, 1.5276);
    assert_eq!(format!("{mean:.4}"), "1.5276");
}
