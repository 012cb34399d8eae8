use super::super::drawing::Shape;
use super::super::drawing::tests::{all, assert_tidy, marks, texts};
use super::*;
use proptest::prelude::*;

fn epochs(count: u64) -> Vec<EpochPoint> {
    (1..=count)
        .map(|epoch| EpochPoint {
            epoch: epoch as f64,
            train_loss: 0.7 / epoch as f64,
            dev_loss: 0.7 / epoch as f64 + 0.1,
            dev_score: 0.8 - 0.3 / epoch as f64,
        })
        .collect()
}

#[test]
fn twelve_epochs() {
    let drawing = drawing(&epochs(12), "dev accuracy", Some(12.0));
    assert_tidy(&drawing);
    let texts = texts(&drawing);
    for text in [
        "training",
        "development",
        "loss",
        "dev accuracy",
        "epoch",
        "best: epoch 12, 0.7750",
    ] {
        assert!(texts.contains(&text), "{text} is not in {texts:?}");
    }
    // One mark per epoch and line; a disc and a ring at the best one and in its key.
    assert_eq!(marks(&drawing, TRAIN), 12);
    assert_eq!(marks(&drawing, DEV), 24);
    assert_eq!(marks(&drawing, BEST), 4);
}

#[test]
fn one_epoch_is_marked() {
    let drawing = drawing(&epochs(1), "dev accuracy", None);
    assert_tidy(&drawing);
    assert_eq!(marks(&drawing, TRAIN), 1);
    assert_eq!(marks(&drawing, BEST), 0);
}

#[test]
fn many_epochs_are_lines_without_marks() {
    let drawing = drawing(&epochs(200), "dev accuracy", Some(3.0));
    assert_tidy(&drawing);
    assert_eq!(marks(&drawing, TRAIN), 0);
}

#[test]
fn values_without_a_place_are_counted() {
    let mut points = epochs(3);
    points[1].train_loss = f64::NAN;
    points[2].dev_score = f64::INFINITY;
    let drawing = drawing(&points, "dev accuracy", Some(3.0));
    assert_tidy(&drawing);
    let texts = texts(&drawing);
    assert!(texts.contains(&"training (1 not drawn)"), "{texts:?}");
    assert!(texts.contains(&"development (1 not drawn)"), "{texts:?}");
    // The best epoch has no place.
    assert_eq!(marks(&drawing, BEST), 0);
}

#[test]
fn both_kinds_of_files_are_written() {
    let folder = tempfile::tempdir().unwrap();
    for (name, beginning) in [("curve.png", &b"\x89PNG"[..]), ("curve.svg", b"<svg")] {
        let path = folder.path().join(name);
        training_curve(&path, &epochs(2), "dev accuracy", Some(2.0)).unwrap();
        assert!(std::fs::read(&path).unwrap().starts_with(beginning));
    }
}

#[test]
fn odd_values_are_drawn_without_harm() {
    let folder = tempfile::tempdir().unwrap();
    for value in [f64::NAN, f64::INFINITY, f64::MAX, -1e30, 0.0, 1e-300] {
        let mut points = epochs(4);
        for point in &mut points[1..] {
            (point.train_loss, point.dev_loss, point.dev_score) = (value, 0.5, value);
        }
        for name in ["odd.png", "odd.svg"] {
            let path = folder.path().join(name);
            training_curve(&path, &points, "dev accuracy", Some(2.0)).unwrap();
        }
    }
}

#[test]
fn no_epoch_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("curve.png");
    let error = training_curve(&path, &[], "dev accuracy", None).unwrap_err();
    assert!(error.to_string().contains("no epoch to draw"), "{error}");
    assert!(!path.exists());
}

proptest! {
    #[test]
    fn any_values_give_a_tidy_picture(
        values in prop::collection::vec(
            (any::<u64>(), prop::num::f64::ANY, prop::num::f64::ANY, prop::num::f64::ANY),
            1..8,
        ),
        best in any::<prop::sample::Index>(),
        score in "\\PC{0,60}",
    ) {
        let points: Vec<_> = values
            .iter()
            .map(|&(epoch, train_loss, dev_loss, dev_score)| EpochPoint {
                epoch: epoch as f64,
                train_loss,
                dev_loss,
                dev_score,
            })
            .collect();
        let best = best.get(&points).epoch;
        let drawing = drawing(&points, &score, Some(best));
        for shape in all(&drawing) {
            if let Shape::Line { points, .. } = shape {
                for &(x, y) in points {
                    prop_assert!((0.0..=WIDTH).contains(&x), "{x}");
                    prop_assert!((0.0..=HEIGHT).contains(&y), "{y}");
                }
            }
        }
    }

    #[test]
    fn ordinary_runs_give_a_tidy_picture(
        losses in prop::collection::vec((0.0f64..20.0, 0.0f64..20.0, 0.0f64..1.0), 1..60)
    ) {
        let points: Vec<_> = (1..)
            .zip(losses)
            .map(|(epoch, (train_loss, dev_loss, dev_score))| EpochPoint {
                epoch: epoch as f64,
                train_loss,
                dev_loss,
                dev_score,
            })
            .collect();
        assert_tidy(&drawing(&points, "dev macro F1", Some(1.0)));
    }
}
