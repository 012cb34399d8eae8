//! What `torch.save` has written since 1.6, and TorchScript: a zip archive whose
//! members stand in one folder.
//!
//! | member | content |
//! |---|---|
//! | `data.pkl` | the pickle, storages by number |
//! | `data/N` | the bytes of storage `N` |
//! | `version`, `byteorder`, `.format_version`, `.storage_alignment`, `.data/...` | as named |
//! | `constants.pkl`, `constants/N`, `code/...` | TorchScript only |

use crate::contents::{Found, declared_storages, walk};
use crate::index::{CheckpointIndex, Hint};
use crate::parse_error::{ParseError, ParseResult};
use crate::pickle;
use crate::tensor::StorageInfo;
use crate::zip::{Archive, Member};

/// The folder that all members stand in, if this is an archive of torch's.
pub(crate) fn root(archive: &Archive) -> ParseResult<String> {
    let mut pickles = archive
        .members
        .iter()
        .filter_map(|member| member.name.strip_suffix("data.pkl"))
        .filter(|folder| {
            folder.is_empty() || folder.matches('/').count() == 1 && folder.ends_with('/')
        });
    let Some(root) = pickles.next() else {
        let old = archive
            .members
            .iter()
            .any(|m| m.name.ends_with("model.json"));
        return Err(match old {
            true => ParseError::unsupported(
                0,
                "TorchScript of torch 1.0 to 1.2, which keeps its weights in another way; load and save it with torch 1.3 or newer",
            ),
            false => ParseError::missing(
                0,
                "a zip archive, but none of torch's: it has no data.pkl and no .npy",
            ),
        });
    };
    if let Some(other) = pickles.next() {
        let message = format!("has two pickles: {root}data.pkl and {other}data.pkl");
        return Err(ParseError::malformed(0, message));
    }
    match archive.members.iter().find(|m| !m.name.starts_with(root)) {
        None => Ok(root.to_owned()),
        Some(stranger) => Err(ParseError::malformed(
            stranger.data.start,
            format!("{:?} stands outside of the folder {root:?}", stranger.name),
        )),
    }
}

/// Reads pickles and storages; `source` is the number of the file.
pub(crate) fn read(
    file: &[u8],
    archive: &Archive,
    source: usize,
    index: &mut CheckpointIndex,
) -> ParseResult<()> {
    let root = root(archive)?;
    let member = |name: &str| archive.get(&format!("{root}{name}"));
    let script = member("constants.pkl").is_some();
    index.container = match script {
        true => "TorchScript archive",
        false => "torch.save zip archive",
    };
    index
        .hints
        .push(Hint::new("root", root.trim_end_matches('/')));
    read_records(file, archive, &root, index)?;
    for (pickle, folder) in [("data.pkl", "data"), ("constants.pkl", "constants")] {
        if let Some(member) = member(pickle) {
            let found = read_pickle(file, archive, &root, folder, member, source, index)?;
            index.add(found);
        }
    }
    Ok(())
}

/// The small members, which say how the rest was written.
fn read_records(
    file: &[u8],
    archive: &Archive,
    root: &str,
    index: &mut CheckpointIndex,
) -> ParseResult<()> {
    const LONGEST: usize = 100;
    let mut newest = "1.6";
    let records = [
        ("version", None),
        ("byteorder", Some("2.1")),
        (".data/serialization_id", Some("2.1")),
        (".format_version", Some("2.7")),
        (".storage_alignment", Some("2.7")),
    ];
    for (name, since) in records {
        let Some(member) = archive.get(&format!("{root}{name}")) else {
            continue;
        };
        let bytes = member.checked_bytes(file)?;
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(LONGEST)]);
        let shown = shown.trim();
        if name == "byteorder" && shown != "little" {
            let message = format!(
                "was saved with {shown:?} byte order; this reader takes little-endian: load and save it on an ordinary machine"
            );
            return Err(ParseError::unsupported(member.data.start, message));
        }
        newest = since.unwrap_or(newest);
        index
            .hints
            .push(Hint::new(name.trim_start_matches('.'), shown));
    }
    index
        .hints
        .push(Hint::new("written by", &format!("torch {newest} or newer")));
    let code = archive
        .members
        .iter()
        .filter(|m| m.name[root.len()..].starts_with("code/"));
    match code.count() {
        0 => {}
        count => index
            .hints
            .push(Hint::new("code", &format!("{count} files, not read"))),
    }
    Ok(())
}

fn read_pickle(
    file: &[u8],
    archive: &Archive,
    root: &str,
    folder: &str,
    member: &Member,
    source: usize,
    index: &mut CheckpointIndex,
) -> ParseResult<Found> {
    let base = member.data.start;
    let bytes = member.checked_bytes(file)?;
    let pickle = pickle::read_whole(bytes, base, &mut index.budget)?;
    let tree = pickle::Tree {
        arena: &pickle.arena,
        pickle: bytes,
    };
    let first = index.storages.len();
    for declared in declared_storages(tree, base, &mut index.budget)? {
        let name = format!("{root}{folder}/{}", declared.key);
        let Some(record) = archive.get(&name) else {
            let message = format!("storage {:?} is missing: no member {name:?}", declared.key);
            return Err(ParseError::missing(base, message));
        };
        let length = record.bytes(file)?.len();
        if length != declared.bytes {
            return Err(ParseError::malformed(
                record.data.start,
                format!(
                    "{name:?} has {length} bytes, but its storage {}",
                    declared.bytes
                ),
            ));
        }
        index.storages.push(StorageInfo {
            key: declared.key,
            device: declared.device,
            bytes: length,
            source,
            start: record.data.start,
            crc: Some(record.crc).filter(|&crc| crc != 0),
        });
    }
    // Constants stand apart, and may be called as parameters are.
    let prefix = if folder == "data" { "" } else { folder };
    let found = walk(
        tree,
        pickle.root,
        base,
        prefix,
        (first, &index.storages[first..]),
        &mut index.budget,
    )?;
    index.keep(pickle, source, base..base + bytes.len());
    Ok(found)
}
