//! The page of `cellway highway`: how far memory reaches, in pictures and in words.

use std::path::Path;

use super::{definitions, escape, write_bare};
use crate::error::Result;
use crate::highway::{
    Memory, ModelKind, Outcome, Plan, Profile, Task, Verdict, exponent, law, number, of_forget,
    of_gradient, of_loss, percent,
};
use crate::report::chart::{Line, Lines, Stroke, sheet};

const STYLE: &str = include_str!("highway.css");

/// What is smaller than the largest of a picture by more decades than this is drawn at
/// its lower edge.
const DECADES: i32 = 20;

/// A study that is finished.
#[derive(Clone, Debug)]
pub struct HighwayPage<'a> {
    /// What it consists of.
    pub plan: &'a Plan,
    /// What came of it, in the order of the plan.
    pub outcomes: &'a [Outcome],
    /// Of cellway, with that of libtorch.
    pub version: &'a str,
}

/// Writes a study as one page that needs nothing but a browser, and no script.
///
/// # Errors
/// The file cannot be written.
pub fn highway_page(path: &Path, page: &HighwayPage) -> Result<()> {
    let mut body = String::from("<h1>The law, measured: how far memory reaches</h1>\n");
    body.push_str(&summary(page.outcomes));
    body.push_str(INTRODUCTION);
    body.push_str(&table(page.outcomes));
    for lesson in &page.plan.lessons {
        let of_it = page.outcomes.iter();
        let of_it: Vec<&Outcome> = of_it
            .filter(|outcome| outcome.task == lesson.task)
            .collect();
        body.push_str(&section(lesson.task, lesson.steps, &of_it));
    }
    body.push_str(&configuration(page));
    write_bare(path, "The law, measured", &body, STYLE, "")
}

/// The law, and what each picture shows.
const INTRODUCTION: &str = "<h2>What is measured</h2>
<p>To learn that the answer at the end depends on what was read at the beginning, the \
gradient of the answer’s loss has to get back to the beginning. In a tanh RNN it is \
multiplied at each step by the same matrix and by the slope of the tanh, which is at \
most 1; in an LSTM there is a second way, through the cell state, on which it is \
multiplied by the forget gate alone:</p>
<pre>tanh RNN   ∂h[t] / ∂h[t-1] = diag(1 - h[t]²) W_hh
LSTM       ∂C[t] / ∂C[t-1] = diag(f[t])  +  what goes through the gates and h</pre>
<p>So a gradient vanishes or explodes like a power of the distance in the first \
(Hochreiter, “Untersuchungen zu dynamischen neuronalen Netzen”, 1991; Bengio, Simard and \
Frasconi, “Learning long-term dependencies with gradient descent is difficult”, 1994), \
and reaches in the second at least as far as the product of the forget gates (Hochreiter \
and Schmidhuber, “Long short-term memory”, 1997; Gers, Schmidhuber and Cummins, “Learning \
to forget”, 2000), unless the other ways cancel it. A forget gate with the bias b begins \
at about σ(b): 0.5 of a state is left behind a step with b = 0, 0.73 with b = 1. Chrono \
initialisation (Tallec and Ollivier, “Can recurrent neural networks warp time?”, 2018) \
draws b from ln U(1, T - 1), so that the units forget at all paces up to T, and gives the \
input gate -b.</p>
<p>Below there are, for each task: the loss of training beside that of the best answer \
that remembers nothing; the norm of the total derivative of the answer’s loss with \
respect to h and to C, over the distance from the end of the sequence, before the first \
step of training and behind the last; and the product of the forget gates from a step to \
the end. The norms are means over sequences that were not trained on, computed in f64. \
Each sentence below a picture is computed from its numbers.</p>
";

fn summary(outcomes: &[Outcome]) -> String {
    let sentences = law(outcomes).into_iter();
    let sentences: String = sentences
        .map(|sentence| format!("<p>{}</p>\n", escape(&sentence)))
        .collect();
    format!(
        "<section class=\"verdict law within\" aria-label=\"summary\">\n{sentences}</section>\n"
    )
}

fn stroke(model: ModelKind) -> Stroke {
    match model {
        ModelKind::Rnn => Stroke::Rings,
        ModelKind::LstmForget0 => Stroke::Squares,
        ModelKind::LstmForget1 => Stroke::Discs,
        ModelKind::LstmChrono => Stroke::Plain,
    }
}

fn table(outcomes: &[Outcome]) -> String {
    let mut html = String::from(
        "<h2>All trainings</h2>\n\
         <p>The gradients with respect to h and C are those at the first step of a sequence over \
         those where the answer begins, and of the gates it is the mean product, all as powers of \
         ten: -3 is a thousandth.</p>\n\
         <div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"all trainings\">\n\
         <table>\n<thead><tr><th scope=\"col\">model</th><th scope=\"col\">verdict</th>",
    );
    for title in [
        "test loss",
        "of the baseline",
        "right",
        "h before",
        "h after",
        "C before",
        "C after",
        "gates before",
        "gates after",
        "parameters",
        "seconds",
    ] {
        html.push_str(&format!("<th scope=\"col\" class=\"number\">{title}</th>"));
    }
    html.push_str("</tr></thead>\n");
    let mut task = None;
    for outcome in outcomes {
        if task != Some(outcome.task) {
            if task.is_some() {
                html.push_str("</tbody>\n");
            }
            html.push_str(&format!(
                "<tbody>\n<tr><th scope=\"rowgroup\" colspan=\"13\">{}: {} steps, baseline {}</th></tr>\n",
                escape(&outcome.task.title()),
                outcome.steps,
                number(outcome.task.baseline())
            ));
            task = Some(outcome.task);
        }
        html.push_str(&row(outcome));
    }
    html.push_str("</tbody>\n</table>\n</div>\n");
    html
}

fn row(outcome: &Outcome) -> String {
    let decades = |profile: Profile, memory| {
        let decades = outcome.decades(profile, memory);
        decades.map_or(String::new(), |decades| escape(&exponent(decades)))
    };
    let cells = [
        number(outcome.test_loss),
        percent(outcome.share()),
        percent(outcome.right),
        decades(|memory| &memory.h, &outcome.before),
        decades(|memory| &memory.h, &outcome.after),
        decades(|memory| &memory.c, &outcome.before),
        decades(|memory| &memory.c, &outcome.after),
        decades(|memory| &memory.forget_mean, &outcome.before),
        decades(|memory| &memory.forget_mean, &outcome.after),
        outcome.parameters.to_string(),
        format!("{:.0}", outcome.seconds),
    ];
    let cells = cells.map(|cell| format!("<td class=\"number\">{cell}</td>"));
    format!(
        "<tr><th scope=\"row\">{}</th><td>{}</td>{}</tr>\n",
        escape(outcome.model.title()),
        Verdict::of(outcome).words(),
        cells.concat()
    )
}

fn section(task: Task, steps: u64, outcomes: &[&Outcome]) -> String {
    let mut html = format!(
        "<h2>{}</h2>\n<p>{} Baseline: {}. {steps} steps of training.</p>\n",
        escape(&task.title()),
        escape(&task.explanation()),
        escape(&task.baseline_formula()),
    );
    html.push_str("<p class=\"keys\">");
    for outcome in outcomes {
        let key = stroke(outcome.model).key();
        let title = escape(outcome.model.title());
        html.push_str(&format!("<span class=\"key\">{key}{title}</span>"));
    }
    html.push_str("</p>\n<div class=\"panels\">\n");
    html.push_str(&losses(task, outcomes));
    let answer = task.answer_loss_text();
    html.push_str(&format!(
        "<div><h3>Whose gradients</h3>\n<p>Those of {}. Distance 0 is the last step{}.</p></div>\n",
        escape(answer),
        match task.answer_steps() {
            1 => String::new(),
            steps => format!(
                "; up to distance {} only a part of the answer lies behind a step",
                steps - 1
            ),
        }
    ));
    for (n, (what, profile)) in PROFILES.into_iter().enumerate() {
        html.push_str(&pair(what, profile, n == 2, outcomes));
    }
    html.push_str("</div>\n");
    html
}

/// The last task as a picture: the loss, and before training the gradients of both
/// states and the product of the forget gates.
///
/// # Errors
/// There is no outcome, or the file cannot be written.
pub fn highway_picture(path: &Path, outcomes: &[Outcome]) -> Result<()> {
    let Some(last) = outcomes.last() else {
        return Err(crate::error::Error::file(path, "there is nothing to draw"));
    };
    let task = last.task;
    let outcomes: Vec<&Outcome> = outcomes
        .iter()
        .filter(|outcome| outcome.task == task)
        .collect();
    let legend: Vec<(Stroke, String)> = (outcomes.iter())
        .map(|outcome| (stroke(outcome.model), outcome.model.title().to_owned()))
        .collect();
    let mut panels = vec![loss_panel(task, &outcomes).0];
    for (what, profile) in PROFILES {
        if let Some((low, high, _)) = heights(profile, &outcomes) {
            panels.push(profile_panel(
                what,
                profile,
                TIMES[0],
                (low, high),
                &outcomes,
            ));
        }
    }
    sheet(path, &task.title(), &legend, &panels)
}

fn losses(task: Task, outcomes: &[&Outcome]) -> String {
    let (panel, note) = loss_panel(task, outcomes);
    let sentences = outcomes.iter().map(|outcome| of_loss(outcome)).collect();
    figure(&panel, note, sentences)
}

/// With a note of what it does not show.
fn loss_panel(task: Task, outcomes: &[&Outcome]) -> (Lines, &'static str) {
    let line = |outcome: &&Outcome| Line {
        stroke: stroke(outcome.model),
        points: (outcome.curve.iter())
            .map(|(step, loss)| (*step as f64, *loss))
            .collect(),
    };
    let baseline = task.baseline();
    // What the first steps lose is of no interest.
    let all = outcomes.iter().flat_map(|outcome| &outcome.curve);
    let highest = all.fold(baseline, |highest, (_, loss)| highest.max(*loss));
    let panel = Lines {
        title: "loss of training (dashed: no memory)".to_owned(),
        x_title: "step".to_owned(),
        logarithm: false,
        range: (0.0, highest.min(1.6 * baseline)),
        lines: outcomes
            .iter()
            .map(line)
            .map(|line| capped(line, 1.6 * baseline))
            .collect(),
        level: Some(baseline),
    };
    let note = match highest > 1.6 * baseline {
        true => "Losses above 1.6 times the baseline are drawn at the upper edge.",
        false => "",
    };
    (panel, note)
}

fn capped(mut line: Line, most: f64) -> Line {
    line.points
        .iter_mut()
        .for_each(|point| point.1 = point.1.min(most));
    line
}

/// A memory of an outcome.
type When = fn(&Outcome) -> &Memory;

const PROFILES: [(&str, Profile); 3] = [
    ("‖∂L/∂h‖", |memory| &memory.h),
    ("‖∂L/∂C‖", |memory| &memory.c),
    ("product of the forget gates, mean", |memory| {
        &memory.forget_mean
    }),
];

const TIMES: [(&str, When); 2] = [
    ("before training", |outcome| &outcome.before),
    ("after training", |outcome| &outcome.after),
];

/// The ends of the axis of a profile before and after training, and the least value;
/// none where there is nothing to draw.
fn heights(profile: Profile, outcomes: &[&Outcome]) -> Option<(f64, f64, f64)> {
    let memories = |outcome: &&Outcome| [outcome.before.clone(), outcome.after.clone()];
    let all: Vec<Memory> = outcomes.iter().flat_map(memories).collect();
    let values = || {
        let values = all
            .iter()
            .flat_map(|memory| profile(memory).iter().copied());
        values.filter(|value| *value > 0.0 && value.is_finite())
    };
    let high = values().fold(0.0, f64::max);
    let least = values().fold(high, f64::min);
    let low = least.max(high * 10f64.powi(-DECADES));
    (high > 0.0).then_some((low, high, least))
}

fn profile_panel(
    what: &str,
    profile: Profile,
    (when, of): (&str, When),
    range: (f64, f64),
    outcomes: &[&Outcome],
) -> Lines {
    let drawn = (outcomes.iter()).filter(|outcome| !profile(of(outcome)).is_empty());
    let line = |outcome: &&Outcome| {
        let memory = of(outcome);
        let xs = memory.distance.iter().map(|distance| *distance as f64);
        Line {
            stroke: stroke(outcome.model),
            points: xs.zip(profile(memory).iter().copied()).collect(),
        }
    };
    Lines {
        title: format!("{what}, {when}"),
        x_title: "distance from the end".to_owned(),
        logarithm: true,
        range,
        lines: drawn.map(line).collect(),
        level: None,
    }
}

/// A profile before and after training, on the same axis.
fn pair(what: &str, profile: Profile, forget: bool, outcomes: &[&Outcome]) -> String {
    let Some((low, high, least)) = heights(profile, outcomes) else {
        return String::new();
    };
    let note = match least < low {
        true => format!("What is below {} is drawn at the lower edge.", number(low)),
        false => String::new(),
    };
    let mut html = String::new();
    for (when, of) in TIMES {
        let panel = profile_panel(what, profile, (when, of), (low, high), outcomes);
        let sentence = |outcome: &&Outcome| match forget {
            true => of_forget(outcome, of(outcome)),
            false => of_gradient(outcome, of(outcome), profile(of(outcome))),
        };
        let drawn = (outcomes.iter()).filter(|outcome| !profile(of(outcome)).is_empty());
        html.push_str(&figure(&panel, &note, drawn.map(sentence).collect()));
    }
    html
}

fn figure(panel: &Lines, note: &str, sentences: Vec<String>) -> String {
    let items: String = (sentences.iter())
        .map(|sentence| format!("<li>{}</li>\n", escape(sentence)))
        .collect();
    format!(
        "<figure>\n<div role=\"img\" aria-label=\"{}; in words below\">{}</div>\n\
         <figcaption>{}<ul>\n{items}</ul></figcaption>\n</figure>\n",
        escape(&panel.title),
        panel.svg(),
        escape(note)
    )
}

fn configuration(page: &HighwayPage) -> String {
    let plan = page.plan;
    let setting = &plan.setting;
    let mut rows = vec![
        ("hidden size", setting.hidden.to_string()),
        ("batch", format!("{} sequences", setting.batch)),
        (
            "optimizer",
            format!(
                "Adam, learning rate {} (tanh RNN: {}) after {} steps of warm-up",
                setting.learning_rate, setting.rnn_learning_rate, setting.warmup
            ),
        ),
        (
            "gradients",
            format!("clipped to a norm of {}", setting.clip_norm),
        ),
        ("seed", setting.seed.to_string()),
        ("dtype", "f32; gradients of states f64".to_owned()),
        ("device", plan.device.clone()),
        ("tested on", format!("{} sequences", setting.test)),
        ("looked into", format!("{} sequences", setting.looked_into)),
        ("cellway", page.version.to_owned()),
    ];
    if let Some(digest) = &plan.images {
        rows.push(("images", format!("SHA-256 {digest}")));
    }
    let sizes = match plan.full {
        true => {
            "Hidden size and lengths are such as Arjovsky, Shah and Bengio (2016) and Tallec and \
                 Ollivier (2018) use; the optimizer is Adam, where they have RMSprop, and how many \
                 steps is our choice."
        }
        false => {
            "These sizes are smaller than those of the papers, so that all of it takes minutes \
                  on two cores: Tallec and Ollivier (2018) train 128 units, on lengths up to 2000 for \
                  copying and 750 for adding, and for more steps. What stays at its baseline here may \
                  leave it with more steps. <code>--full</code> takes sizes like theirs."
        }
    };
    format!(
        "<h2>How</h2>\n<p>{sizes}</p>\n\
         <p>All models of a task see the same batches, and all LSTMs start with the same weights; \
         only the biases of their gates differ. There is one seed, and one learning rate for all \
         LSTMs; the loss of the tanh RNN jumps with theirs, so that it has one of its own. Another \
         seed or rate may give another picture, above all of which models begin to learn within \
         these steps. A batch is a pure function of the seed and the number of the step.</p>\n{}",
        definitions("Configuration", &rows)
    )
}

#[cfg(test)]
mod tests;
