//! Ours against reference torch. The other side is a [`Reference`]: a file that
//! `scripts/reference.py` wrote with torch in Python, here ([`python`]) or on
//! another machine, or the bare tensors of somebody's own script.
//!
#![doc = include_str!("../../docs/compare.md")]

pub mod diagnose;
pub mod digest;
mod judge;
mod measure;
pub mod python;
mod reference;
#[cfg(feature = "cli")]
pub mod report;
pub(crate) mod stages;
mod subject;
mod task;
mod tolerance;

use serde::Serialize;
use tch::{Device, Kind};

pub use self::diagnose::Diagnosis;
use self::judge::Judge;
pub use self::judge::{StageResult, Verdict};
pub use self::measure::{Bound, Difference, measure};
pub use self::reference::{Origin, Reference, Steps, Weight};
use self::stages::Stage;
pub use self::subject::Subject;
use self::task::{Task, is_float};
use self::tolerance::is_cuda;
pub use self::tolerance::{Quantity, Sums, Tolerance};
use crate::checkpoint::dtype_name;
use crate::checkpoint::safetensors::Tensors;
use crate::error::{Error, Result};
use crate::lstm::Engine;

/// How to compare.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Who computes on our side.
    pub engine: Engine,
    /// Where.
    pub device: Device,
    /// In which dtype; `None`: that of the reference.
    pub kind: Option<Kind>,
    /// Of values, instead of what [`Tolerance::of`] gives.
    pub tolerance: Option<f64>,
    /// Of gradients, the same.
    pub gradient_tolerance: Option<f64>,
    /// Of losses and parameters after optimizer steps, the same.
    pub step_tolerance: Option<f64>,
    /// Compare although the reference ran other weights.
    pub other_weights: bool,
}

/// Everything that was found.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// In the order of computation.
    pub stages: Vec<StageResult>,
    /// What the reference has and our engine does not show.
    pub not_shown: Vec<String>,
    /// In one line.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// The tolerances.
    pub tolerance: Tolerance,
    /// Our dtype: `f32`.
    pub dtype: &'static str,
    /// Where ours ran.
    pub device: String,
    /// Of a classifier: how many texts get another label.
    pub labels_differ: Option<u64>,
    /// What of the weights differs, where that was allowed.
    pub other_weights: Vec<String>,
    /// Why a value is outside, if it is one of the usual mistakes.
    pub diagnosis: Option<Diagnosis>,
}

/// Holds the subject, as it was loaded from its file, against the reference.
///
/// Errors if the reference is of another architecture or other weights, lacks a
/// tensor, or has one of another shape.
pub fn compare(subject: Subject, reference: &Reference, settings: &Settings) -> Result<Comparison> {
    check_architecture(&subject, reference)?;
    let other_weights = check_weights(&subject, reference, settings)?;
    let known = stages::stages(&subject);
    expect_known(reference, &known)?;

    let theirs = reference.kind();
    let kind = settings.kind.unwrap_or(theirs);
    let own_kind = subject.kind() == kind;
    let subject = subject.cast(kind, settings.device)?;
    let task = Task::new(reference, &subject)?;
    let tolerance = tolerance(&subject, reference, settings, kind);
    let unit = coarser(kind, theirs);
    let judge = Judge::new(&known, reference, subject.lstm(), tolerance, unit);

    let mut ours = task.run(&subject, settings.engine, reference.has("grad/"))?;
    // In the dtype of its file a parameter has the digest that the reference
    // may name.
    let explain = || task.explain(reference, tolerance.value, own_kind);
    if let Err(error) = judge.same_shapes(&ours) {
        return Err(match explain()? {
            Some(found) => Error::file(&reference.path, format!("{error}. {}", found.message)),
            None => Error::file(
                &reference.path,
                format!("{error}; it is of another model or input"),
            ),
        });
    }
    let mut results = judge.all(&ours)?;
    let diagnosis = match results.iter().find(|result| result.is_outside()) {
        // What the LSTM reads is not the same: no mistake of the LSTM.
        Some(first) if first.name == "embedded" => None,
        Some(first) if first.quantity == Quantity::Value => explain()?,
        _ => None,
    };
    let steps = reference
        .origin
        .as_ref()
        .and_then(|origin| origin.steps.as_ref());
    if let (Some(steps), true) = (steps, reference.has("steps/")) {
        let trained = task.train(&subject, settings.engine, steps)?;
        results.extend(judge.all(&trained)?);
        ours.extend(trained);
    }
    let shown = |stage: &&Stage| !ours.contains_key(&stage.name);
    let there = |stage: &&Stage| reference.expected.contains_key(&stage.name);
    Ok(Comparison {
        verdict: judge.verdict(&results),
        not_shown: known
            .iter()
            .filter(shown)
            .filter(there)
            .map(|stage| stage.name.clone())
            .collect(),
        tolerance,
        labels_differ: labels_differ(&ours, &reference.expected),
        stages: results,
        dtype: dtype_name(kind),
        device: match settings.device {
            Device::Cuda(number) => format!("cuda:{number}"),
            _ => "cpu".to_owned(),
        },
        other_weights,
        diagnosis,
    })
}

/// What of the weights differs; an error unless that is allowed.
fn check_weights(
    subject: &Subject,
    reference: &Reference,
    settings: &Settings,
) -> Result<Vec<String>> {
    let differ = reference.other_weights(&subject.parameters());
    if differ.is_empty() || settings.other_weights {
        return Ok(differ);
    }
    let some: Vec<&str> = differ.iter().map(String::as_str).collect();
    let message = format!(
        "is a reference for other weights: {}; make it again from this checkpoint, or pass `other_weights` to see how far they are apart, and why",
        crate::checkpoint::some_of(&some)
    );
    Err(Error::file(&reference.path, message))
}

fn tolerance(
    subject: &Subject,
    reference: &Reference,
    settings: &Settings,
    kind: Kind,
) -> Tolerance {
    let origin = reference.origin.as_ref();
    let there = origin.is_some_and(|origin| origin.device.starts_with("cuda"));
    let cuda = is_cuda(settings.device) || there;
    let default = Tolerance::of([kind, reference.kind()], cuda, Sums::of(subject.lstm()));
    Tolerance {
        value: settings.tolerance.unwrap_or(default.value),
        gradient: settings.gradient_tolerance.unwrap_or(default.gradient),
        step: settings.step_tolerance.unwrap_or(default.step),
    }
}

/// The one with the fewer digits.
fn coarser(a: Kind, b: Kind) -> Kind {
    let digits = [Kind::BFloat16, Kind::Half, Kind::Float];
    let coarse = digits.into_iter().find(|&kind| kind == a || kind == b);
    coarse.unwrap_or(a)
}

fn check_architecture(subject: &Subject, reference: &Reference) -> Result<()> {
    let Some(origin) = &reference.origin else {
        if matches!(subject, Subject::Classifier(_)) {
            let message = "is a reference of an LSTM alone; name it with `lstm` (in a model directory: `lstm` lstm)";
            return Err(Error::file(&reference.path, message));
        }
        return Ok(());
    };
    let ours = match subject {
        Subject::Classifier(_) => "classifier",
        Subject::Lstm { .. } => "lstm",
    };
    if origin.kind != ours {
        let message = match ours {
            "lstm" => "is of a whole classifier; leave out `lstm`".to_owned(),
            _ => format!(
                "is of the LSTM {:?} alone; name it with `lstm`",
                origin.lstm
            ),
        };
        return Err(Error::file(&reference.path, message));
    }
    let config = subject.config()?;
    let entries = config.as_object().into_iter().flatten();
    let differ: Vec<String> = entries
        .filter(|(key, value)| {
            // Neither changes what is compared.
            !matches!(
                key.as_str(),
                "id2label" | "max_tokens" | "dropout" | "head_dropout"
            ) && origin.config.get(key) != Some(value)
        })
        .map(|(key, value)| {
            let theirs = origin
                .config
                .get(key)
                .map_or("none".to_owned(), |value| value.to_string());
            format!("{key} is {value} here and {theirs} there")
        })
        .collect();
    match differ.is_empty() {
        true => Ok(()),
        false => Err(Error::file(
            &reference.path,
            format!(
                "is a reference for another architecture: {}",
                differ.join(", ")
            ),
        )),
    }
}

/// Errors if a reference with an origin lacks what it must have, or has what we
/// do not know.
fn expect_known(reference: &Reference, known: &[Stage]) -> Result<()> {
    let refuse = |name: &str, message: &str| {
        Err(Error::file(
            &reference.path,
            format!("tensor {name:?} {message}; make it again with scripts/reference.py"),
        ))
    };
    if let Some(name) = reference
        .expected
        .keys()
        .find(|name| !known.iter().any(|stage| stage.name == **name))
    {
        return refuse(name, "is none that this model has");
    }
    let strange = |(_, tensor): &(&String, &tch::Tensor)| !is_float(tensor.kind());
    if let Some((name, tensor)) = reference.expected.iter().find(strange) {
        return refuse(
            name,
            &format!("is {:?}, not f64, f32, f16 or bf16", tensor.kind()),
        );
    }
    let Some(origin) = &reference.origin else {
        return Ok(());
    };
    let must = |stage: &&Stage| match stage.quantity {
        Quantity::Value => true,
        Quantity::Gradient => reference.has("grad/"),
        Quantity::Step => origin.steps.is_some(),
    };
    match known
        .iter()
        .filter(must)
        .find(|stage| !reference.expected.contains_key(&stage.name))
    {
        Some(stage) => refuse(&stage.name, "is missing"),
        None => Ok(()),
    }
}

/// How many texts have another most probable class.
fn labels_differ(ours: &Tensors, theirs: &Tensors) -> Option<u64> {
    let label = |tensors: &Tensors| Some(tensors.get("probabilities")?.argmax(-1, false));
    let differ = label(ours)?.ne_tensor(&label(theirs)?);
    Some(differ.sum(Kind::Int64).int64_value(&[]) as u64)
}
