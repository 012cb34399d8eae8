//! Pages of HTML that stand alone: one file, no network, light and dark.
//!
//! This is the frame that every page shares: head, style, figures with their script, and
//! the escaping of everything that comes from files. A page's body is built beside what
//! it shows.

mod figure;

use std::io::Write;
use std::path::Path;

pub(crate) use self::figure::{Figure, figures};
use super::table::printable;
use crate::error::Result;
use crate::files;

const STYLE: &str = include_str!("page.css");
/// What a person can do with figures.
const SCRIPT: &str = concat!(include_str!("chart.js"), include_str!("figure.js"));

/// What a page may do: nothing that reaches beyond it. Figures are downloaded through
/// `blob:`.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; \
     script-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'";

/// Writes a page with figures: `body` is HTML, `title` is text; `style` and `script` are
/// those of this kind of page.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn write(path: &Path, title: &str, body: &str, style: &str, script: &str) -> Result<()> {
    let scripts = format!("<script>\n{SCRIPT}{script}</script>\n");
    write_frame(path, title, body, style, &scripts)
}

/// Writes a page without a script, in the look of the other pages: `title` is text, `body`
/// is HTML, in which charts such as those of [`Lines::svg`](super::chart::Lines::svg) take
/// the colors of the page, and `style` is CSS of its own.
///
/// # Errors
///
/// The file cannot be written.
pub fn write_page(path: &Path, title: &str, body: &str, style: &str) -> Result<()> {
    write_frame(path, title, body, style, "")
}

/// Writes the frame around a page's body; `scripts` are whole elements.
fn write_frame(path: &Path, title: &str, body: &str, style: &str, scripts: &str) -> Result<()> {
    files::write_atomically(path, |file| {
        let title = escape(title);
        write!(
            file,
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <title>{title}</title>\n<style>\n{STYLE}{style}</style>\n</head>\n<body>\n<main>\n"
        )?;
        file.write_all(body.as_bytes())?;
        write!(file, "</main>\n{scripts}</body>\n</html>\n")
    })?;
    Ok(())
}

/// Text as it may stand in HTML and in an attribute. Control characters are spelled out.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in printable(text).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&#34;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A list of terms and what they are; both are text.
pub(crate) fn definitions(title: &str, rows: &[(&str, String)]) -> String {
    let mut list = format!("<section><h3>{}</h3>\n<dl>\n", escape(title));
    for (term, text) in rows {
        list.push_str(&format!(
            "<dt>{}</dt><dd>{}</dd>\n",
            escape(term),
            escape(text)
        ));
    }
    list.push_str("</dl></section>\n");
    list
}

/// Numbers as they may stand in a script element, where `<` is all that HTML would read.
///
/// # Errors
/// They cannot be said as JSON, which none of ours does.
pub(crate) fn data(id: &str, value: &serde_json::Value) -> Result<String> {
    let json = serde_json::to_string(value).map_err(std::io::Error::from);
    let json = json.map_err(crate::error::Error::io(Path::new(id)))?;
    Ok(format!(
        "<script type=\"application/json\" id=\"{id}\">{}</script>\n",
        json.replace('<', "\\u003c")
    ))
}
