//! Mistakes with parameters: each is a function from ours to those that would
//! give the reference.

use tch::Tensor;

use super::{Case, Cause, Certainty, Diagnosis, Fit, Scope, Total, run};
use crate::checkpoint::safetensors::Tensors;
use crate::error::Result;
use crate::lstm::params::{GATE_NAMES, GATES};
use crate::lstm::{LstmConfig, State};

/// Orders of gates in which files of other frameworks stand.
const KNOWN_ORDERS: [(&str, &str); 3] = [
    ("i o f g", "ONNX's (i o f c)"),
    ("i g f o", "that of TensorFlow's BasicLSTMCell and of haste"),
    ("i f o g", "Core ML's"),
];
/// More layers than this are not tried in every order.
const EVERY_ORDER: usize = 4;

/// A mistake with weights.
struct Change {
    cause: Cause,
    /// As a sentence without its end.
    what: String,
    /// `None` where it changes nothing, or has no place.
    make: Box<dyn Fn(&Tensors) -> Option<Tensors>>,
}

/// Tries every mistake: first on one text, then on all.
pub(super) fn try_all(case: &Case, fits: &mut Vec<Fit>) -> Result<()> {
    if !case.base.rms.is_finite() {
        // No weight changes a shape, or makes a number of what is none.
        return Ok(());
    }
    let evidence = case.evidence;
    let input = evidence.input.narrow(0, case.text, 1);
    let length = [case.lengths[case.text as usize]];
    let state = evidence.state.map(|state| State {
        h: state.h.narrow(1, case.text, 1),
        c: state.c.narrow(1, case.text, 1),
    });
    for change in changes(evidence.lstm.config(), case) {
        let Some(parameters) = (change.make)(&case.parameters) else {
            continue;
        };
        let lstm = case.with(&parameters)?;
        let one = run(&lstm, &input, Some(&length), state.as_ref())?;
        let distance = case.distance(&one, Some(case.text));
        if distance.is_none_or(|distance| distance.share > 1.0) {
            continue;
        }
        let all = run(&lstm, evidence.input, evidence.lengths, evidence.state)?;
        let bits = case.to_the_bit(&parameters);
        case.keep(fits, change.cause, said(case, change.what), &all, bits);
    }
    Ok(())
}

/// A mistake that makes the reference's weights of ours to the bit, although the
/// outputs are not reproduced.
pub(super) fn by_digest(case: &Case) -> Option<Diagnosis> {
    let digests = case.evidence.digests?;
    if case.to_the_bit(&case.parameters) {
        return None;
    }
    for change in changes(case.evidence.lstm.config(), case) {
        let made = (change.make)(&case.parameters);
        if made.is_some_and(|parameters| case.to_the_bit(&parameters)) {
            return Some(Diagnosis {
                message: format!(
                    "{}: {}; with that change our weights are the reference's to the bit, but the outputs differ all the same: there is something else",
                    change.cause.name(),
                    change.what
                ),
                cause: change.cause,
                certainty: Certainty::Proved,
            });
        }
    }
    // A bias that was lost on the way to us: all else is the same.
    let differ: Vec<&String> = case
        .parameters
        .iter()
        .filter(|(name, tensor)| digests.get(*name) != Some(&super::digest(tensor)))
        .map(|(name, _)| name)
        .collect();
    let zero = |name: &&String| {
        name.starts_with("bias") && is_zero(&case.parameters[*name]) && digests.contains_key(*name)
    };
    if differ.is_empty() || !differ.iter().all(|name| zero(name)) {
        return None;
    }
    let names = differ
        .iter()
        .map(|name| name.as_str())
        .collect::<Vec<_>>()
        .join(", ");
    Some(Diagnosis {
        message: format!(
            "biases: ours are all zero in {names}, the reference's are not, and every other parameter is the same to the bit; read them from the checkpoint again"
        ),
        cause: Cause::Biases(Total::Lost(names)),
        certainty: Certainty::Likely,
    })
}

fn is_zero(tensor: &Tensor) -> bool {
    tensor.count_nonzero(None).int64_value(&[]) == 0
}

/// What a change says, and that it is about reading where the weights are the
/// same.
fn said(case: &Case, what: String) -> String {
    match case.to_the_bit(&case.parameters) {
        true => format!(
            "{what} (both sides have the same weights to the bit, so one of them reads them so)"
        ),
        false => what,
    }
}

/// The same change of every parameter that it has a place in.
fn each(parameters: &Tensors, change: impl Fn(&str, &Tensor) -> Option<Tensor>) -> Option<Tensors> {
    let mut changed = false;
    let made = parameters.iter().map(|(name, tensor)| {
        let tensor = match change(name, tensor) {
            Some(other) => {
                changed |= !same(&other, tensor);
                other.contiguous()
            }
            None => tensor.shallow_clone(),
        };
        (name.clone(), tensor)
    });
    let made = made.collect();
    changed.then_some(made)
}

fn same(a: &Tensor, b: &Tensor) -> bool {
    a.size() == b.size() && a.f_equal(b).unwrap_or(false)
}

/// Whether a parameter is one of those; projections have no gates.
fn within(scope: Scope, name: &str) -> bool {
    let (ih, hh) = (name.starts_with("weight_ih"), name.starts_with("weight_hh"));
    let bias = name.starts_with("bias");
    match scope {
        Scope::All => ih || hh || bias,
        Scope::Weights => ih || hh,
        Scope::Biases => bias,
        Scope::Input => ih,
        Scope::Hidden => hh,
    }
}

fn changes(config: &LstmConfig, case: &Case) -> Vec<Change> {
    let mut changes = Vec::new();
    gates(config, &mut changes);
    biases(config, &mut changes);
    layers(config, &mut changes);
    directions(config, &mut changes);
    matrices(config, &mut changes);
    rounding(case, &mut changes);
    changes
}

fn gates(config: &LstmConfig, changes: &mut Vec<Change>) {
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
fn orders(n: usize) -> Vec<Vec<usize>> {
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

fn biases(config: &LstmConfig, changes: &mut Vec<Change>) {
    if !config.bias {
        return;
    }
    type Sum = fn(&Tensor, &Tensor) -> (Tensor, Tensor);
    // The order matters where one of ours is zero, or both are the same.
    let sums: [(Total, &str, Sum); 7] = [
        (Total::None, "adds no bias", |a, b| {
            (a.zeros_like(), b.zeros_like())
        }),
        (
            Total::TwiceBoth,
            "adds bias_ih and bias_hh twice (their sum was put into both)",
            |a, b| (a + b, a + b),
        ),
        (Total::Ih, "adds bias_ih only, without bias_hh", |a, b| {
            (a.shallow_clone(), b.zeros_like())
        }),
        (Total::Hh, "adds bias_hh only, without bias_ih", |a, b| {
            (a.zeros_like(), b.shallow_clone())
        }),
        (
            Total::TwiceIh,
            "adds bias_ih twice, and not bias_hh",
            |a, _| (a.shallow_clone(), a.shallow_clone()),
        ),
        (
            Total::TwiceHh,
            "adds bias_hh twice, and not bias_ih",
            |_, b| (b.shallow_clone(), b.shallow_clone()),
        ),
        (
            Total::Half,
            "adds half of our biases: ours were added up and put into both",
            |a, b| (a * 0.5, b * 0.5),
        ),
    ];
    for (total, does, sum) in sums {
        let what = format!(
            "the reference {does}, where we add bias_ih + bias_hh once; a framework with one bias has it in bias_ih, and zeros in bias_hh"
        );
        changes.push(Change {
            cause: Cause::Biases(total),
            what,
            make: Box::new(move |parameters| {
                let made = each(parameters, |name, tensor| {
                    let (is_ih, rest) = match name.strip_prefix("bias_ih") {
                        Some(rest) => (true, rest),
                        None => (false, name.strip_prefix("bias_hh")?),
                    };
                    let other = if is_ih { "bias_hh" } else { "bias_ih" };
                    let other = parameters.get(&format!("{other}{rest}"))?;
                    Some(match is_ih {
                        true => sum(tensor, other).0,
                        false => sum(other, tensor).1,
                    })
                })?;
                Some(made)
            }),
        });
    }
}

fn layers(config: &LstmConfig, changes: &mut Vec<Change>) {
    let layers = config.num_layers as usize;
    // Those that read vectors of the same size can change places.
    let first = usize::from(config.layer_input_size(0) != config.layer_input_size(1));
    let movable = layers.saturating_sub(first);
    let moves: Vec<Vec<usize>> = match movable {
        0 | 1 => Vec::new(),
        n if n <= EVERY_ORDER => orders(n).into_iter().skip(1).collect(),
        n => {
            let mut moves = vec![(0..n).rev().collect()];
            for a in 0..n {
                for b in a + 1..n {
                    let mut order: Vec<usize> = (0..n).collect();
                    order.swap(a, b);
                    moves.push(order);
                }
            }
            moves
        }
    };
    for order in moves {
        let order: Vec<usize> = (0..first)
            .chain(order.into_iter().map(|layer| layer + first))
            .collect();
        let names: Vec<String> = order.iter().map(usize::to_string).collect();
        let what = format!(
            "the reference runs our layers in the order {} from the input up; name the layers of the side that is wrong anew",
            names.join(" ")
        );
        let cause = Cause::LayersSwapped(order.iter().map(|&layer| layer as i64).collect());
        changes.push(Change {
            cause,
            what,
            make: Box::new(move |parameters| {
                let mut changed = false;
                let made = parameters.iter().map(|(name, tensor)| {
                    let other = split(name).and_then(|(role, layer, direction)| {
                        let from = order.get(layer)?;
                        parameters.get(&format!("{role}_l{from}{direction}"))
                    });
                    let other = other.unwrap_or(tensor);
                    changed |= !same(other, tensor);
                    (name.clone(), other.shallow_clone())
                });
                let made = made.collect();
                changed.then_some(made)
            }),
        });
    }
}

/// `weight_ih`, 0 and `_reverse` of `weight_ih_l0_reverse`.
fn split(name: &str) -> Option<(&str, usize, &str)> {
    let (role, rest) = name.rsplit_once("_l")?;
    let (layer, direction) = match rest.strip_suffix("_reverse") {
        Some(layer) => (layer, "_reverse"),
        None => (rest, ""),
    };
    Some((role, layer.parse().ok()?, direction))
}

fn directions(config: &LstmConfig, changes: &mut Vec<Change>) {
    if !config.bidirectional {
        return;
    }
    let layers = config.num_layers as usize;
    let single = (layers > 1).then_some(0..layers).into_iter().flatten();
    for only in std::iter::once(None).chain(single.map(Some)) {
        let of = match only {
            None => String::new(),
            Some(layer) => format!(" of layer {layer}"),
        };
        changes.push(Change {
            cause: Cause::DirectionsSwapped,
            what: format!(
                "the reference reads forward with our backward weights{of}, and backward with our forward ones; change the names with and without _reverse on the side that is wrong"
            ),
            make: Box::new(move |parameters| {
                each(parameters, |name, _| {
                    let (role, layer, direction) = split(name)?;
                    if only.is_some_and(|only| only != layer) {
                        return None;
                    }
                    let other = if direction.is_empty() { "_reverse" } else { "" };
                    let other = parameters.get(&format!("{role}_l{layer}{other}"))?;
                    Some(other.shallow_clone())
                })
            }),
        });
    }
}

fn matrices(config: &LstmConfig, changes: &mut Vec<Change>) {
    let h = config.hidden_size;
    for scope in [Scope::Hidden, Scope::Input, Scope::Weights] {
        let which = match scope {
            Scope::Weights => "weight_ih and weight_hh",
            Scope::Input => "weight_ih",
            _ => "weight_hh",
        };
        changes.push(Change {
            cause: Cause::Transposed(scope),
            what: format!(
                "the reference has each gate's block of our {which} transposed; rows are what is put out, columns what is read"
            ),
            make: Box::new(move |parameters| {
                each(parameters, |name, tensor| {
                    let square = tensor.dim() == 2 && tensor.size()[1] == h;
                    (within(scope, name) && square).then(|| {
                        let blocks = tensor.reshape([GATES, h, h]).transpose(1, 2);
                        blocks.reshape([GATES * h, h])
                    })
                })
            }),
        });
        // A matrix that is square as a whole.
        changes.push(Change {
            cause: Cause::Transposed(scope),
            what: format!(
                "the reference has our {which} transposed as a whole; rows are the gates' units, columns what is read"
            ),
            make: Box::new(move |parameters| {
                each(parameters, |name, tensor| {
                    let square = tensor.dim() == 2 && tensor.size()[0] == tensor.size()[1];
                    (within(scope, name) && square).then(|| tensor.tr())
                })
            }),
        });
        for ours_reshaped in [true, false] {
            let side = if ours_reshaped {
                "ours"
            } else {
                "the reference"
            };
            changes.push(Change {
                cause: Cause::Reshaped(scope),
                what: format!(
                    "a reshape was taken for a transpose in {which}, most likely by {side}: a matrix with inputs as its rows (as Keras has them) needs .T, not reshape"
                ),
                make: Box::new(move |parameters| {
                    each(parameters, |name, tensor| {
                        let &[rows, columns] = &tensor.size()[..] else {
                            return None;
                        };
                        within(scope, name).then(|| match ours_reshaped {
                            true => tensor.reshape([columns, rows]).tr(),
                            false => tensor.tr().reshape([rows, columns]),
                        })
                    })
                }),
            });
        }
    }
}

/// Weights that were rounded on the reference's side.
fn rounding(case: &Case, changes: &mut Vec<Change>) {
    for kind in super::dtype::coarser(case.evidence.input.kind()) {
        let dtype = crate::compare::dtype_name(kind);
        changes.push(Change {
            cause: Cause::Dtype(kind),
            what: format!(
                "the reference has our weights rounded to {dtype}; make it again from the weights as they are, or round ours"
            ),
            make: Box::new(move |parameters| {
                each(parameters, |_, tensor| {
                    Some(tensor.to_kind(kind).to_kind(tensor.kind()))
                })
            }),
        });
    }
}

#[cfg(test)]
mod tests {
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
