use super::*;
use crate::highway::{Lesson, Setting};

fn memory(lstm: bool) -> Memory {
    let falls = |by: f64| (0..25).map(|n| by.powi(n)).collect();
    Memory {
        distance: (0..25).collect(),
        h: falls(1e-2),
        c: if lstm { falls(0.5) } else { Vec::new() },
        forget_mean: if lstm { falls(0.9) } else { Vec::new() },
        forget_most: if lstm { falls(1.0) } else { Vec::new() },
    }
}

fn outcome(model: ModelKind, share: f64) -> Outcome {
    let task = Task::Copy { blanks: 5 };
    Outcome {
        task,
        model,
        steps: 3,
        parameters: 7,
        curve: vec![(1, 9.0), (2, task.baseline()), (3, share * task.baseline())],
        test_loss: share * task.baseline(),
        test_error: 0.001 * task.baseline(),
        answer_loss: 1.0,
        right: 0.25,
        gradient_norm: 1.0,
        before: memory(model.is_lstm()),
        after: memory(model.is_lstm()),
        seconds: 1.0,
    }
}

fn page(outcomes: &[Outcome]) -> String {
    let plan = Plan {
        full: false,
        setting: Setting {
            seed: 3,
            hidden: 4,
            batch: 8,
            learning_rate: 0.02,
            rnn_learning_rate: 0.01,
            warmup: 10,
            clip_norm: 1.0,
            test: 60,
            looked_into: 4,
        },
        lessons: vec![Lesson {
            task: outcomes[0].task,
            steps: 3,
        }],
        device: "<cpu>".to_owned(),
        images: Some("abc".to_owned()),
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index.html");
    let page = HighwayPage {
        plan: &plan,
        outcomes,
        version: "1 & 2",
    };
    highway_page(&path, &page).unwrap();
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn everything_is_on_the_page_and_nothing_beyond_it() {
    let shares = [1.0, 1.2, 0.5, 0.01];
    let outcomes: Vec<Outcome> = (ModelKind::ALL.into_iter().zip(shares))
        .map(|(model, share)| outcome(model, share))
        .collect();
    let html = page(&outcomes);
    for part in [
        "stays at the baseline",
        "ends above the baseline",
        "gets below the baseline",
        "solves it",
        "10 ln 8 / (T + 20) = 10 ln 8 / 25",
        "LSTM, chrono: over 24 steps the gates let",
        "4 trainings 2 got below the baseline",
        "&lt;cpu&gt;",
        "1 &amp; 2",
        "first below half of the baseline at step 3",
        "are drawn at the upper edge",
        "is drawn at the lower edge",
    ] {
        assert!(html.contains(part), "{part}");
    }
    // Loss, and three profiles before and after; a key for each model.
    assert_eq!(html.matches("<figure>").count(), 7);
    assert_eq!(html.matches("<svg class=\"chart\"").count(), 7);
    assert_eq!(html.matches("<svg class=\"key-mark\"").count(), 4);
    for beyond in ["<script", "src=", "href=", "@import", "url(", "NaN", "inf"] {
        assert!(!html.contains(beyond), "{beyond}");
    }
    assert!(html.len() < 120_000, "{}", html.len());
}

#[test]
fn the_colors_of_the_pictures_are_those_of_the_theme() {
    let outcomes = ModelKind::ALL.map(|model| outcome(model, 1.0));
    let html = page(&outcomes);
    let drawn = html.split("<body>").nth(1).unwrap();
    for attribute in ["fill=\"", "stroke=\""] {
        for (at, _) in drawn.match_indices(attribute) {
            let color = &drawn[at + attribute.len()..];
            assert!(
                color.starts_with("var(--") || color.starts_with("none\""),
                "{}",
                &color[..20]
            );
        }
    }
}
