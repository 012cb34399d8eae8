use tch::{Kind, Tensor};

use super::super::Checkpoint;
use super::*;

/// All that tch has but the quantized ones.
const KINDS: [Kind; 17] = [
    Kind::Uint8,
    Kind::Int8,
    Kind::Int16,
    Kind::Int,
    Kind::Int64,
    Kind::Half,
    Kind::Float,
    Kind::Double,
    Kind::ComplexHalf,
    Kind::ComplexFloat,
    Kind::ComplexDouble,
    Kind::Bool,
    Kind::BFloat16,
    Kind::Float8e5m2,
    Kind::Float8e4m3fn,
    Kind::Float8e5m2fnuz,
    Kind::Float8e4m3fnuz,
];

/// A tensor of any dtype with any bits: bytes seen as that dtype.
fn of_bytes(kind: Kind, shape: &[i64], first: usize) -> Tensor {
    let count = shape.iter().product::<i64>() as usize;
    let bytes: Vec<u8> = (0..count * kind.elt_size_in_bytes())
        .map(|n| match kind {
            Kind::Bool => (n % 2) as u8,
            _ => ((first + n) * 37 % 256) as u8,
        })
        .collect();
    Tensor::from_data_size(&bytes, shape, kind)
}

fn saved(tensors: &[(&str, &Tensor)]) -> (tempfile::TempDir, Checkpoint) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.pt");
    save_torch(&path, tensors.iter().copied()).unwrap();
    let checkpoint = Checkpoint::open(&path).unwrap();
    (folder, checkpoint)
}

#[test]
fn every_dtype_comes_back_to_the_bit() {
    let tensors: Vec<(String, Tensor)> = KINDS
        .iter()
        .map(|&kind| (format!("{kind:?}"), of_bytes(kind, &[3, 5], 1)))
        .collect();
    let pairs: Vec<_> = tensors.iter().map(|(name, t)| (name.as_str(), t)).collect();
    let (_folder, checkpoint) = saved(&pairs);
    assert!(checkpoint.refused().is_empty());
    assert_eq!(checkpoint.tensors().len(), KINDS.len());
    for ((name, written), info) in tensors.iter().zip(checkpoint.tensors()) {
        assert_eq!(&info.name, name);
        let read = checkpoint.tensor(name).unwrap();
        assert_eq!(read.kind(), written.kind(), "{name}");
        assert_eq!(read.size(), [3, 5], "{name}");
        assert_eq!(elements(&read), elements(written), "{name}");
    }
}

#[test]
fn shapes_views_and_lazy_tensors_are_written_as_their_values() {
    let matrix = of_bytes(Kind::Float, &[4, 6], 9);
    let view = matrix.transpose(0, 1).narrow(0, 1, 3);
    let complex = of_bytes(Kind::ComplexFloat, &[4], 2);
    let conjugated = complex.conj();
    let trained = Tensor::ones([2], (Kind::Float, tch::Device::Cpu)).set_requires_grad(true);
    let tensors = [
        ("", Tensor::from(3.5f64)),
        ("empty", of_bytes(Kind::Half, &[0, 7], 0)),
        (
            "wide.\u{1f980}",
            of_bytes(Kind::Int16, &[1, 2, 1, 3, 300], 5),
        ),
        ("view", view.shallow_clone()),
        ("conjugated", conjugated.shallow_clone()),
        ("trained", trained),
    ];
    let pairs: Vec<_> = tensors.iter().map(|(name, t)| (*name, t)).collect();
    let (_folder, checkpoint) = saved(&pairs);
    for (name, written) in &tensors {
        let read = checkpoint.tensor(name).unwrap();
        assert_eq!(read.size(), written.size(), "{name}");
        assert_eq!(
            elements(&read),
            elements(&dense(written).unwrap()),
            "{name}"
        );
    }
    let read = checkpoint.tensor("conjugated").unwrap();
    assert_ne!(elements(&read), elements(&complex));
}

#[test]
fn tied_tensors_stay_tied() {
    let tied = of_bytes(Kind::Float, &[4, 2], 3);
    let other = of_bytes(Kind::Float, &[4, 2], 3);
    let flat = tied.view([8]);
    let half = tied.narrow(0, 0, 2);
    let pairs = [("a", &tied), ("b", &other), ("c", &flat), ("d", &half)];
    let (_folder, checkpoint) = saved(&pairs);
    let storages: Vec<usize> = checkpoint.tensors().iter().map(|t| t.storage).collect();
    assert_eq!(storages, [0, 1, 0, 2]);
    let loaded = checkpoint.load().unwrap();
    assert_eq!(loaded[0].1.data_ptr(), loaded[2].1.data_ptr());
}

#[test]
fn the_same_tensors_give_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let write = |run: &str| {
        let folder = folder.path().join(run);
        std::fs::create_dir(&folder).unwrap();
        let tensors: Vec<(String, Tensor)> = (0..2500)
            .map(|n| {
                (
                    format!("layer.{n}"),
                    of_bytes(Kind::Float, &[n % 5, 3], n as usize),
                )
            })
            .collect();
        let path = folder.join("model.pt");
        save_torch(&path, tensors.iter().map(|(n, t)| (n.as_str(), t))).unwrap();
        let checkpoint = Checkpoint::open(&path).unwrap();
        for (name, tensor) in &tensors {
            assert_eq!(checkpoint.bytes(name).unwrap(), elements(tensor), "{name}");
        }
        std::fs::read(path).unwrap()
    };
    assert!(write("first") == write("second"));
}

#[test]
fn no_tensor_at_all_is_a_state_dict() {
    let (_folder, checkpoint) = saved(&[]);
    assert!(checkpoint.tensors().is_empty());
}

#[test]
fn what_cannot_be_written_is_named_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.pt");
    let refused = |tensors: &[(&str, &Tensor)], why: &str| {
        let error = save_torch(&path, tensors.iter().copied()).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    };
    let x = of_bytes(Kind::Float, &[2], 0);
    let sparse = x.to_sparse(None, None::<&[i64]>, None);
    let quantized =
        Tensor::ones([2], (Kind::Float, tch::Device::Cpu)).quantize_per_tensor(0.1, 0, Kind::QInt8);
    refused(&[("x", &x), ("x", &x)], "x: is there twice");
    refused(&[("x", &sparse)], "x: is sparse");
    refused(&[("x", &quantized)], "x: has a dtype");
    refused(&[("x", &Tensor::new())], "x: is undefined");
    let error = save_torch(folder.path().join("no/x.pt"), [("x", &x)]).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("no/x.pt: its folder is not there")
    );
}

#[test]
fn the_folder_in_the_archive_is_the_name_of_the_file() {
    assert_eq!(root(Path::new("runs/best model.v2.pt")), "best model.v2");
    assert_eq!(root(Path::new("a\\b.pt")), "archive");
    assert_eq!(root(Path::new("...pt")), "archive");
    assert_eq!(root(Path::new("modèle.pt")), "archive");
}
