//! `cellway units`.

mod common;

use std::fs;
use std::process::Command;

use cellway::data::Limit;
use cellway::model::Model;
use cellway::units::{Activation, Query, Settings, Texts, survey};
use common::sandbox::{MODEL, Sandbox};
use serde_json::Value;

fn json(sandbox: &Sandbox, arguments: &[&str]) -> Value {
    let out = sandbox.stdout(&[&["units"], arguments, &["--json", "--quiet"]].concat());
    serde_json::from_str(&out).unwrap()
}

#[test]
fn tables_and_a_page_of_every_unit() {
    let sandbox = Sandbox::trained();
    let arguments = [
        "units",
        MODEL,
        "toy.csv",
        "--span",
        "so good",
        "--matches",
        "3",
        "--html",
        "units.html",
    ];
    let assert = sandbox.cellway(&arguments).assert().success();
    let out = String::from_utf8_lossy(&assert.get_output().stdout).into_owned();
    for part in [
        "120 texts",
        "plain engine, f32 on cpu",
        "f > 0.9",
        "half-life",
        "sentiment units: correlation of the final hidden state with the label (neg 0, pos 1)",
        "most similar: mean hidden state of “so good” on its own, layer 0, forward",
        "[",
    ] {
        assert!(out.contains(part), "{part} is not in:\n{out}");
    }
    assert!(!out.contains('\x1b'));
    let progress = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    assert!(progress.contains("units: 120 texts in"), "{progress}");
    let page = fs::read_to_string(sandbox.path().join("units.html")).unwrap();
    for part in [
        "Units of runs/toy/model",
        "forget gate",
        "layer 0, forward",
        "point-biserial",
        "class=\"up match\"",
        "default-src 'none'",
    ] {
        assert!(page.contains(part), "{part}");
    }
    // What is there is never written over, and nothing half-written is left.
    sandbox.fails(&arguments, &["--html units.html: is there already"]);
    let names = sandbox.names();
    assert!(
        !names.iter().any(|name| name.starts_with(".cellway")),
        "{names:?}"
    );
}

#[test]
fn all_of_it_as_json() {
    let sandbox = Sandbox::trained();
    let found = json(&sandbox, &[MODEL, "toy.csv", "--top", "2"]);
    assert_eq!(found["texts"], 120);
    assert_eq!(found["labels"], serde_json::json!(["neg", "pos"]));
    assert_eq!(found["class_counts"], serde_json::json!([60, 60]));
    assert_eq!(found["activation"], "hidden");
    let layer = &found["layers"][0];
    assert_eq!(
        (&layer["layer"], &layer["direction"]),
        (&0.into(), &"forward".into())
    );
    let units = layer["units"].as_array().unwrap();
    assert_eq!(units.len(), 8);
    for unit in units {
        for gate in ["input", "forget", "output"] {
            let [left, right] = ["left", "right"].map(|side| unit[gate][side].as_f64().unwrap());
            assert!(left >= 0.0 && right >= 0.0 && left + right <= 1.0, "{unit}");
        }
        let mean = unit["mean_log_forget"].as_f64().unwrap();
        let life = unit["half_life"].as_f64().unwrap();
        assert!((life * mean + 2f64.ln()).abs() < 1e-12, "{unit}");
    }
    // The toy's model is right about every text, and some unit says so.
    let best = found["sentiment_units"].as_array().unwrap();
    assert_eq!(best.len(), 2);
    assert!(
        best[0]["correlation"].as_f64().unwrap().abs() > 0.8,
        "{}",
        best[0]
    );
    let counts = best[0]["histogram"]["counts"].as_array().unwrap();
    let of_class = |counts: &Value| -> u64 {
        counts
            .as_array()
            .unwrap()
            .iter()
            .map(|n| n.as_u64().unwrap())
            .sum()
    };
    assert_eq!(counts.iter().map(of_class).collect::<Vec<_>>(), [60, 60]);
    assert!(found.get("query").is_none() && found.get("found").is_none());

    // Where the best unit is highest, the label is the one that it goes with.
    let unit = best[0]["unit"].to_string();
    let found = json(
        &sandbox,
        &[MODEL, "toy.csv", "--unit", &unit, "--matches", "4"],
    );
    assert_eq!(found["query"]["unit"].to_string(), unit);
    let rises = best[0]["correlation"].as_f64().unwrap() > 0.0;
    let lists = found["found"].as_array().unwrap();
    for (list, (name, label)) in lists.iter().zip([
        ("highest", if rises { "pos" } else { "neg" }),
        ("lowest", if rises { "neg" } else { "pos" }),
    ]) {
        assert_eq!(list["name"], name);
        let sentences = list["sentences"].as_array().unwrap();
        assert_eq!(sentences.len(), 4);
        for sentence in sentences {
            assert_eq!(sentence["label"], label, "{sentence}");
            let words = sentence["words"].as_array().unwrap();
            assert!(
                words.iter().any(|word| word["matches"] == true),
                "{sentence}"
            );
        }
    }
    let found = json(
        &sandbox,
        &[MODEL, "toy.csv", "--span", "good", "--in", "it all is good"],
    );
    assert_eq!(found["query"]["tokens"], 1);
    let best = &found["found"][0]["sentences"][0];
    assert!(best["text"].as_str().unwrap().contains("is good"), "{best}");
    assert!(best["score"].as_f64().unwrap() > 0.99, "{best}");
}

#[test]
fn without_labels_correlations_are_left_out() {
    let sandbox = Sandbox::trained();
    sandbox.write("lines.txt", "so good\nthe film is bad\n");
    sandbox.write("plain.csv", "text,stars\nso good,5\nbad,1\n");
    sandbox.write(
        "plain.jsonl",
        "{\"text\": \"so good\"}\n{\"text\": \"bad\"}\n",
    );
    for name in ["lines.txt", "plain.csv", "plain.jsonl"] {
        let assert = sandbox.cellway(&["units", MODEL, name]).assert().success();
        let out = String::from_utf8_lossy(&assert.get_output().stdout).into_owned();
        assert!(out.contains("correlations are left out"), "{out}");
        assert!(out.contains("longest memories"), "{out}");
        let said = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
        assert!(said.contains(&format!("{name}: has no labels")), "{said}");
        let found = json(&sandbox, &[MODEL, name]);
        assert_eq!(found["texts"], 2);
        assert!(found["class_counts"].is_null());
        assert!(found["layers"][0]["units"][0]["correlation"]["hidden"].is_null());
    }
    sandbox.stdout(&[
        "units",
        MODEL,
        "lines.txt",
        "--html",
        "plain.html",
        "--unit",
        "1",
    ]);
    let page = fs::read_to_string(sandbox.path().join("plain.html")).unwrap();
    assert!(page.contains("The texts have no labels"));
    // A column that was named has to be there.
    sandbox.fails(
        &["units", MODEL, "plain.csv", "--label-column", "mood"],
        &["plain.csv: has no column \"mood\""],
    );
    sandbox.fails(
        &["units", MODEL, "plain.csv", "--label-column", "stars"],
        &["plain.csv:2", "5"],
    );
}

#[test]
fn what_is_wrong_is_named() {
    let sandbox = Sandbox::trained();
    sandbox.write("empty.csv", "text,label\n");
    sandbox.write("empty.txt", "");
    sandbox.write("holes.txt", "good\n\nbad\n");
    sandbox.write("quotes.txt", "\"\n");
    let units = |more: &[&'static str]| [&["units", MODEL, "toy.csv"], more].concat();
    for (arguments, says) in [
        (
            units(&["--unit", "8"]),
            &["--unit: 8 is not there", "0 to 7"][..],
        ),
        (
            units(&["--unit", "0", "--layer", "1"]),
            &["--layer: 1 is not there", "only layer 0"],
        ),
        (
            units(&["--unit", "0", "--direction", "backward"]),
            &["--direction: backward is not there", "forward only"],
        ),
        (
            units(&["--span", "xyzzy"]),
            &["--span: \"xyzzy\" has no word that the vocabulary"],
        ),
        (
            units(&["--span", "good", "--in", "bad"]),
            &["--span: \"good\" does not stand in its context"],
        ),
        (
            units(&["--span", "good", "--unit", "1"]),
            &["cannot be used with"],
        ),
        (units(&["--layer", "0"]), &["--unit"]),
        (units(&["--in", "good"]), &["--span"]),
        (
            units(&["--html", "no/x.html"]),
            &["no/x.html", "make it first"],
        ),
        (
            units(&["--html", "toy.csv"]),
            &["--html toy.csv: is there already"],
        ),
        (units(&["--device", "tpu"]), &["auto, cpu, cuda or cuda:N"]),
        (vec!["units", MODEL, "empty.csv"], &["empty.csv"]),
        (
            vec!["units", MODEL, "empty.txt"],
            &["empty.txt: has no text"],
        ),
        (
            vec!["units", MODEL, "holes.txt"],
            &["holes.txt:2:", "--skip-bad"],
        ),
        (
            vec!["units", MODEL, "quotes.txt"],
            &["no text with a token"],
        ),
        (
            vec!["units", MODEL, "nothing.csv"],
            &["nothing.csv: No such file"],
        ),
        (
            vec!["units", MODEL, "toy.toml"],
            &["toy.toml", "does not tell its format"],
        ),
        (
            vec!["units", "nowhere", "toy.csv"],
            &["nowhere: not a model directory"],
        ),
    ] {
        sandbox.fails(&[arguments, vec!["-q"]].concat(), says);
    }
    let before = fs::read_to_string(sandbox.path().join("toy.csv")).unwrap();
    assert!(before.starts_with("text,label"));
    let found = json(&sandbox, &[MODEL, "holes.txt", "--skip-bad"]);
    assert_eq!(found["texts"], 2);
    fs::remove_file(sandbox.path().join(MODEL).join("tokenizer.json")).unwrap();
    sandbox.fails(
        &["units", MODEL, "toy.csv"],
        &["tokenizer.json", "No such file"],
    );
}

/// Set for the process whose memory is watched: whether it leaks on purpose.
const LEAKS: &str = "CELLWAY_TEST_LEAKS";
/// By then the allocator has what it needs.
const WARM: usize = 2_000;
const LAST: usize = 10_000;
/// How much more may be resident at any later time, in KiB.
const GROWTH: u64 = 2048;

/// The resident memory of this process in KiB.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}

/// What the process does that is watched: a survey of 10,000 sentences, batch after
/// batch, with everything that it can keep.
fn watch(leaks: bool) {
    tch::set_num_threads(1);
    let sandbox = Sandbox::trained();
    let model = Model::load(sandbox.path().join(MODEL)).unwrap();
    let ids: Vec<Vec<i64>> = (0..LAST)
        .map(|text| {
            (0..12)
                .map(|at| ((text * 7 + at * 3) % 14) as i64)
                .collect()
        })
        .collect();
    let classes: Vec<u32> = (0..LAST as u32).map(|text| text % 2).collect();
    let texts = Texts {
        ids: &ids,
        classes: Some(&classes),
    };
    let hidden = Activation::Hidden;
    let mut settings = Settings::new(&model);
    settings.limit = Limit::Sentences(20);
    settings.query = Some(Query::span(&model, hidden, None, None, "so good", None).unwrap());
    let (mut done, mut kept) = (0, Vec::new());
    let found = survey(&model, &texts, &settings, |batch| {
        done += batch;
        if leaks {
            // The hidden states of the batch's steps.
            kept.push(vec![1.0_f64; batch * 12 * 8]);
        }
        if done % 200 == 0 {
            println!("resident {done} {}", resident());
        }
        true
    });
    assert_eq!(found.unwrap().unwrap().texts, LAST);
}

/// How much more was resident at any time after the warm-up than at its end.
fn growth(leaks: bool) -> u64 {
    let name = "the_process_that_is_watched";
    let output = common::run(
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture", "--test-threads=1"])
            .env(LEAKS, leaks.to_string())
            .env("OMP_NUM_THREADS", "1"),
    );
    let number = |word: Option<&str>| word.unwrap().parse().unwrap();
    let line = |line: &str| {
        let mut words = line.split_once("resident ")?.1.split(' ');
        Some((number(words.next()), number(words.next())))
    };
    let measured: Vec<(u64, u64)> = output.lines().filter_map(line).collect();
    assert!(measured.len() >= LAST / 200, "{output}");
    let warm = measured
        .iter()
        .find(|(done, _)| *done == WARM as u64)
        .unwrap()
        .1;
    let after = measured.iter().filter(|(done, _)| *done > WARM as u64);
    let most = after.map(|(_, resident)| *resident).max().unwrap();
    eprintln!("resident after {WARM} texts: {warm} KiB, at most after them {most} KiB");
    most.saturating_sub(warm)
}

#[test]
fn memory_stays_flat_over_ten_thousand_sentences() {
    let growth = growth(false);
    assert!(growth < GROWTH, "memory grew by {growth} KiB");
}

#[test]
fn a_leak_is_noticed() {
    let growth = growth(true);
    assert!(growth > 2 * GROWTH, "memory grew by {growth} KiB only");
}

/// Nothing, unless one of the others started it.
#[test]
fn the_process_that_is_watched() {
    if let Ok(leaks) = std::env::var(LEAKS) {
        watch(leaks == "true");
    }
}
