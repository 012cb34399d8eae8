//! Counts of numbers by class, in one pass, without knowing their range before.

use serde::Serialize;

/// Bins over the whole range; a multiple of 4, so that bins fit into bins of the
/// doubled range.
const BINS: usize = 32;
/// The half-width that a histogram begins with.
const NARROWEST: f64 = 1.0 / 1024.0;

/// Equal bins from `-half_width` to `half_width`, the smallest power of two (at least
/// 2^-10) above all absolute values. Where a value does not fit, the range is doubled
/// and bins are joined in pairs: edges of bins stay edges, so that the counts are the
/// same in any order of the values, and those of a second pass with the range known.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Histogram {
    /// Half of the range. The bin `n` begins at `half_width * (n / 16 - 1)`, which
    /// belongs to it.
    pub half_width: f64,
    /// For each class the values in each bin.
    pub counts: Vec<Vec<u64>>,
}

impl Histogram {
    /// Empty, for so many classes.
    pub fn new(classes: usize) -> Histogram {
        Histogram {
            half_width: NARROWEST,
            counts: vec![vec![0; BINS]; classes],
        }
    }

    /// Counts a finite value of this class.
    pub(super) fn add(&mut self, value: f64, class: usize) {
        while value < -self.half_width || value >= self.half_width {
            self.widen();
        }
        // Exact: a division by a power of two, a product with one, and a floor.
        let half = (BINS / 2) as f64;
        let bin = (value / self.half_width * half).floor() + half;
        self.counts[class][bin as usize] += 1;
    }

    fn widen(&mut self) {
        self.half_width *= 2.0;
        for counts in &mut self.counts {
            let mut joined = vec![0; BINS];
            for (bin, count) in counts.iter().enumerate() {
                joined[BINS / 4 + bin / 2] += count;
            }
            *counts = joined;
        }
    }

    /// Where bins begin and end: one more number than there are bins.
    pub fn edges(&self) -> Vec<f64> {
        let half = (BINS / 2) as f64;
        (0..=BINS)
            .map(|bin| self.half_width * (bin as f64 / half - 1.0))
            .collect()
    }
}
