//! The confusion matrix as a picture.

use std::path::Path;

use super::drawing::{Anchor, DROP, Drawing, Frame, SMALL, TEXT, TITLE};
use super::paint::{Paint, sequential};
use super::{font, heat};
use crate::error::{Error, Result};

/// The narrowest picture.
const WIDTH: f64 = 500.0;
/// The widest label.
const LABEL_WIDTH: f64 = 140.0;
/// Between labels and cells.
const GAP: f64 = 10.0;
/// More classes would need a picture of hundreds of megapixels.
const CLASSES: usize = 40;

/// Draws counts `[true class][predicted class]` into `path` (`.png` or
/// `.svg`): a cell is as dark as its share of the row is large, and holds
/// the count and that share. Long labels are cut.
///
/// # Errors
/// `matrix` is not square with a row per label, there is no label or there
/// are more than 40, the extension is another one, or the file cannot be
/// written.
pub fn confusion_matrix(path: &Path, labels: &[String], matrix: &[Vec<u64>]) -> Result<()> {
    let classes = labels.len();
    if matrix.len() != classes || matrix.iter().any(|row| row.len() != classes) {
        return Err(Error::tensor(
            "matrix",
            format!("must have {classes} rows and columns, one per label"),
        ));
    }
    if !(1..=CLASSES).contains(&classes) {
        return Err(Error::file(
            path,
            format!(
                "a confusion matrix is drawn for 1 to {CLASSES} classes, not {classes}: use the table or the JSON"
            ),
        ));
    }
    drawing(labels, matrix).save(path)
}

fn drawing(labels: &[String], matrix: &[Vec<u64>]) -> Drawing {
    let classes = labels.len() as f64;
    let cell = (380.0 / classes).clamp(36.0, 140.0).round();
    let side = cell * classes;
    let labels: Vec<_> = labels
        .iter()
        .map(|label| font::fit(label, TEXT, LABEL_WIDTH))
        .collect();
    let widths = labels.iter().map(|label| font::width(label, TEXT));
    let widest = widths.fold(0.0, f64::max);
    // Labels below the columns are turned where they would not fit.
    let upwards = widest > cell - 6.0;
    let label_height = if upwards { widest } else { TEXT };

    // Title, labels and matrix, in the middle of the picture.
    let before = 30.0 + widest + GAP;
    let width = (before + side + 40.0).max(WIDTH);
    let left = ((width - before - side) / 2.0 + before).round();
    let top = 20.0;
    let below = top + side + GAP;
    let mut drawing = Drawing::new(width.ceil(), (below + label_height + 60.0).ceil());
    for (row, counts) in matrix.iter().enumerate() {
        let total: f64 = counts.iter().map(|&count| count as f64).sum();
        for (column, &count) in counts.iter().enumerate() {
            let frame = Frame {
                left: left + column as f64 * cell,
                top: top + row as f64 * cell,
                width: cell,
                height: cell,
            };
            let share = (total > 0.0).then(|| count as f64 / total);
            draw_cell(&mut drawing, frame, count, share);
        }
    }
    let size = (TEXT, LABEL_WIDTH);
    for (index, label) in labels.iter().enumerate() {
        let middle = (index as f64 + 0.5) * cell;
        let beside = (left - GAP, top + middle + DROP * TEXT);
        drawing.text(label, beside, size, Anchor::End, Paint::Ink);
        if upwards {
            let at = (left + middle + DROP * TEXT, below);
            drawing.upwards(label, at, size, Anchor::End, Paint::Ink);
        } else {
            let at = (left + middle, below + 0.8 * TEXT);
            drawing.text(label, at, size, Anchor::Middle, Paint::Ink);
        }
    }
    let size = (TITLE, side.max(WIDTH - 16.0));
    let (middle, end) = (left + side / 2.0, below + label_height);
    let at = (middle, end + 22.0);
    drawing.text("predicted", at, size, Anchor::Middle, Paint::Ink);
    let beside = (left - before + 14.0, top + side / 2.0);
    drawing.upwards("true", beside, size, Anchor::Middle, Paint::Ink);
    let note = "number of texts, and share of the true class";
    let at = (middle.min(width - 150.0), end + 44.0);
    drawing.text(note, at, (SMALL, width), Anchor::Middle, Paint::Soft);
    drawing
}

/// One cell. `share` is its share of the row, `None` in a row without texts.
fn draw_cell(drawing: &mut Drawing, frame: Frame, count: u64, share: Option<f64>) {
    let text = count.to_string();
    let fits = (frame.width - 7.0) / font::width(&text, 1.0);
    let em = (0.17 * frame.width).clamp(9.5, 20.0).min(fits);
    let mut lines = vec![(text, em)];
    if let Some(share) = share {
        let em = (0.11 * frame.width).clamp(7.5, 12.5);
        lines.push((format!("{:.1} %", 100.0 * share), em));
    }
    heat::cell(drawing, frame, sequential(share.unwrap_or(0.0)), &lines);
}

#[cfg(test)]
mod tests;
