//! A recording for people: as text of a terminal, as a picture, and as a page.

mod chart;
mod data;
mod page;
mod picture;
mod screen;
#[cfg(test)]
mod tests;
mod text;

pub use self::page::{TracePage, trace_page};
pub use self::screen::Screen;
pub use self::text::{trace_picture, trace_text};
