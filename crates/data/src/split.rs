//! Parts of a data set that keep the shares of its classes.

use crate::error::{Error, Result};
use crate::random::Stream;

/// Splits the examples with these class ids at random into one part for each of
/// `fractions`; a pure function of its arguments. Every index is in exactly one
/// part, in ascending order, and of each class every part has its fraction,
/// off by less than one example.
///
/// # Errors
/// Fractions that are not all above 0 or do not add up to 1.
pub fn stratified(labels: &[u32], fractions: &[f64], seed: u64) -> Result<Vec<Vec<usize>>> {
    // Written so that NaN fails.
    let sensible = fractions.iter().all(|&fraction| fraction > 0.0)
        && (fractions.iter().sum::<f64>() - 1.0).abs() < 1e-6;
    if !sensible {
        return Err(Error::config(
            "fractions",
            format!("{fractions:?} should all be above 0 and add up to 1, as [0.8, 0.1, 0.1] do"),
        ));
    }
    let mut classes = std::collections::BTreeMap::<u32, Vec<usize>>::new();
    for (index, &label) in labels.iter().enumerate() {
        classes.entry(label).or_default().push(index);
    }
    let mut parts = vec![Vec::new(); fractions.len()];
    for (label, mut indices) in classes {
        Stream::new(seed, "split")
            .at(label.into())
            .shuffle(&mut indices);
        let (mut sum, mut start) = (0.0, 0);
        for (nth, fraction) in fractions.iter().enumerate() {
            sum += fraction;
            // Rounding the running sum, not each share, keeps every share
            // within one example and leaves none over.
            let end = if nth + 1 == fractions.len() {
                indices.len()
            } else {
                ((sum * indices.len() as f64).round() as usize).min(indices.len())
            };
            parts[nth].extend_from_slice(&indices[start..end]);
            start = end;
        }
    }
    for part in &mut parts {
        part.sort_unstable();
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn senseless_fractions_are_refused() {
        for fractions in [
            &[][..],
            &[0.5],
            &[0.7, 0.7],
            &[1.0, 0.0],
            &[1.5, -0.5],
            &[f64::NAN, 1.0],
            &[f64::INFINITY],
        ] {
            let message = stratified(&[0, 1], fractions, 0).unwrap_err().to_string();
            assert!(message.contains("add up to 1"), "{message}");
        }
    }

    #[test]
    fn another_seed_is_another_split() {
        let labels = vec![0; 100];
        let split = |seed| stratified(&labels, &[0.5, 0.5], seed).unwrap();
        assert_ne!(split(1), split(2));
        assert_eq!(split(1), split(1));
        assert_ne!(split(1)[0], (0..50).collect::<Vec<_>>());
    }

    #[test]
    fn fractions_that_almost_add_up_leave_no_example_over() {
        let parts = stratified(&vec![0; 1_000_000], &[0.5, 0.499_999_2], 0).unwrap();
        assert_eq!([parts[0].len(), parts[1].len()], [500_000, 500_000]);
    }

    proptest! {
        #[test]
        fn every_index_once_and_shares_within_one(
            labels in prop::collection::vec(0..4_u32, 0..300),
            weights in prop::collection::vec(1..100_u32, 1..5),
            seed: u64,
        ) {
            let total: u32 = weights.iter().sum();
            let fractions: Vec<f64> =
                weights.iter().map(|&w| f64::from(w) / f64::from(total)).collect();
            let parts = stratified(&labels, &fractions, seed).unwrap();

            let mut all: Vec<usize> = parts.concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..labels.len()).collect::<Vec<_>>());
            for class in 0..4 {
                let size = labels.iter().filter(|&&l| l == class).count() as f64;
                for (part, fraction) in parts.iter().zip(&fractions) {
                    let has = part.iter().filter(|&&i| labels[i] == class).count() as f64;
                    prop_assert!((has - fraction * size).abs() <= 1.0 + 1e-9);
                }
            }
        }
    }
}
