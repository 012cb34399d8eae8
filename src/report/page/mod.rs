//! Pages of HTML that stand alone: one file, no network, light and dark.
//!
//! This is the frame that every page shares: head, style, the script that draws
//! plots, and the escaping of everything that comes from files. A page's body
//! is built by its own module.

mod comparison;
mod shares;
mod trace;
mod units;

use std::io::Write;
use std::path::Path;

use plotly::Plot;
use serde::Serialize;

pub use self::comparison::{ComparisonPage, comparison_page};
pub use self::trace::{TracePage, trace_page};
pub use self::units::units_page;
use super::table::printable;
use crate::error::Result;
use crate::files;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// What a page may do: nothing that reaches beyond it. Plots download as
/// pictures through `data:` and `blob:`.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; \
     script-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'";

/// Writes a page with plots: `body` is HTML, `title` is text.
///
/// # Errors
/// The file cannot be written.
fn write(path: &Path, title: &str, body: &str) -> Result<()> {
    write_with(path, title, body, "", "")
}

/// As [`write`], with style and a script of this kind of page.
fn write_with(path: &Path, title: &str, body: &str, style: &str, script: &str) -> Result<()> {
    let scripts = format!("{}\n<script>\n{SCRIPT}{script}</script>\n", library());
    write_bare(path, title, body, style, &scripts)
}

/// As [`write`], with style and without the script that draws plots; `scripts` are whole
/// elements.
fn write_bare(path: &Path, title: &str, body: &str, style: &str, scripts: &str) -> Result<()> {
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

/// plotly.js as a script element. The crate puts MathJax behind it, which would
/// make a formula of a name with two `$`, and half as much again of a page.
fn library() -> String {
    let mut scripts = Plot::offline_js_sources();
    const END: &str = "</script>";
    if let Some(at) = scripts.find(END) {
        scripts.truncate(at + END.len());
    }
    scripts
}

/// Text as it may stand in HTML, in an attribute, and in a label of plotly.js,
/// which knows few entities by name. Control characters are spelled out.
fn escape(text: &str) -> String {
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

/// A plot with the name by which it is chosen among several.
#[derive(Serialize)]
struct Figure {
    name: String,
    plot: Plot,
}

/// Figures of which one is shown, with a choice where there are several.
/// `label` says what they show to those who cannot see them; `caption` is HTML.
///
/// # Errors
/// The figures cannot be said as JSON, which no figure of ours does.
fn plots(figures: &[Figure], chosen: usize, label: &str, caption: &str) -> Result<String> {
    let json = serde_json::to_string(figures).map_err(std::io::Error::from);
    let json = json.map_err(crate::error::Error::io(Path::new("plot")))?;
    // Within a script element, `<` is all that HTML would read.
    let json = json.replace('<', "\\u003c");
    let mut choice = String::new();
    if figures.len() > 1 {
        choice.push_str("<label class=\"choice\">show <select>");
        for (index, figure) in figures.iter().enumerate() {
            let selected = if index == chosen { " selected" } else { "" };
            let name = escape(&figure.name);
            choice.push_str(&format!(
                "<option value=\"{index}\"{selected}>{name}</option>"
            ));
        }
        choice.push_str("</select></label>\n");
    }
    Ok(format!(
        "<figure class=\"plot\">\n{choice}\
         <div class=\"canvas\" tabindex=\"0\" role=\"img\" aria-label=\"{}; the arrow keys go from point to point\"></div>\n\
         <p class=\"spoken\" aria-live=\"polite\"></p>\n\
         <noscript><p>The plot needs JavaScript; the table has its numbers.</p></noscript>\n\
         <figcaption>{caption}</figcaption>\n\
         <script type=\"application/json\">{json}</script>\n</figure>\n",
        escape(label)
    ))
}

/// A list of terms and what they are; both are text.
fn definitions(title: &str, rows: &[(&str, String)]) -> String {
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
