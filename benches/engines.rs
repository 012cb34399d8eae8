//! The native engine against the fused one, on the CPU and one thread: medians of runs
//! that alternate, and in the same run what a product of matrices reaches, since other
//! work on the machine slows all three.
//!
//! `cargo bench --bench engines`; `THREADS` for another number of threads, `ONLY` for
//! the shapes with this in their names, `KEEP` to keep freed memory as `cellway train`.
//! With `--worker` it is what `scripts/bench` asks.

mod worker;

use std::time::Instant;

use cellway::lstm::{Call, Engine, Init, Lstm, LstmConfig, Mode};
use cellway::random::Stream;
use tch::{Device, Kind, Tensor};

struct Shape {
    name: &'static str,
    input: i64,
    hidden: i64,
    bidirectional: bool,
    time: i64,
    lengths: Vec<i64>,
    /// Runs of each engine.
    runs: usize,
}

fn shapes() -> Vec<Shape> {
    let stream = Stream::new(1, "lengths");
    // Mean 19, at most 55, as sentences about films are.
    let sentence = |n: u64| (19.0 + 9.3 * stream.normal(n)).clamp(2.0, 55.0) as i64;
    let sentences: Vec<i64> = (0..32).map(sentence).collect();
    let longest = sentences.iter().copied().max().unwrap_or(1);
    let ragged = (0..32).map(|n| 200 - n * 6).collect();
    let one = |name, input, hidden, time, lengths, runs| Shape {
        name,
        input,
        hidden,
        bidirectional: false,
        time,
        lengths,
        runs,
    };
    let mut both = one("both", 100, 128, longest, sentences.clone(), 61);
    both.name = "sentences, B 32, I 100, H 128, both directions";
    both.bidirectional = true;
    vec![
        one(
            "sentences, B 32, I 100, H 128",
            100,
            128,
            longest,
            sentences,
            101,
        ),
        both,
        one(
            "full, B 32, I 100, H 128, T 20",
            100,
            128,
            20,
            vec![20; 32],
            101,
        ),
        one(
            "ragged, B 32, I 128, H 128, T 200",
            128,
            128,
            200,
            ragged,
            21,
        ),
        one(
            "full, B 256, I 256, H 256, T 50",
            256,
            256,
            50,
            vec![50; 256],
            11,
        ),
        one(
            "one text, B 1, I 128, H 128, T 20",
            128,
            128,
            20,
            vec![20],
            401,
        ),
        one(
            "small, B 32, I 32, H 20, T 20",
            32,
            20,
            20,
            vec![20; 32],
            201,
        ),
    ]
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Seconds.
fn timed(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

fn main() {
    // Cargo asks for a benchmark's tests with this; there are none.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    if std::env::args().any(|argument| argument == "--worker") {
        return worker::serve().expect("pipes to who asks");
    }
    let threads = std::env::var("THREADS")
        .ok()
        .and_then(|text| text.parse().ok());
    tch::set_num_threads(threads.unwrap_or(1));
    if std::env::var_os("KEEP").is_some() {
        cellway::runtime::keep_memory();
    }
    let options = (Kind::Float, Device::Cpu);
    let matrix = Tensor::rand([768, 768], options);
    let products = (0..15).map(|_| timed(|| drop(matrix.matmul(&matrix))));
    let rate = 2.0 * 768f64.powi(3) / median(products.collect()) / 1e9;
    println!(
        "threads {}, matmul {rate:.0} GFLOP/s",
        tch::get_num_threads()
    );
    println!(
        "{:<48} {:>10} {:>10} {:>7}",
        "", "fused ms", "native ms", "ratio"
    );
    let only = std::env::var("ONLY").unwrap_or_default();
    for shape in shapes()
        .into_iter()
        .filter(|shape| shape.name.contains(&only))
    {
        let config = LstmConfig {
            bidirectional: shape.bidirectional,
            ..LstmConfig::new(shape.input, shape.hidden)
        };
        let lstm = Lstm::new(config, Init::default(), Stream::new(2, "bench"));
        let lstm = lstm.expect("a valid configuration");
        let batch = shape.lengths.len() as i64;
        let x = Tensor::randn([batch, shape.time, shape.input], options);
        let call = |engine| Call {
            lengths: Some(&shape.lengths),
            engine,
            mode: Mode::Eval,
            ..Call::default()
        };
        let read = |engine| lstm.forward(&x, &call(engine)).expect("a valid call");
        for train in [false, true] {
            let run = |engine| {
                timed(|| match train {
                    false => tch::no_grad(|| drop(read(engine))),
                    true => {
                        let out = read(engine);
                        let loss =
                            (out.output.square()).sum(Kind::Float) + out.state.h.sum(Kind::Float);
                        loss.backward();
                    }
                })
            };
            let (mut fused, mut native) = (Vec::new(), Vec::new());
            for _ in 0..shape.runs {
                fused.push(run(Engine::Fused));
                native.push(run(Engine::Native));
            }
            let (fused, native) = (median(fused), median(native));
            let what = if train { "forward+backward" } else { "forward" };
            println!(
                "{:<48} {:>10.3} {:>10.3} {:>6.2}x  {what}",
                shape.name,
                fused * 1e3,
                native * 1e3,
                fused / native
            );
        }
    }
}
