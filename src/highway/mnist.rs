//! The images of MNIST (LeCun, Bottou, Bengio and Haffner, "Gradient-based learning
//! applied to document recognition", 1998), from a folder of its four IDX files.
//!
//! An IDX file is two zeros, a byte for the dtype (8: u8), a byte for the number of
//! dimensions, each dimension as a big-endian u32, and the numbers. All of it is held
//! against the length of the file before anything is read.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tch::Tensor;

use super::tasks::{Batch, Split};
use crate::error::{Error, Result};
use crate::random::Stream;

/// Pixels of an image: 28 rows of 28.
pub const PIXELS: i64 = SIDE * SIDE;
/// Digits.
pub const CLASSES: i64 = 10;
const SIDE: i64 = 28;

/// More than any collection in this format has.
const MOST: u64 = 10_000_000;

/// Images and their digits, to learn from and to measure on.
#[derive(Debug)]
pub struct Mnist {
    train: Images,
    test: Images,
    digest: String,
}

#[derive(Debug)]
struct Images {
    /// [`PIXELS`] for each image, row by row.
    pixels: Vec<u8>,
    /// The digit of each image.
    digits: Vec<u8>,
}

impl Mnist {
    /// Reads `train-images-idx3-ubyte`, `train-labels-idx1-ubyte` and the two of
    /// `t10k-`, not compressed.
    ///
    /// Errors if one is not there, has another header, dtype or size than it should, is
    /// shorter or longer than its header says, or holds a label that is no digit.
    pub fn open(folder: &Path) -> Result<Mnist> {
        let mut digest = Sha256::new();
        let train = Images::read(folder, "train", &mut digest)?;
        let test = Images::read(folder, "t10k", &mut digest)?;
        let digest: String = (digest.finalize().iter())
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Ok(Mnist {
            train,
            test,
            digest,
        })
    }

    /// SHA-256 of all that the files hold, in hexadecimal digits.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// How many images there are to learn from and to measure on.
    pub fn counts(&self) -> (usize, usize) {
        (self.train.digits.len(), self.test.digits.len())
    }

    /// `size` images drawn by `stream`, one pixel in [0, 1] at a step, in an order drawn
    /// by `order` or row by row.
    pub(super) fn batch(
        &self,
        split: Split,
        order: Option<Stream>,
        stream: Stream,
        size: i64,
    ) -> Batch {
        let images = match split {
            Split::Train => &self.train,
            Split::Test => &self.test,
        };
        let mut places: Vec<usize> = (0..PIXELS as usize).collect();
        if let Some(order) = order {
            order.shuffle(&mut places);
        }
        let count = images.digits.len() as f64;
        let drawn: Vec<usize> = (0..size as u64)
            .map(|b| (stream.uniform(b) * count) as usize)
            .collect();
        let mut input = Vec::with_capacity(places.len() * drawn.len());
        for place in places {
            let pixel = |image: &usize| images.pixels[image * PIXELS as usize + place];
            input.extend(drawn.iter().map(|image| f32::from(pixel(image)) / 255.0));
        }
        let target: Vec<i64> = drawn
            .iter()
            .map(|&image| i64::from(images.digits[image]))
            .collect();
        Batch {
            input: Tensor::from_slice(&input).view([PIXELS, size, 1]),
            target: Tensor::from_slice(&target).view([1, size]),
        }
    }
}

impl Images {
    fn read(folder: &Path, part: &str, digest: &mut Sha256) -> Result<Images> {
        let side = SIDE as u32;
        let (path, pixels) = idx(folder, &format!("{part}-images"), &[side, side], digest)?;
        let (labels, digits) = idx(folder, &format!("{part}-labels"), &[], digest)?;
        let count = pixels.len() / PIXELS as usize;
        if count == 0 {
            return Err(Error::file(path, "has no image"));
        }
        if count != digits.len() {
            let message = format!("has {} labels for {count} images", digits.len());
            return Err(Error::file(labels, message));
        }
        if let Some(at) = digits.iter().position(|&digit| i64::from(digit) >= CLASSES) {
            let message = format!("label {at} is {}, which is no digit", digits[at]);
            return Err(Error::file(labels, message));
        }
        Ok(Images { pixels, digits })
    }
}

/// The bytes of `NAME-idxN-ubyte` with so many items of the shape `inner`, and its path.
fn idx(
    folder: &Path,
    name: &str,
    inner: &[u32],
    digest: &mut Sha256,
) -> Result<(PathBuf, Vec<u8>)> {
    let rank = inner.len() + 1;
    let path = folder.join(format!("{name}-idx{rank}-ubyte"));
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(_) if path.with_extension("gz").is_file() => {
            let packed = path.with_extension("gz");
            return Err(Error::file(packed, "is compressed; unpack it with gunzip"));
        }
        Err(error) => return Err(Error::io(&path)(error)),
    };
    let wrong = |message: String| Error::file(&path, message);
    let metadata = file.metadata().map_err(Error::io(&path))?;
    if !metadata.is_file() {
        return Err(wrong("is no ordinary file".to_owned()));
    }
    let length = metadata.len();
    let header_length = 4 + 4 * rank;
    if length < header_length as u64 {
        return Err(wrong(format!(
            "has {length} bytes, too few for the header of an IDX file"
        )));
    }
    let mut header = vec![0; header_length];
    file.read_exact(&mut header).map_err(Error::io(&path))?;
    let magic = [0, 0, 8, rank as u8];
    if header[..4] != magic {
        return Err(wrong(format!(
            "begins with the bytes {:?}, not with {magic:?} as an IDX file of u8 in {rank} dimensions",
            &header[..4]
        )));
    }
    let sizes: Vec<u32> = (header[4..].chunks_exact(4))
        .map(|bytes| {
            bytes
                .iter()
                .fold(0, |size, &byte| size << 8 | u32::from(byte))
        })
        .collect();
    if sizes[1..] != *inner {
        return Err(wrong(format!(
            "has items of the shape {:?}, not {inner:?}",
            &sizes[1..]
        )));
    }
    let item: u64 = inner.iter().map(|&size| u64::from(size)).product();
    let count = u64::from(sizes[0]);
    if count > MOST {
        return Err(wrong(format!(
            "says that it has {count} items; {MOST} are the most"
        )));
    }
    let expected = header_length as u64 + count * item;
    if length != expected {
        return Err(wrong(format!(
            "has {length} bytes, but {count} items make {expected}; it is cut or damaged"
        )));
    }
    let mut bytes = Vec::with_capacity((count * item) as usize);
    // No more than was there a moment ago.
    file.take(count * item)
        .read_to_end(&mut bytes)
        .map_err(Error::io(&path))?;
    if bytes.len() as u64 != count * item {
        return Err(wrong("became shorter while it was read".to_owned()));
    }
    digest.update(&header);
    digest.update(&bytes);
    Ok((path, bytes))
}
