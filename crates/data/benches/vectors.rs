//! Measures how many lines of word vectors are read per second, on one core and on all:
//! a line has 100 numbers, and a tenth of the words is wanted.

use std::io::Write;
use std::time::Duration;

use cellway_data::random::Stream;
use cellway_data::vectors::Vectors;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const LINES: u64 = 100_000;
const DIMENSION: usize = 100;

fn vectors(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("vectors.txt");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path).expect("a file"));
    let stream = Stream::new(0, "vectors");
    for line in 0..LINES {
        write!(file, "word{line}").expect("room on the disk");
        for column in 0..DIMENSION as u64 {
            // Five significant digits between -1 and 1, as in GloVe's files.
            let value = 2.0 * stream.uniform(line * DIMENSION as u64 + column) - 1.0;
            write!(file, " {value:.5}").expect("room on the disk");
        }
        writeln!(file).expect("room on the disk");
    }
    file.flush().expect("room on the disk");

    let words: Vec<String> = (0..LINES).step_by(10).map(|n| format!("word{n}")).collect();
    let mut group = criterion.benchmark_group("vectors");
    group.throughput(Throughput::Elements(LINES));
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(8));
    for threads in [1, 0] {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .expect("threads");
        group.bench_function(
            format!("threads={}", pool.current_num_threads()),
            |bencher| {
                let wanted = || (0..).zip(words.iter().map(String::as_str));
                bencher.iter(|| pool.install(|| Vectors::load(&path, wanted()).expect("vectors")));
            },
        );
    }
    group.finish();
}

criterion_group!(benches, vectors);
criterion_main!(benches);
