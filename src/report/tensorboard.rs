//! Event files of TensorBoard: scalars by step, written as training goes on.
//!
//! A file is a sequence of records: the length (u64, little-endian), its masked
//! CRC-32C, the bytes of a protocol buffer `Event`, their masked CRC-32C
//! (TensorFlow's `record_writer.cc` and `event.proto`). Of an `Event` only this is
//! used: `wall_time` (field 1, double), `step` (2, int64), `file_version` (3,
//! string, in the first record), `summary` (5) with one `value` (1) of `tag` (1,
//! string) and `simple_value` (2, float), `session_log` (7) with `status` (1) START.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::{Error, Result};

/// What the first record of a file says.
const VERSION: &str = "brain.Event:2";

/// The kinds of values in a protocol buffer's keys.
const VARINT: u64 = 0;
const EIGHT_BYTES: u64 = 1;
const LENGTH: u64 = 2;
const FOUR_BYTES: u64 = 5;

/// An event file that grows. What is written is whole records, so that a reader
/// can follow it, and a run that is killed leaves a file that can be read.
#[derive(Debug)]
pub struct Events {
    path: PathBuf,
    file: File,
}

impl Events {
    /// A new file in `folder`, which is made if need be. Several files there are
    /// one run to TensorBoard: a run that goes on writes another.
    ///
    /// Errors if it cannot be made.
    pub fn create(folder: impl AsRef<Path>) -> Result<Events> {
        let folder = folder.as_ref();
        fs::create_dir_all(folder).map_err(Error::io(folder))?;
        let seconds = now() as u64;
        // TensorBoard reads the files of a folder in the order of their names.
        let named = |n: u32| folder.join(format!("events.out.tfevents.{seconds}.cellway.{n:04}"));
        let mut n = 0;
        let (path, file) = loop {
            let path = named(n);
            match OpenOptions::new().append(true).create_new(true).open(&path) {
                Ok(file) => break (path, file),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => n += 1,
                Err(error) => return Err(Error::io(&path)(error)),
            }
        };
        let mut events = Events { path, file };
        let mut event = Message::default();
        event.double(1, now());
        event.bytes(3, VERSION.as_bytes());
        events.write(&event)?;
        Ok(events)
    }

    /// A run goes on, or starts, at this step: what earlier files have from it on, of a
    /// process that was killed behind its last snapshot, counts no longer.
    ///
    /// Errors if the file cannot be written.
    pub fn begin(&mut self, step: u64) -> Result<()> {
        const START: u64 = 1;
        let mut session = Message::default();
        session.varint(1, START);
        let mut event = Message::default();
        event.double(1, now());
        event.varint(2, step);
        event.bytes(7, &session.0);
        self.write(&event)
    }

    /// Adds a value of `tag` (`train/loss`) at a step.
    ///
    /// Errors if the file cannot be written.
    pub fn scalar(&mut self, tag: &str, step: u64, value: f64) -> Result<()> {
        let mut inner = Message::default();
        inner.bytes(1, tag.as_bytes());
        inner.float(2, value as f32);
        let mut summary = Message::default();
        summary.bytes(1, &inner.0);
        let mut event = Message::default();
        event.double(1, now());
        event.varint(2, step);
        event.bytes(5, &summary.0);
        self.write(&event)
    }

    /// One record, in one call to the operating system.
    fn write(&mut self, event: &Message) -> Result<()> {
        let length = (event.0.len() as u64).to_le_bytes();
        let mut record = Vec::with_capacity(event.0.len() + 16);
        record.extend(length);
        record.extend(masked_crc(&length));
        record.extend(&event.0);
        record.extend(masked_crc(&event.0));
        self.file.write_all(&record).map_err(Error::io(&self.path))
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0.0, |time| time.as_secs_f64())
}

/// The checksum as records have it: turned and moved, since a checksum of bytes
/// that hold their own checksum is weak.
fn masked_crc(bytes: &[u8]) -> [u8; 4] {
    let crc = crc32c::crc32c(bytes);
    crc.rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

/// The bytes of a protocol buffer.
#[derive(Debug, Default)]
struct Message(Vec<u8>);

impl Message {
    fn key(&mut self, field: u64, kind: u64) {
        self.number(field << 3 | kind);
    }

    /// Seven bits a byte, the lowest first; the eighth says that more follow.
    fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn varint(&mut self, field: u64, value: u64) {
        self.key(field, VARINT);
        self.number(value);
    }

    fn double(&mut self, field: u64, value: f64) {
        self.key(field, EIGHT_BYTES);
        self.0.extend(value.to_le_bytes());
    }

    fn float(&mut self, field: u64, value: f32) {
        self.key(field, FOUR_BYTES);
        self.0.extend(value.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, value: &[u8]) {
        self.key(field, LENGTH);
        self.number(value.len() as u64);
        self.0.extend(value);
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_checksum_is_masked_as_tensorflow_does() {
        // CRC-32C of "123456789" is e3069283 (RFC 3720's polynomial).
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
        let masked = 0xe306_9283u32.rotate_right(15).wrapping_add(0xa282_ead8);
        assert_eq!(masked_crc(b"123456789"), masked.to_le_bytes());
    }

    /// TensorBoard's own reader finds every value, in a file that still grows and
    /// in a second one of the same run.
    #[test]
    fn tensorboard_reads_what_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let tags = ["train/loss", "dev/accuracy", "größe"];
        let values = [0.5, -1.25e-7, f64::from(f32::MAX), f64::INFINITY];
        let mut first = Events::create(folder.path().join("run")).unwrap();
        for (step, value) in (0..).zip(values) {
            first.scalar(tags[0], step * 1000, value).unwrap();
        }
        let mut second = Events::create(folder.path().join("run")).unwrap();
        second
            .scalar(tags[1], u64::from(u32::MAX) + 7, 0.75)
            .unwrap();
        second.scalar(tags[2], 1, 3.0).unwrap();

        // A third went on from step 6.
        let mut third = Events::create(folder.path().join("again")).unwrap();
        third.begin(1).unwrap();
        (1..8).for_each(|step| third.scalar("loss", step, 1.0).unwrap());
        let mut fourth = Events::create(folder.path().join("again")).unwrap();
        fourth.begin(6).unwrap();
        (6..9).for_each(|step| fourth.scalar("loss", step, 2.0).unwrap());

        let script = "
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1])
events.Reload()
print(json.dumps({tag: [[e.step, str(e.value)] for e in events.Scalars(tag)] for tag in events.Tags()['scalars']}))
";
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let read = |run: &str| -> serde_json::Value {
            let output = Command::new(root.join(".venv/bin/python"))
                .args(["-c", script])
                .arg(folder.path().join(run))
                .output()
                .expect("the project's Python; run scripts/setup");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{said}");
            serde_json::from_slice(&output.stdout).unwrap()
        };
        let once: Vec<_> = (1..6)
            .map(|n| (n, "1.0"))
            .chain((6..9).map(|n| (n, "2.0")))
            .collect();
        assert_eq!(read("again")["loss"], serde_json::json!(once));
        let read = read("run");
        let expected: Vec<serde_json::Value> = (0..)
            .zip(values)
            .map(|(step, value)| (step * 1000u64, value as f32))
            .map(|(step, value)| serde_json::json!([step, python(value)]))
            .collect();
        assert_eq!(read[tags[0]], serde_json::Value::from(expected), "{read}");
        assert_eq!(
            read[tags[1]],
            serde_json::json!([[4_294_967_302u64, "0.75"]])
        );
        assert_eq!(read[tags[2]], serde_json::json!([[1, "3.0"]]));
    }

    /// As Python writes the float that this f32 is.
    fn python(value: f32) -> String {
        match value {
            value if value.is_infinite() => "inf".to_owned(),
            0.5 => "0.5".to_owned(),
            value if value == f32::MAX => "3.4028234663852886e+38".to_owned(),
            value => format!("{:e}", f64::from(value)).replace("e-7", "e-07"),
        }
    }
}
