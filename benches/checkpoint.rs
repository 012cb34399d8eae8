//! A checkpoint of 1 GiB: how long it takes to open and list it, to load it, and
//! what torch in Python takes for the same, in turns, with the file in the page
//! cache. Needs the project's Python.
//!
//! `open + list` is held against bounds: 50 ms and 32 MB of heap.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use cellway::checkpoint::{Checkpoint, CheckpointExt};

const ROUNDS: usize = 7;
const TENSORS: usize = 64;
/// f32 numbers of a tensor: 16 MiB, 1 GiB in all.
const NUMBERS: usize = 4 << 20;

/// Counts what Rust asks of the heap; tensors are libtorch's and not in it.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: hands everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(now, Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static HEAP: Counting = Counting;

/// Makes the file, then takes a line for each call and answers with its seconds.
const PYTHON: &str = "
import sys, time, torch
path, tensors, numbers = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
torch.save({f'layer.{n}.weight': torch.randn(numbers) for n in range(tensors)}, path)
calls = {
    'load': lambda: torch.load(path, weights_only=True),
    'mmap': lambda: torch.load(path, weights_only=True, mmap=True),
    'mmap+clone': lambda: {n: t.clone() for n, t in torch.load(path, weights_only=True, mmap=True).items()},
}
print(torch.__version__, flush=True)
for line in sys.stdin:
    start = time.perf_counter()
    result = calls[line.strip()]()
    print(time.perf_counter() - start, flush=True)
    del result
";

struct Python {
    child: Child,
    calls: ChildStdin,
    answers: BufReader<ChildStdout>,
    version: String,
}

impl Python {
    fn start(path: &Path) -> Python {
        let python = Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/bin/python");
        let mut child = Command::new(python)
            .args(["-c", PYTHON])
            .arg(path)
            .args([TENSORS, NUMBERS].map(|n| n.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the project's Python; run scripts/setup");
        let calls = child.stdin.take().expect("a pipe");
        let mut answers = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut version = String::new();
        answers.read_line(&mut version).expect("an answer");
        let version = version.trim().to_owned();
        assert!(!version.is_empty(), "torch in Python did not start");
        Python {
            child,
            calls,
            answers,
            version,
        }
    }

    fn seconds(&mut self, call: &str) -> f64 {
        writeln!(self.calls, "{call}").expect("Python listens");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("an answer");
        line.trim().parse().expect("seconds")
    }
}

fn seconds<T>(call: impl FnOnce() -> T) -> f64 {
    let start = Instant::now();
    let result = call();
    let taken = start.elapsed().as_secs_f64();
    drop(black_box(result));
    taken
}

/// The names, shapes and dtypes, as `cellway inspect` wants them.
fn list(checkpoint: &Checkpoint) -> String {
    let lines = checkpoint
        .tensors()
        .iter()
        .map(|tensor| format!("{} {} {:?}\n", tensor.name, tensor.dtype, tensor.shape));
    lines.collect()
}

/// Median, least and most.
fn spread(times: &mut [f64]) -> [f64; 3] {
    times.sort_by(f64::total_cmp);
    [times[times.len() / 2], times[0], times[times.len() - 1]]
}

fn main() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("large.pt");
    let mut python = Python::start(&path);
    let bytes = std::fs::metadata(&path).expect("the file").len() as f64;
    let data = (TENSORS * NUMBERS * 4) as f64;
    std::fs::read(&path).expect("the file"); // into the page cache

    let open = || Checkpoint::open(&path).expect("a checkpoint");
    let mut peak = 0;
    let names = [
        "cellway: open + list".to_owned(),
        "cellway: open + load".to_owned(),
        format!("torch {}: load", python.version),
        format!("torch {}: load(mmap=True)", python.version),
        format!("torch {}: load(mmap=True), clone each", python.version),
    ];
    let mut times = [const { Vec::new() }; 5];
    // The first round warms up and is not counted.
    for round in 0..=ROUNDS {
        let before = NOW.load(Relaxed);
        PEAK.store(before, Relaxed);
        let listed = seconds(|| {
            let checkpoint = open();
            assert_eq!(list(&checkpoint).lines().count(), TENSORS);
            checkpoint
        });
        peak = peak.max(PEAK.load(Relaxed) - before);
        let taken = [
            listed,
            seconds(|| open().load().expect("tensors")),
            python.seconds("load"),
            python.seconds("mmap"),
            python.seconds("mmap+clone"),
        ];
        if round > 0 {
            times.iter_mut().zip(taken).for_each(|(all, t)| all.push(t));
        }
    }
    drop(python.calls);
    python.child.wait().expect("Python ends");

    println!("{TENSORS} tensors, {bytes:.0} bytes, {ROUNDS} rounds in turns\n");
    println!("| what | median ms | least | most | GB/s |");
    println!("|---|---|---|---|---|");
    let mut medians = Vec::new();
    for (name, times) in names.iter().zip(&mut times) {
        let [median, least, most] = spread(times);
        let ms = [median, least, most].map(|t| format!("{:.2}", 1e3 * t));
        // Opening alone moves no data, so a rate would say nothing.
        let rate = match name.ends_with("list") || name.ends_with("(mmap=True)") {
            true => String::new(),
            false => format!("{:.2}", data / median / 1e9),
        };
        println!("| {name} | {} | {} | {} | {rate} |", ms[0], ms[1], ms[2]);
        medians.push(median);
    }
    println!("\npeak heap of open + list: {:.2} MB", peak as f64 / 1e6);
    println!("torch load / cellway load: {:.2}", medians[2] / medians[1]);
    println!(
        "torch load(mmap=True) / cellway open + list: {:.2}",
        medians[3] / medians[0]
    );
    println!(
        "torch mmap and clone / cellway load: {:.2}",
        medians[4] / medians[1]
    );
    assert!(medians[0] < 0.050, "open + list: more than 50 ms");
    assert!(peak < 32_000_000, "open + list: more than 32 MB of heap");
    assert!(data / medians[1] >= 1e9, "load: less than 1 GB/s");
}
