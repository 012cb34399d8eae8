//! Static pictures for a page: `.png` or `.svg` by the file's extension.
//! Text is set in DejaVu Sans, which comes with the program, so that a
//! picture needs no font on the machine that draws it.

mod axis;
mod chart;
mod confusion;
mod font;
mod lines;
mod picture;
mod reading;
mod training;

pub use chart::{Across, Chart, charts};
pub use confusion::confusion_matrix;
pub use lines::{Line, Lines, Stroke, sheet};
pub use reading::{Reading, Strip, reading};
pub use training::{EpochPoint, training_curve};
