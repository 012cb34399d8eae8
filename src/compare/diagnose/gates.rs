//! Rows of the four gates in another order, or not in blocks.

use tch::Tensor;

use super::cause::{Cause, Scope};
use super::change::{Change, each, within};
use crate::lstm::LstmConfig;
use crate::lstm::params::{GATE_NAMES, GATES};

/// Orders of gates in which files of other frameworks stand.
const KNOWN_ORDERS: [(&str, &str); 3] = [
    ("i o f g", "ONNX's (i o f c)"),
    ("i g f o", "that of TensorFlow's BasicLSTMCell and of haste"),
    ("i f o g", "Core ML's"),
];
/// Adds every order, in every scope.
pub(super) fn add(config: &LstmConfig, changes: &mut Vec<Change>) {
    let h = config.hidden_size;
    let scopes = match config.bias {
        true => &[Scope::All, Scope::Weights, Scope::Biases][..],
        false => &[Scope::Weights][..],
    };
    for &scope in scopes {
        for order in orders(GATES as usize).into_iter().skip(1) {
            let theirs = letters(&order);
            // Where `order` is taken for i f g o: a file that stands in the
            // inverse order was read as it is.
            let mut inverse = vec![0; order.len()];
            for (place, &gate) in order.iter().enumerate() {
                inverse[gate] = place;
            }
            let what = format!(
                "the reference takes the four blocks of our rows for {theirs}{}, we for i f g o (PyTorch's, Keras's and cuDNN's order), in {}; bring the blocks of the side that is wrong into its order",
                known(&theirs, &letters(&inverse)),
                scope_of_gates(scope, config.bias),
            );
            changes.push(Change {
                cause: Cause::GateOrder { theirs, scope },
                what,
                make: Box::new(move |parameters| {
                    each(parameters, |name, tensor| {
                        within(scope, name).then(|| {
                            let blocks: Vec<Tensor> = inverse
                                .iter()
                                .map(|&block| tensor.narrow(0, block as i64 * h, h))
                                .collect();
                            Tensor::cat(&blocks, 0)
                        })
                    })
                }),
            });
        }
    }
    if h == 1 {
        return;
    }
    for &scope in &scopes[..scopes.len().min(2)] {
        for by_unit in [true, false] {
            let what = format!(
                "one side has a row for each gate of unit 0, then of unit 1, and so on, where the other has all units of gate i, then of f, g, o, in {}; sort the rows by gate",
                scope_of_gates(scope, config.bias)
            );
            changes.push(Change {
                cause: Cause::Interleaved(scope),
                what,
                make: Box::new(move |parameters| {
                    each(parameters, |name, tensor| {
                        let size = tensor.size();
                        let (rows, columns) = if by_unit { (h, GATES) } else { (GATES, h) };
                        within(scope, name).then(|| {
                            tensor
                                .reshape([rows, columns, -1])
                                .transpose(0, 1)
                                .reshape(size)
                        })
                    })
                }),
            });
        }
    }
}

fn scope_of_gates(scope: Scope, bias: bool) -> String {
    match bias {
        true => scope.to_string(),
        false => "the weights".to_owned(),
    }
}

/// `i o f g`.
fn letters(order: &[usize]) -> String {
    let letters: Vec<&str> = order.iter().map(|&gate| GATE_NAMES[gate]).collect();
    letters.join(" ")
}

/// Whose order it is.
fn known(order: &str, inverse: &str) -> String {
    let find = |order: &str| KNOWN_ORDERS.iter().find(|(known, _)| *known == order);
    match (find(order), find(inverse)) {
        (Some((_, whose)), _) => format!(", which is {whose}"),
        (None, Some((order, whose))) => {
            format!(", as if it had brought them into the order {order}, which is {whose}")
        }
        (None, None) => String::new(),
    }
}

/// Every order of `n` things, the usual one first.
pub(super) fn orders(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for rest in orders(n - 1) {
        for at in 0..n {
            let mut order = rest.clone();
            order.insert(at, n - 1);
            all.push(order);
        }
    }
    all.sort();
    all
}

#[cfg(test)]
mod tests {
    use super::super::change::split;
    use super::*;

    #[test]
    fn all_orders_are_there_once() {
        let all = orders(4);
        assert_eq!((all.len(), &all[0][..]), (24, &[0, 1, 2, 3][..]));
        let mut unique = all.clone();
        unique.dedup();
        assert_eq!(unique.len(), 24);
        assert_eq!(
            split("bias_hh_l12_reverse"),
            Some(("bias_hh", 12, "_reverse"))
        );
    }

    #[test]
    fn orders_are_named_after_their_owners() {
        assert!(known("i o f g", "i g o f").contains("ONNX"));
        assert!(known("i g o f", "i o f g").contains("ONNX"));
        assert_eq!(known("o g f i", "o g f i"), "");
    }
}
