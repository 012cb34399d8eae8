//! The best of many matches, of which only so many are kept.

use std::collections::BinaryHeap;

use super::Match;

/// So many matches at the most, those with the largest keys.
pub(super) struct Best {
    most: usize,
    /// The worst on top.
    heap: BinaryHeap<Candidate>,
}

impl Best {
    pub fn new(most: usize) -> Best {
        Best {
            most,
            heap: BinaryHeap::new(),
        }
    }

    /// Takes it if it is among the best so far; of equal ones the earlier text.
    pub fn offer(&mut self, key: f64, text: usize, found: impl FnOnce() -> Match) {
        let is_full = self.heap.len() >= self.most;
        if is_full {
            match self.heap.peek() {
                Some(worst) if order(key, text, worst.key, worst.found.text).is_lt() => {}
                _ => return,
            }
            self.heap.pop();
        }
        self.heap.push(Candidate {
            key,
            found: found(),
        });
    }

    pub fn finish(self) -> Vec<Match> {
        let sorted = self.heap.into_sorted_vec();
        sorted
            .into_iter()
            .map(|candidate| candidate.found)
            .collect()
    }
}

/// The better one first.
fn order(key: f64, text: usize, other_key: f64, other_text: usize) -> std::cmp::Ordering {
    other_key.total_cmp(&key).then(text.cmp(&other_text))
}

struct Candidate {
    key: f64,
    found: Match,
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        order(self.key, self.found.text, other.key, other.found.text)
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Candidate {}
