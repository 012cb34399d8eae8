//! The whole path on the Stanford Sentiment Treebank with GloVe vectors.

mod common;

use assert_cmd::Command;
use serde_json::Value;

#[test]
#[ignore = "needs CELLWAY_SHARED_DATA"]
fn an_epoch_on_the_treebank_beats_the_majority_by_far() {
    let folder = tempfile::tempdir().unwrap();
    let data = common::shared_data();
    let path = |name: &str| data.join(name).display().to_string();
    let config = format!(
        "[data]\ntrain = {:?}\ndev = {:?}\ntest = {:?}\n[read]\nformat = \"sst\"\n\
         [embedding]\nvectors = {:?}\n[lstm]\nhidden_size = 64\nforget_bias = 1.0\n[train]\nepochs = 2\n",
        path("sst/train.txt"),
        path("sst/dev.txt"),
        path("sst/test.txt"),
        path("glove/glove.6B.100d.subset.txt"),
    );
    std::fs::write(folder.path().join("sst.toml"), config).unwrap();
    let cellway = |arguments: &[&str]| {
        let mut command = Command::cargo_bin("cellway").unwrap();
        command.current_dir(folder.path()).args(arguments);
        let output = command.assert().success().get_output().stdout.clone();
        String::from_utf8(output).unwrap()
    };
    let summary = cellway(&["train", "sst.toml", "--json", "--quiet"]);
    let summary: Value = serde_json::from_str(&summary).unwrap();
    let test = &summary["test"];
    assert_eq!(test["count"], 1821);
    assert_eq!(summary["epochs"][0]["dev"]["count"], 872);
    let accuracy = test["accuracy"].as_f64().unwrap();
    // Always "negative" would be 0.501.
    assert!(accuracy > 0.7, "{accuracy}");

    // The same model, measured by itself, through the other engine.
    let again = cellway(&[
        "eval",
        "runs/sst/model",
        &path("sst/test.txt"),
        "--format",
        "sst",
        "--engine",
        "plain",
        "--json",
    ]);
    let again: Value = serde_json::from_str(&again).unwrap();
    assert_eq!(again["confusion"], test["confusion"]);
}

#[test]
#[ignore = "needs CELLWAY_SHARED_DATA"]
fn every_configuration_of_the_treebank_runs() {
    let data = common::shared_data();
    let set = |key: &str, name: &str| format!("{key}={:?}", data.join(name));
    for name in ["sst2", "sst2-lstm", "sst5", "sst5-lstm"] {
        let config = common::root().join("configs").join(format!("{name}.toml"));
        let mut command = Command::cargo_bin("cellway").unwrap();
        command
            .arg("train")
            .arg(config)
            .args(["--fast-dev-run", "--json", "-q"]);
        for (key, file) in [
            ("data.train", "sst/train.txt"),
            ("data.dev", "sst/dev.txt"),
            ("data.test", "sst/test.txt"),
            ("embedding.vectors", "glove/glove.6B.100d.subset.txt"),
        ] {
            command.args(["--set", &set(key, file)]);
        }
        let output = command.assert().success().get_output().stdout.clone();
        let summary: Value = serde_json::from_slice(&output).unwrap();
        let classes = summary["test"]["confusion"].as_array().unwrap().len();
        assert_eq!(
            classes,
            if name.starts_with("sst5") { 5 } else { 2 },
            "{name}"
        );
    }
}
