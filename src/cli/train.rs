//! `cellway train`: a classifier from a configuration file.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use clap::Args;
use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use super::{DeviceArg, EngineArg, say, say_json, warn};
use crate::model::Model;
use crate::report::plot::{self, EpochPoint};
use crate::report::{Events, Progress, Stage, Table, metrics_table};
use crate::text::UNK;
use crate::train::{
    Config, Corpus, Earlier, EpochRecord, Observer, Prepared, RunFolder, StepRecord, Summary,
    evaluate, fit, prepare,
};

/// What a shell gives for a command that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// The arguments of `cellway train`.
#[derive(Debug, Args)]
pub(super) struct Train {
    /// Configuration file (TOML)
    config: PathBuf,

    /// Put a value over the file's: --set train.epochs=3 (may be repeated)
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,

    #[command(flatten)]
    device: DeviceArg,

    /// Who computes [default: train.engine of the configuration]
    #[arg(long)]
    engine: Option<EngineArg>,

    /// Folder of the run [default: runs/ and the configuration's name]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Move an earlier run that --out holds aside, to OUT.1, OUT.2, ...
    #[arg(long)]
    replace: bool,

    /// Go on with the run that --out holds, also if it is finished; one that was
    /// stopped goes on without this
    #[arg(long, conflicts_with = "replace")]
    resume: bool,

    /// The summary as JSON, and nothing else, on standard output
    #[arg(long)]
    json: bool,
}

impl Train {
    /// Gives the exit code.
    pub fn run(&self, progress: &Progress) -> Result<u8> {
        let mut config = Config::load(&self.config, &self.set)?;
        if let Some(engine) = self.engine {
            config.train.engine = engine.into();
        }
        let device = self.device.device.resolve()?;
        let stop = stop_flag()?;
        let goes_on = RunFolder::check(self.folder(), self.earlier())?;
        let prepared = prepare(&config)?;
        // With word vectors it is theirs; and what is the optimizer's own is said.
        config.embedding.size = prepared.model.config().embedding_size;
        config.train.learning_rate = Some(config.train.learning_rate());
        config.train.weight_decay = Some(config.train.weight_decay());
        for (file, skipped) in &prepared.skipped {
            warn(format!("{file}: {skipped}"));
        }
        if !self.json {
            say(format!("{}\n", configuration_table(&config)?))?;
            say(format!("{}\n", parameter_table(&prepared.model)))?;
            say(format!("{}\n", data_table(&prepared)))?;
        }
        let Prepared {
            mut model,
            train,
            dev,
            test,
            made,
            ..
        } = prepared;
        model.to_device(device);
        let folder = RunFolder::create(self.folder(), &config, self.earlier())?;
        if goes_on {
            progress.line(&format!(
                "{}: goes on where it was stopped",
                self.folder().display()
            ));
        }
        for (split, dataset) in &made {
            folder.save_texts(split, dataset)?;
        }
        let bars = Watch {
            progress,
            stage: None,
            metric: config.train.metric.name(),
            stop,
        };
        let mut watch = (bars, TensorBoard::new(folder.events()));
        let summary = fit(&config, &model, &train, &dev, &folder, &mut watch)?;

        if let Some(step) = summary.interrupted {
            warn(format!(
                "stopped after step {step}, with a snapshot; the same command goes on from there"
            ));
            return Ok(INTERRUPTED);
        }

        // What is reported is what is on the disk.
        let mut best = Model::load(folder.model())?;
        best.to_device(device);
        let (name, corpus) = match &test {
            Some(test) => ("test", test),
            None => ("dev", &dev),
        };
        let metrics = evaluate(&best, corpus, config.train.engine)?;
        let results = json!({
            "best_epoch": summary.best_epoch,
            "stopped_early": summary.stopped_early,
            "epochs": summary.epochs,
            name: metrics,
            "model": folder.model(),
        });
        if self.json {
            say_json(&results)?;
        } else {
            let why = if summary.stopped_early {
                " (stopped early)"
            } else {
                ""
            };
            let (best, epochs) = (summary.best_epoch, summary.epochs.len());
            say(format!("best epoch: {best} of {epochs}{why}\n"))?;
            say(format!("{name}: {}\n", metrics_table(&metrics)))?;
            say(format!("model             {}", folder.model().display()))?;
        }
        // The numbers are out: a picture that cannot be drawn loses none.
        let curve = draw_curve(&folder, &summary, config.train.metric.name());
        let rows = metrics.confusion.rows();
        let confusion = plot::confusion_matrix(&folder.confusion(), &corpus.labels, rows);
        for (what, path, drawn) in [
            ("training curve", folder.curve(), curve),
            ("confusion matrix", folder.confusion(), confusion),
        ] {
            match drawn {
                Ok(()) if self.json => {}
                Ok(()) => say(format!("{what:<16}  {}", path.display()))?,
                Err(error) => warn(format!("no picture of the {what}: {error}")),
            }
        }
        folder.save_results(&results)?;
        Ok(0)
    }

    fn earlier(&self) -> Earlier {
        match (self.resume, self.replace) {
            (true, _) => Earlier::Resume,
            (_, true) => Earlier::MoveAside,
            _ => Earlier::GoOn,
        }
    }

    fn folder(&self) -> PathBuf {
        self.out.clone().unwrap_or_else(|| {
            let name = self.config.file_stem().unwrap_or_default();
            PathBuf::from("runs").join(name)
        })
    }
}

fn draw_curve(folder: &RunFolder, summary: &Summary, metric: &str) -> crate::error::Result<()> {
    let points: Vec<EpochPoint> = summary
        .epochs
        .iter()
        .map(|record| EpochPoint {
            epoch: record.epoch,
            train_loss: record.train_loss,
            dev_loss: record.dev.loss.unwrap_or(f64::NAN),
            dev_score: record.dev.value(metric).unwrap_or(f64::NAN),
        })
        .collect();
    plot::training_curve(
        &folder.curve(),
        &points,
        &format!("dev {metric}"),
        Some(summary.best_epoch),
    )
}

fn configuration_table(config: &Config) -> Result<Table> {
    let mut table = Table::new("configuration", ["key", "value"]);
    for (key, value) in config.entries()? {
        table.row([key, value]);
    }
    Ok(table)
}

fn parameter_table(model: &Model) -> Table {
    let mut table = Table::new("parameters", ["module", "tensors", "numbers", "trained"]);
    let mut rows: Vec<(String, usize, usize, usize)> = Vec::new();
    for (name, tensor) in model.parameters() {
        let module = name.split('.').next().unwrap_or_default();
        if rows.last().is_none_or(|row| row.0 != module) {
            rows.push((module.to_owned(), 0, 0, 0));
        }
        if let Some(row) = rows.last_mut() {
            row.1 += 1;
            row.2 += tensor.numel();
            row.3 += if tensor.requires_grad() {
                tensor.numel()
            } else {
                0
            };
        }
    }
    for (module, tensors, numbers, trained) in rows {
        table.row([
            module,
            tensors.to_string(),
            numbers.to_string(),
            trained.to_string(),
        ]);
    }
    table
}

fn data_table(prepared: &Prepared) -> String {
    let labels = prepared.train.labels.iter().cloned();
    let headers = ["split", "texts", "mean length", "longest", "unknown"].map(str::to_owned);
    let mut table = Table::new("data", headers.into_iter().chain(labels));
    let splits = [
        ("train", Some(&prepared.train)),
        ("dev", Some(&prepared.dev)),
        ("test", prepared.test.as_ref()),
    ];
    let unknown = prepared.model.tokenizer().id(UNK);
    for (name, corpus) in splits {
        if let Some(corpus) = corpus {
            table.row(split_row(name, corpus, unknown));
        }
    }
    let vectors = match &prepared.vectors {
        None => "word vectors: none, all words start at random".to_owned(),
        Some((wanted, vectors)) => format!(
            "word vectors: {} of {} words ({:.1} %) found among {} of {} numbers",
            vectors.ids.len(),
            wanted,
            100.0 * vectors.coverage(),
            vectors.lines,
            vectors.dimension
        ),
    };
    format!("{table}\n{vectors}")
}

fn split_row(name: &str, corpus: &Corpus, unknown: Option<u32>) -> Vec<String> {
    let lengths = corpus.lengths();
    let count = lengths.len();
    let mean = lengths.iter().sum::<usize>() as f64 / count.max(1) as f64;
    let longest = lengths.iter().max().copied().unwrap_or(0);
    let mut row = vec![
        name.to_owned(),
        count.to_string(),
        format!("{mean:.1}"),
        longest.to_string(),
        match unknown {
            Some(id) => format!("{:.1} %", 100.0 * corpus.share_of(i64::from(id))),
            None => String::new(),
        },
    ];
    row.extend((0..corpus.labels.len() as u32).map(|class| {
        let of_it = corpus
            .classes
            .iter()
            .filter(|&&other| other == class)
            .count();
        format!(
            "{of_it} ({:.1} %)",
            100.0 * of_it as f64 / count.max(1) as f64
        )
    }));
    row
}

/// Set by Ctrl-C and SIGTERM; a second one ends the process at once.
fn stop_flag() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        flag::register_conditional_shutdown(signal, i32::from(INTERRUPTED), stop.clone())?;
        flag::register(signal, stop.clone())?;
    }
    Ok(stop)
}

/// Shows the epochs as they pass.
struct Watch<'a> {
    progress: &'a Progress,
    stage: Option<Stage>,
    metric: &'static str,
    stop: Arc<AtomicBool>,
}

impl Observer for Watch<'_> {
    fn wants_to_stop(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn warned(&mut self, message: &str) {
        warn(message);
    }

    fn epoch_starts(&mut self, epoch: u64, texts: u64) {
        self.stage = Some(
            self.progress
                .stage(&format!("epoch {epoch}"), texts, "texts"),
        );
    }

    fn stepped(&mut self, record: &StepRecord) {
        if let Some(stage) = &mut self.stage {
            stage.message(format!("loss {:.4}", record.mean_loss));
            stage.advance(record.texts);
        }
    }

    fn epoch_ends(&mut self, record: &EpochRecord) {
        if let Some(stage) = self.stage.take() {
            stage.finish();
        }
        self.progress.line(&format!(
            "epoch {}: train loss {:.4}, dev loss {:.4}, dev accuracy {:.4}, macro F1 {:.4}, gradient norm {:.3}{}",
            record.epoch,
            record.train_loss,
            record.dev.loss.unwrap_or(f64::NAN),
            record.dev.accuracy,
            record.dev.macro_f1,
            record.gradient_norm,
            if record.best { format!("  best {}", self.metric) } else { String::new() }
        ));
    }
}

/// Every step and every epoch for TensorBoard. A log that cannot be written is
/// told once, and stops no training.
struct TensorBoard {
    events: Option<Events>,
}

impl TensorBoard {
    fn new(folder: PathBuf) -> Self {
        let mut log = TensorBoard { events: None };
        log.events = log.told(Events::create(folder));
        log
    }

    fn told<T>(&mut self, result: crate::error::Result<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                warn(format!("no more events for tensorboard: {error}"));
                self.events = None;
                None
            }
        }
    }

    fn add(&mut self, step: u64, values: &[(&str, f64)]) {
        for (tag, value) in values {
            if let Some(events) = &mut self.events {
                let written = events.scalar(tag, step, *value);
                self.told(written);
            }
        }
    }
}

impl Observer for TensorBoard {
    fn epoch_starts(&mut self, _: u64, _: u64) {}

    fn stepped(&mut self, record: &StepRecord) {
        let values = [
            ("step/loss", record.loss),
            ("step/gradient_norm", record.gradient_norm),
            ("step/learning_rate", record.learning_rate),
        ];
        self.add(record.step, &values);
    }

    fn epoch_ends(&mut self, record: &EpochRecord) {
        let values = [
            ("train/loss", record.train_loss),
            ("train/texts_per_second", record.texts_per_second),
            ("train/padding", record.padding),
            ("dev/loss", record.dev.loss.unwrap_or(f64::NAN)),
            ("dev/accuracy", record.dev.accuracy),
            ("dev/macro_f1", record.dev.macro_f1),
        ];
        self.add(record.steps, &values);
    }
}
