//! Candidates and their order.

use std::path::Path;

use super::*;
use crate::error::Result;
use crate::metrics::Metric;

const CONFIG: &str = "seed = 4\n[data]\ntrain = \"x.csv\"\n";

fn load(text: &str) -> Result<Plan> {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("c.toml");
    std::fs::write(&config, CONFIG).unwrap();
    let path = folder.path().join("sweep.toml");
    std::fs::write(&path, format!("config = {config:?}\n{text}")).unwrap();
    Plan::load(&path)
}

fn values(plan: &Plan) -> Vec<String> {
    let candidates = plan.candidates().unwrap();
    candidates.iter().map(|c| c.to_string()).collect()
}

#[test]
fn a_grid_is_every_combination_in_order() {
    let plan = load("[values]\n\"lstm.hidden_size\" = [8, 16]\n\"head.pooling\" = [\"max\", \"last\"]\n\"train.learning_rate\" = [0.1]").unwrap();
    let all = values(&plan);
    assert_eq!(all.len(), 4);
    let mut distinct = all.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), 4);
    for pooling in ["max", "last"] {
        for size in [8, 16] {
            let parts = [
                format!("head.pooling={pooling}"),
                format!("lstm.hidden_size={size}"),
            ];
            let has = |text: &&String| parts.iter().all(|part| text.contains(part));
            assert_eq!(all.iter().filter(has).count(), 1);
        }
    }
    assert_eq!(values(&plan), all);
}

#[test]
fn draws_are_a_function_of_the_seed_and_stay_in_their_range() {
    let text = |seed: u64| {
        format!(
            "method = \"random\"\ntrials = 300\nseed = {seed}\n[values]\n\
             \"train.learning_rate\" = {{ min = 1e-4, max = 1e-1, log = true }}\n\
             \"head.dropout\" = {{ min = 0.1, max = 0.5 }}\n\
             \"lstm.hidden_size\" = {{ min = 2, max = 5, integer = true }}\n\
             \"lstm.bidirectional\" = [true, false]\n"
        )
    };
    let plan = load(&text(1)).unwrap();
    assert_eq!(values(&plan), values(&load(&text(1)).unwrap()));
    assert_ne!(values(&plan), values(&load(&text(2)).unwrap()));
    let of = |key: &str| -> Vec<f64> {
        let number = |value: &toml::Value| match value {
            toml::Value::Integer(n) => *n as f64,
            toml::Value::Float(x) => *x,
            toml::Value::Boolean(yes) => f64::from(u8::from(*yes)),
            other => panic!("{other}"),
        };
        let candidates = plan.candidates().unwrap();
        let value = |c: &Candidate| {
            let (_, value) = c.values.iter().find(|(name, _)| name == key).unwrap();
            number(value)
        };
        candidates.iter().map(value).collect()
    };
    let rates = of("train.learning_rate");
    assert!(rates.iter().all(|rate| (1e-4..=1e-1).contains(rate)));
    // A third of the draws in each decade: standard deviation 8.2 of 300.
    let low = rates.iter().filter(|&&rate| rate < 1e-3).count();
    assert!((70..130).contains(&low), "{low}");
    assert!(of("head.dropout").iter().all(|p| (0.1..=0.5).contains(p)));
    for size in 2..=5 {
        // A quarter each: standard deviation 7.5.
        let count = of("lstm.hidden_size")
            .iter()
            .filter(|&&n| n == f64::from(size))
            .count();
        assert!((45..105).contains(&count), "{size}: {count}");
    }
    let yes = of("lstm.bidirectional").iter().sum::<f64>();
    assert!((110.0..190.0).contains(&yes), "{yes}");
}

#[test]
fn what_is_wrong_is_named_before_anything_is_trained() {
    for (text, says) in [
        ("[values]\n", "values: must name one key"),
        ("", "missing field `values`"),
        ("trial = 3\n[values]\nseed = [1]", "unknown field `trial`"),
        ("[values]\n\"train.epoch\" = [1]", "unknown field `epoch`"),
        (
            "[values]\n\"train.epochs\" = [1, 0]",
            "candidate 2 (train.epochs=0)",
        ),
        ("[values]\n\"train.epochs\" = []", "one value or more"),
        ("[values]\n\"train.epochs\" = 3", "takes a list"),
        ("[values]\ntrain.epochs = [3]", "write keys in quotes"),
        (
            "trials = 3\n[values]\n\"train.epochs\" = [1]",
            "trials: is for",
        ),
        (
            "[values]\n\"head.dropout\" = { min = 0, max = 1 }",
            "a grid takes lists",
        ),
        (
            "method = \"random\"\n[values]\n\"head.dropout\" = [0.1]",
            "trials: must say",
        ),
        (
            "method = \"random\"\ntrials = 1\n[values]\n\"head.dropout\" = { min = 1, max = 0 }",
            "a max that is not below",
        ),
        (
            "method = \"random\"\ntrials = 1\n[values]\n\"head.dropout\" = { min = 0, max = 0.5, log = true }",
            "above 0",
        ),
        (
            "seeds = [1, 1]\n[values]\n\"head.dropout\" = [0.1]",
            "seeds: has one twice",
        ),
        (
            "set = [\"train.epochs=x\"]\n[values]\n\"head.dropout\" = [0.1]",
            "train.epochs",
        ),
    ] {
        let error = load(text).unwrap_err().to_string();
        assert!(
            error.contains(says) && error.contains("sweep.toml"),
            "{text}: {error}"
        );
    }
    let many = "[values]\n".to_owned()
        + &["seed", "train.epochs", "train.accumulate"]
            .map(|key| format!("{key:?} = {:?}\n", (1..=30).collect::<Vec<i64>>()))
            .concat();
    assert!(
        load(&many)
            .unwrap_err()
            .to_string()
            .contains("more than 10000")
    );
}

#[test]
fn a_candidate_is_the_configuration_with_its_values_and_seed() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("c.toml");
    std::fs::write(&config, CONFIG).unwrap();
    let plan = Plan {
        config: config.clone(),
        set: vec!["train.epochs=7".to_owned()],
        method: Method::Grid,
        trials: None,
        seed: 0,
        seeds: vec![],
        values: "\"lstm.hidden_size\" = [24]".parse().unwrap(),
    };
    let candidate = &plan.candidates().unwrap()[0];
    let of = |seed| candidate.config(&config, seed).unwrap();
    assert_eq!((of(None).seed, of(Some(9)).seed), (4, 9));
    assert_eq!(of(None).train.epochs, 7);
    assert_eq!(of(None).lstm.hidden_size, 24);
    assert_eq!(of(None).data.train, Path::new("x.csv"));
    assert_eq!(candidate.run(9), "001-seed9");
    assert_eq!((plan.seeds(4), candidate.number), (vec![4], 1));
}

fn trained(dev: f64) -> Trial {
    Trial {
        seed: 0,
        run: String::new(),
        result: TrialResult::Trained {
            dev,
            epochs: 2.0,
            test: Some(dev - 0.1),
        },
    }
}

#[test]
fn the_best_mean_is_first_and_failures_are_last() {
    let failed = Trial {
        result: TrialResult::Failed("step 3".to_owned()),
        ..trained(0.0)
    };
    let candidates = || {
        vec![
            (1, vec![trained(0.5), trained(0.7)]),
            (2, vec![trained(0.9), failed.clone()]),
            (3, vec![trained(0.8), trained(0.6)]),
            (4, vec![trained(0.7), trained(0.7)]),
        ]
    };
    let order = |metric| -> Vec<usize> {
        let ranked = rank(metric, candidates());
        ranked.iter().map(|ranked| ranked.candidate).collect()
    };
    assert_eq!(order(Metric::Accuracy), [3, 4, 1, 2]);
    assert_eq!(order(Metric::Loss), [1, 3, 4, 2]);
    let ranked = rank(Metric::Accuracy, candidates());
    assert!((ranked[0].mean.unwrap() - 0.7).abs() < 1e-12);
    // Of 0.8 and 0.6: √((0.01 + 0.01) / 1).
    assert!((ranked[0].deviation.unwrap() - 0.02f64.sqrt()).abs() < 1e-12);
    assert_eq!(ranked[0].epochs, Some(2.0));
    assert_eq!(ranked[0].tests().len(), 2);
    assert_eq!((ranked[3].mean, ranked[3].deviation), (None, None));
    assert_eq!(deviation(&[1.0]), None);
}

#[test]
fn the_plan_that_comes_along_is_one() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let plan = Plan::load(root.join("configs/sst2-sweep.toml")).unwrap();
    let candidates = plan.candidates().unwrap();
    assert_eq!(candidates.len(), 16);
    for candidate in candidates {
        candidate.config(&root.join(&plan.config), None).unwrap();
    }
}
