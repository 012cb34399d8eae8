//! Time and memory of everything that is read, and their bounds.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use cpu_time::ThreadTime;

use cellway_checkpoint::{Checkpoint, Error, Result};

use super::changes::Random;
use super::common::read_all::read_all;

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
        // SAFETY: the caller promises what the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: the caller promises what the system's allocator asks for.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the place came from the system's allocator, with this layout.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // A large block is moved without a copy: it is never there twice.
        if size > layout.size() {
            grown(size - layout.size());
        } else {
            LIVE.fetch_sub(layout.size() - size, Relaxed);
        }
        // SAFETY: the place came from the system's allocator, with this layout.
        unsafe { System.realloc(place, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The tests of this file run one after another: they share the counters.
static ALONE: Mutex<()> = Mutex::new(());

pub fn alone() -> MutexGuard<'static, ()> {
    ALONE
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// On top of the file's size.
pub const MEMORY: usize = 64 << 20;
/// The longest that anything may take. Unoptimised code is no measure.
pub const TIME: Duration = Duration::from_secs(if cfg!(debug_assertions) { 10 } else { 1 });

/// Runs something, and gives how far the heap grew and how much of the processor's time it
/// took: others may have it meanwhile.
pub fn measured<T>(run: impl FnOnce() -> T) -> (T, usize, Duration) {
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    let start = ThreadTime::now();
    let done = run();
    let time = start.elapsed();
    (done, PEAK.load(Relaxed).saturating_sub(before), time)
}

/// Whatever fails has to fail in these ways, and to say why.
pub fn check(error: &Error, opening: bool) {
    let kind = match error {
        Error::Parse { error, .. } => !error.message.is_empty(),
        Error::File { .. } => !opening && !error.to_string().is_empty(),
        _ => false,
    };
    assert!(kind, "{error:?}");
}

/// What became of the files of one kind.
#[derive(Default)]
pub struct Tally {
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
    pub fn read(&mut self, kind: &str, number: u64, file: &[u8]) {
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
            crate::look(&checkpoint);
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

/// Which files are made of each kind.
pub fn cases() -> Range<u64> {
    let Ok(text) = std::env::var("CELLWAY_SOAK") else {
        return 0..3000;
    };
    let number = |text: &str| text.parse().expect("CELLWAY_SOAK is N or FIRST..END");
    match text.split_once("..") {
        Some((first, end)) => number(first)..number(end),
        None => 0..number(&text),
    }
}

pub fn soak(kind: &str, mut file: impl FnMut(&mut Random) -> Vec<u8>) {
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

/// Reads such a file. Its values and tensors are each measured by themselves:
/// what a caller asks for one by one need not be kept at once.
pub fn extreme(name: &str, file: Vec<u8>) -> Result<Checkpoint> {
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
            if let Ok(checkpoint) = &opened {
                crate::look(checkpoint);
            }
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
