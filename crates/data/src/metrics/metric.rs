//! The number by which the best model is chosen.

use serde::{Deserialize, Serialize};

/// The number by which the best model is chosen; `accuracy`, `macro_f1` or
/// `loss` in a configuration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// The share of texts whose class is predicted; larger is better.
    #[default]
    Accuracy,
    /// The unweighted mean of the classes' F1; larger is better.
    MacroF1,
    /// The mean loss; smaller is better.
    Loss,
}

impl Metric {
    /// The name in configurations and reports, for [`super::Metrics::value`].
    pub fn name(self) -> &'static str {
        match self {
            Metric::Accuracy => "accuracy",
            Metric::MacroF1 => "macro_f1",
            Metric::Loss => "loss",
        }
    }

    /// Whether `a` is strictly better than `b`. NaN is worse than every
    /// number, and not better than NaN.
    pub fn better(self, a: f64, b: f64) -> bool {
        match (a.is_nan(), b.is_nan()) {
            (true, _) => false,
            (false, true) => true,
            (false, false) => match self {
                Metric::Accuracy | Metric::MacroF1 => a > b,
                Metric::Loss => a < b,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Metric; 3] = [Metric::Accuracy, Metric::MacroF1, Metric::Loss];

    #[test]
    fn the_name_is_the_serialised_form() {
        for metric in ALL {
            let json = serde_json::to_string(&metric).unwrap();
            assert_eq!(json, format!("\"{}\"", metric.name()));
            assert_eq!(serde_json::from_str::<Metric>(&json).unwrap(), metric);
        }
    }

    #[test]
    fn a_smaller_loss_and_a_larger_score_are_better() {
        assert!(Metric::Accuracy.better(0.8, 0.7));
        assert!(Metric::MacroF1.better(0.8, 0.7));
        assert!(!Metric::Loss.better(0.8, 0.7));
        assert!(Metric::Loss.better(0.7, 0.8));
    }

    #[test]
    fn equal_is_not_better_and_nan_is_worst() {
        for metric in ALL {
            assert!(!metric.better(0.5, 0.5));
            assert!(metric.better(0.5, f64::NAN));
            assert!(!metric.better(f64::NAN, 0.5));
            assert!(!metric.better(f64::NAN, f64::NAN));
        }
    }
}
