//! Errors of many cases: how they are spread, and the worst by name.

use std::collections::BTreeMap;

/// The largest error of each case, by who is held against whom and in what.
#[derive(Default)]
pub struct Errors(BTreeMap<(String, &'static str), Spread>);

/// One number for each case.
#[derive(Default)]
pub struct Spread {
    errors: Vec<f64>,
    /// The largest, and where it is.
    largest: (f64, String),
}

impl Errors {
    /// One more case, with its largest error; NaN counts as infinite.
    pub fn note(&mut self, who: &str, what: &'static str, error: f64, place: String) {
        let error = if error.is_nan() { f64::INFINITY } else { error };
        let spread = self.0.entry((who.to_owned(), what)).or_default();
        if spread.errors.is_empty() || error > spread.largest.0 {
            spread.largest = (error, place);
        }
        spread.errors.push(error);
    }

    /// Who, in what, and how it is spread.
    pub fn rows(&self) -> impl Iterator<Item = (&str, &'static str, &Spread)> {
        self.0
            .iter()
            .map(|((who, what), spread)| (who.as_str(), *what, spread))
    }
}

impl Spread {
    pub fn count(&self) -> usize {
        self.errors.len()
    }

    /// The largest error, and where it is.
    pub fn largest(&self) -> (f64, &str) {
        (self.largest.0, &self.largest.1)
    }

    /// The smallest errors that so many of the cases do not exceed.
    pub fn quantiles(&self, shares: &[f64]) -> Vec<f64> {
        let mut sorted = self.errors.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = |share: &f64| (share * sorted.len() as f64).ceil() as usize;
        let at = |share| sorted[rank(share).clamp(1, sorted.len()) - 1];
        shares.iter().map(at).collect()
    }
}
