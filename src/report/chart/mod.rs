//! The charts of every picture and page, drawn as SVG by one model: `Axis` and
//! `Series` on a `Panel`, shapes on a `Drawing`, one palette, one type scale.
//!
//! A `Drawing` becomes a file, `.svg` or `.png` rasterized from the same text, or an
//! element of a page, whose colors follow its theme and whose attributes its script reads
//! for pointing, the keyboard and reading aloud. Text is set in DejaVu Sans, which comes
//! with the program, so that a picture needs no font on the machine that draws it.

mod axis;
mod confusion;
mod drawing;
mod file;
mod font;
mod heat;
mod legend;
mod lines;
mod paint;
mod panel;
mod scatter;
mod series;
mod svg;
mod training;

pub(crate) use axis::{Axis, Spacing, decade};
pub use confusion::confusion_matrix;
#[cfg(test)]
pub(crate) use drawing::tests as drawing_tests;
pub(crate) use drawing::{Anchor, DROP, Drawing, Frame, LineStyle, SMALL, Symbol, TEXT, TITLE};
pub(crate) use font::width;
pub(crate) use heat::cell;
pub(crate) use legend::key;
pub use lines::{Line, Lines, Stroke, sheet};
pub(crate) use paint::{Paint, diverging, readable, sequential};
pub(crate) use panel::{Form, Guide, Hover, Panel, Series};
pub use scatter::{Chart, XScale, charts};
pub use training::{EpochPoint, training_curve};
