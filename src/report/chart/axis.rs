//! Axes: which numbers they show, and where a value is on them.

/// How values become places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spacing {
    /// Evenly.
    Linear,
    /// By their logarithm to base 10; those of 0 or less have no place.
    Log,
    /// By their index; the ticks have the names.
    Category,
}

/// An axis with its round numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// What the numbers are.
    pub title: String,
    /// How values become places.
    pub spacing: Spacing,
    /// The low end; of a logarithmic axis its logarithm.
    pub low: f64,
    /// The high end; of a logarithmic axis its logarithm.
    pub high: f64,
    /// Where to put which label; on a logarithmic axis by logarithms.
    pub ticks: Vec<(f64, String)>,
    /// Behind every number that the script of a page makes when it zooms: `%`.
    pub unit: &'static str,
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
    pub fn of(values: impl Iterator<Item = f64>) -> Self {
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
        Self::between(low - room, high + room)
    }

    /// An axis from `low` to `high`, with about five ticks.
    pub fn between(low: f64, high: f64) -> Self {
        let step = round_step((high - low) / 5.0);
        let first = (low / step).ceil();
        // The bound holds whatever rounding does to the division.
        let count = ((high / step).floor() - first).clamp(0.0, 20.0) as u32;
        let ticks = (0..=count)
            .map(|index| (first + f64::from(index)) * step)
            .map(|value| (value, text(value, step)))
            .collect();
        Self::with_ticks(Spacing::Linear, low, high, ticks)
    }

    /// An axis with ticks of its own.
    pub fn with_ticks(spacing: Spacing, low: f64, high: f64, ticks: Vec<(f64, String)>) -> Self {
        Self {
            title: String::new(),
            spacing,
            low,
            high,
            ticks,
            unit: "",
        }
    }

    /// An axis for whole numbers from `first` to `last`, with at most 12
    /// ticks.
    pub fn whole(first: u64, last: u64) -> Self {
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
        let (low, high) = (first as f64 - room, last as f64 + room);
        Self::with_ticks(Spacing::Linear, low, high, ticks)
    }

    /// A logarithmic axis for all drawable `values`, with the numbers themselves at its
    /// ticks: powers of ten, 2 and 5 between them where they are few, and even numbers
    /// where these are few too.
    pub fn log(values: impl Iterator<Item = f64>) -> Self {
        let of = Self::of(values.map(f64::log10));
        let digits: &[u32] = match of.high - of.low < 2.5 {
            true => &[1, 2, 5],
            false => &[1],
        };
        let (first, last) = (of.low.floor() as i32, of.high.ceil() as i32);
        let every = ((last - first) / TICKS + 1).max(1);
        let powers = (first..=last).filter(|power| power % every == 0);
        let ticks: Vec<(f64, i32, u32)> = powers
            .flat_map(|power| digits.iter().map(move |digit| (power, *digit)))
            .map(|(power, digit)| (f64::from(power) + f64::from(digit).log10(), power, digit))
            .filter(|(at, ..)| (of.low..=of.high).contains(at))
            .collect();
        let wide = ticks.iter().any(|(_, power, _)| !(-3..=3).contains(power));
        let mut ticks: Vec<(f64, String)> = ticks
            .into_iter()
            .map(|(at, power, digit)| (at, decade(digit, power, wide)))
            .collect();
        if ticks.len() < 3 {
            let even = Self::between(10f64.powf(of.low), 10f64.powf(of.high));
            let even = even.ticks.into_iter();
            ticks = even.map(|(value, text)| (value.log10(), text)).collect();
        }
        Self::with_ticks(Spacing::Log, of.low, of.high, ticks)
    }

    /// A logarithmic axis from `range.0` to `range.1` with powers of ten at its ticks.
    pub fn decades(range: (f64, f64)) -> Self {
        let (low, high) = (range.0.log10(), range.1.log10());
        let room = (0.03 * (high - low)).max(0.2);
        let (low, high) = (low - room, high + room);
        let (first, last) = (low.ceil() as i32, high.floor() as i32);
        let every = ((last - first) / TICKS + 1).max(1);
        let powers: Vec<i32> = (first..=last).filter(|power| power % every == 0).collect();
        let wide = powers.iter().any(|power| !(-3..=3).contains(power));
        let ticks = powers
            .into_iter()
            .map(|power| (f64::from(power), decade(1, power, wide)))
            .collect();
        Self::with_ticks(Spacing::Log, low, high, ticks)
    }

    /// An axis of names, each at its index.
    pub fn categories(names: impl IntoIterator<Item = String>) -> Self {
        let ticks: Vec<(f64, String)> = (0..).map(f64::from).zip(names).collect();
        let high = ticks.len() as f64 - 0.5;
        Self::with_ticks(Spacing::Category, -0.5, high, ticks)
    }

    /// The same axis with a title.
    #[must_use]
    pub fn titled(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }

    /// Where a value is on the axis: 0 at the low end, 1 at the high end; not finite
    /// for a value without a place.
    pub fn place(&self, value: f64) -> f64 {
        let value = match self.spacing {
            Spacing::Log => value.log10(),
            Spacing::Linear | Spacing::Category => value,
        };
        self.tick_place(value)
    }

    /// Where a tick is.
    pub(super) fn tick_place(&self, at: f64) -> f64 {
        (at - self.low) / (self.high - self.low)
    }

    /// Whether a value has a place.
    pub(super) fn has(&self, value: f64) -> bool {
        drawable(value) && (self.spacing != Spacing::Log || value > 0.0)
    }

    /// As the script of a page reads it: spacing, ends and unit.
    pub(super) fn attribute(&self) -> String {
        let spacing = match self.spacing {
            Spacing::Linear => "linear",
            Spacing::Log => "log",
            Spacing::Category => "category",
        };
        format!("{spacing} {} {} {}", self.low, self.high, self.unit)
    }
}

/// The most ticks of an axis of powers of ten.
const TICKS: i32 = 8;

/// `digit` times a power of ten: a plain number, or `1e-5` on an axis that has numbers
/// so small or so large.
pub fn decade(digit: u32, power: i32, wide: bool) -> String {
    match (wide, power) {
        (true, ..=-1 | 2..) => format!("{digit}e{power}"),
        (_, 0..) => (f64::from(digit) * 10f64.powi(power)).to_string(),
        (_, _) => {
            let decimals = power.unsigned_abs() as usize;
            format!("{:.decimals$}", f64::from(digit) * 10f64.powi(power))
        }
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

    #[test]
    fn a_short_logarithmic_axis_has_ticks_between_the_powers() {
        let of = |low: f64, high: f64| Axis::log([low, high].into_iter());
        assert_eq!(
            labels(&of(1e-5, 1.0)),
            ["1e-5", "1e-4", "1e-3", "1e-2", "1e-1", "1"]
        );
        assert_eq!(labels(&of(1e-3, 9e-3)), ["0.001", "0.002", "0.005", "0.01"]);
        assert_eq!(
            labels(&of(1e-3, 4e-3)),
            ["0.001", "0.002", "0.003", "0.004"]
        );
        assert_eq!(labels(&of(0.1, 30.0)), ["0.1", "1", "10"]);
        let axis = of(0.1, 10.0);
        assert!((axis.place(1.0) - 0.5).abs() < 1e-12);
        assert!(!axis.has(0.0) && !axis.has(-1.0) && axis.has(0.5));
    }

    #[test]
    fn decades_have_a_few_ticks() {
        for (low, high) in [(1.0, 1.0), (1e-300, 1e10), (1e-3, 1e2), (0.2, 0.3)] {
            let axis = Axis::decades((low, high));
            assert!(axis.ticks.len() <= 10 && axis.low < axis.high, "{axis:?}");
        }
        assert_eq!(
            labels(&Axis::decades((1e-3, 1e1))),
            ["0.001", "0.01", "0.1", "1", "10"]
        );
    }

    #[test]
    fn names_stand_at_their_indices() {
        let axis = Axis::categories(["a".to_owned(), "b".to_owned()]);
        assert_eq!(labels(&axis), ["a", "b"]);
        assert_eq!((axis.place(0.0), axis.place(1.0)), (0.25, 0.75));
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
