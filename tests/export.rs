//! `cellway export`: what it writes, read again by torch, by safetensors and by us.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use cellway::checkpoint::{Checkpoint, CheckpointExt, safetensors, save_torch};
use cellway::lstm::Init;
use cellway::model::{HeadKind, Model, ModelConfig, Pooling};
use cellway::random::Stream;
use cellway::text::Tokenizer;
use common::sandbox::{MODEL, Sandbox};
use common::tolerance::tolerance;
use serde_json::Value;
use tch::{Kind, Tensor};

const TEXTS: [&str; 5] = [
    "the film is good so so",
    "bad",
    "\"", // no token at all
    "it all is unheard of, well this a movie is bad so so so so so",
    "a good movie",
];

fn reference(arguments: &[&str], folder: &Path) -> String {
    let mut command = common::python();
    command
        .arg(common::root().join("scripts/reference/export_reference.py"))
        .args(arguments)
        .current_dir(folder);
    common::run(&mut command)
}

/// A model of the toy's words with random weights.
fn save_random_model(config: ModelConfig, folder: &Path, n: u64) {
    let tokenizer = Tokenizer::load(folder.join("../toy/tokenizer.json")).unwrap();
    let model = Model::new(config, tokenizer, Init::default(), Stream::new(n, "export")).unwrap();
    model.save(folder).unwrap();
}

fn close(ours: &Value, theirs: &Value, what: &str) {
    let (ours, theirs) = (ours.as_f64().unwrap(), theirs.as_f64().unwrap());
    let bound = tolerance(Kind::Float).value;
    assert!((ours - theirs).abs() <= bound, "{what}: {ours} {theirs}");
}

#[test]
fn the_python_module_gives_the_probabilities_of_predict() {
    let sandbox = Sandbox::trained();
    let at = |name: &str| sandbox.path().join(name);
    fs::create_dir(at("models")).unwrap();
    // The trained one stands first.
    fs::rename(at(MODEL), at("models/toy")).unwrap();
    let toy = Model::load(at("models/toy")).unwrap();
    assert!(toy.encode(&TEXTS).unwrap()[2].is_empty());

    let mut folders = vec!["models/toy".to_owned()];
    let two = ["no", "\"yes\"\\\n\u{1f980}"].map(str::to_owned);
    let three = ["a", "b", "c"].map(str::to_owned);
    for labels in [&two[..], &three[..]] {
        for bidirectional in [false, true] {
            for pooling in [Pooling::Last, Pooling::Mean, Pooling::Max, Pooling::All] {
                let n = folders.len() as i64;
                let rows = toy.config().vocab_size;
                let mut config = ModelConfig::new(rows, 5, 7, labels);
                config.bidirectional = bidirectional;
                config.pooling = pooling;
                config.num_layers = 1 + n % 3;
                config.proj_size = if n % 4 == 1 { 3 } else { 0 };
                config.bias = n % 5 != 2;
                config.dropout = if n % 3 == 0 { 0.0 } else { 0.25 };
                config.head_dropout = 0.5;
                config.max_tokens = (n % 2 == 0).then_some(4);
                let name = format!("models/{n}");
                fs::create_dir(at(&name)).unwrap();
                save_random_model(config, &at(&name), n as u64);
                folders.push(name);
            }
        }
    }
    assert_eq!(folders.len(), 17);

    let mut softmax = 0;
    for folder in &folders {
        let out = |ending: &str| format!("{folder}/export/model.{ending}");
        fs::create_dir(at(folder).join("export")).unwrap();
        fs::copy(
            at(folder).join("tokenizer.json"),
            at(folder).join("export/tokenizer.json"),
        )
        .unwrap();
        let module = ["export", folder, "--python-module", "--out"];
        sandbox.stdout(&[&module[..], &[&out("pt")]].concat());
        sandbox.stdout(&["export", folder, "--out", &out("safetensors")]);
        softmax += i32::from(Model::load(at(folder)).unwrap().config().head == HeadKind::Softmax);
    }
    assert_eq!(softmax, 8);

    sandbox.write("texts.json", &serde_json::to_string(&TEXTS).unwrap());
    let exports: Vec<String> = folders.iter().map(|f| format!("{f}/export")).collect();
    let mut arguments = vec!["probabilities", "texts.json"];
    arguments.extend(exports.iter().map(String::as_str));
    let answers: Vec<Value> = serde_json::from_str(&reference(&arguments, sandbox.path())).unwrap();
    assert_eq!(answers.len(), folders.len());
    for (folder, answer) in folders.iter().zip(&answers) {
        let labels = Model::load(at(folder)).unwrap().config().labels();
        assert_eq!(answer["labels"], Value::from(labels.clone()), "{folder}");
        let predict = [&["predict", folder, "--json"][..], &TEXTS].concat();
        let out = sandbox.stdout(&predict);
        let rows: Vec<Value> = out
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(rows.len(), TEXTS.len());
        let mut seen = Vec::new();
        for (n, row) in rows.iter().enumerate() {
            for (class, label) in labels.iter().enumerate() {
                let ours = &row["probabilities"][label];
                close(
                    ours,
                    &answer["rows"][n][class],
                    &format!("{folder} {n} {label}"),
                );
                seen.push(ours.as_f64().unwrap());
            }
        }
        // Probabilities that are all one would agree with anything.
        let spread = |a: f64, b: f64| (a - b).abs() > 1e-4;
        assert!(
            seen.iter()
                .any(|&p| spread(p, seen[0]) && spread(p, 1.0 - seen[0]))
        );
    }
}

/// What the second file holds up to torch's own last member is what the first
/// holds in front of its directory.
fn assert_as_torch_writes(ours: &Path, torchs: &Path) {
    let (ours, torchs) = (fs::read(ours).unwrap(), fs::read(torchs).unwrap());
    let directory = ours.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
    let differs = ours[..directory]
        .iter()
        .zip(&torchs)
        .position(|(a, b)| a != b);
    assert_eq!(differs, None);
    assert!(torchs.len() > directory);
    assert!(torchs[directory..].starts_with(b"PK\x03\x04"));
    let name = b"/.data/serialization_id";
    assert!(
        torchs[directory..directory + 120]
            .windows(name.len())
            .any(|w| w == name)
    );
}

fn bits(tensor: &Tensor) -> Vec<u8> {
    let mut bytes = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
    tensor.contiguous().copy_data_u8(&mut bytes, tensor.numel());
    bytes
}

#[test]
fn weights_come_back_to_the_bit_by_way_of_torch_and_without_it() {
    let sandbox = Sandbox::trained();
    let at = |name: &str| sandbox.path().join(name);
    fs::create_dir(at("again")).unwrap();
    for ending in ["pt", "pth", "bin", "safetensors"] {
        sandbox.stdout(&["export", MODEL, "--out", &format!("toy.{ending}")]);
    }
    reference(
        &["again", "toy.pt", "again/toy.pt", "toy-again.safetensors"],
        sandbox.path(),
    );

    let model = Model::load(at(MODEL)).unwrap();
    let written: BTreeMap<String, &Tensor> = model.parameters().into_iter().collect();
    for name in [
        "toy.pt",
        "toy.pth",
        "toy.bin",
        "toy.safetensors",
        "again/toy.pt",
    ] {
        let checkpoint = Checkpoint::open(at(name)).unwrap();
        assert_eq!(checkpoint.tensors().len(), written.len(), "{name}");
        for (tensor, written) in &written {
            let read = checkpoint.tensor(tensor).unwrap();
            assert_eq!((read.kind(), read.size()), (written.kind(), written.size()));
            assert_eq!(bits(&read), bits(written), "{name} {tensor}");
        }
    }
    let again = safetensors::load(&at("toy-again.safetensors")).unwrap();
    assert_eq!(again.len(), written.len());
    for (tensor, written) in &written {
        assert_eq!(bits(&again[tensor]), bits(written), "{tensor}");
    }
    assert_as_torch_writes(&at("toy.pt"), &at("again/toy.pt"));
}

#[test]
fn every_dtype_is_written_as_torch_writes_it() {
    use Kind::*;
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("again")).unwrap();
    let kinds = [
        Uint8,
        Int8,
        Int16,
        Int,
        Int64,
        Half,
        Float,
        Double,
        ComplexHalf,
        ComplexFloat,
        ComplexDouble,
        Bool,
        BFloat16,
        Float8e5m2,
        Float8e4m3fn,
        Float8e5m2fnuz,
        Float8e4m3fnuz,
    ];
    let mut tensors = Vec::new();
    for (n, kind) in kinds.into_iter().enumerate() {
        for (m, shape) in [&[][..], &[0, 3], &[70_000], &[1, 2, 3, 4]]
            .iter()
            .enumerate()
        {
            let count = shape.iter().product::<i64>() as usize * kind.elt_size_in_bytes();
            let bytes: Vec<u8> = (0..count)
                .map(|at| match kind {
                    Bool => (at % 2) as u8,
                    _ => ((at + n) * 37 % 256) as u8,
                })
                .collect();
            let tensor = Tensor::from_data_size(&bytes, shape, kind);
            tensors.push((format!("{kind:?}.{m}"), tensor));
        }
    }
    // Enough of them for a second group of a dict's items.
    for n in 0..950 {
        tensors.push((format!("many.{n}"), Tensor::from(n as f32)));
    }
    let tied = tensors[4].1.shallow_clone();
    tensors.push(("tied".to_owned(), tied));
    let pairs = || tensors.iter().map(|(name, t)| (name.as_str(), t));
    save_torch(at("all.pt"), pairs()).unwrap();
    reference(&["again", "all.pt", "again/all.pt", "-"], folder.path());
    assert_as_torch_writes(&at("all.pt"), &at("again/all.pt"));
    let checkpoint = Checkpoint::open(at("again/all.pt")).unwrap();
    for (name, tensor) in &tensors {
        assert_eq!(
            bits(&checkpoint.tensor(name).unwrap()),
            bits(tensor),
            "{name}"
        );
    }
}

#[test]
fn what_cannot_be_exported_is_named_and_leaves_nothing() {
    let sandbox = Sandbox::trained();
    sandbox.write("there.pt", "mine");
    sandbox.write("module.py", "mine");
    fs::create_dir(sandbox.path().join("folder.pt")).unwrap();
    let before = sandbox.names();
    for (arguments, says) in [
        (
            &[MODEL, "--out", "toy.onnx"][..],
            "--out toy.onnx: give it a name that ends in .pt, .pth, .bin or .safetensors",
        ),
        (&[MODEL, "--out", "toy"], "--out toy: give it a name"),
        (&[MODEL], "--out <FILE>"),
        (
            &["nowhere", "--out", "toy.pt"],
            "nowhere: not a model directory",
        ),
        (
            &["nowhere", "--out", "toy.pt", "--python-module"],
            "nowhere: not a model directory",
        ),
        (
            &[MODEL, "--out", "there.pt"],
            "--out there.pt: is there already; --replace writes over it",
        ),
        (
            &[MODEL, "--out", "module.pt", "--python-module"],
            "--out module.py: is there already; --replace writes over it",
        ),
        (
            &[MODEL, "--out", "no/toy.pt"],
            "--out no/toy.pt: its folder is not there; make it first",
        ),
        (
            &[MODEL, "--out", "folder.pt", "--replace"],
            "--out folder.pt: is a folder",
        ),
    ] {
        sandbox.fails(&[&["export"][..], arguments].concat(), &[says]);
        assert_eq!(sandbox.names(), before, "{arguments:?}");
    }
    let text = |name: &str| fs::read_to_string(sandbox.path().join(name)).unwrap();
    assert_eq!(
        (text("there.pt"), text("module.py")),
        ("mine".into(), "mine".into())
    );
}

#[test]
fn replace_writes_over_and_json_tells_what_was_written() {
    let sandbox = Sandbox::trained();
    sandbox.write("toy.safetensors", "old");
    sandbox.write("toy.py", "old");
    let arguments = [
        "export",
        MODEL,
        "--out",
        "toy.safetensors",
        "--python-module",
    ];
    let out = sandbox.stdout(&[&arguments[..], &["--replace", "--json"]].concat());
    let told: Value = serde_json::from_str(&out).unwrap();
    let model = Model::load(sandbox.path().join(MODEL)).unwrap();
    let numbers: usize = model.parameters().iter().map(|(_, t)| t.numel()).sum();
    assert_eq!(told["weights"], "toy.safetensors");
    assert_eq!(told["python_module"], "toy.py");
    assert_eq!(told["tensors"], model.parameters().len());
    assert_eq!(told["numbers"], numbers);
    let module = fs::read_to_string(sandbox.path().join("toy.py")).unwrap();
    assert!(module.contains("class Classifier(nn.Module):"));
    let read = safetensors::load(&sandbox.path().join("toy.safetensors")).unwrap();
    assert_eq!(read.len(), model.parameters().len());
    let lines = sandbox.stdout(&["export", MODEL, "--out", "toy.bin"]);
    assert!(lines.starts_with("weights        toy.bin ("), "{lines}");
}
