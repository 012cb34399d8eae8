//! The confidence interval of a proportion.

use serde::{Deserialize, Serialize};

/// The 0.975 quantile of the standard normal distribution: a two-sided
/// interval with 95 % confidence.
const Z: f64 = 1.959_963_984_540_054;

/// An interval of a proportion, inside `[0, 1]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// The 95 % Wilson score interval of `successes` out of `count` (at least 1,
/// and not below `successes`):
///
/// `(p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n)`
///
/// E. B. Wilson, "Probable inference, the law of succession, and statistical
/// inference", Journal of the American Statistical Association 22 (1927),
/// 209-212. Without continuity correction. Unlike `p ± z √(p(1-p)/n)` it
/// stays inside `[0, 1]` and does not shrink to a point at 0 or 1.
pub fn wilson(successes: u64, count: u64) -> Interval {
    let n = count as f64;
    let p = successes as f64 / n;
    let scale = 1.0 + Z * Z / n;
    let centre = (p + Z * Z / (2.0 * n)) / scale;
    let half = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt() / scale;
    // At p = 0 and p = 1 one end is p exactly; rounding must not move it past.
    Interval {
        low: (centre - half).clamp(0.0, p),
        high: (centre + half).clamp(p, 1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Table I, method 3, of R. G. Newcombe, "Two-sided confidence intervals
    /// for the single proportion", Statistics in Medicine 17 (1998), 857-872,
    /// printed there with four decimals.
    #[test]
    fn published_values() {
        for (successes, count, low, high) in [
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
            (1, 29, 0.0061, 0.1718),
        ] {
            let interval = wilson(successes, count);
            assert!((interval.low - low).abs() < 5e-5, "{interval:?}");
            assert!((interval.high - high).abs() < 5e-5, "{interval:?}");
        }
    }

    /// At p = 0 the formula is `(z²/2n ± z²/2n) / (1 + z²/n)`, so the upper
    /// end is `z² / (n + z²)`: 3.841459 / 4.841459 = 0.793450 for n = 1.
    #[test]
    fn no_success_in_one() {
        let interval = wilson(0, 1);
        assert_eq!(interval.low, 0.0);
        assert!((interval.high - 0.793_450).abs() < 1e-6);
    }

    proptest! {
        #[test]
        fn holds_the_estimate_and_mirrors(count in 1u64..2_000_000, share in 0.0f64..=1.0) {
            let successes = (share * count as f64) as u64;
            let p = successes as f64 / count as f64;
            let interval = wilson(successes, count);
            prop_assert!(0.0 <= interval.low && interval.low <= p);
            prop_assert!(p <= interval.high && interval.high <= 1.0);
            prop_assert!(interval.low < interval.high);
            // Failures have the mirrored interval.
            let mirrored = wilson(count - successes, count);
            prop_assert!((interval.low - (1.0 - mirrored.high)).abs() < 1e-9);
        }

        #[test]
        fn more_texts_narrow_it(successes in 0u64..1000, failures in 1u64..1000) {
            let few = wilson(successes, successes + failures);
            let many = wilson(4 * successes, 4 * (successes + failures));
            prop_assert!(many.high - many.low < few.high - few.low);
        }
    }
}
