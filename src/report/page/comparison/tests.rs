use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::compare::Quantity;
use crate::compare::diagnose::{Cause, Certainty, Diagnosis};
use crate::compare::{Difference, Steps, Tolerance};
use crate::report::page::library;
use crate::report::page::shares::ending;
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

/// The page as it is written, without the library of plots.
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
    let html = std::fs::read_to_string(path).unwrap();
    let library = library();
    assert_eq!(html.matches(&library).count(), 1);
    html.replace(&library, "")
}

/// The figures of each plot, as the page's script reads them.
fn figures(html: &str) -> Vec<Value> {
    let scripts = html.split("<script type=\"application/json\">").skip(1);
    let json = scripts.map(|rest| rest.split_once("</script>").unwrap().0);
    json.map(|json| serde_json::from_str(json).unwrap())
        .collect()
}

fn points(figure: &Value, key: &str) -> Vec<f64> {
    let traces = figure["plot"]["data"].as_array().unwrap().iter();
    let all = traces.flat_map(|trace| trace[key].as_array().unwrap());
    all.map(|point| point.as_f64().unwrap()).collect()
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
        // Not by colour alone.
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

    let by_stage = &figures(&html)[0][0];
    assert_eq!(points(by_stage, "x").len(), found.stages.len());
    let ticks = by_stage["plot"]["layout"]["yaxis"]["ticktext"]
        .as_array()
        .unwrap();
    let names = ticks.iter().map(|tick| tick.as_str().unwrap());
    let names: Vec<&str> = names.filter(|name| !name.starts_with("<b>")).collect();
    let stages: Vec<&str> = found
        .stages
        .iter()
        .map(|stage| stage.name.as_str())
        .collect();
    assert_eq!(names, stages);
    let long = format!("grad/{}weight_hh_l0_reverse", "encoder.".repeat(9));
    assert_eq!(ending(&long), "…er.encoder.weight_hh_l0_reverse");
    // Nothing, NaN and infinity have places of their own on a log axis.
    let x = points(by_stage, "x");
    assert!(x.iter().all(|x| x.is_finite() && *x > 0.0), "{x:?}");
    let least = x.iter().copied().fold(INFINITE, f64::min);
    let most = x.iter().copied().fold(0.0, f64::max);
    let at = |place: f64| x.iter().filter(|x| **x == place).count();
    assert_eq!((at(least), at(most)), (4, 4));
    assert_eq!((least, most), (1e-6, 100.0));
    let axis = &by_stage["plot"]["layout"]["xaxis"];
    let ticks = axis["ticktext"].as_array().unwrap();
    assert!(ticks.contains(&json!("identical")) && ticks.contains(&json!("no number")));
    assert_eq!(
        axis["ticktext"].as_array().unwrap().len(),
        axis["tickvals"].as_array().unwrap().len()
    );
}

#[test]
fn time_steps_are_shown_by_layer_and_the_first_outside_comes_first() {
    let html = written(&outside(), "model");
    let plots = figures(&html);
    let figures = plots[1].as_array().unwrap();
    let names: Vec<&str> = figures
        .iter()
        .map(|figure| figure["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["layer 0", "layer 1", "layer 1, backwards", "input"]);
    let lines = |figure: &Value| {
        let traces = figure["plot"]["data"].as_array().unwrap().iter();
        let names = traces.map(|trace| trace["name"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    let gates = [
        "input i",
        "forget f",
        "candidate g",
        "output o",
        "cell c",
        "hidden h",
    ];
    assert_eq!(lines(&figures[0]), gates);
    assert_eq!(lines(&figures[1])[..6], gates);
    assert_eq!(lines(&figures[1])[6], "y");
    assert_eq!(lines(&figures[2])[6], "y");
    assert_eq!(lines(&figures[3]), ["embedded", "grad/x"]);
    for figure in figures {
        assert_eq!(points(figure, "y").len(), 3 * lines(figure).len());
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
    assert_eq!(super::super::shares::over_time(&few, None).0.len(), 1);
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
        // Two plots, and the page's own script.
        assert_eq!(html.matches("</script>").count(), 3);
        let name = "&lt;/script&gt;&lt;img src=x&gt; &#34;&#39;&amp;$a$ \\u{1b}";
        assert!(html.contains(&format!("<title>{name} against torch</title>")));
        assert!(html.contains(&format!("class=\"name\">{name}</th>")));
        // Labels of plots are HTML of their own.
        let plots = figures(&html);
        assert_eq!(plots[0][0]["plot"]["layout"]["yaxis"]["ticktext"][1], name);
        assert_eq!(plots[1][3]["plot"]["data"][0]["name"], name);
        for text in plots.iter().map(Value::to_string) {
            assert!(!text.contains("<img"));
        }
    }
}

#[test]
fn nothing_is_loaded_from_anywhere() {
    let html = written(&outside(), "model");
    assert!(html.contains("content=\"default-src 'none';"));
    for load in [
        "http:", "https:", "src=", "href", "url(", "@import", "fetch(", "XMLHttp", "import(",
    ] {
        assert!(!html.contains(load), "{load}");
    }
    let library = library();
    assert!(library.contains("plotly.js v") && library.contains("MIT license"));
    assert_eq!(library.matches("<script").count(), 1);
    assert_eq!(library.matches("</script>").count(), 1);
    assert!(!library.contains("MathJax.loader"));
    // What a page is without it.
    assert!(html.len() < 50_000, "{}", html.len());
    assert!(library.len() < 5_000_000, "{}", library.len());
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
        shares.map(percent),
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
