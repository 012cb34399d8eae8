//! The stages that are compared: their names, their order and their axes.
//!
//! In the order of computation: `embedded`; for each layer and direction
//! `lstm/l0/i`, `f`, `g`, `o`, `c`, `h` (`lstm/l0_reverse/i` backwards);
//! `lstm/y`, `lstm/h_n`, `lstm/c_n`; `pooled`, `logits`, `probabilities`, `loss`;
//! `grad/NAME`; `steps/loss`, `steps/NAME`.

use super::subject::Subject;
use super::tolerance::Quantity;
use crate::lstm::Lstm;
use crate::lstm::params::GATE_NAMES;

/// What a layer has at each step, in the order in which it is computed.
pub(super) const OF_A_STEP: [&str; 6] = ["i", "f", "g", "o", "c", "h"];

/// A tensor that both sides have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Its name in a reference.
    pub name: String,
    /// How it is judged.
    pub quantity: Quantity,
    /// What its axes are.
    pub axes: &'static [&'static str],
    /// Of a layer's gate or state: layer, whether backwards, and which.
    pub of: Option<(i64, bool, &'static str)>,
}

impl Stage {
    fn new(name: impl Into<String>, quantity: Quantity, axes: &'static [&'static str]) -> Stage {
        Stage {
            name: name.into(),
            quantity,
            axes,
            of: None,
        }
    }

    /// The axis of time.
    pub fn time(&self) -> Option<i64> {
        let at = self.axes.iter().position(|axis| *axis == "step");
        at.map(|axis| axis as i64)
    }

    /// A place in words: `text 3, step 7, unit 12`.
    pub fn place(&self, place: &[i64], lstm: &Lstm) -> String {
        let words = self.axes.iter().zip(place).map(|(axis, n)| match *axis {
            "gates" => {
                let hidden = lstm.config().hidden_size;
                let gate = GATE_NAMES[(n / hidden).clamp(0, 3) as usize];
                format!("gate {gate}, unit {}", n % hidden)
            }
            "layer" => {
                let directions = lstm.config().directions();
                let direction = if n % directions == 1 {
                    " backwards"
                } else {
                    ""
                };
                format!("layer {}{direction}", n / directions)
            }
            axis => format!("{axis} {n}"),
        });
        words.collect::<Vec<_>>().join(", ")
    }
}

const SEQUENCE: &[&str] = &["text", "step", "unit"];
const STATES: &[&str] = &["layer", "text", "unit"];

/// Every stage that a subject can have, in order.
pub fn stages(subject: &Subject) -> Vec<Stage> {
    use Quantity::{Gradient, Step, Value};
    let mut stages = Vec::new();
    let classifier = matches!(subject, Subject::Classifier(_));
    if classifier {
        stages.push(Stage::new("embedded", Value, SEQUENCE));
    }
    let config = subject.lstm().config();
    for layer in 0..config.num_layers {
        for reverse in [false, true].into_iter().take(config.directions() as usize) {
            for part in OF_A_STEP {
                let name = format!("{}/{part}", layer_name(layer, reverse));
                let mut stage = Stage::new(name, Value, SEQUENCE);
                stage.of = Some((layer, reverse, part));
                stages.push(stage);
            }
        }
    }
    stages.push(Stage::new("lstm/y", Value, SEQUENCE));
    stages.push(Stage::new("lstm/h_n", Value, STATES));
    stages.push(Stage::new("lstm/c_n", Value, STATES));
    if classifier {
        stages.push(Stage::new("pooled", Value, &["text", "unit"]));
        stages.push(Stage::new("logits", Value, &["text", "class"]));
        stages.push(Stage::new("probabilities", Value, &["text", "class"]));
    }
    stages.push(Stage::new("loss", Value, &[]));
    match classifier {
        true => stages.push(Stage::new("grad/embedded", Gradient, SEQUENCE)),
        false => {
            stages.push(Stage::new("grad/x", Gradient, SEQUENCE));
            stages.push(Stage::new("grad/h0", Gradient, STATES));
            stages.push(Stage::new("grad/c0", Gradient, STATES));
        }
    }
    let parameters = subject.parameters();
    for (name, _) in &parameters {
        stages.push(Stage::new(
            format!("grad/{name}"),
            Gradient,
            parameter_axes(name),
        ));
    }
    stages.push(Stage::new("steps/loss", Step, &["update"]));
    for (name, _) in &parameters {
        stages.push(Stage::new(
            format!("steps/{name}"),
            Step,
            parameter_axes(name),
        ));
    }
    stages
}

/// In front of the names of a layer's stages.
pub(crate) fn layer_name(layer: i64, reverse: bool) -> String {
    format!("lstm/l{layer}{}", if reverse { "_reverse" } else { "" })
}

fn parameter_axes(name: &str) -> &'static [&'static str] {
    let role = name.rsplit('.').next().unwrap_or(name);
    if role.starts_with("weight_ih") || role.starts_with("weight_hh") {
        &["gates", "column"]
    } else if role.starts_with("bias_ih") || role.starts_with("bias_hh") {
        &["gates"]
    } else if name.ends_with("bias") {
        &["row"]
    } else {
        &["row", "column"]
    }
}
