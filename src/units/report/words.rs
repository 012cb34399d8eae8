//! Sentences with their words colored by activation.

use super::text::signed;
use crate::report::page::escape;
use crate::units::{Query, Sentence, Sentences};

/// What the colors and the marks mean.
pub(super) fn explanation(query: &Query, run: f64) -> String {
    let (colors, how) = match query {
        Query::Unit { .. } => (
            "<span class=\"key\"><span class=\"patch down\"></span>below 0</span> &nbsp; \
             <span class=\"key\"><span class=\"patch up\"></span>above 0</span>",
            format!(
                "Each word has the color of the unit’s activation after it, the stronger the \
                 further from 0. Sentences are ordered by their peak; the underlined words are \
                 those around it at which the activation stays at least {run} of the peak."
            ),
        ),
        Query::Span { .. } => (
            "<span class=\"key\"><span class=\"patch none\"></span>least like</span> &nbsp; \
             <span class=\"key\"><span class=\"patch up\"></span>most like the span</span>",
            "The underlined words are the run of as many tokens as the span has whose mean \
             state has the largest cosine with the span’s; by it sentences are ordered. Each \
             word has the color of the cosine of its own state with the span’s mean. The idea \
             is the match of LSTMVis (Strobelt, Gehrmann, Pfister and Rush 2018), which counts \
             units above a threshold instead."
                .to_owned(),
        ),
    };
    format!(
        "<p>{how} Point at a word, or go to a sentence with Tab and from word to word with \
         the arrow keys, to see its value.</p>\n<p>{colors}</p>\n"
    )
}

/// One list; the colors of all lists have one scale.
pub(super) fn list(list: &Sentences, query: &Query, all: &[Sentences]) -> String {
    let scale = Scale::of(query, all);
    let mut html = format!(
        "<h3>{}</h3>\n<ol class=\"sentences\">\n",
        first_upper(list.name)
    );
    for sentence in &list.sentences {
        html.push_str(&item(sentence, &scale));
    }
    html.push_str("</ol>\n");
    if list.sentences.is_empty() {
        html.push_str("<p>None: no text is as long as the span.</p>\n");
    }
    html
}

fn first_upper(name: &str) -> String {
    let mut chars = name.chars();
    let first = chars.next().into_iter().flat_map(char::to_uppercase);
    first.chain(chars).collect()
}

/// From activations to colors.
enum Scale {
    /// From minus this to this.
    Signed(f64),
    /// From the one to the other.
    Between(f64, f64),
}

impl Scale {
    fn of(query: &Query, all: &[Sentences]) -> Scale {
        let sentences = all.iter().flat_map(|list| &list.sentences);
        let values = || {
            let words = sentences.clone().flat_map(|sentence| &sentence.words);
            words.map(|word| word.activation)
        };
        match query {
            Query::Unit { .. } => Scale::Signed(values().map(f64::abs).fold(0.0, f64::max)),
            Query::Span { .. } => Scale::Between(
                values().fold(f64::INFINITY, f64::min),
                values().fold(f64::NEG_INFINITY, f64::max),
            ),
        }
    }

    /// The side of 0, and how strong from 0 to 100.
    fn color(&self, value: f64) -> (&'static str, f64) {
        let (side, share) = match self {
            Scale::Signed(most) if value < 0.0 => ("down", -value / most),
            Scale::Signed(most) => ("up", value / most),
            Scale::Between(low, high) => ("up", (value - low) / (high - low)),
        };
        let share = if share.is_finite() { share } else { 0.0 };
        (side, (share * 100.0).round())
    }
}

fn item(sentence: &Sentence, scale: &Scale) -> String {
    let score = signed(Some(sentence.score));
    let label = sentence.label.as_deref().unwrap_or_default();
    let mut html = format!(
        "<li><span class=\"score\">{score}</span> <span class=\"label\">{}</span>\n\
         <p class=\"words\" tabindex=\"0\" role=\"group\" aria-label=\"sentence with {score}; the arrow keys go from word to word\">",
        escape(label)
    );
    let mut written = 0;
    for word in &sentence.words {
        let start = word.place.start.max(written);
        let end = word.place.end.max(start);
        html.push_str(&escape(
            sentence.text.get(written..start).unwrap_or_default(),
        ));
        written = end;
        if start == end {
            continue;
        }
        let (side, strength) = scale.color(word.activation);
        let matches = if word.matches { " match" } else { "" };
        html.push_str(&format!(
            "<span class=\"{side}{matches}\" style=\"--s:{strength}\" data-value=\"{}\">{}</span>",
            signed(Some(word.activation)),
            escape(sentence.text.get(start..end).unwrap_or_default())
        ));
    }
    html.push_str(&escape(sentence.text.get(written..).unwrap_or_default()));
    html.push_str("</p><p class=\"value\" aria-live=\"polite\">&nbsp;</p></li>\n");
    html
}
