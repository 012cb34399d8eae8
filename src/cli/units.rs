//! `cellway units`: what single units of a model do over a data set.

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use anyhow::{Result, bail};
use clap::{ArgGroup, Args, ValueEnum};
use serde::Serialize;
use serde_json::{Value, json};

use super::data::DataArgs;
use super::train::{INTERRUPTED, stop_flag};
use super::{DeviceArg, VERSION, as_flag, check_new_file, say, say_json, warn};
use crate::checkpoint::dtype_name;
use crate::model::Model;
use crate::report::Progress;
use crate::train::Corpus;
use crate::units::report::{Asked, UnitsReport, units_page, units_text};
use crate::units::{
    Activation, Direction, LEFT, Matches, Query, RIGHT, Sentence, Sentences, Settings, Survey,
    Texts, survey,
};

/// The arguments of `cellway units`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("query"))]
pub(super) struct Units {
    /// Model directory: config.json, model.safetensors, tokenizer.json
    model: PathBuf,

    #[command(flatten)]
    data: DataArgs,

    #[command(flatten)]
    device: DeviceArg,

    /// What of a unit stands for a text [default: what the model's pooling reads]
    #[arg(long)]
    activation: Option<ActivationArg>,

    /// How many of the units that go most with the label to show
    #[arg(long, default_value_t = 10, value_name = "N")]
    top: usize,

    /// Find the sentences in which this unit is highest, and lowest
    #[arg(long, value_name = "N", group = "query")]
    unit: Option<usize>,

    /// Find the sentences with words whose states are most like those of this text
    #[arg(long, value_name = "TEXT", group = "query")]
    span: Option<String>,

    /// Read the span where it first stands in this text [default: on its own]
    #[arg(long = "in", value_name = "TEXT", requires = "span")]
    context: Option<String>,

    /// Of --unit and --span, from 0 [default: the top one]
    #[arg(long, value_name = "N", requires = "query")]
    layer: Option<usize>,

    /// Of --unit [default: forward] and --span [default: both joined]
    #[arg(long, requires = "query")]
    direction: Option<DirectionArg>,

    /// How many sentences to find
    #[arg(long, default_value_t = 10, value_name = "N", requires = "query")]
    matches: usize,

    /// As JSON
    #[arg(long)]
    json: bool,

    /// As a page with plots, too
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ActivationArg {
    /// The hidden state after the last step of the direction
    Hidden,
    /// The cell state after it
    Cell,
    /// The mean of the hidden states over the text
    Mean,
    /// The largest of the hidden states
    Max,
}

impl From<ActivationArg> for Activation {
    fn from(activation: ActivationArg) -> Activation {
        match activation {
            ActivationArg::Hidden => Activation::Hidden,
            ActivationArg::Cell => Activation::Cell,
            ActivationArg::Mean => Activation::Mean,
            ActivationArg::Max => Activation::Max,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DirectionArg {
    /// From the first token to the last
    Forward,
    /// From the last token to the first
    Backward,
}

impl From<DirectionArg> for Direction {
    fn from(direction: DirectionArg) -> Direction {
        match direction {
            DirectionArg::Forward => Direction::Forward,
            DirectionArg::Backward => Direction::Backward,
        }
    }
}

/// The texts as they are shown, as the model reads them, and their classes.
struct Data {
    texts: Vec<String>,
    ids: Vec<Vec<i64>>,
    classes: Option<Vec<u32>>,
}

/// All of it as JSON.
#[derive(Serialize)]
struct Document<'a> {
    model: String,
    data: String,
    dtype: &'a str,
    device: &'a str,
    pooling: Value,
    labels: &'a [String],
    saturation: Value,
    #[serde(flatten)]
    survey: &'a Survey,
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<Value>,
    #[serde(skip_serializing_if = "<[Sentences]>::is_empty")]
    found: &'a [Sentences],
}

impl Units {
    /// Gives the exit code.
    pub fn run(&self, progress: &Progress) -> Result<u8> {
        if let Some(path) = &self.html {
            check_new_file("--html", path)?;
        }
        let stop = stop_flag()?;
        let device = self.device.resolve()?;
        let mut model = Model::load(&self.model)?;
        model.to_device(device);
        let mut settings = Settings::new(&model);
        if let Some(activation) = self.activation {
            settings.activation = activation.into();
        }
        (settings.top, settings.matches) = (self.top, self.matches);
        settings.query = self.query(&model, settings.activation)?;
        let data = self.read(&model)?;
        let texts = Texts {
            ids: &data.ids,
            classes: data.classes.as_deref(),
        };
        let mut stage = progress.stage("units", data.texts.len() as u64, "texts");
        let found = survey(&model, &texts, &settings, |texts| {
            stage.advance(texts as u64);
            !stop.load(Ordering::Relaxed)
        })?;
        let Some(found) = found else {
            drop(stage);
            warn("stopped; nothing was written");
            return Ok(INTERRUPTED);
        };
        stage.finish();
        self.tell(&model, &settings, &data, &found)?;
        Ok(0)
    }

    fn query(&self, model: &Model, activation: Activation) -> Result<Option<Query>> {
        let direction = self.direction.map(Direction::from);
        let query = match (self.unit, &self.span) {
            (Some(unit), _) => Query::unit(model, activation, self.layer, direction, unit),
            (None, Some(span)) => {
                let context = self.context.as_deref();
                Query::span(model, activation, self.layer, direction, span, context)
            }
            (None, None) => return Ok(None),
        };
        Ok(Some(query.map_err(as_flag)?))
    }

    fn read(&self, model: &Model) -> Result<Data> {
        let path = self.data.data.display();
        if let Some(texts) = self.data.read_unlabelled()? {
            if texts.is_empty() {
                bail!("{path}: has no text");
            }
            warn(format!(
                "{path}: has no labels, so that correlations are left out; --label-column names their column"
            ));
            return Ok(Data {
                ids: model.encode(&texts)?,
                texts,
                classes: None,
            });
        }
        let dataset = self.data.read(model)?;
        let corpus = Corpus::new(&dataset, model)?;
        Ok(Data {
            texts: dataset
                .examples
                .into_iter()
                .map(|example| example.text)
                .collect(),
            ids: corpus.texts,
            classes: Some(corpus.classes),
        })
    }

    fn tell(&self, model: &Model, settings: &Settings, data: &Data, survey: &Survey) -> Result<()> {
        let labels = model.config().labels();
        let found = sentences(&survey.matches, data, &labels, model)?;
        let asked = Asked {
            span: self.span.as_deref(),
            context: self.context.as_deref(),
        };
        let report = UnitsReport {
            model: &self.model,
            data: &self.data.data,
            version: VERSION,
            dtype: dtype_name(model.kind()),
            device: device_name(model.device()),
            lstm: model.lstm().config(),
            pooling: model.config().pooling,
            labels: &labels,
            survey,
            query: settings.query.as_ref().map(|query| (query, asked)),
            found: &found,
        };
        if let Some(path) = &self.html {
            units_page(path, &report)?;
        }
        if !self.json {
            return say(units_text(&report));
        }
        say_json(&Document {
            model: self.model.display().to_string(),
            data: self.data.data.display().to_string(),
            dtype: report.dtype,
            device: &report.device,
            pooling: json!(report.pooling),
            labels: &labels,
            saturation: json!({"left_below": LEFT, "right_above": RIGHT}),
            survey,
            query: settings.query.as_ref().map(|query| self.query_json(query)),
            found: &found,
        })
    }

    fn query_json(&self, query: &Query) -> Value {
        match query {
            Query::Unit {
                layer,
                direction,
                unit,
            } => json!({"unit": unit, "layer": layer, "direction": direction}),
            Query::Span {
                layer,
                directions,
                tokens,
                ..
            } => json!({
                "span": self.span, "in": self.context, "tokens": tokens,
                "layer": layer, "directions": directions,
            }),
        }
    }
}

/// Matches with their texts and words.
fn sentences(
    matches: &[Matches],
    data: &Data,
    labels: &[String],
    model: &Model,
) -> Result<Vec<Sentences>> {
    let of_list = |list: &Matches| {
        let sentences = list.found.iter().map(|found| {
            let class = data.classes.as_ref().map(|classes| classes[found.text]);
            let label = class.map(|class| labels[class as usize].clone());
            Sentence::new(found, &data.texts[found.text], label, model.tokenizer())
        });
        Ok(Sentences {
            name: list.name,
            sentences: sentences.collect::<crate::error::Result<_>>()?,
        })
    };
    matches.iter().map(of_list).collect()
}

fn device_name(device: tch::Device) -> String {
    match device {
        tch::Device::Cuda(number) => format!("cuda:{number}"),
        _ => "cpu".to_owned(),
    }
}
