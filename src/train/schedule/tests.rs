//! Each schedule against `torch.optim.lr_scheduler` in the project's Python.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;

use super::*;

/// What `scripts/reference/schedule_reference.py` prints.
#[derive(Deserialize)]
struct Reference {
    rates: BTreeMap<String, Vec<f64>>,
    dev: BTreeMap<String, Vec<f64>>,
}

fn reference() -> Reference {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(root.join(".venv/bin/python"))
        .arg(root.join("scripts/reference/schedule_reference.py"))
        .output()
        .expect("the project's Python; run scripts/setup");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Of a run of 60 steps at 0.05, as in the reference: twelve epochs of five.
fn schedule(config: &ScheduleConfig, metric: Metric) -> Schedule {
    Schedule::new(config, 0.05, metric, 5, 12)
}

fn of(kind: ScheduleKind) -> ScheduleConfig {
    ScheduleConfig {
        kind,
        ..ScheduleConfig::default()
    }
}

fn warm(config: ScheduleConfig) -> ScheduleConfig {
    ScheduleConfig {
        warmup: Some(Span::Steps(8)),
        warmup_factor: Some(0.25),
        ..config
    }
}

fn assert_equal(name: &str, ours: &[f64], torch: &[f64]) {
    assert_eq!(ours.len(), torch.len());
    for (step, (ours, torch)) in ours.iter().zip(torch).enumerate() {
        assert!(
            (ours - torch).abs() < 1e-12,
            "{name}, step {step}: {ours} against {torch}"
        );
    }
}

#[test]
fn equals_torch_at_every_step_and_after_every_epoch() {
    use ScheduleKind::{Constant, Cosine, Linear, OneCycle, Plateau, Step};
    let reference = reference();
    let with = |config: ScheduleConfig, end, length| ScheduleConfig {
        end_factor: Some(end),
        length,
        ..config
    };
    let steps = |steps| Some(Span::Steps(steps));
    let other_step = ScheduleConfig {
        every: steps(7),
        factor: Some(0.7),
        ..of(Step)
    };
    let other_cycle = ScheduleConfig {
        up_share: Some(0.45),
        div_factor: Some(10.0),
        final_div_factor: Some(100.0),
        ..of(OneCycle)
    };
    let down = ScheduleConfig {
        up_share: Some(0.0),
        ..of(OneCycle)
    };
    let every_four_epochs = ScheduleConfig {
        every: Some(Span::Epochs(4.0)),
        ..of(Step)
    };
    let of_steps = [
        ("linear", of(Linear)),
        ("linear short", with(of(Linear), 0.2, steps(40))),
        ("linear warm", warm(with(of(Linear), 0.2, None))),
        ("cosine", of(Cosine)),
        (
            "cosine short",
            with(of(Cosine), 0.1, Some(Span::Epochs(5.0))),
        ),
        ("cosine warm", warm(of(Cosine))),
        ("step", every_four_epochs),
        ("step warm", warm(other_step)),
        ("warm", warm(of(Constant))),
        ("one_cycle", of(OneCycle)),
        ("one_cycle other", other_cycle),
        ("one_cycle down", down),
    ];
    let other_plateau = ScheduleConfig {
        factor: Some(0.6),
        patience: Some(2),
        threshold: Some(0.01),
        cooldown: Some(3),
        min_rate: Some(0.004),
        ..of(Plateau)
    };
    let fast_plateau = ScheduleConfig {
        factor: Some(0.5),
        patience: Some(1),
        threshold: Some(0.02),
        ..of(Plateau)
    };
    let of_epochs = [
        ("plateau loss", of(Plateau), Metric::Loss),
        ("plateau loss other", other_plateau, Metric::Loss),
        ("plateau accuracy", fast_plateau, Metric::Accuracy),
    ];
    assert_eq!(reference.rates.len(), of_steps.len() + of_epochs.len());
    for (name, config) in of_steps {
        let schedule = schedule(&config, Metric::Loss);
        let rates: Vec<f64> = (0..60).map(|step| schedule.rate(step)).collect();
        assert_equal(name, &rates, &reference.rates[name]);
    }
    for (name, config, metric) in of_epochs {
        let mut schedule = schedule(&config, metric);
        let mut rates = Vec::new();
        for &dev in &reference.dev[metric.name()] {
            schedule.measured(dev);
            rates.push(schedule.rate(rates.len() as u64));
        }
        assert_equal(name, &rates, &reference.rates[name]);
    }
}

#[test]
fn a_constant_rate_is_itself_to_the_bit() {
    let mut schedule = schedule(&of(ScheduleKind::Constant), Metric::Loss);
    schedule.measured(1.0);
    assert_eq!(schedule.rate(0), 0.05);
    assert_eq!(schedule.rate(1_000_000), 0.05);
    assert_eq!(schedule.state(), None);
}

#[test]
fn a_restored_plateau_goes_on_as_if_nothing_was() {
    let config = ScheduleConfig {
        patience: Some(1),
        cooldown: Some(2),
        ..of(ScheduleKind::Plateau)
    };
    let dev: Vec<f64> = (0..20).map(|n| 1.0 + (0.7 * f64::from(n)).sin()).collect();
    for stop in 0..dev.len() {
        let mut undisturbed = schedule(&config, Metric::Loss);
        dev.iter().for_each(|&dev| undisturbed.measured(dev));
        let mut stopped = schedule(&config, Metric::Loss);
        dev[..stop].iter().for_each(|&dev| stopped.measured(dev));
        let saved = serde_json::to_string(&stopped.state()).unwrap();
        let mut resumed = schedule(&config, Metric::Loss);
        let saved = serde_json::from_str(&saved).unwrap();
        resumed.load_state(saved).unwrap();
        dev[stop..].iter().for_each(|&dev| resumed.measured(dev));
        assert_eq!(resumed.state(), undisturbed.state());
        assert!(resumed.rate(0) < 0.05);
        let error = resumed.load_state(None).unwrap_err().to_string();
        assert!(error.starts_with("schedule.kind: is plateau"), "{error}");
        let mut constant = schedule(&of(ScheduleKind::Constant), Metric::Loss);
        let error = constant.load_state(saved).unwrap_err().to_string();
        assert!(error.contains("is no plateau"), "{error}");
    }
}

#[test]
fn a_plateau_is_warmed_up_too_and_no_number_is_no_better() {
    let config = ScheduleConfig {
        patience: Some(0),
        ..warm(of(ScheduleKind::Plateau))
    };
    let mut schedule = schedule(&config, Metric::Accuracy);
    assert_eq!(schedule.rate(0), 0.05 * 0.25);
    assert_eq!(schedule.rate(8), 0.05);
    schedule.measured(f64::NAN);
    assert!((schedule.rate(8) - 0.005).abs() < 1e-15);
}

#[test]
fn runs_that_are_too_short_have_finite_rates_down_to_their_end() {
    use ScheduleKind::{Cosine, Linear, OneCycle, Step};
    for kind in [Linear, Cosine, OneCycle, Step] {
        for steps in 1..6 {
            let schedule = Schedule::new(&of(kind), 0.05, Metric::Loss, 1, steps);
            for step in 0..steps + 3 {
                let rate = schedule.rate(step);
                assert!((0.0..=0.05).contains(&rate), "{kind:?} {steps} {step}");
            }
        }
    }
    let late = ScheduleConfig {
        warmup: Some(Span::Epochs(20.0)),
        ..of(ScheduleKind::Cosine)
    };
    let schedule = schedule(&late, Metric::Loss);
    assert!(schedule.rate(59) < 0.05);
    assert!((schedule.rate(100) - 0.05).abs() < 1e-15);
}
