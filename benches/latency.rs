//! One text after another in a warm process, as a service would answer: how long half
//! of them, and 99 of 100, take at the most, from the text to its label.
//!
//!     cargo bench --bench latency -- MODEL TEXTS.txt [--engine native] [--threads 1]
//!
//! A line of JSON. `scripts/bench` holds it against the same in Python.

use std::hint::black_box;
use std::path::PathBuf;
use std::time::Instant;

use cellway::lstm::Engine;
use cellway::model::{Model, Predictor};
use cellway::runtime;
use clap::Parser;

/// What a warm process has seen before it is timed.
const WARM_UP: usize = 200;

#[derive(Parser)]
struct Arguments {
    /// Model directory
    model: PathBuf,
    /// A text a line
    texts: PathBuf,
    /// fused, native or plain
    #[arg(long, default_value = "fused")]
    engine: String,
    /// Threads of libtorch's operations
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// How many texts are timed
    #[arg(long, default_value_t = 2000)]
    count: usize,
    /// That cargo bench calls it
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    // `cargo test` starts benchmarks too, without --bench; there is nothing to test.
    if std::env::args().len() < 3 {
        return println!("latency: takes MODEL TEXTS.txt");
    }
    let arguments = Arguments::parse();
    runtime::set_threads(arguments.threads).expect("a number of threads");
    let model = Model::load(&arguments.model).expect("a model directory");
    let texts = std::fs::read_to_string(&arguments.texts).expect("a file of texts");
    let texts: Vec<&str> = texts.lines().collect();
    let engine = match arguments.engine.as_str() {
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

    for text in texts.iter().take(WARM_UP) {
        answer(text);
    }
    let timed = texts.iter().cycle().skip(WARM_UP).take(arguments.count);
    let mut seconds: Vec<f64> = timed
        .map(|text| {
            let start = Instant::now();
            answer(text);
            start.elapsed().as_secs_f64()
        })
        .collect();
    let mean = seconds.iter().sum::<f64>() / seconds.len() as f64;
    seconds.sort_by(f64::total_cmp);
    // The least that so many of the texts do not exceed.
    let at = |percent: usize| seconds[(seconds.len() * percent).div_ceil(100) - 1];
    println!(
        "{{\"texts\": {}, \"p50\": {:e}, \"p99\": {:e}, \"mean\": {mean:e}}}",
        seconds.len(),
        at(50),
        at(99)
    );
}
