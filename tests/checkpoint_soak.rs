//! Checkpoints that were changed at random, and the largest that can be made of
//! little: whatever a file holds, reading it neither panics nor takes a second
//! nor more memory than its own size and 64 MiB.
//!
//! `CELLWAY_SOAK=1000000 cargo test --release --test checkpoint_soak --
//! --nocapture` runs so many changed files of each kind; `3405..3406` one of
//! them again. A file that fails is kept in the temporary folder of the target.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use cellway::checkpoint::{Checkpoint, limits};
use cellway::error::{Error, Result};

use common::bytes::*;
use common::reading::read_all;

/// Counts the bytes that live, and their peak.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn grown(bytes: usize) {
    let live = LIVE.fetch_add(bytes, Relaxed) + bytes;
    PEAK.fetch_max(live, Relaxed);
}

// SAFETY: everything is handed to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // A large block is moved without a copy: it is never there twice.
        if size > layout.size() {
            grown(size - layout.size());
        } else {
            LIVE.fetch_sub(layout.size() - size, Relaxed);
        }
        unsafe { System.realloc(place, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The tests of this file run one after another: they share the counters.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// On top of the file's size.
const MEMORY: usize = 64 << 20;
/// The longest that anything may take. Unoptimised code is no measure.
const TIME: Duration = Duration::from_secs(if cfg!(debug_assertions) { 10 } else { 1 });

/// Runs something, and gives how far the heap grew and how long it took.
fn measured<T>(run: impl FnOnce() -> T) -> (T, usize, Duration) {
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    let start = Instant::now();
    let done = run();
    let time = start.elapsed();
    (done, PEAK.load(Relaxed).saturating_sub(before), time)
}

/// Whatever fails has to fail in these ways, and to say why.
fn check(error: &Error, opening: bool) {
    let kind = match error {
        Error::Checkpoint { fault, .. } => !fault.message.is_empty(),
        Error::File { .. } | Error::Tensor { .. } => !opening && !error.to_string().is_empty(),
        _ => false,
    };
    assert!(kind, "{error:?}");
}

/// What became of the files of one kind.
#[derive(Default)]
struct Tally {
    opened: usize,
    refused: usize,
    memory: usize,
    time: Duration,
}

/// Keeps a file if reading it panics.
struct Keep<'a>(&'a str, u64, &'a [u8]);

impl Drop for Keep<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Keep(kind, number, file) = self;
            let path = format!("{}/soak-{kind}-{number}", env!("CARGO_TARGET_TMPDIR"));
            let _ = std::fs::write(&path, file);
            eprintln!("{kind} {number} failed; the file is {path}");
        }
    }
}

impl Tally {
    fn read(&mut self, kind: &str, number: u64, file: &[u8]) {
        let _keep = Keep(kind, number, file);
        let mut fastest = Duration::MAX;
        // Again where it was slow: others may have had the processor.
        for _ in 0..3 {
            let copy = file.to_vec();
            let (opened, memory, time) = measured(|| read(copy));
            assert!(memory <= file.len() + MEMORY, "took {memory} bytes");
            self.memory = self.memory.max(memory);
            fastest = fastest.min(time);
            if fastest < TIME {
                self.opened += usize::from(opened);
                self.refused += usize::from(!opened);
                self.time = self.time.max(fastest);
                return;
            }
        }
        panic!("took {fastest:?}");
    }
}

/// Opens a file and reads all that is in it, if it can be opened.
fn read(file: Vec<u8>) -> bool {
    match Checkpoint::from_bytes(file, "soak") {
        Ok(checkpoint) => {
            for error in read_all(&checkpoint) {
                check(&error, false);
            }
            true
        }
        Err(error) => {
            check(&error, true);
            false
        }
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn new(kind: &str, number: u64) -> Random {
        let seed = kind.bytes().fold(number, |seed, byte| {
            (seed ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `end`, which is not 0.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// A part of so many bytes, mostly short.
    fn range(&mut self, length: usize) -> Range<usize> {
        let start = self.below(length + 1);
        let most = match self.below(4) {
            0 => length,
            _ => 16,
        };
        start..(start + self.below(most + 1)).min(length)
    }
}

const OPERATIONS: &[u8] =
    b"\x80\x81\x82\x85\x86\x87\x88\x89\x8a\x8b\x8c\x8d\x8e\x8f\x90\x91\x92\x93\x94\x95\x96()]}.012BCFGIJKLMNPQRSTUVXabcdeghijlopqrstu";

/// Changes some bytes; `others` are what parts are taken from.
fn change(random: &mut Random, bytes: &mut Vec<u8>, others: &[Vec<u8>]) {
    let times = 1 + random.below(4) * random.below(2);
    for _ in 0..times {
        if bytes.is_empty() {
            return;
        }
        let at = random.below(bytes.len());
        match random.below(10) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next() as u8,
            2 => bytes[at] = *random.pick(&[0, 1, 0x7f, 0x80, 0xff]),
            3 => bytes[at] = *random.pick(OPERATIONS),
            4 => {
                // A length, most likely.
                let near = random.below(40) as u64;
                let value = *random.pick(&[
                    0,
                    near,
                    u64::MAX - near,
                    u64::MAX >> 1,
                    1 << 32,
                    0x7fff_ffff,
                    0xffff_ffff,
                    bytes.len() as u64 + near,
                ]);
                let width = *random.pick(&[1, 2, 4, 8]);
                let end = (at + width).min(bytes.len());
                bytes[at..end].copy_from_slice(&value.to_le_bytes()[..end - at]);
            }
            5 => bytes.truncate(at),
            6 => {
                let range = random.range(bytes.len());
                let part = bytes[range].to_vec();
                bytes.splice(at..at, part);
            }
            7 => {
                let range = random.range(bytes.len());
                bytes.drain(range);
            }
            8 => {
                let other = random.pick(others);
                let part = other[random.range(other.len())].to_vec();
                bytes.splice(at..at, part);
            }
            _ => {
                let other = random.pick(others);
                let part = other[random.range(other.len())].to_vec();
                let end = (at + part.len()).min(bytes.len());
                bytes.splice(at..end, part);
            }
        }
        bytes.truncate(1 << 16);
    }
}

/// A pickle of random operations, which mostly fit behind one another.
fn random_pickle(random: &mut Random) -> Vec<u8> {
    let mut bytes = b"\x80\x02".to_vec();
    // For each value on the stack whether it is a list (l), dict (d) or other;
    // a mark is (.
    let mut stack: Vec<u8> = Vec::new();
    let mut memo: Vec<u8> = Vec::new();
    for _ in 0..random.below(80) {
        let depth = stack.iter().rev().take_while(|&&kind| kind != b'(').count();
        let top = if depth > 0 {
            stack[stack.len() - 1]
        } else {
            b'?'
        };
        match random.below(24) {
            0 => {
                let value = match random.below(3) {
                    0 => random.next() as i64,
                    _ => random.below(300) as i64,
                };
                bytes.extend(int(value));
                stack.push(b'v');
            }
            1 => {
                let word = random.pick(&[
                    "x",
                    "weight_ih_l0",
                    "weight_hh_l0",
                    "storage",
                    "_modules",
                    "_parameters",
                    "ä",
                    "",
                ]);
                bytes.extend(text(word));
                stack.push(b'v');
            }
            2 => {
                bytes.extend(*random.pick(&[
                    &b"N"[..],
                    b"\x88",
                    b"\x89",
                    b"C\x02ab",
                    b"G\x3f\xf0\0\0\0\0\0\0",
                    b"\x8a\x09123456789",
                    b"L123456789012345678901L\n",
                    b"Va\\u00e4\n",
                    b"S'x\\n'\n",
                    b"I01\n",
                ]));
                stack.push(b'v');
            }
            3 | 4 => {
                let (operation, kind) =
                    *random.pick(&[(b']', b'l'), (b'}', b'd'), (b')', b'v'), (0x8f, b'l')]);
                bytes.push(operation);
                stack.push(kind);
            }
            5 | 6 => {
                let key = random.pick(&["0", "1"]);
                let count = if *key == "0" { 16 } else { 4 };
                let (rows, columns) = (random.below(5) as i64, random.below(4) as i64);
                let class = random.pick(&[
                    "FloatStorage",
                    "FloatStorage",
                    "LongStorage",
                    "QInt8Storage",
                ]);
                let stride = [columns, 1];
                let storage = storage(class, key, count);
                bytes.extend(tensor(
                    &storage,
                    random.below(3) as i64,
                    &[rows, columns],
                    &stride,
                ));
                stack.push(b'v');
            }
            7 if depth > 0 => {
                bytes.push(0x94);
                memo.push(top);
            }
            8 | 9 if !memo.is_empty() => {
                let n = random.below(memo.len());
                bytes.extend([b'h', n as u8]);
                stack.push(memo[n]);
            }
            10 | 11 => {
                bytes.push(b'(');
                stack.push(b'(');
            }
            12 | 13 if stack.contains(&b'(') => {
                let at = stack.len() - depth - 1;
                let container = at.checked_sub(1).map(|at| stack[at]);
                stack.truncate(at);
                match (container, random.below(2)) {
                    (Some(b'l'), 0) => bytes.push(b'e'),
                    (Some(b'd'), 0) if depth % 2 == 0 => bytes.push(b'u'),
                    (_, 1) if depth % 2 == 0 => {
                        bytes.push(b'd');
                        stack.push(b'd');
                    }
                    (_, choice) => {
                        bytes.push([b't', b'l'][choice]);
                        stack.push([b'v', b'l'][choice]);
                    }
                }
            }
            14 | 15 if depth > 1 && stack[stack.len() - 2] == b'l' => {
                bytes.push(b'a');
                stack.pop();
            }
            16 | 17 if depth > 2 && stack[stack.len() - 3] == b'd' => {
                bytes.push(b's');
                stack.truncate(stack.len() - 2);
            }
            18 if depth > 0 => {
                let count = 1 + random.below(depth.min(3));
                bytes.push(0x84 + count as u8);
                stack.truncate(stack.len() - count);
                stack.push(b'v');
            }
            19 => {
                let (module, name) = *random.pick(&[
                    ("collections", "OrderedDict"),
                    ("torch._utils", "_rebuild_parameter"),
                    ("torch._tensor", "_rebuild_from_type_v2"),
                    ("torch.nn.modules.rnn", "LSTM"),
                    ("builtins", "set"),
                    ("os", "system"),
                    ("torch.jit._pickle", "build_intlist"),
                ]);
                bytes.extend(global(module, name));
                stack.push(b'v');
            }
            20 if depth > 1 => {
                bytes.push(*random.pick(b"R\x81"));
                stack.pop();
            }
            21 if depth > 1 => {
                bytes.push(b'b');
                stack.pop();
            }
            22 if depth > 0 => {
                bytes.push(*random.pick(b"02Q"));
                match bytes.last() {
                    Some(b'0') => drop(stack.pop()),
                    Some(b'2') => stack.push(top),
                    _ => {}
                }
            }
            23 if random.below(20) == 0 => bytes.push(*random.pick(OPERATIONS)),
            _ => {}
        }
    }
    // Whatever is left becomes one value.
    while let Some(mark) = stack.iter().rposition(|&kind| kind == b'(') {
        bytes.push(b't');
        stack.truncate(mark);
        stack.push(b'v');
    }
    match stack.len() {
        0 => bytes.push(b'N'),
        count => bytes.extend(b"\x86".repeat(count - 1)),
    }
    bytes.push(b'.');
    bytes
}

/// Files to start from: whole, and the members of the archives.
struct Seeds {
    files: Vec<Vec<u8>>,
    members: Vec<Vec<(String, Vec<u8>)>>,
}

impl Seeds {
    /// `folder/NAME` and, unpacked, `folder/NAME.members/...`.
    fn load(folder: &Path) -> Seeds {
        let mut seeds = Seeds {
            files: Vec::new(),
            members: Vec::new(),
        };
        let mut paths: Vec<_> = std::fs::read_dir(folder)
            .expect("the seeds")
            .map(|entry| entry.expect("a seed").path())
            .collect();
        paths.sort();
        for path in paths {
            if path.is_file() {
                seeds.files.push(std::fs::read(path).expect("a seed"));
                continue;
            }
            let mut members = Vec::new();
            for entry in std::fs::read_dir(path).expect("members") {
                let path = entry.expect("a member").path();
                let name = path.file_name().expect("its name").to_string_lossy();
                let bytes = std::fs::read(&path).expect("a member");
                members.push((name.replace('+', "/"), bytes));
            }
            members.sort();
            seeds.members.push(members);
        }
        assert!(!seeds.files.is_empty(), "{}", folder.display());
        seeds
    }

    /// A file with bytes changed, or with bytes changed in one member of a
    /// sound archive.
    fn changed(&self, random: &mut Random, wanted: &[&str]) -> Vec<u8> {
        if self.members.is_empty() || random.below(3) == 0 {
            let mut file = random.pick(&self.files).clone();
            change(random, &mut file, &self.files);
            return file;
        }
        let members = random.pick(&self.members);
        let matches = |name: &str| wanted.iter().any(|end| name.ends_with(end));
        let others: Vec<Vec<u8>> = self
            .members
            .iter()
            .flatten()
            .filter(|(name, _)| matches(name))
            .map(|(_, bytes)| bytes.clone())
            .collect();
        let targets: Vec<&String> = members
            .iter()
            .map(|(name, _)| name)
            .filter(|name| matches(name))
            .collect();
        let target = *random.pick(&targets);
        let members: Vec<Member> = members
            .iter()
            .map(|(name, bytes)| {
                let mut bytes = bytes.clone();
                if name == target {
                    change(random, &mut bytes, &others);
                }
                Member::new(name, bytes)
            })
            .collect();
        zip(&members)
    }
}

/// Which files are made of each kind.
fn cases() -> Range<u64> {
    let Ok(text) = std::env::var("CELLWAY_SOAK") else {
        return 0..3000;
    };
    let number = |text: &str| text.parse().expect("CELLWAY_SOAK is N or FIRST..END");
    match text.split_once("..") {
        Some((first, end)) => number(first)..number(end),
        None => 0..number(&text),
    }
}

fn soak(kind: &str, mut file: impl FnMut(&mut Random) -> Vec<u8>) {
    let start = Instant::now();
    let mut tally = Tally::default();
    for number in cases() {
        let file = file(&mut Random::new(kind, number));
        tally.read(kind, number, &file);
    }
    let Tally {
        opened,
        refused,
        memory,
        time,
    } = tally;
    println!(
        "{kind}: {opened} opened, {refused} refused; at most {memory} bytes and {time:?}; {:?} in all",
        start.elapsed()
    );
    if cases().count() >= 1000 {
        // Changes that nothing or everything survives would test little.
        assert!(opened > 0 && refused > 0, "{kind}");
    }
}

const SEEDS: &str = "
import io, os, sys, warnings, zipfile
import numpy, torch
warnings.simplefilter('ignore')
torch.manual_seed(1)
folder = sys.argv[1]
lstm = torch.nn.LSTM(1, 1, num_layers=2, bidirectional=True)
base = torch.arange(16.0)
values = {
    'views': {'a': base[2:6], 'b': base.view(4, 4).t(), 'c': torch.ones(1).expand(9)},
    'module': lstm,
    'training': {
        'model': torch.nn.LSTM(1, 2).state_dict(), 'epoch': 3, 'big': 1 << 70,
        'vocabulary': {'<pad>': 0, 'good': 1}, 'set': {1, 2}, 'tuple': (None, True, b'x'),
        'optimizer': torch.optim.Adam(lstm.parameters()).state_dict(),
    },
    'odd': {
        'sparse': torch.eye(2).to_sparse(), 'conj': torch.ones(2, dtype=torch.complex64).conj(),
        'quantized': torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
        'half': torch.ones(2, dtype=torch.bfloat16), 'wide': torch.ones(2, dtype=torch.uint16),
        'parameter': torch.nn.Parameter(torch.ones(2)),
    },
}

def write(kind, name, content):
    os.makedirs(f'{folder}/{kind}', exist_ok=True)
    with open(f'{folder}/{kind}/{name}', 'wb') as file:
        file.write(content)
    if kind in ('legacy',):
        return
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        os.makedirs(f'{folder}/{kind}/{name}.members')
        for member in archive.namelist():
            with open(f'{folder}/{kind}/{name}.members/' + member.replace('/', '+'), 'wb') as file:
                file.write(archive.read(member))

def bytes_of(save):
    buffer = io.BytesIO()
    save(buffer)
    return buffer.getvalue()

for name, value in values.items():
    write('zip', name, bytes_of(lambda f: torch.save(value, f)))
    write('legacy', name, bytes_of(lambda f: torch.save(value, f, _use_new_zipfile_serialization=False)))
for module in (torch.nn.LSTM(1, 1), torch.nn.Sequential(torch.nn.Embedding(3, 1), torch.nn.Linear(1, 1))):
    write('script', type(module).__name__, bytes_of(lambda f: torch.jit.save(torch.jit.script(module), f)))
weights = [numpy.ones((1, 4), 'f4'), numpy.ones((1, 4), 'f4'), numpy.ones(4, 'f4')]
write('npz', 'lstm', bytes_of(lambda f: numpy.savez(f, *weights)))
odd = dict(a=numpy.asfortranarray(numpy.ones((2, 3))), b=numpy.ones(2, '>i4'), c=numpy.array({}, object), d=numpy.ones((), '?'))
write('npz', 'odd', bytes_of(lambda f: numpy.savez(f, **odd)))
";

#[test]
fn files_changed_at_random() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    common::run(common::python().args(["-c", SEEDS]).arg(folder.path()));
    let load = |kind: &str| Seeds::load(&folder.path().join(kind));
    let seeds = load("zip");
    soak("zip", |random| seeds.changed(random, &["data.pkl"]));
    let seeds = load("script");
    let pickles = ["data.pkl", "constants.pkl"];
    soak("script", |random| seeds.changed(random, &pickles));
    let seeds = load("npz");
    soak("npz", |random| seeds.changed(random, &[".npy"]));
    let seeds = load("legacy");
    soak("legacy", |random| seeds.changed(random, &[]));
}

#[test]
fn safetensors_changed_at_random() {
    let _alone = alone();
    let headers = [
        r#"{"a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},"b":{"dtype":"BOOL","shape":[],"data_offsets":[8,9]}}"#,
        r#"{"__metadata__":{"format":"pt"},"weight_ih_l0":{"dtype":"F32","shape":[4,1],"data_offsets":[0,16]},"weight_hh_l0":{"dtype":"F32","shape":[4,1],"data_offsets":[16,32]}}"#,
        r#"{"x":{"dtype":"F4","shape":[2],"data_offsets":[0,1]},"y":{"dtype":"U64","shape":[0,18],"data_offsets":[1,1]}}"#,
    ];
    let seeds: Vec<(Vec<u8>, usize)> = headers
        .iter()
        .zip([9, 32, 1])
        .map(|(header, data)| (header.as_bytes().to_vec(), data))
        .collect();
    let others: Vec<Vec<u8>> = seeds.iter().map(|(header, _)| header.clone()).collect();
    soak("safetensors", |random| {
        let (mut header, data) = random.pick(&seeds).clone();
        let whole = random.below(3) == 0;
        if !whole {
            change(random, &mut header, &others);
        }
        let length = (header.len() as u64).to_le_bytes();
        let mut file = [&length[..], &header, &vec![7; data]].concat();
        if whole {
            change(random, &mut file, &others);
        }
        file
    });
}

#[test]
fn pickles_of_random_operations() {
    let _alone = alone();
    soak("pickle", |random| {
        let pickle = random_pickle(random);
        torch_zip(&pickle, &[("0", &[1; 64]), ("1", &[2; 16])])
    });
}

// The largest that can be made of little

/// Reads such a file. Its values and tensors are each measured by themselves:
/// what a caller asks for one by one need not be kept at once.
fn extreme(name: &str, file: Vec<u8>) -> Result<Checkpoint> {
    let allowed = file.len() + MEMORY;
    let mut most = 0;
    let mut longest = Duration::ZERO;
    // Others may have had the processor: the faster of some runs counts.
    let mut fits = |what: &str, memory: usize, time: Duration, last: bool| {
        assert!(
            memory <= allowed,
            "{name}: {what} took {memory} bytes of {allowed}"
        );
        assert!(!last || time < TIME, "{name}: {what} took {time:?}");
        most = most.max(memory);
        if time < TIME {
            longest = longest.max(time);
        }
        time < TIME
    };
    let mut opened = None;
    for run in 0..3 {
        drop(opened.take());
        let copy = file.clone();
        let (result, memory, time) = measured(|| {
            let opened = Checkpoint::from_bytes(copy, "extreme");
            let listed = opened
                .as_ref()
                .ok()
                .map(|checkpoint| (checkpoint.values(), checkpoint.recurrent()));
            drop(listed);
            opened
        });
        opened = Some(result);
        if fits("opening", memory, time, run == 2) {
            break;
        }
    }
    let opened = opened.expect("a run");
    match &opened {
        Err(error) => check(error, true),
        Ok(checkpoint) => {
            for value in checkpoint.values().iter().take(3) {
                for run in 0..3 {
                    let (json, memory, time) = measured(|| checkpoint.json(&value.name));
                    if let Err(error) = json {
                        check(&error, false);
                    }
                    if fits("json", memory, time, run == 2) {
                        break;
                    }
                }
            }
            for tensor in checkpoint.tensors().iter().take(3) {
                let (bytes, memory, _) = measured(|| checkpoint.bytes(&tensor.name));
                if let Err(error) = bytes {
                    check(&error, false);
                }
                fits("a tensor", memory, Duration::ZERO, true);
            }
        }
    }
    let what = match &opened {
        Ok(checkpoint) => format!("{} tensors", checkpoint.tensors().len()),
        Err(error) => error.to_string().chars().take(100).collect(),
    };
    println!(
        "{name}: {} bytes, {most} taken, {longest:?}; {what}",
        file.len()
    );
    opened
}

/// A zip archive with this pickle and a storage of four floats.
fn pickled(value: &[u8]) -> Vec<u8> {
    torch_zip(&pickle(value), &[("0", &[0; 16])])
}

fn float_tensor() -> Vec<u8> {
    tensor(&storage("FloatStorage", "0", 4), 0, &[4], &[1])
}

/// A list of so many times the same value.
fn many_times(value: &[u8], count: usize) -> Vec<u8> {
    // Kept in the memo, dropped, and got again and again.
    let head = [value, b"q\x000](".as_slice()].concat();
    [head, b"h\x00".repeat(count), b"e".to_vec()].concat()
}

/// A module of this class with this state.
fn module(state: &[u8]) -> Vec<u8> {
    let class = global("torch.nn.modules.rnn", "LSTM");
    [&class[..], b")\x81", state, b"b"].concat()
}

#[test]
fn pickles_of_millions_of_values() {
    let _alone = alone();
    let nested = [b"N".to_vec(), b"\x85".repeat(2_000_000)].concat();
    extreme("nested tuples", pickled(&nested)).unwrap_err();
    for operation in [b"]", b")", b"}", b"\x8f", b"(", b"N"] {
        let shown = operation.escape_ascii();
        for (suffix, more) in [("", &b""[..]), (" kept", b"\x94"), (" named", b"q\x00")] {
            let each = [&operation[..], more].concat();
            let name = format!("4M of {shown}{suffix}");
            extreme(&name, pickled(&each.repeat(4_000_000))).unwrap_err();
        }
        // As many as there may be, and a list of them.
        let name = format!("a list of {shown}");
        let list = [b"](", &operation.repeat(1_000_000)[..], b"e"].concat();
        let _ = extreme(&name, pickled(&dict(&[("v", &list)])));
    }
    let one = many_times(b"]", 2_000_000);
    let _ = extreme("a list two million times", pickled(&dict(&[("v", &one)])));
    let lists = [b"](".to_vec(), b"]Na".repeat(400_000), b"e".to_vec()].concat();
    let _ = extreme("lists of one", pickled(&dict(&[("v", &lists)])));
    let dicts = [b"](".to_vec(), b"}NNs".repeat(300_000), b"e".to_vec()].concat();
    let _ = extreme("dicts of one", pickled(&dict(&[("v", &dicts)])));
    let bytes = [b"B", &(1u32 << 20).to_le_bytes()[..], &vec![7; 1 << 20]].concat();
    let _ = extreme("bytes", pickled(&dict(&[("v", &bytes)])));
    let long = many_times(&text(&"x".repeat(1 << 20)), 500);
    let _ = extreme("a long text 500 times", pickled(&dict(&[("v", &long)])));
    let objects = [
        &global("os", "system")[..],
        b"q\x000](",
        &b"h\x00)R".repeat(500_000),
        b"e",
    ]
    .concat();
    let _ = extreme("objects", pickled(&dict(&[("v", &objects)])));
    // Five pickles behind one another share what there is.
    let junk = [b"(".to_vec(), b")".repeat(1_000_000), b"1".to_vec()].concat();
    let with_junk = |pickle: &[u8]| [&pickle[..2], &junk, &pickle[2..]].concat();
    let start = legacy_start(true);
    let parts = [
        with_junk(&start[..15]),
        with_junk(&start[15..21]),
        with_junk(&start[21..]),
        with_junk(&pickle(b"}")),
        with_junk(&pickle(b"]")),
    ];
    extreme("five large pickles", parts.concat()).unwrap_err();
}

#[test]
fn one_value_a_hundred_thousand_times() {
    let _alone = alone();
    let count = limits::TENSORS - 1;
    let one = float_tensor();
    let _ = extreme("a tensor", pickled(&many_times(&one, count)));
    let wide = tensor(&storage("FloatStorage", "0", 4), 0, &[1; 16], &[0; 16]);
    let _ = extreme("a tensor of rank 16", pickled(&many_times(&wide, count)));
    // Values beside a tensor have a name and a summary each.
    let beside = |value: &[u8]| pickled(&[&many_times(value, count)[..], &one, b"a"].concat());
    let odd = text(&"\u{10fffe}".repeat(100_000));
    let four = [&b"]("[..], &odd, b"222e"].concat();
    let _ = extreme("four long texts", beside(&four));
    let state = |entries: usize| {
        let mut entries: Vec<(String, Vec<u8>)> = (0..entries)
            .map(|n| (format!("{n}"), int(n as i64)))
            .collect();
        entries.push(("weight".to_owned(), one.clone()));
        let entries: Vec<(&str, &[u8])> = entries
            .iter()
            .map(|(key, value)| (key.as_str(), &value[..]))
            .collect();
        dict(&entries)
    };
    for entries in [3, 100, 50_000] {
        let name = format!("a module with {entries} attributes");
        let _ = extreme(&name, pickled(&many_times(&module(&state(entries)), count)));
    }
    // All attributes under the same long name.
    let name = text(&"k".repeat(60_000));
    let mut entries = [&b"}("[..], &name, b"q\x01N"].concat();
    entries.extend(b"h\x01N".repeat(100_000));
    entries.extend([text("w"), one.clone(), b"u".to_vec()].concat());
    let _ = extreme("one name for all", pickled(&module(&entries)));
    // Names that are long by being nested.
    let mut nested = one.clone();
    for _ in 0..300 {
        nested = dict(&[(&"\u{1}".repeat(1000), &nested)]);
    }
    let _ = extreme("long paths", pickled(&nested));
    // One set of metadata, looked through for each tensor.
    let metadata = [b"}(".to_vec(), b"NN".repeat(200_000), b"u".to_vec()].concat();
    let with_metadata = [&one[..one.len() - 2], &[&metadata[..], b"tR"].concat()].concat();
    let _ = extreme("metadata", pickled(&many_times(&with_metadata, count)));
    // A deep list, and at its end many tensors.
    let mut deep = many_times(&one, 90_000);
    deep.extend(b"\x85".repeat(500));
    let _ = extreme("tensors far down", pickled(&deep));
}

#[test]
fn names_of_classes_and_storages() {
    let _alone = alone();
    // A long module with many short names.
    let long = text(&"m".repeat(1000));
    let mut globals = [&b"]("[..], &long, b"q\x00"].concat();
    for n in 0..300_000 {
        globals.extend([b"h\x00", &text(&format!("{n}"))[..], b"\x93"].concat());
    }
    globals.push(b'e');
    let _ = extreme("globals", pickled(&globals));
    let longer = text(&"m".repeat(1 << 20));
    let mut globals = [&b"]("[..], &longer, b"q\x00"].concat();
    for n in 0..2000 {
        globals.extend([b"h\x00", &text(&format!("{n}"))[..], b"\x93"].concat());
    }
    globals.push(b'e');
    extreme("longer globals", pickled(&globals)).unwrap_err();
    // Storages on a device with a long name.
    for length in [10, limits::STORAGE_KEY, 1 << 20] {
        let mut storages = [
            &b"]("[..],
            &text(&"d".repeat(length)),
            b"q\x00",
            &text("storage"),
            b"q\x01",
            &global("torch", "FloatStorage"),
            b"q\x02",
        ]
        .concat();
        for n in 0..200_000 {
            let key = text(&format!("{n}"));
            storages.extend([b"(h\x01h\x02", &key[..], b"h\x00K\x01tQ"].concat());
        }
        storages.push(b'e');
        let name = format!("storages on a device of {length} letters");
        extreme(&name, pickled(&storages)).unwrap_err();
    }
    // A long text where `storage` should stand, which is compared each time.
    let long = [&text(&"s".repeat(1 << 20))[..], b"NNNNt"].concat();
    let mut storages = [&b"](("[..], &long, b"q\x00"].concat();
    storages.extend(b"h\x00Q".repeat(400_000));
    storages.push(b'e');
    let _ = extreme("no storages", pickled(&storages));
    // Pairs of an ordered dict, given to many calls; the last is no pair.
    let pairs = [b"](".to_vec(), b"NN\x86".repeat(300_000), b"Ne".to_vec()].concat();
    let call = global("collections", "OrderedDict");
    let mut calls = [&call[..], b"q\x010", &pairs, b"\x85q\x000]("].concat();
    calls.extend(b"h\x01h\x00R".repeat(100_000));
    calls.push(b'e');
    let _ = extreme("ordered dicts", pickled(&calls));
}

#[test]
fn recurrent_modules_by_the_thousand() {
    let _alone = alone();
    let one = float_tensor();
    let mut layers = [&b"}("[..], &one, b"q\x000"].concat();
    for n in 0..20_000 {
        for role in ["weight_ih", "weight_hh"] {
            layers.extend([&text(&format!("{role}_l{n}"))[..], b"h\x00"].concat());
        }
    }
    layers.push(b'u');
    let _ = extreme("layers", pickled(&layers));
    let state = dict(&[("weight_ih_l0", b"h\x00"), ("weight_hh_l0", b"h\x00")]);
    let module = [&one[..], b"q\x000", &module(&state)].concat();
    // The tensor has the memo's first place.
    let modules = [&module[..], b"q\x010](", &b"h\x01".repeat(30_000), b"e"].concat();
    let _ = extreme("modules", pickled(&modules));
}

#[test]
fn large_files_that_mean_well_are_read() {
    let _alone = alone();
    // A vocabulary both ways, as torchtext keeps it: the words of GloVe.
    const WORDS: u32 = 400_000;
    let mut list = b"](".to_vec();
    let mut map = b"}(".to_vec();
    for n in 0..WORDS {
        list.extend(text(&format!("w{n}")));
        list.extend([b"r", &n.to_le_bytes()[..]].concat());
        map.extend([b"j", &n.to_le_bytes()[..], b"J", &n.to_le_bytes()].concat());
    }
    list.push(b'e');
    map.push(b'u');
    let vocabulary = dict(&[("itos", &list), ("stoi", &map)]);
    let checkpoint = extreme("vocabulary", pickled(&vocabulary)).unwrap();
    let words = checkpoint.json("stoi").unwrap();
    assert_eq!(words["w399999"], 399_999);
    assert_eq!(checkpoint.json("itos").unwrap()[7], "w7");

    // A state dict larger than they come.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.pt");
    let script = "
import sys, torch
weights = {f'model.layers.{n}.attention.weight': torch.zeros(2, 2) for n in range(30_000)}
torch.save(weights, sys.argv[1])
torch.save(weights, sys.argv[1] + '.old', _use_new_zipfile_serialization=False)
";
    common::run(common::python().args(["-c", script]).arg(&path));
    for path in [path.clone(), path.with_extension("pt.old")] {
        let file = std::fs::read(&path).unwrap();
        let checkpoint = extreme("state dict", file).unwrap();
        assert_eq!(checkpoint.tensors().len(), 30_000);
    }
}

#[test]
fn headers_and_directories_without_end() {
    let _alone = alone();
    let shape = format!("[{}1]", "1,".repeat(4_000_000));
    let header = format!(r#"{{"a":{{"dtype":"U8","shape":{shape},"data_offsets":[0,1]}}}}"#);
    extreme("a shape", safetensors(&header, &[0])).unwrap_err();
    let entries = |count: usize| {
        let entries: Vec<String> = (0..count)
            .map(|n| format!(r#""{n}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#))
            .collect();
        format!("{{{}}}", entries.join(","))
    };
    let file = safetensors(&entries(limits::TENSORS), &[]);
    extreme("100k tensors", file).unwrap();
    let file = safetensors(&entries(limits::TENSORS + 1), &[]);
    extreme("more tensors", file).unwrap_err();
    let note = "\\u0001".repeat(2_000_000);
    let header = format!(r#"{{"__metadata__":{{"note":"{note}"}}}}"#);
    extreme("metadata", safetensors(&header, &[])).unwrap();
    let notes: Vec<String> = (0..=limits::SAFETENSORS_METADATA)
        .map(|n| format!(r#""{n}":"""#))
        .collect();
    let header = format!(r#"{{"__metadata__":{{{}}}}}"#, notes.join(","));
    extreme("much metadata", safetensors(&header, &[])).unwrap_err();

    // More than 65535 members need the 64-bit end record.
    let torch = |count: usize| {
        let mut members = members(&pickle(b"}"), &[]);
        members.extend((0..count).map(|n| Member::new(&format!("archive/{n}"), [])));
        zip64(&members)
    };
    extreme("100k members", torch(100_000)).unwrap();
    extreme("200k members", torch(limits::ZIP_MEMBERS - 3)).unwrap();
    extreme("more members", torch(limits::ZIP_MEMBERS)).unwrap_err();
    let header = "{'descr': '|u1', 'fortran_order': False, 'shape': (0,), }\n";
    let arrays: Vec<Member> = (0..100_000)
        .map(|n| Member::new(&format!("{n}.npy"), npy(header, &[])))
        .collect();
    extreme("100k arrays", zip64(&arrays)).unwrap();
}
