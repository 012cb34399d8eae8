//! The confusion matrix as a picture.

use std::path::Path;

use super::font;
use super::picture::{Anchor, Colour, Label, Picture};
use crate::error::{Error, Result};

const INK: Colour = Colour(40, 40, 40);
const BLACK: Colour = Colour(0, 0, 0);
const GREY: Colour = Colour(110, 110, 110);
const WHITE: Colour = Colour(255, 255, 255);
/// The cell of a share of 0 and of 1: one hue, from light to dark.
const LIGHT: Colour = Colour(240, 245, 250);
const DARK: Colour = Colour(8, 64, 120);

/// The narrowest picture.
const WIDTH: f64 = 1000.0;
/// The em of axis titles and of labels, and the widest label.
const TITLE: f64 = 24.0;
const LABEL: f64 = 22.0;
const LABEL_WIDTH: f64 = 260.0;
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
    picture(labels, matrix).save(path)
}

fn picture(labels: &[String], matrix: &[Vec<u64>]) -> Picture {
    let classes = labels.len() as f64;
    let cell = (760.0 / classes).clamp(70.0, 300.0).round();
    let side = cell * classes;
    let labels: Vec<_> = labels
        .iter()
        .map(|label| font::fit(label, LABEL, LABEL_WIDTH))
        .collect();
    let widest = labels
        .iter()
        .map(|label| font::width(label, LABEL))
        .fold(0.0, f64::max);
    // Labels below the columns are a little smaller where that makes them
    // fit, and turned where it does not.
    let fitting = LABEL.min(LABEL * (cell - 12.0) / widest.max(1.0));
    let upwards = fitting < 0.8 * LABEL;
    let (em, label_height) = if upwards {
        (LABEL, widest)
    } else {
        (fitting, LABEL)
    };

    // Title, labels and matrix, in the middle of the picture.
    let before = 56.0 + widest + 18.0;
    let width = (before + side + 80.0).max(WIDTH);
    let left = ((width - before - side) / 2.0 + before).round();
    let top = 40.0;
    let height = top + side + 18.0 + label_height + 104.0;

    let mut picture = Picture::new(width.ceil() as u32, height.ceil() as u32);
    for (row, counts) in matrix.iter().enumerate() {
        let total: f64 = counts.iter().map(|&count| count as f64).sum();
        for (column, &count) in counts.iter().enumerate() {
            let corner = (left + column as f64 * cell, top + row as f64 * cell);
            let share = (total > 0.0).then(|| count as f64 / total);
            draw_cell(&mut picture, corner, cell, count, share);
        }
    }
    for (index, text) in labels.into_iter().enumerate() {
        let middle = (index as f64 + 0.5) * cell;
        let below = top + side + 18.0;
        let mut put = |text, at, em, anchor, upwards| {
            picture.label(label(text, at, em, anchor, upwards, INK));
        };
        let beside = (left - 18.0, top + middle + 0.36 * LABEL);
        put(text.clone(), beside, LABEL, Anchor::End, false);
        if upwards {
            let at = (left + middle + 0.36 * em, below);
            put(text, at, em, Anchor::End, true);
        } else {
            let at = (left + middle, below + 0.8 * LABEL);
            put(text, at, em, Anchor::Middle, false);
        }
    }
    let (middle, below) = (left + side / 2.0, top + side + 18.0 + label_height);
    let mut put = |text: &str, at, em, upwards, colour| {
        picture.label(label(
            text.to_owned(),
            at,
            em,
            Anchor::Middle,
            upwards,
            colour,
        ));
    };
    put("predicted", (middle, below + 40.0), TITLE, false, INK);
    put(
        "true",
        (left - before + 24.0, top + side / 2.0),
        TITLE,
        true,
        INK,
    );
    let note = "number of texts, and share of the true class";
    put(note, (middle, below + 78.0), 18.0, false, GREY);
    picture
}

/// One cell. `share` is its share of the row, `None` in a row without texts.
fn draw_cell(picture: &mut Picture, corner: (f64, f64), cell: f64, count: u64, share: Option<f64>) {
    let ground = shade(share.unwrap_or(0.0));
    picture.rectangle(
        (corner.0 + 1.5, corner.1 + 1.5),
        (cell - 3.0, cell - 3.0),
        ground,
    );
    let ink = readable(ground);
    let middle = (corner.0 + cell / 2.0, corner.1 + cell / 2.0);
    let text = count.to_string();
    let fits = (cell - 14.0) / font::width(&text, 1.0);
    let em = (0.2 * cell).clamp(19.0, 36.0).min(fits);
    let percent = share.map(|share| format!("{:.1} %", 100.0 * share));
    let lift = if percent.is_some() { 0.06 } else { -0.36 };
    let at = (middle.0, middle.1 - lift * em);
    picture.label(label(text, at, em, Anchor::Middle, false, ink));
    if let Some(percent) = percent {
        let em = (0.13 * cell).clamp(15.0, 22.0);
        let at = (middle.0, middle.1 + 1.3 * em);
        picture.label(label(percent, at, em, Anchor::Middle, false, ink));
    }
}

fn label(
    text: String,
    at: (f64, f64),
    em: f64,
    anchor: Anchor,
    upwards: bool,
    colour: Colour,
) -> Label {
    Label {
        text,
        at,
        em,
        anchor,
        upwards,
        colour,
    }
}

/// The colour between [`LIGHT`] and [`DARK`].
pub(super) fn shade(share: f64) -> Colour {
    let mix = |a: u8, b: u8| (f64::from(a) + share * (f64::from(b) - f64::from(a))).round() as u8;
    Colour(
        mix(LIGHT.0, DARK.0),
        mix(LIGHT.1, DARK.1),
        mix(LIGHT.2, DARK.2),
    )
}

/// Black or white, whichever has the larger contrast ratio on `ground`:
/// <https://www.w3.org/TR/WCAG21/#dfn-contrast-ratio>.
pub(super) fn readable(ground: Colour) -> Colour {
    if contrast(ground, BLACK) >= contrast(ground, WHITE) {
        BLACK
    } else {
        WHITE
    }
}

/// The contrast ratio of two colours, from 1 to 21.
fn contrast(a: Colour, b: Colour) -> f64 {
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

/// The relative luminance of an sRGB colour, from 0 to 1:
/// <https://www.w3.org/TR/WCAG21/#dfn-relative-luminance>.
fn luminance(colour: Colour) -> f64 {
    let linear = |channel: u8| {
        let value = f64::from(channel) / 255.0;
        if value <= 0.04045 {
            value / 12.92
        } else {
            ((value + 0.055) / 1.055).powf(2.4)
        }
    };
    0.2126 * linear(colour.0) + 0.7152 * linear(colour.1) + 0.0722 * linear(colour.2)
}

#[cfg(test)]
mod tests;
