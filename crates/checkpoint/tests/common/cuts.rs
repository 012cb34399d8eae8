//! Files that end early.

use cellway_checkpoint::{Checkpoint, Error};

/// Checks that no cut of a file is accepted, and that none panics.
pub fn cut_everywhere(name: &str, file: &[u8]) {
    let open = |file: &[u8]| Checkpoint::from_bytes(file.to_vec(), "cut.pt");
    assert!(open(file).is_ok(), "{name}");
    for end in 0..file.len() {
        match open(&file[..end]) {
            Err(Error::Parse { error, .. }) => {
                assert!(error.offset <= end as u64, "{name} cut at {end}: {error}");
            }
            Err(other) => panic!("{name} cut at {end}: {other:?}"),
            Ok(_) => panic!("{name} cut at {end}: was accepted"),
        }
    }
}
