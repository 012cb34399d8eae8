//! How good a set of predictions is.
//!
//! [`Metrics::new`] takes true and predicted class ids and gives everything
//! that a table, a picture or a JSON report shows. The definitions are
//! scikit-learn's, with `labels=range(C)` and `zero_division=0`: a class that
//! never occurs counts with precision, recall and F1 of 0.

mod classification;
mod confusion;
mod interval;
mod metric;

pub use classification::{ClassMetrics, Metrics};
pub use confusion::Confusion;
pub use interval::{Interval, wilson};
pub use metric::Metric;
