//! Numbers, strings and names of a pickle.

use super::node::{Node, Span};
use super::{Machine, NAME};
use crate::limits::PICKLE_STRING;
use crate::parse_error::{ParseError, ParseResult};

impl Machine<'_> {
    pub(super) fn memo_line(&mut self) -> ParseResult<usize> {
        let line = self.cursor.line(32, "a memo's number")?;
        std::str::from_utf8(line)
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .ok_or_else(|| self.malformed("a memo's number that is none"))
    }

    fn span(&self, bytes: &[u8]) -> Span {
        let end = self.cursor.position();
        Span::new(end - bytes.len(), bytes.len())
    }

    fn limited(&self, length: u64, what: &str) -> ParseResult<usize> {
        match usize::try_from(length) {
            Ok(length) if length <= self.cursor.left() => match length <= PICKLE_STRING {
                true => Ok(length),
                false => Err(ParseError::too_large(
                    self.start,
                    format!("{what} of {length} bytes (at most {PICKLE_STRING})"),
                )),
            },
            _ => Err(ParseError::truncated(
                self.start,
                format!(
                    "ends inside {what}: {length} bytes wanted, {} left",
                    self.cursor.left()
                ),
            )),
        }
    }

    /// Text where it is UTF-8, else bytes: strings of Python 2 may be anything,
    /// and those of Python 3 may hold lone surrogates.
    pub(super) fn string(&mut self, length: u64) -> ParseResult<()> {
        let length = self.limited(length, "a string")?;
        let bytes = self.cursor.take(length, "a string")?;
        let span = self.span(bytes);
        match std::str::from_utf8(bytes) {
            Ok(_) => self.push(Node::Str(span)),
            Err(_) => self.push(Node::Bytes(span)),
        }
    }

    pub(super) fn bytes(&mut self, length: u64) -> ParseResult<()> {
        let length = self.limited(length, "bytes")?;
        let bytes = self.cursor.take(length, "bytes")?;
        let span = self.span(bytes);
        self.push(Node::Bytes(span))
    }

    /// A number in little-endian two's complement.
    pub(super) fn long(&mut self, length: usize) -> ParseResult<()> {
        let length = self.limited(length as u64, "a number")?;
        let bytes = self.cursor.take(length, "a number")?;
        if length > 8 {
            let span = self.span(bytes);
            return self.push(Node::BigInt(span));
        }
        let negative = bytes.last().is_some_and(|&byte| byte >= 0x80);
        let mut wide = [if negative { 0xff } else { 0 }; 8];
        wide[..length].copy_from_slice(bytes);
        self.push(Node::Int(i64::from_le_bytes(wide)))
    }

    pub(super) fn int_line(&mut self) -> ParseResult<()> {
        let line = self.cursor.line(64, "a number")?;
        match line {
            b"00" => return self.push(Node::Bool(false)),
            b"01" => return self.push(Node::Bool(true)),
            _ => {}
        }
        match std::str::from_utf8(line).map(|text| text.trim().parse()) {
            Ok(Ok(value)) => self.push(Node::Int(value)),
            _ => Err(self.malformed("a number that is none")),
        }
    }

    pub(super) fn long_line(&mut self) -> ParseResult<()> {
        let line = self.cursor.line(PICKLE_STRING, "a number")?;
        let digits = line.strip_suffix(b"L").unwrap_or(line);
        let unsigned = digits.strip_prefix(b"-").unwrap_or(digits);
        if unsigned.is_empty() || !unsigned.iter().all(u8::is_ascii_digit) {
            return Err(self.malformed("a number that is none"));
        }
        let value = std::str::from_utf8(digits).map(str::parse);
        match value {
            Ok(Ok(value)) => self.push(Node::Int(value)),
            _ => {
                let start = self.cursor.position() - line.len() - 1;
                self.push(Node::Decimal(Span::new(start, digits.len())))
            }
        }
    }

    /// The module or name of a class.
    pub(super) fn name_line(&mut self) -> ParseResult<Span> {
        let line = self.cursor.line(NAME, "a name")?;
        if std::str::from_utf8(line).is_err() {
            return Err(self.malformed("a name that is not UTF-8"));
        }
        let start = self.cursor.position() - line.len() - 1;
        Ok(Span::new(start, line.len()))
    }

    /// `'text'` with the escapes of a Python literal.
    pub(super) fn quoted_line(&mut self) -> ParseResult<()> {
        let line = self.cursor.line(PICKLE_STRING, "a string")?;
        let quoted = match line {
            [b'\'', inner @ .., b'\''] | [b'"', inner @ .., b'"'] => inner,
            _ => return Err(self.malformed("a string without its quotes")),
        };
        let bytes = unescape(quoted).ok_or_else(|| self.malformed("a string's escape"))?;
        let text = String::from_utf8(bytes)
            .map_err(|_| self.malformed("a string of Python 2 that is not UTF-8"))?;
        let id = self.arena.add_text(text, self.start)?;
        self.push_id(id)
    }

    /// Python's `raw-unicode-escape`: Latin-1 with `\uXXXX`.
    pub(super) fn escaped_line(&mut self) -> ParseResult<()> {
        let line = self.cursor.line(PICKLE_STRING, "a string")?;
        let text = raw_unicode(line).ok_or_else(|| self.malformed("a string's escape"))?;
        let id = self.arena.add_text(text, self.start)?;
        self.push_id(id)
    }
}

/// The escapes of a Python byte literal.
fn unescape(quoted: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(quoted.len());
    let mut rest = quoted.iter();
    while let Some(&byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next()? {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'0' => 0,
            b'x' => {
                let digit = |byte: Option<&u8>| char::from(*byte?).to_digit(16);
                (digit(rest.next())? * 16 + digit(rest.next())?) as u8
            }
            &same @ (b'\\' | b'\'' | b'"') => same,
            _ => return None,
        });
    }
    Some(bytes)
}

fn raw_unicode(line: &[u8]) -> Option<String> {
    let mut text = String::with_capacity(line.len());
    let mut at = 0;
    while at < line.len() {
        let digits = match (line[at], line.get(at + 1)) {
            (b'\\', Some(b'u')) => 4,
            (b'\\', Some(b'U')) => 8,
            (byte, _) => {
                text.push(char::from(byte));
                at += 1;
                continue;
            }
        };
        let code = line.get(at + 2..at + 2 + digits)?;
        let code = u32::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok()?;
        text.push(char::from_u32(code)?);
        at += 2 + digits;
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use crate::pickle::{Budget, Node, read_whole};

    #[test]
    fn short_numbers_keep_their_sign() {
        for (pickle, expected) in [
            (&b"\x8a\x00."[..], 0),
            (b"\x8a\x01\xff.", -1),
            (b"\x8a\x02\xff\x00.", 255),
            (b"\x8a\x06\x00\x00\x00\x00\x00\xff.", -(1 << 40)),
        ] {
            let read = read_whole(pickle, 0, &mut Budget::default()).unwrap();
            let found = read.arena.node(read.root);
            assert!(
                matches!(found, Node::Int(found) if found == expected),
                "{found:?}"
            );
        }
    }
}
