//! Figures of a page: charts that answer to pointer, keyboard and screen readers by the
//! script `figure.js`.

use super::escape;
use crate::report::chart::{Drawing, Series, key};

/// A chart with the name by which it is chosen among several.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    /// Its name.
    pub name: String,
    /// The chart.
    pub drawing: Drawing,
    /// The keys of its series, as buttons that hide them.
    keys: Vec<Key>,
}

/// A button that hides a series.
#[derive(Clone, Debug)]
struct Key {
    /// The number of the panel in the chart.
    panel: usize,
    /// The number of the series in the panel.
    series: usize,
    /// The name of the series.
    name: String,
    /// Its mark, as HTML.
    mark: String,
}

impl Figure {
    /// A chart without keys.
    pub fn new(name: impl Into<String>, drawing: Drawing) -> Self {
        Self {
            name: name.into(),
            drawing,
            keys: Vec::new(),
        }
    }

    /// The same with a key for each series of its `panel`th panel.
    #[must_use]
    pub fn with_keys(mut self, panel: usize, series: &[Series]) -> Self {
        let keys = series.iter().enumerate().map(|(n, series)| Key {
            panel,
            series: n,
            name: series.name.clone(),
            mark: key(series),
        });
        self.keys = keys.collect();
        self
    }
}

/// Figures of which one is shown, with a choice where there are several.
/// `label` says what they show to those who cannot see them; `caption` is HTML.
pub(crate) fn figures(figures: &[Figure], chosen: usize, label: &str, caption: &str) -> String {
    let mut html = String::from("<figure class=\"plot\">\n");
    if figures.len() > 1 {
        html.push_str("<label class=\"choice\">show <select>");
        for (index, figure) in figures.iter().enumerate() {
            let selected = if index == chosen { " selected" } else { "" };
            let name = escape(&figure.name);
            html.push_str(&format!(
                "<option value=\"{index}\"{selected}>{name}</option>"
            ));
        }
        html.push_str("</select></label>\n");
    }
    for (index, figure) in figures.iter().enumerate() {
        let hidden = if index == chosen { "" } else { " hidden" };
        html.push_str(&format!(
            "<div class=\"view\" data-name=\"{}\"{hidden}>\n",
            escape(&figure.name)
        ));
        html.push_str(&keys(figure));
        html.push_str(&format!(
            "<div class=\"canvas\" tabindex=\"0\" role=\"img\" aria-label=\"{}; the arrow keys go from point to point\">\n{}\n</div>\n</div>\n",
            escape(label),
            figure.drawing.page_svg()
        ));
    }
    html.push_str("<p class=\"spoken\" aria-live=\"polite\"></p>\n");
    if !caption.is_empty() {
        html.push_str(&format!("<figcaption>{caption}</figcaption>\n"));
    }
    html.push_str("</figure>\n");
    html
}

fn keys(figure: &Figure) -> String {
    if figure.keys.is_empty() {
        return String::new();
    }
    let mut html = String::from("<div class=\"keys\">");
    for key in &figure.keys {
        html.push_str(&format!(
            "<button type=\"button\" class=\"series-key\" data-panel=\"{}\" data-series=\"{}\" aria-pressed=\"true\">{}{}</button>",
            key.panel,
            key.series,
            key.mark,
            escape(&key.name)
        ));
    }
    html.push_str("</div>\n");
    html
}
