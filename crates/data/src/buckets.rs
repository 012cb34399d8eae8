//! Batches of texts of similar length, so that little is computed on padding.

use serde::{Deserialize, Serialize};

use crate::random::Stream;

/// How many batches' worth of texts are sorted by length together. More gives
/// less padding, fewer gives freer mixing.
const POOL: usize = 50;
/// Of few texts there are still so many pools, so that a text meets others in
/// each epoch.
const LEAST_POOLS: usize = 4;

/// How large a batch may be. Zero is taken as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Limit {
    /// At most so many texts.
    Sentences(usize),
    /// At most so many tokens, padding counted: the longest text times the
    /// number of texts. An empty text counts as one token. A text that is
    /// longer than that is a batch of its own.
    Tokens(usize),
}

impl Limit {
    /// Whether `count` texts, the longest of `longest` tokens, are a batch.
    fn allows(self, count: usize, longest: usize) -> bool {
        count <= 1
            || match self {
                Limit::Sentences(limit) => count <= limit,
                Limit::Tokens(limit) => count.saturating_mul(longest.max(1)) <= limit,
            }
    }

    /// Texts in a pool of [`POOL`] batches of texts of these lengths.
    fn pool(self, lengths: &[usize]) -> usize {
        let batch = match self {
            Limit::Sentences(limit) => limit,
            Limit::Tokens(limit) => {
                let tokens: usize = lengths.iter().map(|&length| length.max(1)).sum();
                (limit as u128 * lengths.len() as u128 / tokens.max(1) as u128) as usize
            }
        };
        let batch = batch.max(1);
        let few = lengths.len().div_ceil(LEAST_POOLS).div_ceil(batch);
        batch.saturating_mul(few.clamp(1, POOL))
    }
}

/// The batches of one epoch of training: indices into `lengths`, every index in
/// exactly one batch. A pure function of its arguments, so that a run can be
/// resumed anywhere.
///
/// All texts are shuffled and dealt into pools of some fifty batches (of a small
/// set a quarter of it, which pads more); within a pool they are sorted by length
/// and cut, and at the end the batches of all pools are shuffled. Sorting
/// everything would pad still less, but then the longest texts would meet the
/// same neighbours in every epoch; a pool's members are new each time, and equal
/// lengths stay in shuffled order.
pub fn epoch_batches(lengths: &[usize], limit: Limit, seed: u64, epoch: u64) -> Vec<Vec<usize>> {
    let stream = Stream::new(seed, "batches").at(epoch);
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    stream.at(0).shuffle(&mut order);
    let mut batches = Vec::new();
    for pool in order.chunks_mut(limit.pool(lengths)) {
        pool.sort_by_key(|&index| lengths[index]);
        cut(pool, lengths, limit, &mut batches);
    }
    stream.at(1).shuffle(&mut batches);
    batches
}

/// The batches for evaluation: the longest texts first, so that a batch that
/// does not fit into memory shows at once; equal lengths in their order.
pub fn eval_batches(lengths: &[usize], limit: Limit) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(lengths[index]));
    let mut batches = Vec::new();
    cut(&order, lengths, limit, &mut batches);
    batches
}

/// Cuts `order` into batches as large as `limit` allows.
fn cut(order: &[usize], lengths: &[usize], limit: Limit, batches: &mut Vec<Vec<usize>>) {
    let mut batch = Vec::new();
    let mut longest = 0;
    for &index in order {
        longest = longest.max(lengths[index]);
        if !limit.allows(batch.len() + 1, longest) {
            batches.push(std::mem::take(&mut batch));
            longest = lengths[index];
        }
        batch.push(index);
    }
    if !batch.is_empty() {
        batches.push(batch);
    }
}

/// The share of padding in everything that `batches` compute: 0 is none.
pub fn padding_share(lengths: &[usize], batches: &[Vec<usize>]) -> f64 {
    let (mut real, mut all) = (0, 0);
    for batch in batches {
        let of_batch = || batch.iter().map(|&index| lengths[index]);
        real += of_batch().sum::<usize>();
        all += of_batch().max().unwrap_or(0) * batch.len();
    }
    if all == 0 {
        return 0.0;
    }
    (all - real) as f64 / all as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Lengths like those of film reviews' sentences: 2 to 50 words.
    fn sentences(count: u64) -> Vec<usize> {
        let stream = Stream::new(3, "lengths");
        (0..count)
            .map(|k| 2 + (25.0 * (stream.uniform(2 * k) + stream.uniform(2 * k + 1))) as usize)
            .collect()
    }

    #[test]
    fn little_of_a_batch_is_padding() {
        let lengths = sentences(8544);
        for limit in [Limit::Sentences(32), Limit::Tokens(32 * 26)] {
            let share = padding_share(&lengths, &epoch_batches(&lengths, limit, 1, 0));
            assert!(share < 0.05, "{limit:?}: {share}");
            let share = padding_share(&lengths, &eval_batches(&lengths, limit));
            assert!(share < 0.01, "{limit:?}: {share}");
        }
        let in_order: Vec<Vec<usize>> = (0..8544)
            .collect::<Vec<_>>()
            .chunks(32)
            .map(<[usize]>::to_vec)
            .collect();
        assert!(padding_share(&lengths, &in_order) > 0.3);
    }

    #[test]
    fn the_share_of_padding_is_counted_by_hand() {
        let batches = [vec![0, 1], vec![2]];
        assert_eq!(padding_share(&[1, 3, 2], &batches), 2.0 / 8.0);
        assert_eq!(padding_share(&[0, 0, 0], &batches), 0.0);
    }

    #[test]
    fn epochs_and_seeds_differ_in_batches_not_only_in_their_order() {
        let lengths = sentences(3000);
        let of = |seed, epoch| {
            let mut batches = epoch_batches(&lengths, Limit::Sentences(32), seed, epoch);
            batches.iter_mut().for_each(|batch| batch.sort_unstable());
            batches.sort_unstable();
            batches
        };
        assert_ne!(of(1, 0), of(1, 1));
        assert_ne!(of(1, 0), of(2, 0));
    }

    #[test]
    fn a_long_text_is_a_batch_of_its_own_and_evaluation_starts_with_it() {
        let batches = eval_batches(&[3, 100, 5, 3], Limit::Tokens(9));
        assert_eq!(batches, [vec![1], vec![2], vec![0, 3]]);
    }

    fn any_limit() -> impl Strategy<Value = Limit> {
        prop_oneof![
            (0..40_usize).prop_map(Limit::Sentences),
            (0..400_usize).prop_map(Limit::Tokens),
            Just(Limit::Tokens(usize::MAX)),
        ]
    }

    proptest! {
        #[test]
        fn every_index_once_within_the_limit_and_always_the_same(
            lengths in prop::collection::vec(0..60_usize, 0..400),
            limit in any_limit(),
            seed: u64,
            epoch: u64,
        ) {
            let batches = epoch_batches(&lengths, limit, seed, epoch);
            prop_assert_eq!(&batches, &epoch_batches(&lengths, limit, seed, epoch));
            for batches in [batches, eval_batches(&lengths, limit)] {
                let mut all = batches.concat();
                all.sort_unstable();
                prop_assert_eq!(all, (0..lengths.len()).collect::<Vec<_>>());
                for batch in batches {
                    let longest = batch.iter().map(|&i| lengths[i].max(1)).max().unwrap();
                    let held = match limit {
                        Limit::Sentences(limit) => batch.len() <= limit.max(1),
                        Limit::Tokens(limit) => batch.len() == 1 || longest * batch.len() <= limit,
                    };
                    prop_assert!(held, "{limit:?}: {} texts of {longest}", batch.len());
                }
            }
        }
    }
}
