//! Weights, on either side.

use super::*;

#[test]
fn gates_in_another_order() {
    for world in worlds() {
        let orders = [
            [0, 3, 1, 2],
            [0, 2, 1, 3],
            [0, 2, 3, 1],
            [3, 2, 1, 0],
            [1, 2, 3, 0],
        ];
        for order in orders {
            let order = |row: i64| order[(row / N) as usize] * N + row % N;
            let all = each(&world.right, |_, tensor| rows(tensor, order));
            world.both_sides("gate order", &all);
            let weights = each(&world.right, |name, tensor| {
                match name.starts_with("weight") {
                    true => rows(tensor, order),
                    false => tensor.shallow_clone(),
                }
            });
            world.both_sides("gate order", &weights);
        }
        let interleaved = |row: i64| (row % 4) * N + row / 4;
        let all = each(&world.right, |_, tensor| rows(tensor, interleaved));
        world.both_sides("interleaved gates", &all);
    }
    // The message has the order of the file, and whose it is.
    let world = World::new(1, false, false, Kind::Float, 9);
    let onnx = each(&world.right, |_, tensor| {
        rows(tensor, |row| [0, 3, 1, 2][(row / N) as usize] * N + row % N)
    });
    let found = world.ask(&onnx, &world.read(&world.right)).unwrap();
    assert!(
        found.message.contains("i o f g, which is ONNX's"),
        "{}",
        found.message
    );
    let found = world.ask(&world.right, &world.read(&onnx)).unwrap();
    assert!(found.message.contains("ONNX's"), "{}", found.message);
}

#[test]
fn biases_too_often_or_not_at_all() {
    type Sum = fn(&Tensor, &Tensor) -> [Tensor; 2];
    let sums: [(Sum, bool); 7] = [
        (|a, b| [a + b, a + b], true),
        (|a, b| [a.zeros_like(), b.zeros_like()], false),
        (|a, b| [a.shallow_clone(), b.zeros_like()], false),
        (|a, b| [a.zeros_like(), b.shallow_clone()], false),
        (|a, _| [a.shallow_clone(), a.shallow_clone()], false),
        (|_, b| [b.shallow_clone(), b.shallow_clone()], false),
        (|a, b| [a * 2.0, b * 2.0], true),
    ];
    for world in worlds() {
        for (sum, undone) in sums {
            let broken = each(&world.right, |name, tensor| {
                if !name.starts_with("bias") {
                    return tensor.shallow_clone();
                }
                let a = &world.right[&name.replace("_hh", "_ih")];
                let b = &world.right[&name.replace("_ih", "_hh")];
                sum(a, b)[usize::from(name.starts_with("bias_hh"))].shallow_clone()
            });
            if undone {
                world.both_sides("biases", &broken);
            } else {
                let found = world.ask(&world.right, &world.read(&broken)).unwrap();
                assert_eq!(found.cause.name(), "biases", "{}", found.message);
                // What is lost cannot be made up, but it can be seen to be lost.
                let expected = world.read(&world.right);
                assert_eq!(world.ask(&broken, &expected), None);
                let digests = digests_of(&world.right);
                let found = world.ask_with(&broken, &expected, None, Some(&digests));
                let zero = broken
                    .iter()
                    .filter(|(_, t)| t.count_nonzero(None).int64_value(&[]) == 0);
                let lost = zero.count() > 0;
                assert_eq!(found.is_some(), lost, "{found:?}");
            }
        }
    }
}

#[test]
fn layers_and_directions_in_each_others_place() {
    for world in worlds() {
        let layers = world.config.num_layers;
        let directions = world.config.directions();
        let first = if directions == 2 { 1 } else { 0 };
        if layers - first > 1 {
            let (a, b) = (format!("_l{first}"), format!("_l{}", layers - 1));
            let broken = each(&world.right, |name, _| {
                let other = if name.contains(&a) {
                    name.replace(&a, &b)
                } else {
                    name.replace(&b, &a)
                };
                world.right[&other].shallow_clone()
            });
            world.both_sides("layers swapped", &broken);
        }
        if directions == 1 {
            continue;
        }
        let broken = each(&world.right, |name, _| {
            let other = match name.strip_suffix("_reverse") {
                Some(forward) => forward.to_owned(),
                None => format!("{name}_reverse"),
            };
            world.right[&other].shallow_clone()
        });
        world.both_sides("directions swapped", &broken);
        let mut expected = world.read(&world.right);
        let halves = expected["y"].chunk(2, -1);
        expected.insert("y".into(), Tensor::cat(&[&halves[1], &halves[0]], -1));
        let found = world.ask(&world.right, &expected).unwrap();
        assert_eq!(found.cause, Cause::DirectionsSwapped);
    }
}

#[test]
fn transposed_and_reshaped() {
    for world in worlds() {
        for role in ["weight_hh", "weight_ih", "weight"] {
            let blocks = each(&world.right, |name, tensor| {
                match name.starts_with(role) && tensor.size().get(1) == Some(&N) {
                    true => Tensor::cat(
                        &tensor
                            .chunk(4, 0)
                            .iter()
                            .map(|b| b.tr())
                            .collect::<Vec<_>>(),
                        0,
                    ),
                    false => tensor.shallow_clone(),
                }
            });
            world.both_sides("transposed weights", &blocks);
            let shaped = each(&world.right, |name, tensor| match name.starts_with(role) {
                true => tensor.tr().reshape(tensor.size()),
                false => tensor.shallow_clone(),
            });
            world.both_sides("reshaped weights", &shaped);
        }
    }
}
