//! A zip archive of stored members as torch's writer lays it out: sizes and
//! checksum behind each member, a padding field in front that puts its bytes at a
//! multiple of 64, 64-bit records where a number needs them, and no times.

use std::io::{self, Write};

/// Each member's bytes start at a multiple of this.
pub(super) const ALIGNMENT: u64 = 64;

/// Names are UTF-8.
const UTF_8: u16 = 1 << 11;
/// Sizes and checksum stand behind the data.
const DESCRIPTOR: u16 = 1 << 3;
/// From this on a 32-bit field says "see the 64-bit one".
const WIDE: u64 = u32::MAX as u64;
const LOCAL_SIZE: u64 = 30;

struct Member {
    name: String,
    flags: u16,
    crc: u32,
    size: u64,
    /// Where its header starts.
    at: u64,
}

/// Writes an archive, member by member, to a writer that starts empty.
pub(super) struct Writer<W> {
    out: W,
    at: u64,
    members: Vec<Member>,
}

impl<W: Write> Writer<W> {
    pub fn new(out: W) -> Writer<W> {
        Writer {
            out,
            at: 0,
            members: Vec::new(),
        }
    }

    pub fn add(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let size = bytes.len() as u64;
        let member = Member {
            name: name.to_owned(),
            flags: if size == 0 { UTF_8 } else { UTF_8 | DESCRIPTOR },
            crc: crc32fast::hash(bytes),
            size,
            at: self.at,
        };
        let mut extra = member.wide_fields();
        let is_wide = !extra.is_empty();
        pad(&mut extra, member.at + LOCAL_SIZE + name.len() as u64);

        let mut header = b"PK\x03\x04\0\0".to_vec();
        put16(&mut header, &[member.flags, 0, 0, 0]); // stored, no time
        put32(&mut header, &[0; 3]); // in the descriptor
        put16(&mut header, &[short(name.len())?, short(extra.len())?]);
        header.extend(name.as_bytes());
        header.extend(extra);
        self.put(&header)?;
        self.put(bytes)?;
        if size > 0 {
            let mut descriptor = b"PK\x07\x08".to_vec();
            put32(&mut descriptor, &[member.crc]);
            match is_wide {
                true => put64(&mut descriptor, &[size, size]),
                false => put32(&mut descriptor, &[size as u32, size as u32]),
            }
            self.put(&descriptor)?;
        }
        self.members.push(member);
        Ok(())
    }

    /// Writes the directory, and gives the writer back.
    pub fn finish(mut self) -> io::Result<W> {
        let start = self.at;
        for member in std::mem::take(&mut self.members) {
            let extra = member.wide_fields();
            let mut entry = b"PK\x01\x02\0\0\0\0".to_vec();
            put16(&mut entry, &[member.flags, 0, 0, 0]);
            let size = narrow(member.size);
            put32(&mut entry, &[member.crc, size, size]);
            put16(
                &mut entry,
                &[short(member.name.len())?, short(extra.len())?],
            );
            entry.extend([0; 10]); // comment, disk, attributes
            put32(&mut entry, &[narrow(member.at)]);
            entry.extend(member.name.as_bytes());
            entry.extend(extra);
            self.put(&entry)?;
            self.members.push(member);
        }
        let (end, count) = (self.at, self.members.len() as u64);
        let size = end - start;
        let mut tail = b"PK\x06\x06".to_vec();
        put64(&mut tail, &[44]); // bytes of this record from here on
        put16(&mut tail, &[0x031e, 45]); // versions, as torch's writer has them
        put32(&mut tail, &[0, 0]);
        put64(&mut tail, &[count, count, size, start]);
        tail.extend(b"PK\x06\x07\0\0\0\0");
        put64(&mut tail, &[end]);
        put32(&mut tail, &[1]); // one file in all
        tail.extend(b"PK\x05\x06\0\0\0\0");
        let count = u16::try_from(count).unwrap_or(u16::MAX);
        put16(&mut tail, &[count, count]);
        put32(&mut tail, &[narrow(size), narrow(start)]);
        put16(&mut tail, &[0]);
        self.put(&tail)?;
        Ok(self.out)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.at += bytes.len() as u64;
        self.out.write_all(bytes)
    }
}

impl Member {
    /// The extra field with what does not fit into 32 bits; empty if all does.
    fn wide_fields(&self) -> Vec<u8> {
        let mut numbers = Vec::new();
        if self.size >= WIDE {
            numbers.extend([self.size, self.size]);
        }
        if self.at >= WIDE {
            numbers.push(self.at);
        }
        let mut field = Vec::new();
        if !numbers.is_empty() {
            put16(&mut field, &[1, 8 * numbers.len() as u16]);
            put64(&mut field, &numbers);
        }
        field
    }
}

/// Adds torch's padding field, so that what comes behind `extra` (which starts at
/// the byte `at`) is aligned.
fn pad(extra: &mut Vec<u8>, at: u64) {
    let end = at + extra.len() as u64 + 4;
    let padding = end.next_multiple_of(ALIGNMENT) - end;
    extra.extend(b"FB");
    put16(extra, &[padding as u16]);
    extra.resize(extra.len() + padding as usize, b'Z');
}

fn narrow(n: u64) -> u32 {
    n.min(WIDE) as u32
}

fn short(n: usize) -> io::Result<u16> {
    u16::try_from(n).map_err(|_| io::Error::other("the name of a member is too long"))
}

fn put16(bytes: &mut Vec<u8>, numbers: &[u16]) {
    numbers.iter().for_each(|n| bytes.extend(n.to_le_bytes()));
}

fn put32(bytes: &mut Vec<u8>, numbers: &[u32]) {
    numbers.iter().for_each(|n| bytes.extend(n.to_le_bytes()));
}

fn put64(bytes: &mut Vec<u8>, numbers: &[u64]) {
    numbers.iter().for_each(|n| bytes.extend(n.to_le_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zip::Archive;

    #[test]
    fn our_reader_takes_the_archive_and_every_member_is_aligned() {
        let mut zip = Writer::new(Vec::new());
        let members: Vec<(String, Vec<u8>)> = (0..200)
            .map(|n| ("x/".to_owned() + &"n".repeat(n + 1), vec![n as u8; n * 7]))
            .collect();
        for (name, bytes) in &members {
            zip.add(name, bytes).unwrap();
        }
        let file = zip.finish().unwrap();
        let archive = Archive::read(&file).unwrap();
        for (name, bytes) in &members {
            let member = archive.get(name).unwrap();
            assert_eq!(member.checked_bytes(&file).unwrap(), bytes);
            assert_eq!(member.crc, crc32fast::hash(bytes));
            assert_eq!(member.data.start % 64, 0);
        }
    }

    #[test]
    fn more_members_than_16_bits_count() {
        let mut zip = Writer::new(Vec::new());
        for n in 0..70_000 {
            zip.add(&n.to_string(), b"").unwrap();
        }
        let file = zip.finish().unwrap();
        assert_eq!(Archive::read(&file).unwrap().members.len(), 70_000);
    }

    #[test]
    #[ignore = "writes 4 GiB into the temporary folder"]
    fn more_bytes_than_32_bits_count() {
        let mut zip = Writer::new(std::io::BufWriter::new(tempfile::tempfile().unwrap()));
        zip.add("first", b"1").unwrap();
        // Zeros that nobody wrote take no memory.
        zip.add("large", &vec![0; (WIDE + 10) as usize]).unwrap();
        zip.add("last", b"3").unwrap();
        let file = zip.finish().unwrap().into_inner().unwrap();
        // SAFETY: nobody else has this file.
        let file = unsafe { memmap2::Mmap::map(&file) }.unwrap();
        let archive = Archive::read(&file).unwrap();
        let large = archive.get("large").unwrap();
        assert_eq!(large.data.len() as u64, WIDE + 10);
        large.checked_bytes(&file).unwrap();
        let last = archive.get("last").unwrap();
        assert!(last.data.start as u64 > WIDE && last.data.start.is_multiple_of(64));
        assert_eq!(last.checked_bytes(&file).unwrap(), b"3");
    }
}
