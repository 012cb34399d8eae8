//! Time, direction, padding and state.

use tch::IndexOp;

use super::*;

#[test]
fn backward_outputs_that_were_not_turned() {
    for world in worlds().iter().filter(|world| world.config.bidirectional) {
        let mut expected = world.read(&world.right);
        let y = expected["y"].copy();
        for text in 0..N {
            let length = world
                .lengths
                .as_ref()
                .map_or(N, |lengths| lengths[text as usize]);
            let back = expected["y"].i((text, 0..length, N..)).flip([0]);
            y.i((text, 0..length, N..)).copy_(&back);
        }
        expected.insert("y".into(), y);
        let found = world.ask(&world.right, &expected).unwrap();
        assert_eq!(found.cause, Cause::BackwardNotTurned, "{}", found.message);
        assert_eq!(found.certainty, Certainty::Proved);
    }
}

#[test]
fn batch_and_time_exchanged() {
    for world in worlds().iter().filter(|world| world.lengths.is_none()) {
        let lstm = build(world.config.clone(), &world.right).unwrap();
        let mut read = run(&lstm, &world.x.transpose(0, 1), None, None).unwrap();
        read.remove("pooled");
        let y = read["y"].transpose(0, 1);
        read.insert("y".into(), y);
        let found = world.ask(&world.right, &read).unwrap();
        assert_eq!(found.cause, Cause::BatchFirst, "{}", found.message);
    }
}

#[test]
fn batch_and_time_of_other_sizes_exchanged() {
    for bidirectional in [false, true] {
        let world = World::sized(N, 4, 9, 2, bidirectional, false, Kind::Float, 5);
        let lstm = build(world.config.clone(), &world.right).unwrap();
        let ask = |read: &Tensors, y: Tensor| {
            let expected = Tensors::from([("y".to_owned(), y)]);
            let found = world.ask(&world.right, &expected).unwrap();
            assert_eq!(found.cause, Cause::BatchFirst, "{}", found.message);
            let mut with_states = expected;
            for name in ["h_n", "c_n"] {
                with_states.insert(name.to_owned(), read[name].shallow_clone());
            }
            let found = world.ask(&world.right, &with_states).unwrap();
            assert_eq!(found.cause, Cause::BatchFirst, "{}", found.message);
        };
        let read = run(&lstm, &world.x.transpose(0, 1), None, None).unwrap();
        ask(&read, read["y"].transpose(0, 1));
        // `x.view(T, B, I)`.
        let viewed = world.x.reshape([9, 4, N]).transpose(0, 1);
        let read = run(&lstm, &viewed, None, None).unwrap();
        ask(&read, read["y"].shallow_clone());
        let back = read["y"].transpose(0, 1).reshape(read["y"].size());
        ask(&read, back);
    }
}

#[test]
fn states_of_another_start_or_in_another_order() {
    let world = World::new(2, true, true, Kind::Float, 6);
    let lstm = build(world.config.clone(), &world.right).unwrap();
    let state = State {
        h: normal(&[4, N, N], Stream::new(1, "h0")).to_kind(Kind::Float),
        c: normal(&[4, N, N], Stream::new(1, "c0")).to_kind(Kind::Float),
    };
    let exchanged = State {
        h: state.c.shallow_clone(),
        c: state.h.shallow_clone(),
    };
    let lengths = world.lengths.as_deref();
    for other in [None, Some(&exchanged)] {
        let expected = run(&lstm, &world.x, lengths, other).unwrap();
        let found = diagnose(&Evidence {
            lstm: &lstm,
            input: &world.x,
            lengths,
            state: Some(&state),
            expected: &expected,
            pooled: None,
            digests: None,
            tolerance: 2e-6,
        });
        assert_eq!(found.unwrap().unwrap().cause, Cause::InitialState);
    }
    // [D, L] for [L, D], and backward first.
    for order in [[0, 2, 1, 3], [1, 0, 3, 2]] {
        let mut expected = world.read(&world.right);
        for name in ["h_n", "c_n"] {
            let rows = expected[name].index_select(0, &Tensor::from_slice(&order));
            expected.insert(name.to_owned(), rows);
        }
        let found = world.ask(&world.right, &expected).unwrap();
        assert_eq!(found.cause, Cause::DirectionsSwapped, "{}", found.message);
    }
}

#[test]
fn padding_that_is_read() {
    for world in worlds().iter().filter(|world| world.lengths.is_some()) {
        let lstm = build(world.config.clone(), &world.right).unwrap();
        let mut leaked = run(&lstm, &world.x, None, None).unwrap();
        let right = world.read(&world.right);
        let pooled = leaked.remove("pooled").unwrap();
        let found = world.ask(&world.right, &leaked).unwrap();
        assert_eq!(found.cause, Cause::Padding, "{}", found.message);

        // We, who were not given the lengths.
        let blind = World {
            config: world.config.clone(),
            right: each(&world.right, |_, tensor| tensor.shallow_clone()),
            x: world.x.shallow_clone(),
            lengths: None,
            tolerance: world.tolerance,
        };
        let found = blind.ask(&blind.right, &right).unwrap();
        assert_eq!(found.cause, Cause::Padding, "{}", found.message);

        // Only what the head reads is wrong.
        let found = world.ask_with(&world.right, &right, Some(&pooled), None);
        assert_eq!(found.unwrap().cause, Cause::Padding);
        let column = right["y"].select(1, N - 1);
        let found = world
            .ask_with(&world.right, &right, Some(&column), None)
            .unwrap();
        assert_eq!(found.cause, Cause::LastStep, "{}", found.message);
    }
}
