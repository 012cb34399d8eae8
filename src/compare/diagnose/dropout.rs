//! Dropout that was left on. Its masks are not ours to repeat, but they show: the
//! first layer agrees, and what the second one reads is, element by element, 0
//! or `x / (1 - p)`.
//!
//! With the gates in the reference that is proved: before σ and tanh they are
//! linear in what the layer reads, `4H` equations for `D*P` numbers. Without
//! them it is told by exclusion, and by errors that do not follow from what the
//! layer reads.

use tch::{Device, Kind, Tensor};

use super::case::{self, Case, plain};
use super::cause::{Cause, Certainty, Diagnosis};
use crate::checkpoint::safetensors::Tensors;
use crate::error::Result;
use crate::lstm::{Call, Engine, Lstm, LstmConfig, Mode, State};
use crate::random::Stream;

/// So many numbers have to be 0 or `x / (1 - p)`.
const ENOUGH: i64 = 32;
/// How exactly, relative to `x`, and how many of them.
const EXACT: f64 = 0.02;
const ALMOST_ALL: f64 = 0.99;
/// Of the variance of the errors, what may follow from what the layer reads: a
/// wrong weight makes errors that do.
const EXPLAINED: f64 = 0.25;
/// Of all outputs, how many are off: masks touch every unit at every step, from
/// the first on.
const TOUCHED: f64 = 0.95;
/// Steps that the regression needs for each of its coefficients.
const STEPS_EACH: i64 = 4;

pub(super) fn diagnose(case: &Case) -> Result<Option<Diagnosis>> {
    let config = case.evidence.lstm.config();
    if config.num_layers < 2 || case.time == 0 {
        return Ok(None);
    }
    let ours = case.ours()?;
    if !first_layer_alone_agrees(case, &ours) {
        return Ok(None);
    }
    let read = first_layer(case)?;
    if has_gates(case) {
        return Ok(proved(case, &read).map(|p| Diagnosis {
            cause: Cause::Dropout(Some(p)),
            message: format!(
                "dropout: the reference ran with dropout left on (p = {p:.2}): its layer 0 agrees with ours, and each number that its layer 1 reads is 0 or 1/(1 - p) of ours; call .eval() before it runs"
            ),
            certainty: Certainty::Proved,
        }));
    }
    let Some(p) = likely(case, &ours, &read)? else {
        return Ok(None);
    };
    Ok(Some(Diagnosis {
        cause: Cause::Dropout(None),
        message: format!(
            "dropout: the reference most likely ran with dropout left on (p is about {p:.1}): its layer 0 agrees with ours, every unit and step above differs, the errors do not follow from what the layers read, and no other known mistake fits; call .eval() before it runs"
        ),
        certainty: Certainty::Likely,
    }))
}

/// Whether layer 0 is within the tolerance, and no layer above it is.
fn first_layer_alone_agrees(case: &Case, ours: &Tensors) -> bool {
    let directions = case.evidence.lstm.config().directions();
    let mut known = false;
    for name in ["h_n", "c_n"] {
        let Some(theirs) = case.expected.get(name) else {
            continue;
        };
        let mine = plain(&ours[name]);
        if mine.size() != theirs.size() {
            return false;
        }
        known = true;
        for row in 0..theirs.size()[0] {
            let near = within(&mine.get(row), &theirs.get(row), case.evidence.tolerance);
            if near != (row < directions) {
                return false;
            }
        }
    }
    known
}

fn within(ours: &Tensor, theirs: &Tensor, tolerance: f64) -> bool {
    let allowed = theirs.abs().clamp_min(1.0) * tolerance;
    let near = (ours - theirs).abs().le_tensor(&allowed);
    near.all().int64_value(&[]) != 0
}

/// What layer 1 reads without dropout `[B, T, D*P]`.
fn first_layer(case: &Case) -> Result<Tensor> {
    let evidence = case.evidence;
    let config = evidence.lstm.config();
    let lstm = case::build(
        LstmConfig {
            num_layers: 1,
            ..config.clone()
        },
        &case.parameters,
    )?;
    let state = evidence.state.map(|state| State {
        h: state.h.narrow(0, 0, config.directions()),
        c: state.c.narrow(0, 0, config.directions()),
    });
    let mut read = case::run(&lstm, evidence.input, evidence.lengths, state.as_ref())?;
    Ok(plain(&read.remove("y").unwrap_or_default()))
}

fn has_gates(case: &Case) -> bool {
    let config = case.evidence.lstm.config();
    ["i", "f", "g", "o", "h"].iter().all(|part| {
        let width = match *part {
            "h" => config.output_size(),
            _ => config.hidden_size,
        };
        let tensor = case.evidence.expected.get(&format!("l1/{part}"));
        tensor.is_some_and(|tensor| tensor.size() == [case.batch, case.time, width])
    })
}

/// Steps within a text, of `[B, T, ...]` as `[N, ...]`.
fn real_steps(case: &Case, sequence: &Tensor) -> Tensor {
    let real = case.padding().to_device(Device::Cpu).logical_not();
    let real = real.view([-1]).nonzero().view([-1]);
    sequence.flatten(0, 1).index_select(0, &real)
}

/// The probability, if what layer 1 of the reference reads is `read` with
/// dropout.
fn proved(case: &Case, read: &Tensor) -> Option<f64> {
    let evidence = case.evidence;
    let part = |name: &str| plain(&evidence.expected[&format!("l1/{name}")]);
    let parameter = |name: &str| case.parameters.get(name).map(plain);
    let (w_ih, w_hh) = (parameter("weight_ih_l1")?, parameter("weight_hh_l1")?);
    // Before σ and tanh, without what comes of the state and the biases.
    let logit = |gate: &Tensor| gate.logit(None);
    let before = Tensor::cat(
        &[
            logit(&part("i")),
            logit(&part("f")),
            part("g").atanh(),
            logit(&part("o")),
        ],
        -1,
    );
    let h = part("h");
    let row = evidence.lstm.config().directions();
    let start = match evidence.state {
        Some(state) => plain(&state.h.get(row)),
        None => h.select(1, 0).zeros_like(),
    };
    let previous = Tensor::cat(&[start.unsqueeze(1), h.narrow(1, 0, case.time - 1)], 1);
    let mut from_input = before - previous.matmul(&w_hh.tr());
    for name in ["bias_ih_l1", "bias_hh_l1"] {
        if let Some(bias) = parameter(name) {
            from_input -= bias;
        }
    }
    let (from_input, x) = (real_steps(case, &from_input), real_steps(case, read));
    // A saturated gate has lost what came before it.
    let known = from_input
        .isfinite()
        .all_dim(-1, false)
        .nonzero()
        .view([-1]);
    let (from_input, x) = (
        from_input.index_select(0, &known),
        x.index_select(0, &known),
    );
    if x.numel() == 0 {
        return None;
    }
    let theirs = from_input.matmul(&w_ih.linalg_pinv(1e-12, false).tr());

    // Numbers near zero have no ratio.
    let large = x.abs().ge_tensor(&(x.abs().max() * 0.05));
    let ratio = (theirs / &x).masked_select(&large);
    let count = ratio.numel() as i64;
    let kept = ratio.masked_select(&ratio.abs().gt(0.5));
    if count < ENOUGH || kept.numel() == 0 {
        return None;
    }
    let scale = kept.median().double_value(&[]);
    let number = |tensor: Tensor| tensor.sum(Kind::Int64).int64_value(&[]) as f64;
    let zeros = number(ratio.abs().le(EXACT));
    let scaled = number((&ratio - scale).abs().le(EXACT));
    let p = 1.0 - 1.0 / scale;
    let dropped = zeros / count as f64;
    let spread = (p * (1.0 - p) / count as f64).sqrt();
    let holds = scale > 1.0 + 2.0 * EXACT
        && zeros > 0.0
        && zeros + scaled >= ALMOST_ALL * count as f64
        && (dropped - p).abs() <= 5.0 * spread + 0.01;
    holds.then_some(p)
}

/// The probability, roughly, if nothing speaks against dropout.
fn likely(case: &Case, ours: &Tensors, read: &Tensor) -> Result<Option<f64>> {
    let Some(theirs) = case.expected.get("y") else {
        return Ok(None);
    };
    let mine = plain(&ours["y"]);
    if mine.size() != theirs.size() {
        return Ok(None);
    }
    let allowed = theirs.abs().clamp_min(1.0) * case.evidence.tolerance;
    let error = theirs - &mine;
    let touched = error.abs().gt_tensor(&allowed).to_kind(Kind::Double);
    let share = |tensor: Tensor| tensor.mean(Kind::Double).double_value(&[]);
    let forward = case.evidence.lstm.config().output_size();
    let texts: Vec<i64> = (0..case.batch)
        .filter(|&text| case.lengths[text as usize] > 0)
        .collect();
    let first = touched
        .select(1, 0)
        .narrow(-1, 0, forward)
        .index_select(0, &Tensor::from_slice(&texts));
    if share(real_steps(case, &touched)) < TOUCHED || share(first) < TOUCHED {
        return Ok(None);
    }

    let error = real_steps(case, &error);
    let ones = Tensor::ones([error.size()[0], 1], (Kind::Double, Device::Cpu));
    let features = Tensor::cat(&[real_steps(case, read), real_steps(case, &mine), ones], -1);
    let (steps, coefficients) = (features.size()[0], features.size()[1]);
    if steps < STEPS_EACH * coefficients {
        return Ok(None);
    }
    let fitted = features.matmul(&features.linalg_pinv(1e-10, false).matmul(&error));
    let squares = |tensor: &Tensor| tensor.square().sum(Kind::Double).double_value(&[]);
    let left = squares(&(&error - fitted)) / (steps - coefficients) as f64;
    let all = squares(&(&error - error.mean_dim(0, true, Kind::Double))) / (steps - 1) as f64;
    let explained = 1.0 - left / all;
    if explained > EXPLAINED {
        return Ok(None);
    }

    // Which probability moves the outputs of this model so far?
    let mut nearest = None;
    for tenth in 1..=9 {
        let p = f64::from(tenth) / 10.0;
        let off = rms_with(case, ours, p)? / case.base.rms;
        let distance = off.ln().abs();
        if nearest.is_none_or(|(least, _)| distance < least) {
            nearest = Some((distance, p));
        }
    }
    Ok(nearest
        .filter(|(distance, _)| *distance < 2f64.ln())
        .map(|(_, p)| p))
}

/// How far dropout moves our own outputs.
fn rms_with(case: &Case, ours: &Tensors, p: f64) -> Result<f64> {
    let evidence = case.evidence;
    let config = LstmConfig {
        dropout: p,
        ..evidence.lstm.config().clone()
    };
    let lstm: Lstm = case::build(config, &case.parameters)?;
    let call = Call {
        lengths: evidence.lengths,
        state: evidence.state,
        engine: Engine::Fused,
        mode: Mode::Train(Stream::new(0, "dropout left on")),
        ..Call::default()
    };
    let read = lstm.forward(evidence.input, &call)?;
    let dropped = case::outputs(
        read.output,
        read.state.h,
        read.state.c,
        lstm.config().directions(),
    );
    Ok(case::rms(case, ours, &dropped))
}
