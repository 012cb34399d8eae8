//! Mistakes with the ends of texts: padding that is read, and steps that are not
//! the last.

use tch::{Kind, Tensor};

use super::case::{Case, Fit, outputs, replaced, run};
use super::cause::Cause;
use crate::checkpoint::safetensors::Tensors;
use crate::error::Result;
use crate::lstm::{Call, Engine};

/// Tries every mistake.
pub(super) fn try_all(case: &Case, ours: &Tensors, fits: &mut Vec<Fit>) -> Result<()> {
    padding(case, ours, fits)?;
    last_step(case, ours, fits);
    Ok(())
}

fn padding(case: &Case, ours: &Tensors, fits: &mut Vec<Fit>) -> Result<()> {
    let evidence = case.evidence;
    let mut keep = |what: &str, outputs: &Tensors| {
        case.keep(fits, Cause::Padding, what, outputs, false);
    };
    if !case.ragged() {
        // Perhaps it is the reference that knows the texts' ends.
        let Some(y) = case.expected.get("y") else {
            return Ok(());
        };
        let Ok([batch, time, _]) = <[i64; 3]>::try_from(y.size()) else {
            return Ok(());
        };
        if (batch, time) != (case.batch, case.time) {
            return Ok(());
        }
        let there = y.ne(0.0).any_dim(-1, false).to_kind(Kind::Int64);
        let steps = Tensor::arange_start(1, time + 1, (Kind::Int64, tch::Device::Cpu));
        let ends = Vec::<i64>::try_from((there * steps).amax(1, false))?;
        if ends.iter().all(|&end| end == time) {
            return Ok(());
        }
        let read = run(evidence.lstm, evidence.input, Some(&ends), evidence.state)?;
        keep(
            "the reference stops at the end of each text, and we read its padding as if it were text; give us the lengths",
            &read,
        );
        return Ok(());
    }
    let padding = case.padding();
    let clean = |tensor: &Tensor| tensor.masked_fill(&padding, 0.0);
    let fix = "pack the batch (pack_padded_sequence) with the lengths on the side that does not";
    let cleared = clean(evidence.input);
    for (input, of) in [(evidence.input, ""), (&cleared, " (zeros)")] {
        let read = run(evidence.lstm, input, None, evidence.state)?;
        let what = format!(
            "the reference ignores the lengths and reads the padding{of} as if it were text, so that its last states are behind the ends; {fix}"
        );
        keep(&what, &read);
        keep(&what, &replaced(&read, "y", clean(&read["y"])));
        // Forward, the states at each text's end are right: only backward starts
        // in the padding.
        let config = evidence.lstm.config();
        if config.bidirectional {
            let ended = ended(case, input)?;
            let what = format!(
                "the reference's backward direction starts in the padding{of}, not at each text's end; {fix}"
            );
            keep(&what, &replaced(&ended, "y", clean(&ended["y"])));
            keep(&what, &ended);
        }
        if case.expected.contains_key("pooled") {
            // The reading is right; only what the head reads is not.
            keep(
                &what,
                &replaced(ours, "pooled", read["pooled"].shallow_clone()),
            );
            let last = column(&read["y"], case.time - 1);
            keep(&what, &replaced(ours, "pooled", last));
        }
    }
    Ok(())
}

/// Read over the padding, with forward states taken at each text's end.
fn ended(case: &Case, input: &Tensor) -> Result<Tensors> {
    let evidence = case.evidence;
    let lstm = evidence.lstm;
    let call = Call {
        lengths: None,
        state: evidence.state,
        engine: Engine::Plain,
        ..Call::default()
    };
    let (read, traces) = lstm.trace(input, &call)?;
    let zeros = lstm.zero_state(case.batch, input);
    let start = evidence.state.unwrap_or(&zeros);
    let directions = lstm.config().directions();
    let at_end = |sequence: &Tensor, start: &Tensor| {
        let rows = case.lengths.iter().enumerate().map(|(text, &length)| {
            let text = text as i64;
            match length {
                0 => start.get(text),
                length => sequence.get(text).get(length - 1),
            }
        });
        Tensor::stack(&rows.collect::<Vec<_>>(), 0)
    };
    let (mut h, mut c) = (Vec::new(), Vec::new());
    for (row, trace) in (0..).zip(&traces) {
        match row % directions {
            0 => {
                h.push(at_end(&trace.h, &start.h.get(row)));
                c.push(at_end(&trace.c, &start.c.get(row)));
            }
            _ => {
                h.push(read.state.h.get(row));
                c.push(read.state.c.get(row));
            }
        }
    }
    Ok(outputs(
        read.output,
        Tensor::stack(&h, 0),
        Tensor::stack(&c, 0),
        directions,
    ))
}

/// One step of a sequence `[B, T, ...]`.
fn column(sequence: &Tensor, step: i64) -> Tensor {
    sequence.select(1, step)
}

/// A step of the output where the last state should be.
fn last_step(case: &Case, ours: &Tensors, fits: &mut Vec<Fit>) {
    if case.time == 0 {
        return;
    }
    let y = &ours["y"];
    let mut keep = |what: &str, pooled: Tensor| {
        let other = replaced(ours, "pooled", pooled);
        case.keep(fits, Cause::LastStep, what, &other, false);
    };
    if case.ragged() {
        keep(
            "the reference's head reads the last column of the output, which is padding for the shorter texts; take each text's own last step",
            column(y, case.time - 1),
        );
    }
    let steps = case
        .lengths
        .iter()
        .enumerate()
        .map(|(text, &length)| y.get(text as i64).get((length - 1).max(0)));
    let own = Tensor::stack(&steps.collect::<Vec<_>>(), 0);
    keep(
        "the reference's head reads the output at each text's last step in both directions, where backward has read one token only; its last state is at the first step (h_n)",
        own,
    );
    keep(
        "the reference's head reads the output at the first step in both directions, where forward has read one token only; its last state is at the last step (h_n)",
        column(y, 0),
    );
}
