//! `cellway predict`: texts in, labels with probabilities out, in their order.
//! Streams, so that a file may be larger than memory.

use std::io::{BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use serde_json::{Map, Value, json};

use super::{ModelArgs, warn};
use crate::data::{self, Error, Row, TextReader};
use crate::files::AtomicFile;
use crate::model::{Prediction, Predictor};
use crate::report::{Progress, printable};

/// Texts that are batched by length together. More would find still better
/// neighbours, but hold more in memory.
const CHUNK: usize = 8192;

/// The arguments of `cellway predict`.
#[derive(Debug, Args)]
pub(super) struct Predict {
    #[command(flatten)]
    model: ModelArgs,

    /// Texts; without any, and without --input, standard input line by line
    #[arg(value_name = "TEXT", conflicts_with = "input")]
    texts: Vec<String>,

    /// File of texts: .txt (one a line), .csv, .tsv, .jsonl, or - for standard input
    #[arg(long, short, value_name = "FILE")]
    input: Option<PathBuf>,

    /// Where to write: .csv, .tsv or .jsonl [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,

    /// For csv, tsv, jsonl: the column of the text
    #[arg(long, default_value = "text", value_name = "NAME")]
    text_column: String,

    /// Leave out rows that cannot be used, count them and go on
    #[arg(long)]
    skip_bad: bool,

    /// A JSON object for each text on standard output
    #[arg(long, conflicts_with = "output")]
    json: bool,
}

/// How predictions are written.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    /// For people: the label, its probability, the text.
    Lines,
    /// A JSON object for each text.
    Jsonl,
    /// A header line, then text, label, and a column for each label's
    /// probability.
    Delimited(u8),
}

impl Predict {
    pub fn run(&self, progress: &Progress) -> Result<()> {
        let form = self.form()?;
        let model = self.model.load()?;
        let predictor = Predictor {
            engine: self.model.engine.into(),
            ..Predictor::new(&model)
        }
        .pack()?;
        let labels = model.config().labels();
        let input = self.open()?;
        match &self.output {
            None => {
                // By itself standard output is written line by line.
                let out = BufWriter::new(std::io::stdout().lock());
                let mut writer = Writer::new(out, form, labels)?;
                self.stream(input, &predictor, &mut writer, progress)?;
            }
            Some(path) => {
                self.refuse_output_over_input(path)?;
                let mut writer = Writer::new(AtomicFile::create(path)?, form, labels)?;
                self.stream(input, &predictor, &mut writer, progress)?;
                writer.finish()?.commit()?;
            }
        }
        Ok(())
    }

    fn form(&self) -> Result<Form> {
        let Some(path) = &self.output else {
            return Ok(if self.json { Form::Jsonl } else { Form::Lines });
        };
        match path.extension().and_then(|ending| ending.to_str()) {
            Some("csv") => Ok(Form::Delimited(b',')),
            Some("tsv") => Ok(Form::Delimited(b'\t')),
            Some("jsonl") => Ok(Form::Jsonl),
            _ => bail!(
                "--output {}: give it a name that ends in .csv, .tsv or .jsonl",
                path.display()
            ),
        }
    }

    fn refuse_output_over_input(&self, output: &Path) -> Result<()> {
        let real = |path: &Path| std::fs::canonicalize(path).ok();
        match self.input.as_deref().and_then(real) {
            Some(input) if real(output).as_ref() == Some(&input) => {
                bail!(
                    "--output {}: is the input too; give it another name",
                    output.display()
                )
            }
            _ => Ok(()),
        }
    }

    fn open(&self) -> Result<Input> {
        if !self.texts.is_empty() {
            let texts = self.texts.clone().into_iter();
            let rows = texts.zip(1..).map(|(text, line)| Ok(Row { line, text }));
            return Ok(Input::new(Box::new(rows), "arguments"));
        }
        let path = self.input.clone().unwrap_or_else(|| PathBuf::from("-"));
        let reader = TextReader::open(&path, &self.text_column)?;
        if path != Path::new("-") {
            let (size, read) = (reader.size(), reader.bytes_read());
            return Ok(Input {
                origin: path,
                progress: size.map(|size| (size, Box::new(read) as _)),
                ..Input::new(Box::new(reader), "")
            });
        }
        let typed = std::io::stdin().is_terminal();
        if typed {
            warn("reading texts from the terminal, one a line; end with Ctrl-D");
        }
        Ok(Input {
            // Who types waits for an answer to each line.
            chunk: if typed { 1 } else { CHUNK },
            ..Input::new(Box::new(reader), "standard input")
        })
    }

    fn stream<W: Write>(
        &self,
        input: Input,
        predictor: &Predictor,
        writer: &mut Writer<W>,
        progress: &Progress,
    ) -> Result<()> {
        const KB: u64 = 1000;
        let mut stage = input
            .progress
            .as_ref()
            .map(|(size, _)| progress.stage("predict", size.div_ceil(KB), "kB"));
        let (mut done, mut shown, mut skipped) = (0, 0, 0);
        let mut rows = input.rows.peekable();
        while rows.peek().is_some() {
            let mut texts = Vec::new();
            for row in rows.by_ref().take(input.chunk) {
                match row.and_then(|row| text(row, &input.origin)) {
                    Ok(text) => texts.push(text),
                    Err(Error::Line { .. }) if self.skip_bad => skipped += 1,
                    Err(error) => return Err(error.into()),
                }
            }
            for (text, prediction) in texts.iter().zip(predictor.predict(&texts)?) {
                writer.write(text, &prediction)?;
            }
            writer.flush()?;
            done += texts.len();
            if let (Some(stage), Some((_, read))) = (&mut stage, &input.progress) {
                let read = read().div_ceil(KB);
                stage.message(format!("{done} texts"));
                stage.advance(read - shown);
                shown = read;
            }
        }
        if let Some(stage) = stage {
            stage.finish();
        }
        if skipped > 0 {
            warn(format!(
                "{}: bad rows skipped: {skipped}",
                input.origin.display()
            ));
        }
        Ok(())
    }
}

type Rows = Box<dyn Iterator<Item = data::Result<Row>>>;

/// Texts from wherever they come.
struct Input {
    rows: Rows,
    /// What an error calls their place.
    origin: PathBuf,
    /// How many are read before they are labelled.
    chunk: usize,
    /// Of a file: its size, and what counts the bytes that were read.
    progress: Option<(u64, Box<dyn Fn() -> u64>)>,
}

impl Input {
    fn new(rows: Rows, origin: &str) -> Self {
        Input {
            rows,
            origin: PathBuf::from(origin),
            chunk: CHUNK,
            progress: None,
        }
    }
}

/// As the readers of labelled texts: none is empty. One of punctuation alone may
/// pass, as it does there.
fn text(row: Row, origin: &Path) -> data::Result<String> {
    if row.text.trim().is_empty() {
        let message = "the text is empty; --skip-bad leaves such rows out";
        return Err(Error::line(origin, row.line, message));
    }
    Ok(row.text)
}

/// Writes predictions in one form.
struct Writer<W: Write> {
    form: Form,
    labels: Vec<String>,
    out: Out<W>,
}

enum Out<W: Write> {
    Plain(W),
    Csv(Box<csv::Writer<W>>),
}

impl<W: Write> Writer<W> {
    fn new(out: W, form: Form, labels: Vec<String>) -> Result<Self> {
        let out = match form {
            Form::Lines | Form::Jsonl => Out::Plain(out),
            Form::Delimited(delimiter) => {
                // As it is read: quotes bind in CSV, and are characters in TSV.
                let quotes = match delimiter {
                    b',' => csv::QuoteStyle::Necessary,
                    _ => csv::QuoteStyle::Never,
                };
                let mut table = csv::WriterBuilder::new()
                    .delimiter(delimiter)
                    .quote_style(quotes)
                    .from_writer(out);
                let columns = ["text", "label"].into_iter().map(str::to_owned);
                table.write_record(columns.chain(labels.iter().cloned()))?;
                Out::Csv(Box::new(table))
            }
        };
        Ok(Writer { form, labels, out })
    }

    fn write(&mut self, text: &str, prediction: &Prediction) -> Result<()> {
        let label = &self.labels[prediction.class as usize];
        match &mut self.out {
            Out::Plain(out) if self.form == Form::Jsonl => {
                let probabilities: Map<String, Value> = self
                    .labels
                    .iter()
                    .cloned()
                    .zip(prediction.probabilities.iter().map(|&p| json!(p)))
                    .collect();
                let object = json!({"text": text, "label": label, "probabilities": probabilities});
                writeln!(out, "{object}")?;
            }
            Out::Plain(out) => {
                let probability = prediction.probabilities[prediction.class as usize];
                let width = self.labels.iter().map(|label| label.chars().count()).max();
                let width = width.unwrap_or(0);
                let (label, text) = (printable(label), printable(text));
                writeln!(out, "{label:<width$}  {probability:.4}  {text}")?;
            }
            Out::Csv(table) => {
                if self.form == Form::Delimited(b'\t') && text.contains(['\t', '\n', '\r']) {
                    bail!(
                        "{text:?} holds a tab or a line end, which TSV cannot; write .csv or .jsonl"
                    );
                }
                let probabilities = prediction.probabilities.iter().map(f32::to_string);
                let cells = [text.to_owned(), label.clone()].into_iter();
                table.write_record(cells.chain(probabilities))?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        match &mut self.out {
            Out::Plain(out) => out.flush()?,
            Out::Csv(table) => table.flush()?,
        }
        Ok(())
    }

    fn finish(self) -> Result<W> {
        match self.out {
            Out::Plain(out) => Ok(out),
            Out::Csv(table) => Ok(table.into_inner().map_err(|error| error.into_error())?),
        }
    }
}
