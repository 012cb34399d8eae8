//! Texts without labels, one after another: what predictions are made for.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::delimited::Table;
use super::jsonl;
use super::lines::Lines;
use crate::error::{Error, Result};

/// A text and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its first line, counted from 1.
    pub line: u64,
    /// The text; it may be empty.
    pub text: String,
}

/// Reads texts one at a time and never holds the file in memory, so that it may
/// be larger than that, or a pipe. After a row that cannot be used (an
/// [`Error::Line`]) the next one follows.
pub struct TextReader {
    path: PathBuf,
    source: Source,
    size: Option<u64>,
    read: Arc<AtomicU64>,
}

/// Counts the bytes that pass.
struct Counted<R> {
    reader: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

enum Source {
    Plain(Lines<Box<dyn BufRead + Send>>),
    Jsonl(Lines<Box<dyn BufRead + Send>>, String),
    Table(Table<Box<dyn BufRead + Send>>, usize),
}

impl TextReader {
    /// Opens a file: `.csv`, `.tsv` and `.jsonl` by their `text_column`, in
    /// `.txt` every line, an empty one too, is a text. `-` is the standard
    /// input, read as `.txt`.
    ///
    /// # Errors
    /// A file that cannot be opened, has another ending, or lacks the column.
    pub fn open(path: impl AsRef<Path>, text_column: &str) -> Result<Self> {
        let path = path.as_ref();
        if path == Path::new("-") {
            let path = Path::new("standard input");
            return Self::new(std::io::stdin(), None, "txt", path, text_column);
        }
        let ending = path
            .extension()
            .and_then(|ending| ending.to_str())
            .unwrap_or_default();
        let file = File::open(path).map_err(Error::io(path))?;
        let metadata = file.metadata().map_err(Error::io(path))?;
        let size = metadata.is_file().then_some(metadata.len());
        Self::new(file, size, ending, path, text_column)
    }

    /// The size of the file in bytes; none of a pipe.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// Counts the bytes that were read so far, also while the reader is in use.
    pub fn bytes_read(&self) -> impl Fn() -> u64 + use<> {
        let read = Arc::clone(&self.read);
        move || read.load(Ordering::Relaxed)
    }

    fn new(
        reader: impl Read + Send + 'static,
        size: Option<u64>,
        ending: &str,
        path: &Path,
        text_column: &str,
    ) -> Result<Self> {
        let read = Arc::new(AtomicU64::new(0));
        let counted = Counted {
            reader,
            read: Arc::clone(&read),
        };
        let reader: Box<dyn BufRead + Send> = Box::new(BufReader::new(counted));
        let table = |reader, delimiter| {
            let table = Table::new(reader, path, delimiter)?;
            let column = table.column(text_column)?;
            Ok::<_, Error>(Source::Table(table, column))
        };
        let source = match ending {
            "txt" => Source::Plain(Lines::new(reader, path)),
            "jsonl" => Source::Jsonl(Lines::new(reader, path), text_column.to_owned()),
            "csv" => table(reader, b',')?,
            "tsv" => table(reader, b'\t')?,
            _ => {
                return Err(Error::file(
                    path,
                    "has a name that does not tell its format; rename it to .txt (a text a line), .csv, .tsv or .jsonl",
                ));
            }
        };
        Ok(Self {
            path: path.to_path_buf(),
            source,
            size,
            read,
        })
    }
}

impl Iterator for TextReader {
    type Item = Result<Row>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.source {
            Source::Plain(lines) => lines
                .next()
                .map(|line| line.map(|(line, text)| Row { line, text })),
            Source::Jsonl(lines, key) => lines.next().map(|line| {
                let (line, text) = line?;
                jsonl::object(&text)
                    .and_then(|object| jsonl::text(&object, key))
                    .map(|text| Row { line, text })
                    .map_err(|message| Error::line(&self.path, line, message))
            }),
            Source::Table(table, column) => table.next([*column]).map(|row| match row {
                Ok((line, [text])) => Ok(Row { line, text }),
                Err((_, error)) => Err(error),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of a file of this name and content, as `line: text` or errors.
    fn rows(name: &str, content: &[u8]) -> Result<Vec<String>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        let here = format!("{}/", folder.path().display());
        let plain = |error: Error| error.to_string().replace(&here, "");
        Ok(TextReader::open(&path, "text")
            .map_err(plain)?
            .map(|row| match row {
                Ok(row) => format!("{}: {}", row.line, row.text),
                Err(error) => plain(error),
            })
            .collect())
    }

    #[test]
    fn each_format_is_known_by_its_ending() {
        let expected = Ok(vec!["2: a, b".to_owned(), "3: c".to_owned()]);
        assert_eq!(rows("f.csv", b"id,text\n1,\"a, b\"\n2,c\n"), expected);
        assert_eq!(rows("f.tsv", b"text\tid\na, b\t1\nc\t2"), expected);
        assert_eq!(
            rows("f.jsonl", b"{\"text\":\"a, b\"}\n{\"text\":\"c\",\"n\":1}").unwrap(),
            ["1: a, b", "2: c"]
        );
        assert_eq!(
            rows("f.txt", b"a, b\r\n\nc\n").unwrap(),
            ["1: a, b", "2: ", "3: c"]
        );
        assert!(rows("f.txt", b"").unwrap().is_empty());
    }

    #[test]
    fn bad_rows_are_named_and_do_not_end_the_reading() {
        let found = rows("f.txt", b"a\n\xe9\nb").unwrap();
        assert!(found[1].starts_with("f.txt:2: is not UTF-8"));
        assert_eq!(found[2], "3: b");
        let found = rows(
            "f.jsonl",
            b"[]\n{\"x\":1}\n{\"text\":2}\n{\n{\"text\":\"b\"}",
        )
        .unwrap();
        assert_eq!(found[0], "f.jsonl:1: is not a JSON object");
        assert_eq!(found[1], "f.jsonl:2: has no \"text\"; its keys are: x");
        assert_eq!(found[2], "f.jsonl:3: \"text\" is 2, not a string");
        assert!(found[3].starts_with("f.jsonl:4: is not a JSON object: EOF"));
        assert_eq!(found[4], "5: b");
        let found = rows("f.csv", b"text\na\nb,c\nd").unwrap();
        assert_eq!(
            found,
            [
                "2: a",
                "f.csv:3: has 2 fields, but the header has 1",
                "4: d"
            ]
        );
    }

    #[test]
    fn the_bytes_that_were_read_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f.txt");
        std::fs::write(&path, "a\nb\n").unwrap();
        let reader = TextReader::open(&path, "text").unwrap();
        let read = reader.bytes_read();
        assert_eq!((reader.size(), read()), (Some(4), 0));
        assert_eq!(reader.count(), 2);
        assert_eq!(read(), 4);
    }

    #[test]
    fn files_that_cannot_be_read_are_named() {
        assert!(
            rows("f.csv", b"id\n")
                .unwrap_err()
                .starts_with("f.csv: has no column \"text\"")
        );
        assert!(
            rows("f.doc", b"")
                .unwrap_err()
                .contains("rename it to .txt")
        );
        assert!(TextReader::open("absent.txt", "text").is_err());
    }
}
