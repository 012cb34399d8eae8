//! What people see: progress while a command runs, tables when it ends, and
//! pictures for a page. Nothing here computes a result.

pub mod plot;
mod progress;
mod table;

pub use progress::{Mode, Progress, Stage};
pub(crate) use table::printable;
pub use table::{Table, metrics_table};
