//! Which numbers an axis shows.

/// The range of an axis and the round numbers in it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axis {
    pub low: f64,
    pub high: f64,
    /// Where to put which label.
    pub ticks: Vec<(f64, String)>,
}

/// Beyond this, sums and differences of values could leave the numbers.
const LARGEST: f64 = 1e30;

/// Whether a value has a place on an axis: it is finite and not absurd.
pub(super) fn drawable(value: f64) -> bool {
    value.abs() <= LARGEST
}

impl Axis {
    /// An axis for all drawable `values`, with some room at both ends and
    /// about five ticks. For no value it goes from 0 to 1; for a constant one
    /// the value is in the middle.
    pub(super) fn of(values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = values
            .filter(|&value| drawable(value))
            .fold(None, |range: Option<(f64, f64)>, value| {
                let (low, high) = range.unwrap_or((value, value));
                Some((low.min(value), high.max(value)))
            })
            .unwrap_or((0.0, 1.0));
        let size = low.abs().max(high.abs());
        // A narrower range could not be told apart by its labels.
        let room = if high - low <= 1e-6 * size {
            (0.05 * size).max(1e-6)
        } else {
            0.06 * (high - low)
        };
        let (low, high) = (low - room, high + room);
        let step = round_step((high - low) / 5.0);
        let first = (low / step).ceil();
        // The bound holds whatever rounding does to the division.
        let count = ((high / step).floor() - first).clamp(0.0, 20.0) as u32;
        let ticks = (0..=count)
            .map(|index| (first + f64::from(index)) * step)
            .map(|value| (value, text(value, step)))
            .collect();
        Self { low, high, ticks }
    }

    /// An axis for whole numbers from `first` to `last`, with at most 12
    /// ticks.
    pub(super) fn whole(first: u64, last: u64) -> Self {
        let span = last - first;
        let step = (0..19)
            .flat_map(|power| [1, 2, 5].map(|digit| digit * 10u64.pow(power)))
            .find(|step| span / step < 12)
            .unwrap_or(u64::MAX);
        let ticks = (first.div_ceil(step)..=last / step)
            .map(|index| index * step)
            .map(|value| (value as f64, value.to_string()))
            .collect();
        // The last bound is for numbers so large that 0.3 vanishes in them.
        let room = (0.04 * span as f64).max(0.3).max(1e-9 * last as f64);
        Self {
            low: first as f64 - room,
            high: last as f64 + room,
            ticks,
        }
    }

    /// Where a value is on the axis: 0 at the low end, 1 at the high end.
    pub(super) fn place(&self, value: f64) -> f64 {
        (value - self.low) / (self.high - self.low)
    }
}

/// The smallest of 1, 2, 5 and 10 times a power of ten that is not below
/// `step`.
fn round_step(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    let digits = [1.0, 2.0, 5.0, 10.0];
    let digit = digits.into_iter().find(|digit| digit * power >= step);
    digit.unwrap_or(10.0) * power
}

/// A tick's label: as many decimals as the step needs.
fn text(value: f64, step: f64) -> String {
    let decimals = (-(step.log10() + 1e-9).floor()).max(0.0) as usize;
    // Not -0.
    let value = if value.abs() < step / 2.0 { 0.0 } else { value };
    if value.abs() >= 1e6 || decimals > 6 {
        let power = |number: f64| (number.abs().log10() + 1e-9).floor();
        let digits = (power(value) - power(step)).clamp(0.0, 9.0) as usize;
        format!("{value:.digits$e}")
    } else {
        format!("{value:.decimals$}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, label)| label.as_str()).collect()
    }

    #[test]
    fn round_numbers() {
        let axis = Axis::of([0.31, 0.69].into_iter());
        assert_eq!(labels(&axis), ["0.3", "0.4", "0.5", "0.6", "0.7"]);
        let axis = Axis::of([-1.0, 1.0].into_iter());
        assert_eq!(labels(&axis), ["-1.0", "-0.5", "0.0", "0.5", "1.0"]);
        let axis = Axis::of([0.0, 12e6].into_iter());
        assert_eq!(labels(&axis), ["0", "5e6", "1.0e7"]);
        let axis = Axis::of([1e6, 1.4e6].into_iter());
        assert_eq!(labels(&axis), ["1.0e6", "1.1e6", "1.2e6", "1.3e6", "1.4e6"]);
    }

    #[test]
    fn a_constant_is_in_the_middle() {
        for value in [0.5, 0.0, -3.0, 1e29] {
            let axis = Axis::of([value, value].into_iter());
            assert!((axis.place(value) - 0.5).abs() < 1e-6, "{axis:?}");
            assert!(!axis.ticks.is_empty());
        }
    }

    #[test]
    fn values_without_a_place_are_left_out() {
        let values = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX];
        assert!(values.iter().all(|&value| !drawable(value)));
        let axis = Axis::of(values.into_iter());
        assert_eq!(axis, Axis::of([0.0, 1.0].into_iter()));
    }

    #[test]
    fn whole_numbers() {
        assert_eq!(labels(&Axis::whole(1, 1)), ["1"]);
        assert_eq!(labels(&Axis::whole(1, 4)), ["1", "2", "3", "4"]);
        assert_eq!(labels(&Axis::whole(1, 12)).len(), 12);
        assert_eq!(labels(&Axis::whole(1, 30)).first(), Some(&"5"));
    }

    proptest! {
        #[test]
        fn every_axis_holds_its_values_and_a_few_ticks(
            values in prop::collection::vec(prop::num::f64::ANY, 0..6)
        ) {
            let axis = Axis::of(values.iter().copied());
            prop_assert!(axis.low < axis.high);
            for value in values.into_iter().filter(|&value| drawable(value)) {
                prop_assert!((0.0..=1.0).contains(&axis.place(value)));
            }
            prop_assert!((1..=12).contains(&axis.ticks.len()), "{:?}", axis);
            let distinct: HashSet<_> = axis.ticks.iter().map(|tick| &tick.1).collect();
            prop_assert_eq!(distinct.len(), axis.ticks.len(), "{:?}", axis);
            for (value, _) in &axis.ticks {
                prop_assert!((-1e-9..=1.0 + 1e-9).contains(&axis.place(*value)));
            }
        }

        #[test]
        fn every_whole_axis_has_a_few_ticks(first in any::<u64>(), last in any::<u64>()) {
            let axis = Axis::whole(first.min(last), first.max(last));
            prop_assert!((1..=12).contains(&axis.ticks.len()), "{:?}", axis);
        }

        #[test]
        fn every_short_whole_axis_has_ticks(first in 0u64..1000, span in 0u64..5000) {
            let axis = Axis::whole(first, first + span);
            prop_assert!((1..=12).contains(&axis.ticks.len()), "{:?}", axis);
        }
    }
}
