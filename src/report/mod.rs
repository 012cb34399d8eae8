//! What people see: progress while a command runs, tables when it ends, pictures
//! for a page, and pages. Nothing here computes a result.

mod comparison;
mod page;
pub mod plot;
mod progress;
mod table;
mod tensorboard;
mod trace;
mod units;

pub use comparison::comparison_text;
pub use page::{ComparisonPage, TracePage, comparison_page, trace_page, units_page};
pub use progress::{Mode, Progress, Stage};
pub(crate) use table::printable;
pub use table::{Table, metrics_table};
pub use tensorboard::Events;
pub use trace::{Screen, trace_picture, trace_text};
pub use units::{Asked, UnitsReport, units_text};
