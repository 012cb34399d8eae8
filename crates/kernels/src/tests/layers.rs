//! Layers of odd sizes, forward and backward, in f32 and f64: sanitizers look for accesses
//! behind the end of a buffer and to what nobody has written, the tests whether both types
//! agree.

use super::{
    Element, Parameters, doubles, expect_same_bits, filled, number, sizes, unwritten, with_threads,
};
use crate::parallel::{shares, unit_parallelism};
use crate::{
    Backward, BatchPlan, Context, DropoutMasks, Forward, LayerGradients, LayerIo, LayerSizes,
    SavePolicy, Sequence, SequenceMut, ShapeError, States, StatesMut, instruction_set,
};

#[derive(Clone, Copy, Debug)]
struct Case {
    sizes: LayerSizes,
    truncate: Option<usize>,
    time: usize,
    lengths: &'static [usize],
    /// Of the hidden state that is read, the candidate, the cell and the hidden state.
    masks: [bool; 4],
    from_zeros: bool,
    save: SavePolicy,
}

/// Factors, of which a third are zero.
fn mask<T: Element>(count: usize, factor: f32) -> Vec<T> {
    let of = |n: usize| if number(n, 77) < -0.33 { 0.0 } else { factor };
    (0..count).map(|n| of(n).into()).collect()
}

/// Everything that comes out.
fn run<T: Element>(case: &Case, context: &Context) -> Vec<Vec<f64>> {
    let Case { sizes, time, .. } = *case;
    let (i, h, p, d) = (sizes.input, sizes.hidden, sizes.output(), sizes.directions);
    let plan = &BatchPlan::new(case.lengths, time).unwrap();
    let batch = plan.batch();
    let input = filled::<T>(time * batch * i, 100);
    let input = Sequence::contiguous(&input, [time, batch, i]).unwrap();
    let h_start = match case.from_zeros {
        true => vec![T::default(); d * batch * p],
        false => filled(d * batch * p, 101),
    };
    let c_start = filled::<T>(d * batch * h, 102);
    let parameters: Vec<_> = (0..d)
        .map(|direction| Parameters::new(&sizes, 10 * direction + 1, filled::<T>))
        .collect();
    let weights: Vec<_> = parameters.iter().map(Parameters::weights).collect();
    let of_units = |size: usize, factor: f32| mask::<T>(time * batch * size, factor);
    let (recurrent, candidate) = (mask::<T>(batch * p, 1.5), of_units(h, 1.5));
    let (cell, hidden) = (of_units(h, 1.0), of_units(p, 1.0));
    let view = |mask, size: usize| Sequence::contiguous(mask, [time, batch, size]).ok();
    let masks = DropoutMasks {
        recurrent: case.masks[0].then_some(&recurrent[..]),
        candidate: view(&candidate, h).filter(|_| case.masks[1]),
        cell: view(&cell, h).filter(|_| case.masks[2]),
        hidden: view(&hidden, p).filter(|_| case.masks[3]),
    };
    let masks = match case.masks.contains(&true) {
        true => vec![masks; d],
        false => Vec::new(),
    };
    let mut output = unwritten::<T>(time * batch * d * p);
    let (mut h_end, mut c_end) = (unwritten::<T>(d * batch * p), unwritten::<T>(d * batch * h));
    let saved = Forward {
        plan,
        sizes,
        weights: &weights,
        masks: &masks,
        io: LayerIo {
            input,
            start: Some(States {
                h: &h_start,
                c: &c_start,
            }),
            output: SequenceMut::contiguous(&mut output, [time, batch, d * p]).unwrap(),
            end: StatesMut {
                h: &mut h_end,
                c: &mut c_end,
            },
        },
        save: case.save,
    }
    .run(context)
    .unwrap();
    let mut all = [output, h_end, c_end].map(|of| doubles(&of)).to_vec();
    if case.save == SavePolicy::Nothing {
        assert!(saved.is_empty());
        return all;
    }
    let saved: Vec<_> = saved.iter().map(|saved| saved.view()).collect();
    let d_output = filled::<T>(time * batch * d * p, 103);
    let (d_h, d_c) = (
        filled::<T>(d * batch * p, 104),
        filled::<T>(d * batch * h, 105),
    );
    let mut d_input = unwritten::<T>(time * batch * i);
    let (mut d_h_start, mut d_c_start) =
        (unwritten::<T>(d * batch * p), unwritten::<T>(d * batch * h));
    let mut gradients: Vec<_> = (0..d)
        .map(|_| Parameters::new(&sizes, 0, |count, _| unwritten::<T>(count)))
        .collect();
    let to = gradients.iter_mut().map(|of| {
        let (b_ih, b_hh) = match &mut of.bias {
            Some((ih, hh)) => (Some(&mut ih[..]), Some(&mut hh[..])),
            None => (None, None),
        };
        LayerGradients {
            ih: Some(&mut of.ih),
            hh: Some(&mut of.hh),
            b_ih,
            b_hh,
            hr: of.hr.as_deref_mut(),
        }
    });
    Backward {
        plan,
        sizes,
        truncate: case.truncate,
        weights: &weights,
        input,
        saved: &saved,
        d_output: Sequence::contiguous(&d_output, [time, batch, d * p]).ok(),
        d_h_end: Some(&d_h),
        d_c_end: Some(&d_c),
        d_input: SequenceMut::contiguous(&mut d_input, [time, batch, i]).ok(),
        d_h_start: Some(&mut d_h_start),
        d_c_start: Some(&mut d_c_start),
        gradients: to.collect(),
    }
    .run(context)
    .unwrap();
    all.extend([d_input, d_h_start, d_c_start].map(|of| doubles(&of)));
    for of in &gradients {
        all.extend([&of.ih, &of.hh].map(|of| doubles(of)));
        if let Some((ih, hh)) = &of.bias {
            all.extend([ih, hh].map(|of| doubles(of)));
        }
        all.extend(of.hr.as_ref().map(|of| doubles(of)));
    }
    all
}

fn both_types(case: &Case) {
    let (single, double) = with_threads(1, |one| (run::<f32>(case, one), run::<f64>(case, one)));
    for (n, (a, b)) in single.iter().zip(&double).enumerate() {
        let scale = b.iter().fold(1.0, |most: f64, b| most.max(b.abs()));
        for (a, b) in a.iter().zip(b) {
            assert!((a - b).abs() < 1e-4 * scale, "{case:?}: {n}: {a} {b}");
        }
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
                sizes: LayerSizes {
                    bias: n & 1 == 0,
                    directions: 1 + (n >> 1 & 1),
                    ..sizes(input, hidden, projection)
                },
                truncate: (n == 6).then_some(2),
                time: 4,
                lengths: [&[3, 0, 4, 1][..], &[4], &[1, 1, 1, 1, 1, 1, 1]][n % 3],
                masks: [n & 4 > 0; 4],
                from_zeros: n % 5 == 0,
                save: [SavePolicy::All, SavePolicy::States, SavePolicy::Nothing][n / 8],
            };
            both_types(&case);
        }
    }
}

/// More packed rows than a block has, and sequences without any.
#[test]
#[cfg_attr(miri, ignore = "takes minutes")]
fn many_packed_rows() {
    for lengths in [&[200, 100, 1][..], &[0, 0], &[7; 300], &[]] {
        for save in [SavePolicy::All, SavePolicy::States, SavePolicy::Nothing] {
            both_types(&Case {
                sizes: sizes(3, 18, 0),
                truncate: None,
                time: 200,
                lengths,
                masks: [false; 4],
                from_zeros: true,
                save,
            });
        }
    }
}

/// The bits of a pass do not depend on what it saves.
#[test]
#[cfg_attr(miri, ignore = "Miri's exp and tanh are off by chance")]
fn what_is_saved_changes_no_bit() {
    let alone = |number| std::array::from_fn(|n| n == number);
    for masks in [
        [false; 4],
        alone(0),
        alone(1),
        alone(2),
        alone(3),
        [true; 4],
    ] {
        let of = |save| {
            let case = Case {
                sizes: LayerSizes {
                    directions: 2,
                    ..sizes(20, 33, 9)
                },
                truncate: None,
                time: 60,
                lengths: &[60, 31, 0, 44, 60],
                masks,
                from_zeros: true,
                save,
            };
            with_threads(1, |one| run::<f32>(&case, one))
        };
        let all = of(SavePolicy::All);
        assert_eq!(all, of(SavePolicy::States));
        assert_eq!(all[..3], of(SavePolicy::Nothing));
    }
}

/// The same bits with any number of threads.
#[test]
#[cfg_attr(miri, ignore = "takes minutes")]
fn threads_change_no_bit() {
    for save in [SavePolicy::All, SavePolicy::States, SavePolicy::Nothing] {
        let case = Case {
            sizes: LayerSizes {
                directions: 2,
                ..sizes(200, 65, 30)
            },
            truncate: None,
            time: 90,
            lengths: &[90, 80, 70, 60, 50, 40, 30, 20, 10, 5, 1, 0],
            masks: [true; 4],
            from_zeros: false,
            save,
        };
        let plan = BatchPlan::new(case.lengths, 90).unwrap();
        with_threads(5, |five| {
            assert!(shares(five, &plan, &case.sizes).len() > 1);
        });
        expect_same_bits(&[1, 2, 5], |context| run::<f32>(&case, context));
        expect_same_bits(&[1, 2, 5], |context| run::<f64>(&case, context));
    }
}

/// The same where one thread has several blocks of rows to add to the gradient of the input,
/// and of several each has a part of a block.
#[test]
#[cfg_attr(miri, ignore = "takes minutes")]
fn threads_change_no_bit_of_many_packed_rows() {
    let case = Case {
        sizes: LayerSizes {
            directions: 2,
            ..sizes(20, 40, 0)
        },
        truncate: None,
        time: 7,
        lengths: &[7; 300],
        masks: [false; 4],
        from_zeros: true,
        save: SavePolicy::All,
    };
    expect_same_bits(&[1, 5], |context| run::<f32>(&case, context));
}

/// The same of few sequences, whose units the threads share.
#[test]
#[cfg_attr(miri, ignore = "takes minutes")]
fn threads_that_share_units_change_no_bit() {
    for (masks, from_zeros, save) in [
        (false, true, SavePolicy::All),
        (true, false, SavePolicy::All),
        (false, false, SavePolicy::States),
        (true, true, SavePolicy::Nothing),
    ] {
        let case = Case {
            sizes: sizes(3, 364, 0),
            truncate: from_zeros.then_some(2),
            time: 4,
            lengths: &[4, 3, 1, 0],
            masks: [masks; 4],
            from_zeros,
            save,
        };
        let plan = BatchPlan::new(case.lengths, 4).unwrap();
        assert_eq!(unit_parallelism(4, &plan, &case.sizes), 4);
        expect_same_bits(&[1, 2, 4], |context| run::<f32>(&case, context));
        expect_same_bits(&[1, 2, 4], |context| run::<f64>(&case, context));
    }
}

#[test]
fn what_does_not_fit_is_an_error() {
    let sizes = sizes(2, 3, 0);
    let plan = BatchPlan::new(&[2, 1], 2).unwrap();
    let parameters = Parameters::<f32>::new(&sizes, 0, filled);
    let told = |input: [usize; 3], output: [usize; 3], states: usize| {
        let elements = filled::<f32>(64, 1);
        let (mut out, mut h, mut c) = (vec![0.0; 64], vec![0.0; states], vec![0.0; 6]);
        let run = Forward {
            plan: &plan,
            sizes,
            weights: &[parameters.weights()],
            masks: &[],
            io: LayerIo {
                input: Sequence::contiguous(&elements, input).unwrap(),
                start: None,
                output: SequenceMut::contiguous(&mut out, output).unwrap(),
                end: StatesMut {
                    h: &mut h,
                    c: &mut c,
                },
            },
            save: SavePolicy::Nothing,
        };
        with_threads(1, |one| run.run(one).map(|_| ()))
    };
    let (input, output) = ([2, 2, 2], [2, 2, 3]);
    assert_eq!(told(input, output, 6), Ok(()));
    let shape = |name, expected, actual| {
        Err(ShapeError::Shape {
            name,
            expected,
            actual,
        })
    };
    let wrong = [2, 2, 1];
    assert_eq!(told(wrong, output, 6), shape("input", input, wrong));
    assert_eq!(told(input, wrong, 6), shape("output", output, wrong));
    let error = told(input, output, 5).unwrap_err();
    assert_eq!(error.to_string(), "final h has 5 elements, expected 6");
}

#[test]
fn what_does_not_fit_a_backward_pass_is_an_error() {
    let sizes = sizes(2, 3, 0);
    let plan = BatchPlan::new(&[2, 1], 2).unwrap();
    let parameters = Parameters::<f32>::new(&sizes, 0, filled);
    let weights = [parameters.weights()];
    let elements = filled::<f32>(64, 1);
    let input = Sequence::contiguous(&elements, [2, 2, 2]).unwrap();
    let (mut out, mut h, mut c) = (vec![0.0; 12], vec![0.0; 6], vec![0.0; 6]);
    let forward = Forward {
        plan: &plan,
        sizes,
        weights: &weights,
        masks: &[],
        io: LayerIo {
            input,
            start: None,
            output: SequenceMut::contiguous(&mut out, [2, 2, 3]).unwrap(),
            end: StatesMut {
                h: &mut h,
                c: &mut c,
            },
        },
        save: SavePolicy::All,
    };
    let saved = with_threads(1, |one| forward.run(one)).unwrap();
    let told = |lengths: &[usize], d_states: usize| {
        let run = Backward {
            plan: &BatchPlan::new(lengths, 2).unwrap(),
            sizes,
            truncate: None,
            weights: &weights,
            input,
            saved: &[saved[0].view()],
            d_output: None,
            d_h_end: Some(&elements[..d_states]),
            d_c_end: None,
            d_input: None,
            d_h_start: None,
            d_c_start: None,
            gradients: vec![LayerGradients::default()],
        };
        with_threads(1, |one| run.run(one))
    };
    assert_eq!(told(&[2, 1], 6), Ok(()));
    let error = told(&[2, 1], 7).unwrap_err();
    assert_eq!(error.to_string(), "d_h_end has 7 elements, expected 6");
    // Of other lengths than it was saved for.
    let error = told(&[2, 2], 6).unwrap_err();
    assert!(error.to_string().starts_with("saved gates: "), "{error}");
}

/// Of all elements: printed, to compare machines.
#[test]
fn fingerprint() {
    let case = Case {
        sizes: sizes(5, 19, 0),
        truncate: None,
        time: 9,
        lengths: &[9, 4, 0],
        masks: [false; 4],
        from_zeros: false,
        save: SavePolicy::All,
    };
    let print = |all: Vec<Vec<f64>>| {
        let bits = all.iter().flatten().map(|x| x.to_bits());
        bits.fold(0, |sum: u64, x| (sum ^ x).wrapping_mul(0x0100_0000_01b3))
    };
    let (single, double) = with_threads(1, |one| {
        (print(run::<f32>(&case, one)), print(run::<f64>(&case, one)))
    });
    let name = instruction_set::<f32>();
    println!("{name}: f32 {single:x}, f64 {double:x}");
}
