//! Zip archives, as strictly as a format with two tables of contents has to be
//! read: both must say the same, and the members must fill the file from its
//! first byte to the central directory, one behind another. So there is nothing
//! to hide in, and no second reading of a file.
//!
//! Only stored members are ever opened. Deflated ones (TorchScript compresses
//! its code) are listed and left alone.
//!
//! The format: PKWARE's APPNOTE 6.3.10, sections 4.3 and 4.5.3.

use std::collections::HashMap;
use std::ops::Range;

use crate::cursor::{Cursor, to_usize};
use crate::limits::{ZIP_MEMBERS, ZIP_NAME};
use crate::parse_error::{ParseError, ParseErrorKind, ParseResult};

const LOCAL: &[u8; 4] = b"PK\x03\x04";
const CENTRAL: &[u8; 4] = b"PK\x01\x02";
const DESCRIPTOR: &[u8; 4] = b"PK\x07\x08";
const END: &[u8; 4] = b"PK\x05\x06";
const END_64: &[u8; 4] = b"PK\x06\x06";
const LOCATOR_64: &[u8; 4] = b"PK\x06\x07";

/// Bytes of the end record, which is the last in the file: no comment.
const END_SIZE: usize = 22;
const LOCATOR_64_SIZE: usize = 20;
const END_64_SIZE: usize = 56;
/// Bits of the flags: encrypted, strongly encrypted, masked headers.
const ENCRYPTED: u16 = 1 | 1 << 6 | 1 << 13;
/// Bit of the flags: sizes stand behind the data.
const HAS_DESCRIPTOR: u16 = 1 << 3;
/// Kind of the extra field with 64-bit sizes.
const EXTRA_64: u16 = 1;
const STORED: u16 = 0;

/// One file of the archive.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub name: String,
    /// Where its bytes lie in the archive, as they are stored.
    pub data: Range<usize>,
    pub crc: u32,
    pub stored: bool,
}

impl Member {
    /// The bytes of a stored member.
    pub fn bytes<'a>(&self, file: &'a [u8]) -> ParseResult<&'a [u8]> {
        if !self.stored {
            return Err(ParseError::unsupported(
                self.data.start,
                format!(
                    "{:?} is compressed, which torch.save never does; save it again from torch, or numpy.savez instead of savez_compressed",
                    self.name
                ),
            ));
        }
        Ok(&file[self.data.clone()])
    }

    /// The bytes of a stored member, held against their checksum.
    pub fn checked_bytes<'a>(&self, file: &'a [u8]) -> ParseResult<&'a [u8]> {
        let bytes = self.bytes(file)?;
        check_crc(bytes, self.crc, self.data.start, &self.name)?;
        Ok(bytes)
    }
}

/// Holds bytes against their checksum. 0 stands for none: that is what
/// `torch.serialization.set_crc32_options(False)` writes.
pub(crate) fn check_crc(bytes: &[u8], crc: u32, offset: usize, name: &str) -> ParseResult<()> {
    if crc == 0 || crc32fast::hash(bytes) == crc {
        return Ok(());
    }
    Err(ParseError::new(
        ParseErrorKind::Checksum,
        offset,
        format!("{name:?} is damaged: its checksum is not {crc:08x}; copy the file again"),
    ))
}

/// The members of an archive in the order of their bytes.
#[derive(Debug)]
pub(crate) struct Archive {
    pub members: Vec<Member>,
    by_name: HashMap<String, usize>,
}

impl Archive {
    /// Reads the directory; no member is looked into.
    pub fn read(file: &[u8]) -> ParseResult<Archive> {
        let end = End::read(file)?;
        let mut entries = read_central(file, &end)?;
        entries.sort_by_key(|entry| entry.local);

        let mut members = Vec::with_capacity(entries.len());
        let mut by_name = HashMap::with_capacity(entries.len());
        let mut at = 0;
        let mut entries = entries.into_iter().peekable();
        while let Some(entry) = entries.next() {
            let next = entries.peek().map_or(end.directory.start, |e| e.local);
            if entry.local != at {
                let message = format!(
                    "{:?} starts at byte {}, but the member before it ends at {at}; members must not overlap or leave gaps",
                    entry.name, entry.local
                );
                return Err(ParseError::malformed(entry.local, message));
            }
            if next == at {
                let message = format!("two members start at byte {at}; members must not overlap");
                return Err(ParseError::malformed(at, message));
            }
            let member = read_local(file, entry, next).map_err(|error| match error.kind {
                ParseErrorKind::Truncated => ParseError::malformed(
                    error.offset as usize,
                    format!(
                        "{}, where the next member or the directory starts: members must not overlap",
                        error.message
                    ),
                ),
                _ => error,
            })?;
            if by_name.insert(member.name.clone(), members.len()).is_some() {
                let message = format!("{:?} is there twice", member.name);
                return Err(ParseError::malformed(at, message));
            }
            members.push(member);
            at = next;
        }
        if at != end.directory.start {
            let message = "has bytes in front of its directory that belong to no member";
            return Err(ParseError::malformed(at, message));
        }
        Ok(Archive { members, by_name })
    }

    pub fn get(&self, name: &str) -> Option<&Member> {
        self.by_name.get(name).map(|&n| &self.members[n])
    }
}

/// What stands at the end of the file.
struct End {
    entries: usize,
    directory: Range<usize>,
}

impl End {
    fn read(file: &[u8]) -> ParseResult<End> {
        let Some(at) = file.len().checked_sub(END_SIZE) else {
            return Err(ParseError::truncated(
                file.len(),
                "zip archive without its end",
            ));
        };
        let mut cursor = Cursor::new(&file[at..], at);
        if cursor.take(4, "the end record")? != END {
            return Err(match find_end(file) {
                Some(earlier) if earlier + END_SIZE <= file.len() => ParseError::malformed(
                    earlier + END_SIZE,
                    "zip archive with a comment or other bytes behind its end; save it again from torch",
                ),
                _ => ParseError::truncated(
                    file.len(),
                    "zip archive without its end: the file was cut off; copy it again",
                ),
            });
        }
        let what = "the end record";
        let disks = [cursor.u16(what)?, cursor.u16(what)?];
        let counts = [cursor.u16(what)?, cursor.u16(what)?];
        let (size, start) = (cursor.u32(what)?, cursor.u32(what)?);
        if disks != [0, 0] || counts[0] != counts[1] {
            return Err(ParseError::unsupported(at, "zip archive in several index"));
        }
        if cursor.u16(what)? != 0 {
            return Err(ParseError::malformed(
                at,
                "zip archive whose comment is cut off",
            ));
        }
        let short = (u64::from(counts[0]), u64::from(size), u64::from(start));
        let (count, size, start, tail) = match read_end_64(file, at)? {
            None => (short.0, short.1, short.2, at),
            Some((long, tail)) => {
                // A field of the short record is either the same or "see there".
                let fits = |short: u64, marker: u64, long: u64| short == marker || short == long;
                if !fits(short.0, 0xffff, long.0)
                    || !fits(short.1, 0xffff_ffff, long.1)
                    || !fits(short.2, 0xffff_ffff, long.2)
                {
                    let message = "the two end records of the zip archive contradict each other";
                    return Err(ParseError::malformed(at, message));
                }
                (long.0, long.1, long.2, tail)
            }
        };
        let entries = to_usize(count, at, "the count of members")?;
        if entries > ZIP_MEMBERS {
            let message = format!("zip archive of {entries} members (at most {ZIP_MEMBERS})");
            return Err(ParseError::too_large(at, message));
        }
        let start = to_usize(start, at, "the directory's place")?;
        let size = to_usize(size, at, "the directory's size")?;
        match start.checked_add(size) {
            Some(end) if end == tail => Ok(End {
                entries,
                directory: start..end,
            }),
            _ => Err(ParseError::malformed(
                at,
                format!(
                    "the zip directory is said to have {size} bytes from {start} on, but ends at {tail}: bytes were added to the file or cut out of it"
                ),
            )),
        }
    }
}

/// The last end record, where one is not at the end.
fn find_end(file: &[u8]) -> Option<usize> {
    let from = file.len().saturating_sub(END_SIZE + usize::from(u16::MAX));
    file[from..]
        .windows(4)
        .rposition(|window| window == END)
        .map(|at| from + at)
}

/// Count, size and start of the directory.
type Directory = (u64, u64, u64);

/// The directory as the 64-bit record says, and where that record starts;
/// `None` if there is none.
fn read_end_64(file: &[u8], end: usize) -> ParseResult<Option<(Directory, usize)>> {
    let Some(at) = end.checked_sub(LOCATOR_64_SIZE) else {
        return Ok(None);
    };
    let what = "the 64-bit end record";
    let mut cursor = Cursor::new(&file[at..end], at);
    if cursor.take(4, what)? != LOCATOR_64 {
        return Ok(None);
    }
    let disk = cursor.u32(what)?;
    let place = to_usize(cursor.u64(what)?, at, what)?;
    let disks = cursor.u32(what)?;
    if disk != 0 || disks > 1 || place.checked_add(END_64_SIZE) != Some(at) {
        let message = "the 64-bit end record of the zip archive is not where it is said to be";
        return Err(ParseError::malformed(at, message));
    }
    let mut cursor = Cursor::new(&file[place..at], place);
    if cursor.take(4, what)? != END_64 || cursor.u64(what)? != END_64_SIZE as u64 - 12 {
        let message = "the 64-bit end record of the zip archive is damaged";
        return Err(ParseError::malformed(place, message));
    }
    cursor.take(4, what)?; // versions
    let disks = [cursor.u32(what)?, cursor.u32(what)?];
    let counts = [cursor.u64(what)?, cursor.u64(what)?];
    if disks != [0, 0] || counts[0] != counts[1] {
        return Err(ParseError::unsupported(
            place,
            "zip archive in several index",
        ));
    }
    Ok(Some((
        (counts[0], cursor.u64(what)?, cursor.u64(what)?),
        place,
    )))
}

/// An entry of the central directory.
struct Entry {
    name: String,
    flags: u16,
    method: u16,
    crc: u32,
    packed: usize,
    /// Where the local header lies.
    local: usize,
}

fn read_central(file: &[u8], end: &End) -> ParseResult<Vec<Entry>> {
    let mut cursor = Cursor::new(&file[end.directory.clone()], end.directory.start);
    let mut entries = Vec::new();
    for _ in 0..end.entries {
        entries.push(read_entry(&mut cursor)?);
    }
    match cursor.left() {
        0 => Ok(entries),
        left => Err(ParseError::malformed(
            cursor.offset(),
            format!("the zip directory has {left} bytes behind its last entry"),
        )),
    }
}

fn read_entry(cursor: &mut Cursor) -> ParseResult<Entry> {
    let at = cursor.offset();
    let what = "an entry of the zip directory";
    if cursor.take(4, what)? != CENTRAL {
        return Err(ParseError::malformed(at, "the zip directory is damaged"));
    }
    cursor.take(4, what)?; // versions
    let (flags, method) = (cursor.u16(what)?, cursor.u16(what)?);
    cursor.take(4, what)?; // time
    let crc = cursor.u32(what)?;
    let (packed, size) = (cursor.u32(what)?, cursor.u32(what)?);
    let lengths = [cursor.u16(what)?, cursor.u16(what)?, cursor.u16(what)?];
    let disk = cursor.u16(what)?;
    cursor.take(6, what)?; // attributes
    let local = cursor.u32(what)?;
    let name = name(cursor.take(lengths[0].into(), what)?, at)?;
    let extra = cursor.take(lengths[1].into(), what)?;
    cursor.take(lengths[2].into(), what)?; // comment
    if flags & ENCRYPTED != 0 {
        return Err(ParseError::unsupported(
            at,
            format!("{name:?} is encrypted"),
        ));
    }
    if disk != 0 {
        return Err(ParseError::unsupported(at, "zip archive in several index"));
    }
    let [size, packed, local] = widen([size, packed, local], extra, at)?;
    if method == STORED && packed != size {
        let message = format!("{name:?} is stored, but has two sizes: {packed} and {size}");
        return Err(ParseError::malformed(at, message));
    }
    Ok(Entry {
        flags,
        method,
        crc,
        packed: to_usize(packed, at, &name)?,
        local: to_usize(local, at, &name)?,
        name,
    })
}

/// Replaces each field that says "see the extra field" by what stands there:
/// uncompressed size, compressed size, place, in this order.
fn widen<const N: usize>(fields: [u32; N], extra: &[u8], at: usize) -> ParseResult<[u64; N]> {
    let mut long = None;
    let mut cursor = Cursor::new(extra, at);
    let what = "an extra field of the zip archive";
    // Less than a header may remain: some writers pad with it.
    while cursor.left() >= 4 {
        let (kind, length) = (cursor.u16(what)?, cursor.u16(what)?);
        let field = cursor.take(length.into(), what)?;
        if kind == EXTRA_64 && long.replace(Cursor::new(field, at)).is_some() {
            return Err(ParseError::malformed(at, "two 64-bit sizes for one member"));
        }
    }
    let mut wide = [0; N];
    for (wide, short) in wide.iter_mut().zip(fields) {
        *wide = match (short, &mut long) {
            (u32::MAX, Some(long)) => long.u64("a 64-bit size")?,
            (short, _) => short.into(),
        };
    }
    Ok(wide)
}

fn name(bytes: &[u8], at: usize) -> ParseResult<String> {
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).into_owned();
    if bytes.len() > ZIP_NAME {
        let message = format!("a member's name is longer than {ZIP_NAME} bytes: {shown:?}");
        return Err(ParseError::too_large(at, message));
    }
    let name = std::str::from_utf8(bytes).map_err(|_| {
        ParseError::malformed(at, format!("a member's name is not UTF-8: {shown:?}"))
    })?;
    let strange = name.is_empty()
        || name.contains(['\\', '\0'])
        || name.starts_with('/')
        || name.split('/').any(|part| part == ".." || part == ".");
    match strange {
        true => Err(ParseError::malformed(
            at,
            format!("a member is named {shown:?}, which leads out of the archive"),
        )),
        false => Ok(name.to_owned()),
    }
}

/// Reads what stands in front of a member's bytes and, up to `next`, behind
/// them, and holds it against the directory.
fn read_local(file: &[u8], entry: Entry, next: usize) -> ParseResult<Member> {
    let at = entry.local;
    let name = &entry.name;
    let differ = |what: &str| {
        ParseError::malformed(
            at,
            format!("{name:?}: the zip directory and the member's own header differ in {what}"),
        )
    };
    let Some(bytes) = file.get(at..next) else {
        return Err(differ("its place"));
    };
    let mut cursor = Cursor::new(bytes, at);
    let what = "a member's header";
    if cursor.take(4, what)? != LOCAL {
        return Err(differ("its place"));
    }
    cursor.take(2, what)?; // version
    if cursor.u16(what)? != entry.flags {
        return Err(differ("its flags"));
    }
    if cursor.u16(what)? != entry.method {
        return Err(differ("its compression"));
    }
    cursor.take(4, what)?; // time
    let crc = cursor.u32(what)?;
    let (packed, size) = (cursor.u32(what)?, cursor.u32(what)?);
    let lengths = [cursor.u16(what)?, cursor.u16(what)?];
    if cursor.take(lengths[0].into(), what)? != name.as_bytes() {
        return Err(differ("its name"));
    }
    let extra = cursor.take(lengths[1].into(), what)?;
    let start = cursor.offset();
    cursor.take(entry.packed, name)?;

    // With a descriptor the header may leave its own fields zero.
    let described = entry.flags & HAS_DESCRIPTOR != 0;
    let [size, packed] = widen([size, packed], extra, at)?;
    let unset = described && (crc, packed, size) == (0, 0, 0);
    if !unset && (crc != entry.crc || packed != entry.packed as u64) {
        return Err(differ("size or checksum"));
    }
    if entry.method == STORED && !unset && size != packed {
        return Err(differ("size"));
    }
    let data = start..start + entry.packed;
    if described {
        read_descriptor(&mut cursor, &entry).ok_or_else(|| differ("size or checksum"))?;
    }
    match cursor.left() {
        0 => Ok(Member {
            data,
            crc: entry.crc,
            stored: entry.method == STORED,
            name: entry.name,
        }),
        left => Err(ParseError::malformed(
            cursor.offset(),
            format!("{left} bytes behind {name:?} belong to no member"),
        )),
    }
}

/// Checksum and sizes behind a member's bytes, in 32 or 64 bits, with or without
/// a signature. `None` if they do not agree with the directory.
fn read_descriptor(cursor: &mut Cursor, entry: &Entry) -> Option<()> {
    let wide = cursor.left() >= 20;
    let what = "a member's descriptor";
    if matches!(cursor.left(), 16 | 24) && cursor.take(4, what).ok()? != DESCRIPTOR {
        return None;
    }
    let crc = cursor.u32(what).ok()?;
    let mut size = || match wide {
        true => cursor.u64(what).ok(),
        false => cursor.u32(what).ok().map(u64::from),
    };
    let (packed, size) = (size()?, size()?);
    let agree = crc == entry.crc
        && packed == entry.packed as u64
        && (entry.method != STORED || size == packed);
    agree.then_some(())
}
