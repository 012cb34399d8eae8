//! `cellway compare` as a person types it: against torch in the project's
//! Python, and against references that were kept.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;

use cellway::checkpoint::Checkpoint;
use cellway::checkpoint::safetensors::{self, Tensors};
use common::sandbox::{MODEL, Sandbox};
use serde_json::Value;
use tch::{Kind, Tensor};

fn trained() -> Sandbox {
    let sandbox = Sandbox::trained();
    // `compare` finds .venv where it runs.
    std::os::unix::fs::symlink(common::root().join(".venv"), sandbox.path().join(".venv")).unwrap();
    sandbox
}

fn json(sandbox: &Sandbox, arguments: &[&str]) -> Value {
    let mut all = vec!["compare", "--json", "--quiet"];
    all.extend(arguments);
    serde_json::from_str(&sandbox.stdout(&all)).unwrap()
}

fn names(found: &Value) -> Vec<&str> {
    let stages = found["comparison"]["stages"].as_array().unwrap();
    stages
        .iter()
        .map(|stage| stage["name"].as_str().unwrap())
        .collect()
}

/// The metadata and tensors of a reference, changed, in a file of its own.
fn rewrite(
    sandbox: &Sandbox,
    from: &str,
    to: &str,
    change: impl Fn(&mut BTreeMap<String, String>, &mut Tensors),
) {
    let path = sandbox.path().join(from);
    let mut tensors = safetensors::load(&path).unwrap();
    let file = Checkpoint::open(&path).unwrap();
    let text = |value: Value| value.as_str().unwrap().to_owned();
    let mut metadata: BTreeMap<String, String> = file
        .values()
        .into_iter()
        .map(|value| (value.name.clone(), text(file.json(&value.name).unwrap())))
        .collect();
    change(&mut metadata, &mut tensors);
    let metadata: Vec<(&str, &str)> = metadata
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect();
    let tensors = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor));
    safetensors::save(&sandbox.path().join(to), tensors, &metadata).unwrap();
}

#[test]
fn a_model_is_within_tolerance_in_every_dtype_and_engine() {
    let sandbox = trained();
    for (dtype, engine) in [
        ("f64", "plain"),
        ("f32", "plain"),
        ("f32", "fused"),
        ("bf16", "plain"),
        ("f16", "plain"),
    ] {
        let found = json(&sandbox, &[MODEL, "--dtype", dtype, "--engine", engine]);
        let comparison = &found["comparison"];
        assert_ne!(
            comparison["verdict"], "outside",
            "{dtype} {engine}: {found:#}"
        );
        assert_eq!(comparison["dtype"], dtype);
        assert!(
            found["reference"]["torch"]
                .as_str()
                .unwrap()
                .starts_with("2.11")
        );
        let names = names(&found);
        for name in [
            "embedded",
            "lstm/l0/h",
            "lstm/y",
            "lstm/h_n",
            "lstm/c_n",
            "pooled",
            "logits",
            "probabilities",
            "loss",
        ] {
            assert!(names.contains(&name), "{name} of {names:?}");
        }
        assert_eq!(names.contains(&"lstm/l0/f"), engine == "plain");
    }
}

/// 100 steps of every optimizer: losses and every parameter by name.
#[test]
fn gradients_and_optimizer_steps_are_compared_by_name() {
    let sandbox = trained();
    for (optimizer, more) in [
        (
            "adam",
            ["--weight-decay", "0.01", "--learning-rate", "0.01"],
        ),
        (
            "adamw",
            ["--weight-decay", "0.01", "--learning-rate", "0.01"],
        ),
        ("sgd", ["--momentum", "0.9", "--learning-rate", "0.01"]),
        (
            "adagrad",
            ["--weight-decay", "0.01", "--learning-rate", "0.01"],
        ),
        (
            "adadelta",
            ["--weight-decay", "0.01", "--learning-rate", "1"],
        ),
    ] {
        for dtype in ["f64", "f32"] {
            let mut arguments = vec![MODEL, "--gradients", "--steps", "100", "--dtype", dtype];
            arguments.extend(["--optimizer", optimizer]);
            arguments.extend(more);
            let found = json(&sandbox, &arguments);
            assert_ne!(found["comparison"]["verdict"], "outside", "{found:#}");
            let stages = found["comparison"]["stages"].as_array().unwrap();
            let stage = |name: &str| {
                let found = stages.iter().find(|stage| stage["name"] == name);
                found.unwrap_or_else(|| panic!("{name}"))
            };
            for name in ["grad/embedded", "grad/lstm.weight_hh_l0", "grad/head.bias"] {
                assert_eq!(stage(name)["quantity"], "gradient");
            }
            for (name, _) in cellway::model::Model::load(sandbox.path().join(MODEL))
                .unwrap()
                .parameters()
            {
                assert_eq!(stage(&format!("steps/{name}"))["quantity"], "step");
            }
            let losses = stage("steps/loss");
            let _ = writeln!(
                std::io::stderr(),
                "{optimizer} {dtype}: losses {} apart, of tolerance {}",
                losses["absolute"],
                losses["share"]
            );
            assert_eq!(losses["shape"], serde_json::json!([100]));
            assert_eq!(
                losses["tolerance"],
                if dtype == "f64" { 1e-10 } else { 1e-5 }
            );
        }
    }
}

#[test]
fn texts_and_tensors_are_inputs() {
    let sandbox = trained();
    json(
        &sandbox,
        &[MODEL, "the film is good", "a movie is bad so so"],
    );
    sandbox.write("texts.txt", "the film is good\nit all is bad\n");
    json(&sandbox, &[MODEL, "--input", "texts.txt"]);
    let x = Tensor::randn([3, 5, 8], (Kind::Float, tch::Device::Cpu));
    let lengths = Tensor::from_slice(&[5i64, 0, 2]);
    safetensors::save(
        &sandbox.path().join("x.safetensors"),
        [("x", &x), ("lengths", &lengths)],
        &[],
    )
    .unwrap();
    let found = json(
        &sandbox,
        &[
            MODEL,
            "--lstm",
            "lstm",
            "--input",
            "x.safetensors",
            "--gradients",
        ],
    );
    assert_eq!(found["reference"]["inputs"], "file");
    assert!(names(&found).contains(&"grad/x"));
    sandbox.fails(
        &["compare", MODEL, "--batch", "100000", "--time", "1000"],
        &["take fewer"],
    );
    sandbox.fails(
        &["compare", MODEL, "--lstm", "lstm", "some text"],
        &["texts need a model directory"],
    );
}

#[test]
fn a_kept_reference_needs_no_python() {
    let sandbox = trained();
    let live = json(
        &sandbox,
        &[
            MODEL,
            "--gradients",
            "--steps",
            "3",
            "--keep",
            "kept.safetensors",
        ],
    );
    fs::remove_file(sandbox.path().join(".venv")).unwrap();
    let kept = json(
        &sandbox,
        &[
            MODEL,
            "--reference",
            "kept.safetensors",
            "--gradients",
            "--steps",
            "3",
        ],
    );
    assert_eq!(live["comparison"], kept["comparison"]);
    sandbox.fails(
        &[
            "compare",
            MODEL,
            "--reference",
            "kept.safetensors",
            "--steps",
            "4",
        ],
        &["has 3 steps, not 4"],
    );
    sandbox.fails(
        &["compare", MODEL, "--keep", "kept.safetensors"],
        &["is there already"],
    );
}

#[test]
fn a_page_is_written_and_never_over_a_file() {
    let sandbox = trained();
    let found = json(&sandbox, &[MODEL, "--gradients", "--html", "page.html"]);
    let page = fs::read_to_string(sandbox.path().join("page.html")).unwrap();
    for stage in names(&found) {
        assert!(page.contains(&format!(">{stage}</th>")), "{stage}");
    }
    assert!(page.contains("<dt>engine</dt><dd>plain</dd>"));
    // Before the checkpoint is even opened.
    sandbox.fails(
        &["compare", "no/such/model", "--html", "page.html"],
        &["--html page.html: is there already; give another name"],
    );
    let after = fs::read_to_string(sandbox.path().join("page.html")).unwrap();
    assert_eq!(after, page);
}

#[test]
fn what_leaves_its_tolerance_is_named_with_its_place() {
    let sandbox = trained();
    json(&sandbox, &[MODEL, "--keep", "kept.safetensors"]);
    rewrite(
        &sandbox,
        "kept.safetensors",
        "other.safetensors",
        |_, tensors| {
            // The forget gate from step 7 on, and what comes of it.
            for (name, by) in [
                ("lstm/l0/f", 1e-3),
                ("lstm/l0/c", 1e-3),
                ("lstm/y", 1e-3),
                ("logits", 1e-3),
            ] {
                let tensor = &tensors[name];
                let changed = tensor.copy();
                let steps = if changed.dim() == 3 {
                    changed.narrow(1, 7, 3)
                } else {
                    changed.shallow_clone()
                };
                let _ = steps.shallow_clone().g_add_scalar_(by);
                tensors.insert(name.to_owned(), changed);
            }
        },
    );
    let output = sandbox
        .cellway(&["compare", MODEL, "--reference", "other.safetensors"])
        .assert()
        .code(1);
    let stdout = String::from_utf8_lossy(&output.get_output().stdout).into_owned();
    assert!(stdout.contains("outside: 4 of"), "{stdout}");
    assert!(
        stdout.contains("first layer 0, step 7, forget gate f"),
        "{stdout}"
    );
    let arguments = [
        "compare",
        MODEL,
        "--reference",
        "other.safetensors",
        "--json",
    ];
    let output = sandbox.cellway(&arguments).assert().code(1);
    let found: Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    let found = &found["comparison"];
    assert_eq!(found["verdict"], "outside");
    assert_eq!(
        (&found["outside"], &found["stage"]),
        (&4.into(), &"lstm/l0/f".into())
    );
    let stages = found["stages"].as_array().unwrap();
    let f = stages
        .iter()
        .find(|stage| stage["name"] == "lstm/l0/f")
        .unwrap();
    assert!(f["share"].as_f64().unwrap() > 100.0);
    assert!((f["absolute"].as_f64().unwrap() - 1e-3).abs() < 1e-5);
    // A tolerance can be set.
    json(
        &sandbox,
        &[
            MODEL,
            "--reference",
            "other.safetensors",
            "--tolerance",
            "0.01",
        ],
    );
}

/// Weights that were converted wrongly, and a reference that was read wrongly.
#[test]
fn the_usual_causes_are_named() {
    let sandbox = trained();
    json(&sandbox, &[MODEL, "--keep", "kept.safetensors"]);
    let says = |arguments: &[&str], words: &[&str]| {
        let mut all = vec!["compare"];
        all.extend(arguments);
        let output = sandbox.cellway(&all).assert().code(1);
        let stdout = String::from_utf8_lossy(&output.get_output().stdout).into_owned();
        for word in words {
            assert!(
                stdout.contains(word),
                "{arguments:?}: {word} not in\n{stdout}"
            );
        }
    };

    // The gates of our model in ONNX's order.
    let model = Path::new("wrong");
    fs::create_dir(sandbox.path().join(model)).unwrap();
    for file in ["config.json", "tokenizer.json"] {
        let from = sandbox.path().join(MODEL).join(file);
        fs::copy(from, sandbox.path().join(model).join(file)).unwrap();
    }
    let weights = format!("{MODEL}/model.safetensors");
    rewrite(
        &sandbox,
        &weights,
        "wrong/model.safetensors",
        |_, tensors| {
            for (name, tensor) in tensors
                .iter_mut()
                .filter(|(name, _)| name.starts_with("lstm."))
            {
                let blocks = tensor.chunk(4, 0);
                assert!(blocks.len() == 4, "{name}");
                *tensor = Tensor::cat(&[&blocks[0], &blocks[3], &blocks[1], &blocks[2]], 0);
            }
        },
    );
    sandbox.fails(
        &["compare", "wrong", "--reference", "kept.safetensors"],
        &[
            "other weights",
            "lstm.weight_ih_l0 has other numbers",
            "--other-weights",
        ],
    );
    says(
        &[
            "wrong",
            "--reference",
            "kept.safetensors",
            "--other-weights",
        ],
        &["first layer 0, step 0", "gate order", "ONNX"],
    );

    // The last column of the outputs, where texts had ended before it.
    rewrite(
        &sandbox,
        "kept.safetensors",
        "last.safetensors",
        |_, tensors| {
            let y = &tensors["lstm/y"];
            let last = y.select(1, y.size()[1] - 1);
            tensors.insert("pooled".to_owned(), last);
        },
    );
    says(
        &[MODEL, "--reference", "last.safetensors"],
        &["first pooled", "last step"],
    );

    // A bare reference whose batch and time differ in size, read the wrong way.
    let out = sandbox.path().join("mistakes");
    let mut python = common::python();
    let script = common::root().join("scripts/reference/mistakes.py");
    common::run(python.arg(script).args(["5,7,2,2,4,9", "--out"]).arg(&out));
    let listed = fs::read_to_string(out.join("mistakes.json")).unwrap();
    let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
    assert!(listed.len() > 15, "{}", listed.len());
    json(
        &sandbox,
        &[
            "mistakes/weights.safetensors",
            "--reference",
            "mistakes/right.safetensors",
        ],
    );
    for entry in &listed {
        let file = format!("mistakes/{}", entry["file"].as_str().unwrap());
        let words: Vec<&str> = entry["says"]
            .as_array()
            .unwrap()
            .iter()
            .map(|word| word.as_str().unwrap())
            .collect();
        let arguments = ["mistakes/weights.safetensors", "--reference", &file];
        let output = sandbox
            .cellway(&[&["compare"], &arguments[..]].concat())
            .assert();
        let output = output.get_output();
        let said = [&output.stdout[..], &output.stderr[..]].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        // Where even the shapes differ the two cannot be compared.
        assert!(
            matches!(output.status.code(), Some(1 | 2)),
            "{file}: {said}"
        );
        for word in words.iter().chain(&[entry["cause"].as_str().unwrap()]) {
            assert!(said.contains(word), "{file}: {word} not in\n{said}");
        }
    }
}

type Change<'a> = &'a dyn Fn(&mut BTreeMap<String, String>, &mut Tensors);

#[test]
fn bad_references_are_refused_with_what_to_do() {
    let sandbox = trained();
    json(&sandbox, &[MODEL, "--keep", "kept.safetensors"]);
    let cases: [(&str, Change, &[&str]); 6] = [
        (
            "torch",
            &|metadata, _| {
                metadata.insert("torch".into(), "2.9.1+cpu".into());
            },
            &["was made with torch 2.9.1", "--any-torch"],
        ),
        (
            "missing",
            &|_, tensors| {
                tensors.remove("lstm/l0/c");
            },
            &["\"lstm/l0/c\" is missing"],
        ),
        (
            "unknown",
            &|_, tensors| {
                let y = tensors["lstm/y"].shallow_clone();
                tensors.insert("lstm/l5/c".into(), y);
            },
            &["\"lstm/l5/c\" is none that this model has"],
        ),
        (
            "shape",
            &|_, tensors| {
                let y = tensors["lstm/y"].narrow(0, 0, 1);
                tensors.insert("lstm/y".into(), y);
            },
            &["lstm/y", "has the shape"],
        ),
        (
            "ids",
            &|_, tensors| {
                let ids = &tensors["input/ids"] + 1_000_000;
                tensors.insert("input/ids".into(), ids);
            },
            &["ids must be 0 to"],
        ),
        (
            "version",
            &|metadata, _| {
                metadata.insert("cellway_reference".into(), "2".into());
            },
            &["version 2"],
        ),
    ];
    for (name, change, says) in cases {
        let file = format!("{name}.safetensors");
        rewrite(&sandbox, "kept.safetensors", &file, change);
        let mut all = vec![file.as_str()];
        all.extend(says);
        sandbox.fails(&["compare", MODEL, "--reference", &file], &all);
    }
    json(
        &sandbox,
        &[MODEL, "--reference", "torch.safetensors", "--any-torch"],
    );

    // Another model of the same shape, and one of another shape.
    for (out, set, says) in [
        ("runs/seed", "seed=7", "is a reference for other weights"),
        (
            "runs/wide",
            "lstm.hidden_size=9",
            "hidden_size is 9 here and 8 there",
        ),
    ] {
        sandbox
            .cellway(&["train", "toy.toml", "--quiet", "--set", set, "--out", out])
            .assert()
            .success();
        let model = format!("{out}/model");
        sandbox.fails(
            &["compare", &model, "--reference", "kept.safetensors"],
            &["kept.safetensors", says],
        );
    }
    sandbox
        .cellway(&[
            "compare",
            "runs/seed/model",
            "--reference",
            "kept.safetensors",
            "--other-weights",
        ])
        .assert()
        .code(1);
    sandbox.fails(
        &["compare", MODEL, "--reference", "toy.csv"],
        &["toy.csv", "safetensors"],
    );
    sandbox.fails(
        &[
            "compare",
            MODEL,
            "--reference",
            &format!("{MODEL}/model.safetensors"),
        ],
        &["is no reference"],
    );
}

#[test]
fn a_python_without_torch_is_told() {
    let sandbox = trained();
    sandbox.fails(
        &["compare", MODEL, "--python", "no-such-python"],
        &["no-such-python", "--python"],
    );
    let nowhere = ["compare", MODEL, "--html", "no/such/page.html"];
    sandbox.fails(
        &nowhere,
        &["--html no/such/page.html: its folder is not there"],
    );
    sandbox.fails(
        &["compare", MODEL, "--python", "/bin/true"],
        &["/bin/true: ended well, but wrote nothing"],
    );
    let bare = sandbox.path().join("bare-python");
    fs::write(
        &bare,
        "#!/bin/sh\nexec /usr/bin/env -i /usr/bin/python3 -S -I \"$@\"\n",
    )
    .unwrap();
    let mut mode = fs::metadata(&bare).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut mode, 0o755);
    fs::set_permissions(&bare, mode).unwrap();
    sandbox.fails(
        &["compare", MODEL, "--python", "./bare-python"],
        &["torch", "pip install"],
    );
    assert!(
        !sandbox
            .names()
            .iter()
            .any(|name| name.ends_with(".safetensors"))
    );
}

/// Published checkpoints: against references that PyTorch 2.11 wrote elsewhere,
/// and against torch in Python, gradients included.
#[test]
#[ignore = "needs CELLWAY_SHARED_DATA"]
fn published_checkpoints_compute_what_torch_computes() {
    let sandbox = Sandbox::new();
    let folder = common::shared_data().join("checkpoints");
    let mut compared = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let folder = entry.unwrap().path();
        for reference in fs::read_dir(&folder)
            .unwrap()
            .map(|file| file.unwrap().path())
        {
            let name = reference.file_name().unwrap().to_str().unwrap();
            let Some(checkpoint) = name.strip_suffix(".ref_lstm.safetensors") else {
                continue;
            };
            let checkpoint = folder.join(checkpoint);
            let (checkpoint, file) = (checkpoint.to_str().unwrap(), reference.to_str().unwrap());
            let tensors = safetensors::load(&reference).unwrap();
            for name in tensors.keys().filter_map(|name| name.strip_suffix("/x")) {
                let lstm = [checkpoint, "--lstm", name];
                for more in [
                    &["--reference", file, "--engine", "plain"][..],
                    &["--reference", file, "--engine", "fused"],
                    &["--gradients"],
                ] {
                    let found = json(&sandbox, &[&lstm, more].concat());
                    assert_ne!(
                        found["comparison"]["verdict"], "outside",
                        "{lstm:?} {more:?}"
                    );
                    compared += 1;
                }
            }
        }
    }
    assert!(compared >= 30, "{compared}");
}
