//! safetensors files: a JSON header, then the elements. The header is read and
//! checked here, since the `safetensors` crate's 0.8 accepts a name twice and
//! overflows on some sizes; that crate writes.

mod header;
mod write;

use serde_json::Value;

use crate::contents::Refusal;
use crate::dtype::DType;
use crate::index::{CheckpointIndex, Hint, Kept};
use crate::limits::{NAME, SAFETENSORS_HEADER};
use crate::parse_error::{ParseError, ParseResult};
use crate::tensor::{StorageInfo, TensorInfo, contiguous_stride};

pub(crate) use self::header::Strings;
use self::header::{Entry, Header};
pub use self::write::{can_save, save};

/// Bits of the types of the format that torch has no tensors of.
const FOREIGN: [(&str, usize); 3] = [("F4", 4), ("F6_E2M3", 6), ("F6_E3M2", 6)];

/// Whether a file may be one of these: a length that fits, and a JSON object.
pub(crate) fn looks_like(file: &[u8]) -> bool {
    let length = file
        .first_chunk::<8>()
        .map(|length| u64::from_le_bytes(*length));
    length.is_some_and(|length| length <= SAFETENSORS_HEADER.max(file.len() as u64))
        && file.get(8) == Some(&b'{')
}

/// Reads the header and checks everything that the format promises: its length,
/// unique names, sizes that match their shapes, and data that fills the file
/// without gaps or overlaps.
pub(crate) fn read(file: &[u8], source: usize, index: &mut CheckpointIndex) -> ParseResult<()> {
    index.container = "safetensors";
    let length = file
        .first_chunk::<8>()
        .map(|length| u64::from_le_bytes(*length))
        .ok_or_else(|| {
            ParseError::truncated(
                0,
                "not a safetensors file: shorter than its 8-byte header length",
            )
        })?;
    if length > SAFETENSORS_HEADER {
        let message = format!(
            "not a safetensors file: says that its header has {length} bytes (at most {SAFETENSORS_HEADER})"
        );
        return Err(ParseError::too_large(0, message));
    }
    let data_start = 8 + length as usize;
    let Some(header) = file.get(8..data_start) else {
        let message = format!(
            "truncated: the header has {length} bytes, the file {} in all",
            file.len()
        );
        return Err(ParseError::truncated(8, message));
    };
    let header: Header = serde_json::from_slice(header).map_err(|error| {
        ParseError::malformed(8, format!("not a safetensors file: header: {error}"))
    })?;
    if let Some((name, _)) = header.entries.iter().find(|(name, _)| name.len() > NAME) {
        let message = format!("a name of {} bytes (at most {NAME})", name.len());
        return Err(ParseError::too_large(8, message));
    }
    let mut names: Vec<&str> = header
        .entries
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    names.sort_unstable();
    if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(ParseError::malformed(
            8,
            format!("tensor {:?} is there twice", twice[0]),
        ));
    }
    tile(&header.entries, file.len() - data_start)?;

    index.hints.extend(
        header
            .metadata
            .get("format")
            .map(|format| Hint::new("format", format)),
    );
    for (name, entry) in header.entries {
        let start = data_start + entry.data_offsets.0 as usize;
        let bytes = (entry.data_offsets.1 - entry.data_offsets.0) as usize;
        let Some(dtype) = DType::from_safetensors(&entry.dtype) else {
            let reason = format!("is {}, which torch has no tensors of", entry.dtype);
            index.refused.push(Refusal { name, reason });
            continue;
        };
        let shape: Vec<i64> = entry.shape.0.iter().map(|&n| n as i64).collect();
        let tensor = TensorInfo {
            name: name.clone(),
            dtype,
            stride: contiguous_stride(&shape),
            shape,
            offset: 0,
            storage: index.storages.len(),
            parameter: false,
        };
        tensor.check(bytes, 8)?;
        index.tensors.push(tensor);
        index.storages.push(StorageInfo {
            key: name,
            device: "cpu".to_owned(),
            bytes,
            source,
            start,
            crc: None,
        });
    }
    for (name, text) in header.metadata {
        index
            .values
            .push((name, Kept::Json(Box::new(Value::String(text)))));
    }
    Ok(())
}

/// Checks that the tensors lie one behind another and fill `data` bytes, and
/// that each has the size that its shape takes.
fn tile(entries: &[(String, Entry)], data: usize) -> ParseResult<()> {
    let malformed = |message: String| Err(ParseError::malformed(8, message));
    let mut by_place: Vec<&(String, Entry)> = entries.iter().collect();
    by_place.sort_by_key(|(_, entry)| entry.data_offsets);
    let mut end_of_last = 0;
    for (name, entry) in by_place {
        let (start, end) = entry.data_offsets;
        if start != end_of_last {
            return malformed(format!(
                "tensor {name:?} starts at data offset {start}, but the one before it ends at {end_of_last}"
            ));
        }
        let foreign = FOREIGN.iter().find(|(foreign, _)| *foreign == entry.dtype);
        let bits = match (DType::from_safetensors(&entry.dtype), foreign) {
            (Some(dtype), _) => 8 * dtype.size() as u64,
            (None, Some(&(_, bits))) => bits as u64,
            (None, None) => {
                return Err(ParseError::unsupported(
                    8,
                    format!(
                        "tensor {name:?} has dtype {:?}, which this reader does not know",
                        entry.dtype
                    ),
                ));
            }
        };
        // libtorch counts in i64, so each product has to fit there as well.
        let total = entry
            .shape
            .0
            .iter()
            .try_fold(bits, |total, &n| total.checked_mul(n))
            .filter(|total| total % 8 == 0)
            .map(|total| total / 8)
            .filter(|&total| i64::try_from(total).is_ok());
        if total.is_none() || end.checked_sub(start) != total {
            return malformed(format!(
                "tensor {name:?}: {} {:?} does not fit its data offsets {start} to {end}",
                entry.dtype, entry.shape.0
            ));
        }
        if entry.shape.0.iter().any(|&n| i64::try_from(n).is_err()) {
            return malformed(format!(
                "tensor {name:?}: shape {:?} is too large",
                entry.shape.0
            ));
        }
        end_of_last = end;
    }
    let there = data as u64;
    match there.cmp(&end_of_last) {
        std::cmp::Ordering::Less => Err(ParseError::truncated(
            8,
            format!("truncated: has {there} bytes of data, its header promises {end_of_last}"),
        )),
        std::cmp::Ordering::Greater => malformed(format!(
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
        let error = read(bytes, 0, &mut CheckpointIndex::default()).expect_err("was accepted");
        assert!(error.message.contains(why), "{error}");
    }

    const GOOD: &str = r#"{"a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}}"#;

    #[test]
    fn each_promise_of_the_format_is_checked() {
        assert!(read(&file(GOOD, &[0; 8]), 0, &mut CheckpointIndex::default()).is_ok());
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
        refused(&one(entry("F33", "[2]", "[0,8]")), "does not know");
        refused(&one(entry("F32", "[3]", "[0,8]")), "does not fit");
        refused(
            &one(entry("F32", "[2]", "[8,0]")),
            "starts at data offset 8",
        );
        refused(&one(entry("F32", "[-1]", "[0,8]")), "header");
        refused(
            &one(entry("F32", &format!("{:?}", [1; 17]), "[0,4]")),
            "more than 16 dimensions",
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
    fn no_cut_of_a_file_is_accepted() {
        let bytes = file(GOOD, &[0; 8]);
        for end in 0..bytes.len() {
            let cut = read(&bytes[..end], 0, &mut CheckpointIndex::default());
            assert!(cut.is_err(), "cut at {end}");
        }
    }
}
