use super::*;

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
fn sizes_of_dtypes_are_those_of_tch() {
    for (dtype, kind) in KINDS {
        assert_eq!(kind.elt_size_in_bytes(), dtype.size());
        assert_eq!((kind_of(dtype), dtype_of(kind)), (Some(kind), Some(dtype)));
    }
}

#[test]
fn every_dtype_comes_back_to_the_bit() {
    let tensors: Vec<(String, Tensor)> = KINDS
        .iter()
        .map(|&(_, kind)| (format!("{kind:?}"), of_bytes(kind, &[3, 5], 1)))
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
        assert_eq!(bytes_of(&read), bytes_of(written), "{name}");
    }
}

#[test]
fn shapes_views_and_lazy_tensors_are_written_as_their_values() {
    let matrix = of_bytes(Kind::Float, &[4, 6], 9);
    let view = matrix.transpose(0, 1).narrow(0, 1, 3);
    let complex = of_bytes(Kind::ComplexFloat, &[4], 2);
    let conjugated = complex.conj();
    let trained = Tensor::ones([2], (Kind::Float, Device::Cpu)).set_requires_grad(true);
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
        assert_eq!(bytes_of(&read), bytes_of(&written.resolve_conj()), "{name}");
    }
    let read = checkpoint.tensor("conjugated").unwrap();
    assert_ne!(bytes_of(&read), bytes_of(&complex));
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
            assert_eq!(checkpoint.bytes(name).unwrap(), bytes_of(tensor), "{name}");
        }
        std::fs::read(path).unwrap()
    };
    assert!(write("first") == write("second"));
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
        Tensor::ones([2], (Kind::Float, Device::Cpu)).quantize_per_tensor(0.1, 0, Kind::QInt8);
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
fn every_dtype_of_safetensors_comes_back_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("all.safetensors");
    let values = Tensor::from_slice(&[0.0f32, 1.0, 2.5, -3.0, 0.1, 1e30]).view([2, 3]);
    let tensors: Vec<(String, Tensor)> = KINDS
        .iter()
        .filter(|(dtype, _)| cellway_checkpoint::safetensors::can_save(*dtype))
        .map(|(dtype, kind)| {
            let tensor = values.clamp(-3.0, 9.0).to_kind(*kind).tr();
            (dtype.to_string(), tensor)
        })
        .collect();
    assert_eq!(tensors.len(), 12);
    let named = tensors.iter().map(|(n, t)| (n.as_str(), t));
    safetensors::save(&path, named, &[("format", "pt")]).unwrap();
    let read = safetensors::load(&path).unwrap();
    assert_eq!(read.len(), tensors.len());
    for (name, tensor) in &tensors {
        assert_eq!(read[name].kind(), tensor.kind());
        assert_eq!(read[name].size(), [3, 2]);
        assert_eq!(bytes_of(&read[name]), bytes_of(tensor), "{name}");
    }
}

#[test]
fn a_dtype_that_safetensors_lacks_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("complex.safetensors");
    let tensor = Tensor::zeros([1], (Kind::ComplexFloat, Device::Cpu));
    let error = safetensors::save(&path, [("x", &tensor)], &[]).unwrap_err();
    assert!(error.to_string().contains("no dtype for ComplexFloat"));
    assert!(!path.exists());
}
