//! What is summed up of a layer and direction while texts pass, and what it comes to.

use super::covariance::Covariance;
use super::gates::Gates;
use super::{
    ACTIVATIONS, Activation, Correlations, Histogram, Layer, Projected, Ranked, Settings, Unit,
    half_life, place,
};
use crate::lstm::LstmConfig;

/// What is summed up of one layer and direction.
pub(super) struct Accumulated {
    pub gates: Gates,
    /// With the class: of each of [`ACTIVATIONS`], each unit's.
    covariances: [Vec<Covariance>; 4],
    /// Of the activation that ranks, each unit's; empty without classes.
    histograms: Vec<Histogram>,
    ranks_by: Activation,
}

impl Accumulated {
    pub fn new(config: &LstmConfig, ranks_by: Activation, classes: Option<usize>) -> Accumulated {
        let units = |activation: Activation| activation.units(config) as usize;
        Accumulated {
            gates: Gates::new(config.hidden_size as usize),
            covariances: ACTIVATIONS
                .map(|activation| vec![Covariance::default(); units(activation)]),
            histograms: match classes {
                Some(classes) => vec![Histogram::new(classes); units(ranks_by)],
                None => Vec::new(),
            },
            ranks_by,
        }
    }

    pub fn add(&mut self, activations: &[Vec<f64>; 4], classes: &[u32]) {
        let of_all = ACTIVATIONS.into_iter().zip(activations);
        for ((activation, values), covariances) in of_all.zip(&mut self.covariances) {
            for (values, &class) in values.chunks(covariances.len()).zip(classes) {
                for (covariance, value) in covariances.iter_mut().zip(values) {
                    covariance.add(*value, f64::from(class));
                }
                if activation == self.ranks_by {
                    for (histogram, value) in self.histograms.iter_mut().zip(values) {
                        histogram.add(*value, class as usize);
                    }
                }
            }
        }
    }

    fn correlations(&self, unit: usize) -> Correlations {
        let [hidden, cell, mean, max] = [0, 1, 2, 3].map(|at: usize| {
            let covariance: Option<&Covariance> = self.covariances[at].get(unit);
            covariance.and_then(Covariance::correlation)
        });
        Correlations {
            hidden,
            cell,
            mean,
            max,
        }
    }

    pub fn finish(&self, at: usize, config: &LstmConfig) -> Layer {
        let (layer, direction) = place(at, config);
        let is_projected = config.proj_size > 0;
        let units = (0..config.hidden_size as usize).map(|unit| {
            let gates = self.gates.of_unit(unit);
            let correlation = self.correlations(unit);
            Unit {
                unit,
                input: gates.input,
                forget: gates.forget,
                output: gates.output,
                mean_log_forget: gates.mean_log_forget,
                floored: gates.floored,
                half_life: half_life(gates.mean_log_forget),
                correlation: match is_projected {
                    false => correlation,
                    true => Correlations {
                        cell: correlation.cell,
                        ..Correlations::default()
                    },
                },
            }
        });
        let projected = (0..config.proj_size as usize).map(|unit| Projected {
            unit,
            correlation: Correlations {
                cell: None,
                ..self.correlations(unit)
            },
        });
        Layer {
            layer,
            direction,
            units: units.collect(),
            projected: projected.collect(),
        }
    }
}

/// The units of all layers by their absolute correlation; those that are equal stay in
/// their order.
pub(super) fn ranked(
    layers: &[Accumulated],
    config: &LstmConfig,
    settings: &Settings,
) -> Vec<Ranked> {
    let mut all: Vec<(usize, usize, f64)> = Vec::new();
    for (at, layer) in layers.iter().enumerate() {
        for unit in 0..layer.histograms.len() {
            if let Some(correlation) = layer.correlations(unit).of(settings.activation) {
                all.push((at, unit, correlation));
            }
        }
    }
    all.sort_by(|(_, _, a), (_, _, b)| b.abs().total_cmp(&a.abs()));
    let best = all.into_iter().take(settings.top);
    best.map(|(at, unit, correlation)| {
        let (layer, direction) = place(at, config);
        Ranked {
            layer,
            direction,
            unit,
            correlation,
            histogram: layers[at].histograms[unit].clone(),
        }
    })
    .collect()
}
