//! `cellway trace`: one text through an LSTM, seen from inside.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use serde_json::json;
use tch::{Kind, Tensor};

use super::{DeviceArg, DtypeArg, check_new_file, say, say_json};
use crate::checkpoint::{dtype_name, safetensors};
use crate::compare::Subject;
use crate::report::Progress;
use crate::trace::report::{Screen, TracePage, trace_page, trace_picture, trace_text};
use crate::trace::{self, Recording, UnitIndex};

/// How many units are shown unless some are named.
const UNITS: usize = 3;
/// The most of a page: what a browser draws without a wait.
const PAGE_WINDOW: usize = 200;
/// More words take more than a moment.
const MANY: usize = 500;
/// The most of a terminal: what a person reads.
const WINDOW: usize = 40;

/// The arguments of `cellway trace`.
#[derive(Debug, Args)]
pub(super) struct Trace {
    /// Model directory, or any checkpoint that holds an LSTM
    checkpoint: PathBuf,

    /// A text, for a model directory
    #[arg(conflicts_with = "input")]
    text: Option<String>,

    /// The LSTM by its path in the file, as `inspect` prints it
    #[arg(long, value_name = "NAME")]
    lstm: Option<String>,

    /// For an LSTM alone: .safetensors with x [T, I] or [B, T, I]
    #[arg(long, short, value_name = "FILE")]
    input: Option<PathBuf>,

    /// Which of B
    #[arg(long, default_value_t = 0, value_name = "N", requires = "input")]
    row: u32,

    /// The class whose probability and logit are looked at [default: the predicted one]
    #[arg(long, value_name = "LABEL")]
    class: Option<String>,

    /// Show these units [default: the most decisive]
    #[arg(long = "unit", value_name = "N", value_delimiter = ',')]
    units: Vec<i64>,

    /// Show units of this layer, from 0 [default: with --unit the last]
    #[arg(long, value_name = "N")]
    layer: Option<i64>,

    /// Show units of this direction [default: with --unit forward]
    #[arg(long)]
    direction: Option<Way>,

    /// Of a longer text show so many steps, the first and the last [default: 40; 200 on a page]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=2000))]
    window: Option<u32>,

    /// In which dtype [default: of the weights, f32 for narrower ones]
    #[arg(long, value_enum)]
    dtype: Option<DtypeArg>,

    #[command(flatten)]
    device: DeviceArg,

    /// As a page that works offline, too
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// As a picture, too: .png or .svg
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,

    /// Write every array, too
    #[arg(long, value_name = "FILE")]
    safetensors: Option<PathBuf>,

    /// Everything as JSON
    #[arg(long)]
    json: bool,
}

/// A direction of reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Way {
    /// From the first step to the last
    Forward,
    /// From the last to the first
    Backward,
}

impl Trace {
    pub fn run(&self, progress: &Progress) -> Result<()> {
        let outputs = [
            ("--html", &self.html),
            ("--picture", &self.picture),
            ("--safetensors", &self.safetensors),
        ];
        for (n, (flag, path)) in outputs.iter().enumerate() {
            let Some(path) = path else { continue };
            check_new_file(flag, path)?;
            if outputs[..n]
                .iter()
                .any(|(_, other)| other.as_ref() == Some(path))
            {
                bail!(
                    "{flag} {}: is written already; give another name",
                    path.display()
                );
            }
        }
        let device = self.device.resolve()?;
        let subject = Subject::open(&self.checkpoint, self.lstm.as_deref())?;
        let kind = match (self.dtype.map(Kind::from), subject.kind()) {
            (Some(kind), _) => kind,
            (None, Kind::Double) => Kind::Double,
            (None, _) => Kind::Float,
        };
        let subject = subject.cast(kind, device)?;
        let words = self.text.iter().flat_map(|text| text.split_whitespace());
        let words = words.count();
        if words > MANY {
            progress.line(&format!(
                "reading {words} words step by step, and the shown ones' prefixes"
            ));
        }
        let recording = self.record(&subject)?;
        let places = self.places(&recording)?;
        if let Some(path) = &self.html {
            let directions = self.directions(&recording);
            let page = TracePage {
                checkpoint: &self.checkpoint,
                lstm: match &subject {
                    Subject::Classifier(_) => None,
                    Subject::Lstm { name, .. } => Some(name),
                },
                version: super::VERSION,
                dtype: dtype_name(kind),
                device: match device {
                    tch::Device::Cuda(number) => format!("cuda:{number}"),
                    _ => "cpu".to_owned(),
                },
                recording: &recording,
                places: &places,
                named: !self.units.is_empty(),
                directions: &directions,
                window: self.window(PAGE_WINDOW),
            };
            trace_page(path, &page)?;
        }
        if let Some(path) = &self.picture {
            trace_picture(path, &recording, &places, self.window(WINDOW))?;
        }
        if let Some(path) = &self.safetensors {
            recording.save(path)?;
        }
        if self.json {
            return say_json(&json!({
                "checkpoint": self.checkpoint,
                "dtype": dtype_name(kind),
                "trace": recording.json(),
            }));
        }
        let text = trace_text(&recording, &places, self.window(WINDOW), screen());
        say(text.trim_end())
    }

    fn window(&self, most: usize) -> usize {
        self.window.map_or(most, |window| window as usize)
    }

    fn record(&self, subject: &Subject) -> Result<Recording> {
        match (subject, &self.input) {
            (Subject::Classifier(model), None) => {
                let Some(text) = &self.text else {
                    bail!("needs a text: cellway trace MODEL \"This movie is really great!\"");
                };
                if text.trim().is_empty() {
                    bail!("the text is empty; give it a word");
                }
                let class = self.class.as_deref().map(|label| {
                    let labels = model.config().labels();
                    match labels.iter().position(|known| known == label) {
                        Some(class) => Ok(class),
                        None => bail!("--class {label}: is none of {}", labels.join(", ")),
                    }
                });
                let window = self.window(match self.html {
                    Some(_) => PAGE_WINDOW,
                    None => WINDOW,
                });
                Ok(trace::text(model, text, class.transpose()?, window)?)
            }
            (Subject::Classifier(_), Some(_)) => {
                bail!("--input: is for an LSTM alone; choose it with --lstm, or give a text")
            }
            (Subject::Lstm { .. }, _) if self.class.is_some() => {
                bail!("--class: an LSTM alone has no classes")
            }
            (Subject::Lstm { lstm, .. }, Some(path)) => {
                Ok(trace::vectors(lstm, &self.vectors(path, lstm)?)?)
            }
            (Subject::Lstm { .. }, None) => bail!(
                "{}: has no tokenizer to read a text with; give the LSTM vectors: --input \
                 FILE.safetensors with x [T, I]",
                self.checkpoint.display()
            ),
        }
    }

    /// `x` of the file `[T, I]`, like the parameters.
    fn vectors(&self, path: &Path, lstm: &crate::lstm::Lstm) -> Result<Tensor> {
        let tensors = safetensors::load(path)?;
        let Some((_, x)) = tensors.iter().find(|(name, _)| *name == "x") else {
            bail!("{}: has no tensor x", path.display());
        };
        let size = x.size();
        let x = match size[..] {
            [_, _] if self.row == 0 => x.shallow_clone(),
            [rows, _, _] if i64::from(self.row) < rows => x.get(i64::from(self.row)),
            [_, _] => bail!(
                "--row {}: x of {} is one sequence",
                self.row,
                path.display()
            ),
            [rows, _, _] => bail!(
                "--row {}: x of {} has {rows}, from 0",
                self.row,
                path.display()
            ),
            _ => bail!(
                "{}: x must be [T, I] or [B, T, I], but its shape is {size:?}",
                path.display()
            ),
        };
        if !matches!(
            x.kind(),
            Kind::Float | Kind::Double | Kind::Half | Kind::BFloat16
        ) {
            bail!(
                "{}: x is {:?}, but must be a float",
                path.display(),
                x.kind()
            );
        }
        let (_, weight) = lstm.parameters()[0];
        Ok(x.to_device(weight.device()).to_kind(weight.kind()))
    }

    /// The directions that are asked for; of the page all if none is.
    fn directions(&self, recording: &Recording) -> Vec<usize> {
        let wanted = |at: &usize| {
            let one = &recording.directions[*at];
            self.layer.is_none_or(|layer| layer == one.layer)
                && self
                    .direction
                    .is_none_or(|way| (way == Way::Backward) == one.reverse)
        };
        (0..recording.directions.len()).filter(wanted).collect()
    }

    /// The units that are shown.
    fn places(&self, recording: &Recording) -> Result<Vec<UnitIndex>> {
        let directions = self.directions(recording);
        if directions.is_empty() {
            let last = &recording.directions[recording.directions.len() - 1];
            bail!(
                "--layer and --direction: the LSTM has the layers 0 to {}, {}",
                last.layer,
                if last.reverse {
                    "forward and backward"
                } else {
                    "forward only"
                }
            );
        }
        if self.units.is_empty() {
            let all = recording.decisive(usize::MAX).into_iter();
            let wanted = all.filter(|place| directions.contains(&place.direction));
            return Ok(wanted.take(UNITS).collect());
        }
        // Of the last layer, forward, unless it is said.
        let top = recording.directions[directions[directions.len() - 1]].layer;
        let direction = directions
            .into_iter()
            .find(|&at| recording.directions[at].layer == top)
            .unwrap_or(0);
        let units = recording.directions[direction].units();
        let place = |&unit: &i64| match (0..units).contains(&unit) {
            true => Ok(UnitIndex { direction, unit }),
            false => bail!("--unit {unit}: the layer has the units 0 to {}", units - 1),
        };
        self.units.iter().map(place).collect()
    }
}

/// Of standard output: colors where a terminal takes them.
fn screen() -> Screen {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let terminal = std::io::stdout().is_terminal();
    let dumb = set("TERM").is_none_or(|term| term == "dumb");
    let width = match terminal {
        true => terminal_size::terminal_size().map(|(width, _)| usize::from(width.0)),
        false => None,
    };
    Screen {
        width: width.unwrap_or(100),
        color: terminal && !dumb && set("NO_COLOR").is_none(),
    }
}
