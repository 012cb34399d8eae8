//! Names for the numbers of a tensor, by which two sides know that they run the
//! same weights.

use sha2::{Digest, Sha256};
use tch::Tensor;

use crate::checkpoint::bytes_of;

/// SHA-256, in hexadecimal, of the elements of a tensor in row-major order,
/// little-endian, in its own dtype.
pub fn digest(tensor: &Tensor) -> String {
    let hash = Sha256::digest(bytes_of(tensor));
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_of_values_in_their_order_and_not_of_strides() {
        // `printf '\0\0\200\77\0\0\0\100' | sha256sum`: 1 and 2 in f32.
        let expected = "b9c80b5adeca450753a16950c3cc655d271f7bef7a485bc83f112b72fef21d37";
        assert_eq!(digest(&Tensor::from_slice(&[1f32, 2.0])), expected);
        let pair = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0]).view([2, 2]);
        assert_eq!(
            digest(&pair.tr()),
            digest(&Tensor::from_slice(&[1f32, 3.0, 2.0, 4.0]))
        );
        assert_ne!(digest(&pair.tr()), digest(&pair));
        assert_ne!(digest(&pair), digest(&pair.to_kind(tch::Kind::Double)));
    }
}
