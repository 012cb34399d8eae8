//! A batch through the plain engine, with everything that it shows.

use tch::{Device, Kind, Tensor};

use crate::error::{Error, Result};
use crate::lstm::{Call, Mode, Output, Trace};
use crate::model::Model;

/// A batch as the plain engine read it.
pub(super) struct Read {
    pub lengths: Vec<i64>,
    /// `[B, T, 1]`, true behind the ends.
    pub padding: Tensor,
    pub output: Output,
    pub traces: Vec<Trace>,
}

impl Read {
    /// None of the texts is empty.
    pub fn new<'a>(model: &Model, ids: impl IntoIterator<Item = &'a [i64]>) -> Result<Read> {
        let batch = model.batch(ids)?;
        let call = Call {
            lengths: Some(&batch.lengths),
            ..Call::default()
        };
        let embedded = model.embed(&batch, Mode::Eval)?;
        let (output, traces) = model.lstm().trace(&embedded, &call)?;
        let states = traces.iter().flat_map(|trace| [&trace.c, &trace.h]);
        for state in states {
            if state.isfinite().all().int64_value(&[]) == 0 {
                let message = "a state is no finite number; the weights are too large";
                return Err(Error::NonFinite(message.to_owned()));
            }
        }
        let device = model.device();
        let ends = Tensor::from_slice(&batch.lengths).to_device(device);
        let steps = Tensor::arange(batch.ids.size()[1], (Kind::Int64, device));
        let padding = steps.unsqueeze(0).ge_tensor(&ends.unsqueeze(1));
        Ok(Read {
            lengths: batch.lengths,
            padding: padding.unsqueeze(-1),
            output,
            traces,
        })
    }

    /// Of one layer and direction, each text's [`ACTIVATIONS`], all units of a text
    /// beside each other.
    pub fn activations(&self, at: usize) -> Result<[Vec<f64>; 4]> {
        let hidden = self.traces[at].h.to_kind(Kind::Double);
        let ends = Tensor::from_slice(&self.lengths).to_device(hidden.device());
        let mean = hidden.sum_dim_intlist(1, false, Kind::Double) / ends.unsqueeze(-1);
        let max = hidden
            .masked_fill(&self.padding, f64::NEG_INFINITY)
            .amax(1, false);
        let state = &self.output.state;
        Ok([
            numbers(&state.h.get(at as i64))?,
            numbers(&state.c.get(at as i64))?,
            numbers(&mean)?,
            numbers(&max)?,
        ])
    }
}

/// A tensor's numbers, the last dimension fastest.
pub(super) fn numbers(tensor: &Tensor) -> Result<Vec<f64>> {
    let tensor = tensor.to_kind(Kind::Double).to_device(Device::Cpu);
    Ok(Vec::try_from(tensor.contiguous().view(-1))?)
}
