//! A survey of units for people: as text of a terminal, and as a page.

mod figures;
mod page;
#[cfg(test)]
mod tests;
mod text;
mod words;

pub use self::page::units_page;
pub use self::text::{Asked, UnitsReport, units_text};
