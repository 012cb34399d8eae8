//! The parameters of an LSTM: the one place for their names, shapes, gate
//! order and initialisation.
//!
//! Names and shapes are PyTorch's. For layer `k`, with `_reverse` behind the
//! name for the backward direction:
//!
//! | name | shape |
//! |---|---|
//! | `weight_ih_l{k}` | `[4H, I]` in layer 0, `[4H, D*P]` above |
//! | `weight_hh_l{k}` | `[4H, P]` |
//! | `bias_ih_l{k}`, `bias_hh_l{k}` | `[4H]`, both there or neither |
//! | `weight_hr_l{k}` | `[P, H]`, only with a projection |
//!
//! `H` is the hidden size, `D` the directions, `P` the size of the output of a
//! direction: the projection's, else `H`. The rows come in four blocks of `H`,
//! in the order [`GATE_NAMES`].

use tch::{Device, Kind, Tensor};

use super::LstmConfig;
use crate::error::{Error, Result};
use crate::random::{Stream, normal, uniform};

/// The number of blocks in the rows of a weight, one for each gate.
pub use cellway_graph::lstm::GATES;

/// The order of the blocks: input, forget, candidate, output. Keras and
/// cuDNN have the same; ONNX has i o f g, TensorFlow's `BasicLSTMCell` i g f o.
pub const GATE_NAMES: [&str; 4] = ["i", "f", "g", "o"];

/// The block of the input gate.
pub(crate) const INPUT_GATE: i64 = 0;
/// The block of the forget gate.
pub(crate) const FORGET_GATE: i64 = 1;

/// The parameters of one layer in one direction.
#[derive(Debug)]
pub struct CellParams {
    /// `[4H, I]`: from the input to the gates.
    pub w_ih: Tensor,
    /// `[4H, P]`: from the hidden state to the gates.
    pub w_hh: Tensor,
    /// `[4H]`.
    pub b_ih: Option<Tensor>,
    /// `[4H]`.
    pub b_hh: Option<Tensor>,
    /// `[P, H]`: the projection of the hidden state.
    pub w_hr: Option<Tensor>,
}

/// The roles in the order in which libtorch takes them.
const ROLES: [&str; 5] = ["weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr"];

impl CellParams {
    /// Takes each parameter from `get(name, shape)`, by its PyTorch name.
    pub(crate) fn collect(
        config: &LstmConfig,
        layer: i64,
        reverse: bool,
        mut get: impl FnMut(&str, &[i64]) -> Result<Tensor>,
    ) -> Result<Self> {
        let mut tensor = |role: &str, shape: &[i64]| get(&name(role, layer, reverse), shape);
        let (h, p) = (config.hidden_size, config.output_size());
        let input = config.layer_input_size(layer);
        Ok(CellParams {
            w_ih: tensor(ROLES[0], &[GATES * h, input])?,
            w_hh: tensor(ROLES[1], &[GATES * h, p])?,
            b_ih: match config.bias {
                true => Some(tensor(ROLES[2], &[GATES * h])?),
                false => None,
            },
            b_hh: match config.bias {
                true => Some(tensor(ROLES[3], &[GATES * h])?),
                false => None,
            },
            w_hr: match config.proj_size {
                0 => None,
                _ => Some(tensor(ROLES[4], &[p, h])?),
            },
        })
    }

    /// Those that are there, in the order in which libtorch takes them.
    pub fn tensors(&self) -> Vec<&Tensor> {
        self.by_role()
            .into_iter()
            .map(|(_, tensor)| tensor)
            .collect()
    }

    /// With their PyTorch names.
    pub(crate) fn named(&self, layer: i64, reverse: bool) -> Vec<(String, &Tensor)> {
        self.by_role()
            .into_iter()
            .map(|(role, tensor)| (name(role, layer, reverse), tensor))
            .collect()
    }

    fn by_role(&self) -> Vec<(&'static str, &Tensor)> {
        let tensors = [
            Some(&self.w_ih),
            Some(&self.w_hh),
            self.b_ih.as_ref(),
            self.b_hh.as_ref(),
            self.w_hr.as_ref(),
        ];
        ROLES
            .into_iter()
            .zip(tensors)
            .filter_map(|(role, tensor)| tensor.map(|tensor| (role, tensor)))
            .collect()
    }
}

/// PyTorch's name: `weight_ih_l0_reverse`.
pub fn name(role: &str, layer: i64, reverse: bool) -> String {
    format!("{role}_l{layer}{}", if reverse { "_reverse" } else { "" })
}

/// How new parameters are made. The default is PyTorch's: every parameter
/// uniform in ±1/√H.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Init {
    /// What starts in the biases of the gates.
    pub bias: BiasInit,
    /// Each gate's recurrent matrix `[H, P]` with orthonormal rows or columns
    /// (Saxe, McClelland and Ganguli 2014).
    pub orthogonal: bool,
}

/// The start of the gates' biases.
///
/// PyTorch adds two biases; what is named here is their *sum*: it stands in
/// `bias_ih`, and the same block of `bias_hh` is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum BiasInit {
    /// Uniform in ±1/√H, as the rest.
    #[default]
    Uniform,
    /// The forget gate's total bias (Jozefowicz, Zaremba and Sutskever 2015
    /// recommend 1).
    Forget(f64),
    /// `b_f ~ ln U(1, T_max - 1)`, `b_i = -b_f` (Tallec and Ollivier 2018, "Can
    /// recurrent neural networks warp time?"); `T_max` is the longest range, in
    /// steps, over which something is to be remembered, 3 or more.
    Chrono {
        /// The longest range in steps.
        t_max: i64,
    },
}

impl Init {
    /// New parameters of one layer and direction, the numbers hashed from
    /// `stream` and the parameter's name.
    pub(crate) fn cell(
        &self,
        config: &LstmConfig,
        layer: i64,
        reverse: bool,
        stream: Stream,
    ) -> Result<CellParams> {
        self.validate(config)?;
        let h = config.hidden_size;
        let bound = 1.0 / (h as f64).sqrt();
        let numbered = |name: &str| Stream::new(stream.seed(), name);
        let params = CellParams::collect(config, layer, reverse, |name, shape| {
            Ok(uniform(shape, -bound, bound, numbered(name)))
        })?;
        if self.orthogonal {
            for gate in 0..GATES {
                let name = format!("{}_{gate}", name("orthogonal", layer, reverse));
                let block = orthogonal(h, config.output_size(), numbered(&name));
                params.w_hh.narrow(0, gate * h, h).copy_(&block);
            }
        }
        if let (Some(b_ih), Some(b_hh)) = (&params.b_ih, &params.b_hh) {
            let set = |gate: i64, total: &Tensor| {
                b_ih.narrow(0, gate * h, h).copy_(total);
                let _ = b_hh.narrow(0, gate * h, h).zero_();
            };
            match self.bias {
                BiasInit::Uniform => {}
                BiasInit::Forget(total) => {
                    set(FORGET_GATE, &Tensor::full([h], total, DOUBLE_ON_CPU));
                }
                BiasInit::Chrono { t_max } => {
                    let name = name("chrono", layer, reverse);
                    let b_f = uniform(&[h], 1.0, (t_max - 1) as f64, numbered(&name)).log();
                    set(FORGET_GATE, &b_f);
                    set(INPUT_GATE, &-b_f);
                }
            }
        }
        Ok(params)
    }

    pub(crate) fn validate(&self, config: &LstmConfig) -> Result<()> {
        if self.bias != BiasInit::Uniform && !config.bias {
            return Err(Error::config(
                "bias",
                "a forget bias or chrono initialisation needs biases; set bias = true",
            ));
        }
        match self.bias {
            BiasInit::Chrono { t_max } if t_max < 3 => Err(Error::config(
                "chrono",
                format!("the longest range must be 3 steps or more, not {t_max}"),
            )),
            BiasInit::Forget(total) if !total.is_finite() => Err(Error::config(
                "forget_bias",
                format!("must be a finite number, not {total}"),
            )),
            _ => Ok(()),
        }
    }
}

pub(crate) const DOUBLE_ON_CPU: (Kind, Device) = (Kind::Double, Device::Cpu);

/// A `[rows, columns]` matrix with orthonormal columns (rows, if it is wide),
/// uniform over all of them: the Q of a normal matrix, its signs made unique.
fn orthogonal(rows: i64, columns: i64, stream: Stream) -> Tensor {
    let tall = normal(&[rows.max(columns), rows.min(columns)], stream);
    let (q, r) = Tensor::linalg_qr(&tall, "reduced");
    let q = q * r.diagonal(0, 0, 1).sign().unsqueeze(0);
    if rows < columns { q.tr() } else { q }
}
