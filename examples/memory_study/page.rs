//! `OUT/index.html`, which needs nothing but a browser, and a picture of each task.

use std::path::Path;

use cellway::error::Result;
use cellway::report::chart::{Line, Lines, Stroke, sheet};
use cellway::report::write_page;

use crate::Outcome;
use crate::profile::GradientProfile;

/// Norms are drawn over at most so many powers of ten, losses up to so many baselines;
/// what is beyond is drawn at the edge.
const DECADES: i32 = 20;
const HIGHEST: f64 = 1.6;

const STYLE: &str = "\
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }\n\
th, td { padding: .25rem .75rem .25rem 0; text-align: left; }\n\
.scroll { overflow-x: auto; }\n\
.panels { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 27rem), 1fr)); gap: 1.5rem 2rem; }\n\
.panels .chart { min-width: 0; }\n.keys span { margin-right: 1.5rem; }\n";

const INTRODUCTION: &str = "<h1>How far memory reaches</h1>
<p>To learn that the answer at the end depends on what was read at the beginning, the gradient of \
the answer’s loss has to get back to the beginning. In a tanh RNN it is multiplied at each time step \
by the same matrix and by the slope of the tanh; in an LSTM there is a second way, through the cell \
state, on which it is multiplied by the forget gate alone:</p>
<pre>tanh RNN   ∂h[t] / ∂h[t-1] = diag(1 - h[t]²) W_hh
LSTM       ∂C[t] / ∂C[t-1] = diag(f[t])  +  what goes through the gates and h</pre>
<p>The baseline is the loss of the best answer without memory. The norms are those of the total \
derivative of the answer’s loss, means over sequences that were not trained on, computed in f64. In \
the tables they are those at the first time step over those where the answer begins, as powers of \
ten: -3 is a thousandth.</p>\n";

/// Writes the page and the pictures into the folder `out`.
pub fn write(out: &Path, settings: &str, outcomes: &[Outcome]) -> Result<()> {
    let mut body = String::new();
    for of_task in outcomes.chunk_by(|one, next| one.task == next.task) {
        let name = of_task[0].task.name();
        body += &format!("<h2>{name}: baseline {:.5}</h2>\n", of_task[0].baseline);
        body += &table(of_task);
        body += &figures(&out.join(format!("{name}.png")), of_task)?;
    }
    let page = format!("{INTRODUCTION}{body}<h2>Settings</h2>\n<p>{settings}</p>\n");
    let title = "How far memory reaches";
    write_page(&out.join("index.html"), title, &page, STYLE)
}

fn table(outcomes: &[Outcome]) -> String {
    let mut html = String::from(
        "<div class=\"scroll\"><table>\n<tr><th>model</th><th>verdict</th><th>training steps</th><th>test loss</th>\
         <th>of the baseline</th><th>right</th><th>h before</th><th>h after</th><th>C before</th>\
         <th>C after</th><th>gates before</th><th>gates after</th></tr>\n",
    );
    for outcome in outcomes {
        let lists = PROFILES.iter().flat_map(|(_, list)| {
            [&outcome.before, &outcome.after].map(|profile| {
                let decades = profile.decades(outcome.task, list(profile));
                decades.map_or(String::new(), |decades| format!("{decades:.1}"))
            })
        });
        let cells: String = lists.map(|cell| format!("<td>{cell}</td>")).collect();
        html += &format!(
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{:.5}</td><td>{:.1} %</td><td>{:.1} %</td>\
             {cells}</tr>\n",
            outcome.model.title(),
            outcome.verdict,
            outcome.training_steps,
            outcome.test_loss,
            100.0 * outcome.test_loss / outcome.baseline,
            100.0 * outcome.accuracy,
        );
    }
    html + "</table></div>\n"
}

/// One of the lists of a profile, with its title.
type Profile = (&'static str, fn(&GradientProfile) -> &[f64]);

const PROFILES: [Profile; 3] = [
    ("‖∂L/∂h‖", |profile| &profile.h),
    ("‖∂L/∂C‖", |profile| &profile.c),
    ("mean product of the forget gates", |profile| {
        &profile.forget_mean
    }),
];

/// The panels of one task as HTML, and as a picture in the file `path`.
fn figures(path: &Path, outcomes: &[Outcome]) -> Result<String> {
    let strokes = [Stroke::Rings, Stroke::Squares, Stroke::Discs, Stroke::Plain];
    let stroke = |outcome: &Outcome| strokes[outcome.model as usize];
    let baseline = outcomes[0].baseline;
    let capped = |&(step, loss): &(u64, f64)| (step as f64, loss.min(HIGHEST * baseline));
    let mut panels = vec![Lines {
        title: "training loss (dashed: no memory)".to_owned(),
        x_title: "training step".to_owned(),
        logarithm: false,
        range: (0.0, HIGHEST * baseline),
        lines: (outcomes.iter())
            .map(|outcome| Line {
                stroke: stroke(outcome),
                points: outcome.curve.iter().map(capped).collect(),
            })
            .collect(),
        level: Some(baseline),
    }];
    for (what, list) in PROFILES {
        let of_all = |of: fn(&Outcome) -> &GradientProfile| outcomes.iter().map(of);
        let values = of_all(|outcome| &outcome.before).chain(of_all(|outcome| &outcome.after));
        let values = values.flat_map(list).copied().filter(|value| *value > 0.0);
        let high = values.clone().fold(0.0, f64::max);
        let low = values.fold(high, f64::min).max(high * 10f64.powi(-DECADES));
        for when in ["before", "after"] {
            let line = |outcome: &Outcome| {
                let profile = match when {
                    "before" => &outcome.before,
                    _ => &outcome.after,
                };
                let distances = profile.distance.iter().map(|&distance| distance as f64);
                Line {
                    stroke: stroke(outcome),
                    points: distances.zip(list(profile).iter().copied()).collect(),
                }
            };
            panels.push(Lines {
                title: format!("{what}, {when} training"),
                x_title: "distance from the end".to_owned(),
                logarithm: true,
                range: (low, high),
                lines: outcomes.iter().map(line).collect(),
                level: None,
            });
        }
    }
    let legend: Vec<(Stroke, String)> = (outcomes.iter())
        .map(|outcome| (stroke(outcome), outcome.model.title().to_owned()))
        .collect();
    sheet(path, &outcomes[0].task.name(), &legend, &panels)?;
    let mut html = String::from("<p class=\"keys\">");
    for (stroke, title) in &legend {
        html += &format!("<span>{} {title}</span>", stroke.key());
    }
    html += "</p>\n<div class=\"panels\">\n";
    for panel in &panels {
        let (label, svg) = (&panel.title, panel.svg());
        html += &format!("<div role=\"img\" aria-label=\"{label}\">{svg}</div>\n");
    }
    Ok(html + "</div>\n")
}
