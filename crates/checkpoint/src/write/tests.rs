use super::*;
use crate::{Checkpoint, DType};

/// Bytes of which no two neighbours are equal.
fn bytes(count: usize, first: usize) -> Vec<u8> {
    (0..count).map(|n| ((first + n) * 37 % 256) as u8).collect()
}

fn view<'a>(name: &'a str, dtype: DType, shape: &[i64], bytes: &'a [u8]) -> TensorView<'a> {
    TensorView::new(name, dtype, shape.to_vec(), bytes).unwrap()
}

fn saved<'a>(tensors: impl IntoIterator<Item = TensorView<'a>>) -> (tempfile::TempDir, Checkpoint) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.pt");
    save_torch(&path, tensors).unwrap();
    let checkpoint = Checkpoint::open(&path).unwrap();
    (folder, checkpoint)
}

#[test]
fn every_dtype_and_shape_comes_back_to_the_bit() {
    const DTYPES: [&str; 6] = [
        "float32",
        "bfloat16",
        "float8_e5m2",
        "int64",
        "uint16",
        "complex64",
    ];
    let shapes: [&[i64]; 4] = [&[], &[0, 7], &[3, 5], &[1, 2, 1, 3, 300]];
    let mut written = Vec::new();
    for dtype in DTYPES.map(|name| DType::from_name(name).unwrap()) {
        for shape in shapes {
            let count = shape.iter().product::<i64>() as usize * dtype.size();
            written.push((
                format!("{dtype}.{shape:?}.\u{1f980}"),
                dtype,
                shape,
                bytes(count, 3),
            ));
        }
    }
    let views = written
        .iter()
        .map(|(name, dtype, shape, bytes)| view(name, *dtype, shape, bytes));
    let (_folder, checkpoint) = saved(views);
    assert!(checkpoint.refused().is_empty());
    assert_eq!(checkpoint.tensors().len(), written.len());
    for ((name, dtype, shape, bytes), read) in written.iter().zip(checkpoint.tensors()) {
        assert_eq!(
            (&read.name, read.dtype, &read.shape[..]),
            (name, *dtype, *shape)
        );
        assert_eq!(checkpoint.bytes(name).unwrap(), *bytes, "{name}");
    }
}

#[test]
fn tied_tensors_stay_tied() {
    let (tied, other) = (bytes(32, 3), bytes(32, 3));
    let views = [
        view("a", DType::F32, &[4, 2], &tied),
        view("b", DType::F32, &[4, 2], &other),
        view("c", DType::F32, &[8], &tied),
        view("half", DType::F32, &[4], &tied[..16]),
        view("cast", DType::I32, &[8], &tied),
        TensorView::new("owned", DType::F32, vec![8], tied.clone()).unwrap(),
        view("empty", DType::F32, &[0], &[]),
        view("empty too", DType::F32, &[0], &[]),
        view("again", DType::F32, &[8], &other),
    ];
    let (_folder, checkpoint) = saved(views);
    let storages: Vec<usize> = checkpoint.tensors().iter().map(|t| t.storage).collect();
    assert_eq!(storages, [0, 1, 0, 2, 3, 4, 5, 6, 1]);
}

#[test]
fn no_tensor_at_all_is_a_state_dict() {
    let (_folder, checkpoint) = saved([]);
    assert!(checkpoint.tensors().is_empty());
}

#[test]
fn what_cannot_be_written_is_named_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.pt");
    let x = bytes(4, 0);
    let refused = |path: &Path, tensors: Vec<TensorView>, why: &str| {
        let error = save_torch(path, tensors).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    };
    let one = || view("x", DType::F32, &[1], &x);
    refused(&path, vec![one(), one()], "x: is there twice");
    let deep = view("x", DType::F32, &[1; RANK + 1], &x);
    refused(&path, vec![deep], "x: has more dimensions");
    let nowhere = folder.path().join("no/x.pt");
    refused(&nowhere, vec![one()], "no/x.pt: its folder is not there");
}

#[test]
fn the_folder_in_the_archive_is_the_name_of_the_file() {
    assert_eq!(root(Path::new("runs/best model.v2.pt")), "best model.v2");
    assert_eq!(root(Path::new("a\\b.pt")), "archive");
    assert_eq!(root(Path::new("...pt")), "archive");
    assert_eq!(root(Path::new("modèle.pt")), "archive");
}
