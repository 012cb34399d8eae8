//! `scripts/gpu-check` runs, on the CPU where there is no other device: every
//! section holds, and what the report says is what was measured.

mod common;

use std::fs;

use assert_cmd::cargo::cargo_bin;
use serde_json::Value;

/// What the script said and how it ended, its report and the sections of its JSON.
struct Checked {
    code: Option<i32>,
    said: String,
    report: String,
    sections: Vec<(String, Value)>,
}

fn check(device: &str) -> Checked {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("report.md");
    let output = common::python()
        .arg(common::root().join("scripts/gpu-check"))
        .args(["--device", device, "--quick", "--binary"])
        .arg(cargo_bin("cellway"))
        .arg("--out")
        .arg(&out)
        .env("OMP_NUM_THREADS", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let report = fs::read_to_string(&out).unwrap_or_else(|error| panic!("{error}: {said}"));
    for place in [folder.path(), &common::root()] {
        assert!(!report.contains(&place.display().to_string()), "{report}");
    }
    let json = fs::read_to_string(out.with_extension("json")).unwrap();
    let mut json: Value = serde_json::from_str(&json).unwrap();
    let sections = std::mem::take(json["sections"].as_object_mut().unwrap());
    for (name, section) in &sections {
        let [title, status] = ["title", "status"].map(|key| section[key].as_str().unwrap());
        assert!(report.contains(&format!("## {title}: {status}")), "{name}");
    }
    Checked {
        code: output.status.code(),
        said,
        report,
        sections: sections.into_iter().collect(),
    }
}

#[test]
fn every_section_holds_on_the_cpu() {
    let checked = check("cpu");
    let names: Vec<_> = checked.sections.iter().map(|(name, _)| name).collect();
    let expected = [
        "doctor",
        "parity",
        "trace",
        "dropout",
        "training",
        "resume",
        "throughput",
        "memory",
    ];
    assert_eq!(names, expected);
    for (name, section) in &checked.sections {
        assert_eq!(section["status"], "pass", "{name}: {}", section["reason"]);
    }
    assert_eq!(checked.code, Some(0), "{}", checked.said);
}

#[test]
fn a_device_that_is_not_there_fails_with_its_reason() {
    let checked = check("cuda:4096");
    assert_eq!(checked.code, Some(1), "{}", checked.said);
    assert!(checked.report.contains("device cuda:4096: "));
    for (name, section) in checked.sections {
        assert!(name == "doctor" || section["status"] == "fail", "{name}");
    }
}
