use super::super::drawing::tests::{assert_tidy, texts};
use super::*;
use proptest::prelude::*;

fn labels(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

#[test]
fn two_classes() {
    let names = labels(&["negative", "positive"]);
    let drawing = drawing(&names, &[vec![640, 160], vec![0, 200]]);
    assert_tidy(&drawing);
    assert_eq!(
        texts(&drawing),
        [
            "640",
            "80.0 %",
            "160",
            "20.0 %",
            "0",
            "0.0 %",
            "200",
            "100.0 %",
            "negative",
            "negative",
            "positive",
            "positive",
            "predicted",
            "true",
            "number of texts, and share of the true class"
        ]
    );
}

#[test]
fn a_row_without_texts_has_no_shares() {
    let drawing = drawing(&labels(&["a", "b"]), &[vec![0, 0], vec![1, 3]]);
    assert_eq!(texts(&drawing)[..4], ["0", "0", "1", "25.0 %"]);
}

#[test]
fn long_labels_are_cut() {
    let long = "a class whose name goes on and on and on".to_owned();
    let drawing = drawing(&[long, "b".to_owned()], &[vec![1, 2], vec![3, 4]]);
    assert_tidy(&drawing);
    assert!(texts(&drawing)[8].ends_with('…'));
}

#[test]
fn both_kinds_of_files_are_written() {
    let folder = tempfile::tempdir().unwrap();
    for (name, beginning) in [("matrix.png", &b"\x89PNG"[..]), ("matrix.svg", b"<svg")] {
        let path = folder.path().join(name);
        confusion_matrix(&path, &labels(&["a", "b"]), &[vec![1, 2], vec![3, 4]]).unwrap();
        assert!(std::fs::read(&path).unwrap().starts_with(beginning));
    }
}

#[test]
fn refuses_what_is_not_square_or_not_drawable() {
    let path = Path::new("matrix.png");
    for matrix in [vec![vec![1, 2]], vec![vec![1, 2], vec![3]]] {
        let error = confusion_matrix(path, &labels(&["a", "b"]), &matrix).unwrap_err();
        assert_eq!(
            error.to_string(),
            "matrix: must have 2 rows and columns, one per label"
        );
    }
    for classes in [0, 41] {
        let names = vec!["a".to_owned(); classes];
        let matrix = vec![vec![0; classes]; classes];
        let error = confusion_matrix(path, &names, &matrix).unwrap_err();
        assert!(error.to_string().contains("1 to 40 classes"), "{error}");
    }
}

proptest! {
    #[test]
    fn every_matrix_gives_a_tidy_drawing(
        (names, matrix) in (1usize..=12).prop_flat_map(|classes| (
            prop::collection::vec("\\PC{0,40}", classes),
            prop::collection::vec(prop::collection::vec(any::<u64>(), classes), classes),
        ))
    ) {
        let drawing = drawing(&names, &matrix);
        prop_assert!(drawing.width >= 500.0);
        assert_tidy(&drawing);
    }
}
