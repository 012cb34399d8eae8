//! Checked reads: nothing is taken that is not there.

use crate::parse_error::{ParseError, ParseResult};

/// Reads on from a place in a file.
#[derive(Clone, Copy)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where `bytes` starts in the file, for messages.
    base: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8], base: usize) -> Self {
        Cursor { bytes, at: 0, base }
    }

    /// The byte of the file that is read next.
    pub fn offset(&self) -> usize {
        self.base + self.at
    }

    /// All bytes, read or not.
    pub fn window(&self) -> &'a [u8] {
        self.bytes
    }

    /// How many bytes were read.
    pub fn position(&self) -> usize {
        self.at
    }

    pub fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The next `count` bytes; `what` they are, for the error.
    #[inline]
    pub fn take(&mut self, count: usize, what: &str) -> ParseResult<&'a [u8]> {
        match self.at.checked_add(count) {
            Some(end) if end <= self.bytes.len() => {
                let taken = &self.bytes[self.at..end];
                self.at = end;
                Ok(taken)
            }
            _ => Err(ParseError::truncated(
                self.offset(),
                format!(
                    "ends inside {what}: {count} bytes wanted, {} left",
                    self.left()
                ),
            )),
        }
    }

    #[inline]
    fn array<const N: usize>(&mut self, what: &str) -> ParseResult<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N, what)?);
        Ok(array)
    }

    #[inline]
    pub fn u8(&mut self, what: &str) -> ParseResult<u8> {
        Ok(self.array::<1>(what)?[0])
    }

    pub fn u16(&mut self, what: &str) -> ParseResult<u16> {
        Ok(u16::from_le_bytes(self.array(what)?))
    }

    pub fn u32(&mut self, what: &str) -> ParseResult<u32> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    pub fn i32(&mut self, what: &str) -> ParseResult<i32> {
        Ok(i32::from_le_bytes(self.array(what)?))
    }

    pub fn u64(&mut self, what: &str) -> ParseResult<u64> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    pub fn f64_be(&mut self, what: &str) -> ParseResult<f64> {
        Ok(f64::from_be_bytes(self.array(what)?))
    }

    /// Up to the next newline, which is read and left out; at most `limit` bytes.
    pub fn line(&mut self, limit: usize, what: &str) -> ParseResult<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        let window = &rest[..rest.len().min(limit)];
        match window.iter().position(|&byte| byte == b'\n') {
            Some(length) => {
                self.at += length + 1;
                Ok(&window[..length])
            }
            None if rest.len() > limit => Err(ParseError::too_large(
                self.offset(),
                format!("{what} is longer than {limit} bytes"),
            )),
            None => Err(ParseError::truncated(
                self.offset(),
                format!("ends inside {what}: its line has no end"),
            )),
        }
    }
}

/// A size of the file's as one of ours.
pub(crate) fn to_usize(value: u64, offset: usize, what: &str) -> ParseResult<usize> {
    usize::try_from(value).map_err(|_| {
        ParseError::too_large(offset, format!("{what} is {value}, more than memory has"))
    })
}
