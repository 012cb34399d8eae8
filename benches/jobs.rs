//! Our side of the jobs that `scripts/bench` times inside of a process: one text after
//! another, loading a checkpoint, loading word vectors. Each prints a line of JSON.
//!
//!     cargo bench --bench jobs -- latency MODEL TEXTS.txt [--engine native]
//!     cargo bench --bench jobs -- checkpoint FILE.pt
//!     cargo bench --bench jobs -- vectors VECTORS.txt WORDS.txt

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Instant;

use cellway::checkpoint::{Checkpoint, CheckpointExt};
use cellway::lstm::Engine;
use cellway::model::{Model, Predictor};
use cellway::runtime;
use cellway::text::Vectors;
use clap::{Parser, Subcommand};

/// What a warm process has seen before it is timed.
const WARM_UP: usize = 200;

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    job: Job,
    /// Threads of libtorch's operations
    #[arg(long, global = true, default_value_t = 1)]
    threads: usize,
    /// That cargo bench calls it
    #[arg(long, global = true, hide = true)]
    bench: bool,
}

#[derive(Subcommand)]
enum Job {
    /// From a text to its label, as a service would: what half of the texts, and 99 of
    /// 100, take at the most
    Latency {
        /// Model directory
        model: PathBuf,
        /// A text a line
        texts: PathBuf,
        /// fused, native or plain
        #[arg(long, default_value = "fused")]
        engine: String,
        /// How many texts are timed
        #[arg(long, default_value_t = 2000)]
        count: usize,
    },
    /// To list a checkpoint, and to have its tensors
    Checkpoint { file: PathBuf },
    /// To have the vectors of the words of a file, one a line
    Vectors { vectors: PathBuf, words: PathBuf },
}

fn main() {
    // `cargo test` starts benchmarks too; there is nothing to test.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let arguments = Arguments::parse();
    runtime::set_threads(arguments.threads).expect("a number of threads");
    match arguments.job {
        Job::Latency {
            model,
            texts,
            engine,
            count,
        } => latency(&model, &read(&texts), &engine, count),
        Job::Checkpoint { file } => checkpoint(&file),
        Job::Vectors { vectors, words } => {
            let words = read(&words);
            let wanted = || (0..).zip(words.lines());
            let load = || Vectors::load(&vectors, wanted()).expect("vectors");
            println!("{{\"seconds\": {:e}}}", second(load));
        }
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).expect("a file of text")
}

fn latency(model: &Path, texts: &str, engine: &str, count: usize) {
    let model = Model::load(model).expect("a model directory");
    let texts: Vec<&str> = texts.lines().collect();
    let engine = match engine {
        "fused" => Engine::Fused,
        "native" => Engine::Native,
        "plain" => Engine::Plain,
        other => panic!("--engine {other}: takes fused, native or plain"),
    };
    let predictor = Predictor {
        engine,
        ..Predictor::new(&model)
    };
    let labels = model.config().labels();
    let answer = |text: &str| {
        let prediction = &predictor.predict(&[text]).expect("a prediction")[0];
        black_box((
            &labels[prediction.class as usize],
            &prediction.probabilities,
        ));
    };
    texts.iter().take(WARM_UP).for_each(|text| answer(text));
    let timed = texts.iter().cycle().skip(WARM_UP).take(count);
    let mut seconds: Vec<f64> = timed.map(|text| time(|| answer(text))).collect();
    seconds.sort_by(f64::total_cmp);
    // The least that so many of the texts do not exceed.
    let at = |percent: usize| seconds[(seconds.len() * percent).div_ceil(100) - 1];
    println!("{{\"p50\": {:e}, \"p99\": {:e}}}", at(50), at(99));
}

fn checkpoint(file: &Path) {
    let open = || Checkpoint::open(file).expect("a checkpoint");
    let list = || {
        let checkpoint = open();
        let tensors = checkpoint.tensors().iter();
        black_box(tensors.map(|tensor| tensor.name.len()).sum::<usize>());
        checkpoint
    };
    let load = || open().load().expect("tensors");
    println!(
        "{{\"open\": {:e}, \"load\": {:e}}}",
        second(list),
        second(load)
    );
}

fn time<T>(call: impl FnOnce() -> T) -> f64 {
    let start = Instant::now();
    let result = call();
    let taken = start.elapsed().as_secs_f64();
    drop(black_box(result));
    taken
}

/// Of the second call: the first one has the file read into the page cache.
fn second<T>(call: impl Fn() -> T) -> f64 {
    time(&call);
    time(&call)
}
