//! MNIST's files: what is read, and what is refused.

use std::fs;
use std::path::Path;

use super::*;

/// An IDX file with this header and these bytes.
fn idx(folder: &Path, name: &str, sizes: &[u32], bytes: &[u8]) {
    let mut file = vec![0, 0, 8, sizes.len() as u8];
    sizes
        .iter()
        .for_each(|size| file.extend(size.to_be_bytes()));
    file.extend(bytes);
    fs::write(
        folder.join(format!("{name}-idx{}-ubyte", sizes.len())),
        file,
    )
    .unwrap();
}

/// Two images for each part: all pixels their number, counted along the rows.
fn images_in(folder: &Path) {
    for part in ["train", "t10k"] {
        let pixels: Vec<u8> = (0..2 * 784).map(|n| (n % 784 % 256) as u8).collect();
        idx(folder, &format!("{part}-images"), &[2, 28, 28], &pixels);
        idx(folder, &format!("{part}-labels"), &[2], &[7, 7]);
    }
}

#[test]
fn images_are_read_pixel_by_pixel_in_one_order_for_all() {
    let folder = tempfile::tempdir().unwrap();
    images_in(folder.path());
    let mnist = Mnist::open(folder.path()).unwrap();
    assert_eq!((mnist.counts(), mnist.digest().len()), ((2, 2), 64));
    let of = |permuted, number| {
        let task = Task::Mnist { permuted };
        let batch = task
            .batch(Some(&mnist), 3, Split::Train, number, 3)
            .unwrap();
        assert_eq!(batch.input.size(), [784, 3, 1]);
        assert_eq!(Vec::<Vec<i64>>::try_from(batch.target).unwrap(), [[7; 3]]);
        let read = batch.input.select(1, 0).view(-1) * 255.0;
        Vec::<f32>::try_from(read.round()).unwrap()
    };
    let rows: Vec<f32> = (0..784).map(|n| (n % 256) as f32).collect();
    assert_eq!(of(false, 0), rows);
    let mixed = of(true, 0);
    assert_ne!(mixed, rows);
    assert_eq!(mixed, of(true, 1));
    let sorted = |mut all: Vec<f32>| {
        all.sort_by(f32::total_cmp);
        all
    };
    assert_eq!(sorted(mixed), sorted(rows));
    let nothing = Task::Mnist { permuted: false }.batch(None, 3, Split::Train, 0, 3);
    assert!(nothing.unwrap_err().to_string().contains("--mnist"));
}

#[test]
fn files_that_are_no_images_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let says = |expected: &str| {
        let error = Mnist::open(path).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    says("train-images-idx3-ubyte");
    fs::write(path.join("train-images-idx3-ubyte.gz"), [0x1f, 0x8b]).unwrap();
    says("train-images-idx3-ubyte.gz: is compressed");
    images_in(path);
    let images = path.join("train-images-idx3-ubyte");
    let good = fs::read(&images).unwrap();
    let put = |bytes: &[u8]| fs::write(&images, bytes).unwrap();
    put(&good[..7]);
    says("too few for the header");
    put(&good[..good.len() - 1]);
    says("it is cut or damaged");
    put(&[&good[..], &[0]].concat());
    says("it is cut or damaged");
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    put(&with(2, 13)); // floats
    says("begins with the bytes [0, 0, 13, 3]");
    put(&with(11, 27));
    says("items of the shape [27, 28]");
    put(&with(4, 255));
    says("are the most");
    put(&good);
    idx(path, "t10k-labels", &[2], &[7, 10]);
    says("t10k-labels-idx1-ubyte: label 1 is 10");
    idx(path, "t10k-labels", &[3], &[7, 7, 7]);
    says("has 3 labels for 2 images");
    idx(path, "train-images", &[0, 28, 28], &[]);
    says("has no image");
}
