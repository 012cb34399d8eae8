//! The lines of a text file, by number.

use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The longest line, in bytes: many times the longest book.
const LONGEST: usize = 64 << 20;

/// Lines without what ends them (`\n` or CRLF), with their numbers. After a
/// line that is not UTF-8 (an [`Error::Line`]) the next one follows; after an
/// [`Error::Io`] nothing does.
pub(super) struct Lines<R> {
    reader: R,
    path: PathBuf,
    line: u64,
    failed: bool,
}

impl<R: BufRead> Lines<R> {
    pub fn new(reader: R, path: &Path) -> Self {
        Self {
            reader,
            path: path.to_path_buf(),
            line: 0,
            failed: false,
        }
    }
}

impl<R: BufRead> Lines<R> {
    /// The next line as bytes.
    pub fn next_bytes(&mut self) -> Option<Result<(u64, Vec<u8>)>> {
        if self.failed {
            return None;
        }
        let mut bytes = Vec::new();
        let mut bounded = (&mut self.reader).take(LONGEST as u64 + 1);
        match bounded.read_until(b'\n', &mut bytes) {
            Ok(0) => return None,
            Ok(_) => self.line += 1,
            Err(error) => {
                self.failed = true;
                return Some(Err(Error::io(&self.path)(error)));
            }
        }
        if bytes.len() > LONGEST {
            self.failed = true;
            let message = format!("has more than {LONGEST} bytes; this is no file of texts");
            return Some(Err(Error::file(
                &self.path,
                format!("line {} {message}", self.line),
            )));
        }
        if bytes.ends_with(b"\n") {
            bytes.pop();
        }
        if bytes.ends_with(b"\r") {
            bytes.pop();
        }
        // The byte order mark that some editors put in front.
        if self.line == 1 && bytes.starts_with("\u{feff}".as_bytes()) {
            bytes.drain(..3);
        }
        Some(Ok((self.line, bytes)))
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = Result<(u64, String)>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.next_bytes()?.and_then(|(line, bytes)| {
            let text = String::from_utf8(bytes).map_err(|_| not_utf8(&self.path, line))?;
            Ok((line, text))
        }))
    }
}

/// A line whose bytes are not UTF-8.
pub(super) fn not_utf8(path: &Path, line: u64) -> Error {
    Error::line(
        path,
        line,
        "is not UTF-8; if the file is Latin-1, convert it with iconv -f latin1 -t utf8",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_numbered_and_bad_ones_do_not_end_them() {
        let bytes = b"\xef\xbb\xbfa\r\n\n\xe9\nb\x0bc\xc3\xa9";
        let lines: Vec<String> = Lines::new(&bytes[..], Path::new("f"))
            .map(|line| match line {
                Ok((number, text)) => format!("{number}{text}"),
                Err(error) => error.to_string(),
            })
            .collect();
        assert_eq!(lines[..2], ["1a", "2"]);
        assert!(lines[2].starts_with("f:3: is not UTF-8"));
        assert_eq!(lines[3..], ["4b\u{b}cé"]);
    }

    #[test]
    fn a_line_without_an_end_is_refused_before_it_fills_the_memory() {
        let endless = std::io::BufReader::new(std::io::repeat(b'x'));
        let mut lines = Lines::new(endless, Path::new("f"));
        let error = lines.next().unwrap().unwrap_err().to_string();
        assert!(error.starts_with("f: line 1 has more than"), "{error}");
        assert!(lines.next().is_none());
    }

    #[test]
    fn a_reader_that_fails_ends_the_lines() {
        struct Failing;
        impl std::io::Read for Failing {
            fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
                Err(std::io::Error::other("gone"))
            }
        }
        let mut lines = Lines::new(std::io::BufReader::new(Failing), Path::new("f"));
        assert_eq!(lines.next().unwrap().unwrap_err().to_string(), "f: gone");
        assert!(lines.next().is_none());
    }
}
