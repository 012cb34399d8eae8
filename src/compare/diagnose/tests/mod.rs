//! Each mistake on either side; and differences that are none of them.

mod dropout_and_dtype;
mod reading;
mod weights;

use std::collections::BTreeMap;

use tch::{Device, Kind, Tensor};

use super::case::{Fit, build, run};
use super::*;
use crate::checkpoint::safetensors::Tensors;
use crate::compare::digest::digest;
use crate::lstm::{Init, Lstm, LstmConfig, State};
use crate::random::{Stream, normal, uniform};

/// `B`, `T`, `I` and `H`: so that no shape tells one from another.
const N: i64 = 6;

/// A model with an input.
struct World {
    config: LstmConfig,
    right: Tensors,
    x: Tensor,
    lengths: Option<Vec<i64>>,
    tolerance: f64,
}

impl World {
    fn new(layers: i64, bidirectional: bool, ragged: bool, kind: Kind, seed: u64) -> World {
        World::sized(N, N, N, layers, bidirectional, ragged, kind, seed)
    }

    #[allow(clippy::too_many_arguments, reason = "eight sizes of a test")]
    fn sized(
        hidden: i64,
        batch: i64,
        time: i64,
        layers: i64,
        bidirectional: bool,
        ragged: bool,
        kind: Kind,
        seed: u64,
    ) -> World {
        let stream = Stream::new(seed, "diagnose");
        let config = LstmConfig {
            num_layers: layers,
            bidirectional,
            ..LstmConfig::new(hidden, hidden)
        };
        let lstm = Lstm::new(config.clone(), Init::default(), stream).unwrap();
        let right = lstm
            .parameters()
            .into_iter()
            .map(|(name, tensor)| (name, tensor.detach().to_kind(kind)))
            .collect();
        let lengths = ragged.then(|| {
            let mut lengths: Vec<i64> = (0..batch).map(|b| 1 + (b * 3 + 2) % time).collect();
            lengths[0] = time;
            lengths
        });
        World {
            config,
            right,
            x: normal(&[batch, time, hidden], stream.at(1)).to_kind(kind),
            lengths,
            tolerance: if kind == Kind::Double { 1e-12 } else { 2e-6 },
        }
    }

    /// What an LSTM with these parameters puts out.
    fn read(&self, parameters: &Tensors) -> Tensors {
        let lstm = build(self.config.clone(), parameters).unwrap();
        let mut read = run(&lstm, &self.x, self.lengths.as_deref(), None).unwrap();
        read.remove("pooled");
        read
    }

    fn ask(&self, ours: &Tensors, expected: &Tensors) -> Option<Diagnosis> {
        self.ask_with(ours, expected, None, None)
    }

    fn ask_with(
        &self,
        ours: &Tensors,
        expected: &Tensors,
        pooled: Option<&Tensor>,
        digests: Option<&BTreeMap<String, String>>,
    ) -> Option<Diagnosis> {
        let lstm = build(self.config.clone(), ours).unwrap();
        diagnose(&Evidence {
            lstm: &lstm,
            input: &self.x,
            lengths: self.lengths.as_deref(),
            state: None,
            expected,
            pooled,
            digests,
            tolerance: self.tolerance,
        })
        .unwrap()
    }

    /// Ours broken and the reference right, then the other way round.
    fn both_sides(&self, cause: &str, broken: &Tensors) {
        for (ours, theirs) in [(broken, &self.right), (&self.right, broken)] {
            let found = self.ask(ours, &self.read(theirs));
            let found = found.unwrap_or_else(|| panic!("{cause}: not found"));
            assert_eq!(found.cause.name(), cause, "{}", found.message);
            assert_eq!(found.certainty, Certainty::Proved, "{}", found.message);
            assert!(found.message.starts_with(cause));
        }
    }
}

fn each(parameters: &Tensors, change: impl Fn(&str, &Tensor) -> Tensor) -> Tensors {
    parameters
        .iter()
        .map(|(name, tensor)| (name.clone(), change(name, tensor).contiguous()))
        .collect()
}

/// Row `k` is row `from(k)` of the old.
fn rows(tensor: &Tensor, from: impl Fn(i64) -> i64) -> Tensor {
    let index: Vec<i64> = (0..tensor.size()[0]).map(from).collect();
    tensor.index_select(0, &Tensor::from_slice(&index))
}

fn digests_of(parameters: &Tensors) -> BTreeMap<String, String> {
    parameters
        .iter()
        .map(|(name, tensor)| (name.clone(), digest(tensor)))
        .collect()
}

fn worlds() -> Vec<World> {
    let mut worlds = Vec::new();
    for layers in 1..=3 {
        for bidirectional in [false, true] {
            let ragged = layers % 2 == 0;
            let kind = if bidirectional {
                Kind::Float
            } else {
                Kind::Double
            };
            let seed = worlds.len() as u64;
            worlds.push(World::new(layers, bidirectional, ragged, kind, seed));
            worlds.push(World::new(
                layers,
                bidirectional,
                !ragged,
                Kind::Float,
                seed + 50,
            ));
        }
    }
    worlds
}

#[test]
fn an_exact_model_has_no_cause() {
    for world in worlds() {
        assert_eq!(world.ask(&world.right, &world.read(&world.right)), None);
    }
}

#[test]
fn two_causes_that_both_fit_are_both_told() {
    let fit = |cause, what: &str, rms| Fit {
        cause,
        what: what.to_owned(),
        rms,
        to_the_bit: false,
    };
    let fits = |rms| {
        vec![
            fit(Cause::Padding, "one", 0.0),
            fit(Cause::BatchFirst, "another", rms),
        ]
    };
    let found = choose(fits(1e-9), 2e-6).unwrap();
    assert_eq!(found.certainty, Certainty::Likely);
    assert!(found.message.contains("cannot be told from this: another"));
    // Within the tolerance, but far from as near.
    let found = choose(fits(1e-6), 2e-6).unwrap();
    assert_eq!(
        (found.cause, found.certainty),
        (Cause::Padding, Certainty::Proved)
    );
    assert_eq!(choose(Vec::new(), 2e-6), None);
}
