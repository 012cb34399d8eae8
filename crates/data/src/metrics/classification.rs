//! Accuracy, precision, recall and F1 of a classifier.

use serde::{Deserialize, Serialize};

use super::confusion::Confusion;
use super::interval::{Interval, wilson};
use crate::error::Result;

/// How well a classifier does on one set of texts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// The number of texts.
    pub count: u64,
    /// The mean loss, where it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// The share of texts whose class was predicted.
    pub accuracy: f64,
    /// The 95 % [`wilson`] interval of the accuracy.
    pub accuracy_interval: Interval,
    /// The accuracy of always predicting the most frequent true class.
    pub majority_baseline: f64,
    /// The unweighted mean of the classes' F1.
    pub macro_f1: f64,
    /// One entry per label, in the order of the class ids.
    pub classes: Vec<ClassMetrics>,
    /// Counts, `[true class][predicted class]`.
    pub confusion: Confusion,
}

/// How well one class is found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassMetrics {
    /// The class's name.
    pub label: String,
    /// `TP / (TP + FP)`; 0 where the class was never predicted.
    pub precision: f64,
    /// `TP / (TP + FN)`; 0 where no text is of the class.
    pub recall: f64,
    /// `2 TP / (2 TP + FP + FN)`, the harmonic mean of precision and recall;
    /// 0 where the class neither occurs nor was predicted.
    pub f1: f64,
    /// How many texts are of the class: `TP + FN`.
    pub support: u64,
}

impl Metrics {
    /// Measures `predicted` against `truth`, which hold one class id (an
    /// index into `labels`) per text.
    ///
    /// Precision, recall and F1 are those of scikit-learn's
    /// `precision_recall_fscore_support(truth, predicted,
    /// labels=range(len(labels)), zero_division=0)`, and macro F1 that of
    /// `average="macro"`: a label that neither occurs nor was predicted
    /// counts in the mean, with 0.
    ///
    /// # Errors
    /// The slices have different lengths or no element, or a class id has no
    /// label.
    pub fn new(labels: &[String], truth: &[u32], predicted: &[u32]) -> Result<Self> {
        let confusion = Confusion::new(labels.len(), truth, predicted)?;
        let count = confusion.total();
        let correct = confusion.correct();
        let support = confusion.support();
        let predicted = confusion.predicted();
        let classes: Vec<_> = labels
            .iter()
            .enumerate()
            .map(|(class, label)| {
                let hits = confusion.rows()[class][class];
                ClassMetrics {
                    label: label.clone(),
                    precision: ratio(hits, predicted[class]),
                    recall: ratio(hits, support[class]),
                    f1: ratio(2 * hits, predicted[class] + support[class]),
                    support: support[class],
                }
            })
            .collect();
        Ok(Self {
            count,
            loss: None,
            accuracy: ratio(correct, count),
            accuracy_interval: wilson(correct, count),
            majority_baseline: ratio(support.iter().copied().max().unwrap_or(0), count),
            macro_f1: classes.iter().map(|class| class.f1).sum::<f64>() / classes.len() as f64,
            classes,
            confusion,
        })
    }

    /// The same with the mean loss.
    pub fn with_loss(mut self, loss: f64) -> Self {
        self.loss = Some(loss);
        self
    }

    /// The number called `accuracy`, `macro_f1` or `loss`
    /// ([`super::Metric::name`]). `None` for any other name, and for a loss
    /// that was not measured.
    pub fn value(&self, name: &str) -> Option<f64> {
        match name {
            "accuracy" => Some(self.accuracy),
            "macro_f1" => Some(self.macro_f1),
            "loss" => self.loss,
            _ => None,
        }
    }
}

/// `a / b`, and 0 for `0 / 0` (scikit-learn's `zero_division=0`).
fn ratio(a: u64, b: u64) -> f64 {
    if b == 0 { 0.0 } else { a as f64 / b as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metric;
    use proptest::prelude::*;

    fn labels(count: usize) -> Vec<String> {
        (0..count).map(|class| format!("class {class}")).collect()
    }

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-12
    }

    /// Truth     0 0 0 0 1 1 1 2 2 2
    /// predicted 0 0 0 1 1 1 0 2 0 1
    ///
    /// Rows of the matrix: [3 1 0] [1 2 0] [1 1 1]; diagonal 3 + 2 + 1 = 6.
    /// Columns: 5, 4, 1. Rows: 4, 3, 3.
    /// Precision 3/5, 2/4, 1/1; recall 3/4, 2/3, 1/3;
    /// F1 = 2 TP / (column + row): 6/9, 4/7, 2/4;
    /// macro F1 = (2/3 + 4/7 + 1/2) / 3 = (28 + 24 + 21) / 42 / 3 = 73/126.
    #[test]
    fn three_classes_by_hand() {
        let truth = [0, 0, 0, 0, 1, 1, 1, 2, 2, 2];
        let predicted = [0, 0, 0, 1, 1, 1, 0, 2, 0, 1];
        let metrics = Metrics::new(&labels(3), &truth, &predicted).unwrap();
        assert_eq!(metrics.count, 10);
        assert!(close(metrics.accuracy, 0.6));
        assert!(close(metrics.majority_baseline, 0.4));
        assert!(close(metrics.macro_f1, 73.0 / 126.0));
        let expected = [
            (3.0 / 5.0, 3.0 / 4.0, 6.0 / 9.0, 4),
            (2.0 / 4.0, 2.0 / 3.0, 4.0 / 7.0, 3),
            (1.0, 1.0 / 3.0, 2.0 / 4.0, 3),
        ];
        for (class, (precision, recall, f1, support)) in metrics.classes.iter().zip(expected) {
            assert!(close(class.precision, precision), "{class:?}");
            assert!(close(class.recall, recall), "{class:?}");
            assert!(close(class.f1, f1), "{class:?}");
            assert_eq!(class.support, support);
        }
        assert_eq!(metrics.accuracy_interval, wilson(6, 10));
    }

    /// Three labels; class 1 is true once and never predicted (precision
    /// 0/0), class 2 is neither (F1 0/0). F1 of class 0 is 2·1 / (2 + 1).
    #[test]
    fn nothing_over_nothing_is_zero() {
        let metrics = Metrics::new(&labels(3), &[0, 1], &[0, 0]).unwrap();
        assert_eq!(metrics.classes[1].precision, 0.0);
        assert_eq!(metrics.classes[2].recall, 0.0);
        assert_eq!(metrics.classes[2].f1, 0.0);
        assert!(close(metrics.macro_f1, 2.0 / 9.0));
    }

    #[test]
    fn values_by_name() {
        let metrics = Metrics::new(&labels(2), &[0, 1, 1], &[0, 1, 0]).unwrap();
        assert_eq!(metrics.value("accuracy"), Some(metrics.accuracy));
        assert_eq!(
            metrics.value(Metric::MacroF1.name()),
            Some(metrics.macro_f1)
        );
        assert_eq!(metrics.value("loss"), None);
        assert_eq!(metrics.value("auc"), None);
        assert_eq!(metrics.with_loss(0.25).value("loss"), Some(0.25));
    }

    #[test]
    fn serialises_for_programs() {
        let metrics = Metrics::new(&labels(1), &[0], &[0]).unwrap();
        let json = serde_json::to_value(&metrics).unwrap();
        assert_eq!(json["confusion"], serde_json::json!([[1]]));
        assert_eq!(json["accuracy_interval"]["high"], 1.0);
        assert_eq!(json["classes"][0]["label"], "class 0");
        assert!(json.get("loss").is_none());
        assert_eq!(
            serde_json::to_value(metrics.with_loss(0.5)).unwrap()["loss"],
            0.5
        );
    }

    #[test]
    fn refuses_what_the_matrix_refuses() {
        assert!(Metrics::new(&labels(2), &[0, 1], &[0]).is_err());
        assert!(Metrics::new(&labels(2), &[2], &[0]).is_err());
        assert!(Metrics::new(&[], &[0], &[0]).is_err());
    }

    /// 1 to 6 classes, a permutation of them, and pairs of class ids.
    fn cases() -> impl Strategy<Value = (Vec<u32>, Vec<(u32, u32)>)> {
        (1u32..=6).prop_flat_map(|classes| {
            (
                Just((0..classes).collect::<Vec<_>>()).prop_shuffle(),
                prop::collection::vec((0..classes, 0..classes), 1..60),
            )
        })
    }

    proptest! {
        #[test]
        fn accuracy_is_the_share_of_equal_pairs((order, pairs) in cases()) {
            let (truth, predicted): (Vec<_>, Vec<_>) = pairs.iter().copied().unzip();
            let metrics = Metrics::new(&labels(order.len()), &truth, &predicted).unwrap();
            let equal = pairs.iter().filter(|(a, b)| a == b).count();
            prop_assert!(close(metrics.accuracy, equal as f64 / pairs.len() as f64));
            prop_assert!(metrics.majority_baseline >= 1.0 / order.len() as f64 - 1e-12);
            let interval = metrics.accuracy_interval;
            prop_assert!(interval.low <= metrics.accuracy && metrics.accuracy <= interval.high);
            for class in &metrics.classes {
                let sum = class.precision + class.recall;
                let harmonic = if sum == 0.0 { 0.0 } else { 2.0 * class.precision * class.recall / sum };
                prop_assert!(close(class.f1, harmonic));
            }
        }

        #[test]
        fn relabelling_changes_nothing_but_the_order((order, pairs) in cases()) {
            let (truth, predicted): (Vec<_>, Vec<_>) = pairs.iter().copied().unzip();
            let renamed = |ids: &[u32]| ids.iter().map(|&id| order[id as usize]).collect::<Vec<_>>();
            let labels = labels(order.len());
            let before = Metrics::new(&labels, &truth, &predicted).unwrap();
            let after = Metrics::new(&labels, &renamed(&truth), &renamed(&predicted)).unwrap();
            prop_assert!(close(before.macro_f1, after.macro_f1));
            prop_assert!(close(before.accuracy, after.accuracy));
            for (class, &to) in order.iter().enumerate() {
                prop_assert_eq!(before.classes[class].f1, after.classes[to as usize].f1);
            }
        }

        #[test]
        fn swapping_the_sides_swaps_precision_and_recall((order, pairs) in cases()) {
            let (truth, predicted): (Vec<_>, Vec<_>) = pairs.iter().copied().unzip();
            let labels = labels(order.len());
            let one = Metrics::new(&labels, &truth, &predicted).unwrap();
            let other = Metrics::new(&labels, &predicted, &truth).unwrap();
            for (a, b) in one.classes.iter().zip(&other.classes) {
                prop_assert_eq!((a.precision, a.recall, a.f1), (b.recall, b.precision, b.f1));
            }
        }
    }
}
