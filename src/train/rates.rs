//! A learning rate to start from: a few steps whose rate grows, and what becomes of
//! the loss (Smith, "Cyclical learning rates for training neural networks", 2017).

use serde::Serialize;

use super::batches::batches;
use super::loader::Loaded;
use super::trainer::Trainer;
use super::{Config, Corpus};
use crate::error::{Error, Result};
use crate::model::Model;

/// How much of the smoothed loss stays at each step, as in fastai and Lightning.
const SMOOTHING: f64 = 0.98;
/// No further where the smoothed loss is so many times its least.
const BURST: f64 = 4.0;
/// The first steps say more of the smoothing than of the rate, the last ones are
/// beyond every use.
const SKIP: usize = 10;
/// Slopes are measured over so many steps.
const WINDOW: usize = 9;

/// Which rates are tried.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateRange {
    /// Of the first step.
    pub from: f64,
    /// Of the last step.
    pub to: f64,
    /// How many; each rate is the same multiple of the one before.
    pub steps: usize,
}

impl Default for RateRange {
    fn default() -> Self {
        RateRange {
            from: 1e-5,
            to: 10.0,
            steps: 300,
        }
    }
}

impl RateRange {
    /// Checks that rates can be tried over this range.
    ///
    /// # Errors
    /// The field that has an impossible value.
    pub fn validate(&self) -> Result<()> {
        let RateRange { from, to, steps } = *self;
        if !(from > 0.0 && from < to && to.is_finite()) {
            return Err(Error::config("from", "must be above 0 and below to"));
        }
        match steps >= 2 * SKIP {
            true => Ok(()),
            false => Err(Error::config(
                "steps",
                format!("must be {} or more", 2 * SKIP),
            )),
        }
    }

    fn rate(&self, step: usize) -> f64 {
        let share = step as f64 / (self.steps - 1) as f64;
        self.from * (self.to / self.from).powf(share)
    }
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RatePoint {
    /// Its rate.
    pub rate: f64,
    /// The loss before it.
    pub loss: f64,
    /// The smoothed loss.
    pub smoothed: f64,
}

/// What the steps gave.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rates {
    /// Each step, until the loss burst.
    pub points: Vec<RatePoint>,
    /// Where the smoothed loss falls fastest.
    pub suggestion: Option<f64>,
}

/// Trains `model` with growing rates; its weights are of no use afterwards.
/// `stepped` hears how many steps are done.
pub fn find_rate(
    config: &Config,
    model: &Model,
    train: &Corpus,
    range: RateRange,
    mut stepped: impl FnMut(usize),
) -> Result<Rates> {
    range.validate()?;
    let lengths = train.lengths();
    let mut trainer = Trainer::new(config, model, train)?;
    let (mut points, mut average, mut least) = (Vec::new(), 0.0, f64::INFINITY);
    let mut epochs = 1..;
    let mut waiting = Vec::new().into_iter();
    for step in 0..range.steps {
        let rows: Vec<Vec<usize>> = (0..config.train.accumulate)
            .filter_map(|_| {
                waiting.next().or_else(|| {
                    waiting = batches(config, &lengths, epochs.next()?).into_iter();
                    waiting.next()
                })
            })
            .collect();
        let load = |rows: &Vec<usize>| Loaded::new(train, rows).to_device(model.device());
        let loaded: Vec<Loaded> = rows.iter().map(load).collect();
        let done = trainer.step_at(&loaded, range.rate(step))?;
        stepped(step + 1);
        let (loss, norm) = done.read();
        if done.skipped {
            continue;
        }
        if !(loss.is_finite() && norm.is_finite()) {
            break;
        }
        average = SMOOTHING * average + (1.0 - SMOOTHING) * loss;
        let smoothed = average / (1.0 - SMOOTHING.powi(points.len() as i32 + 1));
        least = f64::min(least, smoothed);
        points.push(RatePoint {
            rate: done.rate,
            loss,
            smoothed,
        });
        if points.len() > SKIP && smoothed > BURST * least {
            break;
        }
    }
    Ok(Rates {
        suggestion: steepest(&points),
        points,
    })
}

/// The rate where the smoothed loss falls fastest over the logarithm of the rate, on
/// its way to where it is least; none if it falls by less than a hundredth.
fn steepest(points: &[RatePoint]) -> Option<f64> {
    let points = points.get(SKIP..)?;
    let by_loss = |a: &&RatePoint, b: &&RatePoint| a.smoothed.total_cmp(&b.smoothed);
    let least = points.iter().min_by(by_loss)?;
    let falling: Vec<&RatePoint> = points.iter().filter(|p| p.rate <= least.rate).collect();
    let first = falling.first()?;
    if least.smoothed > 0.99 * first.smoothed {
        return None;
    }
    // Over some steps together, since each has texts of its own.
    let window = WINDOW.min(falling.len());
    let slope = |part: &[&RatePoint]| {
        let (first, middle, last) = (part[0], part[window / 2], part[window - 1]);
        let run = (last.rate / first.rate).ln();
        ((last.smoothed - first.smoothed) / run, middle.rate)
    };
    let slopes = falling.windows(window).map(slope);
    slopes
        .min_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, rate)| rate)
}

#[cfg(test)]
mod tests {
    use super::super::prepare;
    use super::super::tests::Toy;
    use super::*;

    #[test]
    fn rates_grow_by_the_same_factor_from_end_to_end() {
        let range = RateRange {
            from: 1e-4,
            to: 1.0,
            steps: 41,
        };
        assert_eq!(range.rate(0), 1e-4);
        assert!((range.rate(40) - 1.0).abs() < 1e-12);
        assert!((range.rate(20) - 1e-2).abs() < 1e-12);
        for wrong in [(0.0, 1.0, 50), (1.0, 0.5, 50), (1e-3, 1.0, 5)] {
            let (from, to, steps) = wrong;
            assert!(
                RateRange { from, to, steps }.validate().is_err(),
                "{wrong:?}"
            );
        }
    }

    #[test]
    fn it_suggests_where_the_loss_falls_fastest() {
        let points: Vec<RatePoint> = (0..60)
            .map(|n| {
                let x = f64::from(n - 30) / 5.0; // falls around n = 30
                RatePoint {
                    rate: 10f64.powf(f64::from(n) / 10.0 - 6.0),
                    loss: 0.0,
                    smoothed: 1.0 / (1.0 + x.exp()) + if n > 50 { f64::from(n) } else { 0.0 },
                }
            })
            .collect();
        let found = steepest(&points).unwrap();
        assert!((found.log10() - -3.0).abs() < 0.25, "{found}");
        assert_eq!(steepest(&points[..5]), None);
        // Where it only rises there is nothing to suggest.
        let rising: Vec<RatePoint> = points[40..].to_vec();
        assert_eq!(steepest(&rising), None);
    }

    #[test]
    fn what_it_suggests_learns_and_bursts_end_the_search() {
        let toy = Toy::new();
        let start = prepare(&toy.config).unwrap();
        let mut steps = 0;
        let range = RateRange {
            to: 1e4,
            ..RateRange::default()
        };
        let rates = find_rate(&toy.config, &start.model, &start.train, range, |n| {
            steps = n
        });
        let rates = rates.unwrap();
        assert!(steps > 50 && rates.points.len() <= steps, "{steps}");
        assert!(
            rates
                .points
                .windows(2)
                .all(|pair| pair[0].rate < pair[1].rate)
        );
        let suggestion = rates.suggestion.unwrap();
        assert!((1e-4..1.0).contains(&suggestion), "{suggestion}");
    }
}
