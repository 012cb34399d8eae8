//! Randomness without a generator whose state would have to be saved: every
//! number is a hash of (seed, stream, counter), so it is the same on every
//! device, with any number of threads, and after a resume.
//!
//! The hash is the finaliser of SplitMix64 (Steele, Lea and Flood, "Fast
//! splittable pseudorandom number generators", OOPSLA 2014) over a Weyl
//! sequence, keyed by a hash of seed and stream.

/// The golden ratio in 64 bits: the step of the Weyl sequence.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// One use of randomness in a program. Streams share numbers only as any two
/// hashes might.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    key: u64,
}

impl Stream {
    /// The stream `name` of a run with this seed.
    pub fn new(seed: u64, name: &str) -> Self {
        let key = name
            .bytes()
            .fold(mix(seed), |key, byte| mix(key ^ u64::from(byte)));
        Stream { key }
    }

    /// A stream of its own for each number: an epoch, a step, a layer.
    pub fn at(self, number: u64) -> Self {
        Stream {
            key: mix(self.key ^ mix(number.wrapping_add(STEP))),
        }
    }

    /// A seed for something that takes one.
    pub fn seed(self) -> u64 {
        self.key
    }

    /// 64 uniform bits.
    pub fn bits(self, counter: u64) -> u64 {
        mix(self
            .key
            .wrapping_add(counter.wrapping_add(1).wrapping_mul(STEP)))
    }

    /// Uniform in [0, 1), on the 2^53 equidistant doubles.
    pub fn uniform(self, counter: u64) -> f64 {
        (self.bits(counter) >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Whether something of this probability happens: `uniform(counter) <
    /// probability`, to the bit, without the division.
    pub fn happens(self, probability: f64, counter: u64) -> bool {
        let limit = (probability * (1u64 << 53) as f64).ceil() as u64;
        (self.bits(counter) >> 11) < limit
    }

    /// Standard normal (Box and Muller 1958). Uses the counters 2c and 2c + 1.
    pub fn normal(self, counter: u64) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform(2 * counter)).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform(2 * counter + 1)).cos()
    }

    /// Puts `items` in a random order (Fisher and Yates).
    pub fn shuffle<T>(self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            // 128-bit multiply-shift: unbiased to 2^-64.
            let bits = u128::from(self.bits(last as u64));
            let chosen = (bits * (last as u128 + 1)) >> 64;
            items.swap(last, chosen as usize);
        }
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_the_distributions() {
        let stream = Stream::new(1, "moments");
        let count = 100_000;
        let mean = |f: &dyn Fn(u64) -> f64| (0..count).map(f).sum::<f64>() / count as f64;
        // Standard errors: 0.29 / 316 = 0.0009 and 1 / 316 = 0.0032.
        assert!((mean(&|k| stream.uniform(k)) - 0.5).abs() < 0.004);
        assert!(mean(&|k| stream.normal(k)).abs() < 0.013);
        assert!((mean(&|k| stream.normal(k).powi(2)) - 1.0).abs() < 0.02);
        assert!((0..count).all(|k| (0.0..1.0).contains(&stream.uniform(k))));
    }

    #[test]
    fn streams_differ_and_repeat() {
        let stream = Stream::new(1, "a");
        assert_eq!(stream.bits(7), Stream::new(1, "a").bits(7));
        for other in [Stream::new(2, "a"), Stream::new(1, "b"), stream.at(0)] {
            assert!((0..64).all(|k| stream.bits(k) != other.bits(k)));
        }
        assert_ne!(stream.at(0).bits(0), stream.at(1).bits(0));
    }

    #[test]
    fn what_happens_is_what_the_uniform_number_says() {
        let stream = Stream::new(3, "happens");
        for probability in [0.0, 1e-300, 0.1, 1.0 / 3.0, 0.5, 1.0] {
            for k in 0..1000 {
                let below = stream.uniform(k) < probability;
                assert_eq!(stream.happens(probability, k), below, "{probability} {k}");
            }
            let exact = stream.uniform(7);
            assert!(!stream.happens(exact, 7) && stream.happens(exact.next_up(), 7));
        }
    }

    #[test]
    fn every_order_is_equally_likely() {
        let mut seen = std::collections::HashMap::new();
        for k in 0..6000 {
            let mut items = [0, 1, 2];
            Stream::new(k, "order").shuffle(&mut items);
            *seen.entry(items).or_insert(0) += 1;
        }
        // Six orders, 1000 expected of each, standard deviation 29.
        assert_eq!(seen.len(), 6);
        assert!(
            seen.values().all(|count| (870..1130).contains(count)),
            "{seen:?}"
        );
    }
}
