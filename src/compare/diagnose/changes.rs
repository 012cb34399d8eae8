//! Mistakes with parameters: each is a function from ours to those that would
//! give the reference.

use tch::Tensor;

use super::case::Case;
use super::cause::{Cause, Scope, Total};
use super::change::{Change, each, same, split, within};
use super::dtype::coarser;
use super::gates::{self, orders};
use crate::checkpoint::dtype_name;
use crate::lstm::LstmConfig;
use crate::lstm::params::GATES;

/// More layers than this are not tried in every order.
const EVERY_ORDER: usize = 4;

/// Every mistake that an LSTM like this can have.
pub(super) fn changes(config: &LstmConfig, case: &Case) -> Vec<Change> {
    let mut changes = Vec::new();
    gates::add(config, &mut changes);
    biases(config, &mut changes);
    layers(config, &mut changes);
    directions(config, &mut changes);
    matrices(config, &mut changes);
    rounding(case, &mut changes);
    changes
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
    for kind in coarser(case.evidence.input.kind()) {
        let dtype = dtype_name(kind);
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
