//! The command line: one file per command, glue and no mathematics.
//!
//! Exit codes: 0 done, 1 a check did not hold, 2 usage or bad input. Results go
//! to standard output, progress and messages to standard error.

mod compare;
mod data;
mod doctor;
mod eval;
mod export;
mod find_rate;
mod import;
mod inspect;
mod predict;
mod sweep;
mod trace;
mod train;
mod units;

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use tch::{Device, Kind};

use crate::error::Error;
use crate::lstm::Engine;
use crate::model::Model;
use crate::report::{Mode, Progress};
use crate::runtime::{self, DeviceChoice};
use crate::train::Config;

/// LSTMs on libtorch: train, evaluate and use text classifiers, with no Python.
#[derive(Debug, Parser)]
#[command(version = VERSION, max_term_width = 90)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,

    /// Threads of libtorch's operations [default: one per core]
    #[arg(long, global = true, value_name = "N")]
    threads: Option<usize>,

    /// No progress on standard error
    #[arg(long, short, global = true)]
    quiet: bool,
}

const VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (",
    env!("CELLWAY_COMMIT"),
    ", libtorch ",
    env!("CELLWAY_LIBTORCH"),
    ")"
);

#[derive(Debug, Subcommand)]
enum Command {
    /// What libtorch, CUDA and cuDNN are linked and found, and what to do
    Doctor(doctor::Doctor),
    /// Train a classifier as a configuration file says
    Train(train::Train),
    /// Try growing learning rates, and suggest one
    FindRate(find_rate::FindRate),
    /// Train with many values of some settings, and say which are best
    Sweep(sweep::Sweep),
    /// Measure a model on labelled texts
    Eval(eval::Eval),
    /// Show what single units do over labelled texts
    Units(units::Units),
    /// Write the weights as one file for PyTorch
    Export(export::Export),
    /// Label texts
    Predict(predict::Predict),
    /// Show what is in a checkpoint of PyTorch
    Inspect(inspect::Inspect),
    /// Make a model of a checkpoint of PyTorch
    Import(import::Import),
    /// Prove that a checkpoint computes what torch computes, or say where not
    Compare(Box<compare::Compare>),
    /// See gates, cell state and gradients while a text is read
    Trace(Box<trace::Trace>),
}

impl Cli {
    /// Runs the command; gives the exit code.
    pub fn run(self) -> Result<u8> {
        if let Some(threads) = self.threads {
            runtime::set_threads(threads).map_err(as_flag)?;
        }
        let progress = Progress::new(if self.quiet { Mode::Quiet } else { Mode::Auto });
        if let Command::Train(_) | Command::Sweep(_) = self.command {
            runtime::keep_memory();
        }
        match self.command {
            Command::Doctor(command) => command.run(),
            Command::Train(command) => return command.run(&progress),
            Command::Sweep(command) => return command.run(&progress),
            Command::FindRate(command) => command.run(&progress),
            Command::Eval(command) => command.run(),
            Command::Units(command) => return command.run(&progress),
            Command::Export(command) => command.run(),
            Command::Predict(command) => command.run(&progress),
            Command::Inspect(command) => command.run(),
            Command::Import(command) => command.run(),
            Command::Compare(command) => return command.run(&progress),
            Command::Trace(command) => command.run(&progress),
        }
        .map(|()| 0)
    }
}

/// Where to compute.
#[derive(Debug, Args)]
struct DeviceArg {
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    device: DeviceChoice,

    /// Let CUDA round the factors of f32 products to TF32, which is faster
    #[arg(long)]
    tf32: bool,

    /// Only operations that give the same bits each time, on CUDA too
    #[arg(long)]
    deterministic: bool,
}

impl DeviceArg {
    /// The device, with these switches set. Call it before anything is computed.
    fn resolve(&self) -> Result<Device> {
        runtime::set_tf32(self.tf32);
        if self.deterministic {
            runtime::set_deterministic()?;
        }
        Ok(self.device.resolve()?)
    }
}

/// Who computes.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum EngineArg {
    /// The fastest: native on the CPU, fused on CUDA
    Auto,
    /// The hand-written cell, step by step
    Plain,
    /// libtorch's LSTM: oneDNN or cuDNN
    Fused,
    /// Our own layers for the CPU
    Native,
}

impl From<EngineArg> for Engine {
    fn from(engine: EngineArg) -> Engine {
        match engine {
            EngineArg::Auto => Engine::Auto,
            EngineArg::Plain => Engine::Plain,
            EngineArg::Fused => Engine::Fused,
            EngineArg::Native => Engine::Native,
        }
    }
}

/// A dtype of parameters.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum DtypeArg {
    /// 32 bits
    F32,
    /// 64 bits
    F64,
    /// 16 bits, 8 of them exponent
    Bf16,
    /// 16 bits, 5 of them exponent
    F16,
}

impl From<DtypeArg> for Kind {
    fn from(dtype: DtypeArg) -> Kind {
        match dtype {
            DtypeArg::F32 => Kind::Float,
            DtypeArg::F64 => Kind::Double,
            DtypeArg::Bf16 => Kind::BFloat16,
            DtypeArg::F16 => Kind::Half,
        }
    }
}

/// A model directory, on the device that was asked for.
#[derive(Debug, Args)]
struct ModelArgs {
    /// Model directory: config.json, model.safetensors, tokenizer.json
    model: std::path::PathBuf,

    #[command(flatten)]
    device: DeviceArg,

    /// Who computes
    #[arg(long, default_value = "auto")]
    engine: EngineArg,
}

impl ModelArgs {
    fn load(&self) -> Result<Model> {
        let device = self.device.resolve()?;
        let mut model = Model::load(&self.model)?;
        model.to_device(device);
        Ok(model)
    }
}

/// What is there is never written over.
fn refuse_existing(flag: &str, path: &Path) -> Result<()> {
    match std::fs::symlink_metadata(path) {
        Err(_) => Ok(()),
        Ok(_) => bail!(
            "{flag} {}: is there already; give another name",
            path.display()
        ),
    }
}

/// What cannot be written is told before anything is computed.
fn check_new_file(flag: &str, path: &Path) -> Result<()> {
    refuse_existing(flag, path)?;
    match path.parent().filter(|folder| *folder != Path::new("")) {
        Some(folder) if !folder.is_dir() => {
            bail!(
                "{flag} {}: its folder is not there; make it first",
                path.display()
            )
        }
        _ => Ok(()),
    }
}

/// Replaces the fields that a message of the library names in backticks, such as
/// `other_weights`, by the flags that set them.
pub fn with_flags(message: &str) -> String {
    let program = Cli::command();
    let commands = program.get_subcommands().chain([&program]);
    let flags: Vec<&str> = commands
        .flat_map(|command| command.get_arguments().filter_map(|flag| flag.get_long()))
        .collect();
    let mut parts = message.split('`');
    let mut said = parts.next().unwrap_or_default().to_owned();
    while let Some(field) = parts.next() {
        let flag = field.replace('_', "-");
        match parts.next() {
            Some(rest) if flags.contains(&flag.as_str()) => said += &format!("--{flag}{rest}"),
            Some(rest) => said += &format!("`{field}`{rest}"),
            None => said += &format!("`{field}"),
        }
    }
    said
}

/// Names the flag that sets the field which the library refuses.
fn as_flag(error: Error) -> Error {
    match error {
        Error::Config { key, message } => {
            Error::config(format!("--{}", key.replace('_', "-")), message)
        }
        other => other,
    }
}

/// Reads the configuration of a training, with the assignments of `--set` put over it.
fn load_config(path: &Path, assignments: &[String]) -> Result<Config> {
    Config::load(path, assignments).map_err(|error| match error {
        Error::Config { key, message } if key == "overrides" => {
            Error::config("--set", message).into()
        }
        other => other.into(),
    })
}

/// Writes a line to standard output.
fn say(text: impl std::fmt::Display) -> Result<()> {
    writeln!(std::io::stdout(), "{text}").context("standard output")
}

/// Writes a message to standard error; where that is closed, nobody reads it.
fn warn(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "cellway: {text}");
}

/// Writes a value as JSON to standard output.
fn say_json(value: &impl serde::Serialize) -> Result<()> {
    say(serde_json::to_string_pretty(value)?)
}

#[cfg(test)]
mod tests {
    use super::with_flags;

    #[test]
    fn fields_in_backticks_become_flags() {
        for (message, said) in [
            ("name it with `lstm`", "name it with --lstm"),
            ("pass `other_weights` or `x`", "pass --other-weights or `x`"),
            ("`out` and `replace`", "--out and --replace"),
            ("no field, and one ` alone", "no field, and one ` alone"),
            ("", ""),
        ] {
            assert_eq!(with_flags(message), said);
        }
    }
}
