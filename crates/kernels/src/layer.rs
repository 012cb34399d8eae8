//! The sizes and parameters of one layer.

use crate::error::{ShapeError, expect_count, expect_elements, product};
use crate::memory::{Allocator, Buffer};
use crate::product::Panels;
use crate::scalar::Scalar;

/// The sizes of a layer of an LSTM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerSizes {
    /// `I`: elements that the layer reads at a time step.
    pub input: usize,
    /// `H`: units of the cell.
    pub hidden: usize,
    /// `P`: the size that the hidden state is projected to; none without a projection.
    pub projection: Option<usize>,
    /// Whether there are biases.
    pub bias: bool,
    /// `D`: 1, or 2 for a bidirectional layer.
    pub directions: usize,
}

impl LayerSizes {
    /// The size that a direction puts out: `P`, which is `H` without a projection.
    pub fn output(&self) -> usize {
        self.projection.unwrap_or(self.hidden)
    }

    pub(crate) fn projected(&self) -> bool {
        self.projection.is_some()
    }

    /// The hidden size in whole registers: what stands behind it is zero, or never looked
    /// at.
    pub(crate) fn hidden_padded<T: Scalar>(&self) -> usize {
        self.hidden.next_multiple_of(T::kernels().lanes)
    }

    /// The output's size in the same way.
    pub(crate) fn output_padded<T: Scalar>(&self) -> usize {
        self.output().next_multiple_of(T::kernels().lanes)
    }

    pub(crate) fn check(&self) -> Result<(), ShapeError> {
        if self.input == 0 || self.hidden == 0 || self.output() == 0 {
            return Err(ShapeError::Sizes("no size of a layer may be 0"));
        }
        if !(1..=2).contains(&self.directions) {
            return Err(ShapeError::Sizes("a layer has 1 or 2 directions"));
        }
        // Products of sizes in whole registers, of which none has more than 16 elements.
        let padded = |size: usize| {
            size.checked_next_multiple_of(16)
                .ok_or(ShapeError::Overflow)
        };
        let columns = padded(self.input.max(self.output()))?;
        product(&[4, padded(self.hidden)?, columns]).map(|_| ())
    }
}

/// The parameters of a direction of a layer, in PyTorch's order of gates, i f g o.
#[derive(Clone, Copy, Debug)]
pub struct LayerWeights<'a, T> {
    /// `weight_ih`, `[4 H, I]`.
    pub ih: &'a [T],
    /// `weight_hh`, `[4 H, P]`.
    pub hh: &'a [T],
    /// `bias_ih` and `bias_hh`, `[4 H]` each.
    pub bias: Option<(&'a [T], &'a [T])>,
    /// `weight_hr`, `[P, H]`.
    pub hr: Option<&'a [T]>,
}

impl<T: Scalar> LayerWeights<'_, T> {
    pub(crate) fn check(&self, sizes: &LayerSizes) -> Result<(), ShapeError> {
        let &LayerSizes { input, hidden, .. } = sizes;
        expect_elements("weight_ih", self.ih, &[4, hidden, input])?;
        expect_elements("weight_hh", self.hh, &[4, hidden, sizes.output()])?;
        expect_presence("bias", self.bias.is_some(), sizes.bias)?;
        if let Some((ih, hh)) = self.bias {
            expect_elements("bias_ih", ih, &[4, hidden])?;
            expect_elements("bias_hh", hh, &[4, hidden])?;
        }
        expect_presence("weight_hr", self.hr.is_some(), sizes.projected())?;
        match self.hr {
            Some(hr) => expect_elements("weight_hr", hr, &[sizes.output(), hidden]),
            None => Ok(()),
        }
    }

    pub(crate) fn check_all(all: &[Self], sizes: &LayerSizes) -> Result<(), ShapeError> {
        sizes.check()?;
        expect_count("weights of directions", all.len(), sizes.directions)?;
        all.iter().try_for_each(|weights| weights.check(sizes))
    }

    /// What it projects with, if it does.
    pub(crate) fn projection(
        &self,
        allocator: &dyn Allocator,
        sizes: &LayerSizes,
    ) -> Option<Panels<T>> {
        self.hr
            .map(|hr| Panels::transposed(allocator, sizes.hidden, sizes.output(), hr))
    }
}

/// The gradients of the parameters of a direction, shaped as [`LayerWeights`]; none where
/// a gradient is not wanted. All elements are written.
#[derive(Debug, Default)]
pub struct LayerGradients<'a, T> {
    /// Of `weight_ih`, `[4 H, I]`.
    pub ih: Option<&'a mut [T]>,
    /// Of `weight_hh`, `[4 H, P]`.
    pub hh: Option<&'a mut [T]>,
    /// Of `bias_ih`, `[4 H]`.
    pub b_ih: Option<&'a mut [T]>,
    /// Of `bias_hh`, `[4 H]`.
    pub b_hh: Option<&'a mut [T]>,
    /// Of `weight_hr`, `[P, H]`.
    pub hr: Option<&'a mut [T]>,
}

impl<T> LayerGradients<'_, T> {
    pub(crate) fn check(&self, sizes: &LayerSizes) -> Result<(), ShapeError> {
        let &LayerSizes { input, hidden, .. } = sizes;
        let output = sizes.output();
        let all: [(_, _, &[usize], _); 5] = [
            ("d_weight_ih", &self.ih, &[4, hidden, input], true),
            ("d_weight_hh", &self.hh, &[4, hidden, output], true),
            ("d_bias_ih", &self.b_ih, &[4, hidden], sizes.bias),
            ("d_bias_hh", &self.b_hh, &[4, hidden], sizes.bias),
            (
                "d_weight_hr",
                &self.hr,
                &[output, hidden],
                sizes.projected(),
            ),
        ];
        for (name, gradient, shape, there) in all {
            if let Some(gradient) = gradient {
                expect_presence(name, true, there)?;
                expect_elements(name, gradient, shape)?;
            }
        }
        Ok(())
    }
}

fn expect_presence(name: &'static str, present: bool, expected: bool) -> Result<(), ShapeError> {
    match present == expected {
        true => Ok(()),
        false => Err(ShapeError::Presence { name, present }),
    }
}

/// The row of a weight `[4 H, columns]` for this place in `[4][hidden_padded]`; none behind
/// the real units.
pub(crate) fn gate_row<'a, T: Scalar>(
    weight: &'a [T],
    columns: usize,
    sizes: &LayerSizes,
    n: usize,
) -> Option<&'a [T]> {
    let hidden_padded = sizes.hidden_padded::<T>();
    let (gate, unit) = (n / hidden_padded, n % hidden_padded);
    let first = (gate * sizes.hidden + unit) * columns;
    (unit < sizes.hidden).then(|| &weight[first..first + columns])
}

/// `W_ih` as the input's gradient reads it.
pub(crate) struct SplitWeight<T> {
    /// `[4 * hidden_padded, I]`, without the columns behind the last whole register.
    pub whole: Panels<T>,
    /// These, `[columns][4][hidden_padded]`.
    pub rest: Buffer<T>,
}

/// The initial or final states of a layer or of layers: `[L*D, B, P]` and `[L*D, B, H]`.
#[derive(Clone, Copy, Debug)]
pub struct States<'a, T> {
    /// The hidden states, `[L*D, B, P]`.
    pub h: &'a [T],
    /// The cell states, `[L*D, B, H]`.
    pub c: &'a [T],
}

/// As [`States`], to be written.
#[derive(Debug)]
pub struct StatesMut<'a, T> {
    /// The hidden states, `[L*D, B, P]`.
    pub h: &'a mut [T],
    /// The cell states, `[L*D, B, H]`.
    pub c: &'a mut [T],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_have_the_sizes_of_their_layer() {
        let sizes = LayerSizes {
            input: 2,
            hidden: 3,
            projection: None,
            bias: false,
            directions: 1,
        };
        let (ih, hh) = ([0f32; 24], [0f32; 36]);
        let good = LayerWeights {
            ih: &ih,
            hh: &hh,
            bias: None,
            hr: None,
        };
        assert_eq!(LayerWeights::check_all(&[good], &sizes), Ok(()));
        let told = |weights: &[LayerWeights<f32>], sizes: LayerSizes| {
            let error = LayerWeights::check_all(weights, &sizes).unwrap_err();
            error.to_string()
        };
        let short = LayerWeights {
            ih: &ih[1..],
            ..good
        };
        assert_eq!(
            told(&[short], sizes),
            "weight_ih has 23 elements, expected 24"
        );
        assert_eq!(
            told(&[], sizes),
            "weights of directions: 0 given, expected 1"
        );
        let biased = LayerSizes {
            bias: true,
            ..sizes
        };
        let expected = "bias does not fit the layer sizes: it is missing";
        assert_eq!(told(&[good], biased), expected);
        let three = LayerSizes {
            directions: 3,
            ..sizes
        };
        assert_eq!(told(&[good; 3], three), "a layer has 1 or 2 directions");
        let none = LayerSizes { hidden: 0, ..sizes };
        assert_eq!(told(&[good], none), "no size of a layer may be 0");
        let huge = LayerSizes {
            input: usize::MAX,
            ..sizes
        };
        assert_eq!(told(&[good], huge), "the sizes of this call overflow");
    }
}
