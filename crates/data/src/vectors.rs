//! Pretrained word vectors, read from text files.

use std::collections::{HashMap, hash_map::Entry};
use std::fs::File;
use std::path::Path;

use memmap2::Mmap;
use rayon::prelude::*;

use crate::error::{Error, Result};

/// Bytes of the file that one task reads.
const CHUNK: usize = 1 << 20;

/// The vectors of the wanted words that a file has.
///
/// The file is one of two text forms, told apart by its first line:
///
/// - GloVe: `word v1 .. vn` in every line, `n` as in the first one, whose word
///   therefore must not hold a space;
/// - word2vec and fastText: a first line `count n`, two whole numbers, and then
///   as above. (GloVe vectors of one dimension whose first word and number are
///   both whole would be taken for this.)
///
/// Columns stand one space apart; spaces at the end of a line are ignored, and
/// a line may end in CRLF. The last `n` columns are the vector, and what is
/// before them is the word: some of GloVe's words hold spaces (`. . .`).
#[derive(Clone, Debug, PartialEq)]
pub struct Vectors {
    /// Numbers in a vector.
    pub dimension: usize,
    /// The id of each word that was found, in the order of the file.
    pub ids: Vec<u32>,
    /// Their vectors one after another: `[ids.len(), dimension]`, row-major.
    pub values: Vec<f32>,
    /// How many vectors the file holds, wanted or not.
    pub lines: u64,
    /// The wanted words that the file does not have, in the order given.
    pub missing: Vec<String>,
}

impl Vectors {
    /// Reads the vectors of the `wanted` words, such as
    /// [`Vocabulary::words`](crate::vocabulary::Vocabulary::words), on all cores.
    ///
    /// Every line is checked, that of an unwanted word too. The file is mapped
    /// into memory and must not be changed meanwhile.
    ///
    /// # Errors
    /// The first line, by its number, that has too few or too many columns, a
    /// column that is not a finite number, no word, a word that stood in an
    /// earlier line, or bytes that are not UTF-8; also an empty file, and a
    /// word2vec file with more or fewer vectors than its first line says.
    pub fn load<'w>(
        path: impl AsRef<Path>,
        wanted: impl IntoIterator<Item = (u32, &'w str)>,
    ) -> Result<Self> {
        let path = path.as_ref();
        Self::parse(path, &map(path)?, wanted, CHUNK)
    }

    /// The words that a file has vectors of, in its order, up to the first line
    /// that [`load`](Self::load) would refuse.
    ///
    /// # Errors
    /// The file cannot be read, is empty, or its first line is no vector.
    pub fn words(path: impl AsRef<Path>) -> Result<Vec<String>> {
        let path = path.as_ref();
        let bytes = map(path)?;
        let bytes = without_mark(&bytes);
        let form = Form::sniff(bytes).map_err(|message| Error::line(path, 1, message))?;
        let none = HashMap::new();
        let mut words = Vec::new();
        for lines in chunks(form.body, CHUNK) {
            let chunk = Chunk::read(lines, form.dimension, &none);
            words.extend(chunk.words.into_iter().map(str::to_owned));
            if chunk.fault.is_some() {
                break;
            }
        }
        Ok(words)
    }

    /// The share of the wanted words that were found; 1 where none is wanted.
    pub fn coverage(&self) -> f64 {
        match self.ids.len() + self.missing.len() {
            0 => 1.0,
            wanted => self.ids.len() as f64 / wanted as f64,
        }
    }

    /// [`Vectors::load`] of the bytes of a file, `chunk` bytes and the rest of
    /// a line a task.
    fn parse<'w>(
        path: &Path,
        bytes: &[u8],
        wanted: impl IntoIterator<Item = (u32, &'w str)>,
        chunk: usize,
    ) -> Result<Self> {
        let bytes = without_mark(bytes);
        let form = Form::sniff(bytes).map_err(|message| Error::line(path, 1, message))?;
        let header = u64::from(form.count.is_some());
        let order: Vec<(u32, &str)> = wanted.into_iter().collect();
        let wanted: HashMap<&str, u32> = order.iter().map(|&(id, word)| (word, id)).collect();
        let chunks: Vec<Chunk> = chunks(form.body, chunk)
            .into_par_iter()
            .map(|lines| Chunk::read(lines, form.dimension, &wanted))
            .collect();

        let mut seen: HashMap<&str, u64> = HashMap::new();
        let mut line = header;
        for chunk in &chunks {
            seen.reserve(chunk.words.len());
            for word in &chunk.words {
                line += 1;
                match seen.entry(word) {
                    Entry::Vacant(place) => _ = place.insert(line),
                    Entry::Occupied(first) => {
                        let first = first.get();
                        let message = format!(
                            "the word {word:?} has a vector in line {first} too; remove one"
                        );
                        return Err(Error::line(path, line, message));
                    }
                }
            }
            if let Some(fault) = &chunk.fault {
                return Err(Error::line(path, line + 1, fault));
            }
        }
        let lines = line - header;
        if let Some(count) = form.count
            && count != lines
        {
            let message = format!(
                "says {count} vectors, but {lines} follow; the file is cut off or the line is wrong"
            );
            return Err(Error::line(path, 1, message));
        }
        let missing = order
            .iter()
            .filter(|(_, word)| !seen.contains_key(word))
            .map(|&(_, word)| word.to_owned())
            .collect();
        let mut vectors = Self {
            dimension: form.dimension,
            ids: Vec::new(),
            values: Vec::new(),
            lines,
            missing,
        };
        for chunk in chunks {
            vectors.ids.extend(chunk.ids);
            vectors.values.extend(chunk.values);
        }
        Ok(vectors)
    }
}

/// The bytes of a file that is not empty.
fn map(path: &Path) -> Result<Mmap> {
    let file = File::open(path).map_err(Error::io(path))?;
    if file.metadata().map_err(Error::io(path))?.len() == 0 {
        return Err(Error::file(path, "is empty; it should hold word vectors"));
    }
    // SAFETY: the map is only read, and dropped before the functions of this
    // file return. Nothing can keep another process from changing the file in
    // that time; that it does not is what they ask of their callers, as every
    // reader of mapped files does.
    unsafe { Mmap::map(&file) }.map_err(Error::io(path))
}

/// Without the byte order mark that some editors put in front.
fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes)
}

/// What the first line says.
struct Form<'b> {
    dimension: usize,
    /// How many vectors there are, where a header says so.
    count: Option<u64>,
    /// The lines with vectors.
    body: &'b [u8],
}

impl<'b> Form<'b> {
    fn sniff(bytes: &'b [u8]) -> Result<Self, String> {
        let mut rest = bytes.split_inclusive(|&byte| byte == b'\n');
        let first = std::str::from_utf8(rest.next().unwrap_or_default()).map_err(|_| NOT_UTF8)?;
        let first = trim(first)?;
        let columns: Vec<&str> = first.split(' ').collect();
        if let [count, dimension] = columns[..]
            && let (Ok(count), Ok(dimension)) = (count.parse(), dimension.parse())
        {
            if !(1..=DIMENSIONS).contains(&dimension) {
                return Err(format!(
                    "says vectors of {dimension} numbers; it takes 1 to {DIMENSIONS}"
                ));
            }
            let end = bytes.iter().position(|&byte| byte == b'\n');
            let body = end.map_or(&[][..], |end| &bytes[end + 1..]);
            return Ok(Self {
                dimension,
                count: Some(count),
                body,
            });
        }
        if columns.len() < 2 {
            return Err(
                "has no vector; it should be a word and its numbers, one space apart".into(),
            );
        }
        Ok(Self {
            dimension: columns.len() - 1,
            count: None,
            body: bytes,
        })
    }
}

/// `bytes` in pieces of about `size`, cut behind a line's end.
fn chunks(mut bytes: &[u8], size: usize) -> Vec<&[u8]> {
    let mut chunks = Vec::new();
    while bytes.len() > size {
        let rest = &bytes[size..];
        let Some(end) = rest.iter().position(|&byte| byte == b'\n') else {
            break;
        };
        let (chunk, behind) = bytes.split_at(size + end + 1);
        chunks.push(chunk);
        bytes = behind;
    }
    if !bytes.is_empty() {
        chunks.push(bytes);
    }
    chunks
}

/// What some whole lines hold.
#[derive(Default)]
struct Chunk<'b> {
    /// The word of every line before the first bad one.
    words: Vec<&'b str>,
    /// What is wrong with the line behind `words`, if anything.
    fault: Option<String>,
    ids: Vec<u32>,
    values: Vec<f32>,
}

impl<'b> Chunk<'b> {
    fn read(bytes: &'b [u8], dimension: usize, wanted: &HashMap<&str, u32>) -> Self {
        let mut chunk = Self::default();
        let (lines, fault) = match std::str::from_utf8(bytes) {
            Ok(lines) => (lines, None),
            Err(error) => (
                whole_lines(&bytes[..error.valid_up_to()]),
                Some(NOT_UTF8.into()),
            ),
        };
        chunk.fault = fault;
        for line in lines.split_inclusive('\n') {
            let kept = chunk.values.len();
            match vector(line, dimension, &mut chunk.values) {
                Ok(word) => {
                    chunk.words.push(word);
                    match wanted.get(word) {
                        Some(&id) => chunk.ids.push(id),
                        None => chunk.values.truncate(kept),
                    }
                }
                Err(fault) => {
                    chunk.fault = Some(fault);
                    break;
                }
            }
        }
        chunk
    }
}

/// The most numbers that a header may promise for a vector.
const DIMENSIONS: usize = 1 << 20;

const NOT_UTF8: &str = "is not UTF-8; convert the file, for example with iconv";

/// `bytes`, which are UTF-8, up to the end of the last line that has one.
fn whole_lines(bytes: &[u8]) -> &str {
    let end = bytes.iter().rposition(|&byte| byte == b'\n');
    std::str::from_utf8(&bytes[..end.map_or(0, |end| end + 1)]).unwrap_or_default()
}

/// A line without what ends it.
fn trim(line: &str) -> Result<&str, String> {
    let line = line.strip_suffix('\n').unwrap_or(line);
    let line = line
        .strip_suffix('\r')
        .unwrap_or(line)
        .trim_end_matches(' ');
    if line.is_empty() {
        return Err("is empty; remove it".into());
    }
    Ok(line)
}

/// The word of a line; its numbers are put behind `values`.
fn vector<'b>(line: &'b str, dimension: usize, values: &mut Vec<f32>) -> Result<&'b str, String> {
    let line = trim(line)?;
    let start = values.len();
    let mut rest = line;
    for found in 0..dimension {
        // Columns are short: looking at their bytes beats `rsplit_once`.
        let Some(space) = rest.bytes().rposition(|byte| byte == b' ') else {
            return Err(format!(
                "has {found} numbers, not {dimension} as the first line"
            ));
        };
        let (before, column) = (&rest[..space], &rest[space + 1..]);
        match short_decimal(column).map_or_else(|| column.parse(), Ok) {
            Ok(value) if value.is_finite() => values.push(value),
            _ if line.split(' ').count() <= dimension => {
                let found = line.split(' ').count() - 1;
                return Err(format!(
                    "has {found} numbers, not {dimension} as the first line"
                ));
            }
            _ => return Err(format!("{column:?} is not a finite number")),
        }
        rest = before;
    }
    // Read from the end, for the words that hold spaces.
    values[start..].reverse();
    match rest.rsplit_once(' ') {
        _ if rest.is_empty() => Err("has no word before its numbers".into()),
        Some((_, last)) if last.parse::<f32>().is_ok() => Err(format!(
            "has more than {dimension} numbers, unlike the first line"
        )),
        _ => Ok(rest),
    }
}

/// A decimal of a few digits, such as `-0.038194`, as [`str::parse`] reads it,
/// in half the time; `None` leaves anything else to that.
///
/// A whole number up to 2^24 and a power of ten up to 10^10 are exact in `f32`,
/// so that their quotient is rounded once (Clinger 1990, "How to read floating
/// point numbers accurately").
fn short_decimal(column: &str) -> Option<f32> {
    const POWERS: [f32; 9] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8];
    // Signs are random: no branch on them.
    let negative = column.starts_with('-');
    let digits = &column.as_bytes()[usize::from(negative)..];
    if digits.len() > 9 {
        return None;
    }
    let mut point = None;
    let mut whole = 0;
    for (place, &byte) in digits.iter().enumerate() {
        match byte {
            b'0'..=b'9' => whole = 10 * whole + u32::from(byte - b'0'),
            b'.' if point.is_none() => point = Some(place),
            _ => return None,
        }
    }
    let no_digit = digits.len() == usize::from(point.is_some());
    if no_digit || whole > 1 << 24 {
        return None;
    }
    let value = whole as f32 / POWERS[point.map_or(0, |place| digits.len() - 1 - place)];
    Some(f32::from_bits(value.to_bits() | u32::from(negative) << 31))
}

#[cfg(test)]
mod tests;
