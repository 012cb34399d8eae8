use std::collections::BTreeMap;

use std::path::Path;

use serde_json::json;

use super::page::{ComparisonPage, comparison_page};
use super::shares::{ending, over_time, stages_panel, steps_panel};
use super::text::{number, short, tolerance_share};
use crate::compare::diagnose::{Cause, Certainty, Diagnosis};
use crate::compare::{
    Comparison, Difference, Origin, Quantity, StageResult, Steps, Tolerance, Verdict,
};
use crate::lstm::Engine;
use crate::report::chart::Panel;
use crate::train::optim::OptimizerKind;

const INFINITE: f64 = f64::INFINITY;
const HOSTILE: &str = "</script><img src=x> \"'&$a$ \u{1b}";

fn stage(name: &str, quantity: Quantity, share: f64, over_time: &[f64]) -> StageResult {
    let identical = share == 0.0;
    StageResult {
        name: name.to_owned(),
        quantity,
        shape: vec![2, over_time.len() as i64, 3],
        tolerance: 2e-6,
        difference: Difference {
            identical,
            absolute: share * 2e-6,
            relative: share * 3e-6,
            ulps: if share.is_finite() { 1.5 } else { f64::NAN },
            share,
            outside: u64::from(share > 1.0),
            count: 6,
            place: vec![0, 0, 0],
            ours: if share.is_finite() { 0.25 } else { f64::NAN },
            theirs: 0.125,
            over_time: over_time.to_vec(),
        },
        at: "text 0, step 1, unit 2".to_owned(),
    }
}

fn of(stages: Vec<StageResult>, verdict: Verdict) -> Comparison {
    Comparison {
        stages,
        not_shown: Vec::new(),
        verdict,
        tolerance: Tolerance {
            value: 2e-6,
            gradient: 1e-5,
            step: 1e-5,
        },
        dtype: "f32",
        device: "cpu".to_owned(),
        labels_differ: Some(3),
        other_weights: Vec::new(),
        diagnosis: None,
    }
}

/// Two layers, the upper one in both directions, gradients and steps.
fn outside() -> Comparison {
    use Quantity::{Gradient, Step, Value};
    let mut stages = vec![stage("embedded", Value, 0.0, &[0.0, 0.0, 0.0])];
    for layer in ["l0", "l1", "l1_reverse"] {
        for (part, share) in [("i", 0.2), ("f", 3.0), ("g", 0.0), ("o", 1e-4), ("c", 0.5)] {
            let over_time = [0.0, share / 2.0, share];
            stages.push(stage(
                &format!("lstm/{layer}/{part}"),
                Value,
                share,
                &over_time,
            ));
        }
        let over_time = [0.0, 0.5, INFINITE];
        stages.push(stage(
            &format!("lstm/{layer}/h"),
            Value,
            INFINITE,
            &over_time,
        ));
    }
    stages.push(stage("lstm/y", Value, 0.75, &[0.1, 0.75, 0.0]));
    stages.push(stage("loss", Value, 1.0, &[]));
    stages.push(stage("grad/x", Gradient, f64::NAN, &[0.5, f64::NAN, 0.0]));
    stages.push(stage("steps/loss", Step, 1e-5, &[]));
    of(
        stages,
        Verdict::Outside {
            stage: "lstm/l1_reverse/f".to_owned(),
            first: "layer 1, backwards, step 2, forget gate f".to_owned(),
            outside: 7,
        },
    )
}

fn origin(word: &str) -> Origin {
    Origin {
        kind: "lstm".to_owned(),
        lstm: word.to_owned(),
        config: json!({"hidden_size": 3, "name": word, "list": [1]}),
        weights: BTreeMap::new(),
        torch: word.to_owned(),
        python: word.to_owned(),
        device: word.to_owned(),
        dtype: word.to_owned(),
        seed: word.to_owned(),
        inputs: word.to_owned(),
        flags: json!({"tf32": false, word: word}),
        steps: Some(Steps {
            steps: 3,
            optimizer: OptimizerKind::Sgd,
            learning_rate: 0.5,
            momentum: 0.0,
            weight_decay: 0.0,
        }),
    }
}

/// The page as it is written.
fn written(found: &Comparison, word: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("page.html");
    let origin = origin(word);
    let found = &Comparison {
        diagnosis: Some(Diagnosis {
            cause: Cause::BatchFirst,
            message: word.to_owned(),
            certainty: Certainty::Likely,
        }),
        ..found.clone()
    };
    let page = ComparisonPage {
        checkpoint: Path::new(word),
        engine: Engine::Plain,
        threads: 2,
        version: word,
        reference: Some(Path::new(word)),
        origin: Some(&origin),
        comparison: found,
    };
    comparison_page(&path, &page).unwrap();
    std::fs::read_to_string(path).unwrap()
}

/// The values of an attribute in the order of the page.
fn attributes<'a>(html: &'a str, name: &str) -> Vec<&'a str> {
    let start = format!(" {name}=\"");
    let values = html.split(start.as_str()).skip(1);
    values.map(|rest| rest.split_once('"').unwrap().0).collect()
}

/// All x, or all y, of a panel.
fn points(panel: &Panel, of: fn(&(f64, f64)) -> f64) -> Vec<f64> {
    let all = panel.series.iter().flat_map(|series| &series.points);
    all.map(of).collect()
}

#[test]
fn every_stage_is_in_the_table_and_in_the_plot() {
    let found = outside();
    let html = written(&found, "model");
    let rows: Vec<&str> = html
        .split("<tr")
        .filter(|row| row.contains("scope=\"row\""))
        .collect();
    assert_eq!(rows.len(), found.stages.len());
    for (stage, row) in found.stages.iter().zip(rows) {
        assert!(row.contains(&format!(">{}</th>", stage.name)), "{row}");
        // Not by color alone.
        let share = stage.difference.share;
        let out = share > 1.0 || share.is_nan();
        assert_eq!(row.contains("▲ outside"), out, "{row}");
        assert_eq!(row.contains("class=\"out\""), out, "{row}");
        assert_eq!(row.contains(">identical<"), share == 0.0, "{row}");
        assert_eq!(row.contains("text 0, step 1"), share != 0.0, "{row}");
        assert_eq!(row.matches("</td>").count(), 10, "{row}");
    }
    for title in ["values", "gradients", "optimizer steps"] {
        assert!(html.contains(&format!("scope=\"rowgroup\" colspan=\"11\">{title}<")));
    }

    let by_stage = stages_panel(&found);
    let x = points(&by_stage, |point| point.0);
    assert_eq!(x.len(), found.stages.len());
    let names = by_stage.y.ticks.iter().map(|tick| tick.1.as_str());
    let names: Vec<&str> = names.filter(|name| name.to_uppercase() != *name).collect();
    let stages: Vec<&str> = found
        .stages
        .iter()
        .map(|stage| stage.name.as_str())
        .collect();
    assert_eq!(names, stages);
    for name in names {
        assert!(html.contains(&format!(">{name}</text>")), "{name}");
    }
    let long = format!("grad/{}weight_hh_l0_reverse", "encoder.".repeat(9));
    assert_eq!(ending(&long), "…er.encoder.weight_hh_l0_reverse");
    // Nothing, NaN and infinity have places of their own on a log axis.
    assert!(x.iter().all(|x| x.is_finite() && *x > 0.0), "{x:?}");
    let least = x.iter().copied().fold(INFINITE, f64::min);
    let most = x.iter().copied().fold(0.0, f64::max);
    let at = |place: f64| x.iter().filter(|x| **x == place).count();
    assert_eq!((at(least), at(most)), (4, 4));
    assert_eq!((least, most), (1e-6, 100.0));
    let ticks = &by_stage.x.ticks;
    for (name, place) in [("identical", least), ("no number", most)] {
        let tick = ticks.iter().find(|tick| tick.1 == name).unwrap();
        assert_eq!(10f64.powf(tick.0), place);
        assert!(html.contains(&format!(">{name}</text>")), "{name}");
    }
    // Pointing at a stage shows what is known of it.
    let says = attributes(&html, "data-says")[..3].join("\n");
    for stage in &found.stages {
        assert!(says.contains(&format!("{}\t", stage.name)), "{says}");
    }
    assert!(says.contains("300.0 × of the tolerance 2e-6") || says.contains("3.0 × of the"));
}

#[test]
fn time_steps_are_shown_by_layer_and_the_first_outside_comes_first() {
    let found = outside();
    let html = written(&found, "model");
    let (figures, chosen) = over_time(&found, Some("lstm/l1_reverse/f"));
    let names: Vec<&str> = figures.iter().map(|figure| figure.name.as_str()).collect();
    assert_eq!(names, ["layer 0", "layer 1", "layer 1, backwards", "input"]);
    assert_eq!(chosen, 2);
    let views = html.split("<div class=\"view\"").skip(2);
    let lines: Vec<Vec<&str>> = views
        .map(|view| {
            let keys = view.split("class=\"series-key\"").skip(1);
            let names = keys.map(|key| key.split_once("</svg>").unwrap().1);
            names.map(|name| name.split_once('<').unwrap().0).collect()
        })
        .collect();
    let gates = [
        "input i",
        "forget f",
        "candidate g",
        "output o",
        "cell c",
        "hidden h",
    ];
    assert_eq!(lines[0], gates);
    assert_eq!(lines[1][..6], gates);
    assert_eq!(lines[1][6], "y");
    assert_eq!(lines[2][6], "y");
    assert_eq!(lines[3], ["embedded", "grad/x"]);
    let layer: Vec<&StageResult> = (found.stages.iter())
        .filter(|stage| stage.name.starts_with("lstm/l0/"))
        .collect();
    let panel = steps_panel(&layer, false, 1);
    assert_eq!(points(&panel, |point| point.1).len(), 3 * 6);
    for lines in &lines {
        // A value for each of three steps of each line.
        let view = html.split("<div class=\"view\"").nth(2).unwrap();
        let says = attributes(view, "data-says");
        assert!(says.iter().all(|says| says.split('\n').count() == 3));
        assert!(lines.len() >= 2);
    }
    assert!(html.contains("<option value=\"2\" selected>layer 1, backwards</option>"));
    assert_eq!(html.matches(" selected>").count(), 1);

    // An engine that shows no gates, and a comparison without time.
    let few = of(
        vec![stage("lstm/y", Quantity::Value, 0.5, &[0.5, 0.1])],
        Verdict::Identical,
    );
    let html = written(&few, "model");
    assert!(!html.contains("<select>"));
    assert_eq!(over_time(&few, None).0.len(), 1);
    let none = of(
        vec![stage("loss", Quantity::Value, 0.5, &[])],
        Verdict::Identical,
    );
    assert!(!written(&none, "model").contains("Over time"));
}

#[test]
fn what_comes_from_files_is_text() {
    let mut found = outside();
    let first = &mut found.stages[0];
    first.name = HOSTILE.to_owned();
    first.difference.identical = false;
    first.difference.share = 2.0;
    first.at = HOSTILE.to_owned();
    found.device = HOSTILE.to_owned();
    found.not_shown = vec![HOSTILE.to_owned()];
    found.other_weights = vec![HOSTILE.to_owned()];
    for verdict in [
        Verdict::Outside {
            stage: HOSTILE.to_owned(),
            first: HOSTILE.to_owned(),
            outside: 1,
        },
        Verdict::Within {
            share: 0.5,
            stage: HOSTILE.to_owned(),
        },
    ] {
        found.verdict = verdict;
        let html = written(&found, HOSTILE);
        assert!(!html.contains("<img"));
        assert!(!html.contains('\u{1b}'));
        // The page's own script.
        assert_eq!(html.matches("</script>").count(), 1);
        let name = "&lt;/script&gt;&lt;img src=x&gt; &#34;&#39;&amp;$a$ \\u{1b}";
        assert!(html.contains(&format!("<title>{name} against torch</title>")));
        assert!(html.contains(&format!("class=\"name\">{name}</th>")));
        assert!(html.contains(&format!("{name}</text>")));
        assert!(html.contains(&format!("</svg>{name}</button>")));
        let says = attributes(&html, "data-says").join("\n");
        assert!(says.contains(&format!("{name}\t")), "{says}");
    }
}

#[test]
fn nothing_is_loaded_from_anywhere() {
    let html = written(&outside(), "model");
    assert!(html.contains("content=\"default-src 'none';"));
    // A file that is downloaded is made by the page.
    let html = html.replace("link.href = URL.createObjectURL(blob)", "");
    let html = html.replace("URL.revokeObjectURL(link.href)", "");
    for load in [
        "http:", "https:", "src=", "href", "url(", "@import", "fetch(", "XMLHttp", "import(",
    ] {
        assert!(!html.contains(load), "{load}");
    }
    assert!(html.len() < 100_000, "{}", html.len());
}

#[test]
fn a_page_of_many_steps_weighs_under_500_kilobytes() {
    let mut found = outside();
    let over_time: Vec<f64> = (0..3000).map(|step| 1e-3 * f64::from(step % 700)).collect();
    for stage in &mut found.stages {
        stage.difference.over_time.clone_from(&over_time);
    }
    found.stages[1].difference.over_time[1000] = INFINITE;
    let html = written(&found, "model");
    assert!(html.len() < 500_000, "{}", html.len());
    // A point is the most of its steps: no peak is lost.
    assert!(html.contains("no number</text>") && html.contains("\tsteps 0 to 7\n"));
}

#[test]
fn the_verdict_is_one_sentence() {
    let sentence = |found: &Comparison| {
        let html = written(found, "model");
        let (_, rest) = html.split_once("<section class=\"verdict ").unwrap();
        let (class, rest) = rest.split_once('"').unwrap();
        let (_, rest) = rest.split_once("<p class=\"sentence\"><strong>").unwrap();
        let (sentence, _) = rest.split_once("</p>").unwrap();
        format!("{class}/{}", sentence.replace("</strong>", ""))
    };
    let mut found = outside();
    assert_eq!(
        sentence(&found),
        "outside/Outside: 7 stages leave the tolerance, of 23; \
         first layer 1, backwards, step 2, forget gate f."
    );
    found.verdict = Verdict::Within {
        share: 0.0321,
        stage: "lstm/l0/i".to_owned(),
    };
    assert_eq!(
        sentence(&found),
        "within/Within tolerance: at most 3.21 % of it is used, \
         in lstm/l0/i at text 0, step 1, unit 2."
    );
    found.verdict = Verdict::Identical;
    assert_eq!(
        sentence(&found),
        "identical/Identical: all 23 stages have the same numbers as torch, to the bit."
    );
    let html = written(&found, "model");
    assert!(html.contains("<p>Cause: model</p>"));
    assert!(html.contains("<p>Texts with another label: 3</p>"));
}

#[test]
fn numbers_are_short_and_say_what_they_are() {
    let shares = [0.0, 1e-7, 0.0321, 1.0, 2.5, 5e6, INFINITE, f64::NAN];
    assert_eq!(
        shares.map(tolerance_share),
        [
            "0 %",
            "1e-5 %",
            "3.21 %",
            "100.00 %",
            "2.5 ×",
            "5.0e6 ×",
            "no number",
            "no number"
        ]
    );
    assert_eq!(
        [2e-6, 2.8284e-6, 0.1].map(short),
        ["2e-6", "2.83e-6", "1e-1"]
    );
    let numbers = [0.0, 1.25e-7, 1.5, -20000.0, INFINITE, f64::NAN];
    assert_eq!(
        numbers.map(number),
        ["0", "1.2e-7", "1.5", "-2.0e4", "infinite", "NaN"]
    );
}
