//! Plain aligned tables for terminals and logs: no lines, no escape codes,
//! numbers to the right.

use std::fmt;

use comfy_table::{CellAlignment, ContentArrangement, presets};

use crate::metrics::Metrics;

/// A table with a title line, a header line and one line per row. Columns
/// are as wide as their widest cell and two spaces apart; a column whose
/// cells are all numbers stands to the right. `Display` gives the lines
/// without a newline after the last.
#[derive(Debug, Clone)]
pub struct Table {
    title: String,
    headers: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table. An empty title takes no line.
    pub fn new<H: Into<String>>(
        title: impl Into<String>,
        headers: impl IntoIterator<Item = H>,
    ) -> Self {
        Self {
            title: title.into(),
            headers: headers.into_iter().map(Into::into).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row. Cells that it lacks are empty.
    pub fn row<C: Into<String>>(&mut self, cells: impl IntoIterator<Item = C>) -> &mut Self {
        self.rows.push(cells.into_iter().map(Into::into).collect());
        self
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.title.is_empty() {
            writeln!(f, "{}", printable(&self.title))?;
        }
        let mut table = comfy_table::Table::new();
        table
            .load_style(presets::NOTHING)
            .force_no_tty()
            .set_content_arrangement(ContentArrangement::Disabled)
            .set_header(self.headers.iter().map(|cell| printable(cell)))
            .add_rows(
                self.rows
                    .iter()
                    .map(|row| row.iter().map(|cell| printable(cell)).collect::<Vec<_>>()),
            );
        for (index, column) in table.column_iter_mut().enumerate() {
            column.set_padding((0, 2));
            let mut cells = self.rows.iter().filter_map(|row| row.get(index));
            if cells.all(|cell| is_number(cell)) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let lines: Vec<_> = table
            .lines()
            .map(|line| line.trim_end().to_owned())
            .collect();
        f.write_str(&lines.join("\n"))
    }
}

/// Whether a cell is a number, a percentage, empty, or a dash for none.
fn is_number(cell: &str) -> bool {
    let number = cell.trim_end_matches('%').trim_end();
    number.is_empty() || number == "-" || number.parse::<f64>().is_ok()
}

/// Labels come from files: a newline or an escape code in one must not reach
/// the terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let escaped = c.is_control().then(|| c.escape_default());
            let kept = (!c.is_control()).then_some(c);
            escaped.into_iter().flatten().chain(kept)
        })
        .collect()
}

/// The headline, the table of classes and the confusion matrix of `metrics`.
pub fn metrics_table(metrics: &Metrics) -> String {
    let mut classes = Table::new("", ["class", "precision", "recall", "f1", "support"]);
    for class in &metrics.classes {
        classes.row([
            class.label.clone(),
            format!("{:.4}", class.precision),
            format!("{:.4}", class.recall),
            format!("{:.4}", class.f1),
            class.support.to_string(),
        ]);
    }
    let labels = metrics.classes.iter().map(|class| class.label.as_str());
    let mut confusion = Table::new(
        "confusion (rows: true class, columns: predicted class)",
        std::iter::once("").chain(labels.clone()),
    );
    for (label, counts) in labels.zip(metrics.confusion.rows()) {
        let counts = counts.iter().map(u64::to_string);
        confusion.row(std::iter::once(label.to_owned()).chain(counts));
    }
    format!("{}\n\n{classes}\n\n{confusion}", headline(metrics))
}

/// The numbers of `metrics` on one line.
fn headline(metrics: &Metrics) -> String {
    let interval = metrics.accuracy_interval;
    let loss = metrics
        .loss
        .map(|loss| format!("; loss {loss:.4}"))
        .unwrap_or_default();
    format!(
        "accuracy {:.4} (95 % interval {:.4} to {:.4}) on {} text{}; majority baseline {:.4}; macro F1 {:.4}{loss}",
        metrics.accuracy,
        interval.low,
        interval.high,
        metrics.count,
        if metrics.count == 1 { "" } else { "s" },
        metrics.majority_baseline,
        metrics.macro_f1,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_to_the_right() {
        let mut table = Table::new("tensors", ["name", "rows", "share"]);
        table.row(["embedding.weight", "12000", "8.5 %"]);
        table.row(["head.bias", "2", "-"]);
        assert_eq!(
            table.to_string(),
            "tensors
name               rows  share
embedding.weight  12000  8.5 %
head.bias             2      -"
        );
    }

    #[test]
    fn short_rows_empty_tables_and_no_title() {
        assert_eq!(Table::new("", ["a", "b"]).to_string(), "a  b");
        let mut table = Table::new("", ["name", "note"]);
        table.row(["x"]);
        assert_eq!(table.to_string(), "name  note\nx");
    }

    #[test]
    fn control_characters_are_shown_and_wide_ones_aligned() {
        let mut table = Table::new("a\u{1b}[31mb", ["label", "n"]);
        table.row(["two\nlines\u{1b}[0m", "1"]);
        table.row(["良い", "20"]);
        assert_eq!(
            table.to_string(),
            "a\\u{1b}[31mb
label                 n
two\\nlines\\u{1b}[0m   1
良い                 20"
        );
    }

    /// Twelve texts: rows [4 2] [1 5], so accuracy 9/12; precision 4/5 and
    /// 5/7, recall 4/6 and 5/6, F1 8/11 and 10/13.
    #[test]
    fn metrics_as_text() {
        let labels = ["negative".to_owned(), "positive".to_owned()];
        let truth = [0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1];
        let predicted = [0, 0, 0, 0, 1, 1, 0, 1, 1, 1, 1, 1];
        let metrics = Metrics::new(&labels, &truth, &predicted).unwrap();
        assert_eq!(
            metrics_table(&metrics.with_loss(0.5)),
            "accuracy 0.7500 (95 % interval 0.4677 to 0.9111) on 12 texts; majority baseline 0.5000; macro F1 0.7483; loss 0.5000

class     precision  recall      f1  support
negative     0.8000  0.6667  0.7273        6
positive     0.7143  0.8333  0.7692        6

confusion (rows: true class, columns: predicted class)
          negative  positive
negative         4         2
positive         1         5"
        );
    }

    #[test]
    fn one_text_and_no_loss() {
        let metrics = Metrics::new(&["only".to_owned()], &[0], &[0]).unwrap();
        let text = metrics_table(&metrics);
        assert!(text.contains("on 1 text; majority"), "{text}");
        assert!(!text.contains("loss"), "{text}");
    }
}
