//! What the commands show people: progress while a command runs, tables when it ends, one
//! chart module for pictures and pages, and the frame of pages. Nothing here computes a
//! result, and nothing here knows what a result is of: comparisons, traces and surveys of
//! units have their texts and pages beside them.

pub mod chart;
pub(crate) mod page;
mod progress;
mod table;
mod tensorboard;

pub use page::write_page;
pub use progress::{Mode, Progress, Stage};
pub(crate) use table::printable;
pub use table::{Table, metrics_table};
pub use tensorboard::Events;
