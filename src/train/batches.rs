//! Which texts each step of an epoch sees, and after which the model is measured.

use super::{Config, Span, TrainConfig};
use crate::data::epoch_batches;

/// The batches of an epoch, rows of texts with these lengths: those of
/// [`epoch_batches`], or some of them if `train.limit_train_batches` or
/// `train.overfit_batches` says so.
pub(super) fn batches(config: &Config, lengths: &[usize], epoch: u64) -> Vec<Vec<usize>> {
    let settings = &config.train;
    let (epoch, most) = match settings.overfit_batches {
        Some(count) => (1, Some(count)),
        None => (epoch, settings.limit_train_batches),
    };
    let mut batches = epoch_batches(lengths, settings.batch, config.seed, epoch);
    batches.truncate(most.unwrap_or(usize::MAX));
    batches
}

/// The step of an epoch of so many after which the model is measured next, when
/// `done` of them are done: at the latest the last one.
pub(super) fn next_measuring(settings: &TrainConfig, done: usize, steps: usize) -> usize {
    let next = match settings.validate {
        Span::Steps(every) => (done as u64 / every + 1).saturating_mul(every) as usize,
        Span::Epochs(share) => (1..)
            .map(|n| (f64::from(n) * share * steps as f64).round() as usize)
            .find(|&step| step > done)
            .unwrap_or(steps),
    };
    next.min(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(validate: Span, steps: usize) -> Vec<usize> {
        let settings = TrainConfig {
            validate,
            ..TrainConfig::default()
        };
        let mut found = vec![0];
        while *found.last().unwrap() < steps {
            found.push(next_measuring(&settings, *found.last().unwrap(), steps));
        }
        found.split_off(1)
    }

    #[test]
    fn the_last_step_of_an_epoch_is_measured_and_each_once() {
        assert_eq!(all(Span::Epochs(1.0), 7), [7]);
        assert_eq!(all(Span::Epochs(0.25), 8), [2, 4, 6, 8]);
        assert_eq!(all(Span::Epochs(0.3), 10), [3, 6, 9, 10]);
        assert_eq!(all(Span::Epochs(0.01), 3), [1, 2, 3]);
        assert_eq!(all(Span::Steps(3), 7), [3, 6, 7]);
        assert_eq!(all(Span::Steps(1), 3), [1, 2, 3]);
        assert_eq!(all(Span::Steps(100), 7), [7]);
        assert_eq!(all(Span::Steps(u64::MAX), 7), [7]);
    }

    #[test]
    fn some_batches_are_the_first_of_each_epoch_or_always_the_same() {
        let lengths: Vec<usize> = (0..200).map(|n| n % 9).collect();
        let mut config = Config::default();
        let whole = batches(&config, &lengths, 2);
        config.train.limit_train_batches = Some(3);
        assert_eq!(batches(&config, &lengths, 2), whole[..3]);
        assert_ne!(batches(&config, &lengths, 1), batches(&config, &lengths, 2));
        config.train.overfit_batches = Some(2);
        let same = batches(&config, &lengths, 1);
        assert_eq!(same.len(), 2);
        assert_eq!(batches(&config, &lengths, 5), same);
    }
}
