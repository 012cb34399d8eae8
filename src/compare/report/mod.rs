//! A comparison for people: as text of a terminal, and as a page.

mod page;
mod shares;
#[cfg(test)]
mod tests;
mod text;

pub use self::page::{ComparisonPage, comparison_page};
pub use self::text::comparison_text;
