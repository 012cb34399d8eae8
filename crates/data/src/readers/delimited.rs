//! Tables with a header line: CSV and TSV.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use super::lines::{Lines, not_utf8};
use super::rows::{Reason, Rows};
use crate::error::{Error, Result};

pub(super) fn read(rows: &mut Rows, delimiter: u8) -> Result<()> {
    let file = File::open(rows.path).map_err(Error::io(rows.path))?;
    let mut table = Table::new(BufReader::new(file), rows.path, delimiter)?;
    let text = table.column(&rows.options.text_column)?;
    let label = table.column(&rows.options.label_column)?;
    while let Some(row) = table.next([text, label]) {
        match row {
            Ok((line, [text, label])) => rows.add(line, &text, &label)?,
            Err((reason, error @ Error::Line { .. })) => rows.refuse(reason, error)?,
            Err((_, error)) => return Err(error),
        }
    }
    Ok(())
}

/// Whether the header names it.
pub(super) fn has_column(path: &Path, delimiter: u8, name: &str) -> Result<bool> {
    let file = File::open(path).map_err(Error::io(path))?;
    let table = Table::new(BufReader::new(file), path, delimiter)?;
    Ok(table.columns.iter().any(|column| column == name))
}

/// A table that is read row by row. Empty lines are no rows.
pub(super) struct Table<R> {
    lines: Lines<R>,
    path: PathBuf,
    delimiter: u8,
    columns: Vec<String>,
}

/// The fields of a row, or what is wrong with it.
type Fields = Result<Vec<Vec<u8>>, &'static str>;

impl<R: BufRead> Table<R> {
    /// Reads the header. A comma parts quoted fields, a tab fields in which a
    /// quote is a character like any other.
    pub fn new(reader: R, path: &Path, delimiter: u8) -> Result<Self> {
        let mut table = Self {
            lines: Lines::new(reader, path),
            path: path.to_path_buf(),
            delimiter,
            columns: Vec::new(),
        };
        if let Some((line, header)) = table.fields()? {
            table.columns = header
                .map_err(|message| Error::line(path, line, message))?
                .into_iter()
                .map(|name| String::from_utf8(name).map_err(|_| not_utf8(path, line)))
                .collect::<Result<_>>()?;
        }
        Ok(table)
    }

    /// The place of the column of this name.
    pub fn column(&self, name: &str) -> Result<usize> {
        let mut places = (0..self.columns.len()).filter(|&place| self.columns[place] == name);
        match (places.next(), places.next()) {
            (Some(place), None) => Ok(place),
            (Some(_), Some(_)) => Err(Error::file(
                &self.path,
                format!("has two columns {name:?}; rename one"),
            )),
            (None, _) => Err(Error::file(
                &self.path,
                format!(
                    "has no column {name:?}; its columns are: {}",
                    self.columns.join(", ")
                ),
            )),
        }
    }

    /// The line and these columns of the next row, or why it cannot be used;
    /// the rows behind it can be. After an [`Error::Io`] there are none.
    #[allow(clippy::type_complexity, reason = "a name would say less")]
    pub fn next<const N: usize>(
        &mut self,
        columns: [usize; N],
    ) -> Option<Result<(u64, [String; N]), (Reason, Error)>> {
        let (line, fields) = match self.fields() {
            Ok(row) => row?,
            Err(error) => return Some(Err((Reason::Broken, error))),
        };
        let broken = |message| (Reason::Broken, Error::line(&self.path, line, message));
        let mut fields = match fields {
            Ok(fields) if fields.len() == self.columns.len() => fields,
            Ok(fields) => {
                let (has, header) = (fields.len(), self.columns.len());
                return Some(Err(broken(format!(
                    "has {has} fields, but the header has {header}"
                ))));
            }
            Err(message) => return Some(Err(broken(message.into()))),
        };
        let mut texts = [const { String::new() }; N];
        for (text, column) in texts.iter_mut().zip(columns) {
            match String::from_utf8(std::mem::take(&mut fields[column])) {
                Ok(field) => *text = field,
                Err(_) => return Some(Err((Reason::NotUtf8, not_utf8(&self.path, line)))),
            }
        }
        Some(Ok((line, texts)))
    }

    /// The next row and its first line. (The `csv` package's numbers are off
    /// behind empty lines, and it takes a quote that never closes for the end
    /// of a field.)
    fn fields(&mut self) -> Result<Option<(u64, Fields)>> {
        let (first, mut line) = loop {
            match self.lines.next_bytes().transpose()? {
                None => return Ok(None),
                Some((_, line)) if line.is_empty() => {}
                Some(line) => break line,
            }
        };
        if self.delimiter != b',' {
            let fields = line
                .split(|&byte| byte == self.delimiter)
                .map(<[u8]>::to_vec);
            return Ok(Some((first, Ok(fields.collect()))));
        }
        let mut fields = Vec::new();
        let mut place = 0;
        loop {
            let mut field = Vec::new();
            if line.get(place) == Some(&b'"') {
                // A quoted field: up to a quote that no other follows.
                place += 1;
                loop {
                    match (line.get(place), line.get(place + 1)) {
                        (Some(b'"'), Some(b'"')) => {
                            field.push(b'"');
                            place += 2;
                        }
                        (Some(b'"'), _) => break,
                        (Some(&byte), _) => {
                            field.push(byte);
                            place += 1;
                        }
                        (None, _) => {
                            let Some((_, next)) = self.lines.next_bytes().transpose()? else {
                                // Not a bad row: all rows behind it are in it.
                                let message =
                                    format!("line {first} opens a quote that is never closed");
                                return Err(Error::file(&self.path, message));
                            };
                            field.push(b'\n');
                            (line, place) = (next, 0);
                        }
                    }
                }
                place += 1;
            } else {
                let rest = &line[place..];
                let end = rest
                    .iter()
                    .position(|&byte| byte == b',')
                    .unwrap_or(rest.len());
                field.extend_from_slice(&rest[..end]);
                place += end;
            }
            fields.push(field);
            match line.get(place) {
                None => return Ok(Some((first, Ok(fields)))),
                Some(b',') => {}
                Some(_) => {
                    return Ok(Some((
                        first,
                        Err(
                            "has more between a closing quote and the next comma; write a quote inside of quotes as two",
                        ),
                    )));
                }
            }
            place += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(text: &str, delimiter: u8) -> Vec<String> {
        let mut table = Table::new(text.as_bytes(), Path::new("f"), delimiter).unwrap();
        let mut lines = Vec::new();
        while let Some(row) = table.next([1]) {
            lines.push(match row {
                Ok((line, [text])) => format!("{line}: {text}"),
                Err((_, error)) => error.to_string(),
            });
        }
        lines
    }

    #[test]
    fn rows_are_numbered_by_their_first_line() {
        let text = "a,b\n1,x\n\n2,\"y\nz\"\n3\n\n\n4,w\n5,v";
        let expected = [
            "2: x",
            "4: y\nz",
            "f:6: has 1 fields, but the header has 2",
            "9: w",
            "10: v",
        ];
        assert_eq!(lines(text, b','), expected);
        assert_eq!(lines(&text.replace('\n', "\r\n"), b','), expected);
        assert_eq!(lines(&format!("\u{feff}{text}"), b','), expected);
    }

    #[test]
    fn quotes_bind_in_csv_and_not_in_tsv() {
        assert_eq!(lines("a,b\n1,\"x, \"\"y\"\"\"\n", b','), ["2: x, \"y\""]);
        assert_eq!(
            lines("a\tb\n1\t\"x, y\n2\tz\n", b'\t'),
            ["2: \"x, y", "3: z"]
        );
    }

    #[test]
    fn quotes_that_do_not_close_are_refused() {
        let expected = "f:3: has more between a closing quote and the next comma; write a quote inside of quotes as two";
        assert_eq!(
            lines("a,b\n1,5\" x\n2,\"y\"z\n3,w", b','),
            ["2: 5\" x", expected, "4: w"]
        );
        let expected = ["2: x", "f: line 3 opens a quote that is never closed"];
        assert_eq!(lines("a,b\n1,x\n2,\"y\n3,z\n", b','), expected);
    }

    #[test]
    fn columns_are_found_by_name() {
        let table = |text: &'static str| Table::new(text.as_bytes(), Path::new("f"), b',').unwrap();
        assert_eq!(table("id,text").column("text").unwrap(), 1);
        assert_eq!(table("\u{feff}text").column("text").unwrap(), 0);
        let message = |text, name| table(text).column(name).unwrap_err().to_string();
        assert_eq!(
            message("id,body", "text"),
            "f: has no column \"text\"; its columns are: id, body"
        );
        assert!(message("", "text").contains("has no column"));
        assert!(message("text,text", "text").contains("two columns"));
    }

    #[test]
    fn bytes_that_are_not_utf8_are_refused_where_they_are_asked_for() {
        let bytes = &b"a,b\n1,\xe9\n\xe9,x\n"[..];
        let mut table = Table::new(bytes, Path::new("f"), b',').unwrap();
        let (reason, error) = table.next([1]).unwrap().unwrap_err();
        assert_eq!(reason, Reason::NotUtf8);
        assert!(error.to_string().starts_with("f:2: is not UTF-8"));
        assert_eq!(table.next([1]).unwrap().unwrap(), (3, ["x".to_owned()]));
        assert!(Table::new(&b"\xe9\n"[..], Path::new("f"), b',').is_err());
    }

    proptest! {
        /// What the `csv` package writes is read back, lines' ends inside of
        /// quotes as `\n`.
        #[test]
        fn rows_of_the_csv_package_are_read(rows in prop::collection::vec("[a\",\t\né ]{0,6}", 1..20)) {
            let mut writer = csv::Writer::from_writer(Vec::new());
            writer.write_record(["n", "text"]).unwrap();
            for row in &rows {
                writer.write_record(["1", row]).unwrap();
            }
            let bytes = writer.into_inner().unwrap();
            let mut table = Table::new(&bytes[..], Path::new("f"), b',').unwrap();
            for row in &rows {
                let (_, [text]) = table.next([1]).unwrap().unwrap();
                prop_assert_eq!(&text, row);
            }
            prop_assert!(table.next([1]).is_none());
        }

        #[test]
        fn garbage_never_panics(text in "[\",\r\na]{0,30}") {
            if let Ok(mut table) = Table::new(text.as_bytes(), Path::new("f"), b',') {
                while table.next::<0>([]).is_some() {}
            }
        }
    }
}
