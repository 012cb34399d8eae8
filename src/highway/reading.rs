//! What the numbers say, in plain words, computed from them.

use super::memory::{Memory, Profile};
use super::network::ModelKind;
use super::study::Outcome;
use super::tasks::Task;

/// How a training ended, by its loss on test sequences. They are a sample: within three
/// standard errors of the baseline, or 1 % of it, the loss is called the baseline's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// At most a tenth of the baseline.
    Solved,
    /// Less than it.
    Below,
    /// Not to be told from it.
    AtBaseline,
    /// More.
    Above,
}

impl Verdict {
    /// Of an outcome.
    pub fn of(outcome: &Outcome) -> Verdict {
        let baseline = outcome.task.baseline();
        let near = (3.0 * outcome.test_error).max(0.01 * baseline);
        match outcome.test_loss {
            loss if loss <= 0.1 * baseline => Verdict::Solved,
            loss if loss < baseline - near => Verdict::Below,
            loss if loss <= baseline + near => Verdict::AtBaseline,
            _ => Verdict::Above,
        }
    }

    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Verdict::Solved => "solves it",
            Verdict::Below => "gets below the baseline",
            Verdict::AtBaseline => "stays at the baseline",
            Verdict::Above => "ends above the baseline",
        }
    }

    fn learnt(self) -> bool {
        matches!(self, Verdict::Solved | Verdict::Below)
    }
}

impl Outcome {
    /// The loss on test sequences over the baseline.
    pub fn share(&self) -> f64 {
        self.test_loss / self.task.baseline()
    }

    /// The decades between a profile's value at the far end, the first step of a
    /// sequence, and where the answer is: -3 where a thousandth arrives.
    pub fn decades(&self, profile: Profile, memory: &Memory) -> Option<f64> {
        let (near, far) = ends(self.task, profile(memory), memory)?;
        Some((far.1 / near.1).log10())
    }
}

/// Distance and value where the answer begins, and at the first step.
fn ends(task: Task, values: &[f64], memory: &Memory) -> Option<((i64, f64), (i64, f64))> {
    let all = || memory.distance.iter().copied().zip(values.iter().copied());
    let near = all().find(|(distance, _)| *distance >= task.answer_steps() - 1)?;
    all().next_back().map(|far| (near, far))
}

/// How a model's loss went.
pub fn of_loss(outcome: &Outcome) -> String {
    let share = outcome.share();
    let verdict = Verdict::of(outcome);
    let mut text = format!(
        "{} {}: test loss {} ± {}, {} of it; {}.",
        outcome.model.title(),
        verdict.words(),
        number(outcome.test_loss),
        number(outcome.test_error),
        percent(share),
        right(outcome)
    );
    let half = 0.5 * outcome.task.baseline();
    let below = outcome.curve.iter().find(|(_, loss)| *loss < half);
    match below {
        Some((step, _)) => {
            text +=
                &format!(" Its training loss was first below half of the baseline at step {step}.")
        }
        None if verdict.learnt() => text += " Its training loss never was below half of it.",
        None => {}
    }
    text
}

/// The share of right answers, beside that of an answer without memory.
fn right(outcome: &Outcome) -> String {
    let share = percent(outcome.right);
    match outcome.task {
        Task::Copy { .. } => {
            format!("{share} of the recalled symbols are right (by chance 12.5 %)")
        }
        Task::Adding { .. } => {
            // P(|s - 1| < d) = 1 - (1 - d)².
            format!("{share} of the sums are less than 0.04 off (by always saying 1: 7.8 %)")
        }
        Task::Mnist { .. } => format!("{share} of the digits are right (by chance 10 %)"),
    }
}

/// How a gradient goes with the distance; `what` is its name.
pub fn of_gradient(outcome: &Outcome, memory: &Memory, values: &[f64]) -> String {
    let name = outcome.model.title();
    let Some((near, far)) = ends(outcome.task, values, memory) else {
        return format!("{name}: has none.");
    };
    let steps = far.0 - near.0;
    if near.1 == 0.0 || steps == 0 {
        return format!("{name}: {} at distance {}.", number(near.1), near.0);
    }
    let ratio = far.1 / near.1;
    let a_step = ratio.powf(1.0 / steps as f64);
    let way = match ratio {
        0.0 => "falls below what f64 can say".to_owned(),
        ratio if ratio < 0.5 => format!(
            "falls to {} of its size, on average by a factor of {a_step:.3} a step",
            number(ratio)
        ),
        ratio if ratio <= 2.0 => format!("has {} times its size", number(ratio)),
        ratio => format!(
            "grows to {} times its size, on average by a factor of {a_step:.3} a step",
            number(ratio)
        ),
    };
    format!("{name}: from distance {} to {} it {way}.", near.0, far.0)
}

/// What the forget gates let pass from the first step to the last.
pub fn of_forget(outcome: &Outcome, memory: &Memory) -> String {
    let name = outcome.model.title();
    match (
        memory.forget_mean.last(),
        memory.forget_most.last(),
        memory.distance.last(),
    ) {
        (Some(mean), Some(most), Some(distance)) => format!(
            "{name}: over {distance} steps the gates let {} of a cell state pass in the mean over \
             the units, {} in the unit that keeps most.",
            number(*mean),
            number(*most)
        ),
        _ => format!("{name}: has no forget gate."),
    }
}

/// What holds over all tasks and models: whether those learnt to whose first step a
/// gradient reached.
pub fn law(outcomes: &[Outcome]) -> Vec<String> {
    let learnt: Vec<&Outcome> = (outcomes.iter())
        .filter(|outcome| Verdict::of(outcome).learnt())
        .collect();
    let not: Vec<&Outcome> = (outcomes.iter())
        .filter(|outcome| !Verdict::of(outcome).learnt())
        .collect();
    let mut sentences = vec![format!(
        "Of {} trainings {} got below the baseline of their task, {} of these to a tenth of it \
         or less; {} did not.",
        outcomes.len(),
        learnt.len(),
        (learnt.iter())
            .filter(|outcome| Verdict::of(outcome) == Verdict::Solved)
            .count(),
        not.len()
    )];
    for (when, memory) in [
        (
            "Before training",
            (|outcome| &outcome.before) as fn(&Outcome) -> &Memory,
        ),
        ("After training", |outcome| &outcome.after),
    ] {
        let reach = |all: &[&Outcome]| -> Option<(f64, f64)> {
            let decades = (all.iter())
                .filter_map(|outcome| outcome.decades(|memory| &memory.h, memory(outcome)));
            decades.fold(None, |range, decades| {
                let (low, high) = range.unwrap_or((decades, decades));
                Some((low.min(decades), high.max(decades)))
            })
        };
        let said = |(low, high): (f64, f64)| match power(low) == power(high) {
            true => power(low),
            false => format!("{} to {}", power(low), power(high)),
        };
        let what = format!(
            "{when}, the gradient with respect to h at the first step, over that where the answer \
             begins, was"
        );
        let text = match (reach(&learnt), reach(&not)) {
            (Some(of_learnt), Some(of_not)) => format!(
                "{what} {} in those that got below the baseline and {} in the others: {}",
                said(of_learnt),
                said(of_not),
                match of_learnt.0 > of_not.1 {
                    true => "the two ranges do not meet.",
                    false =>
                        "the two ranges overlap, so that this number alone does not tell who learns.",
                }
            ),
            (Some(range), None) | (None, Some(range)) => format!("{what} {}.", said(range)),
            (None, None) => continue,
        };
        sentences.push(text);
    }
    sentences.extend(gates_and_cells(outcomes));
    let best = |model: ModelKind| {
        let of_it = || {
            outcomes
                .iter()
                .filter(move |outcome| outcome.model == model)
        };
        let below = of_it()
            .filter(|outcome| Verdict::of(outcome).learnt())
            .count();
        format!("{} in {below} of {}", model.title(), of_it().count())
    };
    let models: Vec<String> = ModelKind::ALL.into_iter().map(best).collect();
    sentences.push(format!("Below the baseline: {}.", models.join(", ")));
    sentences
}

/// Whether what a gradient loses on its way through the cell states is what the product
/// of the forget gates says.
fn gates_and_cells(outcomes: &[Outcome]) -> Option<String> {
    let pair = |outcome: &Outcome, memory: &Memory| {
        let cell = outcome.decades(|memory| &memory.c, memory)?;
        let gates = outcome.decades(|memory| &memory.forget_mean, memory)?;
        // Where one of the two is below what f64 can say there is nothing to compare.
        (cell.is_finite() && gates.is_finite()).then_some((cell, gates))
    };
    let pairs: Vec<(f64, f64)> = (outcomes.iter())
        .flat_map(|outcome| {
            [
                pair(outcome, &outcome.before),
                pair(outcome, &outcome.after),
            ]
        })
        .flatten()
        .collect();
    let low = pairs.iter().map(|pair| pair.0).reduce(f64::min)?;
    let high = pairs.iter().map(|pair| pair.0).reduce(f64::max)?;
    let apart = || pairs.iter().map(|(cell, gates)| (cell - gates).abs());
    Some(format!(
        "In the LSTMs, before and after training, the gradient with respect to C changed over the \
         same way by {low:.1} to {high:.1} decades. What the mean product of the forget gates says \
         is {:.1} decades off that in the mean, and {:.1} at most.",
        apart().sum::<f64>() / pairs.len() as f64,
        apart().fold(0.0, f64::max)
    ))
}

/// A power of ten by its exponent.
fn power(decades: f64) -> String {
    match decades {
        f64::NEG_INFINITY => "0".to_owned(),
        decades => format!("10^{decades:.1}"),
    }
}

/// Decades as people read them: what is lost to f64 is no number.
pub(crate) fn exponent(decades: f64) -> String {
    match decades {
        f64::NEG_INFINITY => "< -308".to_owned(),
        decades => format!("{decades:.1}"),
    }
}

/// A number as people read it.
pub(crate) fn number(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        value if (0.001..1000.0).contains(&value.abs()) => {
            let digits = (2 - value.abs().log10().floor() as i32).max(0) as usize;
            format!("{value:.digits$}")
        }
        value => format!("{value:.1e}"),
    }
}

/// A share in percent.
pub(crate) fn percent(share: f64) -> String {
    match share {
        share if share >= 0.001 => format!("{:.1} %", 100.0 * share),
        share if share > 0.0 => format!("{:.2} %", 100.0 * share),
        _ => "0 %".to_owned(),
    }
}
