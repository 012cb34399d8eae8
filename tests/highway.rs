//! `cellway highway`: a small study from end to end.

mod common;

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use assert_cmd::cargo::CommandCargoExt;
use common::sandbox::Sandbox;
use serde_json::Value;

const SMALL: [&str; 9] = [
    "highway", "--out", "study", "--task", "adding", "--hidden", "4", "--steps", "2",
];

fn small<'a>(more: &[&'a str]) -> Vec<&'a str> {
    SMALL.iter().chain(more).copied().collect()
}

fn read(sandbox: &Sandbox, name: &str) -> String {
    fs::read_to_string(sandbox.path().join(name)).unwrap()
}

/// Without what took how long.
fn timeless(text: &str) -> Value {
    let mut value: Value = serde_json::from_str(text).unwrap();
    for outcome in value["outcomes"].as_array_mut().unwrap() {
        outcome.as_object_mut().unwrap().remove("seconds").unwrap();
    }
    value
}

#[test]
fn a_study_leaves_a_page_and_its_numbers_and_goes_on_where_it_was() {
    let sandbox = Sandbox::new();
    let out = sandbox.stdout(&small(&["-q"]));
    for part in [
        "adding-100",
        "LSTM, chrono",
        "of the baseline",
        "study/index.html",
    ] {
        assert!(out.contains(part), "{part} is not in {out}");
    }
    let first = read(&sandbox, "study/results.json");
    let results: Value = serde_json::from_str(&first).unwrap();
    let outcomes = results["outcomes"].as_array().unwrap();
    assert_eq!(outcomes.len(), 2 * 4);
    assert_eq!(results["plan"]["setting"]["hidden"], 4);
    for outcome in outcomes {
        assert_eq!(outcome["baseline"].as_f64().unwrap(), 1.0 / 6.0);
        assert_eq!(outcome["curve"].as_array().unwrap().len(), 2);
        let lstm = outcome["model"] != "rnn";
        for when in ["before", "after"] {
            let memory = &outcome[when];
            let distances = memory["distance"].as_array().unwrap().len();
            assert_eq!(memory["h"].as_array().unwrap().len(), distances);
            assert!(
                memory["h"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .all(|norm| norm.as_f64().unwrap() > 0.0)
            );
            assert_eq!(memory["c"].is_array(), lstm);
            assert_eq!(memory["forget_mean"].is_array(), lstm);
        }
    }
    let page = read(&sandbox, "study/index.html");
    assert!(page.contains("Adding problem, T = 400") && page.ends_with("</html>\n"));

    // Nothing is trained anew, and the same is said.
    assert_eq!(sandbox.stdout(&small(&["-q"])), out);
    assert_eq!(read(&sandbox, "study/results.json"), first);
    // What is gone is made again, to the same numbers, with any number of threads.
    fs::remove_file(
        sandbox
            .path()
            .join("study/outcomes/adding-400.lstm-chrono.json"),
    )
    .unwrap();
    fs::remove_file(sandbox.path().join("study/index.html")).unwrap();
    let json = sandbox.stdout(&small(&["-q", "--json", "--threads", "3"]));
    assert_eq!(timeless(&json), timeless(&first));
    assert_eq!(
        timeless(&read(&sandbox, "study/results.json")),
        timeless(&first)
    );
    assert!(sandbox.path().join("study/index.html").exists());
    sandbox.fails(
        &small(&["--seed", "1"]),
        &["study", "another highway study", "\"seed\": 0"],
    );
}

#[test]
fn what_cannot_be_done_is_told_before_anything_is_written() {
    let sandbox = Sandbox::new();
    let fails = |arguments: &[&str], says: &[&str]| {
        sandbox.fails(&small(arguments), says);
        assert!(!sandbox.path().join("study").exists());
    };
    fails(&["--task", "mnist"], &["--mnist", "IDX"]);
    fails(
        &["--mnist", "nowhere"],
        &["--mnist", "leave one of the two out"],
    );
    fails(
        &["--task", "pmnist", "--mnist", "nowhere"],
        &["nowhere/train-images-idx3-ubyte"],
    );
    let run = |hidden: &str, steps: &str, says: &str| {
        let arguments = [
            "highway", "--out", "study", "--hidden", hidden, "--steps", steps,
        ];
        sandbox.fails(&arguments, &[says]);
        assert!(!sandbox.path().join("study").exists());
    };
    run("0", "1", "--hidden: must be 1 to 4096");
    run("4", "0", "--steps: must be 1 or more");
    run("x", "1", "--hidden");
    sandbox.fails(&["highway", "--steps", "1"], &["--out"]);
    sandbox.fails(&small(&["--task", "sorting"]), &["sorting"]);

    fs::create_dir(sandbox.path().join("study")).unwrap();
    sandbox.write("study/notes.txt", "mine");
    sandbox.fails(
        &small(&[]),
        &["study: is not empty and holds no highway study"],
    );
    sandbox.write("file", "mine");
    let mut onto = small(&[]);
    onto[2] = "file";
    sandbox.fails(&onto, &["file"]);
}

/// Forty images for each part, of which the first pixels tell the digit.
fn write_images(sandbox: &Sandbox) {
    let put = |name: &str, sizes: &[u32], bytes: &[u8]| {
        let mut file = vec![0, 0, 8, sizes.len() as u8];
        sizes
            .iter()
            .for_each(|size| file.extend(size.to_be_bytes()));
        file.extend(bytes);
        let name = format!("images/{name}-idx{}-ubyte", sizes.len());
        fs::write(sandbox.path().join(name), file).unwrap();
    };
    fs::create_dir(sandbox.path().join("images")).unwrap();
    for part in ["train", "t10k"] {
        let digits: Vec<u8> = (0..40).map(|n| n % 10).collect();
        let pixels: Vec<u8> = digits.iter().flat_map(|&digit| [25 * digit; 784]).collect();
        put(&format!("{part}-images"), &[40, 28, 28], &pixels);
        put(&format!("{part}-labels"), &[40], &digits);
    }
}

#[test]
fn images_of_the_user_are_read_in_order_and_permuted() {
    let sandbox = Sandbox::new();
    write_images(&sandbox);
    let arguments = [
        "highway", "--out", "study", "--task", "pmnist", "--task", "mnist", "--mnist", "images",
        "--hidden", "4", "--steps", "1", "-q", "--json",
    ];
    let results: Value = serde_json::from_str(&sandbox.stdout(&arguments)).unwrap();
    let names: Vec<&Value> = results["plan"]["lessons"]
        .as_array()
        .unwrap()
        .iter()
        .collect();
    assert_eq!(names.len(), 2);
    assert_eq!(results["plan"]["images"].as_str().unwrap().len(), 64);
    for outcome in results["outcomes"].as_array().unwrap() {
        assert!((outcome["baseline"].as_f64().unwrap() - 10f64.ln()).abs() < 1e-12);
        assert_eq!(outcome["before"]["distance"].as_array().unwrap().len(), 128);
    }
    // Other images are another study, and damaged ones none.
    let labels = sandbox.path().join("images/t10k-labels-idx1-ubyte");
    let mut bytes = fs::read(&labels).unwrap();
    bytes[8] = 9;
    fs::write(&labels, &bytes).unwrap();
    sandbox.fails(&arguments, &["another highway study", "images"]);
    bytes.pop();
    fs::write(&labels, &bytes).unwrap();
    sandbox.fails(&arguments, &["t10k-labels-idx1-ubyte", "cut or damaged"]);
}

#[test]
fn interrupted_it_keeps_what_is_finished_and_goes_on() {
    let sandbox = Sandbox::new();
    let arguments = SMALL.map(|word| if word == "2" { "100" } else { word });
    let mut command = Command::cargo_bin("cellway").unwrap();
    command
        .env_clear()
        .env("OMP_NUM_THREADS", "1")
        .current_dir(sandbox.path())
        .args(arguments)
        .arg("-q")
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let first = sandbox.path().join("study/outcomes/adding-100.rnn.json");
    let started = Instant::now();
    while !first.exists() {
        assert!(child.try_wait().unwrap().is_none() && started.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(5));
    }
    let interrupt = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(interrupt.unwrap().success());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("the same command goes on"), "{said}");
    assert!(!sandbox.path().join("study/results.json").exists());

    let touched = || fs::metadata(&first).unwrap().modified().unwrap();
    let before = touched();
    let output = sandbox.cellway(&arguments).assert().success();
    let said = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
    assert!(said.contains("study: goes on, "), "{said}");
    assert_eq!(touched(), before);
    assert!(sandbox.path().join("study/results.json").exists());
}
