//! What a training is made of, as tables.

use anyhow::Result;

use crate::model::Model;
use crate::report::Table;
use crate::text::UNK;
use crate::train::{Config, Corpus, Prepared};

pub(super) fn configuration_table(config: &Config) -> Result<Table> {
    let mut table = Table::new("configuration", ["key", "value"]);
    for (key, value) in config.entries()? {
        table.row([key, value]);
    }
    Ok(table)
}

pub(super) fn parameter_table(model: &Model) -> Table {
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

pub(super) fn data_table(prepared: &Prepared) -> String {
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
