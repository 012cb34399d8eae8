//! numpy's `.npz`: a zip archive of `.npy` files, each a header in Python's
//! syntax and the elements (the format is numpy's NEP 1).

use crate::contents::Refusal;
use crate::cursor::Cursor;
use crate::dtype::DType;
use crate::index::CheckpointIndex;
use crate::limits::{RANK, TENSORS};
use crate::parse_error::{ParseError, ParseResult};
use crate::tensor::{StorageInfo, TensorInfo, contiguous_stride};
use crate::zip::{Archive, Member};

const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// The longest header, in bytes: an array's is about 100.
const HEADER: usize = 1 << 16;

/// Whether an archive is one of these: `.npy` files and nothing else.
pub(crate) fn looks_like(archive: &Archive) -> bool {
    !archive.members.is_empty() && archive.members.iter().all(|m| m.name.ends_with(".npy"))
}

pub(crate) fn read(
    file: &[u8],
    archive: &Archive,
    source: usize,
    index: &mut CheckpointIndex,
) -> ParseResult<()> {
    index.container = "npz archive of numpy";
    if archive.members.len() > TENSORS {
        let message = format!("has more than {TENSORS} arrays");
        return Err(ParseError::too_large(0, message));
    }
    for member in &archive.members {
        // One suffix is numpy's, as its `NpzFile` has it; more belong to the name.
        let name = member.name.strip_suffix(".npy").unwrap_or(&member.name);
        read_array(file, member, name.to_owned(), source, index)?;
    }
    Ok(())
}

fn read_array(
    file: &[u8],
    member: &Member,
    name: String,
    source: usize,
    index: &mut CheckpointIndex,
) -> ParseResult<()> {
    let bytes = member.checked_bytes(file)?;
    let mut cursor = Cursor::new(bytes, member.data.start);
    let what = "a .npy header";
    if cursor.take(6, what)? != MAGIC {
        let message = format!("{:?} is no .npy file", member.name);
        return Err(ParseError::malformed(member.data.start, message));
    }
    let major = cursor.u8(what)?;
    cursor.u8(what)?;
    let length = match major {
        1 => cursor.u16(what)?.into(),
        2 | 3 => cursor.u32(what)? as usize,
        other => {
            let message = format!("{:?} is .npy of version {other}", member.name);
            return Err(ParseError::unsupported(member.data.start, message));
        }
    };
    let at = cursor.offset();
    if length > HEADER {
        let message = format!("a .npy header of {length} bytes (at most {HEADER})");
        return Err(ParseError::too_large(at, message));
    }
    let header = cursor.take(length, what)?;
    let header = Header::parse(header)
        .ok_or_else(|| ParseError::malformed(at, format!("the header of {:?}", member.name)))?;
    let start = cursor.offset();
    let there = cursor.left();

    // The first letter may have several bytes: it is whatever the file says.
    let first = header.descr.chars().next().map_or(0, char::len_utf8);
    let (order, letter) = header.descr.split_at(first);
    let dtype = DType::from_numpy(letter)
        .filter(|dtype| order == "<" || (matches!(order, "|" | "=") && dtype.size() == 1));
    let Some(dtype) = dtype else {
        let what = match order {
            ">" => "is big-endian; save array.astype('<f4') or the like",
            _ if letter.starts_with('O') => "holds Python objects, which are never read",
            _ => "is of a type that torch has not",
        };
        let reason = format!("{what} ({})", header.descr);
        index.refused.push(Refusal { name, reason });
        return Ok(());
    };
    let mut stride = contiguous_stride(&header.shape);
    if header.fortran_order {
        let mut next = 1i64;
        for (stride, &size) in stride.iter_mut().zip(&header.shape) {
            *stride = next;
            next = next.saturating_mul(size.max(1));
        }
    }
    let tensor = TensorInfo {
        name: name.clone(),
        dtype,
        shape: header.shape,
        stride,
        offset: 0,
        storage: index.storages.len(),
        parameter: false,
    };
    tensor.check(there, at)?;
    let bytes = tensor.numel() * dtype.size();
    if bytes != there {
        let message = format!(
            "{:?}: shape {:?} takes {bytes} bytes, but has {there}",
            member.name, tensor.shape
        );
        return Err(ParseError::malformed(at, message));
    }
    index.tensors.push(tensor);
    index.storages.push(StorageInfo {
        key: name,
        device: "cpu".to_owned(),
        bytes,
        source,
        start,
        crc: None, // of the whole member, which was held against it above
    });
    Ok(())
}

/// `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`
#[derive(Debug, PartialEq)]
struct Header {
    descr: String,
    fortran_order: bool,
    shape: Vec<i64>,
}

impl Header {
    /// The three keys in any order, and nothing else.
    fn parse(bytes: &[u8]) -> Option<Header> {
        let text = std::str::from_utf8(bytes).ok()?.trim();
        let mut rest = text.strip_prefix('{')?.strip_suffix('}')?.trim_start();
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        while !rest.is_empty() {
            let (key, after) = quoted(rest)?;
            rest = after.trim_start().strip_prefix(':')?.trim_start();
            let fresh = match key {
                "descr" => {
                    let (value, after) = match quoted(rest) {
                        Some((value, after)) => (value, after),
                        // A structured type: a list of fields. Refused by name.
                        None => ("|fields", rest.get(bracketed(rest)?..)?),
                    };
                    rest = after;
                    descr.replace(value.to_owned()).is_none()
                }
                "fortran_order" => {
                    let (value, after) = match rest.strip_prefix("True") {
                        Some(after) => (true, after),
                        None => (false, rest.strip_prefix("False")?),
                    };
                    rest = after;
                    fortran_order.replace(value).is_none()
                }
                "shape" => {
                    let (sizes, after) = rest.strip_prefix('(')?.split_once(')')?;
                    rest = after;
                    let sizes = sizes.trim().trim_end_matches(',');
                    let sizes: Option<Vec<i64>> = match sizes {
                        "" => Some(Vec::new()),
                        sizes if sizes.matches(',').count() >= RANK => None,
                        sizes => sizes
                            .split(',')
                            .map(|size| size.trim().parse().ok())
                            .collect(),
                    };
                    shape.replace(sizes?).is_none()
                }
                _ => false,
            };
            if !fresh {
                return None;
            }
            rest = rest.trim_start();
            rest = match rest.strip_prefix(',') {
                Some(after) => after.trim_start(),
                None if rest.is_empty() => rest,
                None => return None,
            };
        }
        Some(Header {
            descr: descr?,
            fortran_order: fortran_order?,
            shape: shape?,
        })
    }
}

/// A string in single quotes, without escapes, and what follows it.
fn quoted(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix('\'')?.split_once('\'')
}

/// The length of what stands in square brackets.
fn bracketed(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    for (at, letter) in text.char_indices() {
        match letter {
            '[' => depth += 1,
            ']' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 {
            return (at > 0).then_some(at + 1);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_in_any_order_and_nothing_else_is() {
        let header = |text: &str| Header::parse(text.as_bytes());
        let good =
            header("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }  \n").unwrap();
        assert_eq!((good.descr.as_str(), good.fortran_order), ("<f4", false));
        assert_eq!(good.shape, [3, 4]);
        let other = header("{'shape':(7,),'descr':'|b1','fortran_order':True}").unwrap();
        assert_eq!((other.shape, other.fortran_order), (vec![7], true));
        assert_eq!(
            header(
                "{'descr': [('x', '<f4'), ('y', '<i4', (2,))], 'fortran_order': False, 'shape': ()}"
            )
            .unwrap()
            .descr,
            "|fields"
        );
        for bad in [
            "",
            "{}",
            "{'descr': '<f4', 'fortran_order': False}",
            "{'descr': '<f4', 'fortran_order': 0, 'shape': ()}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3 4)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), 'x': 1}",
            "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': ()}",
            "{'descr': '<f4' 'fortran_order': False, 'shape': ()}",
            "{'descr': [, 'fortran_order': False, 'shape': ()}",
        ] {
            assert_eq!(header(bad), None, "{bad}");
        }
    }
}
