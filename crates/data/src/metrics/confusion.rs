//! The confusion matrix.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How often each true class (row) was predicted as each class (column):
/// `[C, C]` counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Confusion(Vec<Vec<u64>>);

impl Confusion {
    /// Counts the pairs of `truth[n]` and `predicted[n]` for `classes`
    /// classes.
    ///
    /// # Errors
    /// The slices have different lengths or no element, or a class id is not
    /// below `classes`.
    pub fn new(classes: usize, truth: &[u32], predicted: &[u32]) -> Result<Self> {
        if truth.len() != predicted.len() {
            return Err(Error::argument(
                "predicted",
                format!(
                    "has {} class ids for {} texts: give one per text",
                    predicted.len(),
                    truth.len()
                ),
            ));
        }
        if truth.is_empty() {
            return Err(Error::argument(
                "truth",
                "has no class id: give at least one text to measure",
            ));
        }
        let mut counts = vec![vec![0; classes]; classes];
        for (index, (&row, &column)) in truth.iter().zip(predicted).enumerate() {
            for (name, id) in [("truth", row), ("predicted", column)] {
                if id as usize >= classes {
                    return Err(Error::argument(
                        name,
                        format!(
                            "has class id {id} at index {index}, but there are {classes} labels (ids from 0)"
                        ),
                    ));
                }
            }
            counts[row as usize][column as usize] += 1;
        }
        Ok(Self(counts))
    }

    /// The counts, `[true class][predicted class]`.
    pub fn rows(&self) -> &[Vec<u64>] {
        &self.0
    }

    /// The number of texts.
    pub fn total(&self) -> u64 {
        self.0.iter().flatten().sum()
    }

    /// The number of texts whose class was predicted: the diagonal's sum.
    pub fn correct(&self) -> u64 {
        (0..self.0.len()).map(|class| self.0[class][class]).sum()
    }

    /// How many texts are of each class: the rows' sums.
    pub fn support(&self) -> Vec<u64> {
        self.0.iter().map(|row| row.iter().sum()).collect()
    }

    /// How many texts were predicted as each class: the columns' sums.
    pub fn predicted(&self) -> Vec<u64> {
        (0..self.0.len())
            .map(|class| self.0.iter().map(|row| row[class]).sum())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_the_truth() {
        let confusion = Confusion::new(3, &[0, 0, 1, 2], &[0, 2, 2, 2]).unwrap();
        assert_eq!(confusion.rows(), [[1, 0, 1], [0, 0, 1], [0, 0, 1]]);
        assert_eq!(confusion.total(), 4);
        assert_eq!(confusion.correct(), 2);
        assert_eq!(confusion.support(), [2, 1, 1]);
        assert_eq!(confusion.predicted(), [1, 0, 3]);
    }

    #[test]
    fn refuses_slices_of_different_length() {
        let error = Confusion::new(2, &[0, 1], &[0]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "predicted: has 1 class ids for 2 texts: give one per text"
        );
    }

    #[test]
    fn refuses_no_texts() {
        let error = Confusion::new(2, &[], &[]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "truth: has no class id: give at least one text to measure"
        );
    }

    #[test]
    fn refuses_a_class_without_label() {
        let error = Confusion::new(2, &[0, 2], &[0, 0]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "truth: has class id 2 at index 1, but there are 2 labels (ids from 0)"
        );
        let error = Confusion::new(2, &[0], &[u32::MAX]).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("predicted: has class id 4294967295")
        );
    }
}
