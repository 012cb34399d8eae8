//! Inference of a few sequences: the fused engine, the native one, and its form with weights
//! that are packed once, as they are and in bf16. Medians of runs that alternate, on one
//! thread, without gradients.
//!
//! `cargo bench --bench packed`; `ONLY` for the shapes with this in their names,
//! `THREADS` for another number of threads.

use std::time::Instant;

use cellway::lstm::{Call, Engine, Init, Lstm, LstmConfig, WeightStorage};
use cellway::random::Stream;
use tch::{Device, Kind, Tensor};

/// `(B, I, H, T, layers)`.
const SHAPES: [(i64, i64, i64, i64, i64); 20] = [
    (1, 100, 64, 20, 1),
    (1, 100, 128, 20, 1),
    (1, 128, 128, 20, 1),
    (1, 100, 128, 1, 1),
    (1, 256, 256, 20, 1),
    (1, 512, 512, 20, 1),
    (1, 1024, 1024, 20, 1),
    (2, 100, 128, 20, 1),
    (4, 100, 128, 20, 1),
    (2, 512, 512, 20, 1),
    (4, 512, 512, 20, 1),
    (32, 100, 128, 20, 1),
    (32, 512, 512, 20, 1),
    (1, 100, 128, 5, 2),
    (1, 100, 128, 20, 2),
    (1, 100, 128, 200, 2),
    (1, 100, 64, 20, 2),
    (4, 100, 128, 20, 2),
    (1, 100, 128, 20, 4),
    (1, 256, 256, 50, 2),
];

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() {
    // Cargo asks for a benchmark's tests with this; there are none.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let threads = std::env::var("THREADS")
        .ok()
        .and_then(|text| text.parse().ok());
    tch::set_num_threads(threads.unwrap_or(1));
    let only = std::env::var("ONLY").unwrap_or_default();
    let _no_grad = tch::no_grad_guard();
    println!(
        "{:<31} {:>10} {:>10} {:>10} {:>10}   microseconds; fused / packed, / bf16",
        "", "fused", "native", "packed", "bf16"
    );
    for (batch, input, hidden, time, num_layers) in SHAPES {
        let name = format!("B {batch}, I {input}, H {hidden}, T {time}, L {num_layers}");
        if !name.contains(&only) {
            continue;
        }
        let config = LstmConfig {
            num_layers,
            ..LstmConfig::new(input, hidden)
        };
        let lstm = Lstm::new(config, Init::default(), Stream::new(2, "bench"));
        let lstm = lstm.expect("a valid configuration");
        let packed = [WeightStorage::Same, WeightStorage::Bf16]
            .map(|weights| lstm.pack(weights).expect("f32 on the CPU"));
        let x = Tensor::randn([batch, time, input], (Kind::Float, Device::Cpu));
        let call = |engine| Call {
            engine,
            ..Call::default()
        };
        let run = |which: usize| {
            let start = Instant::now();
            let read = match which {
                0 => lstm.forward(&x, &call(Engine::Fused)),
                1 => lstm.forward(&x, &call(Engine::Native)),
                n => packed[n - 2].forward(&x, &Call::default()),
            };
            drop(read.expect("a valid call"));
            start.elapsed().as_secs_f64() * 1e6
        };
        let about = (0..4).map(run).sum::<f64>() + 1.0;
        let runs = (1.5e6 / about).clamp(15.0, 4001.0) as usize;
        let mut times = [const { Vec::new() }; 4];
        for _ in 0..runs {
            for (which, times) in times.iter_mut().enumerate() {
                times.push(run(which));
            }
        }
        let [fused, native, packed, half] = times.map(median);
        println!(
            "{name:<31} {fused:>10.1} {native:>10.1} {packed:>10.1} {half:>10.1}   {:.2}x {:.2}x",
            fused / packed,
            fused / half
        );
    }
}
