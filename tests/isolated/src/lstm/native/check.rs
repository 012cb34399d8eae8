//! Layers of odd sizes, forward and back, in f32 and f64: the tools look for accesses
//! behind the end of a buffer and to what nobody has written, the tests whether both
//! dtypes agree.

use super::backward::Backward;
use super::buffer::Buffer;
use super::forward::Forward;
use super::frozen::{Layers, Read};
use super::half::Halve;
use super::lanes::Real;
use super::layer::{Dropped, Keep, Sequence, Sizes, Weights};
use super::plan::Plan;
use super::threads::together;
use crate::lstm::{CellParams, LstmConfig};

#[derive(Clone, Copy, Debug)]
struct Case {
    sizes: Sizes,
    time: usize,
    lengths: &'static [usize],
    masks: bool,
    from_zeros: bool,
    keep: Keep,
}

/// Numbers of about the size of weights, the same in both dtypes.
fn number(n: usize, salt: usize) -> f32 {
    let mixed = (n as u32)
        .wrapping_mul(2)
        .wrapping_add(1)
        .wrapping_mul(0x9e37_79b9)
        .wrapping_add((salt as u32).wrapping_mul(0x85eb_ca6b));
    let mixed = (mixed ^ mixed >> 15).wrapping_mul(0xc2b2_ae35);
    (mixed >> 8) as f32 / (1 << 23) as f32 - 1.0
}

fn filled<T: From<f32> + Real>(count: usize, salt: usize) -> Buffer {
    let buffer = Buffer::raw::<T>(count);
    for n in 0..count {
        // SAFETY: it has so many numbers.
        unsafe { buffer.at::<T>().add(n).write(number(n, salt).into()) };
    }
    buffer
}

/// Factors of rows, padded with zeros, of which a third are zero.
fn masked<T: From<f32> + Real>(rows: usize, count: usize, wide: usize, factor: f32) -> Buffer {
    let buffer = Buffer::zeros::<T>(rows * wide);
    for row in 0..rows {
        for n in 0..count {
            let value = if number(row * count + n, 77) < -0.33 {
                0.0
            } else {
                factor
            };
            // SAFETY: it has so many rows.
            unsafe { buffer.at::<T>().add(row * wide + n).write(value.into()) };
        }
    }
    buffer
}

fn read<T: Real + Into<f64>>(buffer: &Buffer) -> Vec<f64> {
    let of = |n: usize| unsafe { *buffer.at::<T>().add(n) }.into();
    (0..buffer.bytes() / size_of::<T>()).map(of).collect()
}

fn sequence<T: Real>(buffer: &Buffer, batch: usize, width: usize) -> Sequence<T> {
    Sequence {
        at: buffer.at(),
        by_time: batch * width,
        by_text: width,
    }
}

/// Of each direction: `W_ih`, `W_hh`, both biases, `W_hr`, as `make` makes them.
fn parameters(sizes: &Sizes, make: impl Fn(usize, usize) -> Buffer) -> Vec<[Buffer; 5]> {
    let (i, h, p) = (sizes.input, sizes.hidden, sizes.output);
    let one = |direction: usize| {
        let if_so = |there: bool, count: usize| if there { count } else { 0 };
        let counts = [
            4 * h * i,
            4 * h * p,
            if_so(sizes.bias, 4 * h),
            if_so(sizes.bias, 4 * h),
            if_so(sizes.projected, p * h),
        ];
        let mut salt = 10 * direction;
        counts.map(|count| {
            salt += 1;
            make(count, salt)
        })
    };
    (0..sizes.directions).map(one).collect()
}

fn weights<T: Real>(of: &[[Buffer; 5]]) -> Vec<Weights<T>> {
    let one = |[ih, hh, b_ih, b_hh, hr]: &[Buffer; 5]| Weights {
        ih: ih.at(),
        hh: hh.at(),
        b_ih: b_ih.at(),
        b_hh: b_hh.at(),
        hr: hr.at(),
    };
    of.iter().map(one).collect()
}

/// Everything that comes out.
fn run<T: Real + From<f32> + Into<f64>>(case: &Case) -> Vec<Vec<f64>> {
    let Case { sizes, time, .. } = *case;
    let (i, h, p, d) = (sizes.input, sizes.hidden, sizes.output, sizes.directions);
    let plan = &Plan::new(case.lengths, time);
    let batch = plan.batch();
    let input = filled::<T>(time * batch * i, 100);
    let (h_start, c_start) = (
        match case.from_zeros {
            true => Buffer::zeros::<T>(d * batch * p),
            false => filled::<T>(d * batch * p, 101),
        },
        filled::<T>(d * batch * h, 102),
    );
    let of = parameters(&sizes, filled::<T>);
    let masks = |_| {
        let (wide, wide_output) = (sizes.wide::<T>(), sizes.wide_output::<T>());
        let some = |rows, count, wide, factor| match case.masks {
            true => masked::<T>(rows, count, wide, factor),
            false => Buffer::empty(),
        };
        Dropped {
            recurrent: some(batch, p, wide_output, 1.5),
            candidate: some(plan.tokens(), h, wide, 1.5),
            cell: some(plan.tokens(), h, wide, 1.0),
            hidden: some(plan.tokens(), p, wide_output, 1.0),
        }
    };
    let output = Buffer::raw::<T>(time * batch * d * p);
    let (h_end, c_end) = (
        Buffer::raw::<T>(d * batch * p),
        Buffer::raw::<T>(d * batch * h),
    );
    let forward = Forward {
        plan,
        sizes,
        input: sequence(&input, batch, i),
        h_start: h_start.at::<T>(),
        c_start: c_start.at(),
        output: sequence(&output, batch, d * p),
        h_end: h_end.at(),
        c_end: c_end.at(),
        keep: case.keep,
    };
    // SAFETY: everything has the shape that it must have.
    let mut memory = unsafe { forward.run(weights(&of), (0..d).map(masks).collect()) };
    let mut all = [&output, &h_end, &c_end].map(read::<T>).to_vec();
    match case.keep {
        Keep::Nothing => return all,
        Keep::States => memory
            .iter_mut()
            .for_each(|memory| memory.gates = Buffer::empty()),
        Keep::All => {}
    }
    let d_output = filled::<T>(time * batch * d * p, 103);
    let (d_h, d_c) = (
        filled::<T>(d * batch * p, 104),
        filled::<T>(d * batch * h, 105),
    );
    let d_input = Buffer::raw::<T>(time * batch * i);
    let (d_h_start, d_c_start) = (
        Buffer::raw::<T>(d * batch * p),
        Buffer::raw::<T>(d * batch * h),
    );
    let gradients = parameters(&sizes, |count, _| Buffer::raw::<T>(count));
    let backward = Backward {
        plan,
        sizes,
        input: sequence(&input, batch, i),
        d_output: sequence(&d_output, batch, d * p),
        d_h_end: d_h.at::<T>(),
        d_c_end: d_c.at(),
        d_input: sequence(&d_input, batch, i),
        d_h_start: d_h_start.at(),
        d_c_start: d_c_start.at(),
    };
    // SAFETY: as above.
    unsafe { backward.run(&weights(&of), &memory, &weights(&gradients)) };
    all.extend([&d_input, &d_h_start, &d_c_start].map(read::<T>));
    all.extend(gradients.iter().flatten().map(read::<T>));
    all
}

fn both_dtypes(case: &Case) {
    let (single, double) = (run::<f32>(case), run::<f64>(case));
    for (n, (a, b)) in single.iter().zip(&double).enumerate() {
        let scale = b.iter().fold(1.0, |most: f64, b| most.max(b.abs()));
        for (a, b) in a.iter().zip(b) {
            assert!((a - b).abs() < 1e-4 * scale, "{case:?}: {n}: {a} {b}");
        }
    }
}

fn sizes(input: usize, hidden: usize, projection: usize) -> Sizes {
    Sizes {
        input,
        hidden,
        output: if projection > 0 { projection } else { hidden },
        projected: projection > 0,
        bias: true,
        directions: 1,
        truncate: None,
    }
}

#[test]
fn odd_sizes() {
    let few = &[(1, 1, 0), (3, 5, 2)];
    let more = &[
        (3, 17, 0),
        (5, 9, 8),
        (1, 31, 17),
        (7, 16, 0),
        (2, 33, 1),
        (300, 5, 0),
        (1, 65, 64),
    ];
    let more = if cfg!(miri) { &[][..] } else { &more[..] };
    for &(input, hidden, projection) in few.iter().chain(more) {
        for n in 0..24 {
            let case = Case {
                sizes: Sizes {
                    bias: n & 1 == 0,
                    directions: 1 + (n >> 1 & 1),
                    truncate: (n == 6).then_some(2),
                    ..sizes(input, hidden, projection)
                },
                time: 4,
                lengths: [&[3, 0, 4, 1][..], &[4], &[1, 1, 1, 1, 1, 1, 1]][n % 3],
                masks: n & 4 > 0,
                from_zeros: n % 5 == 0,
                keep: [Keep::All, Keep::States, Keep::Nothing][n / 8],
            };
            both_dtypes(&case);
        }
    }
}

/// More tokens than a block has, and texts without any.
#[test]
#[cfg_attr(miri, ignore = "takes minutes")]
fn many_tokens() {
    for lengths in [&[200, 100, 1][..], &[0, 0], &[7; 150]] {
        both_dtypes(&Case {
            sizes: sizes(3, 18, 0),
            time: 200,
            lengths,
            masks: false,
            from_zeros: true,
            keep: Keep::All,
        });
    }
}

/// The same bits with any number of threads.
#[test]
#[cfg_attr(miri, ignore = "takes minutes")]
fn threads() {
    let case = Case {
        sizes: Sizes {
            directions: 2,
            ..sizes(64, 65, 30)
        },
        time: 90,
        lengths: &[90, 80, 70, 60, 50, 40, 30, 20, 10, 5, 1, 0],
        masks: true,
        from_zeros: false,
        keep: Keep::All,
    };
    same_bits(&case, &[1, 2, 5]);
}

/// The same of few texts, whose units the threads share.
#[test]
#[cfg_attr(miri, ignore = "takes minutes")]
fn threads_that_share_units() {
    for (masks, from_zeros, keep) in [
        (false, true, Keep::All),
        (true, false, Keep::All),
        (false, false, Keep::States),
        (true, true, Keep::Nothing),
    ] {
        let case = Case {
            sizes: Sizes {
                truncate: from_zeros.then_some(2),
                ..sizes(3, 364, 0)
            },
            time: 4,
            lengths: &[4, 3, 1, 0],
            masks,
            from_zeros,
            keep,
        };
        tch::set_num_threads(4);
        assert_eq!(together(&Plan::new(case.lengths, 4), &case.sizes), 4);
        same_bits(&case, &[1, 2, 4]);
    }
}

fn same_bits(case: &Case, threads: &[i32]) {
    the_same(threads, || [run::<f32>(case), run::<f64>(case)]);
}

fn the_same(threads: &[i32], run: impl Fn() -> [Vec<Vec<f64>>; 2]) {
    let of = threads.iter().map(|&count| {
        tch::set_num_threads(count);
        run()
    });
    let of: Vec<_> = of.collect();
    tch::set_num_threads(1);
    let bits =
        |all: &Vec<Vec<f64>>| -> Vec<u64> { all.iter().flatten().map(|x| x.to_bits()).collect() };
    // Miri's exp and tanh are off by chance.
    for other in if cfg!(miri) { &[] } else { &of[1..] } {
        assert!((0..2).all(|n| bits(&of[0][n]) == bits(&other[n])));
    }
}

/// Frozen layers, of which threads share the texts, the units, or each has one.
#[test]
fn frozen() {
    let layers = |hidden_size, proj_size, bidirectional| LstmConfig {
        input_size: 3,
        hidden_size,
        proj_size,
        bias: hidden_size != 5,
        bidirectional,
    };
    let small: &[(_, &[usize])] = &[
        (layers(5, 2, true), &[3, 0, 1]),
        (layers(9, 0, false), &[4]),
    ];
    let large: &[(_, &[usize])] = &[
        (layers(70, 0, true), &[90, 80, 70, 60, 50, 40, 30, 5, 1, 0]),
        (layers(364, 0, false), &[4, 3, 1, 0]),
        (layers(50, 0, false), &[40, 3]),
        (layers(50, 20, false), &[70]),
    ];
    let large = if cfg!(miri) { &[][..] } else { large };
    for (config, lengths) in small.iter().chain(large) {
        the_same(&[1, 2, 4], || {
            let (single, double) = (
                read_frozen::<f32>(config, lengths),
                read_frozen::<f64>(config, lengths),
            );
            for (a, b) in single.iter().flatten().zip(double.iter().flatten()) {
                assert!((a - b).abs() < 1e-4, "{a} {b}");
            }
            [single, double]
        });
    }
}

/// Three layers; given states in the first of two readings, whose memory is the same.
fn read_frozen<T>(config: &LstmConfig, lengths: &[usize]) -> Vec<Vec<f64>>
where
    T: Halve + From<f32> + Into<f64>,
{
    let (hidden, output) = (config.hidden_size, config.output_size());
    let filled = |size: &[i64], salt: usize| {
        let tensor = tch::Tensor::empty(size, (T::KIND, tch::Device::Cpu));
        for n in 0..tensor.numel() {
            let to = tensor.data_ptr().cast::<T>();
            // SAFETY: it has so many numbers.
            unsafe { to.add(n).write((0.5 * number(n, salt)).into()) };
        }
        tensor
    };
    let cell = |layer: i64, direction: i64| {
        let salt = (10 * layer + 100 * direction) as usize;
        CellParams {
            w_ih: filled(&[4 * hidden, config.layer_input_size(layer)], salt),
            w_hh: filled(&[4 * hidden, output], salt + 1),
            b_ih: config.bias.then(|| filled(&[4 * hidden], salt + 2)),
            b_hh: config.bias.then(|| filled(&[4 * hidden], salt + 3)),
            w_hr: (config.proj_size > 0).then(|| filled(&[output, hidden], salt + 4)),
        }
    };
    let directions = config.directions();
    let cells = (0..3).map(|layer| (0..directions).map(|d| cell(layer, d)).collect());
    let layers = Layers::<T>::new(config, &cells.collect::<Vec<_>>(), false);
    let (time, batch) = (lengths.iter().max().copied().unwrap_or(0), lengths.len());
    let shape = |width: i64| [time as i64, batch as i64, width];
    let states = |width: i64, salt| filled(&[3 * directions, batch as i64, width], salt);
    let mut all = Vec::new();
    for given in [true, false] {
        let (h, c) = (states(output, 51), states(hidden, 52));
        let (input, out) = (
            filled(&shape(3), 50),
            filled(&shape(directions * output), 53),
        );
        let (h_end, c_end) = (states(output, 54), states(hidden, 55));
        // SAFETY: everything has the shape that it must have.
        unsafe {
            layers.read(&Read {
                input: &input,
                batch_first: false,
                lengths,
                time,
                start: given.then_some((&h, &c)),
                output: &out,
                end: (&h_end, &c_end),
            });
        }
        all.extend([out, h_end, c_end].map(|tensor| {
            let at = tensor.data_ptr().cast::<T>();
            // SAFETY: it has so many numbers.
            let of = |n: usize| unsafe { *at.add(n) }.into();
            (0..tensor.numel()).map(of).collect()
        }));
    }
    all
}

/// Of all numbers: printed, to compare machines.
#[test]
fn fingerprint() {
    let case = Case {
        sizes: sizes(5, 19, 0),
        time: 9,
        lengths: &[9, 4, 0],
        masks: false,
        from_zeros: false,
        keep: Keep::All,
    };
    let print = |all: Vec<Vec<f64>>| {
        let bits = all.iter().flatten().map(|x| x.to_bits());
        bits.fold(0, |sum: u64, x| (sum ^ x).wrapping_mul(0x0100_0000_01b3))
    };
    let name = <f32 as Real>::kernels().name;
    println!(
        "{name}: f32 {:x}, f64 {:x}",
        print(run::<f32>(&case)),
        print(run::<f64>(&case))
    );
}
