//! How much of anything is read: the one place. A file beyond them is refused
//! with [`ParseErrorKind::TooLarge`](crate::ParseErrorKind::TooLarge) before memory is
//! taken for it; none of them is near what real checkpoints hold.

/// Operations of one pickle.
pub const PICKLE_OPERATIONS: usize = 10_000_000;
/// Values of one pickle.
pub const PICKLE_NODES: usize = 4_000_000;
/// Entries of one pickle's memo: a vocabulary takes one for each word.
pub const PICKLE_MEMO: usize = 4_000_000;
/// The longest string or number in a pickle, in bytes.
pub const PICKLE_STRING: usize = 1 << 20;
/// The longest pickle, in bytes.
pub const PICKLE_BYTES: usize = 64 << 20;
/// The memory that a file's pickles take with all that is made of them, on top
/// of the file's own size, in bytes.
pub const PICKLE_HEAP: usize = 56 << 20;
/// The memory that a value takes as JSON, in bytes.
pub const JSON_HEAP: usize = 60 << 20;
/// How deep values are nested.
pub const DEPTH: usize = 512;
/// Visits when a pickle's values are walked; shared ones count each time.
pub const VISITS: usize = 2_000_000;
/// The longest name or path of a tensor or value, in bytes.
pub const NAME: usize = 1 << 16;
/// The longest key or device of a storage, in bytes.
pub const STORAGE_KEY: usize = 256;
/// The sum of all names and paths, in bytes.
pub const NAME_BYTES: usize = 16 << 20;
/// Tensors of one file.
pub const TENSORS: usize = 100_000;
/// Dimensions of a tensor.
pub const RANK: usize = 16;
/// Members of a zip archive.
pub const ZIP_MEMBERS: usize = 200_000;
/// The longest name in a zip archive, in bytes.
pub const ZIP_NAME: usize = 4096;
/// The longest header of a safetensors file, in bytes.
pub const SAFETENSORS_HEADER: u64 = 100_000_000;
/// Entries of a safetensors file's metadata.
pub const SAFETENSORS_METADATA: usize = 10_000;
/// Files of a sharded checkpoint.
pub const SHARDS: usize = 1000;
/// What a view that repeats elements (a stride of 0) may grow to in memory, on
/// top of its storage, in bytes.
pub const EXPANSION: usize = 16 << 20;
