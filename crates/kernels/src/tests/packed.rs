//! Packed layers, of which threads share the sequences, the units, or each has one.

use super::{
    Element, Parameters, doubles, expect_same_bits, filled, sizes, unwritten, with_threads,
};
use crate::{
    BatchPlan, Context, Forward, LayerIo, LayerSizes, PackedLayers, SavePolicy, Sequence,
    SequenceMut, States, StatesMut, WeightStorage,
};

/// Three layers.
struct Stack<T> {
    layers: Vec<(LayerSizes, Vec<Parameters<T>>)>,
}

impl<T: Element> Stack<T> {
    fn new(first: LayerSizes, make: impl Fn(usize, usize) -> Vec<T>) -> Self {
        let layers = (0..3).map(|layer| {
            let sizes = LayerSizes {
                input: match layer {
                    0 => first.input,
                    _ => first.directions * first.output(),
                },
                ..first
            };
            let of = |direction| Parameters::new(&sizes, 10 * layer + 100 * direction, &make);
            (sizes, (0..first.directions).map(of).collect())
        });
        Stack {
            layers: layers.collect(),
        }
    }

    fn packed(&self, context: &Context, storage: WeightStorage) -> PackedLayers<T> {
        let layers: Vec<_> = (self.layers.iter())
            .map(|(sizes, all)| (*sizes, all.iter().map(Parameters::weights).collect()))
            .collect();
        PackedLayers::new(context, &layers, storage).unwrap()
    }
}

fn half<T: Element>(count: usize, salt: usize) -> Vec<T> {
    let factor: T = 0.5f32.into();
    let all = filled::<T>(count, salt);
    all.into_iter().map(|x| factor * x).collect()
}

/// Output and final states; given states in the first of two readings, whose memory is the
/// same.
fn infer<T: Element>(
    layers: &PackedLayers<T>,
    first: &LayerSizes,
    lengths: &[usize],
    context: &Context,
) -> Vec<Vec<f64>> {
    let (hidden, output, d) = (first.hidden, first.output(), first.directions);
    let (time, batch) = (lengths.iter().max().copied().unwrap_or(0), lengths.len());
    let plan = BatchPlan::new(lengths, time).unwrap();
    let states = |width: usize| 3 * d * batch * width;
    let (h, c) = (half::<T>(states(output), 51), half::<T>(states(hidden), 52));
    let input = half::<T>(time * batch * first.input, 50);
    let mut all = Vec::new();
    for given in [true, false] {
        let mut out = unwritten::<T>(time * batch * d * output);
        let (mut h_end, mut c_end) = (
            unwritten::<T>(states(output)),
            unwritten::<T>(states(hidden)),
        );
        let io = LayerIo {
            input: Sequence::contiguous(&input, [time, batch, first.input]).unwrap(),
            start: given.then_some(States { h: &h, c: &c }),
            output: SequenceMut::contiguous(&mut out, [time, batch, d * output]).unwrap(),
            end: StatesMut {
                h: &mut h_end,
                c: &mut c_end,
            },
        };
        layers.infer(context, &plan, io).unwrap();
        all.extend([out, h_end, c_end].map(|of| doubles(&of)));
    }
    all
}

fn layer(hidden: usize, projection: usize, bidirectional: bool) -> LayerSizes {
    LayerSizes {
        bias: hidden != 5,
        directions: 1 + usize::from(bidirectional),
        ..sizes(3, hidden, projection)
    }
}

#[test]
fn threads_change_no_bit_of_packed_layers() {
    let small: &[(_, &[usize])] = &[(layer(5, 2, true), &[3, 0, 1]), (layer(9, 0, false), &[4])];
    let large: &[(_, &[usize])] = &[
        (layer(70, 0, true), &[90, 80, 70, 60, 50, 40, 30, 5, 1, 0]),
        (layer(364, 0, false), &[4, 3, 1, 0]),
        (layer(50, 0, false), &[40, 3]),
        (layer(50, 20, false), &[70]),
    ];
    let large = if cfg!(miri) { &[][..] } else { large };
    for (first, lengths) in small.iter().chain(large) {
        let of = |context: &Context| {
            fn of<T: Element>(
                first: &LayerSizes,
                lengths: &[usize],
                context: &Context,
            ) -> Vec<Vec<f64>> {
                let stack = Stack::<T>::new(*first, half);
                let packed = stack.packed(context, WeightStorage::Same);
                infer(&packed, first, lengths, context)
            }
            let single = of::<f32>(first, lengths, context);
            let double = of::<f64>(first, lengths, context);
            for (a, b) in single.iter().flatten().zip(double.iter().flatten()) {
                assert!((a - b).abs() < 1e-4, "{a} {b}");
            }
            [single, double].concat()
        };
        expect_same_bits(&[1, 2, 4], of);
    }
}

/// A layer that is packed once computes the bits of a forward pass that packs it itself.
#[test]
#[cfg_attr(miri, ignore = "Miri's exp and tanh are off by chance")]
fn a_packed_layer_computes_the_bits_of_a_forward_pass() {
    let sizes = LayerSizes {
        directions: 2,
        ..sizes(19, 37, 21)
    };
    let all: Vec<_> = (0..2)
        .map(|direction| Parameters::new(&sizes, direction, filled::<f32>))
        .collect();
    let weights: Vec<_> = all.iter().map(Parameters::weights).collect();
    let (time, batch) = (40, 7);
    let lengths: Vec<usize> = (0..batch).map(|n| n * 11 % 41).collect();
    let plan = BatchPlan::new(&lengths, time).unwrap();
    let input = filled::<f32>(time * batch * 19, 1);
    let (mut h, c) = (filled(2 * batch * 21, 2), filled(2 * batch * 37, 3));
    // Zeros need no product: here those of one direction, and not of the other.
    h[..batch * 21].fill(0.0);
    let of = |packed: bool| {
        let mut out = unwritten::<f32>(time * batch * 42);
        let (mut h_end, mut c_end) = (
            unwritten::<f32>(2 * batch * 21),
            unwritten::<f32>(2 * batch * 37),
        );
        let io = LayerIo {
            input: Sequence::contiguous(&input, [time, batch, 19]).unwrap(),
            start: Some(States { h: &h, c: &c }),
            output: SequenceMut::contiguous(&mut out, [time, batch, 42]).unwrap(),
            end: StatesMut {
                h: &mut h_end,
                c: &mut c_end,
            },
        };
        with_threads(1, |one| match packed {
            true => {
                let layers = [(sizes, weights.clone())];
                let packed = PackedLayers::new(one, &layers, WeightStorage::Same).unwrap();
                packed.infer(one, &plan, io).unwrap();
            }
            false => {
                let forward = Forward {
                    plan: &plan,
                    sizes,
                    weights: &weights,
                    masks: &[],
                    io,
                    save: SavePolicy::All,
                };
                assert_eq!(forward.run(one).unwrap().len(), 2);
            }
        });
        [out, h_end, c_end]
    };
    assert_eq!(of(true), of(false));
}

/// Weights in bf16 compute as their rounded values do.
#[test]
#[cfg_attr(miri, ignore = "Miri's exp and tanh are off by chance")]
fn bf16_computes_with_each_weight_rounded() {
    fn check<T: Element>() {
        for (hidden, projection) in [(9, 0), (37, 5), (64, 0)] {
            let first = layer(hidden, projection, true);
            let exact = Stack::<T>::new(first, half);
            let round = |all: &mut Vec<T>| {
                all.iter_mut().for_each(|x| *x = T::from_bf16(x.to_bf16()));
            };
            let mut rounded = Stack::<T>::new(first, half);
            for (_, all) in &mut rounded.layers {
                for of in all {
                    round(&mut of.ih);
                    round(&mut of.hh);
                }
            }
            with_threads(1, |one| {
                let lengths = [5, 0, 9, 9, 2, 1];
                let bf16 = exact.packed(one, WeightStorage::Bf16);
                let same = rounded.packed(one, WeightStorage::Same);
                assert_eq!(2 * bf16.bytes(), same.bytes() / (size_of::<T>() / 4));
                let of = |layers| infer(layers, &first, &lengths, one);
                assert_eq!(of(&bf16), of(&same));
            });
        }
    }
    check::<f32>();
    check::<f64>();
}
