//! safetensors files: checked by ourselves before the `safetensors` crate sees
//! them, since its 0.8 accepts a name twice and overflows on some sizes.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use ::safetensors::tensor::{SafeTensors, TensorView};
use ::safetensors::{Dtype, serialize};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use tch::{Device, Kind, Tensor};

use crate::error::{Error, Result};
use crate::files::write_atomically;

/// The longest header that is read, in bytes.
pub const HEADER_LIMIT: u64 = 100_000_000;
/// The highest rank that is read.
pub const RANK_LIMIT: usize = 16;

/// Tensors by name, in the order of the names.
pub type Tensors = BTreeMap<String, Tensor>;

/// The dtypes that both sides have.
const DTYPES: [(Kind, Dtype, &str, usize); 12] = [
    (Kind::Bool, Dtype::BOOL, "BOOL", 1),
    (Kind::Uint8, Dtype::U8, "U8", 1),
    (Kind::Int8, Dtype::I8, "I8", 1),
    (Kind::Int16, Dtype::I16, "I16", 2),
    (Kind::Int, Dtype::I32, "I32", 4),
    (Kind::Int64, Dtype::I64, "I64", 8),
    (Kind::Half, Dtype::F16, "F16", 2),
    (Kind::BFloat16, Dtype::BF16, "BF16", 2),
    (Kind::Float, Dtype::F32, "F32", 4),
    (Kind::Double, Dtype::F64, "F64", 8),
    (Kind::Float8e5m2, Dtype::F8_E5M2, "F8_E5M2", 1),
    (Kind::Float8e4m3fn, Dtype::F8_E4M3, "F8_E4M3", 1),
];

/// Writes `tensors`, whole or not at all. `metadata` goes into the header.
pub fn save<'a>(
    path: &Path,
    tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>,
    metadata: &[(&str, &str)],
) -> Result<()> {
    let mut stored = Vec::new();
    for (name, tensor) in tensors {
        let Some(&(_, dtype, _, _)) = DTYPES.iter().find(|(kind, ..)| *kind == tensor.kind())
        else {
            let message = format!("safetensors has no dtype for {:?}", tensor.kind());
            return Err(Error::tensor(name, message));
        };
        let shape: Vec<usize> = tensor.size().iter().map(|&n| n as usize).collect();
        stored.push((name, dtype, shape, bytes_of(tensor)));
    }
    let views = stored
        .iter()
        .map(|(name, dtype, shape, bytes)| {
            let view = TensorView::new(*dtype, shape.clone(), bytes);
            view.map(|view| (*name, view))
                .map_err(|error| Error::tensor(*name, error.to_string()))
        })
        .collect::<Result<Vec<_>>>()?;
    let metadata = metadata
        .iter()
        .map(|(key, value)| (key.to_string(), value.to_string()))
        .collect();
    let bytes = serialize(views, Some(metadata))
        .map_err(|error| Error::file(path, format!("cannot be written: {error}")))?;
    write_atomically(path, |file| std::io::Write::write_all(file, &bytes))
}

/// The elements of a tensor in row-major order, little-endian.
fn bytes_of(tensor: &Tensor) -> Vec<u8> {
    let tensor = tensor.detach().to_device(Device::Cpu).contiguous();
    let count = tensor.numel();
    let mut bytes = vec![0; count * tensor.kind().elt_size_in_bytes()];
    tensor.copy_data_u8(&mut bytes, count);
    bytes
}

/// Reads every tensor, to the CPU.
///
/// Errors on a file that is truncated or is not safetensors, on a name that is
/// there twice, on a dtype that libtorch lacks, and on anything else that the
/// format forbids.
pub fn load(path: &Path) -> Result<Tensors> {
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    parse(&bytes).map_err(|message| Error::file(path, message))
}

fn parse(bytes: &[u8]) -> Result<Tensors, String> {
    validate(bytes)?;
    let file =
        SafeTensors::deserialize(bytes).map_err(|e| format!("not a safetensors file: {e}"))?;
    let mut tensors = Tensors::new();
    for (name, view) in file.iter() {
        let Some(&(kind, ..)) = DTYPES.iter().find(|(_, dtype, ..)| *dtype == view.dtype()) else {
            return Err(format!(
                "tensor {name:?} has dtype {:?}, which libtorch lacks",
                view.dtype()
            ));
        };
        let shape: Vec<i64> = view.shape().iter().map(|&n| n as i64).collect();
        let tensor = Tensor::f_from_data_size(view.data(), &shape, kind)
            .map_err(|error| format!("tensor {name:?}: {error}"))?;
        tensors.insert(name.to_owned(), tensor);
    }
    Ok(tensors)
}

/// One entry of the header.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

/// The header with its entries in the order of the file, doubles included.
struct Header(Vec<(String, Entry)>);

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a map from tensor names to dtype, shape and data_offsets")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let mut entries = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        map.next_value::<BTreeMap<String, String>>()?;
                    } else {
                        entries.push((name, map.next_value()?));
                    }
                }
                Ok(Header(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// Everything that the format promises: the header's length, unique names,
/// sizes that match their shapes, and data that fills the file without gaps or
/// overlaps.
fn validate(bytes: &[u8]) -> Result<(), String> {
    let length = bytes
        .first_chunk::<8>()
        .map(|length| u64::from_le_bytes(*length))
        .ok_or("not a safetensors file: shorter than its 8-byte header length")?;
    if length > HEADER_LIMIT {
        return Err(format!(
            "not a safetensors file: says that its header has {length} bytes (at most {HEADER_LIMIT})"
        ));
    }
    let data_start = 8 + length;
    let header = usize::try_from(data_start)
        .ok()
        .and_then(|end| bytes.get(8..end))
        .ok_or_else(|| {
            format!(
                "truncated: the header has {length} bytes, the file {} in all",
                bytes.len()
            )
        })?;
    let Header(mut entries) = serde_json::from_slice(header)
        .map_err(|error| format!("not a safetensors file: header: {error}"))?;

    entries.sort_by(|a, b| a.0.cmp(&b.0));
    if let Some(twice) = entries.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(format!("tensor {:?} is there twice", twice[0].0));
    }

    entries.sort_by_key(|(_, entry)| entry.data_offsets);
    let mut end_of_last = 0;
    for (name, entry) in &entries {
        let (start, end) = entry.data_offsets;
        if start != end_of_last {
            return Err(format!(
                "tensor {name:?} starts at data offset {start}, but the one before it ends at {end_of_last}"
            ));
        }
        if entry.shape.len() > RANK_LIMIT {
            return Err(format!(
                "tensor {name:?} has {} dimensions (at most {RANK_LIMIT})",
                entry.shape.len()
            ));
        }
        let Some(&(.., element)) = DTYPES.iter().find(|(_, _, text, _)| *text == entry.dtype)
        else {
            return Err(format!(
                "tensor {name:?} has dtype {:?}, which libtorch lacks or this reader does not know",
                entry.dtype
            ));
        };
        // libtorch counts in i64, so each product has to fit there as well.
        let size = entry
            .shape
            .iter()
            .try_fold(element as u64, |size, &n| size.checked_mul(n))
            .filter(|&size| i64::try_from(size).is_ok());
        if size.is_none() || end.checked_sub(start) != size {
            return Err(format!(
                "tensor {name:?}: {} {:?} does not fit its data offsets {start} to {end}",
                entry.dtype, entry.shape
            ));
        }
        if entry.shape.iter().any(|&n| i64::try_from(n).is_err()) {
            return Err(format!(
                "tensor {name:?}: shape {:?} is too large",
                entry.shape
            ));
        }
        end_of_last = end;
    }
    let there = bytes.len() as u64 - data_start;
    match there.cmp(&end_of_last) {
        std::cmp::Ordering::Less => Err(format!(
            "truncated: has {there} bytes of data, its header promises {end_of_last}"
        )),
        std::cmp::Ordering::Greater => Err(format!(
            "has {} bytes behind its last tensor",
            there - end_of_last
        )),
        std::cmp::Ordering::Equal => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes
    }

    fn refused(bytes: &[u8], why: &str) {
        let message = parse(bytes).expect_err("was accepted");
        assert!(message.contains(why), "{message}");
    }

    const GOOD: &str = r#"{"a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}}"#;

    #[test]
    fn each_promise_of_the_format_is_checked() {
        assert!(parse(&file(GOOD, &[0; 8])).is_ok());
        refused(b"abc", "shorter than its 8-byte");
        refused(&[255; 16], "at most 100000000");
        refused(&100u64.to_le_bytes(), "truncated: the header");
        refused(&file("{", &[]), "not a safetensors file: header");
        refused(&file("[]", &[]), "a map from tensor names");
        refused(&file(GOOD, &[0; 7]), "truncated: has 7 bytes");
        refused(&file(GOOD, &[0; 9]), "1 bytes behind");
        let entry = |dtype: &str, shape: &str, offsets: &str| {
            format!(r#"{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}"#)
        };
        let one = |entry: String| file(&format!(r#"{{"a":{entry}}}"#), &[0; 8]);
        refused(&one(entry("F33", "[2]", "[0,8]")), "which libtorch lacks");
        refused(&one(entry("F32", "[3]", "[0,8]")), "does not fit");
        refused(
            &one(entry("F32", "[2]", "[8,0]")),
            "starts at data offset 8",
        );
        refused(&one(entry("F32", "[-1]", "[0,8]")), "header");
        refused(
            &one(entry("F32", &format!("{:?}", [1; 17]), "[0,4]")),
            "17 dimensions",
        );
        refused(
            &one(entry("F32", "[18446744073709551615,0]", "[0,0]")),
            "does not fit",
        );
        refused(
            &one(entry("F32", "[0,18446744073709551615]", "[0,0]")),
            "too large",
        );
    }

    #[test]
    fn a_name_twice_is_refused() {
        let entry =
            |offsets: &str| format!(r#""a":{{"dtype":"U8","shape":[1],"data_offsets":{offsets}}}"#);
        let header = format!("{{{},{}}}", entry("[0,1]"), entry("[1,2]"));
        refused(&file(&header, &[0; 2]), "there twice");
    }

    #[test]
    fn sizes_that_overflow_together_are_refused() {
        // Eight tensors of 2^61 - 1 bytes and one of 7 wrap to 2^64 - 1.
        let size = (1u64 << 61) - 1;
        let mut entries = Vec::new();
        for n in 0..8u64 {
            let (start, end) = (n * size, (n + 1) * size);
            entries.push(format!(
                r#""{n}":{{"dtype":"U8","shape":[{size}],"data_offsets":[{start},{end}]}}"#
            ));
        }
        let (start, end) = (8 * size, 8 * size + 7);
        entries.push(format!(
            r#""8":{{"dtype":"U8","shape":[7],"data_offsets":[{start},{end}]}}"#
        ));
        refused(
            &file(&format!("{{{}}}", entries.join(",")), &[0; 7]),
            "truncated: has 7",
        );
    }

    #[test]
    fn every_dtype_comes_back_to_the_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("all.safetensors");
        let values = Tensor::from_slice(&[0.0f32, 1.0, 2.5, -3.0, 0.1, 1e30]).view([2, 3]);
        let tensors: Vec<(String, Tensor)> = DTYPES
            .iter()
            .map(|(kind, _, name, _)| {
                (
                    name.to_string(),
                    values.clamp(-3.0, 9.0).to_kind(*kind).tr(),
                )
            })
            .collect();
        save(
            &path,
            tensors.iter().map(|(n, t)| (n.as_str(), t)),
            &[("format", "pt")],
        )
        .unwrap();
        let read = load(&path).unwrap();
        assert_eq!(read.len(), DTYPES.len());
        for (name, tensor) in &tensors {
            assert_eq!(read[name].kind(), tensor.kind());
            assert_eq!(read[name].size(), [3, 2]);
            assert_eq!(bytes_of(&read[name]), bytes_of(tensor), "{name}");
        }
    }

    #[test]
    fn a_dtype_that_the_format_lacks_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("complex.safetensors");
        let tensor = Tensor::zeros([1], (Kind::ComplexFloat, Device::Cpu));
        let error = save(&path, [("x", &tensor)], &[]).unwrap_err();
        assert!(error.to_string().contains("no dtype for ComplexFloat"));
        assert!(!path.exists());
    }

    #[test]
    fn no_cut_of_a_file_is_accepted() {
        let bytes = file(GOOD, &[0; 8]);
        for end in 0..bytes.len() {
            assert!(parse(&bytes[..end]).is_err(), "cut at {end}");
        }
    }
}
