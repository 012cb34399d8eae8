//! `cellway compare`: a checkpoint of ours against reference torch.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use serde_json::json;
use tch::{Kind, Tensor};

use super::{DeviceArg, DtypeArg, EngineArg, check_new_file, say, say_json};
use crate::checkpoint::{dtype_name, safetensors};
use crate::compare::report::{ComparisonPage, comparison_page, comparison_text};
use crate::compare::{Comparison, Origin, Reference, Settings, Subject, Verdict, compare, python};
use crate::data::TextReader;
use crate::lstm::Engine;
use crate::report::Progress;
use crate::train::optim::OptimizerKind;

/// The most numbers that the gates and states of all steps may be: above this,
/// both sides together would need more than some 8 GB.
const MOST_NUMBERS: i64 = 1 << 28;

/// A tolerance was left.
const OUTSIDE: u8 = 1;

/// The arguments of `cellway compare`.
#[derive(Debug, Args)]
pub(super) struct Compare {
    /// Model directory, or any checkpoint that holds an LSTM
    checkpoint: PathBuf,

    /// Texts for a model directory [default: random token ids]
    #[arg(value_name = "TEXT", conflicts_with = "input")]
    texts: Vec<String>,

    /// Texts (.txt, .csv, .tsv, .jsonl), or tensors: .safetensors with x
    /// [B, T, I], or ids [B, T]; and lengths, h0, c0, truth, if any
    #[arg(long, short, value_name = "FILE")]
    input: Option<PathBuf>,

    /// For csv, tsv, jsonl: the column of the text
    #[arg(long, default_value = "text", value_name = "NAME")]
    text_column: String,

    /// The LSTM by its path in the file, as `inspect` prints it
    #[arg(long, value_name = "NAME")]
    lstm: Option<String>,

    /// What torch computed elsewhere: a file of scripts/reference.py, or the
    /// tensors NAME/x [T, B, I], NAME/y, NAME/h_n, NAME/c_n of your own script
    #[arg(long, value_name = "FILE", conflicts_with_all = ["texts", "input", "python", "keep"])]
    reference: Option<PathBuf>,

    /// The Python that has torch [default: .venv, the active one, python3]
    #[arg(long, value_name = "PYTHON")]
    python: Option<PathBuf>,

    /// Keep what torch computed, for --reference
    #[arg(long, value_name = "FILE")]
    keep: Option<PathBuf>,

    /// Of random inputs
    #[arg(
        long,
        default_value_t = 0,
        value_name = "N",
        conflicts_with = "reference"
    )]
    seed: u64,

    /// Random inputs: so many texts
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "reference")]
    batch: u32,

    /// Random inputs: the longest text
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "reference")]
    time: u32,

    /// Compare the gradient of every parameter and of the input, too
    #[arg(long)]
    gradients: bool,

    /// Compare losses and parameters over so many optimizer steps, too
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    steps: Option<u64>,

    /// Of --steps
    #[arg(
        long,
        default_value = "adam",
        requires = "steps",
        conflicts_with = "reference"
    )]
    optimizer: OptimizerArg,

    /// Of --steps
    #[arg(
        long,
        default_value_t = 0.001,
        value_name = "X",
        requires = "steps",
        conflicts_with = "reference"
    )]
    learning_rate: f64,

    /// Of --steps, for sgd
    #[arg(
        long,
        default_value_t = 0.0,
        value_name = "X",
        requires = "steps",
        conflicts_with = "reference"
    )]
    momentum: f64,

    /// Of --steps
    #[arg(
        long,
        default_value_t = 0.0,
        value_name = "X",
        requires = "steps",
        conflicts_with = "reference"
    )]
    weight_decay: f64,

    #[command(flatten)]
    device: DeviceArg,

    /// Where torch computes [default: as --device]
    #[arg(long, value_name = "DEVICE", conflicts_with = "reference")]
    torch_device: Option<String>,

    /// Who computes on our side
    #[arg(long, default_value = "plain")]
    engine: EngineArg,

    /// In which dtype [default: of the weights, or of the reference]
    #[arg(long, value_enum)]
    dtype: Option<DtypeArg>,

    /// How far values may lie apart [default: by dtype and device]
    #[arg(long, value_name = "X")]
    tolerance: Option<f64>,

    /// How far gradients may
    #[arg(long, value_name = "X")]
    gradient_tolerance: Option<f64>,

    /// How far losses and parameters may after --steps
    #[arg(long, value_name = "X")]
    step_tolerance: Option<f64>,

    /// Compare with a reference that ran other weights
    #[arg(long)]
    other_weights: bool,

    /// Compare with a reference of another version of torch
    #[arg(long)]
    any_torch: bool,

    /// As JSON
    #[arg(long)]
    json: bool,

    /// As a page with plots, too
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// Of `torch.optim`.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum OptimizerArg {
    /// Adam
    Adam,
    /// AdamW: with decoupled --weight-decay
    #[value(name = "adamw")]
    AdamW,
    /// SGD, with --momentum
    Sgd,
    /// AdaGrad
    #[value(name = "adagrad")]
    AdaGrad,
    /// Adadelta
    Adadelta,
}

impl From<OptimizerArg> for OptimizerKind {
    fn from(arg: OptimizerArg) -> Self {
        match arg {
            OptimizerArg::Adam => OptimizerKind::Adam,
            OptimizerArg::AdamW => OptimizerKind::AdamW,
            OptimizerArg::Sgd => OptimizerKind::Sgd,
            OptimizerArg::AdaGrad => OptimizerKind::AdaGrad,
            OptimizerArg::Adadelta => OptimizerKind::Adadelta,
        }
    }
}

impl Compare {
    /// Gives the exit code.
    pub fn run(&self, progress: &Progress) -> Result<u8> {
        self.check_numbers()?;
        for (flag, path) in [("--keep", &self.keep), ("--html", &self.html)] {
            if let Some(path) = path {
                check_new_file(flag, path)?;
            }
        }
        let device = self.device.resolve()?;
        let subject = Subject::open(&self.checkpoint, self.lstm.as_deref())?;
        let reference = match &self.reference {
            Some(path) => self.read(path)?,
            None => {
                let folder = tempfile::tempdir().context("a temporary folder")?;
                let made = folder.path().join("reference.safetensors");
                self.ask_torch(&subject, device, folder.path(), &made, progress)?;
                let reference = self.read(&made)?;
                if let Some(path) = &self.keep {
                    // Whole or not at all, as every file.
                    let bytes = std::fs::read(&made)?;
                    crate::files::write_atomically(path, |file| {
                        std::io::Write::write_all(file, &bytes)
                    })?;
                }
                reference
            }
        };
        let kind = self.dtype.map(Kind::from);
        let settings = Settings {
            engine: self.engine.into(),
            device,
            kind,
            tolerance: self.tolerance,
            gradient_tolerance: self.gradient_tolerance,
            step_tolerance: self.step_tolerance,
            other_weights: self.other_weights,
        };
        let found = compare(subject, &reference, &settings)?;
        match self.json {
            true => say_json(&json!({
                "checkpoint": self.checkpoint,
                "engine": Engine::from(self.engine),
                "reference": reference.origin,
                "comparison": found,
            }))?,
            false => self.show(&found, reference.origin.as_ref())?,
        }
        if let Some(path) = &self.html {
            self.write_page(path, &found, reference.origin.as_ref())?;
        }
        Ok(match found.verdict {
            Verdict::Outside { .. } => OUTSIDE,
            _ => 0,
        })
    }

    fn write_page(&self, path: &Path, found: &Comparison, origin: Option<&Origin>) -> Result<()> {
        let page = ComparisonPage {
            checkpoint: &self.checkpoint,
            engine: self.engine.into(),
            threads: tch::get_num_threads() as usize,
            version: super::VERSION,
            reference: self.reference.as_deref(),
            origin,
            comparison: found,
        };
        Ok(comparison_page(path, &page)?)
    }

    fn check_numbers(&self) -> Result<()> {
        let tolerances = [
            ("--tolerance", self.tolerance),
            ("--gradient-tolerance", self.gradient_tolerance),
            ("--step-tolerance", self.step_tolerance),
        ];
        for (flag, value) in tolerances {
            if value.is_some_and(|value| !(value.is_finite() && value > 0.0)) {
                bail!("{flag}: must be above 0");
            }
        }
        if !(self.learning_rate.is_finite() && self.learning_rate > 0.0) {
            bail!("--learning-rate: must be above 0");
        }
        if !(0.0..1.0).contains(&self.momentum) {
            bail!("--momentum: must be in [0, 1)");
        }
        if self.momentum != 0.0 && !matches!(self.optimizer, OptimizerArg::Sgd) {
            bail!("--momentum: is for --optimizer sgd");
        }
        if !(self.weight_decay.is_finite() && self.weight_decay >= 0.0) {
            bail!("--weight-decay: must be 0 or more");
        }
        Ok(())
    }

    fn read(&self, path: &Path) -> Result<Reference> {
        let reference = Reference::open(path, self.lstm.as_deref())?;
        if !self.any_torch {
            reference.expect_torch()?;
        }
        if self.gradients && !reference.has("grad/") {
            bail!(
                "{}: has no gradients; make it again with --gradients",
                path.display()
            );
        }
        let steps = reference
            .origin
            .as_ref()
            .and_then(|origin| origin.steps.as_ref());
        if let Some(wanted) = self.steps {
            match steps {
                Some(steps) if steps.steps == wanted => {}
                Some(steps) => bail!(
                    "{}: has {} steps, not {wanted}",
                    path.display(),
                    steps.steps
                ),
                None => bail!(
                    "{}: has no steps; make it again with --steps {wanted}",
                    path.display()
                ),
            }
        }
        Ok(reference)
    }

    /// Lets torch compute the same in Python.
    fn ask_torch(
        &self,
        subject: &Subject,
        device: tch::Device,
        folder: &Path,
        out: &Path,
        progress: &Progress,
    ) -> Result<()> {
        let mut arguments: Vec<OsString> = Vec::new();
        let mut add = |flag: &str, value: OsString| arguments.extend([OsString::from(flag), value]);
        let mut checkpoint = self.checkpoint.clone();
        if let Subject::Lstm {
            name, lstm, file, ..
        } = subject
        {
            match file {
                Some(file) => checkpoint = file.clone(),
                None => {
                    // Python cannot have them from the file as they are.
                    checkpoint = folder.join("weights.safetensors");
                    let parameters = lstm.parameters();
                    let named: Vec<(String, &Tensor)> = parameters
                        .into_iter()
                        .map(|(parameter, tensor)| match name.as_str() {
                            "" => (parameter, tensor),
                            name => (format!("{name}.{parameter}"), tensor),
                        })
                        .collect();
                    let named = named.iter().map(|(name, tensor)| (name.as_str(), *tensor));
                    safetensors::save(&checkpoint, named, &[])?;
                    progress.line("the weights as cellway reads them go to torch: torch.load alone does not give them");
                }
            }
            add("--lstm", name.into());
        }
        if let Some(input) = self.input(subject, folder)? {
            add("--input", input.into());
        }
        add("--seed", self.seed.to_string().into());
        add("--batch", self.batch.to_string().into());
        add("--time", self.time.to_string().into());
        let on_device = match device {
            tch::Device::Cuda(number) => format!("cuda:{number}"),
            _ => "cpu".to_owned(),
        };
        add(
            "--device",
            self.torch_device.clone().unwrap_or(on_device).into(),
        );
        let kind = self.dtype.map_or(subject.kind(), Kind::from);
        add("--dtype", dtype_name(kind).into());
        if let Some(steps) = self.steps {
            add("--steps", steps.to_string().into());
            let optimizer = OptimizerKind::from(self.optimizer);
            add("--optimizer", optimizer.name().into());
            add("--learning-rate", self.learning_rate.to_string().into());
            add("--momentum", self.momentum.to_string().into());
            add("--weight-decay", self.weight_decay.to_string().into());
        }
        add("--out", out.into());
        if self.gradients {
            arguments.push("--gradients".into());
        }
        if self.device.tf32 {
            arguments.push("--tf32".into());
        }
        arguments.insert(0, std::path::absolute(&checkpoint)?.into());
        let python = self.python.clone().unwrap_or_else(python::find);
        progress.line(&format!("reference: torch in {}", python.display()));
        python::run(&python, &arguments)?;
        if !out.is_file() {
            bail!(
                "{}: ended well, but wrote nothing; is it a Python?",
                python.display()
            );
        }
        Ok(())
    }

    /// The file of inputs for the script, if they are not random.
    fn input(&self, subject: &Subject, folder: &Path) -> Result<Option<PathBuf>> {
        let texts = match &self.input {
            Some(path)
                if path
                    .extension()
                    .is_some_and(|ending| ending == "safetensors") =>
            {
                return Ok(Some(std::path::absolute(path)?));
            }
            Some(path) => TextReader::open(path, &self.text_column)?
                .map(|row| row.map(|row| row.text))
                .collect::<Result<Vec<String>, _>>()?,
            None if self.texts.is_empty() => {
                check_size(subject, i64::from(self.batch), i64::from(self.time))?;
                return Ok(None);
            }
            None => self.texts.clone(),
        };
        let Subject::Classifier(model) = subject else {
            bail!(
                "texts need a model directory with a tokenizer; for an LSTM alone give --input FILE.safetensors with x [B, T, I]"
            );
        };
        if texts.is_empty() {
            bail!("there is no text to compare on");
        }
        let ids = model.encode(&texts)?;
        let longest = ids.iter().map(Vec::len).max().unwrap_or(0);
        if longest == 0 {
            bail!("no text has a token; give another");
        }
        check_size(subject, ids.len() as i64, longest as i64)?;
        let batch = model.batch(ids.iter().map(Vec::as_slice))?;
        let lengths = Tensor::from_slice(&batch.lengths);
        let path = folder.join("input.safetensors");
        safetensors::save(&path, [("ids", &batch.ids), ("lengths", &lengths)], &[])?;
        Ok(Some(path))
    }

    fn show(&self, found: &Comparison, origin: Option<&Origin>) -> Result<()> {
        let engine = format!("{:?}", Engine::from(self.engine)).to_lowercase();
        say(format!(
            "{}: {engine} engine, {} on {}",
            self.checkpoint.display(),
            found.dtype,
            found.device
        ))?;
        say(match origin {
            Some(origin) => format!(
                "reference: torch {}, {} on {}, {} inputs, seed {}",
                origin.torch, origin.dtype, origin.device, origin.inputs, origin.seed
            ),
            None => "reference: bare tensors, of a torch that is not named".to_owned(),
        })?;
        say(format!("\n{}", comparison_text(found)))
    }
}

/// Refuses more than the machine could hold: every gate and state is compared.
fn check_size(subject: &Subject, batch: i64, time: i64) -> Result<()> {
    let config = subject.lstm().config();
    let of_a_step = 6 * config.num_layers * config.directions() * config.hidden_size;
    match batch.saturating_mul(time).saturating_mul(of_a_step) {
        numbers if numbers <= MOST_NUMBERS => Ok(()),
        numbers => bail!(
            "{batch} texts of up to {time} steps make {numbers} gates and states, and at most {MOST_NUMBERS} are compared; take fewer"
        ),
    }
}
